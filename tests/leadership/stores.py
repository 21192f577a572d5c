"""A store that can be away, around any other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from federlib.errors import Unavailable
from federlib.storage import (
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    RecordStore,
    Subscription,
    Transaction,
    WatchItem,
)


class SwitchedStore:
    """One process's way to a store: `is_away` cuts this process off, and only this one."""

    def __init__(self, inner: RecordStore) -> None:
        self.inner = inner
        self.is_away = False

    def _reach(self) -> None:
        if self.is_away:
            raise Unavailable("store", "cut off")

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @property
    def store_id(self) -> str:
        return self.inner.store_id

    async def get(self, key: str) -> Record | None:
        self._reach()
        return await self.inner.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        self._reach()
        return await self.inner.scan(prefix, after=after, limit=limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        self._reach()
        return await self.inner.commit(transaction)

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        self._reach()
        return await self.inner.outcome(transaction_id)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        self._reach()
        async with self.inner.watch(prefix, after=after) as changes:
            yield _Switched(self, changes)

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Switched:
    def __init__(self, store: SwitchedStore, inner: Subscription) -> None:
        self._store = store
        self._inner = inner

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        self._store._reach()
        return await anext(self._inner)
