"""The contract of every store, on a real etcd."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import pytest

from federlib.skewclock import Clock
from federlib.storage import Put, RecordStore, Transaction
from federlib.storage.backends.etcd import EtcdStore
from federlib.testing.servers import EtcdCluster
from federlib.testing.store_contract import RecordStoreContract
from storage.etcd_lab import compact, new_url, opened


class TestEtcdStore(RecordStoreContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"server_clock"})

    @pytest.fixture(autouse=True)
    def _cluster(self, etcd_server: EtcdCluster) -> None:
        self.cluster = etcd_server

    def open_store(self, clock: Clock) -> AbstractAsyncContextManager[RecordStore]:
        self.url = new_url(self.cluster)
        return opened(self.url, clock)

    def second_client(
        self, store: RecordStore, clock: Clock
    ) -> AbstractAsyncContextManager[RecordStore]:
        assert isinstance(store, EtcdStore)
        return opened(self.url, clock)

    reopen = second_client

    async def outgrow_history(self, store: RecordStore) -> None:
        await store.commit(Transaction((Put("outgrow", b""),)))
        compact(self.cluster)
