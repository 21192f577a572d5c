"""The lease backend of etcd.

    backend = await lease.from_url("etcd://a,b,c")

What is held is attached to a lease of etcd, and the cluster itself takes it away when its
time is over: no clock of ours is compared with another's. A ttl is whole seconds, and not
below what the servers grant (2 s by their defaults); another one is refused, not rounded.

Leases of etcd are shared within a process, and one that was kept alive a moment ago is not
kept alive for every grant. `Lease.renewed_boot_ns` says from when on the ttl counts: up to a
tenth of it before the grant.

Hazards: after an election the new leader lets every lease run for its whole ttl once more. A
cluster restored from a snapshot has forgotten what came after it: raise the floor of the
fencing tokens above all that were granted.

Source: design §4, lease.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from federlib.errors import Fenced, InvalidInput, Unavailable
from federlib.lease.backends._native import KEEP_FREE_NS, NativeLeaseBackend
from federlib.lease.backends.etcd._stream import Stream, Turn
from federlib.lease.backends.etcd._upkeep import Upkeep
from federlib.lease.backends.etcd._verbs import Verbs
from federlib.lease.protocol import (
    Holder,
    LeaseState,
)
from federlib.lease.records import lease_key, waiter_key
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage import RecordStore, open_store
from federlib.storage.backends._blocking.site import Alarm, Site
from federlib.storage.backends.etcd.store import DirectEtcdStore, EtcdStore
from federlib.telemetry import SILENT, Telemetry

__all__ = ["EtcdLeaseBackend", "open_backend"]

_LOOK_AGAIN_S = 25.0
_NS = 1_000_000_000

_FAILOVER_SLACK_S = 1.0
"""0.5 s of ours, and etcd looks every 0.5 s which leases have run out."""


async def open_backend(
    source: str | RecordStore, clock: Clock, tolerance: SkewTolerance, telemetry: Telemetry
) -> EtcdLeaseBackend:
    """Open the leases of an `etcd://` URL, or of a store that is open already.

    Args:
        source: A store stays open when the backend is closed.
        clock: Of this process; says from when on a ttl counts.
        tolerance: Not used: nobody's clock is compared with another's.
        telemetry: Where it emits.
    Raises:
        InvalidInput: The URL is malformed, or the store is another.
        Unavailable: The cluster cannot be reached.
        CorruptRecord: What lies there is not what this version reads.
    """
    del tolerance
    store = source
    if isinstance(store, str):
        store = await open_store(store, clock=clock, telemetry=telemetry)
    if not isinstance(store, EtcdStore | DirectEtcdStore):
        raise InvalidInput("store", expected="a store in etcd", found=type(store).__name__)
    own = store if isinstance(source, str) else None
    return EtcdLeaseBackend(store, clock, telemetry, own_store=own)


class EtcdLeaseBackend(NativeLeaseBackend):
    """Leases as keys of etcd that it takes away by itself.

    On a store of an event loop, safe for tasks of any loop; on one that blocks, for threads.

    Args:
        store: Under whose prefix the leases lie.
        clock: Of this process.
        telemetry: Skipped waiters are logged there.
        own_store: Closed with the backend.
    """

    def __init__(
        self,
        store: EtcdStore | DirectEtcdStore,
        clock: Clock,
        telemetry: Telemetry = SILENT,
        *,
        own_store: RecordStore | None = None,
    ) -> None:
        self._verbs = Verbs(store.engine, clock)
        names = self._verbs.names
        self._care = Upkeep(names, store.engine, clock)
        self._stream = Stream(store.engine, names, clock, self._verbs.saw_free)
        self._clock = clock
        super().__init__(
            store.site(),
            self._verbs,
            self._care,
            telemetry,
            slack_s=_FAILOVER_SLACK_S,
            own_store=own_store,
        )

    async def inspect(self, name: str) -> LeaseState:
        """Read, without effect; it is live for as long as etcd keeps it."""
        lease_key(name)
        return await self._site.call(lambda: self._verbs.inspect(name))

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[AsyncIterator[LeaseState]]:
        """Stream the states of a name: the present one first, then after every change.

        `anext` may be cancelled and called again; nothing is lost.
        """
        keys, alarm = self._verbs.names.keys(name), self._site.alarm()
        turn = self._stream.add(keys, alarm, None)
        try:
            yield _States(self._site, self._verbs, name, alarm, self._stream)
        finally:
            self._stream.drop(turn)

    @asynccontextmanager
    async def turns(self, name: str, holder: Holder) -> AsyncIterator[AsyncIterator[object]]:
        """Tell one who stands in line when asking again may be worth it."""
        waiter_key(name, holder)
        alarm = self._site.alarm()
        standing = self._verbs.standing(name, holder)
        turn = self._stream.add(self._verbs.names.keys(name), alarm, standing)
        try:
            yield _Turns(self._stream, self._verbs, turn, name, holder, self._clock)
        finally:
            self._stream.drop(turn)

    async def collect(self, now_ns: int) -> int:
        """Forget names that have been free for 24 h; later revisions are higher anyway."""
        before_ns = now_ns - KEEP_FREE_NS
        return await self._site.call(lambda: self._care.collect(now_ns, before_ns))

    async def _let_go(self) -> None:
        with suppress(Unavailable, Fenced):
            # Where the store is closed already, or is another process's, so is the watch.
            await self._site.call(self._stream.close)


class _Turns:
    """Yields when it is worth asking; a class, because a cancelled generator would be over."""

    def __init__(
        self, stream: Stream, verbs: Verbs, turn: Turn, name: str, holder: Holder, clock: Clock
    ) -> None:
        self._stream = stream
        self._verbs = verbs
        self._turn = turn
        self._name = name
        self._holder = holder
        self._clock = clock
        self._owed = 0

    def __aiter__(self) -> _Turns:
        return self

    async def __anext__(self) -> None:
        turn = self._turn
        standing = self._verbs.standing(self._name, self._holder)
        if standing is not None and standing.revision > turn.since:
            if self._stream.position < self._owed:
                self._stream.suspect()
            # What happened between the two answers may be on its way still.
            self._owed = turn.since + 1 if turn.differs(standing) else 0
            self._stream.stand(turn, standing)
        while True:
            due_ns = turn.take_due_ns(self._clock.boot_ns())
            if due_ns == 0:
                return
            await turn.alarm.wait(math.inf if due_ns is None else due_ns / _NS)


class _States:
    """The states of one name; a class, because a cancelled generator would be over."""

    def __init__(self, site: Site, verbs: Verbs, name: str, alarm: Alarm, stream: Stream) -> None:
        self._site = site
        self._verbs = verbs
        self._name = name
        self._alarm = alarm
        self._stream = stream
        self._told: LeaseState | None = None
        self._rests = False

    def __aiter__(self) -> _States:
        return self

    async def __anext__(self) -> LeaseState:
        """Wait for the next state that differs from the last one told."""
        while True:
            rang = True
            if self._rests:
                rang = await self._alarm.wait(_LOOK_AGAIN_S)
            self._rests = False
            seen = await self._site.call(lambda: self._verbs.inspect(self._name))
            self._rests = True
            if seen != self._told:
                if not rang:
                    self._stream.suspect()
                self._told = seen
                return seen
