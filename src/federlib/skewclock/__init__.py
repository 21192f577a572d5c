"""Honest time: clocks with names, readings, and the skew that is allowed for.

    clock = SystemClock()
    tolerance = SkewTolerance()
    tolerance.lease_live(expires_at_ns=lease.expires_at, now_ns=clock.wall_ns())

Does not promise: that wall clocks agree. Tokens decide, clocks advise.
Hazards: a container's machine id is not believed (set `FEDERLIB_MACHINE_ID`); a suspended
machine stops the monotonic clock, which is why deadlines are kept on the boot clock.
"""

from __future__ import annotations

from federlib.skewclock.clock import Clock, ClockId, SystemClock
from federlib.skewclock.reading import ClockReading, read_clock, require_utc
from federlib.skewclock.tolerance import SKEW_TOLERANCE_ENV, SkewTolerance

__all__ = [
    "SKEW_TOLERANCE_ENV",
    "Clock",
    "ClockId",
    "ClockReading",
    "SkewTolerance",
    "SystemClock",
    "read_clock",
    "require_utc",
]
