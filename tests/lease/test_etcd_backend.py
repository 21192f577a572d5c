"""The contract of every lease backend, on a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from federlib.lease import LeaseBackend, from_url
from federlib.lease.backends.etcd import EtcdLeaseBackend
from federlib.testing.lease_contract import LeaseBackendContract
from federlib.testing.servers import EtcdCluster
from storage.etcd_lab import new_url


class TestEtcdLeaseBackend(LeaseBackendContract):
    ttl_s = 2.0

    @pytest.fixture(autouse=True)
    def _server(self, etcd_server: EtcdCluster) -> None:
        self.url = new_url(etcd_server)

    @asynccontextmanager
    async def backend(self) -> AsyncIterator[LeaseBackend]:
        backend = await from_url(self.url)
        assert isinstance(backend, EtcdLeaseBackend)
        try:
            yield backend
        finally:
            await backend.aclose()


class TestEtcdLeaseBackendOnThreeMembers(TestEtcdLeaseBackend):
    @pytest.fixture(autouse=True)
    def _server(self, etcd_cluster: EtcdCluster) -> None:
        self.url = new_url(etcd_cluster)
