"""The `RecordStore` protocol: small, and defined to the last corner.

Everything durable in federlib leans on these few verbs. A store is a map from keys to
values with one revision counter. The counter grows with every commit, deletes included,
and never goes back. `federlib.testing.RecordStoreContract` has a test for every sentence
of this file; a driver passes it or says in its `Capabilities` what it lacks.

Does not promise: expiry (time belongs to leases), range checks (a collection that needs
one has a head record that every writer checks and bumps), or a snapshot over several pages.

Source: design §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import attrs
import msgspec

__all__ = [
    "COMMIT_TIMEOUT_S",
    "MAX_BEHIND",
    "META_KEY",
    "Absent",
    "AtRevision",
    "Batch",
    "Capabilities",
    "Check",
    "Checkable",
    "Committed",
    "Conflicted",
    "Delete",
    "Event",
    "Mismatch",
    "NativeLeases",
    "NotSeen",
    "Page",
    "Progress",
    "Put",
    "Record",
    "RecordStore",
    "Resync",
    "ServerClock",
    "StoreMeta",
    "StoreProblem",
    "Subscription",
    "Transaction",
    "WatchItem",
    "Write",
]

COMMIT_TIMEOUT_S = 5.0
"""How long a commit that was sent is waited for before `OutcomeUnknown`; seconds."""

MAX_BEHIND = 1_000
"""How many batches a watcher may fall behind before it gets a `Resync`."""

META_KEY = "meta/store"
"""The record that names the store; only the driver writes it."""


class Record(msgspec.Struct, frozen=True):
    """One stored record.

    Attributes:
        key: Its key.
        value: Its bytes.
        revision: The revision of the commit that last wrote it.
        created: The revision of the commit that created this life of it: a delete ends a
            life, the next put starts another.
    """

    key: str
    value: bytes
    revision: int
    created: int


class Page(msgspec.Struct, frozen=True):
    """One page of a scan: a snapshot at `revision`.

    Attributes:
        records: In byte order of their UTF-8 keys.
        revision: The store's revision at the snapshot. Scan all pages, then watch after
            the *first* page's revision, and you converge.
        next: Pass as `after` for the next page; None on the last one.
    """

    records: tuple[Record, ...]
    revision: int
    next: str | None


class AtRevision(msgspec.Struct, frozen=True, tag="at"):
    """Check: `key` exists and was last written at `revision`."""

    key: str
    revision: int


class Absent(msgspec.Struct, frozen=True, tag="absent"):
    """Check: `key` does not exist."""

    key: str


class Put(msgspec.Struct, frozen=True, tag="put"):
    """Write: `key` holds `value` from now on."""

    key: str
    value: bytes


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    """Write: `key` is gone. Deleting what is absent is allowed and makes no event."""

    key: str


Check = AtRevision | Absent
"""What must hold for a transaction to take effect."""

Write = Put | Delete
"""What a transaction changes."""


class Transaction(msgspec.Struct, frozen=True):
    """Checks and writes that happen together or not at all.

    A key is written at most once in a transaction. Limits, the same on every driver:
    64 checks, 64 writes, a key of 512 bytes, a value of 512 KiB, 1 MiB of keys and values
    in all; beyond them `InvalidInput`, before anything is sent.

    Attributes:
        writes: At most 64. May be empty together with checks: then it only checks, and
            a success still takes a revision.
        checks: At most 64.
        id: Names the transaction for `outcome` and for safe repetition: 1 to 128
            characters. Without an id nothing is ever sent twice.
    """

    writes: tuple[Write, ...] = ()
    checks: tuple[Check, ...] = ()
    id: str | None = None


class Committed(msgspec.Struct, frozen=True, tag="committed"):
    """The transaction took effect at `revision`."""

    revision: int


class Mismatch(msgspec.Struct, frozen=True):
    """One failed check.

    Attributes:
        key: The key.
        expected: The revision that the check named; None for 'absent'.
        found: The revision that was found; None where the key is absent.
    """

    key: str
    expected: int | None
    found: int | None


class Conflicted(msgspec.Struct, frozen=True, tag="conflicted"):
    """The transaction had no effect: these checks failed, each named."""

    failed: tuple[Mismatch, ...]


class NotSeen(msgspec.Struct, frozen=True, tag="not_seen"):
    """The store has no receipt of that transaction."""


class Event(msgspec.Struct, frozen=True):
    """One change of one key.

    Attributes:
        key: The key.
        record: The record as this commit wrote it; None when it was deleted.
    """

    key: str
    record: Record | None


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """All events of one commit that lie under the watched prefix, in order of their keys."""

    revision: int
    events: tuple[Event, ...]


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Nothing under the prefix is missing up to and including `revision`."""

    revision: int


