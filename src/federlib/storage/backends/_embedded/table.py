"""What a store holds, in memory: records in order of their keys, and receipts.

Used by the drivers that keep everything in memory. Nothing here knows a clock, a file or a
lock: who decides and who applies is the caller's business, and one thread at a time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

import msgspec

from federlib.errors import InvalidInput
from federlib.storage.limits import MAX_PAGE_BYTES
from federlib.storage.protocol import (
    AtRevision,
    Batch,
    Committed,
    Conflicted,
    Event,
    Mismatch,
    NotSeen,
    Page,
    Put,
    Record,
    Transaction,
)

__all__ = ["RECEIPTS", "RECEIPT_AGE_NS", "Receipt", "Table"]

RECEIPTS = 100_000
RECEIPT_AGE_NS = 10 * 60 * 1_000_000_000
"""A receipt is dropped when it is both older than this and behind `RECEIPTS` newer ones."""


class Receipt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """That a transaction with an id took effect.

    Attributes:
        id: The transaction's.
        revision: Its commit.
        digest: Of the whole transaction, so that an id is not used for two.
        at_ns: When; by one clock for all receipts of a store.
    """

    id: str
    revision: int
    digest: bytes
    at_ns: int


class Table:
    """Records and receipts at one revision.

    Attributes:
        revision: Of the last commit.
    """

    def __init__(
        self,
        records: Iterable[Record] = (),
        receipts: Iterable[Receipt] = (),
        *,
        revision: int = 0,
        max_receipts: int = RECEIPTS,
    ) -> None:
        self.revision = revision
        self._records = {record.key: record for record in records}
        # Code points order like their UTF-8 bytes, so plain `str` order is the right one.
        self._keys = sorted(self._records)
        # In order of their commits, the oldest first.
        self._receipts = {receipt.id: receipt for receipt in receipts}
        self._max_receipts = max_receipts

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: str) -> Record | None:
        """Return one record."""
        return self._records.get(key)

    def records(self) -> list[Record]:
        """Return all records, in no certain order."""
        return list(self._records.values())

    def receipts(self) -> list[Receipt]:
        """Return all receipts, the oldest first."""
        return list(self._receipts.values())

    def page(self, prefix: str, after: str | None, limit: int) -> Page:
        """Return one page, in byte order of keys."""
        page: list[Record] = []
        size = 0
        for record in self._walk(prefix, after):
            size += len(record.value)
            if len(page) == limit or (page and size > MAX_PAGE_BYTES):
                return Page(tuple(page), self.revision, page[-1].key)
            page.append(record)
        return Page(tuple(page), self.revision, None)

    def _walk(self, prefix: str, after: str | None) -> Iterator[Record]:
        if after is None or after < prefix:
            start = bisect_left(self._keys, prefix)
        else:
            start = bisect_right(self._keys, after)
        for position in range(start, len(self._keys)):
            key = self._keys[position]
            if not key.startswith(prefix):
                return
            yield self._records[key]

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Look for a receipt."""
        receipt = self._receipts.get(transaction_id)
        return NotSeen() if receipt is None else Committed(receipt.revision)

    def decide(self, transaction: Transaction, digest: bytes) -> Committed | Conflicted | None:
        """Return the outcome of a transaction that changes nothing, or None: it may be applied.

        Raises:
            InvalidInput: Its id was used for another transaction.
        """
        if transaction.id is not None:
            earlier = self._receipts.get(transaction.id)
            if earlier is not None:
                if earlier.digest != digest:
                    raise InvalidInput(
                        "id",
                        expected="the transaction first committed under it",
                        found=transaction.id,
                    )
                return Committed(earlier.revision)
        failed: list[Mismatch] = []
        for check in transaction.checks:
            record = self._records.get(check.key)
            found = None if record is None else record.revision
            expected = check.revision if isinstance(check, AtRevision) else None
            if found != expected:
                failed.append(Mismatch(check.key, expected, found))
        return Conflicted(tuple(failed)) if failed else None

    def plan(self, transaction: Transaction) -> Batch:
        """Return what the transaction would do as the next commit; changes nothing."""
        revision = self.revision + 1
        writes = transaction.writes
        if len(writes) > 1:
            writes = tuple(sorted(writes, key=lambda write: write.key))
        events: list[Event] = []
        for write in writes:
            before = self._records.get(write.key)
            if isinstance(write, Put):
                created = revision if before is None else before.created
                record = Record(write.key, write.value, revision, created)
                events.append(Event(write.key, record))
            elif before is not None:
                events.append(Event(write.key, None))
        return Batch(revision, tuple(events))

    def apply(self, batch: Batch, receipt: Receipt | None) -> None:
        """Take over what a commit did; it must be the next one."""
        for event in batch.events:
            if event.record is None:
                if self._records.pop(event.key, None) is not None:
                    del self._keys[bisect_left(self._keys, event.key)]
                continue
            if event.key not in self._records:
                # Moves pointers behind the key, but that is one memmove, not a sort.
                insort(self._keys, event.key)
            self._records[event.key] = event.record
        if receipt is not None:
            self._receipts[receipt.id] = receipt
            self._drop_receipts(receipt.at_ns)
        self.revision = batch.revision

    def _drop_receipts(self, now_ns: int) -> None:
        while len(self._receipts) > self._max_receipts:
            oldest = next(iter(self._receipts.values()))
            if now_ns - oldest.at_ns <= RECEIPT_AGE_NS:
                return
            del self._receipts[oldest.id]
