"""`connect`, for programs without an event loop.

Source: design §4, `hold`; §6.
"""

from __future__ import annotations

import os
import random  # noqa: TID251  # jitter between tries, drawn by the shell
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING

from federlib._pace import ThreadPace, run_now
from federlib._parts import Parts, Setup, check_close_timeout, named_store
from federlib.blocking._caller import Caller
from federlib.blocking._loop import Loop
from federlib.blocking._portal import Portal, PortalStore
from federlib.blocking._portal_leases import PortalLeases
from federlib.blocking.causal import Causal
from federlib.blocking.dag import Runs
from federlib.blocking.election import Seat
from federlib.blocking.fencing import Commands, FenceGuard
from federlib.blocking.leases import Grip, HeldLease, Hold, Leases
from federlib.blocking.registry import Registry
from federlib.blocking.store import Store
from federlib.identity import ClaimedIdentity, IdentityStore
from federlib.lease import Busy, Holder, LeaseBackend, LeasePolicy, LeaseState, OnLoss
from federlib.lease.environment import NamedLeases, named_leases, open_leases
from federlib.lease.policy import check_policy
from federlib.lease.waiting import check_on_loss, check_wait
from federlib.skewclock import Clock, HybridLogicalClock, keep_bound
from federlib.storage import NativeLeases, RecordStore, open_store
from federlib.storage.direct import Embedded
from federlib.storage.urls import store_place
from federlib.telemetry import Telemetry

if TYPE_CHECKING:  # Few ask for a gate, and it takes long to import.
    from federlib.causal import GateConfig

__all__ = ["Federation", "connect"]


