"""The contract of every store, on plain files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from federlib.skewclock import Clock
from federlib.storage import Put, RecordStore, Transaction, open_store
from federlib.storage.backends.file import FileStore
from federlib.testing.store_contract import RecordStoreContract


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> AsyncIterator[RecordStore]:
    store = await open_store(f"file:///{path}", clock=clock)
    try:
        yield store
    finally:
        await store.aclose()


class TestFileStore(RecordStoreContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"multi_host", "server_clock", "push_watch"})

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path
        self.opened = 0
        self.paths: dict[str, Path] = {}

    @asynccontextmanager
    async def open_store(self, clock: Clock) -> AsyncIterator[RecordStore]:
        self.opened += 1
        path = self.directory / f"store-{self.opened}"
        async with opened(path, clock) as store:
            self.paths[store.store_id] = path
            yield store

    def second_client(
        self, store: RecordStore, clock: Clock
    ) -> AbstractAsyncContextManager[RecordStore]:
        return opened(self.paths[store.store_id], clock)

    reopen = second_client

    async def outgrow_history(self, store: RecordStore) -> None:
        # The bound in bytes is reached in fewer commits than that in revisions.
        assert isinstance(store, FileStore)
        more = Transaction((Put("outgrow/1", bytes(64 * 1024)),))
        for _ in range(1_300):
            await store.commit(more)
        # Segments are forgotten with a new state, by a thread that no commit waits for: how
        # many commits that takes depends on when it comes to it.
        with anyio.fail_after(60):
            while store._engine.read_changes(1, 1) is not None:
                await store.commit(more)
