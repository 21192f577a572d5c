"""The contract that every lease backend keeps, on ours; and the names that customers type in."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given

from billing.tenants import MAX_TENANT_BYTES, TenantLeases
from federlib.errors import InvalidInput
from federlib.lease import Holder, Lease, LeaseBackend, StoreLeaseBackend
from federlib.skewclock import SkewTolerance
from federlib.storage import RecordStore, segment
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock, strategies
from federlib.testing.lease_contract import LeaseBackendContract


class TestTenantLeases(LeaseBackendContract):
    @pytest.fixture(autouse=True)
    def _world(self, manual_clock: ManualClock, memory_store: RecordStore) -> None:
        self.clock, self.store = manual_clock, memory_store

    @asynccontextmanager
    async def backend(self) -> AsyncGenerator[LeaseBackend, None]:
        inner = StoreLeaseBackend(self.store, self.clock, SkewTolerance())
        yield TenantLeases(inner, "acme")

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.mark.anyio
async def test_tenants_do_not_meet(lease_backend: LeaseBackend) -> None:
    for tenant, name in (("a", "b/c"), ("a/b", "c"), ("a%2Fb", "c")):
        leases = TenantLeases(lease_backend, tenant)
        answer = await leases.acquire(name, Holder(tenant, "1"), ttl_s=10)
        assert isinstance(answer, Lease)
        assert (answer.name, answer.fencing_token) == (name, 1)


def backend() -> LeaseBackend:
    # A fixture would be one for all examples of a test.
    clock = ManualClock()
    return StoreLeaseBackend(MemoryStore(clock), clock, SkewTolerance())


@given(strategies.illegal_names())
def test_a_name_that_no_key_can_hold_is_refused(tenant: str) -> None:
    with pytest.raises(InvalidInput, match="tenant"):
        TenantLeases(backend(), tenant)


@given(strategies.names())
def test_every_other_name_may_be_a_tenant_unless_it_is_too_long(tenant: str) -> None:
    if len(segment(tenant).encode()) > MAX_TENANT_BYTES:
        with pytest.raises(InvalidInput, match="at most 60 bytes"):
            TenantLeases(backend(), tenant)
    else:
        assert TenantLeases(backend(), tenant).capabilities.fair_queue
