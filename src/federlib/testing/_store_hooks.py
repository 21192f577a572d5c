"""What a driver's contract class gives the tests, and the few verbs they share."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import anyio
import pytest

from federlib.skewclock import Clock
from federlib.storage import (
    Batch,
    Check,
    Committed,
    Page,
    Progress,
    Put,
    Record,
    RecordStore,
    Resync,
    Subscription,
    Transaction,
    WatchItem,
)
from federlib.storage.protocol import MAX_BEHIND
from federlib.testing.clocks import ManualClock

__all__ = [
    "StoreHooks",
    "catch_up",
    "commit",
    "next_item",
    "put",
    "put_many",
    "read_all",
    "read_pages",
]

_PATIENCE_S = 20.0


@pytest.mark.anyio
class StoreHooks:
    """The part of a contract class that a driver's author writes.

    Attributes:
        lacks: Names of the `Capabilities` that the driver declares not to have. What is
            lacking and not listed, or listed and not lacking, fails.
    """

    lacks: ClassVar[frozenset[str]] = frozenset()

    def open_store(self, clock: Clock) -> AbstractAsyncContextManager[RecordStore]:
        """Give a new, empty store, closed at the end; a second call gives another store."""
        raise NotImplementedError

    def second_client(
        self, store: RecordStore, clock: Clock
    ) -> AbstractAsyncContextManager[RecordStore]:
        """Give another client of the store, as another process would open it: `shared`."""
        raise NotImplementedError

    def reopen(self, store: RecordStore, clock: Clock) -> AbstractAsyncContextManager[RecordStore]:
        """Give the store again after its first client was closed: `durable`."""
        raise NotImplementedError

    async def outgrow_history(self, store: RecordStore) -> None:
        """Commit until the oldest changes are gone; override where that takes more."""
        await put_many(store, [f"outgrow/{i % 7}" for i in range(MAX_BEHIND + 200)])

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Give the clock that stores are opened with."""
        return ManualClock()


async def commit(
    store: RecordStore,
    *writes: Put,
    checks: tuple[Check, ...] = (),
    id: str | None = None,  # noqa: A002 (the field's name)
) -> int:
    """Commit what must succeed, and return its revision."""
    done = await store.commit(Transaction(writes, checks, id))
    assert isinstance(done, Committed), done
    return done.revision


async def put(store: RecordStore, key: str, value: bytes = b"") -> int:
    """Put one record, and return its revision."""
    return await commit(store, Put(key, value))


async def put_many(store: RecordStore, keys: list[str]) -> None:
    """Put each key in a commit of its own, several at a time, in no certain order."""

    async def work(mine: list[str]) -> None:
        for key in mine:
            await put(store, key)

    async with anyio.create_task_group() as tasks:
        for lane in range(4):
            tasks.start_soon(work, keys[lane::4])


async def read_pages(store: RecordStore, prefix: str, *, limit: int = 1_000) -> list[Page]:
    """Scan to the end."""
    pages = [await store.scan(prefix, limit=limit)]
    while pages[-1].next is not None:
        pages.append(await store.scan(prefix, after=pages[-1].next, limit=limit))
    return pages


async def read_all(store: RecordStore, prefix: str, *, limit: int = 1_000) -> list[Record]:
    """Scan to the end, and return the records."""
    pages = await read_pages(store, prefix, limit=limit)
    return [record for page in pages for record in page.records]


async def next_item(subscription: Subscription) -> WatchItem:
    """Wait for one item, but not for ever."""
    with anyio.fail_after(_PATIENCE_S):
        return await anext(subscription)


async def catch_up(subscription: Subscription, revision: int) -> list[Batch]:
    """Read until the subscription has told everything up to `revision`; a `Resync` fails."""
    batches: list[Batch] = []
    while True:
        item = await next_item(subscription)
        assert not isinstance(item, Resync), item
        if isinstance(item, Batch):
            batches.append(item)
        if item.revision >= revision and (isinstance(item, Progress | Batch)):
            return batches
