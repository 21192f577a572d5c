"""`ClockReading`: one reading of every clock, as ChronoWatch names its fields.

Source: ChronoWatch (ClockReading, NowResponse).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from federlib.errors import InvalidInput
from federlib.skewclock.hlc import HybridLogicalClock
from federlib.skewclock.timestamp import hlc_logical, hlc_physical_ns

__all__ = ["ClockReading", "read_clock", "require_utc"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ClockReading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading; the names and types are ChronoWatch's.

    Attributes:
        wall_unix_nanos: Unix nanoseconds, UTC.
        monotonic_nanos: Monotonic nanoseconds; only differences mean anything.
        hlc_physical_nanos: Physical part of the hybrid logical clock; Unix nanoseconds, in
            whole milliseconds.
        hlc_logical: Logical part of the hybrid logical clock; 0 to 65,535.
        tz: IANA name of the zone of `iso8601`.
        iso8601: The wall time in that zone, with its offset and microseconds.
        clock_id: Names the clock that was read: the same at every reading of it.
    """

    wall_unix_nanos: int
    monotonic_nanos: int
    hlc_physical_nanos: int
    hlc_logical: int
    tz: str
    iso8601: str
    clock_id: str


def read_clock(hlc: HybridLogicalClock, *, tz: str = "UTC") -> ClockReading:
    """Read a hybrid logical clock and all of the clock below it, at one moment.

    A reading is an event: its timestamp is above every one issued before.

    Raises:
        InvalidInput: No such time zone, or the wall clock is beyond every calendar.
        ClockBehind: The wall clock was set back by more than the clock's largest offset.
        Unavailable: The stored bound of `hlc` was not renewed in time.
    """
    zone = _zone(tz)
    clock = hlc.clock
    timestamp = hlc.now()
    wall_ns = clock.wall_ns()
    try:
        moment = (_EPOCH + timedelta(microseconds=wall_ns // 1_000)).astimezone(zone)
    except OverflowError:
        raise InvalidInput("wall_ns", expected="years 1 to 9999", found=wall_ns) from None
    return ClockReading(
        wall_unix_nanos=wall_ns,
        monotonic_nanos=clock.monotonic_ns(),
        hlc_physical_nanos=hlc_physical_ns(timestamp),
        hlc_logical=hlc_logical(timestamp),
        tz=tz,
        iso8601=moment.isoformat(timespec="microseconds"),
        clock_id=clock.clock_id,
    )


def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidInput("tz", expected="an IANA time zone name", found=tz) from None


def require_utc(moment: datetime) -> int:
    """Turn an aware datetime into Unix nanoseconds.

    Raises:
        InvalidInput: It is naive: nobody can say which instant it means.
    Source: A2.2 §2.2, UTC enforcement.
    """
    if not _is_aware(moment):
        raise InvalidInput("datetime", expected="one with a time zone", found=moment)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _is_aware(moment: object) -> bool:
    return isinstance(moment, datetime) and moment.utcoffset() is not None
