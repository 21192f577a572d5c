"""Dates, times and durations of FEEL.

All on integers: `datetime` can hold neither the years nor the nanoseconds. Values compare by
`instant_s` and `local_s`, which count whole seconds as the standard does; `==` of Python tells
every difference that `is()` tells.

Source: DMN 1.5, 10.3.2.3.4 to 10.3.2.3.8, and the tables of properties in 10.3.2.15.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

import attrs

from federlib.dmn.feel.calendar import (
    DAY_NS,
    DAY_S,
    MAX_YEAR,
    SECOND_NS,
    day_number,
    day_of,
    is_day,
    is_zone,
    lacks_zones,
    last_day,
    offset_at,
    offset_of_day,
    standard_offset,
)
from federlib.dmn.feel.values import Range, Value
from federlib.errors import InvalidInput, MissingExtra

__all__ = [
    "MAX_OFFSET_S",
    "MIDNIGHT",
    "UTC_MIDNIGHT",
    "Date",
    "DateTime",
    "Days",
    "Months",
    "Time",
    "date_of_number",
    "date_time_at",
    "has_property",
    "property_of",
]

MAX_OFFSET_S = 14 * 3600
"""Of a time from UTC, on both sides (XML Schema Part 2)."""


@attrs.frozen(order=False)
class Date:
    """A day of the Gregorian calendar, reckoned backwards too; there is a year 0.

    Attributes:
        year: -999,999,999 to 999,999,999.
        month: 1 to 12.
        day: Of the month.
    Raises:
        InvalidInput: There is no such day.
    """

    year: int
    month: int
    day: int

    def __attrs_post_init__(self) -> None:
        if not is_day(self.year, self.month, self.day):
            raise InvalidInput(
                "date",
                expected=f"a day of the years -{MAX_YEAR:,} to {MAX_YEAR:,}",
                found=f"{self.year}-{self.month}-{self.day}",
            )

    @property
    def number(self) -> int:
        """Days since 1970-01-01."""
        return day_number(self.year, self.month, self.day)

    @property
    def weekday(self) -> int:
        """1 is Monday, 7 is Sunday."""
        return (self.number + 3) % 7 + 1

    def plus_months(self, months: int) -> Date | None:
        """Give the same day so many months on, or the last of a shorter month.

        Returns:
            The day, or None: its year is out of range.
        """
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        if not -MAX_YEAR <= year <= MAX_YEAR:
            return None
        return Date(year, month + 1, min(self.day, last_day(year, month + 1)))

    def __str__(self) -> str:
        sign = "-" if self.year < 0 else ""
        return f"{sign}{abs(self.year):04d}-{self.month:02d}-{self.day:02d}"


def date_of_number(number: int) -> Date | None:
    """Give the day that lies so many days after 1970-01-01, or None: its year is out of range."""
    # Python's integers have no end; only those that can be a day are worth the division.
    if abs(number) > 400_000_000_000:
        return None
    year, month, day = day_of(number)
    return Date(year, month, day) if -MAX_YEAR <= year <= MAX_YEAR else None


@attrs.frozen(order=False)
class Time:
    """A time of day: local, with an offset from UTC, or in a zone.

    Attributes:
        ns_of_day: Nanoseconds since midnight.
        offset_s: Seconds east of Greenwich. Beside a zone, which of two offsets is meant when
            clocks showed a time twice.
        zone: Its name in the IANA database.
    Raises:
        InvalidInput: A number is out of range, or there is no such zone.
        MissingExtra: No zone is known: the system has no database of them, nor is tzdata there.
    """

    ns_of_day: int
    offset_s: int | None = None
    zone: str | None = None

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.ns_of_day < DAY_NS:
            raise InvalidInput("time", expected="0 to 24 h, in ns", found=self.ns_of_day)
        if self.zone is not None:
            if not is_zone(self.zone):
                if lacks_zones():
                    raise MissingExtra("dmn", needed_for=f"the time zone {self.zone[:60]}")
                raise InvalidInput("zone", expected="a name of the IANA database", found=self.zone)
        elif self.offset_s is not None and not -MAX_OFFSET_S <= self.offset_s <= MAX_OFFSET_S:
            raise InvalidInput("offset", expected="-14 h to 14 h, in seconds", found=self.offset_s)

    @property
    def is_local(self) -> bool:
        """Whether it has neither an offset nor a zone."""
        return self.offset_s is None and self.zone is None

    @property
    def second_of_day(self) -> int:
        """Whole seconds since midnight, on the clock that shows it."""
        return self.ns_of_day // SECOND_NS

    @property
    def usual_offset_s(self) -> int | None:
        """The offset; of a zone, which has none without a date, that outside summer time."""
        return self.offset_s if self.zone is None else standard_offset(self.zone)

    def __str__(self) -> str:
        second, ns = divmod(self.ns_of_day, SECOND_NS)
        text = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        if ns:
            text += f".{ns:09d}".rstrip("0")
        if self.zone is not None:
            return f"{text}@{self.zone}"
        return text if self.offset_s is None else text + _offset_text(self.offset_s)


MIDNIGHT = Time(0)
UTC_MIDNIGHT = Time(0, 0)


def _offset_text(offset_s: int) -> str:
    if offset_s == 0:
        return "Z"
    size = abs(offset_s)
    text = f"{'-' if offset_s < 0 else '+'}{size // 3600:02d}:{size // 60 % 60:02d}"
    return f"{text}:{size % 60:02d}" if size % 60 else text


@attrs.frozen(order=False)
class DateTime:
    """A day and a time of it.

    Attributes:
        date: The day, where the clock that shows it is.
        time: The time of that day.
    """

    date: Date
    time: Time

    @property
    def local_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00 on the clock that shows it."""
        return self.date.number * DAY_NS + self.time.ns_of_day

    @property
    def offset_s(self) -> int | None:
        """Seconds east of Greenwich; None where it is local."""
        if self.time.offset_s is not None or self.time.zone is None:
            return self.time.offset_s
        return offset_of_day(self.time.zone, self.date.number, self.time.second_of_day)

    @property
    def instant_ns(self) -> int | None:
        """Nanoseconds since 1970-01-01T00:00:00Z; None where it is local."""
        offset = self.offset_s
        return None if offset is None else self.local_ns - offset * SECOND_NS

    def plus_ns(self, ns: int) -> DateTime | None:
        """Give the instant so much later, on the same kind of clock.

        Returns:
            The date and time, or None: its year is out of range.
        """
        if self.time.zone is None:
            number, ns_of_day = divmod(self.local_ns + ns, DAY_NS)
            day = date_of_number(number)
            return None if day is None else DateTime(day, Time(ns_of_day, self.time.offset_s))
        instant = self.instant_ns
        assert instant is not None
        return date_time_at(instant + ns, zone=self.time.zone)

    def __str__(self) -> str:
        return f"{self.date}T{self.time}"


