"""Between Python's values and those of FEEL, and one spelling of each for hashes.

`canonical` gives the same bytes for 1, 1.0 and 1e0 and for any order of keys, and different
ones for values of different types: `"1"` is not 1, and a date is not its text.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import TypeVar
from zoneinfo import ZoneInfo

from federlib.dmn.feel.calendar import SECOND_NS
from federlib.dmn.feel.evaluation import MAX_SIZE
from federlib.dmn.feel.numbers import CONTEXT, number_text
from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
from federlib.dmn.feel.values import Function, Overloads, Range, Value
from federlib.errors import InvalidInput

__all__ = ["canonical", "from_python", "to_python"]

_MAX_DEPTH = 100
_US_NS = 1000
_DAY_US = 86_400_000_000

_T = TypeVar("_T")


def from_python(value: object, *, where: str = "value") -> Value:
    """Make a value of FEEL from one of Python.

    Integers and floats become decimals, a float by its shortest spelling. Dates, times and
    `timedelta` become what they are; a time zone that has a key keeps its name, any other its
    offset. Mappings become contexts, other sequences lists. Values of FEEL stay what they are.

    Args:
        value: Any of these.
        where: What it is called in errors; a path grows from it.
    Raises:
        InvalidInput: NaN, infinity, a number of more than 34 digits before the point, a key
            that is no string, nesting deeper than 100, more than a million elements or entries,
            more of them than its length says, or a type that FEEL has not.
    """
    return _from(value, where, 0)


def _from(value: object, where: str, depth: int) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a string of an enumeration becomes a plain one
    if isinstance(value, int):
        # Not the integer itself in the error: Python does not write out ones of that length.
        found = f"an integer of {value.bit_length():,} bits"
        return _number(CONTEXT.create_decimal(value), found, where)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(where, expected="a finite number", found=value)
        return Decimal(repr(value))
    if isinstance(value, Decimal):
        return _number(CONTEXT.create_decimal(value), value, where)
    if isinstance(value, Date | Time | DateTime | Days | Months | Range | Function | Overloads):
        return value
    temporal = _from_datetime(value)
    if temporal is not None:
        return temporal
    return _from_collection(value, where, depth)


def _number(number: Decimal, found: object, where: str) -> Decimal:
    if not number.is_finite():
        raise InvalidInput(where, expected="a finite number below 10**6145", found=found)
    return number


def _from_datetime(value: object) -> Date | Time | DateTime | Days | None:
    if isinstance(value, dt.datetime):  # a date too, so it comes first
        return DateTime(Date(value.year, value.month, value.day), _time(value))
    if isinstance(value, dt.date):
        return Date(value.year, value.month, value.day)
    if isinstance(value, dt.time):
        return _time(value)
    if isinstance(value, dt.timedelta):
        return Days(value // dt.timedelta(microseconds=1) * _US_NS)
    return None


def _time(value: dt.datetime | dt.time) -> Time:
    seconds = value.hour * 3600 + value.minute * 60 + value.second
    ns = seconds * SECOND_NS + value.microsecond * _US_NS
    offset = value.utcoffset()
    offset_s = None if offset is None else offset // dt.timedelta(seconds=1)
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        # Beside the zone the offset says which of two equal times is meant.
        return Time(ns, offset_s if value.fold else None, value.tzinfo.key)
    return Time(ns, offset_s)


def _from_collection(value: object, where: str, depth: int) -> Value:
    if depth > _MAX_DEPTH:
        raise InvalidInput(where, expected=f"at most {_MAX_DEPTH} levels", found="more")
    if isinstance(value, Mapping):
        context: dict[str, Value] = {}
        for key, each in _counted(value, value.items(), where):
            if not isinstance(key, str):
                raise InvalidInput(where, expected="keys that are strings", found=key)
            context[key] = _from(each, f"{where}.{key}", depth + 1)
        return context
    is_sequence = isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)
    if not is_sequence or isinstance(value, memoryview):
        raise InvalidInput(
            where,
            expected="a number, string, boolean, date, time, duration, sequence or mapping",
            found=type(value).__name__,
        )
    assert isinstance(value, Sequence)
    items = _counted(value, value, where)
    return [_from(each, f"{where}[{position}]", depth + 1) for position, each in enumerate(items)]


def _counted(value: Collection[object], elements: Iterable[_T], where: str) -> list[_T]:
    """Take as many as there are said to be: a class of anybody's may go on for ever."""
    size = len(value)
    if size > MAX_SIZE:
        raise InvalidInput(where, expected=f"at most {MAX_SIZE:,} elements", found=size)
    found = list(islice(elements, size + 1))
    if len(found) > size:
        raise InvalidInput(where, expected=f"{size:,} elements, as its length says", found="more")
    return found


