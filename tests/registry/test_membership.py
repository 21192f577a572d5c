"""Joining: heartbeats while the body runs, a goodbye after it, and nobody's place taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from federlib.errors import InvalidInput
from federlib.registry import Membership
from federlib.storage import Committed, Conflicted, Transaction
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import LoopClock, ManualClock, virtual_backend
from registry.worlds import World, heartbeats, until_change

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run these in virtual time: members expire, and nobody waits for it."""
    return virtual_backend(request.param)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, LoopClock())


async def test_who_joins_is_there_with_all_it_says(world: World) -> None:
    process = world.process(ttl_s=7)
    async with process.registry.join(kind="gate", labels={"zone": "b"}, slots=3) as member:
        assert member.worker_id == process.identity.worker_id
        (found,) = await process.registry.members()
        told = found.record
        assert (found.state, told.kind, told.labels, told.slots) == (
            "live",
            "gate",
            {"zone": "b"},
            3,
        )
        assert (told.worker_id, told.host_id) == (member.worker_id, process.identity.host_id)
        assert (told.incarnation, told.pid, told.ttl_ms) == (member.incarnation, os.getpid(), 7_000)
        assert told.version == "1"
        assert told.hostname
        assert 0 <= found.age_s < 5
    assert process.log.names() == ["registry_joined", "registry_left"]


async def test_leaving_marks_the_entry_and_keeps_the_incarnation(world: World) -> None:
    process = world.process()
    async with process.registry.join() as member:
        member.report(load=2)
    found = await process.registry.find(process.identity.worker_id)
    assert found is not None
    assert (found.state, found.record.load) == ("left", 0)
    assert await process.registry.members() == []
    (left,) = await process.registry.members(state="left")
    assert left.record == found.record


async def test_heartbeats_go_on_and_carry_what_was_reported(world: World) -> None:
    process = world.process(ttl_s=0.2)
    async with process.registry.watch() as changes, process.registry.join(slots=8) as member:
        joined = await until_change(changes, lambda change: change.after is not None)
        assert joined.member.record.load == 0
        member.report(load=5)
        change = await until_change(changes, lambda change: change.member.record.load == 5)
        assert change.member.state == "live"
        assert change.member.record.last_seen > joined.member.record.last_seen
    assert process.sink.value("federlib_registry_heartbeats_total", result="sent") >= 2


async def test_a_member_outlives_many_ttls_while_its_body_runs(world: World) -> None:
    process, other = world.process(ttl_s=0.3), world.process(host="b", ttl_s=0.3)
    async with process.registry.join(), heartbeats(world) as beat:
        for _ in range(9):
            await beat()
            assert [m.worker_id for m in await other.registry.members()] == [
                process.identity.worker_id
            ]


@pytest.mark.parametrize("drawn", [0.0, 1.0])
async def test_heartbeats_come_a_little_early_by_chance_and_never_late(
    world: World, drawn: float
) -> None:
    process = world.process(ttl_s=0.9, jitter=lambda: drawn)
    async with process.registry.join(), heartbeats(world) as beat:
        (before,) = await process.registry.members()
        await beat()
        (after,) = await process.registry.members()
    apart_s = (after.record.boot_ns - before.record.boot_ns) / 1e9
    assert apart_s >= 0.3 * (1 - 0.1 * drawn)
    assert apart_s < 0.3 * (1 - 0.1 * drawn) + 5  # a busy machine, but a third of the ttl


async def test_a_store_that_is_away_ends_nothing_and_is_told_once(world: World) -> None:
    process, other = world.process(ttl_s=0.2), world.process(host="b")
    async with other.registry.watch() as changes, process.registry.join():
        process.store.is_cut = True
        expired = await until_change(changes, lambda change: change.member.state == "expired")
        assert expired.member.worker_id == process.identity.worker_id
        while process.sink.value("federlib_registry_heartbeats_total", result="failed") < 3:
            await anyio.sleep(0.01)
        process.store.is_cut = False
        back = await until_change(changes, lambda change: change.member.state == "live")
        assert back.before == expired.after
    assert process.log.names() == [
        "registry_joined",
        "registry_heartbeat_failed",
        "registry_heartbeat_resumed",
        "registry_left",
    ]


async def test_joining_does_not_wait_for_a_store_that_is_away(world: World) -> None:
    process, other = world.process(), world.process(host="b")
    process.store.is_cut = True
    async with other.registry.watch() as changes, process.registry.join():
        assert process.log.names() == ["registry_heartbeat_failed"]
        process.store.is_cut = False
        assert (await until_change(changes, lambda change: True)).member.state == "live"


