"""Eight processes want one lease: one has it at a time, and each has its turn.

Source: design §4, lease: tokens strictly rise; fair queue.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from fleet import Fleet, until

CONTENDERS = 8
LENGTH_S = 10.0 if os.environ.get("FEDERLIB_SOAK") == "1" else 3.0


def test_eight_processes_share_one_lease_fairly_and_never_two_hold_it(fleet: Fleet) -> None:
    contenders = []
    for number in range(CONTENDERS):
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("contender.py")),
             fleet.url, str(number), str(fleet.root)],
            cwd=fleet.root, env=fleet.environment(), stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        contenders.append(process)
    fleet.processes += contenders
    until(lambda: len(list(fleet.root.glob("ready-*"))) == CONTENDERS, what="every contender")
    (fleet.root / "go").touch()
    until(lambda: len(turns(fleet)) >= CONTENDERS, what="the first turns")
    time.sleep(LENGTH_S)  # this is the measured time, not a wait for something
    (fleet.root / "stop").touch()
    for process in contenders:
        _, err = process.communicate(timeout=20)
        # A second holder would have found `inside` there, and said so.
        assert (process.returncode, err.decode()) == (0, "")

    held = turns(fleet)
    tokens = [token for token, _, _ in held]
    assert tokens == sorted(set(tokens))
    # Counted from when the last of them had its first turn until the first had its last.
    firsts: dict[str, int] = {}
    lasts: dict[str, int] = {}
    for _, name, at_ns in held:
        firsts.setdefault(name, at_ns)
        lasts[name] = at_ns
    begin_ns, end_ns = max(firsts.values()), min(lasts.values())
    counts = Counter(name for _, name, at_ns in held if begin_ns <= at_ns <= end_ns)
    assert len(counts) == CONTENDERS
    assert end_ns - begin_ns >= 0.6 * LENGTH_S * 1e9
    assert max(counts.values()) / min(counts.values()) <= 1.5, counts


def turns(fleet: Fleet) -> list[tuple[int, str, int]]:
    rows = [line.split() for line in fleet.lines("ledger")]
    return [(int(token), name, int(at_ns)) for token, name, at_ns in rows]