class Federation:
    """One process's part in a fleet, for threads; made by `federlib.blocking.connect`.

    Any number of threads may use it. The verbs, arguments and errors of
    `federlib.Federation`; after a fork the child's verbs raise `Fenced`.

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
        parts: Parts,
        *,
        caller: Caller,
        pace: ThreadPace,
        loop: Loop,
        setup: Setup,
    ) -> None:
        """Wrap parts whose store answers in the calling thread; `connect` makes them."""
        self.store: Store = Store(parts.store, caller)
        self.clock: Clock = parts.clock
        self.hlc: HybridLogicalClock = parts.hlc
        self.telemetry: Telemetry = parts.telemetry
        self.leases: Leases = Leases(parts.leases, caller)
        self.dag: Runs = Runs(parts, caller=caller, loop=loop)
        self.commands: Commands = Commands(parts.commands, caller=caller, loop=loop)
        self.registry: Registry = Registry(parts.registry, caller=caller, loop=loop)
        self._parts = parts
        self._caller = caller
        self._pace = pace
        self._loop = loop
        self._ttl_s = setup.ttl_s
        self._policy = setup.policy
        self._grip = Grip(
            parts.leases,
            clock=parts.clock,
            telemetry=parts.telemetry,
            pace=pace,
            caller=caller,
            jitter=random.random,
        )

    @cached_property
    def causal(self) -> Causal:
        """The gate before disruptive commands, and its hypotheses."""
        return Causal(self._parts.causal, self._caller)

    def identity(self) -> ClaimedIdentity:
        """Return this process's identity; claim it on first use.

        Raises:
            StoreReplaced: The store is empty, and this identity has seen another one here.
            IdentityTaken, ClonedIdentity, CorruptRecord, Unavailable: It cannot be claimed.
        """
        return self._caller.call(self._parts.identity)

    def check_store(self) -> None:
        """Refuse an empty store where there was another: tokens would start again.

        Raises:
            StoreReplaced: The store is empty, and this host has used another one here.
            CorruptRecord, Unavailable: What this host remembers cannot be read.
        """
        self._caller.call(self._parts.check_store)

    def hold(
        self,
        name: str,
        *,
        ttl_s: float | None = None,
        wait_s: float | None = None,
        on_loss: OnLoss = "cancel",
        policy: LeasePolicy | None = None,
    ) -> AbstractContextManager[HeldLease]:
        """Hold a lease for as long as the body runs.

        A thread of federlib renews it every ttl/3, unless its policy says otherwise; it is
        released at the end. The body is never interrupted: call `lease.check()` before each
        effect, and pass `lease.token` to whatever it changes. If the lease was lost and the
        body raised nothing, the `with` ends in `LeaseLost`.

        Args:
            name: Which lease.
            ttl_s: How long rivals wait for us once we are dead; seconds. By default
                `OPAL_LEASE_TTL_SECS`, or 15.
            wait_s: How long to stand in its queue; None: as long as it takes.
            on_loss: With `mark` the `with` does not raise; `lease.lost` and `lease.check()`
                tell.
            policy: How patiently it is acquired and kept; by default that of `connect`.
        Raises:
            LeaseBusy: It was not acquired within `wait_s`.
            LeaseLost: It was lost while the body ran.
            Unavailable: The store could not be reached.
        """
        check_wait(wait_s)
        check_on_loss(on_loss)
        policy = check_policy(policy or self._policy)

        def acquire() -> HeldLease:
            return self._grip.acquire(
                name,
                self._holder(),
                ttl_s=self._ttl_s if ttl_s is None else ttl_s,
                wait_s=wait_s,
                on_loss=on_loss,
                policy=policy,
            )

        return Hold(acquire)

    def try_acquire(
        self, name: str, *, ttl_s: float | None = None, policy: LeasePolicy | None = None
    ) -> HeldLease | Busy:
        """Take a lease if it is free and nobody waits for it.

        What comes back is `Busy`, or a lease to enter: ``with lease: …`` renews it and
        releases it at the end.
        """
        ttl_s = self._ttl_s if ttl_s is None else ttl_s
        policy = check_policy(policy or self._policy)
        return self._grip.try_acquire(name, self._holder(), ttl_s=ttl_s, policy=policy)

    def _holder(self) -> Holder:
        worker_id, sessions = self._caller.call(self._parts.holder)
        return Holder(worker_id, sessions.draw())

    def inspect(self, name: str) -> LeaseState:
        """Tell who holds a lease and who waits for it; without effect."""
        return self.leases.inspect(name)

    @contextmanager
    def elect(self, name: str, *, ttl_s: float | None = None) -> Iterator[Seat]:
        """Take part in an election for as long as the body runs, then step down.

        Args:
            name: The election; its lease has the same name.
            ttl_s: How long the others wait for a dead leader; seconds.
        """
        with self._loop.entered(lambda fed: fed.elect(name, ttl_s=ttl_s)) as elector:
            seat = Seat(elector, self._loop.portal, self._pace)
            try:
                yield seat
            finally:
                if not self._caller.is_forked:
                    seat.leave()

    def guard(self, resource: str) -> FenceGuard:
        """Return the fence of a resource: it refuses tokens below its high-water mark."""
        return FenceGuard(self._parts.guard(resource), self._caller)

    def steps_of_closing(self, patience_s: float) -> tuple[Callable[[], None], ...]:
        """Return what `connect` does on the way out, in this order."""
        return (
            partial(self._caller.close, patience_s),
            partial(self._grip.close, patience_s),
            self._loop.close,
        )


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
) -> AbstractContextManager[Federation]:
    """Open a store, and give every component on it, for threads.

        with federlib.blocking.connect("sqlite:///fleet.db") as fed:
            with fed.hold("nightly-report") as lease:
                for item in items:
                    lease.check()
                    upload(item, fence=lease.token)

    With an embedded driver (`sqlite://`, `file://`) every verb runs in the calling thread;
    elections, workers of a run, consumers and the registry's heartbeats run on an event loop
    in a thread of federlib's, started when first needed. With any other driver that thread
    also talks to the store.

    Args:
        url: The store, by URL or already open (it is then not closed; unless its driver is
            embedded, nobody else may use it meanwhile); by default `FEDERLIB_STORE`.
        leases: Where leases are, if not in the store; see `federlib.connect`. That thread
            talks to them; an open backend belongs to it meanwhile.
        identity: Who we are, or where our identities are kept; by default in
            `OPAL_IDENTITY_ROOT`. Claimed on first use.
        clock: The system's by default.
        hlc: Stamps records and logs; see `federlib.connect`.
        telemetry: Silent by default; it is called from several threads.
        skew_tolerance_s: How far wall clocks may differ; seconds. By default
            `OPAL_CLOCK_SKEW_TOLERANCE_SECS`, or 3.
        ttl_s: Of leases where none is given; by default `OPAL_LEASE_TTL_SECS`, or 15.
        policy: How patiently leases are acquired and kept; by default `LeasePolicy()`.
        causal: What disruptive commands have to show before they are issued; by default
            nothing.
        close_timeout_s: Bounds each step of closing: waits ended, leases released, stepped
            down, store closed; seconds.
    Raises:
        InvalidInput: No store is named, an argument or variable is out of range, or the
            leases hold on one host only and the store is used from several.
        Unavailable: The store cannot be reached.
        CorruptRecord: What lies there is not a store that this version can read.
    """
    store = named_store(url)
    return _connected(
        store,
        named=named_leases(leases, store_argument=url, store=store, environ=os.environ),
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


@contextmanager
def _connected(
    url: str | RecordStore,
    *,
    named: NamedLeases | None,
    identity: ClaimedIdentity | IdentityStore,
    setup: Setup,
    close_timeout_s: float,
) -> Iterator[Federation]:
    where = store_place(url) if isinstance(url, str) else f"store {url.store_id}"
    pace = ThreadPace()
    caller = Caller(f"the federation on {where}", pace)
    with ExitStack() as way_out:

        def finally_do(step: Callable[[], object]) -> None:
            way_out.callback(lambda: None if caller.is_forked else step())

        portal = Portal()
        finally_do(partial(portal.stop, close_timeout_s))
        store = url if not isinstance(url, str) else _open(url, portal, setup)
        answering = _answering(store, portal, pace)
        if isinstance(url, str):
            finally_do(lambda: run_now(answering.aclose()))
        leases, shared = _leases(named, store, answering, portal, pace, setup)
        if named is None or shared is not named.where:
            finally_do(lambda: run_now(leases.aclose()))
        parts = Parts(
            answering, leases=leases, where=where, identity=identity, setup=setup, pace=pace
        )
        finally_do(parts.release_identity)
        if setup.hlc.bound_ahead_s is not None:
            portal.start(partial(keep_bound, setup.hlc, telemetry=setup.telemetry))
        loop = Loop(
            portal,
            store,
            leases=None if shared is None else NamedLeases(shared, "leases"),
            identity=lambda: run_now(parts.identity()),
            setup=setup,
            caller=caller,
            pace=pace,
            close_timeout_s=close_timeout_s,
        )
        fed = Federation(parts, caller=caller, pace=pace, loop=loop, setup=setup)
        for step in reversed(fed.steps_of_closing(close_timeout_s)):
            finally_do(step)
        yield fed


def _open(url: str, portal: Portal, setup: Setup) -> RecordStore:
    """Open the store; an embedded one needs no event loop once it is open."""
    store = portal.call(partial(open_store, url, clock=setup.clock, telemetry=setup.telemetry))
    if isinstance(store, Embedded):
        portal.rest()
    return store


def _answering(store: RecordStore, portal: Portal, pace: ThreadPace) -> RecordStore:
    """Return the store as one that answers in the calling thread."""
    return store.direct(pace) if isinstance(store, Embedded) else PortalStore(store, portal, pace)


def _leases(
    named: NamedLeases | None,
    store: RecordStore,
    answering: RecordStore,
    portal: Portal,
    pace: ThreadPace,
    setup: Setup,
) -> tuple[LeaseBackend, LeaseBackend | None]:
    """Open the lease backend as one that answers in the calling thread.

    Returns:
        It, and the same for the event loop; None where that makes its own on the store.
    """
    opening = partial(
        open_leases, clock=setup.clock, tolerance=setup.tolerance, telemetry=setup.telemetry
    )
    is_native = isinstance(store, NativeLeases)
    if named is None and isinstance(answering, NativeLeases) == is_native:
        return run_now(opening(None, answering)), None
    # Behind the portal a store no longer shows that its engine grants leases. The threads
    # must not lease on its records while the loop leases from the engine.
    backend = portal.call(lambda: opening(named, store))
    return PortalLeases(backend, portal, pace), backend
