"""Honest time: clocks with names, readings, and the skew that is allowed for.

    clock = SystemClock()
    tolerance = SkewTolerance()
    tolerance.lease_live(expires_at_ns=lease.expires_at, now_ns=clock.wall_ns())

    hlc = HybridLogicalClock(clock)
    hlc.observe(message.sent)  # or TimestampTooFarAhead
    reply = hlc_text(hlc.now())

Does not promise: that wall clocks agree. Tokens decide, clocks advise.
Hazards: a container's machine id is not believed (set `FEDERLIB_MACHINE_ID`); a suspended
machine stops the monotonic clock, which is why deadlines are kept on the boot clock. A wall
clock that ran ahead takes the hybrid logical clock with it: set right again, by more than
the largest offset, it must catch up before a timestamp is issued again.
"""

from __future__ import annotations

from federlib.skewclock.bound import BoundStore, FileBound
from federlib.skewclock.clock import Clock, ClockId, SystemClock
from federlib.skewclock.hlc import HybridLogicalClock
from federlib.skewclock.incidents import HLC_INCIDENTS, HlcCounts
from federlib.skewclock.keeper import keep_bound
from federlib.skewclock.lamport import LamportClock
from federlib.skewclock.reading import ClockReading, read_clock, require_utc
from federlib.skewclock.stamps import UNSTAMPED, Stamps
from federlib.skewclock.timestamp import (
    HlcTimestamp,
    StoredHlc,
    check_hlc,
    hlc_bytes,
    hlc_from_bytes,
    hlc_from_text,
    hlc_logical,
    hlc_physical_ns,
    hlc_text,
    hlc_timestamp,
)
from federlib.skewclock.tolerance import SKEW_TOLERANCE_ENV, SkewTolerance

__all__ = [
    "HLC_INCIDENTS",
    "SKEW_TOLERANCE_ENV",
    "UNSTAMPED",
    "BoundStore",
    "Clock",
    "ClockId",
    "ClockReading",
    "FileBound",
    "HlcCounts",
    "HlcTimestamp",
    "HybridLogicalClock",
    "LamportClock",
    "SkewTolerance",
    "Stamps",
    "StoredHlc",
    "SystemClock",
    "check_hlc",
    "hlc_bytes",
    "hlc_from_bytes",
    "hlc_from_text",
    "hlc_logical",
    "hlc_physical_ns",
    "hlc_text",
    "hlc_timestamp",
    "keep_bound",
    "read_clock",
    "require_utc",
]
