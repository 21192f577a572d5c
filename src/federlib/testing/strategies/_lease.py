"""Leases: who asks, what is granted, what is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import get_args

from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.leadership import LeaderState, Role
from federlib.lease import (
    Busy,
    Holder,
    Lease,
    LeaseCapabilities,
    LeasePolicy,
    LeaseState,
    NotHeld,
    Released,
)
from federlib.lease.records import (
    FloorRecord,
    LeaseRecord,
    QueueRecord,
    WaiterRecord,
    waiter_key,
)
from federlib.lease.settings import MAX_TTL_S, MIN_TTL_S
from federlib.storage import check_key
from federlib.testing.strategies._plain import (
    any_text,
    booleans,
    counts,
    instants,
    plain_text,
    seconds,
    tokens,
)
from federlib.testing.strategies._storage import names

__all__ = ["STRATEGIES", "holder_ids", "illegal_ttls", "ttls"]

_MS = 1_000_000
_MAX_TTL_MS = round(MAX_TTL_S * 1_000)
_clock_ids = plain_text(max_bytes=60)


def ttls() -> st.SearchStrategy[float]:
    """Generate times to live in seconds, the shortest and the longest among them."""
    return seconds(MIN_TTL_S, MAX_TTL_S) | st.integers(1, round(MAX_TTL_S))


def illegal_ttls() -> st.SearchStrategy[float]:
    """Generate numbers that no lease takes as its ttl; seconds."""
    too_short = st.floats(max_value=MIN_TTL_S, exclude_max=True)
    too_long = st.floats(min_value=MAX_TTL_S, exclude_min=True)
    return too_short | too_long | st.sampled_from((math.nan, 0, -1, True))


def _may_wait(holder: Holder) -> bool:
    try:
        check_key(waiter_key("n", holder))
    except InvalidInput:
        return False
    return True


_holders = st.builds(Holder, names(), names()).filter(_may_wait)


def holder_ids() -> st.SearchStrategy[str]:
    """Generate ids of holders that may also stand in a queue."""
    return _holders.map(lambda holder: holder.holder_id)


@st.composite
def _leases(draw: st.DrawFn) -> Lease:
    holder, ttl_ms = draw(_holders), draw(counts(1, _MAX_TTL_MS))
    acquired = draw(instants())
    renewed = draw(counts(acquired, acquired + 365 * 86_400 * 1_000 * _MS))
    return Lease(
        name=draw(names()),
        holder_id=holder.holder_id,
        session=holder.session,
        fencing_token=draw(tokens()),
        ttl_ms=ttl_ms,
        acquired_at=acquired,
        renewed_at=renewed,
        expires_at=renewed + ttl_ms * _MS,
        clock_id=draw(_clock_ids),
        renewed_boot_ns=draw(instants()),
    )


@st.composite
def _lease_records(draw: st.DrawFn) -> LeaseRecord:
    lease = draw(_leases())
    name, token = lease.name, lease.fencing_token
    if draw(booleans):
        return LeaseRecord(name=name, fencing_token=token, lease=lease, freed_at_ns=None)
    return LeaseRecord(name=name, fencing_token=token, lease=None, freed_at_ns=draw(instants()))


@st.composite
def _waiter_records(draw: st.DrawFn) -> WaiterRecord:
    holder, ttl_ms, now_ns = draw(_holders), draw(counts(1, _MAX_TTL_MS)), draw(instants())
    return WaiterRecord(
        name=draw(names()),
        holder_id=holder.holder_id,
        session=holder.session,
        wait_ttl_ms=ttl_ms,
        clock_id=draw(_clock_ids),
        renewed_boot_ns=draw(instants()),
        expires_at_ns=now_ns + ttl_ms * _MS,
    )


@st.composite
def _lease_states(draw: st.DrawFn) -> LeaseState:
    waiters = tuple(draw(st.lists(holder_ids(), max_size=3)))
    if draw(booleans):
        return LeaseState(
            name=draw(names()),
            fencing_token=draw(counts()),
            lease=None,
            is_live=False,
            waiters=waiters,
        )
    lease = draw(_leases())
    return LeaseState(
        name=lease.name,
        fencing_token=lease.fencing_token,
        lease=lease,
        is_live=draw(booleans),
        waiters=waiters,
    )


@st.composite
def _busy(draw: st.DrawFn) -> Busy:
    is_held = draw(booleans)
    return Busy(
        name=draw(names()),
        holder=draw(holder_ids()) if is_held else None,
        expires=draw(instants()) if is_held else None,
        # Free and refused all the same: somebody is ahead.
        ahead=draw(counts(0 if is_held else 1, 1_000)),
        retry_in_s=draw(seconds(0.001, MAX_TTL_S)),
    )


@st.composite
def _leader_states(draw: st.DrawFn) -> LeaderState:
    role: Role = draw(st.sampled_from(get_args(Role)))
    leads = role == "leader"
    return LeaderState(
        name=draw(names()),
        role=role,
        epoch=draw(counts(1 if leads else 0)),
        leader=draw(holder_ids() if leads else st.none() | holder_ids()),
        since_ns=draw(instants()),
        reason=draw(any_text(max_size=60)),
    )


@st.composite
def _policies(draw: st.DrawFn) -> LeasePolicy:
    def share(most: float, least: float = 0.01) -> float:
        return draw(seconds(least, most))

    renew, tries, longest = share(0.6), draw(st.integers(1, 5)), share(0.05, 0.001)
    # What is left, shared among the tries: they end before the deadline.
    attempt = share(min(0.85, (0.88 - renew - (tries - 1) * longest) / tries))
    return LeasePolicy(
        renew_share=renew,
        attempt_share=attempt,
        tries=tries,
        pause_share=share(0.1, 0.001),
        pause_factor=share(10, 1),
        longest_pause_share=longest,
        acquire_share=share(min(0.85, 0.88 - attempt)),
        acquire_pause_s=share(60, 0.001),
        longest_acquire_pause_s=share(60, 0.001),
        longest_attempt_s=share(3_600, 0.001),
        jitter_share=share(0.5, 0),
    )


STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    Busy: _busy(),
    FloorRecord: st.builds(FloorRecord, fencing_token=counts()),
    Holder: _holders,
    LeaderState: _leader_states(),
    Lease: _leases(),
    LeaseCapabilities: st.builds(
        LeaseCapabilities,
        fair_queue=booleans,
        multi_host=booleans,
        survives_restart=booleans,
        failover_slack_s=seconds(0, 60),
    ),
    LeasePolicy: _policies(),
    LeaseRecord: _lease_records(),
    LeaseState: _lease_states(),
    NotHeld: st.builds(NotHeld, names(), tokens(), st.none() | holder_ids()),
    QueueRecord: st.builds(QueueRecord, name=names()),
    Released: st.builds(Released, names(), tokens()),
    WaiterRecord: _waiter_records(),
}
