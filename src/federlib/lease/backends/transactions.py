"""What to write for each decision; pure.

Source: design §4, token and fair queue.
"""

from __future__ import annotations

from typing import TypeGuard, assert_never

import msgspec

from federlib.lease.judge import Moment
from federlib.lease.protocol import Holder, Lease
from federlib.lease.queue import (
    Decision,
    Enqueue,
    Full,
    Grant,
    Refresh,
    View,
    Wait,
    next_token,
    wait_ttl_ms,
)
from federlib.lease.records import (
    FLOOR_KEY,
    LeaseRecord,
    QueueRecord,
    WaiterRecord,
    encode,
    lease_key,
    queue_key,
    waiter_key,
)
from federlib.storage.protocol import (
    Absent,
    AtRevision,
    Check,
    Delete,
    Put,
    Record,
    Transaction,
    Write,
)

__all__ = [
    "Asker",
    "Plan",
    "as_seen",
    "extend",
    "free_record",
    "held_record",
    "is_same",
    "plan_acquire",
    "plan_retake",
    "replace_lease",
]

_MS = 1_000_000


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what, and when on its own clocks."""

    name: str
    holder: Holder
    ttl_ms: int
    now: Moment


class Plan(msgspec.Struct, frozen=True):
    """A transaction, and the lease that it grants if it is committed."""

    transaction: Transaction
    lease: Lease | None = None


def as_seen(key: str, record: Record | None) -> Check:
    """Check that a record is still what it was when it was read."""
    return Absent(key) if record is None else AtRevision(key, record.revision)


def plan_acquire(
    decision: Decision,
    asker: Asker,
    view: View,
    stored: Record | None,
    queue: Record | None,
    floor: Record | None,
) -> Plan | None:
    """Turn a decision into what is to be committed; None where nothing is.

    Args:
        decision: As `decide` gave it.
        asker: Who asks.
        view: What the decision rests on.
        stored: The lease record as it was read.
        queue: What says that somebody may be waiting, as it was read.
        floor: The floor record as it was read.
    """
    match decision:
        case Grant():
            as_left = as_seen(lease_key(asker.name), stored)
            return _plan_grant(decision, asker, view, as_left, queue, floor)
        case Enqueue(expired=gone):
            key = waiter_key(asker.name, asker.holder)
            writes: list[Write] = [Delete(waiter.key) for waiter in gone]
            checks: list[Check] = [AtRevision(waiter.key, waiter.revision) for waiter in gone]
            writes.append(Put(queue_key(asker.name), encode(QueueRecord(name=asker.name))))
            writes.append(Put(key, _place(asker)))
            checks.append(Absent(key))
            return Plan(Transaction(tuple(writes), tuple(checks)))
        case Refresh(own=own):
            place = (Put(own.key, _place(asker)),)
            return Plan(Transaction(place, (AtRevision(own.key, own.revision),)))
        case Wait() | Full():
            return None
        case _:
            assert_never(decision)


def plan_retake(
    asker: Asker, free: LeaseRecord, revision: int, *, floor: Record | None, floor_token: int
) -> Plan:
    """Take a lease as we left it, unread: if nobody has taken it since, and nobody waits.

    Args:
        asker: Who asks.
        free: The record of the lease as we released it.
        revision: Of that release.
        floor: The floor record as it was read.
        floor_token: What it says; 0 for none.
    Raises:
        Conflict: There is no higher token.
    """
    view = View(lease=free, floor=floor_token)
    as_left = AtRevision(lease_key(asker.name), revision)
    return _plan_grant(Grant(token=next_token(view)), asker, view, as_left, None, floor)


def _plan_grant(
    grant: Grant,
    asker: Asker,
    view: View,
    as_left: Check,
    queue: Record | None,
    floor: Record | None,
) -> Plan:
    old = view.lease.lease if grant.renews and view.lease is not None else None
    fresh = Lease(
        name=asker.name,
        holder_id=asker.holder.holder_id,
        session=asker.holder.session,
        fencing_token=grant.token,
        ttl_ms=asker.ttl_ms,
        acquired_at=asker.now.wall_ns,
        renewed_at=asker.now.wall_ns,
        expires_at=asker.now.wall_ns,
    )
    acquired_at = old.acquired_at if old is not None else asker.now.wall_ns
    lease = extend(fresh, acquired_at=acquired_at, now=asker.now)
    key = lease_key(asker.name)
    checks = [as_left]
    if not grant.renews:
        # Always, not only for an absent name: a floor that is raised while we grant must
        # hold for this grant too.
        checks.append(as_seen(FLOOR_KEY, floor))
    # One that was seen expired may have come back; one that is skipped had its chance.
    checks += [AtRevision(waiter.key, waiter.revision) for waiter in grant.expired]
    gone = (*grant.expired, *grant.skipped)
    writes: list[Write] = [Put(key, held_record(lease))]
    writes += [Delete(waiter.key) for waiter in gone]
    if len(gone) == len(view.waiters):
        # Nobody is left in line, unless somebody comes now: then it has another revision.
        checks.append(as_seen(queue_key(asker.name), queue))
        if queue is not None:
            writes.append(Delete(queue.key))
    return Plan(Transaction(tuple(writes), tuple(checks)), lease)


def extend(lease: Lease, *, acquired_at: int, now: Moment) -> Lease:
    """Return `lease` as renewed at `now`."""
    return msgspec.structs.replace(
        lease,
        acquired_at=acquired_at,
        renewed_at=now.wall_ns,
        expires_at=now.wall_ns + lease.ttl_ms * _MS,
        clock_id=now.clock_id,
        renewed_boot_ns=now.boot_ns,
    )


def replace_lease(name: str, revision: int, value: bytes) -> Transaction:
    """Write a lease record over the one of that revision."""
    key = lease_key(name)
    return Transaction((Put(key, value),), (AtRevision(key, revision),))


def held_record(lease: Lease) -> bytes:
    """Encode the record of a name that is leased."""
    record = LeaseRecord(
        name=lease.name, fencing_token=lease.fencing_token, lease=lease, freed_at_ns=None
    )
    return encode(record)


def free_record(lease: Lease, *, now: Moment) -> LeaseRecord:
    """Return the record of a name that is free, its token kept."""
    return LeaseRecord(
        name=lease.name,
        fencing_token=lease.fencing_token,
        lease=None,
        freed_at_ns=max(0, now.wall_ns),
    )


def is_same(found: Lease | None, lease: Lease) -> TypeGuard[Lease]:
    """Say whether the stored lease is this very grant."""
    return found is not None and (found.holder_id, found.session, found.fencing_token) == (
        lease.holder_id,
        lease.session,
        lease.fencing_token,
    )


def _place(asker: Asker) -> bytes:
    lifetime = wait_ttl_ms(asker.ttl_ms)
    record = WaiterRecord(
        name=asker.name,
        holder_id=asker.holder.holder_id,
        session=asker.holder.session,
        wait_ttl_ms=lifetime,
        clock_id=asker.now.clock_id,
        renewed_boot_ns=asker.now.boot_ns,
        expires_at_ns=asker.now.wall_ns + lifetime * _MS,
    )
    return encode(record)
