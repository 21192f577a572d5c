"""The stream of changes: whole, in order, and silent about heartbeats."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from federlib.errors import Unavailable
from federlib.registry import Change, Changes
from federlib.storage import Delete, Transaction
from federlib.testing import ManualClock
from registry.worlds import HERE, HOST, S, World, record, until_change

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=1_000 * S, mono=100 * S, boot=100 * S, clock_id=HERE)


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock) -> World:
    return World(tmp_path, clock)


async def take(changes: Changes, count: int) -> list[Change]:
    with anyio.fail_after(20):
        return [await anext(changes) for _ in range(count)]


def told(changes: list[Change]) -> list[tuple[str, str, str]]:
    """Write down who went from which state to which."""
    return [
        (
            change.member.worker_id.rpartition(":")[2],
            change.before.state if change.before else "-",
            change.after.state if change.after else "-",
        )
        for change in changes
    ]


async def test_the_members_that_are_there_come_first(world: World) -> None:
    await world.put(record(0), record(1, boot_ns=80 * S), record(2, left_at_ns=5))
    async with world.process().registry.watch() as changes:
        assert told(await take(changes, 3)) == [
            ("0", "-", "live"), ("1", "-", "expired"), ("2", "-", "left")
        ]  # fmt: skip


async def test_each_change_is_told_once_and_in_order(world: World, clock: ManualClock) -> None:
    async with world.process().registry.watch() as changes:
        await world.put(record(0))
        clock.advance(1)
        await world.put(record(0, boot_ns=101 * S, last_seen=1_001 * S))  # only a heartbeat
        await world.put(record(0, load=3.0))
        await world.put(record(1))
        await world.put(record(0, left_at_ns=5))
        await world.put(record(0, incarnation=2))
        await world.store.commit(Transaction((Delete(f"registry/{HOST}:0"),)))
        seen = await take(changes, 6)
    assert told(seen) == [
        ("0", "-", "live"),
        ("0", "live", "live"),
        ("1", "-", "live"),
        ("0", "live", "left"),
        ("0", "left", "live"),
        ("0", "live", "-"),
    ]
    assert [c.member.record.load for c in seen[:2]] == [1, 3]
    assert seen[4].member.record.incarnation == 2


async def test_an_expiry_is_told_though_no_record_changes(world: World, clock: ManualClock) -> None:
    await world.put(record(0, ttl_ms=5_000), record(1, ttl_ms=60_000))
    async with world.process().registry.watch() as changes:
        await take(changes, 2)
        clock.advance(4.999)
        with anyio.move_on_after(1.5):
            pytest.fail(f"{await anext(changes)} came early")
        clock.advance(0.001)
        assert told(await take(changes, 1)) == [("0", "live", "expired")]
        await world.put(record(0, boot_ns=105 * S))
        assert told(await take(changes, 1)) == [("0", "expired", "live")]


async def test_an_expiry_is_told_among_the_heartbeats_of_others(
    world: World, clock: ManualClock
) -> None:
    await world.put(record(0))
    async with world.process().registry.watch() as changes:
        await world.put(record(1))
        assert told(await take(changes, 2)) == [("0", "-", "live"), ("1", "-", "live")]
        for second in range(1, 16):
            await world.put(record(1, boot_ns=(100 + second) * S))
            clock.advance(1)
        assert told(await take(changes, 1)) == [("0", "live", "expired")]


async def test_a_cancelled_wait_loses_nothing(world: World) -> None:
    async with world.process().registry.watch() as changes:
        for seq in range(20):
            with anyio.move_on_after(0):
                await anext(changes)
                pytest.fail("something came out of nothing")
            await world.put(record(seq))
            assert told(await take(changes, 1)) == [(str(seq), "-", "live")]


async def test_who_falls_behind_hears_how_things_stand_now(world: World) -> None:
    await world.put(record(0), record(1))
    async with world.process().registry.watch() as changes:
        await take(changes, 2)
        await world.store.commit(Transaction((Delete(f"registry/{HOST}:0"),)))
        for load in range(1_200):
            await world.put(record(2, load=float(load)))
        seen = await take(changes, 2)
        assert told(seen) == [("0", "live", "-"), ("2", "-", "live")]
        assert seen[1].member.record.load == 1_199
        await world.put(record(3))
        assert told(await take(changes, 1)) == [("3", "-", "live")]


async def test_a_store_that_is_away_is_told_and_the_stream_goes_on_after_it(world: World) -> None:
    process = world.process()
    async with process.registry.watch() as changes:
        process.store.is_cut = True
        with pytest.raises(Unavailable):
            await anext(changes)
        await world.put(record(0))
        process.store.is_cut = False
        assert told(await take(changes, 1)) == [("0", "-", "live")]


async def test_a_record_that_breaks_is_a_member_that_is_gone(world: World) -> None:
    await world.put(record(0))
    process = world.process()
    async with process.registry.watch() as changes:
        await take(changes, 1)
        await world.put_raw(f"registry/{HOST}:1", b"torn")
        await world.put_raw(f"registry/{HOST}:0", b"torn")
        assert told(await take(changes, 1)) == [("0", "live", "-")]
        await world.put(record(0))
        assert told(await take(changes, 1)) == [("0", "-", "live")]
    assert process.log.names() == ["registry_record_corrupt"] * 2


async def test_the_story_of_a_membership(world: World) -> None:
    process, other = world.process(ttl_s=60), world.process(host="b")
    async with other.registry.watch() as changes:
        async with process.registry.join(kind="gate"):
            joined = await until_change(changes, lambda change: True)
        left = await until_change(changes, lambda change: True)
    assert told([joined, left]) == [("0", "-", "live"), ("0", "live", "left")]
    assert left.before == joined.after
