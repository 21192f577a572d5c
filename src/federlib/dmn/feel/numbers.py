"""Numbers of FEEL: 34 decimal digits, half to even, always finite.

The context is our own and traps nothing: nobody else's settings count, and what overflows or
is no number comes back as a value that is not finite, which `finite` turns into null.

Source: DMN 1.5, 10.3.2.3.1 and the tables of arithmetic in 10.3.2.15; IEEE 754-2008 decimal128.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

from federlib.dmn.feel.evaluation import Evaluation

__all__ = [
    "CONTEXT",
    "MAX_EXPONENT",
    "MAX_SCALE",
    "MIN_SCALE",
    "ONE",
    "ZERO",
    "add",
    "divide",
    "finite",
    "is_whole",
    "multiply",
    "number_text",
    "parse_number",
    "power",
    "round_to",
    "subtract",
    "to_int",
]

CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN, Emin=-6143, Emax=6144, clamp=1, traps=[])
"""Of decimal128. Its flags mean nothing: threads share them."""

MIN_SCALE = -6111
MAX_SCALE = 6176
MAX_EXPONENT = 999_999_999
"""Of `**`, on both sides of zero."""

ZERO = Decimal(0)
ONE = Decimal(1)

# Longer texts are refused before they cost: nothing beyond 34 digits is kept anyway.
_MAX_TEXT = 10_000
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def parse_number(text: str) -> Decimal | None:
    """Read a numeric literal.

    Args:
        text: Digits with at most one point, perhaps a sign before and an exponent behind.
    Returns:
        The number, rounded to 34 digits; None: it is no literal, or too large.
    """
    if len(text) > _MAX_TEXT or not _NUMBER.fullmatch(text):
        return None
    value = CONTEXT.create_decimal(text)
    return value if value.is_finite() else None


def number_text(value: Decimal) -> str:
    """Write a number without an exponent; a zero has no sign."""
    text = format(value, "f")
    return text[1:] if value.is_zero() and text[0] == "-" else text


def finite(ev: Evaluation, value: Decimal, what: str) -> Decimal | None:
    """Pass a result on, or fail: it is too large or no number."""
    if value.is_finite():
        return value
    return ev.fail(f"{what} gives no number of 34 digits")


def add(ev: Evaluation, a: Decimal, b: Decimal) -> Decimal | None:
    """Add two numbers; fails where the sum is too large."""
    return finite(ev, CONTEXT.add(a, b), "addition")


def subtract(ev: Evaluation, a: Decimal, b: Decimal) -> Decimal | None:
    """Subtract a number from another; fails where the difference is too large."""
    return finite(ev, CONTEXT.subtract(a, b), "subtraction")


def multiply(ev: Evaluation, a: Decimal, b: Decimal) -> Decimal | None:
    """Multiply two numbers; fails where the product is too large."""
    return finite(ev, CONTEXT.multiply(a, b), "multiplication")


def divide(ev: Evaluation, a: Decimal, b: Decimal) -> Decimal | None:
    """Divide a number by another; fails for a divisor of 0 and where it is too large."""
    if not b:
        return ev.fail("division by zero")
    return finite(ev, CONTEXT.divide(a, b), "division")


def power(ev: Evaluation, a: Decimal, b: Decimal) -> Decimal | None:
    """Raise a number to a power.

    Fails where the result is too large or not real, for 0 with a negative power, and for
    powers beyond `MAX_EXPONENT`. 0 to the power of 0 is 1, as it is for decimal128 in Java.
    """
    if not -MAX_EXPONENT <= b <= MAX_EXPONENT:
        return ev.fail(f"a power beyond {MAX_EXPONENT:,}")
    if not b:
        return ONE
    if not a and b < 0:
        return ev.fail("0 to a negative power")
    return finite(ev, CONTEXT.power(a, b), "exponentiation")


def is_whole(value: Decimal) -> bool:
    """Say whether a number is an integer."""
    return value == value.to_integral_value()


def to_int(value: Decimal, *, bound: int) -> int | None:
    """Give a whole number as an `int`; None: it is not whole, or beyond the bound.

    The bound comes first, since `1e6000` would be an integer of 6,000 digits.
    """
    if not -bound <= value <= bound or not is_whole(value):
        return None
    return int(value)


def round_to(value: Decimal, scale: int, rounding: str) -> Decimal:
    """Round a number to so many places behind the point.

    A number with fewer places gets zeros behind it, as many as 34 digits allow.

    Args:
        value: Any number.
        scale: Places; negative ones lie before the point.
        rounding: One of the modes of `decimal`.
    """
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent >= -scale and value.adjusted() + scale >= CONTEXT.prec:
        return value
    if value.adjusted() + scale < -1:
        # All digits lie behind the last place; `quantize` needs one that counts.
        sign, _, _ = value.as_tuple()
        value = Decimal((sign, (0 if not value else 1,), -scale - 2))
    return value.quantize(Decimal((0, (1,), -scale)), rounding=rounding, context=CONTEXT)
