"""The driver in memory: the contract, and what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from federlib.errors import InvalidInput
from federlib.skewclock import Clock
from federlib.storage import (
    META_KEY,
    Committed,
    NotSeen,
    Put,
    RecordStore,
    Resync,
    Transaction,
    open_store,
)
from federlib.storage.backends import memory
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock
from federlib.testing.store_contract import RecordStoreContract

pytestmark = pytest.mark.anyio


class TestMemoryStore(RecordStoreContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"durable", "shared", "multi_host", "server_clock"})

    @asynccontextmanager
    async def open_store(self, clock: Clock) -> AsyncIterator[RecordStore]:
        store = await open_store("memory://", clock=clock)
        try:
            yield store
        finally:
            await store.aclose()


async def test_a_new_store_holds_its_own_record_at_revision_one() -> None:
    page = await MemoryStore(ManualClock()).scan("")
    assert [(r.key, r.revision, r.created) for r in page.records] == [(META_KEY, 1, 1)]
    assert page.revision == 1


@pytest.mark.parametrize("url", ["memory://", "MEMORY://"])
async def test_each_opening_is_a_store_of_its_own(url: str) -> None:
    one, other = await open_store(url), await open_store(url)
    assert isinstance(one, MemoryStore)
    await one.commit(Transaction((Put("a", b""),)))
    assert await other.get("a") is None


@pytest.mark.parametrize(
    "url",
    ["memory:", "memory:///", "memory://name", "memory:///name", "memory://?a=1", "memory://#"],
)
async def test_a_name_behind_the_scheme_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        await open_store(url)


async def test_a_receipt_goes_when_it_is_both_old_and_behind_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "RECEIPTS", 3)
    clock = ManualClock()
    store = MemoryStore(clock)

    async def commit(name: str) -> None:
        assert isinstance(await store.commit(Transaction((Put("a", b""),), id=name)), Committed)

    for name in ("1", "2", "3", "4"):
        await commit(name)
    assert isinstance(await store.outcome("1"), Committed)
    clock.advance(600)
    await commit("5")
    assert isinstance(await store.outcome("1"), Committed)
    clock.advance(0.001)
    await commit("6")
    found = {name: await store.outcome(name) for name in "123456"}
    assert [name for name, done in found.items() if isinstance(done, NotSeen)] == ["1", "2", "3"]


async def test_the_last_hundred_thousand_receipts_are_kept_however_old(
    anyio_backend_name: str,
) -> None:
    if anyio_backend_name == "trio":
        # Counting does not depend on the event loop, and takes seconds.
        return
    clock = ManualClock()
    store = MemoryStore(clock)
    for i in range(memory.RECEIPTS + 1):
        await store.commit(Transaction((Put("a", b""),), id=str(i)))
        clock.advance(0.02)
    clock.advance(3_600)
    assert isinstance(await store.outcome("1"), Committed)
    await store.commit(Transaction((Put("a", b""),), id="last"))
    assert isinstance(await store.outcome("0"), NotSeen)
    assert isinstance(await store.outcome("2"), Committed)


async def test_a_revision_from_the_future_means_another_store() -> None:
    store = MemoryStore(ManualClock())
    async with store.watch("", after=99) as changes:
        assert await anext(changes) == Resync(1)


async def test_the_history_of_the_last_thousand_commits_is_kept() -> None:
    store = MemoryStore(ManualClock())
    for _ in range(1_000):
        await store.commit(Transaction((Put("a", b""),)))
    async with store.watch("a", after=1) as changes:
        first = await anext(changes)
        assert first.revision == 2
    async with store.watch("a", after=0) as changes:
        assert await anext(changes) == Resync(1_001)


async def test_silence_is_told_to_a_watcher_that_keeps_giving_up() -> None:
    store = MemoryStore(ManualClock())
    async with store.watch("", after=1) as changes:
        await anext(changes)
        with anyio.fail_after(10):
            while True:
                with anyio.move_on_after(0.05):
                    await anext(changes)
                    break
