"""Reading, following and committing through a store's bad moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import anyio

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.storage import (
    Batch,
    Committed,
    Conflicted,
    Put,
    Record,
    RecordStore,
    Resync,
    Transaction,
)

__all__ = [
    "await_record",
    "commit_surely",
    "create_surely",
    "follow_changes",
    "follow_key",
    "read_surely",
]

_UNKNOWN_PAUSE_S, _AWAY_PAUSE_S = 0.05, 0.2
_T = TypeVar("_T")


async def commit_surely(store: RecordStore, transaction: Transaction) -> Committed | Conflicted:
    """Commit a transaction that has an id, repeating it while its outcome is unknown.

    Ends when the store answers or the caller is cancelled (its lease ran out, say).
    """
    assert transaction.id is not None
    while True:
        try:
            return await store.commit(transaction)
        except OutcomeUnknown:
            await anyio.sleep(_UNKNOWN_PAUSE_S)
        except Unavailable:
            await anyio.sleep(_AWAY_PAUSE_S)


async def create_surely(
    store: RecordStore, transaction: Transaction, made: Put
) -> Committed | Conflicted:
    """Commit a transaction that makes a record, repeating it while its outcome is unknown.

    The record is the receipt, so the transaction needs no id, which would cost as much again:
    whoever finds it with our very bytes in it wrote it. So nobody else may write the same,
    and it must not be changed as long as its writer is at it.

    Args:
        store: Where.
        transaction: Requires that the record is absent, or as it was before.
        made: The write of that record.
    """
    is_doubtful = False
    while True:
        try:
            done = await store.commit(transaction)
            if is_doubtful and isinstance(done, Conflicted):
                found = await read_surely(lambda: store.get(made.key))
                if found is not None and found.value == made.value:
                    return Committed(found.revision)
            return done
        except OutcomeUnknown:
            is_doubtful = True
            await anyio.sleep(_UNKNOWN_PAUSE_S)
        except Unavailable:
            await anyio.sleep(_AWAY_PAUSE_S)


async def read_surely(read: Callable[[], Awaitable[_T]]) -> _T:
    """Read, repeating it while the store is away, until the caller is cancelled."""
    while True:
        try:
            return await read()
        except Unavailable:
            await anyio.sleep(_AWAY_PAUSE_S)


async def follow_key(store: RecordStore, key: str) -> AsyncGenerator[Record, None]:
    """Yield a record as it is now, if it is there, and after each change of it.

    Never an older one after a newer one; a store that is away is waited for.
    """
    page = await read_surely(lambda: store.scan(key, limit=1))
    seen = 0
    if page.records and page.records[0].key == key:
        seen = page.records[0].revision
        yield page.records[0]
    async with aclosing(follow_changes(store, key, page.revision)) as changes:
        async for record in changes:
            if record is not None and record.revision > seen:
                seen = record.revision
                yield record


async def await_record(store: RecordStore, key: str, is_so: Callable[[Record], bool]) -> Record:
    """Wait until a record is there and as it is wanted; return it.

    Raises:
        Unavailable: The store was away when the record was to be followed.
    """
    async with aclosing(follow_key(store, key)) as records:
        async for record in records:
            if is_so(record):
                return record
    raise AssertionError("a watch does not end")


async def follow_changes(
    store: RecordStore, key: str, after: int
) -> AsyncGenerator[Record | None, None]:
    """Yield what becomes of a key after a revision; None when it is gone."""
    async with store.watch(key, after=after) as changes:
        while True:
            try:
                item = await anext(changes)
            except Unavailable:
                await anyio.sleep(0.2)
                continue
            if isinstance(item, Resync):
                yield await read_surely(lambda: store.get(key))
            elif isinstance(item, Batch):
                for event in item.events:
                    if event.key == key:
                        yield event.record
