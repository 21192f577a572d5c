"""`memory://`: a store inside one process, gone with it.

For tests, examples and single processes that want leases among their own tasks. Each
opening is a store of its own; to share one, share the object.

Does not promise: durability, or use from more than one event loop or thread.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from federlib.errors import InvalidInput, Unavailable
from federlib.skewclock import Clock
from federlib.storage.keys import check_key, check_prefix
from federlib.storage.limits import (
    MAX_PAGE_BYTES,
    check_scan,
    check_transaction,
    check_transaction_id,
)
from federlib.storage.protocol import (
    MAX_BEHIND,
    META_KEY,
    AtRevision,
    Batch,
    Capabilities,
    Committed,
    Conflicted,
    Delete,
    Event,
    Mismatch,
    NotSeen,
    Page,
    Progress,
    Put,
    Record,
    RecordStore,
    Resync,
    StoreMeta,
    Subscription,
    Transaction,
    WatchItem,
)
from federlib.storage.urls import redact_url
from federlib.telemetry import Telemetry

__all__ = ["CAPABILITIES", "RECEIPTS", "RECEIPT_AGE_NS", "MemoryStore", "open_store"]

RECEIPTS = 100_000
RECEIPT_AGE_NS = 10 * 60 * 1_000_000_000
"""A receipt is dropped when it is both older than this and behind `RECEIPTS` newer ones."""

CAPABILITIES = Capabilities(
    durable=False,
    shared=False,
    multi_host=False,
    server_clock=False,
    push_watch=True,
    wake_latency_s=0.0,
)

_NAME = "memory store"
_SILENCE_S = 1.0
_encoder = msgspec.msgpack.Encoder()


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> RecordStore:
    """Open a fresh, private store.

    Raises:
        InvalidInput: The URL is not ``memory://`` with nothing behind it: a name would have
            to be looked up in something that all federations of a process share.
    """
    if url.lower() != "memory://":
        raise InvalidInput("store URL", expected="memory://", found=redact_url(url))
    await checkpoint()
    store = MemoryStore(clock)
    telemetry.log("debug", "store_opened", driver="memory", store_id=store.store_id)
    return store


class _Receipt(msgspec.Struct, frozen=True):
    revision: int
    digest: bytes
    boot_ns: int


class MemoryStore:
    """A `RecordStore` in this process's memory.

    Every verb begins with a checkpoint and then acts without awaiting, so a cancelled
    commit has had no effect. For one event loop; not safe across threads.

    Args:
        clock: For the age of receipts.
        store_id: Drawn at random unless given.
    """

    def __init__(self, clock: Clock, *, store_id: str | None = None) -> None:
        self._clock = clock
        # Only a shell draws ids, and this is one.
        self._store_id = store_id or os.urandom(16).hex()  # noqa: TID251
        self._records: dict[str, Record] = {}
        # Code points order like their UTF-8 bytes, so plain `str` order is the right one.
        self._keys: list[str] = []
        self._history: dict[int, Batch] = {}
        self._receipts: OrderedDict[str, _Receipt] = OrderedDict()
        self._revision = 0
        self._changed: anyio.Event | None = None
        self._is_closed = False
        self._apply((Put(META_KEY, msgspec.json.encode(StoreMeta(self._store_id))),))

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        return CAPABILITIES

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._store_id

    async def get(self, key: str) -> Record | None:
        """Read one record; see `RecordStore.get`."""
        check_key(key)
        await self._enter()
        return self._records.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page in byte order of keys; see `RecordStore.scan`."""
        check_scan(prefix, after, limit)
        await self._enter()
        page: list[Record] = []
        size = 0
        for record in self._walk(prefix, after):
            size += len(record.value)
            if len(page) == limit or (page and size > MAX_PAGE_BYTES):
                return Page(tuple(page), self._revision, page[-1].key)
            page.append(record)
        return Page(tuple(page), self._revision, None)

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

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`.

        Never raises `OutcomeUnknown`.
        """
        check_transaction(transaction)
        await self._enter()
        # From here on nothing awaits: neither cancellation nor a rival comes between.
        digest = b""
        if transaction.id is not None:
            digest = hashlib.blake2b(_encoder.encode(transaction), digest_size=16).digest()
            earlier = self._receipts.get(transaction.id)
            if earlier is not None:
                return _repeat(transaction.id, earlier, digest)
        failed = self._failed_checks(transaction)
        if failed:
            return Conflicted(failed)
        self._apply(transaction.writes)
        if transaction.id is not None:
            self._keep_receipt(transaction.id, digest)
        return Committed(self._revision)

    def _failed_checks(self, transaction: Transaction) -> tuple[Mismatch, ...]:
        failed: list[Mismatch] = []
        for check in transaction.checks:
            record = self._records.get(check.key)
            found = None if record is None else record.revision
            expected = check.revision if isinstance(check, AtRevision) else None
            if found != expected:
                failed.append(Mismatch(check.key, expected, found))
        return tuple(failed)

    def _apply(self, writes: tuple[Put | Delete, ...]) -> None:
        self._revision += 1
        events: list[Event] = []
        for write in sorted(writes, key=lambda write: write.key):
            if isinstance(write, Put):
                events.append(Event(write.key, self._put(write)))
            elif self._records.pop(write.key, None) is not None:
                del self._keys[bisect_left(self._keys, write.key)]
                events.append(Event(write.key, None))
        self._history[self._revision] = Batch(self._revision, tuple(events))
        self._history.pop(self._revision - MAX_BEHIND, None)
        self._wake()

    def _put(self, write: Put) -> Record:
        before = self._records.get(write.key)
        if before is None:
            # Moves pointers behind the key, but that is one memmove, not a sort.
            insort(self._keys, write.key)
        created = self._revision if before is None else before.created
        record = Record(write.key, write.value, self._revision, created)
        self._records[write.key] = record
        return record

    def _keep_receipt(self, transaction_id: str, digest: bytes) -> None:
        now_ns = self._clock.boot_ns()
        self._receipts[transaction_id] = _Receipt(self._revision, digest, now_ns)
        while len(self._receipts) > RECEIPTS:
            oldest = next(iter(self._receipts.values()))
            if now_ns - oldest.boot_ns <= RECEIPT_AGE_NS:
                return
            self._receipts.popitem(last=False)

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction took effect; see `RecordStore.outcome`."""
        check_transaction_id(transaction_id)
        await self._enter()
        receipt = self._receipts.get(transaction_id)
        return NotSeen() if receipt is None else Committed(receipt.revision)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to changes under `prefix`; see `RecordStore.watch`."""
        check_prefix(prefix)
        if type(after) is not int or after < 0:
            raise InvalidInput("after", expected="a revision, 0 or more", found=after)
        await self._enter()
        yield _MemorySubscription(self, prefix, after)

    async def aclose(self) -> None:
        """Forget everything and wake all watchers, who then find the store unavailable."""
        self._is_closed = True
        self._records.clear()
        self._keys.clear()
        self._history.clear()
        self._receipts.clear()
        self._wake()

    async def _enter(self) -> None:
        await checkpoint()
        self._check_open()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable(_NAME, "it was closed")

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _wait_for_change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()


def _repeat(transaction_id: str, earlier: _Receipt, digest: bytes) -> Committed:
    if earlier.digest != digest:
        raise InvalidInput(
            "id", expected="the transaction first committed under it", found=transaction_id
        )
    return Committed(earlier.revision)


class _MemorySubscription:
    """Reads the store's history at its own pace; holds no queue that could fill."""

    def __init__(self, store: MemoryStore, prefix: str, after: int) -> None:
        self._store = store
        self._prefix = prefix
        self._position = after
        self._is_told = False
        self._quiet_until = 0.0

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        await checkpoint()
        while True:
            self._store._check_open()  # noqa: SLF001 (a part of the store)
            item = self._take()
            if item is not None:
                return item
            # The deadline is kept between calls: a consumer that cancels and comes back
            # still hears of progress.
            with anyio.CancelScope(deadline=self._quiet_until):
                await self._store._wait_for_change()  # noqa: SLF001 (a part of the store)

    def _take(self) -> WatchItem | None:
        last = self._store._revision  # noqa: SLF001 (a part of the store)
        if not 0 <= last - self._position <= MAX_BEHIND:
            self._position, self._is_told = last, False
            return Resync(last)
        while self._position < last:
            self._position += 1
            batch = self._store._history[self._position]  # noqa: SLF001 (a part of the store)
            events = tuple(e for e in batch.events if e.key.startswith(self._prefix))
            if events:
                self._is_told = False
                return Batch(self._position, events)
        now = anyio.current_time()
        if self._is_told and now < self._quiet_until:
            return None
        self._is_told, self._quiet_until = True, now + _SILENCE_S
        return Progress(last)
