"""What the backends of engines with leases of their own share: verbs that block, done elsewhere."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from federlib.errors import InvalidInput
from federlib.lease.protocol import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    NotHeld,
    Released,
)
from federlib.lease.records import MAX_TOKEN, waiter_key
from federlib.lease.settings import check_ttl
from federlib.storage import RecordStore
from federlib.storage.backends._blocking.site import Site
from federlib.telemetry import Telemetry

__all__ = ["KEEP_FREE_NS", "LeaseUpkeep", "LeaseVerbs", "NativeLeaseBackend"]

KEEP_FREE_NS = 86_400 * 1_000_000_000
"""How long a free name is kept; nanoseconds."""


class LeaseVerbs(Protocol):
    """What is asked of an engine. Thread-safe; every verb blocks."""

    def acquire(
        self, name: str, holder: Holder, *, ttl_ms: int, queue: bool
    ) -> tuple[Lease | Busy, Sequence[str]]:
        """Try once; also tell who was skipped."""
        ...

    def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl."""
        ...

    def release(self, lease: Lease) -> Released | NotHeld:
        """Free it."""
        ...

    def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue."""
        ...


class LeaseUpkeep(Protocol):
    """What an engine knows of all names. Thread-safe; every verb blocks."""

    def list_names(self) -> Sequence[str]:
        """List the names that were ever granted and are not forgotten, in byte order."""
        ...

    def floor(self) -> int:
        """Read the floor."""
        ...

    def raise_floor(self, token: int) -> None:
        """Make every later grant higher than `token`."""
        ...


class NativeLeaseBackend(LeaseBackend):
    """Leases that the engine of a store grants itself.

    On a store of an event loop, safe for tasks of any loop; on one that blocks, for threads.

    Args:
        site: Where blocking work is done.
        verbs: Asks the engine.
        upkeep: Asks it about all names.
        telemetry: Skipped waiters are logged there.
        slack_s: How long after ttl a dead holder's lease can be taken, at the latest; seconds.
        own_store: Closed with the backend.
    """

    def __init__(
        self,
        site: Site,
        verbs: LeaseVerbs,
        upkeep: LeaseUpkeep,
        telemetry: Telemetry,
        *,
        slack_s: float,
        own_store: RecordStore | None,
    ) -> None:
        self._site = site
        self._asked = verbs
        self._upkeep = upkeep
        self._telemetry = telemetry
        self._slack_s = slack_s
        self._own_store = own_store
        self._is_closed = False

    @property
    def capabilities(self) -> LeaseCapabilities:
        """What the engine makes possible."""
        return LeaseCapabilities(
            fair_queue=True,
            multi_host=True,
            survives_restart=True,
            failover_slack_s=self._slack_s,
        )

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        """Try once; never wait. See `LeaseBackend.acquire`.

        Raises:
            InvalidInput: A name or holder that no key can hold; a ttl out of range, or one
                that the engine does not grant.
            Conflict: There is no higher token.
        """
        ttl_ms = check_ttl(ttl_s)
        waiter_key(name, holder)
        answer, skipped = await self._site.call(
            lambda: self._asked.acquire(name, holder, ttl_ms=ttl_ms, queue=queue)
        )
        for who in skipped:
            self._telemetry.log("info", "lease_waiter_skipped", lease_name=name, holder_id=who)
        return answer

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl. See `LeaseBackend.renew`."""
        return await self._site.call(lambda: self._asked.renew(lease))

    async def release(self, lease: Lease) -> Released | NotHeld:
        """Free the lease; its token is kept. See `LeaseBackend.release`."""
        return await self._site.call(lambda: self._asked.release(lease))

    async def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue; without effect if the holder does not stand in it."""
        waiter_key(name, holder)
        await self._site.call(lambda: self._asked.withdraw(name, holder))

    async def names(self) -> Sequence[str]:
        """List the names that were ever granted and are not forgotten, in byte order."""
        return await self._site.call(self._upkeep.list_names)

    async def floor(self) -> int:
        """Return the token that every later grant is above; 0 for none."""
        return await self._site.call(self._upkeep.floor)

    async def raise_floor(self, token: int) -> None:
        """Make every later grant, on any name, higher than `token`.

        Raises:
            InvalidInput: Not an int64 of 0 or more.
        """
        # `type`, because True is an int too.
        if type(token) is not int or not 0 <= token <= MAX_TOKEN:
            raise InvalidInput("token", expected=f"0 to {MAX_TOKEN}", found=token)
        await self._site.call(lambda: self._upkeep.raise_floor(token))

    @abstractmethod
    async def _let_go(self) -> None:
        """End what runs for this backend; what is held stays held."""

    async def aclose(self) -> None:
        """Let go of what the backend opened, and close the store if it is ours; once."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._let_go()
        if self._own_store is not None:
            await self._own_store.aclose()
