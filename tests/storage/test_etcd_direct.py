"""A store in etcd that answers in the calling thread keeps the same contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from federlib._pace import ThreadPace, run_now
from federlib.skewclock import Clock
from federlib.storage import Committed, NotSeen, Put, RecordStore, Transaction
from federlib.storage.backends.etcd import open_store
from federlib.storage.direct import Embedded
from federlib.telemetry import SILENT
from federlib.testing._store_commits import StoreCommits
from federlib.testing.servers import EtcdCluster
from storage.etcd_lab import new_url, opened
from storage.test_direct import InThreads


@asynccontextmanager
async def direct(url: str, clock: Clock) -> AsyncIterator[RecordStore]:
    store = await open_store(url, clock, SILENT)
    assert isinstance(store, Embedded)
    try:
        yield InThreads(store.direct(ThreadPace()))
    finally:
        await store.aclose()


class TestDirectEtcdStore(StoreCommits):
    @pytest.fixture(autouse=True)
    def _cluster(self, etcd_server: EtcdCluster) -> None:
        self.cluster = etcd_server

    def open_store(self, clock: Clock) -> AbstractAsyncContextManager[RecordStore]:
        return direct(new_url(self.cluster), clock)


@pytest.mark.anyio
async def test_who_has_no_patience_left_sends_nothing(etcd_server: EtcdCluster) -> None:
    async with opened(new_url(etcd_server)) as store:
        pace = ThreadPace()
        impatient = store.direct(pace)
        with pace.limit(0.0) as limit:
            run_now(impatient.commit(Transaction((Put("a", b""),), id="t")))
        assert limit.cancelled_caught
        assert await store.outcome("t") == NotSeen()
        done = run_now(impatient.commit(Transaction((Put("a", b""),), id="t")))
        assert isinstance(done, Committed)
