"""`connect`: every component on one store, one clock and one telemetry."""

from __future__ import annotations

import os
import random  # noqa: TID251  # jitter between retries, drawn by the shell
import secrets  # noqa: TID251  # ids, drawn by the shell
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from federlib import __version__
from federlib._tasks import open_task_group
from federlib.dag import Runs
from federlib.errors import InvalidInput, StoreReplaced
from federlib.fencing import Commands, FenceGuard
from federlib.identity import ClaimedIdentity, IdentityStore
from federlib.leadership import Elector
from federlib.lease import (
    Busy,
    HeldLease,
    LeaseState,
    Sessions,
    StoreLeaseBackend,
    hold,
    lease_ttl_s,
    try_acquire,
)
from federlib.registry import Registry
from federlib.skewclock import (
    Clock,
    HybridLogicalClock,
    SkewTolerance,
    Stamps,
    SystemClock,
    keep_bound,
)
from federlib.storage import RecordStore, open_store
from federlib.storage.urls import store_place
from federlib.telemetry import SILENT, Telemetry

__all__ = ["STORE_ENV", "Federation", "connect"]

STORE_ENV = "FEDERLIB_STORE"


class Federation:
    """One process's part in a fleet; made by `connect`.

    Attributes:
        store: The record store under everything.
        clock: The clock that everything reads.
        hlc: The hybrid logical clock that stamps records and logs.
        telemetry: Where everything emits; each event carries its timestamp as `hlc`.
        leases: The lease backend.
        dag: Runs of DAGs.
        commands: Commands with durable outcomes.
        registry: Which workers there are.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        group: TaskGroup,
        where: str,
        identity: ClaimedIdentity | IdentityStore,
        clock: Clock,
        hlc: HybridLogicalClock,
        telemetry: Telemetry,
        tolerance: SkewTolerance,
        ttl_s: float,
    ) -> None:
        self.store = store
        self.clock = clock
        self.hlc = hlc
        self._stamps = Stamps(hlc, telemetry)
        self.telemetry = telemetry
        self.leases: StoreLeaseBackend = StoreLeaseBackend(
            store, clock, tolerance, telemetry=telemetry
        )
        self._where = where
        self._identities = identity if isinstance(identity, IdentityStore) else None
        self._claimed = identity if isinstance(identity, ClaimedIdentity) else None
        self._claiming = anyio.Lock()
        self._sessions: Sessions | None = None
        self._group = group
        self._ttl_s = ttl_s
        self._loose: list[HeldLease] = []
        self.dag: Runs = Runs(
            store,
            leases=self.leases,
            hold=self.hold,
            identity=self._worker,
            clock=clock,
            jitter=random.random,
            new_id=self._new_id,
            ttl_s=ttl_s,
            telemetry=telemetry,
        )

        self.commands: Commands = Commands(
            store, member=self._worker_id, clock=clock, telemetry=telemetry, stamps=self._stamps
        )
        self.registry: Registry = Registry(
            store,
            identity=self.identity,
            clock=clock,
            tolerance=tolerance,
            jitter=random.random,
            session=secrets.token_hex(8),
            ttl_s=ttl_s,
            version=__version__,
            telemetry=telemetry,
        )

    async def identity(self) -> ClaimedIdentity:
        """Return this process's identity; claim it on first use.

        Raises:
            StoreReplaced: The store is empty, and this identity has seen another one here.
            IdentityTaken, ClonedIdentity, CorruptRecord, Unavailable: It cannot be claimed.
        """
        async with self._claiming:
            if self._claimed is None:
                assert self._identities is not None
                claimed = await self._identities.claim_async()
                try:
                    await self.check_store()
                except BaseException:
                    claimed.release()
                    raise
                self._claimed = claimed
            self._claimed.check()
            return self._claimed

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
        seen = await anyio.to_thread.run_sync(identities.remember_store, self._where, store_id)
        if seen is None or seen == store_id:
            return
        if not (await self.store.scan("lease/", limit=1)).records:
            raise StoreReplaced(
                f"store {self._where}",
                expected=f"store {seen}, which this identity has used",
                actual=f"an empty store {store_id}: its fencing tokens would start again",
                hint="restore the old store; or, to begin anew, raise the floor above every "
                "token of the old one: `federlib store raise-floor --to 1000000`, say",
            )
        await anyio.to_thread.run_sync(
            lambda: identities.remember_store(self._where, store_id, replace=True)
        )

    async def _worker(self) -> tuple[str, int]:
        identity = await self.identity()
        return identity.worker_id, identity.incarnation

    async def _worker_id(self) -> str:
        return (await self.identity()).worker_id

    def _new_id(self) -> str:
        # Fixed width and time first, so that the order of ids is about that of time.
        return f"{self.clock.wall_ns():016x}{secrets.token_hex(6)}"

    async def _holder(self) -> tuple[str, Sessions]:
        identity = await self.identity()
        if self._sessions is None:
            self._sessions = Sessions(identity.incarnation)
        return identity.worker_id, self._sessions

    @asynccontextmanager
    async def hold(
        self,
        name: str,
        *,
        ttl_s: float | None = None,
        wait_s: float | None = None,
        on_loss: Literal["cancel", "mark"] = "cancel",
    ) -> AsyncGenerator[HeldLease, None]:
        """Hold a lease for as long as the body runs.

        It is renewed every ttl/3 and released at the end. If it is lost, the body is
        cancelled and the `with` raises `LeaseLost`. Pass `lease.token` to whatever the body
        changes, and call `lease.check()` before each effect.

        Args:
            name: Which lease.
            ttl_s: How long rivals wait for us once we are dead; seconds. By default
                `OPAL_LEASE_TTL_SECS`, or 15.
            wait_s: How long to stand in its queue; None: as long as it takes.
            on_loss: `mark` lets the body go on; `lease.lost` and `lease.check()` tell.
        Raises:
            LeaseBusy: It was not acquired within `wait_s`.
            LeaseLost: It was lost while the body ran.
            Unavailable: The store could not be reached.
        """
        holder_id, sessions = await self._holder()
        async with hold(
            self.leases,
            name,
            holder_id=holder_id,
            sessions=sessions,
            ttl_s=self._ttl_s if ttl_s is None else ttl_s,
            wait_s=wait_s,
            on_loss=on_loss,
            clock=self.clock,
            telemetry=self.telemetry,
        ) as lease:
            yield lease

    async def try_acquire(self, name: str, *, ttl_s: float | None = None) -> HeldLease | Busy:
        """Take a lease if it is free and nobody waits for it.

        What comes back is `Busy`, or a lease to enter: ``async with lease: …`` renews it
        and releases it at the end.
        """
        holder_id, sessions = await self._holder()
        got = await try_acquire(
            self.leases,
            name,
            holder_id=holder_id,
            sessions=sessions,
            ttl_s=self._ttl_s if ttl_s is None else ttl_s,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        if isinstance(got, HeldLease):
            self._loose.append(got)
        return got

    async def inspect(self, name: str) -> LeaseState:
        """Tell who holds a lease and who waits for it; without effect."""
        return await self.leases.inspect(name)

    @asynccontextmanager
    async def elect(
        self, name: str, *, ttl_s: float | None = None
    ) -> AsyncGenerator[Elector, None]:
        """Take part in an election for as long as the body runs, then step down.

        Args:
            name: The election; its lease has the same name.
            ttl_s: How long the others wait for a dead leader; seconds.
        """
        seat = Elector(
            name,
            backend=self.leases,
            hold=lambda lease: self.hold(lease, ttl_s=ttl_s),
            holder_id=await self._worker_id(),
            clock=self.clock,
            telemetry=self.telemetry,
            # Before anybody hears of the new leader, commands of the old one are refused.
            admit=self.guard(name).admit,
        )
        scope, ended = anyio.CancelScope(), anyio.Event()

        async def stand() -> None:
            try:
                with scope:
                    await seat.run()
            finally:
                ended.set()

        self._group.start_soon(stand)
        try:
            yield seat
        finally:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await ended.wait()

    def guard(self, resource: str) -> FenceGuard:
        """Return the fence of a resource: it refuses tokens below its high-water mark."""
        return FenceGuard(self.store, resource)

    def _release_identity(self) -> None:
        """Free the identity, if we claimed it ourselves."""
        if self._identities is not None and self._claimed is not None:
            self._claimed.release()

    async def _release_loose(self) -> None:
        for held in self._loose:
            await self.leases.release(held.lease)


def connect(
    url: str | RecordStore | None = None,
    *,
    identity: ClaimedIdentity | IdentityStore | None = None,
    clock: Clock | None = None,
    hlc: HybridLogicalClock | None = None,
    telemetry: Telemetry | None = None,
    skew_tolerance_s: float | None = None,
    ttl_s: float | None = None,
    close_timeout_s: float = 5.0,
) -> AbstractAsyncContextManager[Federation]:
    """Open a store, and give every component on it.

        async with federlib.connect("sqlite:///fleet.db") as fed:
            async with fed.hold("nightly-report") as lease:
                await upload(data, fence=lease.token)

    Args:
        url: The store, by URL or already open (it is then not closed); by default
            `FEDERLIB_STORE`.
        identity: Who we are, or where our identities are kept; by default in
            `OPAL_IDENTITY_ROOT`. Claimed on first use.
        clock: The system's by default.
        hlc: Stamps records and logs. By default one of our own, which trusts remote
            timestamps up to the skew tolerance; give one that keeps a bound over restarts,
            and it is kept here.
        telemetry: Silent by default.
        skew_tolerance_s: How far wall clocks may differ; seconds. By default
            `OPAL_CLOCK_SKEW_TOLERANCE_SECS`, or 3.
        ttl_s: Of leases where none is given; by default `OPAL_LEASE_TTL_SECS`, or 15.
        close_timeout_s: Bounds each step of closing: leases released, store closed; seconds.
    Raises:
        InvalidInput: No store is named, or an argument is out of range.
        Unavailable: The store cannot be reached.
        CorruptRecord: What lies there is not a store that this version can read.
    """
    clock = clock or (SystemClock() if hlc is None else hlc.clock)
    telemetry = telemetry or SILENT
    tolerance = (
        SkewTolerance.from_env() if skew_tolerance_s is None else SkewTolerance(skew_tolerance_s)
    )
    if hlc is None:
        hlc = HybridLogicalClock(clock, max_offset_s=tolerance.tolerance_s, telemetry=telemetry)
    return _connected(
        _named(url),
        identity=identity,
        clock=clock,
        hlc=hlc,
        telemetry=telemetry.stamped(Stamps(hlc).text),
        tolerance=tolerance,
        ttl_s=lease_ttl_s() if ttl_s is None else ttl_s,
        close_timeout_s=close_timeout_s,
    )


def _named(url: str | RecordStore | None) -> str | RecordStore:
    found = os.environ.get(STORE_ENV, "") if url is None else url
    if found == "":
        raise InvalidInput("url", expected=f"a store URL, here or in {STORE_ENV}", found=url)
    return found


@asynccontextmanager
async def _connected(
    url: str | RecordStore,
    *,
    identity: ClaimedIdentity | IdentityStore | None,
    clock: Clock,
    hlc: HybridLogicalClock,
    telemetry: Telemetry,
    tolerance: SkewTolerance,
    ttl_s: float,
    close_timeout_s: float,
) -> AsyncGenerator[Federation, None]:
    own = isinstance(url, str)
    store = await open_store(url, clock=clock, telemetry=telemetry) if isinstance(url, str) else url
    fed: Federation | None = None
    try:
        async with open_task_group() as group:
            fed = Federation(
                store,
                group=group,
                where=store_place(url) if isinstance(url, str) else f"store {store.store_id}",
                identity=identity or IdentityStore(),
                clock=clock,
                hlc=hlc,
                telemetry=telemetry,
                tolerance=tolerance,
                ttl_s=ttl_s,
            )
            if hlc.bound_ahead_s is not None:
                group.start_soon(partial(keep_bound, hlc, telemetry=telemetry))
            try:
                yield fed
            finally:
                with anyio.move_on_after(close_timeout_s, shield=True):
                    await fed._release_loose()  # noqa: SLF001 (its composition root)
                # Electors step down on their way out, each shielded and bounded by `hold`.
                group.cancel_scope.cancel()
    finally:
        if fed is not None:
            fed._release_identity()  # noqa: SLF001
        if own:
            with anyio.move_on_after(close_timeout_s, shield=True):
                await store.aclose()
