"""Functions that convert, and `not`.

Source: DMN 1.5, 10.3.4.1 and 10.3.4.2.
"""

from __future__ import annotations

from decimal import Decimal

from federlib.dmn.feel.builtins.declare import (
    ANY,
    DATE,
    MAYBE_DAYS,
    MAYBE_STRING,
    NUMBER,
    STRING,
    TIME,
    Kind,
    way,
)
from federlib.dmn.feel.builtins.text import text
from federlib.dmn.feel.calendar import MAX_YEAR, SECOND_NS, is_day
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.lexical import (
    parse_date,
    parse_date_time,
    parse_duration,
    parse_time,
    zone_hint,
)
from federlib.dmn.feel.numbers import CONTEXT, parse_number, to_int
from federlib.dmn.feel.operators import not_
from federlib.dmn.feel.temporal import (
    MAX_OFFSET_S,
    UTC_MIDNIGHT,
    Date,
    DateTime,
    Days,
    Months,
    Time,
)
from federlib.dmn.feel.values import Function, Value

__all__ = ["WAYS"]

_SECOND = Decimal(SECOND_NS)
_DATE_FROM = Kind("a string, date, or date and time", (str, Date, DateTime))
_TIME_FROM = Kind("a string, time, date, or date and time", (str, Time, Date, DateTime))


def _date_from(ev: Evaluation, value: str | Date | DateTime) -> Value:
    if isinstance(value, Date):
        return value
    if isinstance(value, DateTime):
        return value.date
    return parse_date(value) or ev.fail(f"date: not the text of a date: {value[:60]}")


def _date_of(ev: Evaluation, year: Decimal, month: Decimal, day: Decimal) -> Value:
    parts = [to_int(each, bound=MAX_YEAR) for each in (year, month, day)]
    y, m, d = parts
    if y is None or m is None or d is None or not is_day(y, m, d):
        return ev.fail("date: there is no such day")
    return Date(y, m, d)


def _date_and_time_from(ev: Evaluation, value: str | Date | DateTime) -> Value:
    if isinstance(value, DateTime):
        return value
    if isinstance(value, Date):
        return DateTime(value, UTC_MIDNIGHT)
    return parse_date_time(value) or ev.fail(
        f"date and time: not the text of a date and time: {value[:60]}{zone_hint(value)}"
    )


def _date_and_time_of(_ev: Evaluation, date: Date | DateTime, time: Time) -> Value:
    return DateTime(date.date if isinstance(date, DateTime) else date, time)


def _time_from(ev: Evaluation, value: str | Time | Date | DateTime) -> Value:
    if isinstance(value, Time):
        return value
    if isinstance(value, DateTime):
        return value.time
    if isinstance(value, Date):
        return UTC_MIDNIGHT
    return parse_time(value) or ev.fail(
        f"time: not the text of a time: {value[:60]}{zone_hint(value)}"
    )


def _time_of(
    ev: Evaluation, hour: Decimal, minute: Decimal, second: Decimal, offset: Days | None
) -> Value:
    h, m = to_int(hour, bound=23), to_int(minute, bound=59)
    if h is None or m is None or h < 0 or m < 0 or not 0 <= second < 60:
        return ev.fail("time: there is no such time")
    ns = (h * 3600 + m * 60) * SECOND_NS + int(CONTEXT.multiply(second, _SECOND))
    if offset is None:
        return Time(ns)
    offset_s, rest = divmod(offset.ns, SECOND_NS)
    if rest or not -MAX_OFFSET_S <= offset_s <= MAX_OFFSET_S:
        return ev.fail("time: the offset is not within 14 hours, in whole seconds")
    return Time(ns, offset_s)


def _number(ev: Evaluation, value: str, grouping: str | None, point: str | None) -> Value:
    if grouping not in {" ", ",", ".", None} or point not in {".", ",", None}:
        return ev.fail("number: separators are a space, a comma or a point")
    if grouping is not None and grouping == point:
        return ev.fail("number: the separators are the same")
    plain = value if grouping is None else value.replace(grouping, "")
    if point == ",":
        plain = plain.replace(",", ".")
    number = parse_number(plain)
    return ev.fail(f"number: not the text of a number: {value[:60]}") if number is None else number


def _string(ev: Evaluation, value: Value) -> Value:
    return ev.fail("string: null has no text") if value is None else text(ev, value)


def _duration(ev: Evaluation, value: str | Days | Months) -> Value:
    if not isinstance(value, str):
        return value
    found = parse_duration(value)
    return ev.fail(f"duration: not the text of one: {value[:60]}") if found is None else found


def _years_and_months(_ev: Evaluation, start: Date | DateTime, end: Date | DateTime) -> Value:
    """Count whole months between the days; times of day do not count."""
    a = start.date if isinstance(start, DateTime) else start
    b = end.date if isinstance(end, DateTime) else end
    months = (b.year - a.year) * 12 + b.month - a.month
    if months > 0 and b.day < a.day:
        months -= 1
    elif months < 0 and b.day > a.day:
        months += 1
    return Months(months)


def _not(ev: Evaluation, value: Value) -> Value:
    return not_(value) if isinstance(value, bool) else ev.fail("not: takes a boolean")


_SEPARATORS = [("grouping separator", MAYBE_STRING), ("decimal separator", MAYBE_STRING)]

WAYS: tuple[Function, ...] = (
    way("date", [("from", _DATE_FROM)], _date_from),
    way("date", [("year", NUMBER), ("month", NUMBER), ("day", NUMBER)], _date_of),
    way("date and time", [("from", _DATE_FROM)], _date_and_time_from),
    way("date and time", [("date", DATE), ("time", TIME)], _date_and_time_of),
    way("time", [("from", _TIME_FROM)], _time_from),
    way(
        "time",
        [("hour", NUMBER), ("minute", NUMBER), ("second", NUMBER), ("offset", MAYBE_DAYS)],
        _time_of,
        optional=1,
    ),
    way("number", [("from", STRING), *_SEPARATORS], _number),
    way("string", [("from", ANY)], _string),
    way("duration", [("from", Kind("a string", (str, Days, Months)))], _duration),
    way("years and months duration", [("from", DATE), ("to", DATE)], _years_and_months),
    way("not", [("negand", ANY)], _not),
)
