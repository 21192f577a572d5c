"""`PortalLeases`: a lease backend of an event loop, for threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from federlib._pace import ThreadPace
from federlib.blocking._portal import Portal, PortalItems, call_within
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

__all__ = ["PortalLeases"]

_T = TypeVar("_T")
_WHAT = "the lease backend"


class PortalLeases(LeaseBackend):
    """A backend of an event loop, as a `LeaseBackend` whose coroutines block. Thread-safe.

    Args:
        backend: Belongs to the portal's loop.
        portal: Where it runs.
        pace: Bounds how long a verb blocks.
    """

    def __init__(self, backend: LeaseBackend, portal: Portal, pace: ThreadPace) -> None:
        self._backend = backend
        self._portal = portal
        self._pace = pace

    @property
    def capabilities(self) -> LeaseCapabilities:
        """What the backend can do."""
        return self._backend.capabilities

    def _call(self, verb: Callable[[], Awaitable[_T]]) -> _T:
        return call_within(self._portal, self._pace, verb, what=_WHAT)

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        """Try once; see `LeaseBackend.acquire`."""
        return self._call(partial(self._backend.acquire, name, holder, ttl_s=ttl_s, queue=queue))

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl."""
        return self._call(partial(self._backend.renew, lease))

    async def release(self, lease: Lease) -> Released | NotHeld:
        """Free the lease, if it is still held under this token."""
        return self._call(partial(self._backend.release, lease))

    async def inspect(self, name: str) -> LeaseState:
        """Read, without effect."""
        return self._call(partial(self._backend.inspect, name))

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[AsyncIterator[LeaseState]]:
        """Stream the states of a name; see `LeaseBackend.watch`."""
        with self._portal.entered(partial(self._backend.watch, name)) as states:
            yield PortalItems(states, self._portal, self._pace, what=_WHAT)

    @asynccontextmanager
    async def turns(self, name: str, holder: Holder) -> AsyncIterator[AsyncIterator[object]]:
        """Tell one who stands in line when to ask; see `LeaseBackend.turns`."""
        with self._portal.entered(partial(self._backend.turns, name, holder)) as turns:
            yield PortalItems(turns, self._portal, self._pace, what=_WHAT)

    async def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue."""
        self._call(partial(self._backend.withdraw, name, holder))

    async def names(self) -> Sequence[str]:
        """List the names that are known."""
        return self._call(self._backend.names)

    async def floor(self) -> int:
        """Return the token that every later grant is above."""
        return self._call(self._backend.floor)

    async def raise_floor(self, token: int) -> None:
        """Make every later grant higher than `token`."""
        self._call(partial(self._backend.raise_floor, token))

    async def collect(self, now_ns: int) -> int:
        """Forget names that have been free for long; see `LeaseBackend.collect`."""
        return self._call(partial(self._backend.collect, now_ns))

    async def aclose(self) -> None:
        """Close the backend."""
        self._portal.call(self._backend.aclose)
