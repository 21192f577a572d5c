"""Functions of dates, `is`, and the clock.

Source: DMN 1.5, 10.3.4.6, 10.3.4.8 and 10.3.4.11.
"""

from __future__ import annotations

from decimal import Decimal

from federlib.dmn.feel.builtins.declare import ANY, DATE, way
from federlib.dmn.feel.calendar import day_number, iso_week
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.temporal import Date, DateTime, date_time_at
from federlib.dmn.feel.values import Function, Overloads, Value

__all__ = ["WAYS"]

_MAX_DEPTH = 200
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _date(value: Date | DateTime) -> Date:
    return value.date if isinstance(value, DateTime) else value


def _day_of_year(_ev: Evaluation, value: Date | DateTime) -> Value:
    date = _date(value)
    return Decimal(date.number - day_number(date.year, 1, 1) + 1)


def _day_of_week(_ev: Evaluation, value: Date | DateTime) -> Value:
    return _DAYS[_date(value).weekday - 1]


def _month_of_year(_ev: Evaluation, value: Date | DateTime) -> Value:
    return _MONTHS[_date(value).month - 1]


def _week_of_year(_ev: Evaluation, value: Date | DateTime) -> Value:
    date = _date(value)
    return Decimal(iso_week(date.year, date.month, date.day))


def _is(ev: Evaluation, a: Value, b: Value, depth: int = 0) -> Value:
    """Say whether two values are the same element of the domain.

    Stricter than `=`: `23:00:50Z` is another time than `00:00:50+01:00`. Never null.
    """
    ev.spend()
    if depth > _MAX_DEPTH:
        raise Exhausted(f"values nested deeper than {_MAX_DEPTH}")
    if type(a) is not type(b):
        return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_is(ev, x, y, depth + 1) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_is(ev, a[key], b[key], depth + 1) for key in a)
    if isinstance(a, Function | Overloads):
        return a is b
    return a == b


def _now(ev: Evaluation) -> Value:
    if ev.now_ns is None:
        return ev.fail("now: this evaluation has no clock")
    return date_time_at(ev.now_ns) or ev.fail("now: the clock is out of range")


def _today(ev: Evaluation) -> Value:
    if ev.now_ns is None:
        return ev.fail("today: this evaluation has no clock")
    now = date_time_at(ev.now_ns)
    return ev.fail("today: the clock is out of range") if now is None else now.date


_DATE = [("date", DATE)]

WAYS: tuple[Function, ...] = (
    way("is", [("value1", ANY), ("value2", ANY)], _is),
    way("day of year", _DATE, _day_of_year),
    way("day of week", _DATE, _day_of_week),
    way("month of year", _DATE, _month_of_year),
    way("week of year", _DATE, _week_of_year),
    way("now", [], _now),
    way("today", [], _today),
)