async def test_a_body_may_end_while_the_store_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federlib.registry.membership.CLOSE_TIMEOUT_S", 0.05)
    process = world.process()
    async with process.registry.join():
        process.store.is_cut = True
    assert process.log.names() == ["registry_joined", "registry_leave_failed"]


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_lost_answer_is_found_out_by_looking(world: World, lost: int) -> None:
    process = world.process(ttl_s=0.2)
    process.store.lost_answers = lost
    async with process.registry.join(), heartbeats(world) as beat:
        for _ in range(lost + 1):
            await beat()
        while process.sink.value("federlib_registry_heartbeats_total", result="sent") == 0:
            await anyio.sleep(0.01)
    found = await process.registry.find(process.identity.worker_id)
    assert found is not None
    assert found.state == "left"
    assert process.log.names()[-1] == "registry_left"


async def test_a_lost_answer_to_the_goodbye_is_no_second_goodbye(world: World) -> None:
    process = world.process()
    async with process.registry.join():
        process.store.lost_answers = 1
    assert process.log.names() == ["registry_joined", "registry_left"]
    assert [m.state for m in (await process.registry.inspect()).members] == ["left"]


async def test_an_attempt_that_hangs_is_followed_by_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federlib.registry.membership._TRY_S", 0.05)
    process, other = world.process(), world.process(host="b")
    process.store.before_commit = anyio.sleep_forever
    async with other.registry.watch() as changes, process.registry.join():
        assert process.log.names() == ["registry_heartbeat_failed"]
        assert (await until_change(changes, lambda change: True)).member.state == "live"


# Bodies


async def test_the_bodys_own_exception_leaves_as_it_is(world: World) -> None:
    process = world.process()
    mine = ExceptionGroup("mine", [ValueError("a"), KeyError("b")])
    with pytest.raises(ExceptionGroup) as caught:
        async with process.registry.join():
            raise mine
    assert caught.value is mine
    assert process.log.names()[-1] == "registry_left"


async def test_cancellation_from_outside_says_goodbye_and_goes_on(world: World) -> None:
    process = world.process()
    with anyio.CancelScope() as scope:
        async with process.registry.join():
            scope.cancel()
            await anyio.sleep(20)
    assert scope.cancelled_caught
    assert [m.state for m in (await process.registry.inspect()).members] == ["left"]


async def test_cancellation_wins_over_a_lost_identity(world: World) -> None:
    process = world.process(ttl_s=0.2)
    with anyio.CancelScope() as scope:
        async with process.registry.join():
            process.identity.release()
            try:
                await anyio.sleep(20)
            finally:
                scope.cancel()
    assert scope.cancelled_caught


class CancellingStore(MemoryStore):
    """Calls back when a commit has happened and its answer is still on the way."""

    on_commit: Callable[[], None] = staticmethod(lambda: None)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        done = await super().commit(transaction)
        self.on_commit()
        await anyio.lowlevel.checkpoint()
        return done


async def test_cancelled_while_joining_nothing_of_ours_stays_live(world: World) -> None:
    world.store = store = CancellingStore(world.clock)
    process = world.process()
    with anyio.CancelScope() as scope:
        store.on_commit = scope.cancel
        async with process.registry.join():
            pytest.fail("the body ran")
    assert scope.cancelled_caught
    assert [m.state for m in (await process.registry.inspect()).members] == ["left"]
    store.on_commit = lambda: None
    async with process.registry.join():
        assert len(await process.registry.members()) == 1


async def test_a_membership_is_entered_once(world: World) -> None:
    process = world.process()
    membership: Membership = process.registry.join()
    with pytest.raises(InvalidInput, match="entered"):
        assert membership.worker_id
    async with membership:
        pass
    with pytest.raises(InvalidInput, match="once"):
        await membership.__aenter__()


@pytest.mark.parametrize("load", [-1, float("nan")])
async def test_a_load_that_cannot_be_is_refused_and_the_last_one_stays(
    world: World, load: float
) -> None:
    process = world.process(ttl_s=0.2)
    async with process.registry.watch() as changes, process.registry.join() as member:
        member.report(load=1)
        with pytest.raises(InvalidInput, match="load"):
            member.report(load=load)
        change = await until_change(changes, lambda change: change.member.record.load > 0)
        assert change.member.record.load == 1


@pytest.mark.parametrize(
    "wrong", [{"kind": ""}, {"labels": {"a": 1}}, {"slots": -1}, {"ttl_s": 0}, {"ttl_s": 1e9}]
)
async def test_what_cannot_be_is_refused_before_anything_is_written(
    world: World, wrong: dict[str, object]
) -> None:
    process = world.process()
    with pytest.raises(InvalidInput, match=next(iter(wrong))[:5]):
        process.registry.join(**wrong)  # type: ignore[arg-type]  # on purpose
    assert (await process.registry.inspect()).members == ()


# Clocks


async def test_a_clock_gone_mad_writes_a_record_that_can_be_read(tmp_path: Path) -> None:
    clock = ManualClock(wall=-5)
    world = World(tmp_path, clock)
    process = world.process()
    async with process.registry.join():
        clock.wall = 2**70
    roster = await process.registry.inspect()
    assert [m.record.left_at_ns for m in roster.members] == [2**63 - 1]
    assert roster.problems == ()
