"""Functions of numbers.

Source: DMN 1.5, 10.3.4.5.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal

from federlib.dmn.feel.builtins.declare import NUMBER, Kind, way
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.numbers import CONTEXT, MAX_SCALE, MIN_SCALE, ZERO, finite, round_to
from federlib.dmn.feel.temporal import Days, Months
from federlib.dmn.feel.values import Function, Value

__all__ = ["WAYS"]


def _rounding(name: str, mode: str) -> Callable[[Evaluation, Decimal, Decimal], Value]:
    def body(ev: Evaluation, number: Decimal, scale: Decimal = ZERO) -> Value:
        if not MIN_SCALE <= scale <= MAX_SCALE:
            return ev.fail(f"{name}: the scale is not within {MIN_SCALE} and {MAX_SCALE}")
        return finite(ev, round_to(number, int(scale), mode), name)

    return body


def _abs(_ev: Evaluation, value: Decimal | Days | Months) -> Value:
    if isinstance(value, Days):
        return Days(abs(value.ns))
    if isinstance(value, Months):
        return Months(abs(value.months))
    return value.copy_abs()


def _modulo(ev: Evaluation, dividend: Decimal, divisor: Decimal) -> Value:
    """Give the remainder with the sign of the divisor."""
    if not divisor:
        return ev.fail("modulo: the divisor is 0")
    rest = CONTEXT.remainder(dividend, divisor)
    if rest.is_nan():
        # More digits lie between the two than a number has: by the formula of the standard.
        quotient = CONTEXT.divide(dividend, divisor).to_integral_value(decimal.ROUND_FLOOR)
        return finite(ev, CONTEXT.subtract(dividend, CONTEXT.multiply(divisor, quotient)), "modulo")
    if rest and (rest < 0) != (divisor < 0):
        rest = CONTEXT.add(rest, divisor)
    return finite(ev, rest, "modulo")


def _sqrt(ev: Evaluation, number: Decimal) -> Value:
    return ev.fail("sqrt: of a negative number") if number < 0 else CONTEXT.sqrt(number)


def _log(ev: Evaluation, number: Decimal) -> Value:
    return ev.fail("log: of no positive number") if number <= 0 else CONTEXT.ln(number)


def _exp(ev: Evaluation, number: Decimal) -> Value:
    return finite(ev, CONTEXT.exp(number), "exp")


def _odd(ev: Evaluation, number: Decimal) -> Value:
    return _parity(ev, "odd", number, odd=True)


def _even(ev: Evaluation, number: Decimal) -> Value:
    return _parity(ev, "even", number, odd=False)


def _parity(ev: Evaluation, name: str, number: Decimal, *, odd: bool) -> Value:
    whole = number.to_integral_value()
    if whole != number:
        return ev.fail(f"{name}: takes an integer")
    # From 10 to the 34 on all are even; `%` would have no digits left.
    is_odd = whole.adjusted() < 34 and int(whole) % 2 == 1
    return is_odd is odd


_N = ("n", NUMBER)
_SCALE = ("scale", NUMBER)
_NUMBER = ("number", NUMBER)
_LENGTH = ("n", Kind("a number or duration", (Decimal, Days, Months)))


def _rounded(name: str, mode: str, *, has_default: bool = False) -> tuple[Function, ...]:
    body = _rounding(name, mode)
    both = way(name, [_N, _SCALE], body)
    return (way(name, [_N], body), both) if has_default else (both,)


WAYS: tuple[Function, ...] = (
    *_rounded("decimal", decimal.ROUND_HALF_EVEN),
    *_rounded("floor", decimal.ROUND_FLOOR, has_default=True),
    *_rounded("ceiling", decimal.ROUND_CEILING, has_default=True),
    *_rounded("round up", decimal.ROUND_UP),
    *_rounded("round down", decimal.ROUND_DOWN),
    *_rounded("round half up", decimal.ROUND_HALF_UP),
    *_rounded("round half down", decimal.ROUND_HALF_DOWN),
    way("abs", [_LENGTH], _abs),
    way("modulo", [("dividend", NUMBER), ("divisor", NUMBER)], _modulo),
    way("sqrt", [_NUMBER], _sqrt),
    way("log", [_NUMBER], _log),
    way("exp", [_NUMBER], _exp),
    way("odd", [_NUMBER], _odd),
    way("even", [_NUMBER], _even),
)
