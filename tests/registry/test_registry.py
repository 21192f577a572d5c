"""Asking the registry: who is there, on which hosts, and what nobody can read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from federlib.errors import CorruptRecord, InvalidInput, Unavailable
from federlib.registry.records import MAX_RECORD_BYTES, encode_member
from federlib.storage import Delete, Transaction
from federlib.testing import ManualClock
from registry.worlds import HERE, HOST, OTHER_HOST, S, World, record

pytestmark = pytest.mark.anyio
HOUR = 3_600 * S


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that shares the boot clock of the records, five seconds later."""
    return ManualClock(wall=1_005 * S, mono=105 * S, boot=105 * S, clock_id=HERE)


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock) -> World:
    return World(tmp_path, clock)


FLEET = [
    record(0, labels={"zone": "a", "run": "r"}),
    record(10, kind="gate", slots=0, load=0.0, boot_ns=104 * S),
    record(2, boot_ns=80 * S),
    record(3, left_at_ns=1_000 * S),
    record(0, OTHER_HOST, slots=2, clock_id="m2/b1/", hostname="far"),
]


async def test_members_are_the_live_ones_by_host_and_number(world: World) -> None:
    await world.put(*FLEET)
    members = await world.process().registry.members()
    assert [m.worker_id for m in members] == [f"{HOST}:0", f"{HOST}:10", f"{OTHER_HOST}:0"]
    assert [m.age_s for m in members] == [5, 1, 5]


async def test_members_are_found_by_state_kind_host_and_labels(world: World) -> None:
    await world.put(*FLEET)
    registry = world.process().registry
    assert len(await registry.members(state=None)) == 5
    (expired,) = await registry.members(state="expired")
    assert (expired.record.worker_id, expired.age_s, expired.gone_s) == (f"{HOST}:2", 25, 10)
    assert [m.record.kind for m in await registry.members(kind="gate")] == ["gate"]
    (far,) = await registry.members(host_id=OTHER_HOST)
    assert far.record.hostname == "far"
    (labelled,) = await registry.members(labels={"zone": "a"})
    assert labelled.worker_id == f"{HOST}:0"
    assert await registry.members(labels={"zone": "a", "run": "other"}) == []


async def test_hosts_sum_their_members(world: World) -> None:
    await world.put(*FLEET)
    hosts = await world.process().registry.by_host()
    assert list(hosts) == [HOST, OTHER_HOST]
    here, far = hosts[HOST], hosts[OTHER_HOST]
    assert (here.live, here.expired, here.left) == (2, 1, 1)
    assert (here.slots, here.load, here.oldest_heartbeat_s) == (4, 1, 25)
    assert (far.live, far.slots, far.hostname, far.oldest_heartbeat_s) == (1, 2, "far", 5)


async def test_a_look_tells_the_metrics_of_the_whole_and_not_of_a_part(world: World) -> None:
    await world.put(*FLEET)
    process = world.process()

    def levels() -> list[float]:
        return [
            process.sink.value("federlib_registry_members", state=state)
            for state in ("live", "expired", "left")
        ]

    await process.registry.members(host_id=OTHER_HOST)
    assert levels() == [0, 0, 0]
    await process.registry.members(kind="gate")
    assert levels() == [3, 1, 1]


async def test_one_member_is_found_by_its_id_whatever_its_state(world: World) -> None:
    await world.put(*FLEET)
    registry = world.process().registry
    found = await registry.find(f"{HOST}:2")
    assert found is not None
    assert found.state == "expired"
    assert await registry.find(f"{HOST}:99") is None


@pytest.mark.parametrize("worker_id", ["", "nobody", f"{HOST}:x", HOST, "a/b:1"])
async def test_what_is_no_worker_id_is_refused(world: World, worker_id: str) -> None:
    with pytest.raises(InvalidInput, match="worker_id"):
        await world.process().registry.find(worker_id)


async def test_a_query_that_makes_no_sense_is_refused(world: World) -> None:
    registry = world.process().registry
    with pytest.raises(InvalidInput, match="state"):
        await registry.members(state="dead")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidInput, match="host_id"):
        await registry.members(host_id="box")
    for wrong in (-1, float("nan"), "1", True):
        with pytest.raises(InvalidInput, match="older_than_s"):
            await registry.collect(older_than_s=wrong)  # type: ignore[arg-type]  # as above


async def test_a_store_that_is_away_is_told(world: World) -> None:
    process = world.process()
    process.store.is_cut = True
    with pytest.raises(Unavailable):
        await process.registry.members()
    with pytest.raises(Unavailable):
        async with process.registry.watch():
            pytest.fail("it was entered")


