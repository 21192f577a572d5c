"""`memory://`: a store inside one process, gone with it.

For tests, examples and single processes that want leases among their own tasks. Each
opening is a store of its own; to share one, share the object.

Does not promise: durability, or use from more than one event loop or thread.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from federlib.errors import InvalidInput, Unavailable
from federlib.skewclock import Clock
from federlib.storage.backends._digest import digest_of
from federlib.storage.backends._embedded.table import RECEIPTS, Receipt, Table
from federlib.storage.examining import Examined, Finding
from federlib.storage.keys import check_key, check_prefix
from federlib.storage.limits import (
    check_scan,
    check_transaction,
    check_transaction_id,
)
from federlib.storage.protocol import (
    MAX_BEHIND,
    META_KEY,
    Batch,
    Capabilities,
    Committed,
    Conflicted,
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

__all__ = ["CAPABILITIES", "RECEIPTS", "MemoryStore", "examine", "open_store"]

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


async def examine(url: str, clock: Clock, *, may_write: bool) -> Examined:  # noqa: ARG001 (no engine)
    """Say that there is nothing to look at: each opening makes a store of its own."""
    await checkpoint()
    engine = Finding(name="engine", verdict="ok", measured="the memory of one process")
    return Examined(findings=(engine,), store="there")


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
        self._table = Table(max_receipts=RECEIPTS)
        self._history: dict[int, Batch] = {}
        self._changed: anyio.Event | None = None
        self._is_closed = False
        meta = Put(META_KEY, msgspec.json.encode(StoreMeta(self._store_id)))
        self._apply(self._table.plan(Transaction((meta,))), None)

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
        return self._table.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page in byte order of keys; see `RecordStore.scan`."""
        check_scan(prefix, after, limit)
        await self._enter()
        return self._table.page(prefix, after, limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`.

        Never raises `OutcomeUnknown`.
        """
        check_transaction(transaction)
        await self._enter()
        # From here on nothing awaits: neither cancellation nor a rival comes between.
        receipt, digest = None, b""
        if transaction.id is not None:
            digest = digest_of(transaction)
        outcome = self._table.decide(transaction, digest)
        if outcome is not None:
            return outcome
        batch = self._table.plan(transaction)
        if transaction.id is not None:
            receipt = Receipt(transaction.id, batch.revision, digest, self._clock.boot_ns())
        self._apply(batch, receipt)
        return Committed(batch.revision)

    def _apply(self, batch: Batch, receipt: Receipt | None) -> None:
        self._table.apply(batch, receipt)
        self._history[batch.revision] = batch
        self._history.pop(batch.revision - MAX_BEHIND, None)
        self._wake()

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction took effect; see `RecordStore.outcome`."""
        check_transaction_id(transaction_id)
        await self._enter()
        return self._table.outcome(transaction_id)

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
        self._table = Table()
        self._history.clear()
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
        last = self._store._table.revision  # noqa: SLF001 (a part of the store)
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
