"""Leases with fencing tokens: one holder at a time, and a number that proves it.

    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    async with hold(backend, "nightly-report", holder_id="w1", clock=clock, ttl_s=15) as lease:
        for row in rows:
            lease.check()
            await upload(row, fence=lease.token)

Does not promise: that a holder notices its loss before it acts. A stopped process wakes up
believing; only a resource that refuses tokens below the highest it has seen is safe.
Hazards: a body that never awaits is never cancelled, and its lease is not renewed either;
a forked child has no lease; tokens restart if the store is replaced by an older copy, unless
its floor is raised (`StoreLeaseBackend.raise_floor`).
"""

from __future__ import annotations

from federlib.lease.backends.store import StoreLeaseBackend
from federlib.lease.environment import LEASE_BACKEND_ENV, from_env, lease_url
from federlib.lease.hold import Sessions, hold, try_acquire
from federlib.lease.holding import OnLoss
from federlib.lease.keeper import HeldLease
from federlib.lease.policy import LeasePolicy
from federlib.lease.protocol import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    LeaseState,
    NotHeld,
    Released,
)
from federlib.lease.settings import DEFAULT_TTL_S, LEASE_TTL_ENV, lease_ttl_s
from federlib.lease.urls import from_url

__all__ = [
    "DEFAULT_TTL_S",
    "LEASE_BACKEND_ENV",
    "LEASE_TTL_ENV",
    "Busy",
    "HeldLease",
    "Holder",
    "Lease",
    "LeaseBackend",
    "LeaseCapabilities",
    "LeasePolicy",
    "LeaseState",
    "NotHeld",
    "OnLoss",
    "Released",
    "Sessions",
    "StoreLeaseBackend",
    "from_env",
    "from_url",
    "hold",
    "lease_ttl_s",
    "lease_url",
    "try_acquire",
]
