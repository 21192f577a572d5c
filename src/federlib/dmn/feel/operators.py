"""What the operators of FEEL mean, over all its types.

Null, and what the tables of the standard do not list, give null and a problem. Times compare
by whole seconds, as `value` counts them in the standard; a local time takes the offset of the
one it is compared with.

Source: DMN 1.5, 10.3.2.15 (tables of equality, comparison and arithmetic).
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from federlib.dmn.feel import numbers
from federlib.dmn.feel.calendar import DAY_NS, SECOND_NS
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.temporal import (
    UTC_MIDNIGHT,
    Date,
    DateTime,
    Days,
    Months,
    Time,
    date_of_number,
)
from federlib.dmn.feel.values import Function, Overloads, Range, Value

__all__ = [
    "add",
    "and_",
    "compare",
    "divide",
    "equal",
    "is_in",
    "kind_of",
    "multiply",
    "negate",
    "not_",
    "or_",
    "power",
    "same",
    "subtract",
]

_MAX_DEPTH = 200
_LONG = 1000
# What is built may be kept: all steps together build no more than some 64 MB of text.
_KEPT = 64
# Beyond this a duration cannot be added to any date; it also bounds the digits that are kept.
_MAX_DURATION = 10**40

_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    Decimal: "number",
    str: "string",
    Date: "date",
    Time: "time",
    DateTime: "date and time",
    Days: "days and time duration",
    Months: "years and months duration",
    list: "list",
    dict: "context",
    Range: "range",
    Function: "function",
    Overloads: "function",
}


def kind_of(value: Value) -> str:
    """Name the type of a value as the standard does, without what a list or context holds."""
    return _KINDS[type(value)]


def equal(ev: Evaluation, a: Value, b: Value) -> bool | None:
    """Say whether `a = b`.

    Returns:
        True or False; None and a problem: they are of different types. Null equals null only.
    """
    result = same(ev, a, b)
    if result is None:
        return ev.fail(f"{kind_of(a)} and {kind_of(b)} cannot be equal or not")
    return result


def same(ev: Evaluation, a: Value, b: Value, *, depth: int = 0) -> bool | None:
    """Say what `equal` says, without noting a problem."""
    if a is None or b is None:
        return a is b
    kind = type(a)
    if kind is not type(b):
        both_functions = isinstance(a, Function | Overloads) and isinstance(b, Function | Overloads)
        return False if both_functions else None
    if kind is str:
        _spend_on(ev, a)
    elif kind is list or kind is dict:
        if depth > _MAX_DEPTH:
            raise Exhausted(f"values nested deeper than {_MAX_DEPTH}")
        return _all_same(ev, a, b, depth + 1)
    if isinstance(a, Time) and isinstance(b, Time):
        return _order_times(a, b) == 0
    if isinstance(a, DateTime) and isinstance(b, DateTime):
        return _order_date_times(a, b) == 0
    if isinstance(a, Range) and isinstance(b, Range):
        if (a.has_low, a.has_high, a.operator) != (b.has_low, b.has_high, b.operator):
            return False
        return _all_same(ev, [a.low, a.high], [b.low, b.high], depth + 1)
    return a == b


def _spend_on(ev: Evaluation, text: Value) -> None:
    """Take steps for reading a long string; short ones cost no more than any value."""
    if isinstance(text, str) and len(text) > _LONG:
        ev.spend(len(text) // _LONG)


def _all_same(ev: Evaluation, a: Value, b: Value, depth: int) -> bool | None:
    result: bool | None = True
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return False
        pairs = zip(a, b, strict=True)
    else:
        assert isinstance(a, dict)
        assert isinstance(b, dict)
        if a.keys() != b.keys():
            return False
        pairs = zip(a.values(), [b[key] for key in a], strict=True)
    for one, other in pairs:
        ev.spend()
        outcome = same(ev, one, other, depth=depth)
        if outcome is False:
            return False
        if outcome is None:
            result = None
    return result


def compare(ev: Evaluation, a: Value, b: Value) -> int | None:
    """Order two values.

    Returns:
        -1, 0 or 1 for less, equal and more; None and a problem: they have no order. That is
        so for values of different types, and for any but numbers, strings, dates, times and
        durations.
    """
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return (a > b) - (a < b)
    if isinstance(a, str) and isinstance(b, str):
        _spend_on(ev, a)
        return (a > b) - (a < b)
    if isinstance(a, Date) and isinstance(b, Date):
        return _sign((a.year, a.month, a.day), (b.year, b.month, b.day))
    if isinstance(a, DateTime) and isinstance(b, DateTime):
        return _order_date_times(a, b)
    if isinstance(a, Time) and isinstance(b, Time):
        return _order_times(a, b)
    if isinstance(a, Days) and isinstance(b, Days):
        return (a.ns > b.ns) - (a.ns < b.ns)
    if isinstance(a, Months) and isinstance(b, Months):
        return (a.months > b.months) - (a.months < b.months)
    return ev.fail(f"{kind_of(a)} and {kind_of(b)} have no order")


def _sign(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return (a > b) - (a < b)


def _order_times(a: Time, b: Time) -> int:
    one, other = a.second_of_day, b.second_of_day
    if not (a.is_local or b.is_local or (a.zone == b.zone and a.offset_s == b.offset_s)):
        one -= a.usual_offset_s or 0
        other -= b.usual_offset_s or 0
    return (one > other) - (one < other)


def _order_date_times(a: DateTime, b: DateTime) -> int:
    first, second = a.instant_ns, b.instant_ns
    if first is None or second is None:
        first, second = a.local_ns, b.local_ns
    one, other = first // SECOND_NS, second // SECOND_NS
    return (one > other) - (one < other)


def and_(a: Value, b: Value) -> bool | None:
    """Give `a and b`: false if either is, else null unless both are true."""
    if a is False or b is False:
        return False
    return True if a is True and b is True else None


def or_(a: Value, b: Value) -> bool | None:
    """Give `a or b`: true if either is, else null unless both are false."""
    if a is True or b is True:
        return True
    return False if a is False and b is False else None


def not_(a: Value) -> bool | None:
    """Give `not(a)`: null for whatever is no boolean."""
    return not a if isinstance(a, bool) else None


def add(ev: Evaluation, a: Value, b: Value) -> Value:
    """Give `a + b`."""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return numbers.add(ev, a, b)
    if isinstance(a, str) and isinstance(b, str):
        size = len(a) + len(b)
        if size > _LONG:
            ev.check_size(size)
            ev.spend(size // _KEPT)
        return a + b
    if isinstance(a, Days | Months) and not isinstance(b, Days | Months):
        a, b = b, a
    return _shift(ev, a, b, 1)


def subtract(ev: Evaluation, a: Value, b: Value) -> Value:
    """Give `a - b`."""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return numbers.subtract(ev, a, b)
    if isinstance(a, Date | DateTime) and isinstance(b, Date | DateTime):
        return _between(ev, a, b)
    if isinstance(a, Time) and isinstance(b, Time):
        return Days(a.ns_of_day - b.ns_of_day - _apart_ns(a, b))
    return _shift(ev, a, b, -1)


def _apart_ns(a: Time, b: Time) -> int:
    """Say how much of a difference of clock times is due to their offsets."""
    if a.is_local or b.is_local or a.zone == b.zone is not None:
        return 0
    return ((a.usual_offset_s or 0) - (b.usual_offset_s or 0)) * SECOND_NS


def _between(ev: Evaluation, a: Date | DateTime, b: Date | DateTime) -> Days | None:
    if isinstance(a, Date) and isinstance(b, Date):
        return Days((a.number - b.number) * DAY_NS)
    # A date stands for its midnight in UTC.
    one = DateTime(a, UTC_MIDNIGHT) if isinstance(a, Date) else a
    other = DateTime(b, UTC_MIDNIGHT) if isinstance(b, Date) else b
    first, second = one.instant_ns, other.instant_ns
    if first is not None and second is not None:
        return Days(first - second)
    if first is None and second is None:
        return Days(one.local_ns - other.local_ns)
    return ev.fail("a difference between a local date and time and one with an offset")


def _shift(ev: Evaluation, a: Value, b: Value, sign: int) -> Value:
    """Give `a` moved by the duration `b`, forwards or back."""
    moved: Value = None
    if isinstance(b, Days):
        if abs(b.ns) > _MAX_DURATION:
            return ev.fail("a duration out of range")
        if isinstance(a, Days):
            return _days(ev, a.ns + sign * b.ns)
        if isinstance(a, Time):
            return Time((a.ns_of_day + sign * b.ns) % DAY_NS, a.offset_s, a.zone)
        if isinstance(a, Date):
            moved = date_of_number(a.number + sign * b.ns // DAY_NS)
        elif isinstance(a, DateTime):
            moved = a.plus_ns(sign * b.ns)
        else:
            return ev.fail(_no_sum(a, b, sign))
    elif isinstance(b, Months):
        if isinstance(a, Months):
            return _months(ev, a.months + sign * b.months)
        if isinstance(a, Date):
            moved = a.plus_months(sign * b.months)
        elif isinstance(a, DateTime):
            day = a.date.plus_months(sign * b.months)
            moved = None if day is None else DateTime(day, Time(a.time.ns_of_day, *_clock(a.time)))
        else:
            return ev.fail(_no_sum(a, b, sign))
    else:
        return ev.fail(_no_sum(a, b, sign))
    return ev.fail("a date out of range") if moved is None else moved


def _clock(time: Time) -> tuple[int | None, str | None]:
    # Which of two offsets a zone had on one day says nothing about another.
    return (None, time.zone) if time.zone is not None else (time.offset_s, None)


def _no_sum(a: Value, b: Value, sign: int) -> str:
    return f"{kind_of(a)} and {kind_of(b)} have no {'sum' if sign > 0 else 'difference'}"


def multiply(ev: Evaluation, a: Value, b: Value) -> Value:
    """Give `a * b`; durations drop what is less than a month or nanosecond."""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return numbers.multiply(ev, a, b)
    if isinstance(a, Decimal):
        a, b = b, a
    if isinstance(b, Decimal) and isinstance(a, Days | Months):
        return _scaled(ev, a, numbers.multiply(ev, _length(a), b))
    return ev.fail(f"{kind_of(a)} and {kind_of(b)} have no product")


def divide(ev: Evaluation, a: Value, b: Value) -> Value:
    """Give `a / b`; durations drop what is less than a month or nanosecond."""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return numbers.divide(ev, a, b)
    if isinstance(b, Decimal) and isinstance(a, Days | Months):
        return _scaled(ev, a, numbers.divide(ev, _length(a), b))
    if isinstance(a, Days) and isinstance(b, Days):
        return numbers.divide(ev, _length(a), _length(b))
    if isinstance(a, Months) and isinstance(b, Months):
        return numbers.divide(ev, _length(a), _length(b))
    return ev.fail(f"{kind_of(a)} and {kind_of(b)} have no quotient")


def _length(duration: Days | Months) -> Decimal:
    return Decimal(duration.ns if isinstance(duration, Days) else duration.months)


def _scaled(ev: Evaluation, duration: Days | Months, length: Decimal | None) -> Value:
    if length is None:
        return None
    if length.copy_abs() > _MAX_DURATION:
        return ev.fail("a duration out of range")
    whole = int(length.to_integral_value(rounding=ROUND_DOWN))
    return Days(whole) if isinstance(duration, Days) else Months(whole)


def _days(ev: Evaluation, ns: int) -> Days | None:
    return Days(ns) if abs(ns) <= _MAX_DURATION else ev.fail("a duration out of range")


def _months(ev: Evaluation, months: int) -> Months | None:
    return Months(months) if abs(months) <= _MAX_DURATION else ev.fail("a duration out of range")


def power(ev: Evaluation, a: Value, b: Value) -> Value:
    """Give `a ** b`."""
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return numbers.power(ev, a, b)
    return ev.fail(f"{kind_of(a)} has no power of {kind_of(b)}")


def negate(ev: Evaluation, a: Value) -> Value:
    """Give `-a`, of a number or a duration."""
    if isinstance(a, Decimal):
        return numbers.subtract(ev, numbers.ZERO, a)
    if isinstance(a, Days):
        return Days(-a.ns)
    if isinstance(a, Months):
        return Months(-a.months)
    return ev.fail(f"{kind_of(a)} has no negative")


def is_in(ev: Evaluation, value: Value, test: Value) -> bool | None:
    """Say whether `value in test`.

    Args:
        ev: The evaluation.
        value: Any value.
        test: A range; or a list of values and ranges, of which one must hold; or a value.
    Returns:
        True or False; None where a range cannot be compared with the value, or the two
        are of different types.
    """
    if isinstance(test, Range):
        return _is_within(ev, value, test)
    if not isinstance(test, list):
        return equal(ev, value, test)
    result: bool | None = False
    for each in test:
        ev.spend()
        if isinstance(each, Range) and not isinstance(value, Range):
            outcome = _is_within(ev, value, each)
            if outcome is None:
                result = None
        else:
            # As `list contains`: what cannot be equal is not in the list.
            outcome = same(ev, value, each)
        if outcome is True:
            return True
    if isinstance(value, list) and same(ev, value, test) is True:
        return True
    return result


def _is_within(ev: Evaluation, value: Value, test: Range) -> bool | None:
    if test.operator == "=":
        return equal(ev, value, test.low)
    if test.operator == "!=":
        return not_(equal(ev, value, test.low))
    if isinstance(value, Range):
        return equal(ev, value, test)
    if test.operator is None:
        low, high = compare(ev, value, test.low), compare(ev, value, test.high)
    elif test.operator in {"<", "<="}:
        low, high = 1, compare(ev, value, test.high)
    else:
        low, high = compare(ev, value, test.low), -1
    if low is None or high is None:
        return None
    return (low > 0 or (low == 0 and test.has_low)) and (high < 0 or (high == 0 and test.has_high))
