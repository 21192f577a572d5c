"""Functions that reckon with lists of numbers.

Source: DMN 1.5, 10.3.4.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from federlib.dmn.feel.builtins.declare import ANY, LIST, way
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.numbers import CONTEXT, ZERO, finite
from federlib.dmn.feel.values import Function, Value

__all__ = ["WAYS"]


def _sum(values: list[Decimal]) -> Decimal:
    total = ZERO
    for each in values:
        total = CONTEXT.add(total, each)
    return total


def _mean(values: list[Decimal]) -> Decimal:
    return CONTEXT.divide(_sum(values), Decimal(len(values)))


def _product(values: list[Decimal]) -> Decimal:
    result = Decimal(1)
    for each in values:
        result = CONTEXT.multiply(result, each)
    return result


def _median(values: list[Decimal]) -> Decimal:
    ordered, half = sorted(values), len(values) // 2
    if len(values) % 2:
        return ordered[half]
    return _mean(ordered[half - 1 : half + 1])


def _stddev(values: list[Decimal]) -> Decimal | None:
    """Give the standard deviation of a sample, of which one number says nothing."""
    if len(values) < 2:
        return None
    middle = _mean(values)
    apart = [CONTEXT.subtract(each, middle) for each in values]
    squares = _sum([CONTEXT.multiply(each, each) for each in apart])
    return CONTEXT.sqrt(CONTEXT.divide(squares, Decimal(len(values) - 1)))


def _mode(values: list[Decimal]) -> list[Value]:
    counts = Counter(values)
    most = max(counts.values(), default=0)
    return [*sorted(value for value, count in counts.items() if count == most)]


def _of_numbers(
    name: str,
    reckon: Callable[[list[Decimal]], Decimal | list[Value] | None],
    *,
    of_none: Value = None,
) -> tuple[Function, Function]:
    """Make the two ways of such a function: with a list, and with its numbers."""

    def body(ev: Evaluation, values: list[Value]) -> Value:
        ev.spend(len(values))
        numbers = [each for each in values if isinstance(each, Decimal)]
        if len(numbers) < len(values):
            return ev.fail(f"{name}: takes numbers")
        if not numbers:
            return of_none
        result = reckon(numbers)
        if result is None:
            return ev.fail(f"{name}: too few numbers")
        return finite(ev, result, name) if isinstance(result, Decimal) else result

    return (
        way(name, [("list", LIST)], body),
        way(name, [("n1, ..., nN", ANY)], body, is_variadic=True),
    )


WAYS: tuple[Function, ...] = (
    *_of_numbers("sum", _sum),
    *_of_numbers("mean", _mean),
    *_of_numbers("product", _product),
    *_of_numbers("median", _median),
    *_of_numbers("stddev", _stddev),
    *_of_numbers("mode", _mode, of_none=[]),
)
