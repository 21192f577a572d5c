"""What users of Airflow, Prefect, Dagster and Hatchet complained of.

Each docstring names the issue, says what was seen there, and why it cannot happen here.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import anyio
import pytest

from federlib import Federation
from federlib.dag import Policy, TaskRun, TaskSpec, Workflow
from federlib.dag.transitions import Claimed, Succeeded
from federlib.fencing import Command, Outcome
from federlib.leadership import Elector
from federlib.storage import AtRevision, Committed, Put, RecordStore, Transaction
from fleet import read_history

from .work import AT_ONCE, DIAMONDS, Work, ended, rob
from .world import LIMIT_S, World, in_world, logged, touches, until

pytestmark = pytest.mark.anyio


async def leading(seat: Elector, *, above: int = 0) -> int:
    with anyio.fail_after(LIMIT_S):
        async for state in seat.changes():
            if state.role == "leader" and state.epoch > above:
                return state.epoch
    raise AssertionError


# Airflow


@in_world
async def test_airflow_64710_two_schedulers_see_one_breach_and_it_fires_once(world: World) -> None:
    """apache/airflow#64710.

    Two schedulers read the same overdue deadline and each called the callback. Here the
    command that follows has one id: the store takes it once, from whoever leads, and of
    several consumers one commit lets one begin. An id that a deposed leader has spent is
    told to the present one.
    """
    fired: Counter[str] = Counter()
    breaches = [f"breach-{n}" for n in range(10)]

    async def fire(command: Command) -> Literal["applied"]:
        fired[command.command_id.partition(".")[0]] += 1
        return "applied"

    async def page(fed: Federation, seat: Elector, breach: str) -> None:
        told = await fed.commands.issue("page", gate=seat, command_id=breach)
        if isinstance(told, Outcome) and told.reason == "already rejected_stale_epoch":
            told = await fed.commands.issue("page", gate=seat, command_id=f"{breach}.again")
        assert isinstance(told, Command) == (seat is new), told

    async with world.member() as one, world.member() as two, one.elect("scheduler") as old:
        first = await leading(old)
        await rob(one, "scheduler")
        async with two.elect("scheduler") as new, anyio.create_task_group() as group:
            # Both believe that they lead, and both see every breach.
            await leading(new, above=first)
            for fed in (one, two):
                group.start_soon(fed.commands.consume, "scheduler", fire)
            async with anyio.create_task_group() as race:
                for breach in breaches:
                    race.start_soon(page, two, new, breach)
                    race.start_soon(page, one, old, breach)
            with anyio.fail_after(LIMIT_S):
                while (await two.commands.counts()).get("applied", 0) < len(breaches):
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert fired == dict.fromkeys(breaches, 1)


@in_world
async def test_airflow_23361_65836_and_66794_opposite_orders_of_writing_never_deadlock(
    world: World,
) -> None:
    """apache/airflow#23361, #65836, #66794.

    Two processes locked the same rows in opposite orders, and the database shot one of
    them, scheduler or task. Here nothing is locked between a read and a write: a commit
    names what it rests on, and one that comes too late is told so and tries again.
    """
    keys, rounds = [f"row/{n}" for n in range(6)], 12
    stores = [await world.open() for _ in range(2)]
    await stores[0].commit(Transaction(tuple(Put(key, b"0") for key in keys)))
    refused = 0

    async def raise_all(store: RecordStore, order: list[str]) -> None:
        nonlocal refused
        for _ in range(rounds):
            while True:
                found = [record for key in order if (record := await store.get(key))]
                done = await store.commit(
                    Transaction(
                        tuple(Put(r.key, str(int(r.value) + 1).encode()) for r in found),
                        tuple(AtRevision(r.key, r.revision) for r in found),
                    )
                )
                if isinstance(done, Committed):
                    break
                refused += 1

    with anyio.fail_after(LIMIT_S):
        async with anyio.create_task_group() as group:
            for store in stores:
                group.start_soon(raise_all, store, keys)
                group.start_soon(raise_all, store, keys[::-1])
    page = await stores[1].scan("row/")
    assert {record.value for record in page.records} == {str(4 * rounds).encode()}
    assert refused > 0


# Prefect


@in_world
async def test_prefect_16429_a_crashed_attempt_that_completes_later_changes_nothing(
    world: World,
) -> None:
    """PrefectHQ/prefect#16429.

    A run was declared crashed, which is final, and everybody went on from there; then its
    late pod started, and the run became Completed. Here a finish counts only for the claim
    that stands; one that comes after it is kept as refused.
    """
    work, door = Work(), await world.door()
    async with world.member() as fed:
        await fed.dag.submit({"a": []}, run_id="r", policy=Policy(backoff_s=0, max_lost=0))
        await (await world.fleet()).lead("r", ttl_s=2)
        # It has done its task, and is stopped before it can say so.
        door.freeze_at(touches("/done/"))
        await (await world.fleet(door)).work("r", work.by("late"), ttl_s=0.3)
        await door.frozen.wait()
        crashed = await ended(fed, "r")
        assert crashed.state == "failed"
        door.thaw()
        await until(lambda: door.sent(touches("/done/")))
        assert await fed.dag.record("r") == crashed
        await fed.dag.resume("r", retry_failed=True)
        await world.join("r", work.by("again"), ttl_s=5)
        assert (await ended_after(fed, "r", crashed.ended_ns)) == "success"
        state = await fed.dag.inspect("r")
    assert state.refused == 1
    assert [attempt for _, attempt, _ in state.accepted()] == [2]


@in_world
async def test_prefect_16429_a_late_finish_does_not_count_for_the_attempt_that_followed(
    world: World,
) -> None:
    """PrefectHQ/prefect#16429.

    The same while the task is being tried again: the late finish names the attempt and the
    life it belongs to, and neither is the one that stands.
    """
    late, work, door = Work(), Work(), await world.door()
    async with world.member() as fed:
        await fed.dag.submit({"a": []}, run_id="r", policy=AT_ONCE)
        await (await world.fleet()).lead("r", ttl_s=2)
        door.freeze_at(touches("/done/"))
        await (await world.fleet(door)).work("r", late.by("late"), ttl_s=0.3)
        await door.frozen.wait()
        await (await world.fleet()).work("r", work.by("again", held=True), ttl_s=5)
        await until(lambda: work.ran)
        door.thaw()
        with anyio.fail_after(LIMIT_S):
            while not (state := await fed.dag.inspect("r")).refused:
                await anyio.sleep(0.01)
        assert state.counts()["running"] == 1
        work.go.set()
        assert (await ended(fed, "r")).state == "success"
        history = await read_history(fed, "r")
    assert history.accepted == [("a", 2)]
    assert work.ran == [("again", "a", 2)]


async def ended_after(fed: Federation, run: str, before_ns: int) -> str:
    """Wait for an end of a run that is not the one before."""
    with anyio.fail_after(LIMIT_S):
        while (record := await ended(fed, run)).ended_ns == before_ns:
            await anyio.sleep(0.01)
    return record.state


# Dagster


@in_world
async def test_dagster_33962_two_daemons_on_one_run_do_not_run_it_twice(world: World) -> None:
    """dagster-io/dagster#33962.

    A deployment started two daemons; each said that this is not supported, and every job
    was run twice. Here any number of processes may take part: one leads, and where two
    believe that they do, only the higher epoch gets into the log.
    """
    work = Work()
    async with world.member() as fed:
        await fed.dag.submit(DIAMONDS, run_id="r", policy=AT_ONCE)
        for who in ("one", "two", "three"):
            await world.join("r", work.by(who, held=True), ttl_s=5, slots=2)
        for robbed in range(1, 4):
            await until(lambda: len(work.ran) == 6)
            await rob(fed, "dag/r/leader")
            # All six tasks wait, so the new leader has the time to take over.
            while len((await fed.dag.inspect("r")).epochs) <= robbed:
                await anyio.sleep(0.01)
        work.go.set()
        assert (await ended(fed, "r")).state == "success"
        history = await read_history(fed, "r")
    assert Counter(task for _, task, _ in work.ran) == dict.fromkeys(DIAMONDS, 1)
    assert len(history.leaders) > 1
    assert (history.stale, history.lost) == ([], [])


@in_world
async def test_dagster_3705_a_run_whose_processes_are_all_gone_is_seen_and_goes_on(
    world: World,
) -> None:
    """dagster-io/dagster#3705.

    A pod was evicted, and its run showed as started from then on, for years. Here a run is
    led by a lease that runs out, so anybody sees that nobody leads it; and whoever starts
    next under its id goes on from its log.
    """
    work = Work()
    async with world.member() as fed:
        await fed.dag.submit({"a": [], "b": ["a"], "c": ["b"]}, run_id="r", policy=AT_ONCE)
        door = await world.door()
        door.break_at(logged(Succeeded, 0))
        evicted = await world.join("r", work.by("evicted"), door=door, ttl_s=0.3)
        await until(lambda: door.is_away)
        evicted.crash()
        with anyio.fail_after(LIMIT_S):
            while (await fed.dag.leader("r")).is_live:
                await anyio.sleep(0.02)
        assert (await fed.dag.inspect("r")).outcome == "running"
        with anyio.fail_after(LIMIT_S):
            assert (await fed.dag.work("r", work.by("newcomer"))).state == "success"
    assert Counter(task for _, task, _ in work.ran)["a"] == 1
    assert [task for who, task, _ in work.ran if who == "newcomer"] == ["b", "c"]


# Hatchet


@in_world
async def test_hatchet_1022_a_task_at_its_timeout_is_stopped_before_it_is_tried_again(
    world: World,
) -> None:
    """hatchet-dev/hatchet#1022.

    A step that ran into its timeout was executed twice, the second while the first went on.
    Here the worker says that an attempt has failed only once it has ended, however long
    its handler takes to let go, and each attempt is one claim.
    """
    inside, attempts = Counter[str](), list[tuple[str, int]]()
    most = 0

    async def stubborn(task: TaskRun) -> None:
        nonlocal most
        attempts.append((task.task_id, task.attempt))
        inside[task.task_id] += 1
        most = max(most, inside[task.task_id])
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
            inside[task.task_id] -= 1

    names = ["a", "b", "c"]
    async with world.member() as fed:
        specs = tuple(TaskSpec(id=name, timeout_s=0.05, retries=2) for name in names)
        await fed.dag.submit(Workflow("", specs), run_id="r", policy=AT_ONCE)
        for _ in range(2):
            await world.join("r", stubborn, ttl_s=5, slots=8)
        assert (await ended(fed, "r")).state == "failed"
        state = await fed.dag.inspect("r")
    assert most == 1
    assert sorted(attempts) == [(name, n) for name in names for n in (1, 2, 3)]
    assert state.refused == 0


@in_world
async def test_hatchet_2432_what_was_assigned_to_a_silent_worker_does_not_wait_for_its_timeout(
    world: World,
) -> None:
    """hatchet-dev/hatchet#2432.

    A task was assigned just as its worker lost the connection; the worker never began it,
    the engine counted it as running, and it ended at its timeout of a quarter of an hour.
    Here the claim is lost with the worker's lease; and the worker that comes back comes
    back under a new token, with empty hands.
    """
    work, door = Work(), await world.door()
    async with world.member() as fed:
        specs = (TaskSpec(id="a", timeout_s=900), TaskSpec(id="b", needs=("a",), timeout_s=900))
        await fed.dag.submit(Workflow("", specs), run_id="r", policy=AT_ONCE)
        await (await world.fleet(door)).work("r", work.by("silent"), ttl_s=0.3)
        await until(lambda: door.sent(touches("/worker/")))
        leader_door = await world.door()
        leader_door.at(logged(Claimed, 0), door.cut)
        await (await world.fleet(leader_door)).lead("r", ttl_s=2)
        await until(lambda: door.is_away)
        await (await world.fleet()).work("r", work.by("other", held=True), ttl_s=5)
        await until(lambda: work.ran)
        door.heal()
        await until(lambda: len(door.sent(touches("/worker/"))) >= 2, "its new life")
        work.go.set()
        assert (await ended(fed, "r")).state == "success"
        history = await read_history(fed, "r")
    assert work.ran[0] == ("other", "a", 2)
    assert [task for task, _ in history.lost] == ["a"]
    assert history.accepted == [("a", 2), ("b", 1)]
