"""What runs over lists: `for`, `some`, `every` and filters.

Source: DMN 1.5, 10.3.2.5 (filters), 10.3.2.14 and table 59 (`for`, `some`, `every`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, cast

from federlib.dmn.feel import operators
from federlib.dmn.feel.evaluation import MAX_SIZE, Evaluation
from federlib.dmn.feel.numbers import to_int
from federlib.dmn.feel.temporal import Date, date_of_number
from federlib.dmn.feel.tree import Filter, For, Iteration, Name, Quantified
from federlib.dmn.feel.types import BOOLEAN, NUMBER
from federlib.dmn.feel.values import Range, Value

if TYPE_CHECKING:
    from federlib.dmn.feel.closures import Compiler

__all__ = ["Code", "Frame", "filtering", "iterating", "quantifying"]

Frame: TypeAlias = list[Value]
"""Place 0 holds the facts, which may be any mapping; the rest what the text itself names."""

Code: TypeAlias = Callable[[Evaluation, Frame], Value]
"""What a node became."""

_Round: TypeAlias = Callable[[Evaluation, Frame], bool]
"""What is done in one round of a loop; False ends all loops."""

_Source: TypeAlias = Callable[[Evaluation, Frame], Sequence[Value] | None]
"""What a loop runs over; None if that cannot be said."""


def iterating(compiler: Compiler, node: For) -> Code:
    """Make the closure of `for`."""
    sources = [_source(compiler, each) for each in node.iterations]
    places = [each.place for each in node.iterations]
    body, weight = compiler.weigh(node.body)
    partial = node.partial

    def once(ev: Evaluation, frame: Frame) -> bool:
        ev.spend(weight)
        results = cast("list[Value]", frame[partial])
        results.append(body(ev, frame))
        ev.check_size(len(results))
        return True

    run = _nested(sources, places, once)

    def code(ev: Evaluation, frame: Frame) -> Value:
        results: list[Value] = []
        frame[partial] = results
        return results if run(ev, frame) else None

    return code


def quantifying(compiler: Compiler, node: Quantified) -> Code:
    """Make the closure of `some` and `every`."""
    sources = [_source(compiler, each) for each in node.iterations]
    places = [each.place for each in node.iterations]
    condition, weight = compiler.weigh(node.condition)
    is_every = node.is_every
    join = operators.and_ if is_every else operators.or_

    def code(ev: Evaluation, frame: Frame) -> Value:
        result: bool | None = is_every

        def once(ev: Evaluation, frame: Frame) -> bool:
            nonlocal result
            ev.spend(weight)
            result = join(result, condition(ev, frame))
            return result is is_every or result is None

        if not _nested(sources, places, once)(ev, frame) and result is not (not is_every):
            return None  # Not decided by a round: something to run over was missing.
        return result

    return code


def _nested(sources: list[_Source], places: list[int], once: _Round) -> _Round:
    """Put loops into each other, the last innermost."""
    run = once
    for source, place in zip(reversed(sources), reversed(places), strict=True):
        run = _loop(source, place, run)
    return run


def _loop(source: _Source, place: int, inner: _Round) -> _Round:
    def run(ev: Evaluation, frame: Frame) -> bool:
        values = source(ev, frame)
        if values is None:
            return False
        for value in values:
            ev.spend()
            frame[place] = value
            if not inner(ev, frame):
                return False
        return True

    return run


def _source(compiler: Compiler, node: Iteration) -> _Source:
    first = compiler.code(node.source)
    if node.end is None:

        def over_value(ev: Evaluation, frame: Frame) -> Sequence[Value] | None:
            value = first(ev, frame)
            if isinstance(value, list):
                return value
            if isinstance(value, Range):
                return _members(ev, value)
            if value is None:
                return ev.fail("null cannot be run over")
            return [value]

        return over_value
    last = compiler.code(node.end)

    def over_ends(ev: Evaluation, frame: Frame) -> Sequence[Value] | None:
        return _between(ev, first(ev, frame), last(ev, frame))

    return over_ends


def _members(ev: Evaluation, value: Range) -> Sequence[Value] | None:
    """List the numbers or days of a range, which cannot run backwards."""
    if value.operator is not None or operators.compare(ev, value.low, value.high) == 1:
        return ev.fail("such a range cannot be run over")
    members = _between(ev, value.low, value.high)
    if members is None:
        return None
    return members[not value.has_low : len(members) - (not value.has_high)]


def _between(ev: Evaluation, first: Value, last: Value) -> Sequence[Value] | None:
    """List whole numbers or days from one to another, upwards or downwards."""
    if isinstance(first, Date) and isinstance(last, Date):
        days = _steps(ev, first.number, last.number)
        return [date_of_number(day) for day in days]
    if isinstance(first, Decimal) and isinstance(last, Decimal):
        low, high = (to_int(end, bound=_MAX_END) for end in (first, last))
        if low is not None and high is not None:
            return [Decimal(number) for number in _steps(ev, low, high)]
    names = f"{operators.kind_of(first)} to {operators.kind_of(last)}"
    return ev.fail(f"from {names} there are no steps of one")


# Beyond that, adding one does not make another number of 34 digits.
_MAX_END = 10**34


def _steps(ev: Evaluation, first: int, last: int) -> range:
    ev.check_size(abs(last - first) + 1)
    ev.spend(abs(last - first) + 1)
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)


def filtering(compiler: Compiler, node: Filter) -> Code:
    """Make the closure of a filter."""
    place = node.item
    is_partial = isinstance(node.source, Name) and node.source.is_partial
    if is_partial:
        # Nothing but elements of it gets out, so it need not be copied.
        at = cast("Name", node.source).place
        source: Code = lambda ev, frame: frame[at]  # noqa: E731 (a closure like its neighbours)
    else:
        source = compiler.code(node.source)
    condition, weight = compiler.weigh(node.condition)
    if node.condition.type == NUMBER:

        def pick(ev: Evaluation, frame: Frame) -> Value:
            elements = _as_list(source(ev, frame))
            frame[place] = None  # A number that picks is not about the element.
            return _pick(ev, elements, condition(ev, frame))

        return pick
    is_boolean = node.condition.type == BOOLEAN

    def code(ev: Evaluation, frame: Frame) -> Value:
        elements = _as_list(source(ev, frame))
        if elements is None:
            return ev.fail("null cannot be filtered")
        if not elements and not is_boolean:
            # A number that is not said to be one still picks, and gives null.
            frame[place] = None
            aside = Evaluation(ev.now_ns, ev.steps)
            chosen = condition(aside, frame)
            ev.spend(ev.steps - aside.steps)
            return _pick(ev, elements, chosen) if isinstance(chosen, Decimal) else []
        kept: list[Value] = []
        for number, element in enumerate(elements):
            ev.spend(1 + weight)
            frame[place] = element
            chosen = condition(ev, frame)
            if chosen is True:
                kept.append(element)
            elif number == 0 and isinstance(chosen, Decimal):
                return _pick(ev, elements, chosen)
            elif chosen is not False and chosen is not None:
                return ev.fail("a filter is neither a boolean nor the number of an element")
        return kept

    return code


def _as_list(value: Value) -> list[Value] | None:
    if isinstance(value, list):
        return value
    return None if value is None else [value]


def _pick(ev: Evaluation, elements: list[Value] | None, number: Value) -> Value:
    """Give the element of a number, from 1; from the end if it is negative."""
    if elements is None or number is None:
        what = "null cannot be filtered" if elements is None else "null is no number of an element"
        return ev.fail(what)
    index = to_int(number, bound=MAX_SIZE + 1) if isinstance(number, Decimal) else None
    if index is None:
        return ev.fail("the number of an element is no whole number")
    if index == 0 or abs(index) > len(elements):
        return ev.fail(f"a list of {len(elements)} has no element {index}")
    return elements[index - 1 if index > 0 else index]
