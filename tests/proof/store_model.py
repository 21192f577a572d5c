"""What a store may hold: the commits so far, and the ones of which nobody knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Protocol

import attrs

from federlib.storage import (
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
from federlib.storage.backends._blocking.commit_line import Attempt

__all__ = ["Expected", "Found", "Store", "observe"]


class Store(Protocol):
    """What the sweeps ask of a store; `Engine` has it."""

    @property
    def store_id(self) -> str: ...
    def commit(self, attempt: Attempt) -> Committed | Conflicted: ...
    def scan(self, prefix: str, after: str | None, limit: int) -> Page: ...
    def outcome(self, transaction_id: str) -> Committed | NotSeen: ...
    def read_revision(self) -> int: ...
    def read_changes(self, after: int, limit: int) -> Iterable[Batch] | None: ...
    def check(self) -> Iterable[object]: ...
    def close(self, patience_s: float) -> None: ...


@attrs.frozen
class Found:
    """What a store says it holds.

    Attributes:
        receipts: The revision of each id that was asked for; None where it was not seen.
        changes: Its history; None where it does not reach back to the beginning.
    """

    store_id: str
    revision: int
    records: tuple[Record, ...]
    receipts: dict[str, int | None]
    changes: tuple[Batch, ...] | None


def observe(store: Store, ids: Iterable[str]) -> Found:
    """Read everything that a store shows."""
    page = store.scan("", None, 1_000)
    revision = store.read_revision()
    assert page.next is None
    assert page.revision == revision
    changes = store.read_changes(0, 10_000)
    receipts = {name: store.outcome(name) for name in ids}
    return Found(
        store.store_id,
        revision,
        page.records,
        {name: r.revision if isinstance(r, Committed) else None for name, r in receipts.items()},
        None if changes is None else tuple(changes),
    )


@attrs.frozen
class Expected:
    """A store after a row of commits, as it must be."""

    store_id: str
    revision: int
    records: dict[str, Record]
    receipts: dict[str, int]
    changes: tuple[Batch, ...]

    @classmethod
    def fresh(cls, found: Found) -> Expected:
        """Begin with what a new store holds."""
        records = {record.key: record for record in found.records}
        return cls(found.store_id, found.revision, records, {}, found.changes or ())

    @cached_property
    def digest(self) -> bytes:
        """Tell one from another, cheaply when asked often."""
        return hashlib.blake2b(repr((self.records, self.receipts, self.revision)).encode()).digest()

    def _revision_of(self, key: str) -> int | None:
        return self.records[key].revision if key in self.records else None

    def answer(self, transaction: Transaction) -> Committed | Conflicted:
        """Return what `commit` must answer."""
        if transaction.id is not None and transaction.id in self.receipts:
            return Committed(self.receipts[transaction.id])
        wanted = {
            check.key: check.revision if isinstance(check, AtRevision) else None
            for check in transaction.checks
        }
        failed = tuple(
            Mismatch(key, expected, self._revision_of(key))
            for key, expected in wanted.items()
            if self._revision_of(key) != expected
        )
        return Conflicted(failed) if failed else Committed(self.revision + 1)

    def after(self, transaction: Transaction) -> Expected:
        """Return the store after a transaction; the same where it has no effect."""
        revision, records = self.revision + 1, dict(self.records)
        if self.answer(transaction) != Committed(revision):
            return self
        events = []
        for write in sorted(transaction.writes, key=lambda write: write.key.encode()):
            before = records.pop(write.key, None)
            if isinstance(write, Put):
                created = before.created if before is not None else revision
                records[write.key] = Record(write.key, write.value, revision, created)
            if isinstance(write, Put) or before is not None:
                events.append(Event(write.key, records.get(write.key)))
        named = {} if transaction.id is None else {transaction.id: revision}
        return attrs.evolve(
            self,
            revision=revision,
            records=records,
            receipts=self.receipts | named,
            changes=(*self.changes, Batch(revision, tuple(events))),
        )

    def is_found(self, found: Found) -> bool:
        """Say whether a store shows exactly this; its history may be gone, but not wrong."""
        return (
            found.store_id == self.store_id
            and found.revision == self.revision
            and {record.key: record for record in found.records} == self.records
            and all(self.receipts.get(name) == at for name, at in found.receipts.items())
            and found.changes in (None, self.changes)
        )
