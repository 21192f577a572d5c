"""The Gregorian calendar on plain integers, and what time zones say.

Python's `datetime` ends at the year 9999 and counts microseconds; FEEL has years to
999,999,999 on both sides and nanoseconds. The calendar repeats every 400 years to the day and
the weekday, so every year has a twin that `datetime.date` knows.

Source: DMN 1.5, 10.3.2.3.4 to 10.3.2.3.6.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

__all__ = [
    "DAY_NS",
    "DAY_S",
    "MAX_YEAR",
    "SECOND_NS",
    "day_number",
    "day_of",
    "is_day",
    "is_zone",
    "iso_week",
    "lacks_zones",
    "last_day",
    "offset_at",
    "offset_of_day",
    "standard_offset",
]

MAX_YEAR = 999_999_999
SECOND_NS = 1_000_000_000
DAY_S = 86_400
DAY_NS = DAY_S * SECOND_NS

_CYCLE_YEARS = 400
_CYCLE_DAYS = 146_097
_FIRST = date(_CYCLE_YEARS, 1, 1).toordinal()
_UNIX_DAY = 4 * _CYCLE_DAYS + date(_CYCLE_YEARS + 370, 1, 1).toordinal() - _FIRST
# Zones are asked about a twin that lies late enough for the rules that hold for ever, or early
# enough to lie before any rule.
_LATE_TWIN = 2 * _CYCLE_YEARS * 12  # 9600
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")
# In the system's folder of zones, but no names of the database.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})


def is_day(year: int, month: int, day: int) -> bool:
    """Say whether there is such a day."""
    if not (-MAX_YEAR <= year <= MAX_YEAR and 1 <= month <= 12):
        return False
    return 1 <= day <= last_day(year, month)


def last_day(year: int, month: int) -> int:
    """Give the number of days of a month."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in {4, 6, 9, 11} else 31


def day_number(year: int, month: int, day: int) -> int:
    """Count the days from 1970-01-01 to this one."""
    cycle, rest = divmod(year, _CYCLE_YEARS)
    twin = date(rest + _CYCLE_YEARS, month, day)
    return cycle * _CYCLE_DAYS + twin.toordinal() - _FIRST - _UNIX_DAY


def day_of(number: int) -> tuple[int, int, int]:
    """Give year, month and day of a number of days; the year may be beyond `MAX_YEAR`."""
    cycle, rest = divmod(number + _UNIX_DAY, _CYCLE_DAYS)
    twin = date.fromordinal(rest + _FIRST)
    return twin.year - _CYCLE_YEARS + cycle * _CYCLE_YEARS, twin.month, twin.day


def iso_week(year: int, month: int, day: int) -> int:
    """Give the number of the week in its year, by ISO 8601."""
    return date(year % _CYCLE_YEARS + _CYCLE_YEARS, month, day).isocalendar().week


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    if not _ZONE_NAME.fullmatch(name) or name in _NO_ZONES or name.startswith(("posix/", "right/")):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder is an OSError
        return None


def is_zone(name: str) -> bool:
    """Say whether the IANA database has a zone of this name."""
    return _zone(name) is not None


def lacks_zones() -> bool:
    """Say whether there is no database of zones: neither the system nor Python has one."""
    return _zone("Etc/UTC") is None


def offset_of_day(zone: str, number: int, second: int) -> int:
    """Give the offset of a zone at a local time; seconds east of Greenwich.

    A time that clocks jumped over counts by the offset before the jump, and one that they
    showed twice is the first of the two.

    Args:
        zone: A name for which `is_zone` holds.
        number: The local day, as `day_number` counts.
        second: Of the local day.
    """
    return _seconds(_local(number, second).replace(tzinfo=_zone(zone)).utcoffset())


def offset_at(zone: str, second: int) -> int:
    """Give the offset of a zone at an instant; seconds east of Greenwich.

    Args:
        zone: A name for which `is_zone` holds.
        second: Since 1970-01-01T00:00:00Z.
    """
    number, rest = divmod(second, DAY_S)
    return _seconds(_local(number, rest).replace(tzinfo=UTC).astimezone(_zone(zone)).utcoffset())


def standard_offset(zone: str) -> int:
    """Give the offset of a zone outside summer time; for a time of day that has no date."""
    winter = datetime(2024, 1, 1, tzinfo=_zone(zone))
    summer = datetime(2024, 7, 1, tzinfo=_zone(zone))
    return min(_seconds(winter.utcoffset()), _seconds(summer.utcoffset()))


def _local(number: int, second: int) -> datetime:
    year, month, day = day_of(number)
    if year > 9000:
        year = _LATE_TWIN + year % _CYCLE_YEARS - (_CYCLE_YEARS if year % _CYCLE_YEARS > 390 else 0)
    elif year < 10:
        year = year % _CYCLE_YEARS + _CYCLE_YEARS
    return datetime(year, month, day) + timedelta(seconds=second)  # noqa: DTZ001 (local)


def _seconds(offset: timedelta | None) -> int:
    # UTC is what a zone without an offset can only mean; the database has none such.
    return 0 if offset is None else offset.days * DAY_S + offset.seconds
