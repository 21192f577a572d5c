"""Fill an empty store with records, so that half of it is never taken for the whole.

The first commit writes a mark, the last one removes it. While the mark is there, the store
is refused wherever it is opened by URL.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Sequence

import msgspec

from federlib.errors import Conflict, CorruptRecord, OutcomeUnknown
from federlib.storage.limits import MAX_CHECKS, MAX_TRANSACTION_BYTES
from federlib.storage.protocol import (
    META_KEY,
    Absent,
    AtRevision,
    Check,
    Committed,
    Conflicted,
    Delete,
    Put,
    Record,
    RecordStore,
    Transaction,
    Write,
)

__all__ = ["MARK_KEY", "Packer", "fill_store", "refuse_unfinished"]

MARK_KEY = "meta/unfinished"
"""Lies in a store for as long as it is being filled."""

_RESENDS = 3
_SHOWN = 3
# One check is of the mark.
_MAX_RECORDS = MAX_CHECKS - 1
_MAX_BYTES = MAX_TRANSACTION_BYTES - 1024
_WAY_OUT = "remove it, and copy or import again into a new one"


class _Mark(msgspec.Struct, frozen=True):
    """Where the records come from."""

    origin: str
    v: int = 1


class Packer:
    """Packs records, given in order of their revisions, into few transactions.

    What one commit wrote stays together where the portable limits allow it: beside each
    write there is a check. Commits follow one another in their old order, each on its own,
    because somebody may read a history from it.

    Args:
        merges: Prefixes of records whose order tells nothing: different commits of them
            share a transaction.
    """

    def __init__(self, merges: tuple[str, ...]) -> None:
        self._merges = merges
        self._batch: list[Record] = []
        self._group: list[Record] = []
        self._batch_bytes = self._group_bytes = 0
        self._has_strict = False

    def add(self, record: Record) -> list[Record]:
        """Take one more record; return what is to be committed first, mostly nothing."""
        size = 2 * len(record.key.encode()) + len(record.value)
        due: list[Record] = []
        if self._group and (
            record.revision != self._group[0].revision
            or len(self._group) == _MAX_RECORDS
            or self._group_bytes + size > _MAX_BYTES
        ):
            due = self._place()
        self._group.append(record)
        self._group_bytes += size
        return due

    def rest(self) -> list[list[Record]]:
        """Return what is left to be committed, in order."""
        return [due for due in (self._place(), self._batch) if due]

    def _place(self) -> list[Record]:
        """Put the group into the batch; return the batch before it where they do not fit."""
        is_strict = any(not record.key.startswith(self._merges) for record in self._group)
        fits = (
            len(self._batch) + len(self._group) <= _MAX_RECORDS
            and self._batch_bytes + self._group_bytes <= _MAX_BYTES
            and not (is_strict and self._has_strict)
        )
        due: list[Record] = []
        if not fits:
            due, self._batch, self._batch_bytes, self._has_strict = self._batch, [], 0, False
        self._batch += self._group
        self._batch_bytes += self._group_bytes
        self._has_strict = self._has_strict or is_strict
        self._group, self._group_bytes = [], 0
        return due


async def refuse_unfinished(store: RecordStore, *, where: str = "") -> None:
    """Refuse a store that somebody is filling, or that a crash left half filled.

    Args:
        store: Which one.
        where: How to call it in the error.
    Raises:
        CorruptRecord: It is not whole.
    """
    mark = await store.get(MARK_KEY)
    if mark is not None:
        raise CorruptRecord(
            where or f"store {store.store_id}",
            expected="a whole store",
            found=_describe(mark),
            hint=f"unless that is still under way: {_WAY_OUT}",
        )


async def fill_store(
    store: RecordStore,
    records: AsyncIterable[Sequence[Record]],
    *,
    origin: str,
    first: Put,
    merges: tuple[str, ...],
    ids: Callable[[], str],
    on_progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Write records into an empty store; nothing that is there is ever overwritten.

    Args:
        store: The empty one; its own `meta/store` may be there.
        records: In order of their revisions, which they do not keep.
        origin: Where they come from, for whoever finds the store half filled.
        first: Written in the first commit, with the mark.
        merges: As of `Packer`.
        ids: Draws an id that no other transaction has.
        on_progress: Told how many records were written.
    Returns:
        How many records were written, `first` among them.
    Raises:
        Conflict: The store is not empty, or somebody else writes to it.
        InvalidInput: A record is beyond the portable limits.
        Unavailable, OutcomeUnknown: The store is away; it stays recognisably unfinished.
    """
    await _require_empty(store)
    mark = Put(MARK_KEY, msgspec.json.encode(_Mark(origin)))
    held = await _commit(store, (mark, first), (Absent(MARK_KEY), Absent(first.key)), ids())
    fence = AtRevision(MARK_KEY, held)
    packer, written = Packer(merges), 1
    async for chunk in records:
        for record in chunk:
            if due := packer.add(record):
                written += await _write(store, due, fence, ids())
        on_progress(written)
    for due in packer.rest():
        written += await _write(store, due, fence, ids())
    on_progress(written)
    await _commit(store, (Delete(MARK_KEY),), (fence,), ids())
    return written


async def _require_empty(store: RecordStore) -> None:
    mark = await store.get(MARK_KEY)
    if mark is not None:
        raise Conflict(
            f"store {store.store_id}", expected="no record in it", actual=_describe(mark),
            hint=_WAY_OUT,
        )  # fmt: skip
    page = await store.scan("", limit=_SHOWN + 2)
    found = [record.key for record in page.records if record.key != META_KEY]
    if found:
        shown = ", ".join(found[:_SHOWN]) + (", …" if found[_SHOWN:] else "")
        raise Conflict(
            f"store {store.store_id}", expected="no record in it", actual=shown,
            hint="name a new one",
        )  # fmt: skip


async def _write(store: RecordStore, due: list[Record], fence: AtRevision, name: str) -> int:
    writes = tuple(Put(record.key, record.value) for record in due)
    await _commit(store, writes, (fence, *(Absent(put.key) for put in writes)), name)
    return len(writes)


async def _commit(
    store: RecordStore, writes: tuple[Write, ...], checks: tuple[Check, ...], name: str
) -> int:
    done = await _commit_again(store, Transaction(writes, checks, name))
    if isinstance(done, Conflicted):
        raise Conflict(
            f"store {store.store_id}",
            expected="nobody else writing to it while it is filled",
            actual=f"another write of {done.failed[0].key}",
            hint=_WAY_OUT,
        )
    return done.revision


async def _commit_again(store: RecordStore, transaction: Transaction) -> Committed | Conflicted:
    for _ in range(_RESENDS):
        try:
            return await store.commit(transaction)
        except OutcomeUnknown:
            continue
    return await store.commit(transaction)


def _describe(mark: Record) -> str:
    try:
        origin = msgspec.json.decode(mark.value, type=_Mark).origin
    except (msgspec.MsgspecError, ValueError, RecursionError):
        origin = "something unknown"
    return f"an unfinished copy of {origin}"
