"""`LoopStore`: the simulated store, as a process on an event loop sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from federlib._pace import run_now
from federlib.errors import FederlibError
from federlib.storage import (
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    Subscription,
    Transaction,
    WatchItem,
)
from federlib.testing.shells.process import Process
from federlib.testing.sim.store import SimulatedStore, StoreClient

__all__ = ["LoopStore"]


class LoopStore:
    """A `RecordStore` of one life of a process.

    It is away, slow, full or silent as the simulated store and network are. A subscription
    that breaks raises `Unavailable`, and opens again where it was with the next call.

    Args:
        store: The server.
        process: Whose; the present life of it.
    """

    def __init__(self, store: SimulatedStore, process: Process) -> None:
        self.process: Process = process
        self.life: int = process.life
        self._client = StoreClient(store, process)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._client.capabilities

    @property
    def store_id(self) -> str:
        """Follows from the seed."""
        return self._client.store_id

    async def get(self, key: str) -> Record | None:
        """Read one record; see `RecordStore.get`."""
        await self.process.ready(self.life)
        return await self.process.wait(self.life, self._client.get(key))

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page; see `RecordStore.scan`."""
        await self.process.ready(self.life)
        page = self._client.scan(prefix, after=after, limit=limit)
        return await self.process.wait(self.life, page)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`."""
        await self.process.ready(self.life)
        # Sent, it is waited for: the client gives up by itself.
        with CancelScope(shield=True):
            done = await self.process.wait(self.life, self._client.commit(transaction))
        return done  # noqa: RET504 (to mypy a scope may swallow, and then nothing is returned)

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction took effect."""
        await self.process.ready(self.life)
        return await self.process.wait(self.life, self._client.outcome(transaction_id))

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to changes under `prefix`; see `RecordStore.watch`."""
        feed = _Feed(self, self._client, prefix, after)
        await self.process.ready(self.life)
        await feed.open()
        try:
            yield feed
        finally:
            feed.close()

    async def aclose(self) -> None:
        """Nothing is open."""
        await checkpoint()


class _Feed:
    """One subscription, opened again where it was whenever its connection has broken."""

    def __init__(self, store: LoopStore, client: StoreClient, prefix: str, after: int) -> None:
        self._process = store.process
        self._life = store.life
        self._client = client
        self._prefix = prefix
        self._position = after
        self._context: AbstractAsyncContextManager[Subscription] | None = None
        self._changes: Subscription | None = None

    async def open(self) -> Subscription:
        context = self._client.watch(self._prefix, after=self._position)
        changes = await self._process.wait(self._life, context.__aenter__())
        self._context, self._changes = context, changes
        return changes

    def close(self) -> None:
        context, self._context, self._changes = self._context, None, None
        if context is not None:
            # To close it, nobody is asked.
            run_now(context.__aexit__(None, None, None))

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        await self._process.ready(self._life)
        try:
            changes = self._changes or await self.open()
            item = await self._process.wait(self._life, changes.__anext__())
        except FederlibError:
            self.close()
            raise
        self._position = item.revision
        return item