async def test_more_members_than_a_page_holds_are_all_there(world: World) -> None:
    for seq in range(1_205):
        await world.put(record(seq))
    roster = await world.process().registry.inspect()
    assert [m.worker_id for m in roster.members] == [f"{HOST}:{seq}" for seq in range(1_205)]
    assert roster.by_host()[HOST].slots == 4 * 1_205


# Hostile records

BAD = [
    (f"registry/{HOST}:5", b""),
    (f"registry/{HOST}:6", b"\xff" * 100),
    (f"registry/{HOST}:7", b"[" * 100_000),
    (f"registry/{HOST}:8", encode_member(record(9))),
    (f"registry/{HOST}:9", b"{" + b" " * MAX_RECORD_BYTES + b"}"),
    (f"registry/{HOST}:10", encode_member(record(10, labels={"a": "b" * 5_000}))),
    ("registry/not-a-worker", encode_member(record(1))),
    (f"registry/{HOST}:1/deeper", encode_member(record(1))),
    (f"registry/{OTHER_HOST}:1", encode_member(msgspec.structs.replace(
        record(1, OTHER_HOST), host_id=HOST))),
    (f"registry/{OTHER_HOST}:2", encode_member(record(2, OTHER_HOST, v=3))),
]  # fmt: skip


async def test_records_that_nobody_can_read_are_problems_and_hide_nobody(world: World) -> None:
    for key, value in BAD:
        await world.put_raw(key, value)
    await world.put(record(0), record(0, OTHER_HOST))
    process = world.process()
    for _ in range(3):
        roster = await process.registry.inspect()
        assert [m.worker_id for m in roster.members] == [f"{HOST}:0", f"{OTHER_HOST}:0"]
        assert sorted(p.where for p in roster.problems) == sorted(key for key, _ in BAD)
        assert set(await process.registry.by_host()) == {HOST, OTHER_HOST}
    # Told once each, not at every look.
    assert process.log.names() == ["registry_record_corrupt"] * len(BAD)
    with pytest.raises(CorruptRecord):
        await process.registry.find(f"{HOST}:5")


async def test_a_record_that_breaks_again_is_told_again(world: World) -> None:
    process = world.process()
    for value in (b"one", b"two"):
        await world.put_raw(f"registry/{HOST}:0", value)
        await process.registry.members()
    assert process.log.names() == ["registry_record_corrupt"] * 2


async def test_only_so_many_unreadable_records_are_remembered(world: World) -> None:
    for seq in range(1_003):
        await world.put_raw(f"registry/{HOST}:{seq}", b"torn")
    process = world.process()
    await process.registry.members()
    assert len(process.registry._reader._told) == 1_000


# Collecting


async def test_who_is_gone_for_a_day_is_removed_and_nobody_else(
    world: World, clock: ManualClock
) -> None:
    await world.put(*FLEET)
    await world.put_raw(f"registry/{HOST}:77", b"torn")
    process = world.process()
    assert await process.registry.collect() == 0
    clock.advance(86_400 - 5 - 0.001)
    await world.put(record(0, boot_ns=clock.boot_ns()))
    assert await process.registry.collect() == 1  # the one that had expired before
    clock.advance(0.001)
    assert await process.registry.collect() == 1  # the one that had left
    clock.advance(19)
    assert await process.registry.collect() == 2  # their ttl ran out a day ago
    assert [m.worker_id for m in (await process.registry.inspect()).members] == [f"{HOST}:0"]
    assert await world.store.get(f"registry/{HOST}:77") is not None
    assert process.log.names().count("registry_members_collected") == 3


async def test_an_entry_from_a_clock_far_ahead_is_removed_once_it_was_watched_for_long(
    world: World, clock: ManualClock
) -> None:
    await world.put(record(clock_id="m2/b1/", last_seen=10**18))
    registry = world.process().registry
    assert len(await registry.members()) == 1
    clock.advance(15 + 3)
    assert await registry.members() == []
    assert await registry.collect() == 0
    clock.advance(86_400)
    assert await registry.collect() == 1


async def test_a_member_that_comes_back_while_others_are_collected_stays(world: World) -> None:
    await world.put(*(record(seq, boot_ns=0) for seq in range(150)))
    process = world.process()

    async def come_back() -> None:
        await world.put(record(1, boot_ns=105 * S), record(149, boot_ns=105 * S))
        await world.store.commit(Transaction((Delete(f"registry/{HOST}:2"),)))

    process.store.before_commit = come_back
    assert await process.registry.collect(older_than_s=0) == 147
    members = await process.registry.members()
    assert [m.worker_id for m in members] == [f"{HOST}:1", f"{HOST}:149"]
    assert len((await process.registry.inspect()).members) == 2
