"""The lease backend of PostgreSQL.

    backend = await lease.from_url("postgresql://db.example/fleet")

Who holds and who waits is judged by the server's clock alone, so a client's clock may be an
hour off. One that waits is told by the server when it is next; nobody else is woken.

Hazards: a server whose own clock is set forward lets leases run out early. As everywhere, it
is the token that keeps a late holder out, not the clock.

Source: design §4, lease.
"""

from __future__ import annotations

import math
import secrets  # noqa: TID251 (a shell: names this process's channels)
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from federlib.errors import InvalidInput
from federlib.lease.backends._native import KEEP_FREE_NS, NativeLeaseBackend
from federlib.lease.backends.postgresql._verbs import Verbs
from federlib.lease.protocol import (
    Holder,
    LeaseState,
)
from federlib.lease.records import lease_key, waiter_key
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage import RecordStore, open_store
from federlib.storage.backends._blocking.site import Alarm, Site
from federlib.storage.backends.postgresql._links import Hearing, Listener
from federlib.storage.backends.postgresql.store import DirectPostgresStore, PostgresStore
from federlib.telemetry import SILENT, Telemetry

__all__ = ["PostgresLeaseBackend", "open_backend"]

_WATCH_AGAIN_S = 25.0
_JUST_AFTER_S = 0.05
_FAILOVER_SLACK_S = 0.5
_MAX_LINGERING = 256


async def open_backend(
    source: str | RecordStore, clock: Clock, tolerance: SkewTolerance, telemetry: Telemetry
) -> PostgresLeaseBackend:
    """Open the leases of a `postgresql://` URL, or of a store that is open already.

    Args:
        source: A store stays open when the backend is closed.
        clock: For the store of a URL.
        tolerance: Not used: nobody's clock is compared with another's.
        telemetry: Where it emits.
    Raises:
        InvalidInput: The URL is malformed, or the store is another.
        Unavailable: The server cannot be reached.
        CorruptRecord: What lies there is not what this version reads.
    """
    del tolerance
    store = source
    if isinstance(store, str):
        store = await open_store(store, clock=clock, telemetry=telemetry)
    if not isinstance(store, PostgresStore | DirectPostgresStore):
        raise InvalidInput("store", expected="a PostgreSQL store", found=type(store).__name__)
    own = store if isinstance(source, str) else None
    return PostgresLeaseBackend(store, telemetry, own_store=own)


class PostgresLeaseBackend(NativeLeaseBackend):
    """Leases as rows of PostgreSQL.

    On a store of an event loop, safe for tasks of any loop; on one that blocks, for threads.

    Args:
        store: In whose schema the leases lie.
        telemetry: Skipped waiters are logged there.
        own_store: Closed with the backend.
    """

    def __init__(
        self,
        store: PostgresStore | DirectPostgresStore,
        telemetry: Telemetry = SILENT,
        *,
        own_store: RecordStore | None = None,
    ) -> None:
        self._listener: Listener = store.engine.listener
        self._verbs = Verbs(store.engine, secrets.token_hex(8))
        self._lingering: dict[str, _Turn] = {}
        super().__init__(
            store.site(),
            self._verbs,
            self._verbs,
            telemetry,
            slack_s=_FAILOVER_SLACK_S,
            own_store=own_store,
        )

    async def inspect(self, name: str) -> LeaseState:
        """Read, without effect; judged now, by the server's clock."""
        lease_key(name)
        return (await self._site.call(lambda: self._verbs.inspect(name))).state

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[AsyncIterator[LeaseState]]:
        """Stream the states of a name: the present one first, then after every change.

        `anext` may be cancelled and called again; nothing is lost.
        """
        lease_key(name)
        alarm = self._site.alarm()
        await self._site.call(lambda: self._verbs.watch(name))
        hearing = self._listener.add(self._verbs.name_channel(name), alarm.ring)
        try:
            yield _States(self._site, self._verbs, name, alarm)
        finally:
            self._listener.drop(hearing)

    @asynccontextmanager
    async def turns(self, name: str, holder: Holder) -> AsyncIterator[AsyncIterator[object]]:
        """Tell one who stands in line when asking again may be worth it."""
        waiter_key(name, holder)
        alarm = self._site.alarm()
        turn = self._turn(name)
        turn.alarms.append(alarm)
        try:
            yield _Rings(alarm)
        finally:
            turn.alarms.remove(alarm)

    def _turn(self, name: str) -> _Turn:
        # Kept when nobody waits: who takes a name again and again would LISTEN each time.
        turn = self._lingering.pop(name, None)
        if turn is None:
            turn = _Turn()
            turn.hearing = self._listener.add(self._verbs.turn_channel(name), turn.ring)
        self._lingering[name] = turn
        idle = [key for key, one in self._lingering.items() if not one.alarms and key != name]
        for key in idle[: max(0, len(self._lingering) - _MAX_LINGERING)]:
            old = self._lingering.pop(key)
            if old.hearing is not None:
                self._listener.drop(old.hearing)
        return turn

    async def collect(self, now_ns: int) -> int:
        """Forget names that have been free for 24 h; the floor rises above their tokens."""
        return await self._site.call(lambda: self._verbs.collect(now_ns - KEEP_FREE_NS))

    async def _let_go(self) -> None:
        for turn in self._lingering.values():
            if turn.hearing is not None:
                self._listener.drop(turn.hearing)
        self._lingering.clear()
        await self._site.call(self._verbs.close)


class _Turn:
    """Those of this process who wait for one name."""

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self.hearing: Hearing | None = None

    def ring(self) -> None:
        for alarm in tuple(self.alarms):
            alarm.ring()


class _Rings:
    """Yields whenever an alarm rings; a class, because a cancelled generator would be over."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    def __aiter__(self) -> _Rings:
        return self

    async def __anext__(self) -> None:
        await self._alarm.wait(math.inf)


class _States:
    """The states of one name; a class, because a cancelled generator would be over."""

    def __init__(self, site: Site, verbs: Verbs, name: str, alarm: Alarm) -> None:
        self._site = site
        self._verbs = verbs
        self._name = name
        self._alarm = alarm
        self._told: LeaseState | None = None
        self._rest_s = 0.0

    def __aiter__(self) -> _States:
        return self

    async def __anext__(self) -> LeaseState:
        """Wait for the next state that differs from the last one told."""
        while True:
            if self._rest_s > 0 and not await self._alarm.wait(self._rest_s):
                # Or the server forgets that somebody watches.
                await self._site.call(lambda: self._verbs.watch(self._name))
            self._rest_s = 0.0
            seen = await self._site.call(lambda: self._verbs.inspect(self._name))
            # What expires changes without a word; so does a place in the queue.
            left_s = seen.left_s + _JUST_AFTER_S if seen.left_s else _WATCH_AGAIN_S
            self._rest_s = min(left_s, _WATCH_AGAIN_S)
            if seen.state != self._told:
                self._told = seen.state
                return seen.state