def to_python(value: Value) -> object:
    """Give a value of FEEL as one that Python has, where it has one without loss.

    Numbers become `int` or, with places behind the point, `float` if that spells the same,
    else they stay `Decimal`. Dates and times become those of `datetime`, durations of days
    `timedelta`. What Python cannot hold (years beyond 9999, nanoseconds, months, ranges,
    functions) stays the value of FEEL.

    Raises:
        InvalidInput: It is nested deeper than 100.
    """
    return _plain(value, 0)


def _plain(value: Value, depth: int) -> object:
    if depth > _MAX_DEPTH:
        raise InvalidInput("value", expected=f"at most {_MAX_DEPTH} levels", found="more")
    if isinstance(value, Decimal):
        return _plain_number(value)
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, Date):
        return _plain_date(value) or value
    if isinstance(value, Time):
        return _plain_time(value) or value
    if isinstance(value, DateTime):
        date, time = _plain_date(value.date), _plain_time(value.time)
        if date is None or time is None:
            return value
        return dt.datetime.combine(date, time)
    if isinstance(value, Days):
        microseconds, rest = divmod(value.ns, _US_NS)
        if rest or abs(microseconds) >= 999_999_999 * _DAY_US:
            return value
        return dt.timedelta(microseconds=microseconds)
    return value


def _plain_number(value: Decimal) -> int | float | Decimal:
    # Beyond 34 digits an integer would show digits that are not known.
    if value.adjusted() < 34 and value == value.to_integral_value():
        return int(value)
    near = float(value)
    return near if math.isfinite(near) and Decimal(repr(near)) == value else value


def _plain_date(value: Date) -> dt.date | None:
    if not dt.MINYEAR <= value.year <= dt.MAXYEAR:
        return None
    return dt.date(value.year, value.month, value.day)


def _plain_time(value: Time) -> dt.time | None:
    microseconds, rest = divmod(value.ns_of_day, _US_NS)
    if rest:
        return None
    zone: dt.tzinfo | None = None
    if value.zone is not None:
        zone = ZoneInfo(value.zone)
    elif value.offset_s is not None:
        zone = dt.timezone(dt.timedelta(seconds=value.offset_s))
    second, microsecond = divmod(microseconds, 1_000_000)
    fold = 1 if value.zone is not None and value.offset_s is not None else 0
    return dt.time(second // 3600, second // 60 % 60, second % 60, microsecond, zone, fold=fold)


def canonical(value: Value) -> bytes:
    """Spell a value in exactly one way, as JSON.

    Numbers are JSON numbers without exponent or needless zeros, strings and booleans
    themselves, contexts are sorted by key. What JSON has not is an array of a name and its
    text, and a list is an array that begins with `"list"`, so that none can be taken for another.

    Raises:
        InvalidInput: It holds a function, or is nested deeper than 100.
    """
    parts: list[str] = []
    _spell(value, parts, 0)
    return "".join(parts).encode()


def _spell(value: Value, parts: list[str], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidInput("value", expected=f"at most {_MAX_DEPTH} levels", found="more")
    if value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, Decimal):
        parts.append(_number_spelling(value))
    elif isinstance(value, str):
        parts.append(_quoted(value))
    elif isinstance(value, list):
        parts.append('["list"')
        for each in value:
            parts.append(",")
            _spell(each, parts, depth + 1)
        parts.append("]")
    elif isinstance(value, dict):
        for position, key in enumerate(sorted(value)):
            parts.append(f"{',' if position else '{'}{_quoted(key)}:")
            _spell(value[key], parts, depth + 1)
        parts.append("}" if value else "{}")
    elif isinstance(value, Range):
        inside = f'"{value.operator or ""}",{_truth(value.has_low)},{_truth(value.has_high)},'
        parts.append(f'["range",{inside}')
        _spell(value.low, parts, depth + 1)
        parts.append(",")
        _spell(value.high, parts, depth + 1)
        parts.append("]")
    elif isinstance(value, Function | Overloads):
        raise InvalidInput("value", expected="data", found=f"the function {value.name}")
    else:
        parts.append(f'["{_NAMES[type(value)]}","{value}"]')


_NAMES: dict[type, str] = {
    Date: "date",
    Time: "time",
    DateTime: "date and time",
    Days: "days",
    Months: "months",
}


def _truth(value: bool) -> str:  # noqa: FBT001 (spells one)
    return "true" if value else "false"


def _number_spelling(value: Decimal) -> str:
    if not value:
        return "0"
    plain = CONTEXT.normalize(value)
    # Written out up to a length that anybody reads; beyond, digits and exponent are unique too.
    if -40 < plain.adjusted() < 40:
        return number_text(plain)
    sign, digits, exponent = plain.as_tuple()
    return f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}"


_CONTROLS = {ord(each): f"\\u{ord(each):04x}" for each in map(chr, range(32))}
_CONTROLS |= {ord('"'): '\\"', ord("\\"): "\\\\"}
# A lone surrogate cannot be encoded; escaped it can.
_CONTROLS |= {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}


def _quoted(text: str) -> str:
    return f'"{text.translate(_CONTROLS)}"'
