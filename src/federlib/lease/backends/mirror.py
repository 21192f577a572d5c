"""One name's records, read once and then kept up to date from events."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import attrs

from federlib.lease.judge import PAST, Horizon, Moment, claim_of_waiter, first_end, horizon
from federlib.lease.protocol import LeaseState
from federlib.lease.queue import Terms, View, Waiter, lease_horizon
from federlib.lease.records import (
    LeaseRecord,
    decode_lease,
    decode_queue,
    decode_waiter,
    is_queue_key,
    is_waiter_key,
)
from federlib.skewclock import Clock
from federlib.storage.protocol import Batch, Record, Resync, Subscription

__all__ = ["Mirror", "Sightings", "States", "read_moment"]

_MAX_SIGHTINGS = 10_000
_REJUDGE_NS = 500_000_000
"""A crowd that only refreshes its places is looked at this often, not at each event."""


def read_moment(clock: Clock) -> Moment:
    """Read the clocks that judgements are made with."""
    return Moment(wall_ns=clock.wall_ns(), boot_ns=clock.boot_ns(), clock_id=clock.clock_id)


class Sightings:
    """When this process first saw what, on its own boot clock. Thread-safe.

    Bounded: the oldest sightings are forgotten, which only makes a judge wait longer.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._first: dict[str, tuple[int, int]] = {}

    def first(self, what: str, revision: int, boot_ns: int) -> int:
        """Return when `what` was first seen at `revision`: now, or earlier."""
        with self._mutex:
            known = self._first.get(what)
            if known is not None:
                if known[0] == revision:
                    return known[1]
                del self._first[what]
            elif len(self._first) >= _MAX_SIGHTINGS:
                del self._first[next(iter(self._first))]
            self._first[what] = (revision, boot_ns)
            return boot_ns


