"""`Parts`: every component on one store, one clock and one telemetry.

`Federation` runs them on an event loop, `federlib.blocking` in the calling thread.
"""

from __future__ import annotations

import math
import os
import random  # noqa: TID251  # jitter between retries, drawn by the shell
import secrets  # noqa: TID251  # ids, drawn by the shell
from functools import cached_property
from typing import TYPE_CHECKING, Self

import attrs

from federlib import __version__
from federlib._pace import LOOP, Pace
from federlib._prefixes import LEASE_PREFIX
from federlib.dag import Runs
from federlib.dag.worker import Hold
from federlib.errors import InvalidInput, StoreReplaced
from federlib.fencing import Commands, FenceGuard, OutcomeLog
from federlib.identity import ClaimedIdentity, IdentityStore
from federlib.lease import LeaseBackend, LeaseState, Sessions, lease_ttl_s
from federlib.lease.policy import LeasePolicy, check_policy
from federlib.lease.settings import check_ttl
from federlib.registry import Registry
from federlib.skewclock import Clock, HybridLogicalClock, SkewTolerance, Stamps, SystemClock
from federlib.storage import RecordStore
from federlib.telemetry import SILENT, Telemetry

if TYPE_CHECKING:  # Few ask for a gate, and it takes long to import.
    from federlib.causal import Causal, GateConfig

__all__ = ["STORE_ENV", "Parts", "Setup", "check_close_timeout", "named_store"]

STORE_ENV = "FEDERLIB_STORE"
"""Names the store where neither argument nor option does."""


def named_store(url: str | RecordStore | None) -> str | RecordStore:
    """Return what was given, or what the environment names.

    Raises:
        InvalidInput: Neither names a store.
    """
    found = os.environ.get(STORE_ENV, "").strip() if url is None else url
    if found == "":
        raise InvalidInput("url", expected=f"a store URL, here or in {STORE_ENV}", found=url)
    # A path is what people give by mistake.
    if not isinstance(found, str) and not hasattr(found, "commit"):
        raise InvalidInput("url", expected="a store URL as text, or an open store", found=found)
    return found


def check_close_timeout(close_timeout_s: float) -> float:
    """Return it if closing can be bounded by it.

    Raises:
        InvalidInput: Not 0 or more seconds.
    """
    # NaN compares false with everything, and so is refused here.
    if type(close_timeout_s) not in {int, float} or not 0 <= close_timeout_s < math.inf:
        raise InvalidInput("close_timeout_s", expected="0 or more seconds", found=close_timeout_s)
    return close_timeout_s


def _checked_gate(causal: GateConfig | None) -> GateConfig | None:
    if causal is None:
        return None
    from federlib.causal import GateConfig

    if not isinstance(causal, GateConfig):
        raise InvalidInput("causal", expected="a GateConfig", found=causal)
    return causal


@attrs.frozen(kw_only=True)
class Setup:
    """What all components are built with; the arguments of `connect`, defaults filled in."""

    clock: Clock
    hlc: HybridLogicalClock
    telemetry: Telemetry
    tolerance: SkewTolerance
    ttl_s: float
    policy: LeasePolicy
    causal: GateConfig | None = None

    @classmethod
    def of(
        cls,
        *,
        clock: Clock | None,
        hlc: HybridLogicalClock | None,
        telemetry: Telemetry | None,
        skew_tolerance_s: float | None,
        ttl_s: float | None,
        policy: LeasePolicy | None,
        causal: GateConfig | None = None,
    ) -> Self:
        """Fill in what is not given, as `connect` says.

        Raises:
            InvalidInput: An argument, or a variable of the environment, is out of range.
        """
        clock = clock or (SystemClock() if hlc is None else hlc.clock)
        telemetry = telemetry or SILENT
        tolerance = (
            SkewTolerance.from_env()
            if skew_tolerance_s is None
            else SkewTolerance(skew_tolerance_s)
        )
        if ttl_s is None:
            ttl_s = lease_ttl_s()
        check_ttl(ttl_s)
        if hlc is None:
            hlc = HybridLogicalClock(clock, max_offset_s=tolerance.tolerance_s, telemetry=telemetry)
        return cls(
            clock=clock,
            hlc=hlc,
            telemetry=telemetry.stamped(Stamps(hlc).text),
            tolerance=tolerance,
            ttl_s=ttl_s,
            policy=check_policy(policy),
            causal=_checked_gate(causal),
        )


