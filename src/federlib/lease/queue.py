"""The fair queue: who may take a lease now, and when to look again.

Waiters stand in the order of their records' `created` revisions. Only the head takes a
free lease. One that stands behind others acts only if it has seen the lease free for a
grace per living waiter ahead of it: those did not come, so they are skipped, and their
records go in the transaction that acquires.

Source: design §4, fair queue.
"""

from __future__ import annotations

import attrs
import msgspec

from federlib.errors import Conflict
from federlib.lease.judge import (
    PAST,
    Horizon,
    Moment,
    claim_of_lease,
    horizon,
    horizon_elsewhere,
)
from federlib.lease.protocol import Holder
from federlib.lease.records import MAX_TOKEN, LeaseRecord, WaiterRecord
from federlib.skewclock import SkewTolerance

__all__ = [
    "GRANT_GRACE_S",
    "MAX_REMOVED",
    "MAX_WAITERS",
    "Decision",
    "Enqueue",
    "Full",
    "Grant",
    "Line",
    "Refresh",
    "Terms",
    "View",
    "Wait",
    "Waiter",
    "decide",
    "lease_horizon",
    "next_token",
    "wait_ttl_ms",
]

GRANT_GRACE_S = 0.5
MAX_WAITERS = 1_000
MAX_REMOVED = 60
"""A transaction holds 64 writes: the lease, one's own record, the queue's, and these."""

_NS = 1_000_000_000
_MS = 1_000_000


@attrs.frozen
class Terms:
    """What every decision rests on.

    Attributes:
        tolerance: For rule (c).
        grant_grace_s: How long a free lease is left to each waiter in turn; seconds.
    """

    tolerance: SkewTolerance
    grant_grace_s: float = GRANT_GRACE_S

    @property
    def grace_ns(self) -> int:
        """The grace in nanoseconds."""
        return round(self.grant_grace_s * _NS)


