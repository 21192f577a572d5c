"""A lease backend of one's own: each tenant has its own names, on one backend for all."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import attrs
from msgspec.structs import replace

from federlib.lease import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    LeaseState,
    NotHeld,
    Released,
)
from federlib.storage import segment

MAX_TENANT_BYTES = 60


class TenantLeases(LeaseBackend):
    """Raises `InvalidInput` for a tenant whose name cannot be part of a key."""

    def __init__(self, inner: LeaseBackend, tenant: str) -> None:
        self._inner = inner
        # A slash in it is escaped: no tenant's names can be those of another.
        self._prefix = segment(tenant, field="tenant", max_bytes=MAX_TENANT_BYTES) + "/"

    @property
    def capabilities(self) -> LeaseCapabilities:
        return self._inner.capabilities

    def _theirs(self, name: str) -> str:
        return self._prefix + name

    def _ours(self, lease: Lease) -> Lease:
        return replace(lease, name=lease.name.removeprefix(self._prefix))

    def _state(self, found: LeaseState) -> LeaseState:
        lease = None if found.lease is None else self._ours(found.lease)
        name = found.name.removeprefix(self._prefix)
        return attrs.evolve(found, name=name, lease=lease)

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        theirs = self._theirs(name)
        answer = await self._inner.acquire(theirs, holder, ttl_s=ttl_s, queue=queue)
        return attrs.evolve(answer, name=name) if isinstance(answer, Busy) else self._ours(answer)

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        answer = await self._inner.renew(replace(lease, name=self._theirs(lease.name)))
        if isinstance(answer, NotHeld):
            return attrs.evolve(answer, name=lease.name)
        return self._ours(answer)

    async def release(self, lease: Lease) -> Released | NotHeld:
        answer = await self._inner.release(replace(lease, name=self._theirs(lease.name)))
        return attrs.evolve(answer, name=lease.name)

    async def inspect(self, name: str) -> LeaseState:
        return self._state(await self._inner.inspect(self._theirs(name)))

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncGenerator[AsyncIterator[LeaseState], None]:
        # Closed in time: whoever stops listening leaves no generator to the collector.
        async with (
            self._inner.watch(self._theirs(name)) as states,
            aclosing(self._translated(states)) as ours,
        ):
            yield ours

    async def _translated(
        self, states: AsyncIterator[LeaseState]
    ) -> AsyncGenerator[LeaseState, None]:
        async for state in states:
            yield self._state(state)

    async def withdraw(self, name: str, holder: Holder) -> None:
        await self._inner.withdraw(self._theirs(name), holder)
