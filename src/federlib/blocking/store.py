"""`Store`: the record store under a blocking federation, verb by verb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from federlib.blocking._caller import Caller
from federlib.storage import (
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    RecordStore,
    Transaction,
    WatchItem,
)

__all__ = ["Store"]


class Store:
    """A durable map with compare-and-swap transactions and a change stream. Thread-safe.

    The verbs, arguments and errors of `federlib.storage.RecordStore`.
    """

    def __init__(self, store: RecordStore, caller: Caller) -> None:
        """Wrap a store that answers in the calling thread."""
        self._store = store
        self._caller = caller

    @property
    def capabilities(self) -> Capabilities:
        """What the driver can do."""
        return self._store.capabilities

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._store.store_id

    def get(self, key: str) -> Record | None:
        """Read one record; linearizable."""
        return self._caller.call(self._store.get, key)

    def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read the records whose key starts with `prefix`, in byte order of keys."""
        return self._caller.call(self._store.scan, prefix, after=after, limit=limit)

    def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; linearizable. A conflict is a value."""
        return self._caller.call(self._store.commit, transaction)

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction with this id took effect."""
        return self._caller.call(self._store.outcome, transaction_id)

    @contextmanager
    def watch(self, prefix: str, *, after: int) -> Iterator[Iterator[WatchItem]]:
        """Subscribe to whole transactions after revision `after`, filtered to `prefix`.

            with fed.store.watch("jobs/", after=page.revision) as changes:
                for item in changes:
                    ...

        About every second of silence brings a `Progress`, so that a loop may look around.
        Closing the federation ends the wait with `Unavailable`.
        """
        with self._caller.entered(self._store.watch, prefix, after=after) as changes:
            yield self._caller.iterate(changes)
