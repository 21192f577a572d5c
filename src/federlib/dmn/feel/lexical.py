"""Dates, times and durations from text.

Source: DMN 1.5, 10.3.4.1, which takes the lexical spaces of XML Schema Part 2, and adds zones.
"""

from __future__ import annotations

import re

from federlib.dmn.feel.calendar import SECOND_NS, is_day, is_zone, lacks_zones
from federlib.dmn.feel.temporal import (
    MAX_OFFSET_S,
    MIDNIGHT,
    Date,
    DateTime,
    Days,
    Months,
    Time,
    date_of_number,
)
from federlib.errors import MissingExtra

__all__ = [
    "parse_date",
    "parse_date_time",
    "parse_duration",
    "parse_temporal",
    "parse_time",
    "zone_hint",
]

# Years of more than four digits do not begin with a zero; ten digits are out of range.
_DATE = r"(?P<year>-?(?:[1-9][0-9]{4,8}|[0-9]{4}))-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
# A small 'z' is no XML Schema, but the examples of the standard write it.
_OFFSET = r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)"
_TIME = (
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    rf"(?:{_OFFSET}|@(?P<zone>[A-Za-z0-9_+/-]+))?"
)
_ONE_DATE = re.compile(rf"{_DATE}{_OFFSET}?")
_ONE_TIME = re.compile(_TIME)
_DATE_TIME = re.compile(rf"{_DATE}T{_TIME}")
_DAYS = re.compile(
    r"(?P<sign>-?)P(?=[0-9T])(?:(?P<days>[0-9]+)D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]+)H)?(?:(?P<minutes>[0-9]+)M)?"
    r"(?:(?P<seconds>[0-9]+)(?:\.(?P<fraction>[0-9]+))?S)?)?"
)
_MONTHS = re.compile(r"(?P<sign>-?)P(?=[0-9])(?:(?P<years>[0-9]+)Y)?(?:(?P<months>[0-9]+)M)?")
# Nothing of use is longer, and Python's `int` refuses some thousand digits.
_MAX_TEXT = 200


def parse_date(text: str) -> Date | None:
    """Read a date; an offset behind it is allowed and says nothing."""
    found = _match(_ONE_DATE, text)
    return None if found is None or _offset(found) is False else _date(found)


def parse_time(text: str) -> Time | None:
    """Read a time of day; `24:00:00` is the midnight that begins the day."""
    found = _match(_ONE_TIME, text)
    read = None if found is None else _time(found)
    return None if read is None else read[0]


def parse_date_time(text: str) -> DateTime | None:
    """Read a date and time; a date alone is its midnight, and `24:00:00` that of the next day."""
    found = _match(_ONE_DATE, text)
    if found is not None:
        date, offset = _date(found), _offset(found)
        if date is None or offset is False:
            return None
        return DateTime(date, MIDNIGHT if offset is None else Time(0, offset))
    found = _match(_DATE_TIME, text)
    date, read = (None, None) if found is None else (_date(found), _time(found))
    if date is None or read is None:
        return None
    time, is_next = read
    if is_next:
        date = date_of_number(date.number + 1)
    return None if date is None else DateTime(date, time)


def parse_duration(text: str) -> Days | Months | None:
    """Read a duration: of days and smaller, or of years and months."""
    found = _match(_DAYS, text)
    if found is not None:
        hours = _whole(found, "days") * 24 + _whole(found, "hours")
        seconds = (hours * 60 + _whole(found, "minutes")) * 60 + _whole(found, "seconds")
        ns = seconds * SECOND_NS + _nanoseconds(found["fraction"])
        return Days(-ns if found["sign"] else ns)
    found = _match(_MONTHS, text)
    if found is None:
        return None
    months = _whole(found, "years") * 12 + _whole(found, "months")
    return Months(-months if found["sign"] else months)


def parse_temporal(text: str) -> Date | Time | DateTime | Days | Months | None:
    """Read what may stand in `@"..."`."""
    if text.startswith(("P", "-P")):
        return parse_duration(text)
    if ":" in text[:3]:
        return parse_time(text)  # first, since zones have a T too
    return parse_date_time(text) if "T" in text else parse_date(text)


def zone_hint(text: str) -> str:
    """Give what to add to an error where a text could not be read for want of all time zones."""
    if "@" not in text or not lacks_zones():
        return ""
    return f" ({MissingExtra('dmn', needed_for='a time zone')})"


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return pattern.fullmatch(text) if len(text) <= _MAX_TEXT else None


def _whole(found: re.Match[str], name: str) -> int:
    return int(found[name] or 0)


def _nanoseconds(fraction: str | None) -> int:
    return int((fraction or "0").ljust(9, "0")[:9])


def _date(found: re.Match[str]) -> Date | None:
    year, month, day = int(found["year"]), int(found["month"]), int(found["day"])
    return Date(year, month, day) if is_day(year, month, day) else None


def _time(found: re.Match[str]) -> tuple[Time, bool] | None:
    """Give the time, and whether it belongs to the next day."""
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    ns = _nanoseconds(found["fraction"])
    is_next = hour == 24 and minute == second == ns == 0
    zone, offset = found["zone"], _offset(found)
    if (hour > 23 and not is_next) or minute > 59 or second > 59 or offset is False:
        return None
    if zone is not None and not is_zone(zone):
        return None
    of_day = 0 if is_next else (hour * 3600 + minute * 60 + second) * SECOND_NS + ns
    return Time(of_day, offset, zone), is_next


def _offset(found: re.Match[str]) -> int | bool | None:
    """Give the offset in seconds, None where there is none, False where it cannot be."""
    text = found["offset"]
    if text is None:
        return None
    if text in {"Z", "z"}:
        return 0
    hours, minutes, seconds = int(text[1:3]), int(text[4:6]), int(text[7:9] or 0)
    size = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or size > MAX_OFFSET_S:
        return False
    return -size if text[0] == "-" else size
