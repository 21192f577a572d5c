"""What stands in the way of a store inside a process does what a network would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.skewclock import Clock
from federlib.storage import Batch, Committed, Conflicted, Put, RecordStore, Transaction
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock
from federlib.testing.chaos.hindered_store import HinderedStore
from federlib.testing.chaos.hindrance import CLEAR, PPM, Hindrance, combined, way_s
from federlib.testing.store_contract import RecordStoreContract

pytestmark = pytest.mark.anyio

SURE = PPM


class TestHinderedStore(RecordStoreContract):
    """With nothing in the way it is a store as any other."""

    lacks: ClassVar[frozenset[str]] = frozenset({"durable", "shared", "multi_host", "server_clock"})

    @asynccontextmanager
    async def open_store(self, clock: Clock) -> AsyncIterator[RecordStore]:
        store = HinderedStore(
            MemoryStore(clock), draw=lambda: 0.0, answer_s=5, answer_lost=lambda: None
        )
        try:
            yield store
        finally:
            await store.aclose()


class World:
    """A store, the same store in the way, and what was lost."""

    def __init__(self, answer_s: float = 0.05, drawn: float = 0.0) -> None:
        self.real = MemoryStore(ManualClock())
        self.lost: list[None] = []
        self.way = HinderedStore(
            self.real,
            draw=lambda: drawn,
            answer_s=answer_s,
            answer_lost=lambda: self.lost.append(None),
        )

    async def value(self) -> bytes | None:
        record = await self.real.get("k")
        return None if record is None else record.value


@pytest.fixture
def world() -> World:
    return World()


PUT = Transaction((Put("k", b"v"),), id="once")


async def test_nothing_in_the_way_changes_nothing(world: World) -> None:
    assert isinstance(await world.way.commit(PUT), Committed)
    record = await world.way.get("k")
    assert record == await world.real.get("k")
    assert await world.way.scan("") == await world.real.scan("")
    assert await world.way.outcome("once") == await world.real.outcome("once")
    assert world.way.store_id == world.real.store_id
    assert world.way.capabilities == world.real.capabilities


async def test_a_request_that_is_not_heard_never_takes_effect(world: World) -> None:
    world.way.hindrance = Hindrance(is_mute=True)
    with pytest.raises(OutcomeUnknown):
        await world.way.commit(PUT)
    with pytest.raises(Unavailable):
        await world.way.get("k")
    world.way.hindrance = CLEAR
    assert await world.value() is None


async def test_an_answer_that_is_not_heard_leaves_a_commit_that_took_effect(world: World) -> None:
    world.way.hindrance = Hindrance(is_deaf=True)
    with pytest.raises(OutcomeUnknown):
        await world.way.commit(PUT)
    assert await world.value() == b"v"
    assert len(world.lost) == 1


async def test_what_was_held_up_goes_on_when_the_way_is_open_again() -> None:
    world = World(answer_s=60)
    world.way.hindrance = Hindrance(is_mute=True, is_deaf=True)
    async with anyio.create_task_group() as group:
        group.start_soon(world.way.commit, PUT)
        await anyio.wait_all_tasks_blocked()
        assert await world.value() is None
        world.way.hindrance = Hindrance(is_deaf=True)
        await anyio.wait_all_tasks_blocked()
        assert await world.value() == b"v"
        world.way.hindrance = CLEAR
    assert world.lost == []


async def test_a_commit_that_was_sent_is_answered_whoever_is_cancelled(world: World) -> None:
    world.way.hindrance = Hindrance(delay_ms=50)
    answers: list[Committed | Conflicted] = []

    async def ask() -> None:
        answers.append(await world.way.commit(PUT))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        while await world.value() is None:
            await anyio.sleep(0.001)
        group.cancel_scope.cancel()
    assert [type(answer) for answer in answers] == [Committed]


async def test_a_store_that_is_down_says_so_at_once(world: World) -> None:
    world.way.hindrance = Hindrance(is_down=True)
    for ask in (world.way.get("k"), world.way.scan(""), world.way.commit(PUT)):
        with pytest.raises(Unavailable):
            await ask
    assert await world.value() is None


async def test_refusals_and_lost_answers_come_as_often_as_they_are_drawn(world: World) -> None:
    world.way.hindrance = Hindrance(refuse_ppm=SURE)
    with pytest.raises(Unavailable):
        await world.way.commit(PUT)
    world.way.hindrance = Hindrance(lost_answer_ppm=SURE)
    with pytest.raises(OutcomeUnknown):
        await world.way.commit(PUT)
    assert await world.value() == b"v"


async def test_a_request_that_arrives_twice_takes_effect_once(world: World) -> None:
    world.way.hindrance = Hindrance(repeat_ppm=SURE)
    answer = await world.way.commit(PUT)
    assert isinstance(answer, Committed)
    assert (await world.real.scan("k")).revision == answer.revision


async def test_a_repeat_without_an_id_is_never_made(world: World) -> None:
    world.way.hindrance = Hindrance(repeat_ppm=SURE)
    answer = await world.way.commit(Transaction((Put("k", b"v"),)))
    assert isinstance(answer, Committed)
    assert (await world.real.scan("k")).revision == answer.revision


async def test_slow_narrow_and_lossy_ways_are_late_and_whole() -> None:
    world = World(drawn=0.3)
    world.way.hindrance = Hindrance(delay_ms=1, slow_ms=1, bytes_per_s=1_000_000, loss_ppm=400_000)
    began = anyio.current_time()
    assert isinstance(await world.way.commit(PUT), Committed)
    assert anyio.current_time() - began >= 0.001 + 2 * (0.001 + 0.2)
    assert await world.value() == b"v"


async def test_a_change_that_is_not_heard_is_kept_for_later(world: World) -> None:
    async with world.way.watch("k", after=0) as changes:
        world.way.hindrance = Hindrance(is_deaf=True)
        await world.real.commit(PUT)
        with pytest.raises(Unavailable):
            while not isinstance(await anext(changes), Batch):
                pass
        world.way.hindrance = CLEAR
        item = await anext(changes)
        while not isinstance(item, Batch):
            item = await anext(changes)
        assert [event.key for event in item.events] == ["k"]


async def test_a_watch_of_a_store_that_is_down_does_not_begin(world: World) -> None:
    world.way.hindrance = Hindrance(is_down=True)
    with pytest.raises(Unavailable):
        async with world.way.watch("k", after=0):
            pass


def test_a_way_takes_its_delay_its_width_and_what_is_sent_again() -> None:
    late = Hindrance(delay_ms=100, slow_ms=7_000, bytes_per_s=50, loss_ppm=400_000)
    assert way_s(late, 200, lambda: 0.3, is_request=True) == pytest.approx(0.1 + 7 + 4 + 0.2)
    assert way_s(late, 200, lambda: 0.3, is_request=False) == pytest.approx(0.1 + 4 + 0.2)
    assert way_s(late, 200, lambda: 0.1, is_request=False) == pytest.approx(0.1 + 4 + 1.0)
    assert way_s(late, 200, lambda: 0.5, is_request=True) == pytest.approx(0.1 + 4)
    assert way_s(CLEAR, 200, lambda: 0.0, is_request=True) == 0


def test_several_hindrances_together_are_the_worst_of_each() -> None:
    found = combined(
        (Hindrance(is_deaf=True, delay_ms=5), Hindrance(delay_ms=3, bytes_per_s=7, loss_ppm=9))
    )
    assert found == Hindrance(is_deaf=True, delay_ms=5, bytes_per_s=7, loss_ppm=9)
    assert combined((Hindrance(bytes_per_s=7), Hindrance(bytes_per_s=3))).bytes_per_s == 3
    assert combined(()) == CLEAR