class Parts:
    """The components of one process's part in a fleet.

    Args:
        store: The record store under everything.
        where: Names the place of the store, without secrets.
        leases: The lease backend; as a rule on that store.
        identity: Who we are, or where our identities are kept.
        setup: The rest of what they are built with.
        pace: How they wait.

    Attributes:
        store: The record store under everything.
        clock: The clock that everything reads.
        hlc: The hybrid logical clock that stamps records and logs.
        telemetry: Where everything emits; each event carries its timestamp as `hlc`.
        leases: The lease backend.
        causal: The gate before disruptive commands, and its hypotheses.
        commands: Commands with durable outcomes.
        registry: Which workers there are.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        leases: LeaseBackend,
        where: str,
        identity: ClaimedIdentity | IdentityStore,
        setup: Setup,
        pace: Pace = LOOP,
    ) -> None:
        self.store: RecordStore = store
        self.clock: Clock = setup.clock
        self.hlc: HybridLogicalClock = setup.hlc
        self.telemetry: Telemetry = setup.telemetry
        self.leases: LeaseBackend = leases
        self._where = where
        self._identities = identity if isinstance(identity, IdentityStore) else None
        self._claimed = identity if isinstance(identity, ClaimedIdentity) else None
        self._pace = pace
        self._claiming = pace.lock()
        self._ttl_s = setup.ttl_s
        self._policy = setup.policy
        self._gate = setup.causal
        self._stamps = Stamps(setup.hlc, setup.telemetry)
        self.commands: Commands = Commands(
            store,
            member=self._worker_id,
            clock=setup.clock,
            telemetry=setup.telemetry,
            stamps=self._stamps,
            pace=pace,
            review=None if setup.causal is None else self.causal,
        )
        self.registry: Registry = Registry(
            store,
            identity=self.identity,
            clock=setup.clock,
            tolerance=setup.tolerance,
            jitter=random.random,
            session=secrets.token_hex(8),
            ttl_s=setup.ttl_s,
            version=__version__,
            telemetry=setup.telemetry,
        )

    @cached_property
    def causal(self) -> Causal:
        """The gate before disruptive commands, and its hypotheses."""
        from federlib.causal import Causal

        return Causal(
            self.store,
            log=OutcomeLog(self.store, stamps=self._stamps),
            member=self._worker_id,
            clock=self.clock,
            config=self._gate,
            telemetry=self.telemetry,
        )

    def runs(self, hold: Hold) -> Runs:
        """Make what submits, works on and steers runs; `hold` holds their leases."""
        return Runs(
            self.store,
            leases=self.leases,
            hold=hold,
            identity=self._worker,
            clock=self.clock,
            jitter=random.random,
            new_id=self._new_id,
            ttl_s=self._ttl_s,
            stamps=self._stamps,
            telemetry=self.telemetry,
        )

    async def identity(self) -> ClaimedIdentity:
        """Return this process's identity; claim it on first use.

        Raises:
            StoreReplaced: The store is empty, and this identity has seen another one here.
            IdentityTaken, ClonedIdentity, CorruptRecord, Unavailable: It cannot be claimed.
        """
        if self._claimed is None:
            async with self._claiming:
                if self._claimed is None:
                    self._claimed = await self._claim()
        self._claimed.check()
        return self._claimed

    async def _claim(self) -> ClaimedIdentity:
        assert self._identities is not None
        claimed = await self._pace.run(self._identities.claim)
        try:
            await self.check_store()
        except BaseException:
            claimed.release()
            raise
        return claimed

    async def check_store(self) -> None:
        """Refuse an empty store where there was another: tokens would start again.

        Done whenever an identity is claimed; call it where work is prepared for others.

        Raises:
            StoreReplaced: The store is empty, and this host has used another one here.
            CorruptRecord, Unavailable: What this host remembers cannot be read.
        """
        identities = self._identities
        if identities is None or not self.store.capabilities.durable:
            return
        store_id = self.store.store_id
        seen = await self._pace.run(lambda: identities.remember_store(self._where, store_id))
        if seen is None or seen == store_id:
            return
        if not await self._was_leased_on():
            raise StoreReplaced(
                f"store {self._where}",
                expected=f"store {seen}, which this identity has used",
                actual=f"an empty store {store_id}: its fencing tokens would start again",
                hint="restore the old store; or, to begin anew, raise the floor above every "
                "token of the old one: `federlib store raise-floor --to 1000000`, say",
            )
        await self._pace.run(lambda: identities.remember_store(self._where, store_id, replace=True))

    async def _was_leased_on(self) -> bool:
        if (await self.store.scan(LEASE_PREFIX, limit=1)).records:
            return True
        return bool(await self.leases.floor() or await self.leases.names())

    async def _worker(self) -> tuple[str, int]:
        identity = await self.identity()
        return identity.worker_id, identity.incarnation

    async def _worker_id(self) -> str:
        return (await self.identity()).worker_id

    def _new_id(self) -> str:
        # Fixed width and time first, so that the order of ids is about that of time.
        return f"{self.clock.wall_ns():016x}{secrets.token_hex(6)}"

    async def holder(self) -> tuple[str, Sessions]:
        """Return as whom we hold leases: worker id, and the names of our claims."""
        identity = await self.identity()
        return identity.worker_id, Sessions(identity.incarnation, identity.claims)

    async def inspect(self, name: str) -> LeaseState:
        """Tell who holds a lease and who waits for it; without effect."""
        return await self.leases.inspect(name)

    def guard(self, resource: str) -> FenceGuard:
        """Return the fence of a resource: it refuses tokens below its high-water mark."""
        return FenceGuard(self.store, resource)

    def release_identity(self) -> None:
        """Free the identity, if we claimed it ourselves."""
        if self._identities is not None and self._claimed is not None:
            self._claimed.release()