class Resync(msgspec.Struct, frozen=True, tag="resync"):
    """Changes were missed: scan again. The subscription goes on after `revision`."""

    revision: int


WatchItem = Batch | Progress | Resync
"""What a subscription brings."""


class StoreMeta(msgspec.Struct, frozen=True):
    """What the record `meta/store` holds, as JSON.

    Attributes:
        store_id: Drawn once when the store is created.
        format: Version of the layout.
    """

    store_id: str
    format: int = 1


class StoreProblem(msgspec.Struct, frozen=True):
    """One thing that `Checkable.check` found wrong.

    Attributes:
        what: What is wrong: a record by its key, a file by its name, a change by its revision.
        expected: What should be there.
        found: What is there.
    """

    what: str
    expected: str
    found: str


@attrs.frozen(kw_only=True)
class Capabilities:
    """What a driver can do, as data; the contract suite tests what is declared.

    Attributes:
        durable: A commit survives the death of every process and of the machine.
        shared: Several processes may use it at once.
        multi_host: Several hosts may use it at once.
        server_clock: It implements `ServerClock`.
        push_watch: A watcher is woken; it does not poll.
        wake_latency_s: How long after a commit a watcher in another process hears of it,
            at the latest, on an idle machine; seconds.
    """

    durable: bool
    shared: bool
    multi_host: bool
    server_clock: bool
    push_watch: bool
    wake_latency_s: float


class Subscription(Protocol):
    """An endless stream of `WatchItem`, as `RecordStore.watch` gives it.

    `anext` may be cancelled at any time; nothing is lost, the next call goes on.
    """

    def __aiter__(self) -> Subscription: ...

    async def __anext__(self) -> WatchItem:
        """Wait for the next item.

        Raises:
            Unavailable: The store cannot be read; a later call may succeed.
            CorruptRecord: The store is no longer the one that was opened.
        """
        ...


@runtime_checkable
class RecordStore(Protocol):
    """A durable map with compare-and-swap transactions and a change stream."""

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        ...

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        ...

    async def get(self, key: str) -> Record | None:
        """Read one record; linearizable.

        Raises:
            InvalidInput: The key breaks the rules of `check_key`.
            Unavailable: The store cannot be reached.
        """
        ...

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read the records whose key starts with `prefix`, in byte order of keys.

        One page is a snapshot at its `revision`; several pages together are not.

        Args:
            prefix: Any beginning of a key, not only whole segments; "" is everything.
            after: Start behind this key.
            limit: 1 to 1,000 records; a page may end earlier (it holds at most 8 MiB of
                values), then `next` says so.
        """
        ...

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; linearizable. A conflict is a value.

        Cancellable only until the request is sent. From then on it is shielded until the
        answer, or until `COMMIT_TIMEOUT_S`, after which it raises `OutcomeUnknown`.
        A transaction with an id may be committed again: the first result comes back.

        Raises:
            InvalidInput: A limit is exceeded, a key is written twice, `meta/store` is
                written, or the id was used for another transaction.
            Unavailable: Nothing was sent.
            OutcomeUnknown: It was sent and no answer came.
        """
        ...

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction with this id took effect.

        Receipts are kept for at least 10 minutes, and at least the last 100,000 of them.
        """
        ...

    def watch(self, prefix: str, *, after: int) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to whole transactions after revision `after`, filtered to `prefix`.

        In revision order, each once; deletes are events. `Progress` when quiet: once the
        consumer has everything, and again about every second of silence. `Resync` when the
        history after `after` is gone, or the consumer fell more than `MAX_BEHIND` batches
        behind.
        """
        ...

    async def aclose(self) -> None:
        """Let go of files, threads and connections; a second call does nothing."""
        ...


@runtime_checkable
class ServerClock(Protocol):
    """A store that tells the time itself (optional)."""

    async def server_now_ns(self) -> int:
        """Read the server's wall clock; Unix nanoseconds."""
        ...


@runtime_checkable
class NativeLeases(Protocol):
    """A store whose engine grants leases better than its records would (optional)."""

    @property
    def lease_backend(self) -> str:
        """The entry point of `federlib.leases` that opens a backend on this very store."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A store that can verify all that it keeps (optional)."""

    async def check(self) -> Sequence[StoreProblem]:
        """Read everything that is stored, and return what is wrong with it.

        Repairs nothing. Commits may go on beside it; what they write meanwhile is not
        taken for damage. It may take as long as reading the whole store takes.

        Raises:
            Unavailable: The store cannot be read.
            CorruptRecord: The store is no longer the one that was opened.
        """
        ...
