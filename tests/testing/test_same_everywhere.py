"""One seed, one trace: in every process, whatever its hashes, and in every Python.

`FEDERLIB_PYTHONS` names interpreters besides those on the path, parted by `:`; each needs
federlib's dependencies. After a change that is meant to change traces, write the digests anew:

    FEDERLIB_RENEW_DIGESTS=1 python -m pytest tests/testing/test_same_everywhere.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import federlib
from federlib.testing.sim import Future, Node, SimulatedClock, Simulation

GOLDEN = Path(__file__).with_name("digests.json")
PACKAGE = Path(federlib.__file__).parents[1]

PROGRAM = """
import json
from federlib.testing.sim import Terms, play, play_workflow, preset

found = {f"drawn {seed}": play(seed).digest for seed in range(3)}
found["clock_skew_10x 3"] = play(3, preset("clock_skew_10x")).digest
found["two processes 4"] = play(4, terms=Terms(nodes=2)).digest
found |= {f"runs {seed}": play_workflow(seed).digest for seed in (5, 6, 11)}
print(json.dumps(found))
"""


def digests(python: str, hash_seed: str) -> dict[str, str]:
    """Play some seeds in a fresh process."""
    # Another Python finds its own dependencies, and our package by its place.
    place = {} if python == sys.executable else {"PYTHONPATH": str(PACKAGE)}
    if python != sys.executable and PACKAGE.name == "site-packages":
        pytest.skip(f"{python} cannot import from another Python's packages")
    child = subprocess.run(
        [python, "-c", PROGRAM],
        env={**os.environ, **place, "PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr[-2_000:]
    found: dict[str, str] = json.loads(child.stdout)
    return found


@cache
def first() -> dict[str, str]:
    return digests(sys.executable, "0")


@pytest.mark.parametrize("hash_seed", ["1", "4242", "random"])
def test_a_seed_is_the_same_whatever_hashes_are_like(hash_seed: str) -> None:
    assert digests(sys.executable, hash_seed) == first()


def others() -> Iterator[str]:
    """Find the other Pythons of this machine that can run federlib."""
    named = [name for name in os.environ.get("FEDERLIB_PYTHONS", "").split(":") if name]
    on_path = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    seen = {sys.version_info[:2]}
    probe = "import sys, anyio, attrs, filelock, msgspec, trio; print(*sys.version_info[:2])"
    for python in [*named, *filter(None, on_path)]:
        child = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
        words = child.stdout.split()
        if child.returncode:
            print(f"left out, without federlib's dependencies: {python}")
        elif (version := (int(words[0]), int(words[1]))) not in seen:
            seen.add(version)
            yield python


def test_a_seed_is_the_same_in_every_python_that_can_be_had(
    capsys: pytest.CaptureFixture[str],
) -> None:
    compared = [sys.version.split()[0]]
    for python in others():
        assert digests(python, "7") == first(), python
        compared.append(python)
    with capsys.disabled():
        print(f"\nthe same traces in {', '.join(compared)}", end=" ")
    assert compared


def test_a_trace_changes_only_on_purpose() -> None:
    # Of elections only: a run of tasks has a trace that each change of the DAG may move.
    now = {name: digest for name, digest in first().items() if not name.startswith("runs")}
    if os.environ.get("FEDERLIB_RENEW_DIGESTS"):
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n")
    assert now == json.loads(GOLDEN.read_text()), "renew them as the head of this file says"


def test_what_a_task_no_longer_waits_for_wakes_nobody() -> None:
    # Who still holds what it waited for, and how long, differs from Python to Python.
    with Simulation(1) as sim:
        left: list[Future[None]] = []

        async def live(node: Node) -> None:
            left.append(Future())
            with node.pace.limit(1):
                await left[0]
            await node.pace.sleep(10)

        node = Node(sim, "n", live, SimulatedClock(sim, "m"))
        node.start()
        sim.run(until_ns=2_000_000_000)
        ran = sim.ran
        left[0].set(None)
        sim.run(until_ns=2_000_000_001)
        assert sim.ran == ran
