"""`connect`: every component on one store, one clock and one telemetry."""

from __future__ import annotations

import os
import random  # noqa: TID251  # jitter between tries, drawn by the shell
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

import anyio
from anyio.abc import TaskGroup

from federlib._parts import STORE_ENV, Parts, Setup, check_close_timeout, named_store
from federlib._tasks import open_task_group
from federlib.dag import Runs
from federlib.identity import ClaimedIdentity, IdentityStore
from federlib.leadership import Elector
from federlib.lease import Busy, HeldLease, LeaseBackend, LeasePolicy, hold, try_acquire
from federlib.lease.environment import NamedLeases, named_leases, open_leases
from federlib.skewclock import Clock, HybridLogicalClock, keep_bound
from federlib.storage import RecordStore, open_store
from federlib.storage.urls import store_place
from federlib.telemetry import Telemetry

if TYPE_CHECKING:  # Few ask for a gate, and it takes long to import.
    from federlib.causal import GateConfig

__all__ = ["STORE_ENV", "Federation", "connect"]


class Federation(Parts):
    """One process's part in a fleet; made by `connect`.

    Attributes:
        store: The record store under everything.
        clock: The clock that everything reads.
        hlc: The hybrid logical clock that stamps records and logs.
        telemetry: Where everything emits; each event carries its timestamp as `hlc`.
        leases: The lease backend.
        dag: Runs of DAGs.
        causal: The gate before disruptive commands, and its hypotheses.
        commands: Commands with durable outcomes.
        registry: Which workers there are.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        group: TaskGroup,
        leases: LeaseBackend,
        where: str,
        identity: ClaimedIdentity | IdentityStore,
        setup: Setup,
    ) -> None:
        super().__init__(store, leases=leases, where=where, identity=identity, setup=setup)
        self._group = group
        self._loose: list[HeldLease] = []
        self.dag: Runs = self.runs(self.hold)

    @asynccontextmanager
    async def hold(
        self,
        name: str,
        *,
        ttl_s: float | None = None,
        wait_s: float | None = None,
        on_loss: Literal["cancel", "mark"] = "cancel",
        policy: LeasePolicy | None = None,
    ) -> AsyncGenerator[HeldLease, None]:
        """Hold a lease for as long as the body runs.

        It is renewed every ttl/3, unless its policy says otherwise, and released at the end.
        If it is lost, the body is cancelled and the `with` raises `LeaseLost`. Pass
        `lease.token` to whatever the body changes, and call `lease.check()` before each effect.

        Args:
            name: Which lease.
            ttl_s: How long rivals wait for us once we are dead; seconds. By default
                `OPAL_LEASE_TTL_SECS`, or 15.
            wait_s: How long to stand in its queue; None: as long as it takes.
            on_loss: `mark` lets the body go on; `lease.lost` and `lease.check()` tell.
            policy: How patiently it is acquired and kept; by default that of `connect`.
        Raises:
            LeaseBusy: It was not acquired within `wait_s`.
            LeaseLost: It was lost while the body ran.
            Unavailable: The store could not be reached.
        """
        holder_id, sessions = await self.holder()
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
            policy=policy or self._policy,
            jitter=random.random,
        ) as lease:
            yield lease

    async def try_acquire(
        self, name: str, *, ttl_s: float | None = None, policy: LeasePolicy | None = None
    ) -> HeldLease | Busy:
        """Take a lease if it is free and nobody waits for it.

        What comes back is `Busy`, or a lease to enter: ``async with lease: …`` renews it
        and releases it at the end.
        """
        holder_id, sessions = await self.holder()
        got = await try_acquire(
            self.leases,
            name,
            holder_id=holder_id,
            sessions=sessions,
            ttl_s=self._ttl_s if ttl_s is None else ttl_s,
            clock=self.clock,
            telemetry=self.telemetry,
            policy=policy or self._policy,
            jitter=random.random,
        )
        if isinstance(got, HeldLease):
            self._loose = [held for held in self._loose if not held.is_over]
            self._loose.append(got)
        return got

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

    async def _release_loose(self) -> None:
        for held in self._loose:
            await self.leases.release(held.lease)


def connect(
    url: str | RecordStore | None = None,
    *,
    leases: str | LeaseBackend | None = None,
    identity: ClaimedIdentity | IdentityStore | None = None,
    clock: Clock | None = None,
    hlc: HybridLogicalClock | None = None,
    telemetry: Telemetry | None = None,
    skew_tolerance_s: float | None = None,
    ttl_s: float | None = None,
    policy: LeasePolicy | None = None,
    causal: GateConfig | None = None,
    close_timeout_s: float = 5.0,
) -> AbstractAsyncContextManager[Federation]:
    """Open a store, and give every component on it.

        async with federlib.connect("sqlite:///fleet.db") as fed:
            async with fed.hold("nightly-report") as lease:
                await upload(data, fence=lease.token)

    Args:
        url: The store, by URL or already open (it is then not closed); by default
            `FEDERLIB_STORE`.
        leases: Where leases are, if not in the store: a URL of another engine, or an open
            backend (it is then not closed). By default the engine of `url`; where no `url`
            is given, what `ORXAQ_AUTONOMY_LEADER_LEASE_BACKEND` names, or the store's own.
            All who use one store must agree on it.
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
        policy: How patiently leases are acquired and kept; by default `LeasePolicy()`.
        causal: What disruptive commands have to show before they are issued; by default
            nothing.
        close_timeout_s: Bounds each step of closing: leases released, store closed; seconds.
    Raises:
        InvalidInput: No store is named, an argument or variable is out of range, or the
            leases hold on one host only and the store is used from several.
        Unavailable: The store cannot be reached.
        CorruptRecord: What lies there is not a store that this version can read.
    """
    store = named_store(url)
    return open_federation(
        store,
        leases=named_leases(leases, store_argument=url, store=store, environ=os.environ),
        identity=identity or IdentityStore(),
        setup=Setup.of(
            clock=clock,
            hlc=hlc,
            telemetry=telemetry,
            skew_tolerance_s=skew_tolerance_s,
            ttl_s=ttl_s,
            policy=policy,
            causal=causal,
        ),
        close_timeout_s=check_close_timeout(close_timeout_s),
    )


@asynccontextmanager
async def open_federation(
    url: str | RecordStore,
    *,
    leases: NamedLeases | None,
    identity: ClaimedIdentity | IdentityStore,
    setup: Setup,
    close_timeout_s: float,
) -> AsyncGenerator[Federation, None]:
    """Do the work of `connect`, with all arguments at hand."""
    own = isinstance(url, str)
    hlc, telemetry = setup.hlc, setup.telemetry
    store = url
    if isinstance(store, str):
        store = await open_store(store, clock=setup.clock, telemetry=telemetry)
    fed: Federation | None = None
    backend: LeaseBackend | None = None
    try:
        backend = await open_leases(
            leases, store, clock=setup.clock, tolerance=setup.tolerance, telemetry=telemetry
        )
        async with open_task_group() as group:
            fed = Federation(
                store,
                group=group,
                leases=backend,
                where=store_place(url) if isinstance(url, str) else f"store {store.store_id}",
                identity=identity,
                setup=setup,
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
            fed.release_identity()
        with anyio.move_on_after(close_timeout_s, shield=True):
            if backend is not None and (leases is None or backend is not leases.where):
                await backend.aclose()
            if own:
                await store.aclose()