@attrs.define
class Mirror:
    """The records of one name at a revision.

    Not shared between tasks except for reading; whoever watches applies the events.

    Attributes:
        name: The lease.
        sightings: Shared by all mirrors of one backend.
        terms: What judgements rest on.
        revision: Everything up to here is in.
        lease: The lease record as stored, or None.
        queue: What says that somebody may be waiting, as stored, or None.
        is_seen_free: What the last look said.
        has_news: Something but a refresh has come since the last look.
    """

    name: str
    sightings: Sightings
    terms: Terms
    revision: int = 0
    lease: Record | None = None
    queue: Record | None = None
    is_seen_free: bool = False
    has_news: bool = True
    _lease_record: LeaseRecord | None = None
    _lease_seen: int = 0
    _lease_horizon: Horizon | None = None
    # What stands in the store, and when it was first seen; read when somebody looks, because
    # in a long queue places are kept far more often than they are looked at.
    _places: dict[str, tuple[Record, int]] = attrs.field(factory=dict)
    _waiters: dict[str, Waiter] = attrs.field(factory=dict)
    _ordered: tuple[Waiter, ...] | None = None
    # Who is alive in the queue, and how long that is so if nobody comes or goes.
    _line: tuple[str, ...] | None = None
    _line_until: Horizon = PAST

    def clear(self) -> None:
        """Forget all records, before they are read again."""
        self.lease = self._lease_record = self._lease_horizon = None
        self.queue = self._ordered = self._line = None
        self._places.clear()
        self._waiters.clear()
        self.has_news = True

    def has_waiter(self, key: str) -> bool:
        """Say whether that place is in the queue."""
        return key in self._places

    def put(self, record: Record, boot_ns: int) -> None:
        """Take in one record, unless a newer life or state of it is known.

        Args:
            record: As stored.
            boot_ns: The judge's boot clock now.
        Raises:
            CorruptRecord: It cannot be read.
        """
        key = record.key
        known = self._places.get(key)
        if known is not None or is_waiter_key(key):
            if known is None:
                self.has_news, self._line = True, None
            elif record.revision < known[0].revision:
                return
            seen = self.sightings.first(key, record.revision, boot_ns)
            self._places[key] = (record, seen)
            self._ordered = None
            return
        if record.revision < self._revision_of(key):
            return
        if is_queue_key(key):
            decode_queue(key, record.value)
            self.queue = record
            return
        seen = self.sightings.first(key, record.revision, boot_ns)
        self._lease_record = decode_lease(key, record.value)
        self.lease, self._lease_seen, self._lease_horizon = record, seen, None
        self.has_news = True

    def apply(self, batch: Batch, boot_ns: int) -> None:
        """Take in one commit, seen at `boot_ns` on the judge's boot clock."""
        for event in batch.events:
            record = event.record
            if record is not None:
                self.put(record, boot_ns)
            elif batch.revision > self._revision_of(event.key):
                self._drop(event.key)
        self.revision = max(self.revision, batch.revision)

    def _drop(self, key: str) -> None:
        if is_queue_key(key):
            self.queue = None
            return
        self.has_news = True
        if is_waiter_key(key):
            self._places.pop(key, None)
            self._waiters.pop(key, None)
            self._ordered = self._line = None
        else:
            self.lease = self._lease_record = self._lease_horizon = None

    def _revision_of(self, key: str) -> int:
        if is_waiter_key(key):
            return self._places[key][0].revision if key in self._places else 0
        record = self.queue if is_queue_key(key) else self.lease
        return record.revision if record is not None else 0

    def view(self, now: Moment, *, floor: int = 0) -> View:
        """Return what the core decides on, and note if the lease is seen free.

        Raises:
            CorruptRecord: A place in the queue cannot be read.
        """
        return View(
            lease=self._lease_record,
            horizon=self._lease_until(now),
            seen_boot_ns=self._lease_seen,
            waiters=self._in_order(now),
            floor=floor,
            free_since_boot_ns=self._free_since(now),
        )

    def _free_since(self, now: Moment) -> int | None:
        """Say since when the lease was seen free, and note whether it is."""
        self.is_seen_free = self._lease_until(now).left_ns(now) <= 0
        if not self.is_seen_free:
            return None
        revision = self.lease.revision if self.lease is not None else 0
        return self.sightings.first(f"free {self.name}", revision, now.boot_ns)

    def _lease_until(self, now: Moment) -> Horizon:
        until = self._lease_horizon
        if until is None:
            until = lease_horizon(self._lease_record, self._lease_seen, now.clock_id, self.terms)
            self._lease_horizon = until
        return until

    def _in_order(self, now: Moment) -> tuple[Waiter, ...]:
        if self._ordered is not None:
            return self._ordered
        waiters = self._waiters
        for key, (record, seen) in self._places.items():
            known = waiters.get(key)
            if known is not None and known.revision == record.revision:
                continue
            place = decode_waiter(key, record.value)
            claim = claim_of_waiter(place, seen_boot_ns=seen)
            waiters[key] = Waiter(
                key=key,
                revision=record.revision,
                created=record.created,
                record=place,
                horizon=horizon(claim, now.clock_id, self.terms.tolerance),
            )
        self._ordered = ordered = tuple(sorted(waiters.values(), key=_by_place))
        return ordered

    def state(self, now: Moment) -> LeaseState:
        """Judge the name now, for people and watchers.

        Raises:
            CorruptRecord: A place in the queue cannot be read.
        """
        self.has_news = False
        self._free_since(now)
        record = self._lease_record
        return LeaseState(
            name=self.name,
            fencing_token=record.fencing_token if record is not None else 0,
            lease=record.lease if record is not None else None,
            is_live=not self.is_seen_free,
            waiters=self._living(now),
        )

    def _living(self, now: Moment) -> tuple[str, ...]:
        """Return who stands in line, the first first.

        A place that is kept lasts longer than before. So nobody's ends before the first end
        as it was seen when all were read last, and they need not be read again until then.
        """
        if self._line is None or self._line_until.left_ns(now) <= 0:
            places = self._in_order(now)
            self._line = tuple(w.record.holder_id for w in places if w.horizon.left_ns(now) > 0)
            self._line_until = first_end([waiter.horizon for waiter in places])
        return self._line

    def has_passed(self, told: LeaseState, now: Moment) -> bool:
        """Say whether time alone may have changed the state that was told last."""
        is_free = self._lease_until(now).left_ns(now) <= 0
        return self._line_until.left_ns(now) <= 0 or is_free == told.is_live


def _by_place(waiter: Waiter) -> int:
    return waiter.created


class States:
    """The states of one name; a class, because a cancelled generator would be over."""

    def __init__(
        self,
        mirror: Mirror,
        subscription: Subscription,
        refill: Callable[[Mirror], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._mirror = mirror
        self._subscription = subscription
        self._refill = refill
        self._clock = clock
        self._told: LeaseState | None = None
        self._judged_boot_ns = 0
        self._is_stale = False

    def __aiter__(self) -> States:
        return self

    async def __anext__(self) -> LeaseState:
        """Wait for the next state that differs from the last one told."""
        boot_ns = self._clock.boot_ns()
        while True:
            if self._is_stale:
                await self._refill(self._mirror)
                self._is_stale = False
                boot_ns = self._clock.boot_ns()
            state = self._look(boot_ns)
            if state is not None and state != self._told:
                self._told = state
                return state
            item = await self._subscription.__anext__()
            boot_ns = self._clock.boot_ns()
            if isinstance(item, Batch):
                self._mirror.apply(item, boot_ns)
            elif isinstance(item, Resync):
                self._is_stale = True

    def _look(self, boot_ns: int) -> LeaseState | None:
        """Judge the name if that may tell something; mostly, a place was kept and it does not."""
        told = None if self._mirror.has_news else self._told
        if told is not None and boot_ns - self._judged_boot_ns < _REJUDGE_NS:
            return None
        self._judged_boot_ns = boot_ns
        now = read_moment(self._clock)
        if told is not None and not self._mirror.has_passed(told, now):
            return None
        return self._mirror.state(now)
