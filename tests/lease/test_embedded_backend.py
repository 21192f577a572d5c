"""Leases on the embedded stores: the contract, and two clients that see one another."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import pytest

from federlib.lease import LeaseBackend, StoreLeaseBackend, hold
from federlib.skewclock import SkewTolerance, SystemClock
from federlib.storage import open_store
from federlib.telemetry import SILENT
from federlib.testing import ManualClock
from federlib.testing.lease_contract import LeaseBackendContract


class TestLeasesOnSqlite(LeaseBackendContract):
    url: ClassVar[str] = "sqlite:///{}/fleet.db"

    def setup_method(self) -> None:
        self.clock = ManualClock()
        self.place = tempfile.TemporaryDirectory(prefix="federlib-test-")

    def teardown_method(self) -> None:
        self.place.cleanup()

    @asynccontextmanager
    async def backend(self) -> AsyncIterator[LeaseBackend]:
        store = await open_store(self.url.format(self.place.name), clock=self.clock)
        try:
            yield StoreLeaseBackend(store, self.clock, SkewTolerance(), SILENT)
        finally:
            await store.aclose()

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestLeasesInFiles(TestLeasesOnSqlite):
    url: ClassVar[str] = "file:///{}/fleet"


@pytest.mark.anyio
@pytest.mark.parametrize("url", [TestLeasesOnSqlite.url, TestLeasesInFiles.url])
async def test_two_clients_of_one_store_hand_a_lease_over_at_once_and_in_order(url: str) -> None:
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="federlib-test-") as place:
        url = url.format(place)
        one, two = await open_store(url), await open_store(url)
        tokens: list[int] = []
        inside: set[str] = set()

        async def use(backend: StoreLeaseBackend, who: str) -> None:
            for _ in range(5):
                async with hold(backend, "x", holder_id=who, clock=clock, ttl_s=60) as lease:
                    assert not inside
                    inside.add(who)
                    tokens.append(lease.token)
                    await anyio.sleep(0.001)
                    inside.discard(who)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for store in (one, two):
                    for number in range(2):
                        backend = StoreLeaseBackend(store, clock, SkewTolerance())
                        group.start_soon(use, backend, f"{store is one}-{number}")
        assert len(tokens) == 20
        assert tokens == sorted(set(tokens))
        await one.aclose()
        await two.aclose()
