"""A store as it was at one revision, however large it is and whoever writes to it.

Pages of a scan are not one snapshot. So each page is followed by the changes up to its own
revision; at the end, what was gathered is the store at the last revision followed. It is
gathered in a temporary SQLite file, so that memory does not grow with the store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from federlib.errors import FederlibError, StoreFull, Unavailable
from federlib.storage.filling import refuse_unfinished
from federlib.storage.protocol import (
    META_KEY,
    Batch,
    Event,
    Record,
    RecordStore,
    Resync,
    Subscription,
)

__all__ = ["OnProgress", "Snapshot", "open_snapshot", "take_snapshot"]

OnProgress = Callable[[int], object]
"""Told now and then how many records are done; called on the event loop."""

_T = TypeVar("_T")

_ATTEMPTS = 5
_CHUNK_RECORDS = 256
_CHUNK_BYTES = 1024 * 1024
_SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -8192;
    CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB, revision INT, created INT);
    CREATE INDEX by_revision ON records (revision, key);
"""
_MERGE = """
    INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, revision = excluded.revision, created = excluded.created
    WHERE excluded.revision > records.revision
"""


class _ChangesMissedError(Exception):
    pass


class Snapshot:
    """The records of a store at one revision; made by `take_snapshot` or `open_snapshot`.

    Attributes:
        store_id: Of the store.
        revision: Of the snapshot.
    """

    def __init__(self, connection: sqlite3.Connection, store_id: str) -> None:
        self.store_id: str = store_id
        self.revision: int = 0
        self._connection = connection
        # One call at a time: the connection is handed from thread to thread.
        self._limiter = anyio.CapacityLimiter(1)

    async def count(self) -> int:
        """Count the records."""
        found = await self._run(self._connection.execute, "SELECT count(*) FROM records")
        return int(found.fetchone()[0])

    async def add(self, records: Sequence[Record]) -> None:
        """Take records in, unless a newer one is there under the same key."""
        await self._run(self._write, _MERGE, [(r.key, r.value, r.revision, r.created)
                                              for r in records])  # fmt: skip

    async def apply(self, events: Iterable[Event], revision: int) -> None:
        """Take the events of one commit in."""
        gone = [(event.key, revision) for event in events if event.record is None]
        await self.add([event.record for event in events if event.record is not None])
        if gone:
            forget = "DELETE FROM records WHERE key = ? AND revision < ?"
            await self._run(self._write, forget, gone)

    def by_key(self, prefix: str = "") -> AsyncGenerator[tuple[Record, ...], None]:
        """Yield the records under a prefix in byte order of their keys, in small chunks."""
        return self._read("WHERE key >= ? ORDER BY key", (prefix,), prefix)

    def by_revision(self) -> AsyncGenerator[tuple[Record, ...], None]:
        """Yield the records in the order in which they were last written, in small chunks."""
        return self._read("ORDER BY revision, key", (), "")

    async def _read(
        self, order: str, arguments: tuple[str, ...], prefix: str
    ) -> AsyncGenerator[tuple[Record, ...], None]:
        query = f"SELECT key, value, revision, created FROM records {order}"  # noqa: S608 (ours)
        cursor = await self._run(self._connection.execute, query, arguments)
        while chunk := await self._run(_next_chunk, cursor, prefix):
            yield chunk

    def _write(self, statement: str, rows: list[tuple[str | bytes | int, ...]]) -> None:
        with self._connection:
            self._connection.executemany(statement, rows)

    async def _run(self, call: Callable[..., _T], *arguments: object) -> _T:
        try:
            return await anyio.to_thread.run_sync(partial(call, *arguments), limiter=self._limiter)
        except sqlite3.Error as error:
            raise _translate(error) from error


def _next_chunk(cursor: sqlite3.Cursor, prefix: str) -> tuple[Record, ...]:
    records: list[Record] = []
    size = 0
    while len(records) < _CHUNK_RECORDS and size < _CHUNK_BYTES:
        row = cursor.fetchone()
        if row is None or not row[0].startswith(prefix):
            break
        records.append(Record(*row))
        size += len(row[1])
    return tuple(records)


def _translate(error: sqlite3.Error) -> FederlibError:
    kind = StoreFull if error.sqlite_errorcode == sqlite3.SQLITE_FULL else Unavailable
    return kind("the temporary file of a snapshot", str(error), hint="TMPDIR names its directory")


@asynccontextmanager
async def open_snapshot(store_id: str) -> AsyncGenerator[Snapshot, None]:
    """Open an empty snapshot, to be filled from elsewhere; it is gone when the body ends.

    Raises:
        Unavailable: There is no room for it.
    """
    # An empty name: SQLite makes a private file, deleted as soon as it is open.
    connection = sqlite3.connect("", check_same_thread=False)
    try:
        connection.executescript(_SCHEMA)
        yield Snapshot(connection, store_id)
    finally:
        connection.close()


@asynccontextmanager
async def take_snapshot(
    store: RecordStore, *, on_progress: OnProgress = lambda _: None
) -> AsyncGenerator[Snapshot, None]:
    """Read all records of a store as they are at one revision; others may go on writing.

    The store's own record, `meta/store`, is not among them.

    Args:
        store: Which one; nothing is written to it.
        on_progress: Told how many records were read.
    Raises:
        Unavailable: The store cannot be read, or changes faster than it can be read; or
            there is no room for the snapshot.
        CorruptRecord: The store is itself an unfinished copy.
    Source: design §4, scan and watch.
    """
    await refuse_unfinished(store)
    for _ in range(_ATTEMPTS):
        async with open_snapshot(store.store_id) as snapshot:
            try:
                await _gather(store, snapshot, on_progress)
            except _ChangesMissedError:
                continue
            yield snapshot
            return
    raise Unavailable(
        f"a snapshot of store {store.store_id}",
        f"its changes outran the reader {_ATTEMPTS} times",
        hint="try again when it is less busy",
    )


async def _gather(store: RecordStore, snapshot: Snapshot, on_progress: OnProgress) -> None:
    page = await store.scan("")
    seen, read = page.revision, 0
    async with store.watch("", after=seen) as changes:
        while True:
            await snapshot.add([r for r in page.records if r.key != META_KEY])
            seen = await _follow(changes, snapshot, seen, page.revision)
            read += len(page.records)
            on_progress(read)
            if page.next is None:
                snapshot.revision = seen
                return
            page = await store.scan("", after=page.next)
            if page.revision < seen:
                # It would bring back what has been deleted since.
                raise _ChangesMissedError


async def _follow(changes: Subscription, snapshot: Snapshot, seen: int, upto: int) -> int:
    """Take in what changed after `seen`, at least up to `upto`; return how far."""
    while seen < upto:
        item = await anext(changes)
        if isinstance(item, Resync):
            raise _ChangesMissedError
        if isinstance(item, Batch):
            events = [event for event in item.events if event.key != META_KEY]
            await snapshot.apply(events, item.revision)
        seen = max(seen, item.revision)
    return seen
