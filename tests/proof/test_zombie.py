"""A leader is stopped beyond its ttl and wakes up: nothing of what it still does counts.

Source: design §4, holder's deadline; §5, dag: an old leader's append fails by token.
"""

from __future__ import annotations

import signal
from contextlib import suppress

import anyio
import psutil

from federlib import Federation
from federlib.errors import Unavailable
from federlib.storage import Put, Transaction
from fleet import Fleet, until

TASK = "echo $FEDERLIB_TASK_ID $FEDERLIB_ATTEMPT >> ledger; sleep 1; echo end >> ledger"


async def epoch(fed: Federation) -> int:
    """Return the epoch of the reign that has begun, 0 before the first."""
    return (await fed.dag.inspect("r")).epoch


async def can_write(fed: Federation) -> bool:
    """Say whether the stopped process holds the store's own turn to write."""
    with anyio.move_on_after(1):
        await fed.store.commit(Transaction((Put("probe", b"1"),)))
        return True
    return False


def stop_between_commits(fleet: Fleet, process: psutil.Process) -> None:
    # Stopped inside a commit it would hold up everybody: a hazard that SQLite's driver names.
    for _ in range(10):
        process.send_signal(signal.SIGSTOP)
        # Not even opened can a store be while its lock is held.
        with suppress(Unavailable):
            if fleet.ask(can_write):
                return
        process.send_signal(signal.SIGCONT)
    raise AssertionError("the process was always inside a commit")


def test_a_stopped_leader_wakes_up_to_refusals_and_says_so(fleet: Fleet) -> None:
    name = fleet.write("w.json", [
        {"id": "a", "run": TASK},
        {"id": "last", "needs": ["a"], "run": "until test -e go; do sleep 0.05; done"},
    ])  # fmt: skip
    submitted = fleet.start("run", name, "--ttl", "1", "--run-id", "r", "--workers", "1")
    until(lambda: fleet.lines("ledger") == ["a 1"], what="the task")
    (leader,) = [p for p in psutil.Process(submitted.pid).children() if "worker" in p.cmdline()]
    first = fleet.ask(epoch)
    heir = fleet.start("worker", "--run-id", "r", "--ttl", "1", log="heir.log")
    until(lambda: "role follower" in fleet.text("heir.log"), what="the heir")
    stop_between_commits(fleet, leader)

    until(lambda: fleet.ask(epoch) > first, what="the heir's reign")
    # The first attempt ends behind its stopped worker's back; the second is the heir's.
    until(lambda: fleet.lines("ledger").count("end") == 2, what="the second attempt")
    assert "a 2" in fleet.lines("ledger")
    leader.send_signal(signal.SIGCONT)
    log = ".federlib/logs/r/~worker-0.log"
    until(lambda: "worker_lease_lost" in fleet.text(log), what="the zombie's own word")
    until(lambda: "role follower" in fleet.text(log).partition("role leader")[2], what="its fall")
    (fleet.root / "go").touch()
    assert (submitted.wait(60), heir.wait(60)) == (0, 0)

    history = fleet.history("r")
    assert history.accepted == [("a", 2), ("last", 1)]
    assert history.stale == []
    assert history.lost[0][0] == "a"
    assert [line for line in fleet.lines("ledger") if line != "end"] == ["a 1", "a 2"]
