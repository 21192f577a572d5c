"""The contract of every lease backend, on a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from federlib.lease import LeaseBackend, from_url
from federlib.lease.backends.postgresql import PostgresLeaseBackend
from federlib.testing.lease_contract import LeaseBackendContract
from federlib.testing.servers import PostgresServer

_schemas = itertools.count()


class TestPostgresLeaseBackend(LeaseBackendContract):
    ttl_s = 1.5

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        self.url = f"{postgres_server.url}?schema=leases_{next(_schemas)}"

    @asynccontextmanager
    async def backend(self) -> AsyncIterator[LeaseBackend]:
        backend = await from_url(self.url)
        assert isinstance(backend, PostgresLeaseBackend)
        try:
            yield backend
        finally:
            await backend.aclose()
