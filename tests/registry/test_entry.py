"""Whose place it is: an older life never writes over a newer one, and twins are told apart."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from federlib.errors import Conflict, Fenced, IdentityTaken
from federlib.skewclock import SystemClock
from registry.worlds import Process, World, record, until_change

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, SystemClock())


async def stored_incarnation(process: Process) -> int:
    found = await process.registry.find(process.identity.worker_id)
    assert found is not None
    return found.record.incarnation


async def test_the_next_life_takes_over_and_the_older_process_is_stopped(world: World) -> None:
    old = world.process(ttl_s=0.2)
    old.identity.release()
    new = world.process()
    assert new.identity.worker_id == old.identity.worker_id
    assert new.identity.incarnation == old.identity.incarnation + 1
    old.identity._released = False  # a zombie: it believes
    old.identity._lock = new.identity._lock
    with pytest.raises(Fenced, match=r"this is incarnation 1, and 2 "):
        async with old.registry.join(), new.registry.join():
            await anyio.sleep(20)
    assert await stored_incarnation(new) == 2
    assert old.sink.value("federlib_registry_heartbeats_total", result="refused") == 1
    assert "registry_fenced" in old.log.names()
    assert "registry_left" not in old.log.names()


@pytest.mark.parametrize("state", ["live", "left", "expired"])
async def test_an_older_life_cannot_join_however_the_newer_one_stands(
    world: World, state: str
) -> None:
    process = world.process()
    me = process.identity
    ttl_ms = 1 if state == "expired" else 60_000
    newer = record(
        0, me.host_id, incarnation=9, session="newer", clock_id=world.clock.clock_id,
        boot_ns=world.clock.boot_ns() - 2_000_000, ttl_ms=ttl_ms,
        left_at_ns=5 if state == "left" else None,
    )  # fmt: skip
    await world.put(newer)
    with pytest.raises(Fenced, match="and 9 "):
        async with process.registry.join():
            pytest.fail("the body ran")
    found = await process.registry.find(me.worker_id)
    assert found is not None
    assert (found.record, found.state) == (newer, state)


async def test_a_twin_under_the_same_life_is_refused_while_the_first_lives(world: World) -> None:
    first = world.process(ttl_s=5)
    twin = world.process(identity=first.identity)
    async with first.registry.join():
        with pytest.raises(IdentityTaken, match="was copied"):
            async with twin.registry.join():
                pytest.fail("the body ran")
        (found,) = await first.registry.members()
        assert found.record.session == "process-1"


async def test_a_twin_that_slept_through_its_ttl_finds_itself_replaced(world: World) -> None:
    slept = world.process(ttl_s=0.2)
    twin = world.process(identity=slept.identity)
    with pytest.raises(Fenced, match="under the same incarnation"):
        async with slept.registry.join():
            slept.store.is_cut = True
            async with twin.registry.watch() as changes:
                await until_change(changes, lambda change: change.member.state == "expired")
            async with twin.registry.join():
                slept.store.is_cut = False
                await anyio.sleep(20)


async def test_a_process_that_comes_back_takes_its_own_entry_up_again(world: World) -> None:
    process = world.process(ttl_s=60)
    for _ in range(3):
        async with process.registry.join():
            (found,) = await process.registry.members()
    assert found.record.incarnation == process.identity.incarnation


async def test_a_goodbye_never_overwrites_a_later_life(world: World) -> None:
    process = world.process(ttl_s=60)
    me = process.identity
    later = record(0, me.host_id, incarnation=me.incarnation + 1, session="later")
    async with process.registry.join():
        await world.put(later)
    found = await process.registry.find(me.worker_id)
    assert found is not None
    assert found.record == later
    assert process.log.names() == ["registry_joined", "registry_leave_failed"]


async def test_a_process_has_one_entry(world: World) -> None:
    process = world.process()
    async with process.registry.join(kind="gate"):
        with pytest.raises(Conflict, match="gate"):
            async with process.registry.join(kind="worker"):
                pytest.fail("the body ran")
        (found,) = await process.registry.members()
        assert found.record.kind == "gate"


async def test_an_identity_that_is_not_ours_any_more_ends_the_body(world: World) -> None:
    process = world.process(ttl_s=0.2)
    with pytest.raises(Fenced, match="it was released"):
        async with process.registry.join():
            process.identity.release()
            await anyio.sleep(20)


async def test_an_entry_that_was_collected_meanwhile_is_made_again(world: World) -> None:
    process, other = world.process(ttl_s=0.2), world.process(host="b")
    async with other.registry.watch() as changes, process.registry.join():
        process.store.is_cut = True
        await until_change(changes, lambda change: change.member.state == "expired")
        assert await other.registry.collect(older_than_s=0) == 1
        await until_change(changes, lambda change: change.after is None)
        process.store.is_cut = False
        back = await until_change(changes, lambda change: change.after is not None)
        assert back.member.state == "live"


async def test_what_nobody_can_read_under_our_key_is_left_alone_and_told(world: World) -> None:
    process = world.process(ttl_s=0.2)
    key = f"registry/{process.identity.worker_id}"
    await world.put_raw(key, b"torn")
    async with process.registry.join():
        while process.sink.value("federlib_registry_heartbeats_total", result="failed") < 2:
            await anyio.sleep(0.01)
    found = await world.store.get(key)
    assert found is not None
    assert found.value == b"torn"
    assert process.log.names() == ["registry_heartbeat_failed"]
