"""What users of DBOS Transact complained of: recovery, and a store under load.

Each docstring names the issue, says what was seen there, and why it cannot happen here.
"""

from __future__ import annotations

import shutil

import anyio
import pytest

from federlib.dag.transitions import MAX_TRANSITIONS, Claimed, Succeeded
from federlib.errors import IdentityTaken
from federlib.identity import IdentityStore
from federlib.storage.limits import MAX_WRITES
from fleet import read_history

from .work import AT_ONCE, Work, claims_by_life, ended
from .world import LIMIT_S, World, in_world, logged, touches, transitions, until

pytestmark = pytest.mark.anyio

LENGTH_S = 1.0


@in_world
async def test_dbos_742_a_stale_recoverer_cannot_run_what_it_no_longer_owns(world: World) -> None:
    """dbos-inc/dbos-transact-py#742.

    Two recoverers had read the same list of a dead worker's work; the second found that an
    item was not its own any more, and ran it all the same. Here what a leader decides is
    one commit that checks the epoch record: decided on old knowledge, it is refused whole.
    """
    work, door = Work(), await world.door()
    async with world.member() as fed:
        await fed.dag.submit({"a": []}, run_id="r", policy=AT_ONCE)
        await (await world.fleet(door)).lead("r", ttl_s=0.5)
        doomed = await (await world.fleet()).work("r", work.by("doomed", held=True), ttl_s=0.4)
        await until(lambda: work.ran)
        heir = await (await world.fleet()).work("r", work.by("heir"), ttl_s=5)
        await until(lambda: any(touches("/worker/")(t) for t in heir.cable.commits))
        door.freeze_at(touches("/log/"))
        doomed.crash()
        # It has seen that the worker is dead, and decided who shall have its task.
        await door.frozen.wait()
        await (await world.fleet()).lead("r", ttl_s=5)
        assert (await ended(fed, "r")).state == "success"
        door.thaw()
        await until(lambda: door.conflicts(touches("/log/")), "the refusal")
        history = await read_history(fed, "r")
    (refused,) = door.conflicts(touches("/log/"))
    assert Claimed(0, 2, 0) in transitions(refused)
    assert work.ran == [("doomed", "a", 1), ("heir", "a", 2)]
    assert (history.accepted, history.stale) == ([("a", 2)], [])


@in_world
async def test_dbos_716_a_store_restart_in_the_middle_of_recovery_strands_nothing(
    world: World,
) -> None:
    """dbos-inc/dbos-transact-py#716.

    The database restarted while one process recovered another's work: the error was logged
    and swallowed, and what was not yet recovered stayed pending for ever. Here recovery is
    no call that may fail: whoever leads looks at the dead worker's claims until none is left.
    """
    work, door = Work(), await world.door()
    async with world.member() as fed:
        await fed.dag.submit({f"t{n}": [] for n in range(24)}, run_id="r", policy=AT_ONCE)
        first = await world.join("r", work.by("a", held=True), ttl_s=0.3, slots=8)
        await until(lambda: len(work.ran) == 8)
        first.crash()
        door.break_at(touches("dag/r/epoch"))
        await world.join("r", work.by("b"), door=door, ttl_s=0.5, slots=4)
        # The takeover, a claim and a success: each time the store is away for a while.
        for next_fault in (logged(Claimed), logged(Succeeded), None):
            await until(lambda: door.is_away, "the outage")
            refused = door.refused
            await until(lambda before=refused: door.refused >= before + 4)  # type: ignore[misc]
            door.heal()
            if next_fault is not None:
                door.break_at(next_fault)
        assert (await ended(fed, "r")).state == "success"
        history = await read_history(fed, "r")
    mine = {task for who, task, _ in work.ran if who == "a"}
    assert mine <= {task for task, _ in history.lost}
    assert len({task for task, _ in history.accepted}) == len(history.accepted) == 24
    assert history.stale == []


@in_world
async def test_dbos_804_a_draining_life_of_the_same_worker_gets_nothing_any_more(
    world: World,
) -> None:
    """dbos-inc/dbos-transact-py#804.

    In a rolling restart the old process, still draining under the same executor id, took
    again what the new one had just put back, and left with it. Here two live processes of
    one directory never share an identity; and where the directory was copied, the claim
    names the incarnation: the older life is given nothing once a newer one is there.
    """
    work = Work()
    old_fleet, new_fleet = await world.fleet(), await world.fleet()
    async with world.member() as fed:
        await fed.dag.submit({f"t{n}": [] for n in range(6)}, run_id="r", policy=AT_ONCE)
        old = await old_fleet.start(
            lambda p: p.fed.dag.work("r", work.by("old", held=True), slots=2), ttl_s=5
        )
        await until(lambda: len(work.ran) == 2)
        root = old_fleet._root / "1"
        with pytest.raises(IdentityTaken):
            IdentityStore(root).claim(0)
        shutil.copytree(root, new_fleet._root / "1")
        await new_fleet.start(
            lambda p: p.fed.dag.work("r", work.by("new", held=True), slots=2), ttl_s=5
        )
        # The old life leads, and gives its own tasks to the new one.
        await until(lambda: len(work.ran) == 4, "the handover", limit_s=3)
        old.scope.cancel()
        work.go.set()
        assert (await ended(fed, "r")).state == "success"
        lives = await claims_by_life(fed, "r")
        history = await read_history(fed, "r")
    assert lives == [1, 1, 2, 2, 2, 2, 2, 2]
    assert {incarnation for _, (_, incarnation) in history.lost} == {1}
    assert len({worker for _, (worker, _) in history.lost}) == 1
    assert [who for who, _, _ in work.ran] == ["old"] * 2 + ["new"] * 6
    assert sorted(task for task, _ in history.accepted) == [f"t{n}" for n in range(6)]


