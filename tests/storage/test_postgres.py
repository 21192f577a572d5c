"""The contract of every store, on a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from federlib.skewclock import Clock
from federlib.storage import Put, RecordStore, Transaction, open_store
from federlib.storage.backends.postgresql import PostgresStore
from federlib.testing.servers import PostgresServer
from federlib.testing.store_contract import RecordStoreContract

_schemas = itertools.count()


@asynccontextmanager
async def opened(server: PostgresServer, schema: str, clock: Clock) -> AsyncIterator[RecordStore]:
    store = await open_store(f"{server.url}?schema={schema}", clock=clock)
    try:
        yield store
    finally:
        await store.aclose()


class TestPostgresStore(RecordStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        self.server = postgres_server

    def open_store(self, clock: Clock) -> AbstractAsyncContextManager[RecordStore]:
        return opened(self.server, f"contract {next(_schemas)}", clock)

    def second_client(
        self, store: RecordStore, clock: Clock
    ) -> AbstractAsyncContextManager[RecordStore]:
        assert isinstance(store, PostgresStore)
        return opened(self.server, store.engine.schema, clock)

    reopen = second_client

    async def outgrow_history(self, store: RecordStore) -> None:
        # The bound in bytes is reached in fewer commits than that in revisions.
        for _ in range(80):
            puts = (Put("outgrow/1", bytes(512 * 1024)), Put("outgrow/2", bytes(500 * 1024)))
            await store.commit(Transaction(puts))
