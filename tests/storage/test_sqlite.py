"""The contract of every store, on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from federlib.skewclock import Clock
from federlib.storage import Put, RecordStore, Transaction, open_store
from federlib.storage.backends.sqlite import SqliteStore
from federlib.testing.store_contract import RecordStoreContract


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> AsyncIterator[RecordStore]:
    store = await open_store(f"sqlite:///{path}", clock=clock)
    try:
        yield store
    finally:
        await store.aclose()


class TestSqliteStore(RecordStoreContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"multi_host", "server_clock", "push_watch"})

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path
        self.opened = 0

    def open_store(self, clock: Clock) -> AbstractAsyncContextManager[RecordStore]:
        self.opened += 1
        return opened(self.directory / f"store-{self.opened}.db", clock)

    def second_client(
        self, store: RecordStore, clock: Clock
    ) -> AbstractAsyncContextManager[RecordStore]:
        assert isinstance(store, SqliteStore)
        return opened(store.path, clock)

    reopen = second_client

    async def outgrow_history(self, store: RecordStore) -> None:
        # The bound in bytes is reached in fewer commits than that in revisions.
        for _ in range(80):
            puts = (Put("outgrow/1", bytes(512 * 1024)), Put("outgrow/2", bytes(500 * 1024)))
            await store.commit(Transaction(puts))