@in_world
async def test_dbos_805_what_stands_between_two_steps_goes_on_although_there_is_one_slot(
    world: World,
) -> None:
    """dbos-inc/dbos-transact-py#805.

    On a queue of concurrency 1 a recovered item stood between two finished steps and the
    next one for ever, and everything behind it waited. Here the next step is a claim of the
    dead worker, lost with its lease; and a dead worker takes up no slot.
    """
    work, door = Work(), await world.door()
    async with world.member() as fed:
        chain = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
        await fed.dag.submit(chain, run_id="r", policy=AT_ONCE)
        await fed.dag.submit({"later": []}, run_id="next")
        door.break_at(logged(Claimed, 2))
        first = await world.join("r", work.by("first"), door=door, ttl_s=1.0, slots=1)
        await until(lambda: door.is_away)
        first.crash()
        async with world.member() as heir:
            with anyio.fail_after(LIMIT_S):
                for run in ("r", "next"):
                    done = await heir.dag.work(run, work.by("heir"), slots=1)
                    assert done.state == "success"
        history = await read_history(fed, "r")
    assert [task for task, _ in history.lost] == ["c"]
    assert work.ran == [
        ("first", "a", 1), ("first", "b", 1), ("heir", "c", 2), ("heir", "d", 1),
        ("heir", "later", 1),
    ]  # fmt: skip


@in_world
async def test_dbos_ts_1302_a_backlog_is_given_out_in_bounded_commits_and_holds_nobody_up(
    world: World,
) -> None:
    """dbos-inc/dbos-transact-ts#1302.

    One dequeue took a whole backlog into a transaction that stood open, and every other
    update waited behind it. Here a commit is sent whole and is bounded, so a process that
    stops in the middle of a claim holds nothing; other runs and a cancel get through.
    """
    size, work, stopped = 2_000, Work(), await world.door()
    async with world.member() as fed:
        await fed.dag.submit({f"t{n}": [] for n in range(size)}, run_id="backlog")
        await fed.dag.submit({"a": [], "b": ["a"]}, run_id="other")
        stopped.freeze_at(logged(Claimed, 0))
        await world.join("backlog", work.by("w1", held=True), door=stopped, ttl_s=0.5, slots=500)
        await stopped.frozen.wait()
        # One stands in the middle of its claim of hundreds.
        with anyio.fail_after(LIMIT_S):
            assert (await fed.dag.work("other", work.by("small"))).state == "success"
            heir = await world.join("backlog", work.by("w2", held=True), ttl_s=5, slots=1_000)
            await until(lambda: len(work.ran) == 2 + 1_000)
            assert (await fed.dag.inspect("backlog")).counts()["ready"] == size - 1_000
            await fed.dag.cancel("backlog")
            assert (await ended(fed, "backlog")).state == "cancelled"
        stopped.thaw()
        await until(lambda: stopped.conflicts(logged(Claimed, 0)), "the refusal")
    sent = heir.cable.commits
    assert max(len(transaction.writes) for transaction in sent) <= MAX_WRITES
    assert max(len(transitions(transaction)) for transaction in sent) <= MAX_TRANSITIONS
    assert [who for who, _, _ in work.ran[:2]] == ["small", "small"]


@in_world
async def test_dbos_ts_1267_and_java_221_an_idle_fleet_hardly_touches_its_store(
    world: World,
) -> None:
    """dbos-inc/dbos-transact-ts#1267, dbos-inc/dbos-transact-java#221.

    Hundreds of waiters polled on one beat and took every connection; an idle program made
    700 commits a second. Here whoever waits is told of changes by one watch; what is left
    is the renewal of leases and of places in their queues.
    """
    work, waiting = Work(), 20
    async with world.member(ttl_s=15) as fed:
        await fed.dag.submit({"long": [], "after": ["long"]}, run_id="r")
        for number in range(4):
            await world.join("r", work.by(f"w{number}", held=True), ttl_s=15)
        await until(lambda: work.ran)

        async def wait() -> None:
            async with fed.hold("prize"):
                pass

        async with fed.hold("prize"), anyio.create_task_group() as group:
            for _ in range(waiting):
                group.start_soon(wait)
            while len((await fed.inspect("prize")).waiters) < waiting:
                await anyio.sleep(0.05)
            reads, commits = world.calls("read"), world.calls("commit")
            await anyio.sleep(LENGTH_S)  # this is the measured time, not a wait for something
            reads, commits = world.calls("read") - reads, world.calls("commit") - commits
            group.cancel_scope.cancel()
    each_s = (4 + waiting) * LENGTH_S
    assert 0 < commits < each_s
    assert reads < each_s
