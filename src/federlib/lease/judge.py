"""Whether rivals must still respect a claim: three rules, the first that applies.

(a) Written under this very boot clock: that clock decides, without tolerance.
(b) Written in another boot of this machine: expired, its holder died with the boot.
(c) Otherwise: A2.2's inequality on the wall clock, with the tolerance.

A claim is a lease or a waiter's place; both are judged alike.

Source: design §4, whose clock; A2.2 §2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from federlib.lease.protocol import Lease
from federlib.lease.records import WaiterRecord
from federlib.skewclock import ClockId, SkewTolerance

__all__ = [
    "PAST",
    "Claim",
    "Horizon",
    "Moment",
    "claim_of_lease",
    "claim_of_waiter",
    "first_end",
    "horizon",
    "horizon_elsewhere",
    "is_live",
    "remaining_ns",
]

_MS = 1_000_000


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One instant, on the judging process's own clocks.

    Attributes:
        wall_ns: Unix nanoseconds.
        boot_ns: Boot-clock nanoseconds.
        clock_id: Names that boot clock.
    """

    wall_ns: int
    boot_ns: int
    clock_id: str


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules need of a lease or a waiter.

    Attributes:
        clock_id: The boot clock of `renewed_boot_ns`.
        renewed_boot_ns: The owner's boot clock at the last renewal.
        ttl_ns: Time to live; nanoseconds.
        expires_at_ns: On the owner's wall clock; Unix nanoseconds.
        seen_boot_ns: The judge's own boot clock when it first saw this renewal.
    """

    clock_id: str
    renewed_boot_ns: int
    ttl_ns: int
    expires_at_ns: int
    seen_boot_ns: int


def claim_of_lease(lease: Lease, *, seen_boot_ns: int) -> Claim:
    """Take from a lease what the rules need."""
    return Claim(
        clock_id=lease.clock_id,
        renewed_boot_ns=lease.renewed_boot_ns,
        ttl_ns=lease.ttl_ms * _MS,
        expires_at_ns=lease.expires_at,
        seen_boot_ns=seen_boot_ns,
    )


def claim_of_waiter(waiter: WaiterRecord, *, seen_boot_ns: int) -> Claim:
    """Take from a waiter what the rules need."""
    return Claim(
        clock_id=waiter.clock_id,
        renewed_boot_ns=waiter.renewed_boot_ns,
        ttl_ns=waiter.wait_ttl_ms * _MS,
        expires_at_ns=waiter.expires_at_ns,
        seen_boot_ns=seen_boot_ns,
    )


class Horizon(msgspec.Struct, frozen=True):
    """When a claim ends, as one process sees it: the earlier of two instants.

    Worked out once for each renewal, so that looking again at a long queue is cheap.

    Attributes:
        boot_ns: On the judge's boot clock.
        wall_ns: On the judge's wall clock; None where it has no say.
    """

    boot_ns: int
    wall_ns: int | None = None

    def left_ns(self, now: Moment) -> int:
        """Say how long the claim must still be respected; 0 or less from its end on."""
        left = self.boot_ns - now.boot_ns
        return left if self.wall_ns is None else min(left, self.wall_ns - now.wall_ns)


PAST = Horizon(0, 0)
"""Of what nobody need respect."""

_NEVER_NS = 2**63


def first_end(horizons: Sequence[Horizon]) -> Horizon:
    """Say until when all of them are in the future; for ever if there is none."""
    return Horizon(
        min((one.boot_ns for one in horizons), default=_NEVER_NS),
        min((one.wall_ns for one in horizons if one.wall_ns is not None), default=None),
    )


def horizon(claim: Claim, clock_id: str, tolerance: SkewTolerance) -> Horizon:
    """Say until when rivals must respect a claim if nothing renews it.

    A renewal happened before anybody could see it. So a judge that has watched a claim
    unrenewed for its whole ttl on its own clock (plus the tolerance, under rule (c)) may
    call it expired, whatever instants the record claims: a record from the future, left by
    a restored snapshot or a clock that was years ahead, is not immortal.

    Args:
        claim: The claim.
        clock_id: The judge's.
        tolerance: For rule (c).
    Source: design §4, rules (a) to (c).
    """
    if claim.clock_id and claim.clock_id == clock_id:
        return Horizon(min(claim.renewed_boot_ns, claim.seen_boot_ns) + claim.ttl_ns)
    if _is_other_boot(claim.clock_id, clock_id):
        return PAST
    return horizon_elsewhere(claim, tolerance)


def horizon_elsewhere(claim: Claim, tolerance: SkewTolerance) -> Horizon:
    """Say until when a judge on another machine than the claim's must respect it.

    Source: design §4, rule (c).
    """
    slack = tolerance.tolerance_ns
    return Horizon(claim.seen_boot_ns + claim.ttl_ns + slack, claim.expires_at_ns + slack)


# A process meets the same few clocks again and again.
@lru_cache(maxsize=1_024)
def _is_other_boot(one: str, other: str) -> bool:
    return ClockId(one).is_other_boot_of(ClockId(other))


def remaining_ns(claim: Claim, now: Moment, tolerance: SkewTolerance) -> int:
    """Say how long rivals must still respect a claim; more than 0 while it is live."""
    return horizon(claim, now.clock_id, tolerance).left_ns(now)


def is_live(claim: Claim, now: Moment, tolerance: SkewTolerance) -> bool:
    """Say whether rivals must still respect a claim."""
    return remaining_ns(claim, now, tolerance) > 0
