"""A view of a store: the contract while nothing is wrong, and each thing that goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from federlib.errors import OutcomeUnknown, StoreFull, Unavailable
from federlib.skewclock import Clock
from federlib.storage import (
    Absent,
    Batch,
    Committed,
    Progress,
    Put,
    RecordStore,
    Resync,
    Subscription,
    Transaction,
    WatchItem,
)
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock, VirtualTime
from federlib.testing.disk import ProcessEnded
from federlib.testing.store_contract import RecordStoreContract
from federlib.testing.store_view import StoreView


class _Closing(StoreView):
    """Closes what it looks at, as the contract asks of a store."""

    async def aclose(self) -> None:
        await self.base.aclose()


@pytest.mark.anyio
class TestStoreView(RecordStoreContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"durable", "shared", "multi_host", "server_clock"})

    @asynccontextmanager
    async def open_store(self, clock: Clock) -> AsyncIterator[RecordStore]:
        store = _Closing(MemoryStore(clock))
        try:
            yield store
        finally:
            await store.aclose()


@pytest.fixture
def view() -> StoreView:
    return StoreView(MemoryStore(ManualClock()))


def put(key: str) -> Transaction:
    return Transaction((Put(key, b""),), id=f"t.{key}")


async def next_batch(changes: Subscription) -> list[str]:
    with anyio.fail_after(5):
        while True:
            item = await anext(changes)
            if isinstance(item, Batch):
                return [event.key for event in item.events]
            assert isinstance(item, Progress)


async def next_other(changes: Subscription) -> WatchItem:
    with anyio.fail_after(5):
        while isinstance(item := await anext(changes), Progress):
            pass
    return item


@pytest.mark.anyio
async def test_cut_off_every_verb_says_so_and_nothing_happens(view: StoreView) -> None:
    view.is_cut = True
    for ask in (view.get("a"), view.scan(""), view.commit(put("a")), view.outcome("t.a")):
        with pytest.raises(Unavailable, match="cut off"):
            await ask
    with pytest.raises(Unavailable, match="cut off"):
        async with view.watch("", after=0):
            pass
    assert (view.requests, view.commits) == (5, 1)
    view.is_cut = False
    assert await view.get("a") is None


@pytest.mark.anyio
async def test_full_it_reads_and_refuses_to_write(view: StoreView) -> None:
    view.is_full = True
    with pytest.raises(StoreFull):
        await view.commit(put("a"))
    assert isinstance(await view.commit(Transaction(checks=(Absent("a"),))), Committed)
    assert await view.get("a") is None


@pytest.mark.anyio
async def test_so_many_are_refused_and_so_many_are_not_heard(view: StoreView) -> None:
    view.refusals, view.lost_answers = 2, 1
    for _ in range(2):
        with pytest.raises(Unavailable, match="refused"):
            await view.commit(put("a"))
    assert await view.get("a") is None
    with pytest.raises(OutcomeUnknown) as unknown:
        await view.commit(put("a"))
    assert unknown.value.transaction_id == "t.a"
    assert await view.get("a") is not None
    assert isinstance(await view.commit(put("b")), Committed)


def test_slow_it_takes_so_long(virtual_time: VirtualTime, view: StoreView) -> None:
    async def main() -> float:
        view.slow_s = 2.5
        await view.get("a")
        await view.commit(put("a"))
        return anyio.current_time()

    assert virtual_time.run(main) == pytest.approx(5)


@pytest.mark.anyio
async def test_a_watch_that_breaks_says_so_once_and_misses_nothing(view: StoreView) -> None:
    async with view.watch("", after=1) as changes:
        await view.base.commit(put("a"))
        assert await next_batch(changes) == ["a"]
        view.break_watches()
        await view.base.commit(put("b"))
        with pytest.raises(Unavailable, match="broke"):
            await anext(changes)
        assert await next_batch(changes) == ["b"]


@pytest.mark.anyio
async def test_whoever_waits_hears_at_once_that_its_watch_broke(view: StoreView) -> None:
    async with view.watch("", after=1) as changes, anyio.create_task_group() as group:
        assert isinstance(await anext(changes), Progress)

        async def wait() -> None:
            with pytest.raises(Unavailable):
                while True:
                    await anext(changes)

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(0.9):
            view.is_cut = True


@pytest.mark.anyio
async def test_a_watch_that_misses_something_says_so_and_goes_on(view: StoreView) -> None:
    async with view.watch("", after=1) as changes:
        await view.base.commit(put("a"))
        await view.base.commit(put("b"))
        view.miss()
        assert await next_other(changes) == Resync(3)
        await view.base.commit(put("c"))
        assert await next_batch(changes) == ["c"]


@pytest.mark.anyio
async def test_a_watch_that_repeats_tells_everything_twice(view: StoreView) -> None:
    view.repeats = True
    async with view.watch("", after=1) as changes:
        for key in ("a", "b"):
            await view.base.commit(put(key))
        heard = [await next_batch(changes) for _ in range(4)]
    assert heard == [["a"], ["a"], ["b"], ["b"]]


@pytest.mark.anyio
async def test_the_dead_reach_nothing(view: StoreView) -> None:
    async with view.watch("", after=1) as changes:
        view.kill()
        for ask in (view.get("a"), view.commit(put("a")), anext(changes)):
            with pytest.raises(ProcessEnded):
                await ask
    assert await view.base.get("a") is None


def test_whoever_asks_for_ever_at_one_instant_dies(
    virtual_time: VirtualTime, view: StoreView
) -> None:
    async def main() -> None:
        while True:
            await view.get("a")

    with pytest.raises(ProcessEnded, match="at one instant"):
        virtual_time.run(main)
    assert view.requests == 10_001


@pytest.mark.anyio
async def test_closed_it_leaves_the_store_to_the_others(view: StoreView) -> None:
    await view.aclose()
    assert await view.base.get("a") is None