class Waiter(msgspec.Struct, frozen=True, kw_only=True):
    """A waiter's record as it stands in the store.

    Attributes:
        key: Its key.
        revision: Of its last refresh.
        created: Its place: lower is earlier.
        record: What it says.
        horizon: Until when it is alive, as this process judges it.
    """

    key: str
    revision: int
    created: int
    record: WaiterRecord
    horizon: Horizon

    def belongs_to(self, holder: Holder) -> bool:
        """Say whether this is the place of that holder and session."""
        record = self.record
        return record.holder_id == holder.holder_id and record.session == holder.session


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One name, as one process sees it.

    Attributes:
        lease: The lease record, or None where the name has none.
        horizon: Until when it must be respected, as this process judges it.
        seen_boot_ns: The judge's boot clock when it first saw this state of `lease`.
        waiters: By `created`, lowest first.
        floor: The token floor of the store; 0 for none.
        free_since_boot_ns: The judge's boot clock when it first judged it free, or None.
    """

    lease: LeaseRecord | None
    horizon: Horizon = PAST
    seen_boot_ns: int = 0
    waiters: tuple[Waiter, ...] = ()
    floor: int = 0
    free_since_boot_ns: int | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Take it.

    Attributes:
        token: The fencing token to write.
        renews: The holder has it already: the token stays.
        expired: Waiters to remove if they are still as they were seen.
        skipped: Waiters to remove in any case; the holder's own is among them.
    """

    token: int
    renews: bool = False
    expired: tuple[Waiter, ...] = ()
    skipped: tuple[Waiter, ...] = ()


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand for one that must wait.

    Attributes:
        ahead: Living waiters ahead of it.
        until_boot_ns: When to look again if nothing is heard; its own boot clock.
    """

    ahead: int
    until_boot_ns: int


class Enqueue(Line, frozen=True, kw_only=True):
    """Stand at the end of the queue; `expired` makes room where the queue is full."""

    expired: tuple[Waiter, ...] = ()


class Refresh(Line, frozen=True, kw_only=True):
    """Keep the place: write the own record anew."""

    own: Waiter


class Wait(Line, frozen=True, kw_only=True):
    """Do nothing."""


class Full(Line, frozen=True, kw_only=True):
    """There is no place in the queue."""


Decision = Grant | Enqueue | Refresh | Wait | Full


def wait_ttl_ms(ttl_ms: int) -> int:
    """Return how long a waiter's place outlives its last refresh: max(2 s, ttl / 3)."""
    return max(2_000, ttl_ms // 3)


def next_token(view: View) -> int:
    """Return the token of the next grant: above the record's and above the floor.

    Raises:
        Conflict: The last int64 has been granted; nothing may follow it.
    """
    highest = max(view.floor, view.lease.fencing_token if view.lease is not None else 0)
    if highest >= MAX_TOKEN:
        raise Conflict(
            "fencing token",
            expected=f"below {MAX_TOKEN}, so that a higher one can follow",
            actual=str(highest),
            hint="the name cannot be leased again: choose another name, or another store",
        )
    return highest + 1


def lease_horizon(
    record: LeaseRecord | None, seen_boot_ns: int, clock_id: str, terms: Terms
) -> Horizon:
    """Say until when a lease must be respected; not at all if it is absent or released.

    Args:
        record: As stored.
        seen_boot_ns: The judge's boot clock when it first saw it so.
        clock_id: The judge's.
        terms: Tolerance and grace.
    """
    if record is None or record.lease is None:
        return PAST
    claim = claim_of_lease(record.lease, seen_boot_ns=seen_boot_ns)
    return horizon(claim, clock_id, terms.tolerance)


def decide(
    view: View, holder: Holder, now: Moment, terms: Terms, *, ttl_ms: int, queue: bool
) -> Decision:
    """Say what one holder should do about one lease, now.

    Args:
        view: The name as the holder's process sees it.
        holder: Who asks.
        now: On the holder's own clocks.
        terms: Tolerance and grace.
        ttl_ms: The ttl that is asked for; the wait ttl follows from it.
        queue: Whether it is willing to stand in the queue.
    Raises:
        Conflict: It would be granted, and there is no higher token.
    Source: design §4, fair queue.
    """
    own = next((w for w in view.waiters if w.belongs_to(holder)), None)
    held = view.lease.lease if view.lease is not None else None
    if held is not None and (held.holder_id, held.session) == (holder.holder_id, holder.session):
        mine = (own,) if own is not None else ()
        return Grant(token=held.fencing_token, renews=True, skipped=mine)
    before = _before(view.waiters, own)
    living = tuple(w for w in before if w.horizon.left_ns(now) > 0)
    if view.horizon.left_ns(now) <= 0 and _may_take(view, own, living, now, terms):
        return _grant(view, before, living, own)
    return _stand(view, own, living, now, terms, ttl_ms=ttl_ms, queue=queue)


def _before(waiters: tuple[Waiter, ...], own: Waiter | None) -> tuple[Waiter, ...]:
    return waiters if own is None else waiters[: waiters.index(own)]


def _may_take(
    view: View, own: Waiter | None, living: tuple[Waiter, ...], now: Moment, terms: Terms
) -> bool:
    if not living:
        return True
    # Only one who stands in line may skip: a newcomer never passes a living waiter.
    if own is None or view.free_since_boot_ns is None:
        return False
    return now.boot_ns >= _skip_boot_ns(view, living, now, terms)


def _skip_boot_ns(view: View, living: tuple[Waiter, ...], now: Moment, terms: Terms) -> int:
    """Say from when on each of those ahead has had its grace with a free lease; boot clock."""
    since = view.free_since_boot_ns if view.free_since_boot_ns is not None else now.boot_ns
    held = view.lease.lease if view.lease is not None else None
    if held is not None and any(w.record.clock_id != now.clock_id for w in living):
        # Who shares the dead holder's clock sees it expired at once, the others a tolerance later.
        claim = claim_of_lease(held, seen_boot_ns=view.seen_boot_ns)
        elsewhere = horizon_elsewhere(claim, terms.tolerance)
        since = max(since, now.boot_ns + elsewhere.left_ns(now))
    return since + len(living) * terms.grace_ns


def _grant(
    view: View, before: tuple[Waiter, ...], living: tuple[Waiter, ...], own: Waiter | None
) -> Grant:
    removed = before[:MAX_REMOVED]
    alive = {w.key for w in living}
    skipped = tuple(w for w in removed if w.key in alive)
    return Grant(
        token=next_token(view),
        expired=tuple(w for w in removed if w.key not in alive),
        skipped=skipped if own is None else (*skipped, own),
    )


def _stand(
    view: View,
    own: Waiter | None,
    living: tuple[Waiter, ...],
    now: Moment,
    terms: Terms,
    *,
    ttl_ms: int,
    queue: bool,
) -> Enqueue | Refresh | Wait | Full:
    ahead = len(living)
    turn = _turn_ns(view, living, now, terms)
    if not queue:
        return Wait(ahead=ahead, until_boot_ns=turn)
    third = wait_ttl_ms(ttl_ms) * _MS // 3
    line = min(turn, now.boot_ns + third)
    if own is not None:
        due = _due_ns(own, now)
        if now.boot_ns < due:
            return Wait(ahead=ahead, until_boot_ns=min(turn, due))
        return Refresh(ahead=ahead, until_boot_ns=line, own=own)
    if len(view.waiters) < MAX_WAITERS:
        return Enqueue(ahead=ahead, until_boot_ns=line)
    expired = tuple(w for w in view.waiters if w.horizon.left_ns(now) <= 0)[:MAX_REMOVED]
    if not expired:
        return Full(ahead=ahead, until_boot_ns=now.boot_ns + third)
    return Enqueue(ahead=ahead, until_boot_ns=line, expired=expired)


def _turn_ns(view: View, living: tuple[Waiter, ...], now: Moment, terms: Terms) -> int:
    """Say when the present picture may change by time alone; boot clock."""
    left = view.horizon.left_ns(now)
    turn = now.boot_ns + left if left > 0 else _skip_boot_ns(view, living, now, terms)
    # The second watches the head; those further back hear of it when they are second.
    if len(living) == 1:
        turn = min(turn, now.boot_ns + living[0].horizon.left_ns(now))
    return turn


def _due_ns(own: Waiter, now: Moment) -> int:
    # A place of another clock (the same session, moved) is refreshed at once.
    if own.record.clock_id != now.clock_id or own.record.renewed_boot_ns > now.boot_ns:
        return now.boot_ns
    return own.record.renewed_boot_ns + own.record.wait_ttl_ms * _MS // 3
