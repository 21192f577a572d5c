"""Complaints that take processes of their own: two at work, one killed, one stopped, one forked."""

from __future__ import annotations

from collections import Counter

from federlib import Federation
from federlib.dag import Policy
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