def date_time_at(instant_ns: int, *, zone: str | None = None) -> DateTime | None:
    """Give an instant as the clocks of a zone show it.

    Args:
        instant_ns: Since 1970-01-01T00:00:00Z.
        zone: A name of the IANA database; None is UTC.
    Returns:
        The date and time, or None: its year is out of range.
    """
    second = instant_ns // SECOND_NS
    if date_of_number(second // DAY_S) is None:
        return None
    offset = 0 if zone is None else offset_at(zone, second)
    number, ns_of_day = divmod(instant_ns + offset * SECOND_NS, DAY_NS)
    day = date_of_number(number)
    if day is None:
        return None
    if zone is None:
        return DateTime(day, Time(ns_of_day, 0))
    shown = offset_of_day(zone, number, ns_of_day // SECOND_NS)
    # Only where a clock shows a time for the second time must the offset stand beside the zone.
    return DateTime(day, Time(ns_of_day, None if shown == offset else offset, zone))


@attrs.frozen(order=False)
class Days:
    """A days and time duration.

    Attributes:
        ns: Its length; nanoseconds.
    """

    ns: int

    def __str__(self) -> str:
        if self.ns == 0:
            return "PT0S"
        days, rest = divmod(abs(self.ns), DAY_NS)
        second, ns = divmod(rest, SECOND_NS)
        text = f"{'-' if self.ns < 0 else ''}P"
        if days:
            text += f"{days}D"
        if not rest:
            return text
        text += "T"
        if hours := second // 3600:
            text += f"{hours}H"
        if minutes := second // 60 % 60:
            text += f"{minutes}M"
        if second % 60 or ns:
            text += f"{second % 60}{f'.{ns:09d}'.rstrip('0') if ns else ''}S"
        return text


@attrs.frozen(order=False)
class Months:
    """A years and months duration.

    Attributes:
        months: Its length; months.
    """

    months: int

    def __str__(self) -> str:
        if self.months == 0:
            return "P0M"
        years, months = divmod(abs(self.months), 12)
        text = f"{'-' if self.months < 0 else ''}P"
        return text + (f"{years}Y" if years else "") + (f"{months}M" if months else "")


def property_of(value: Value, name: str) -> Value:
    """Give a property of a date, time, duration or range.

    Args:
        value: Any value.
        name: `year`, `time offset`, `start included` and so on.
    Returns:
        The property; None where it is null or the value has none of that name
        (`has_property` tells them apart).
    Source: DMN 1.5, 10.3.2.15, the list of properties per type.
    """
    get = _PROPERTIES.get(type(value), {}).get(name)
    return None if get is None else get(value)


def has_property(value: Value, name: str) -> bool:
    """Say whether a value has a property of this name, be it null."""
    return name in _PROPERTIES.get(type(value), {})


def _seconds(ns: int) -> Decimal:
    """Give seconds, with no more places than they need; no context takes part."""
    whole, rest = divmod(abs(ns), SECOND_NS)
    sign = "-" if ns < 0 else ""
    return Decimal(f"{sign}{whole}.{rest:09d}".rstrip("0") if rest else f"{sign}{whole}")


def _part(ns: int, unit_ns: int, size: int) -> Decimal:
    part = abs(ns) // unit_ns % size
    return Decimal(-part if ns < 0 else part)


def _offset(seconds: int | None) -> Days | None:
    return None if seconds is None else Days(seconds * SECOND_NS)


def _through(part: str, get: Callable[[Any], Value]) -> Callable[[Any], Value]:
    return lambda value: get(getattr(value, part))


_Properties: TypeAlias = "dict[str, Callable[[Any], Value]]"  # by type, which `Any` cannot say

_OF_DATE: _Properties = {
    "year": lambda v: Decimal(v.year),
    "month": lambda v: Decimal(v.month),
    "day": lambda v: Decimal(v.day),
    "weekday": lambda v: Decimal(v.weekday),
}
_OF_TIME: _Properties = {
    "hour": lambda v: Decimal(v.ns_of_day // (3600 * SECOND_NS)),
    "minute": lambda v: Decimal(v.ns_of_day // (60 * SECOND_NS) % 60),
    "second": lambda v: _seconds(v.ns_of_day % (60 * SECOND_NS)),
    "time offset": lambda v: _offset(v.usual_offset_s),
    "timezone": lambda v: v.zone,
}
_OF_DATE_TIME: _Properties = {
    **{name: _through("date", get) for name, get in _OF_DATE.items()},
    **{name: _through("time", get) for name, get in _OF_TIME.items()},
    "time offset": lambda v: _offset(v.offset_s),
}
_PROPERTIES: dict[type, _Properties] = {
    Date: _OF_DATE,
    Time: _OF_TIME,
    DateTime: _OF_DATE_TIME,
    Days: {
        "days": lambda v: Decimal(abs(v.ns) // DAY_NS * (-1 if v.ns < 0 else 1)),
        "hours": lambda v: _part(v.ns, 3600 * SECOND_NS, 24),
        "minutes": lambda v: _part(v.ns, 60 * SECOND_NS, 60),
        "seconds": lambda v: _seconds((-1 if v.ns < 0 else 1) * (abs(v.ns) % (60 * SECOND_NS))),
    },
    Months: {
        "years": lambda v: Decimal(abs(v.months) // 12 * (-1 if v.months < 0 else 1)),
        "months": lambda v: Decimal(abs(v.months) % 12 * (-1 if v.months < 0 else 1)),
    },
    Range: {
        "start": lambda v: v.low,
        "end": lambda v: v.high,
        "start included": lambda v: v.has_low,
        "end included": lambda v: v.has_high,
    },
}
