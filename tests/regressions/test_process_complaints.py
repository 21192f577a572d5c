"""Complaints that take processes of their own: two at work, one killed, one stopped, one forked."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter

import pytest

from federlib import Federation
from federlib.dag import Policy
from federlib.errors import IdentityTaken
from federlib.identity import IdentityStore
from federlib.lease import Busy, HeldLease
from federlib.storage import Put
from fleet import Fleet, until

from .processes import start

TASKS = 300


def test_dbos_541_two_runners_on_one_sqlite_file_run_each_task_once(
    fleet: Fleet, loop: str
) -> None:
    """dbos-inc/dbos-transact-py#541.

    Two processes on one SQLite file took the same item out of the queue: 1,005 runs of
    1,000. Here nobody takes: the one leader gives, in a commit that checks what it rests on.
    """

    async def submit(fed: Federation) -> None:
        held = {f"{n}-held": list[str]() for n in range(16)}
        await fed.dag.submit(held | {f"{n}": [] for n in range(TASKS - 16)}, run_id="r")

    fleet.ask(submit)
    runners = [start(fleet, "work", loop, "5,8") for _ in range(2)]
    until(lambda: len(fleet.lines("ledger")) == 16, what="eight tasks on each")
    (fleet.root / "go").touch()
    assert [runner.wait() for runner in runners] == [["ready", "success"]] * 2
    ran = [line.split() for line in fleet.lines("ledger")]
    assert set(Counter(task for task, _, _ in ran).values()) == {1}
    assert len(ran) == TASKS
    assert {int(pid) for _, _, pid in ran} == {runner.pid for runner in runners}


def test_prefect_16746_and_18257_a_killed_workers_slot_is_free_again(
    fleet: Fleet, loop: str
) -> None:
    """PrefectHQ/prefect#16746, #18257.

    After a worker was killed its run stayed Running and kept the only slot of its pool, so
    nothing ran any more. Here slots belong to a living worker and are counted from its
    claims; those of a dead one are lost with its lease, and given to whoever has room.
    """

    async def submit(fed: Federation) -> None:
        plan = {"first-held": list[str](), "second": [], "third": []}
        await fed.dag.submit(plan, run_id="r", policy=Policy(backoff_s=0))

    async def claims(fed: Federation) -> int:
        return len((await fed.dag.inspect("r")).claims_by)

    fleet.ask(submit)
    killed = start(fleet, "work", loop, "0.5,1")
    until(lambda: fleet.lines("ledger"), what="the only slot's task")
    killed.kill()
    other = start(fleet, "work", loop, "0.5,1")
    again = f"first-held 2 {other.pid}"
    until(lambda: again in fleet.lines("ledger"), what="the second attempt")
    assert fleet.ask(claims) == 1
    (fleet.root / "go").touch()
    assert other.wait() == ["ready", "success"]
    ran = [line.split() for line in fleet.lines("ledger")]
    assert [(task, int(pid)) for task, _, pid in ran[:1]] == [("first-held", killed.pid)]
    assert sorted(task for task, _, _ in ran[1:]) == ["first-held", "second", "third"]
    assert {int(pid) for _, _, pid in ran[1:]} == {other.pid}
    assert [task for task, _ in fleet.history("r").lost] == ["first-held"]


def test_sherlock_78_a_holder_stopped_between_its_look_and_its_write_is_refused(
    fleet: Fleet, loop: str
) -> None:
    """coditory/sherlock-distributed-lock#78.

    A user asked for fencing tokens, because a paused process cannot know that its lock has
    gone to another. Here every grant has one, and a resource in the store or outside it
    refuses whatever comes under a lower one.
    """
    outside = sqlite3.connect(fleet.root / "outside.db")
    outside.execute("CREATE TABLE report (body TEXT, fence INTEGER)")
    outside.execute("INSERT INTO report VALUES ('', 0)")
    outside.commit()

    async def overtake(fed: Federation) -> int:
        async with fed.hold("report", ttl_s=5, wait_s=20) as lease:
            await fed.guard("report").transaction(lease.token, (Put("report", b"theirs"),))
            outside.execute("UPDATE report SET body = 'theirs', fence = ?", (lease.token,))
            outside.commit()
            return lease.token

    async def stored(fed: Federation) -> bytes:
        record = await fed.store.get("report")
        assert record is not None
        return record.value

    paused = start(fleet, "report", loop)
    assert paused.hear() == "checked 1"
    paused.process.send_signal(signal.SIGSTOP)
    assert fleet.ask(overtake) == 2
    paused.process.send_signal(signal.SIGCONT)
    paused.tell("write")
    assert paused.wait() == ["StaleToken", "changed 0, lost True"]
    assert outside.execute("SELECT * FROM report").fetchall() == [("theirs", 2)]
    outside.close()
    assert fleet.ask(stored) == b"theirs"


def test_filelock_634_a_forked_child_frees_nothing_of_its_parent(fleet: Fleet, loop: str) -> None:
    """tox-dev/filelock#634.

    A forked child released the lock that its parent still held, and another process took
    it. Here a fork has lost the lease from its first instruction, its release does nothing,
    and its copy of the identity's lock is closed without unlocking.
    """
    parent = start(fleet, "fork", loop)
    assert [parent.hear() for _ in range(3)] == [
        "child lost True",
        "child LeaseLost",
        "child Fenced",
    ]
    assert parent.hear() == "parent holds 1"

    async def ask(fed: Federation) -> HeldLease | Busy:
        return await fed.try_acquire("job")

    assert isinstance(fleet.ask(ask), Busy)
    with pytest.raises(IdentityTaken):
        IdentityStore(fleet.root / "runtime/identities").claim(0)
    parent.tell("end")
    assert parent.wait() == []
    freed = fleet.ask(ask)
    assert isinstance(freed, HeldLease)
    assert freed.token == 2
