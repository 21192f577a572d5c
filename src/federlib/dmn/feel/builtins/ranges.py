"""How points and ranges lie to each other, and `range`.

All of them come down to four questions about ends, so that `overlaps after` is `overlaps
before` the other way round.

Source: DMN 1.5, 10.3.4.7 (after HL7 CQL); `range` from the conversions in 10.3.4.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from federlib.dmn.feel.builtins.declare import RANGE, STRING, Kind, way
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.lexical import (
    parse_date,
    parse_date_time,
    parse_duration,
    parse_temporal,
    parse_time,
    zone_hint,
)
from federlib.dmn.feel.numbers import parse_number
from federlib.dmn.feel.operators import compare, equal, kind_of
from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
from federlib.dmn.feel.values import Function, Range, Value

__all__ = ["WAYS"]

_POINTS = (Decimal, str, Date, Time, DateTime, Days, Months)
_POINT = Kind("a number, string, date, time or duration", _POINTS)
_EITHER = Kind("a point or range", (*_POINTS, Range))


class _NoOrder(Exception):  # noqa: N818 (never leaves this module)
    pass


def _order(ev: Evaluation, a: Value, b: Value) -> int:
    result = compare(ev, a, b)
    if result is None:
        raise _NoOrder
    return result


def _low(each: Range) -> bool:
    """Say whether a range has a lower end; one written as two ends must."""
    return each.operator not in {"<", "<=", "!="}


def _high(each: Range) -> bool:
    return each.operator not in {">", ">=", "!="}


def _starts_first(ev: Evaluation, a: Range, b: Range) -> bool:
    """Say whether a starts before b or with it."""
    if not _low(a):
        return True
    if not _low(b):
        return False
    order = _order(ev, a.low, b.low)
    return order < 0 or (order == 0 and (a.has_low or not b.has_low))


def _ends_last(ev: Evaluation, a: Range, b: Range) -> bool:
    """Say whether a ends after b or with it."""
    if not _high(a):
        return True
    if not _high(b):
        return False
    order = _order(ev, a.high, b.high)
    return order > 0 or (order == 0 and (a.has_high or not b.has_high))


def _reaches(ev: Evaluation, a: Range, b: Range) -> bool:
    """Say whether a goes on at least to where b starts, and both have that point."""
    if not _high(a) or not _low(b):
        return True
    order = _order(ev, a.high, b.low)
    return order > 0 or (order == 0 and a.has_high and b.has_low)


def _same_low(ev: Evaluation, a: Range, b: Range) -> bool:
    if not _low(a) or not _low(b):
        return _low(a) == _low(b)
    return a.has_low == b.has_low and _order(ev, a.low, b.low) == 0


def _same_high(ev: Evaluation, a: Range, b: Range) -> bool:
    if not _high(a) or not _high(b):
        return _high(a) == _high(b)
    return a.has_high == b.has_high and _order(ev, a.high, b.high) == 0


def _before(ev: Evaluation, a: Range, b: Range) -> bool:
    return not _reaches(ev, a, b)


def _after(ev: Evaluation, a: Range, b: Range) -> bool:
    return not _reaches(ev, b, a)


def _meets(ev: Evaluation, a: Range, b: Range) -> bool:
    if not (_high(a) and _low(b) and a.has_high and b.has_low):
        return False
    return _order(ev, a.high, b.low) == 0


def _met_by(ev: Evaluation, a: Range, b: Range) -> bool:
    return _meets(ev, b, a)


def _overlaps(ev: Evaluation, a: Range, b: Range) -> bool:
    return _reaches(ev, a, b) and _reaches(ev, b, a)


def _overlaps_before(ev: Evaluation, a: Range, b: Range) -> bool:
    return not _starts_first(ev, b, a) and _reaches(ev, a, b) and _ends_last(ev, b, a)


def _overlaps_after(ev: Evaluation, a: Range, b: Range) -> bool:
    return _overlaps_before(ev, b, a)


def _finishes(ev: Evaluation, a: Range, b: Range) -> bool:
    return _same_high(ev, a, b) and _starts_first(ev, b, a)


def _finished_by(ev: Evaluation, a: Range, b: Range) -> bool:
    return _finishes(ev, b, a)


def _includes(ev: Evaluation, a: Range, b: Range) -> bool:
    return _starts_first(ev, a, b) and _ends_last(ev, a, b)


def _during(ev: Evaluation, a: Range, b: Range) -> bool:
    return _includes(ev, b, a)


def _starts(ev: Evaluation, a: Range, b: Range) -> bool:
    return _same_low(ev, a, b) and _ends_last(ev, b, a)


def _started_by(ev: Evaluation, a: Range, b: Range) -> bool:
    return _starts(ev, b, a)


def _coincides(ev: Evaluation, a: Range, b: Range) -> bool:
    return _same_low(ev, a, b) and _same_high(ev, a, b)


def _point_starts(ev: Evaluation, point: Value, each: Range) -> bool:
    return each.has_low and _low(each) and _order(ev, point, each.low) == 0


def _point_finishes(ev: Evaluation, point: Value, each: Range) -> bool:
    return each.has_high and _high(each) and _order(ev, point, each.high) == 0


_Relation = Callable[[Evaluation, Range, Range], bool]


def _as_range(value: Value) -> Range:
    return value if isinstance(value, Range) else Range(value, value, has_low=True, has_high=True)


def _relation(name: str, relation: _Relation) -> Callable[[Evaluation, Value, Value], Value]:
    """Make the body of a relation; a point is the range that has only it."""

    def body(ev: Evaluation, a: Value, b: Value) -> Value:
        try:
            return relation(ev, _as_range(a), _as_range(b))
        except _NoOrder:
            return ev.fail(f"{name}: {kind_of(a)} and {kind_of(b)} cannot be compared")

    return body


def _with_point(
    name: str, of_point: Callable[[Evaluation, Value, Range], bool], relation: _Relation
) -> Callable[[Evaluation, Value, Value], Value]:
    """As `_relation`, where a point has a rule of its own and two points none."""

    def body(ev: Evaluation, a: Value, b: Value) -> Value:
        try:
            if isinstance(a, Range) and isinstance(b, Range):
                return relation(ev, a, b)
            point, range_ = (b, a) if isinstance(a, Range) else (a, b)
            assert isinstance(range_, Range)
            return of_point(ev, point, range_)
        except _NoOrder:
            return ev.fail(f"{name}: {kind_of(a)} and {kind_of(b)} cannot be compared")

    return body


def _coincide(ev: Evaluation, a: Value, b: Value) -> Value:
    if not isinstance(a, Range) and not isinstance(b, Range):
        return equal(ev, a, b)
    if isinstance(a, Range) and isinstance(b, Range):
        return _relation("coincides", _coincides)(ev, a, b)
    return ev.fail("coincides: takes two points or two ranges")


def _ways(
    name: str, body: Callable[[Evaluation, Value, Value], Value], *names: str
) -> list[Function]:
    """Make the ways of a relation; in order the first takes both points and ranges.

    Args:
        name: Of the function.
        body: Takes the evaluation and two points or ranges.
        names: Two for each way, parted by a space: `point range`.
    """
    points = {"point", "point1", "point2"}
    kinds = [
        [(each, _POINT if each in points else RANGE) for each in pair.split()] for pair in names
    ]
    any_two = [
        (first, kind if all(each[at][1] is kind for each in kinds) else _EITHER)
        for at, (first, kind) in enumerate(kinds[0])
    ]
    return [way(name, any_two, body), *(way(name, each, body) for each in kinds[1:])]


_LITERAL = re.compile(
    r"(?P<number>-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+))"
    r'|(?P<make>@|date and time|date|time|duration)?\s*(?P<open>\()?\s*"(?P<text>(?:[^"\\]|\\.)*)"'
    r"\s*(?P<close>\))?"
)
_MAKERS: dict[str, Callable[[str], Value]] = {
    "@": parse_temporal,
    "date": parse_date,
    "time": parse_time,
    "date and time": parse_date_time,
    "duration": parse_duration,
}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{6}|.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\"}
_MAX_TEXT = 10_000


def _endpoint(text: str) -> Value:
    """Read an end of a range: a literal, or one of the four functions of a literal."""
    found = _LITERAL.fullmatch(text.strip())
    if found is None:
        return None
    if found["number"] is not None:
        return parse_number(found["number"])
    make, inner = found["make"], _ESCAPE.sub(_unescaped, found["text"])
    has_parentheses = found["open"] is not None
    if has_parentheses != (found["close"] is not None):
        return None
    if has_parentheses != (make not in {None, "@"}):
        return None
    return inner if make is None else _MAKERS[make](inner)


def _unescaped(found: re.Match[str]) -> str:
    letter = found[1]
    if letter[0] in "uU" and len(letter) > 1:
        code = int(letter[1:], 16)
        return chr(code) if code <= 0x10FFFF else found[0]
    return _ESCAPES.get(letter, found[0])


_RANGE = re.compile(r"\s*(?P<low>[\[(\]])(?P<inner>.*)(?P<high>[\])\[])\s*", re.DOTALL)
# What stands before the two dots has its quotes closed.
_ENDS = re.compile(r'(?P<low>(?:[^".]|\.(?!\.)|"(?:[^"\\]|\\.)*")*)\.\.(?P<high>.*)', re.DOTALL)


def _range(ev: Evaluation, text: str) -> Value:
    found = _RANGE.fullmatch(text) if len(text) <= _MAX_TEXT else None
    ends = None if found is None else _ENDS.fullmatch(found["inner"])
    if found is None or ends is None:
        return ev.fail(f"range: not the text of a range: {text[:60]}")
    low, high = _endpoint(ends["low"]), _endpoint(ends["high"])
    if low is None or high is None:
        return ev.fail(f"range: an end that is no literal: {text[:60]}{zone_hint(text)}")
    order = compare(ev, low, high)
    if order is None or order > 0:
        return ev.fail("range: the ends are not in order")
    return Range(low, high, has_low=found["low"] == "[", has_high=found["high"] == "]")


_ALL = ("point1 point2", "point range", "range point", "range1 range2")
_RANGES = "range1 range2"

WAYS: tuple[Function, ...] = (
    *_ways("before", _relation("before", _before), *_ALL),
    *_ways("after", _relation("after", _after), *_ALL),
    *_ways("meets", _relation("meets", _meets), _RANGES),
    *_ways("met by", _relation("met by", _met_by), _RANGES),
    *_ways("overlaps", _relation("overlaps", _overlaps), _RANGES),
    *_ways("overlaps before", _relation("overlaps before", _overlaps_before), _RANGES),
    *_ways("overlaps after", _relation("overlaps after", _overlaps_after), _RANGES),
    *_ways("finishes", _with_point("finishes", _point_finishes, _finishes), "point range", _RANGES),
    *_ways(
        "finished by",
        _with_point("finished by", _point_finishes, _finished_by),
        "range point",
        _RANGES,
    ),
    *_ways("includes", _relation("includes", _includes), "range point", _RANGES),
    *_ways("during", _relation("during", _during), "point range", _RANGES),
    *_ways("starts", _with_point("starts", _point_starts, _starts), "point range", _RANGES),
    *_ways(
        "started by",
        _with_point("started by", _point_starts, _started_by),
        "range point",
        _RANGES,
    ),
    *_ways("coincides", _coincide, "point1 point2", _RANGES),
    way("range", [("from", STRING)], _range),
)
