"""Numbers: 34 digits, half to even, bounded."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn.feel import numbers
from federlib.dmn.feel.evaluation import Evaluation

DECIMALS = st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=6)


def rounded(exact: Fraction) -> Decimal:
    """Round a fraction to 34 digits with a context that has plenty."""
    with decimal.localcontext(decimal.Context(prec=34, rounding=decimal.ROUND_HALF_EVEN)):
        return Decimal(exact.numerator) / Decimal(exact.denominator)


@given(DECIMALS, DECIMALS)
def test_arithmetic_is_exact_but_for_rounding(a: Decimal, b: Decimal) -> None:
    ev = Evaluation()
    one, other = Fraction(a), Fraction(b)
    product = numbers.multiply(ev, a, b)
    assert numbers.add(ev, a, b) == one + other
    assert numbers.subtract(ev, a, b) == one - other
    assert product is not None
    assert abs(Fraction(product) - one * other) * 2 * 10**33 <= abs(one * other)
    if b:
        assert numbers.divide(ev, a, b) == rounded(one / other) or abs(a) > 10**10
    assert not ev.problems


@given(st.integers(-30, 30), st.integers(-9, 9))
def test_small_powers_are_exact(base: int, exponent: int) -> None:
    ev = Evaluation()
    result = numbers.power(ev, Decimal(base), Decimal(exponent))
    if base == 0 and exponent < 0:
        assert result is None
        assert ev.problems
    else:
        assert result == rounded(Fraction(base) ** exponent)


@pytest.mark.parametrize(
    ("base", "exponent", "expected"),
    [
        ("5", "-2", "0.04"),
        ("0", "0", "1"),
        ("4", "0.5", "2"),
        ("-8", "3", "-512"),
        ("-8", "0.5", None),
        ("0", "-1", None),
        ("2", "999999999", None),
        ("1", "999999999", "1"),
        ("2", "1000000000", None),
        ("10", "6145", None),
        ("10", "6144", "1E+6144"),
    ],
)
def test_powers_at_their_bounds(base: str, exponent: str, expected: str | None) -> None:
    ev = Evaluation()
    result = numbers.power(ev, Decimal(base), Decimal(exponent))
    assert result == (None if expected is None else Decimal(expected))
    assert bool(ev.problems) is (expected is None)


def test_what_is_too_large_or_divided_by_zero_is_null_and_told() -> None:
    ev = Evaluation()
    huge = Decimal("9e6144")
    assert numbers.multiply(ev, huge, huge) is None
    assert numbers.add(ev, huge, huge) is None
    assert numbers.subtract(ev, huge, -huge) is None
    assert numbers.divide(ev, Decimal(1), Decimal(0)) is None
    assert numbers.divide(ev, Decimal(0), Decimal("-0")) is None
    assert len(ev.problems) == 5


def test_the_callers_context_does_not_count() -> None:
    with decimal.localcontext(decimal.Context(prec=3, traps=[decimal.Inexact])):
        third = numbers.divide(Evaluation(), Decimal(1), Decimal(3))
    assert third == Decimal("0." + "3" * 34)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("-1.50", "-1.50"),
        (".5", "0.5"),
        ("1.23e4", "12300"),
        ("1.23E-4", "0.000123"),
        ("1" * 35, "1" * 34 + "0"),
        ("1.", None),
        ("+1", None),
        ("1e", None),
        ("1e999999", None),
        ("1e-999999", "0"),
        ("NaN", None),
        ("Infinity", None),
        ("1_000", None),
        ("１", None),
        ("", None),
        ("9" * 10_001, None),
    ],
)
def test_literals_are_read_as_the_grammar_has_them(text: str, value: str | None) -> None:
    assert numbers.parse_number(text) == (None if value is None else Decimal(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [("1.10", "1.10"), ("-0", "0"), ("-0.00", "0.00"), ("1E+3", "1000"), ("1E-7", "0.0000001")],
)
def test_numbers_are_written_without_exponent_or_sign_of_zero(value: str, text: str) -> None:
    assert numbers.number_text(Decimal(value)) == text


MODES = [
    decimal.ROUND_FLOOR,
    decimal.ROUND_CEILING,
    decimal.ROUND_UP,
    decimal.ROUND_DOWN,
    decimal.ROUND_HALF_UP,
    decimal.ROUND_HALF_DOWN,
    decimal.ROUND_HALF_EVEN,
]


@given(DECIMALS, st.integers(-30, 30), st.sampled_from(MODES))
def test_rounding_is_that_of_a_context_with_plenty_of_digits(
    value: Decimal, scale: int, mode: str
) -> None:
    with decimal.localcontext(decimal.Context(prec=100)):
        wanted = value.quantize(Decimal((0, (1,), -scale)), rounding=mode)
    assert numbers.round_to(value, scale, mode) == wanted


@pytest.mark.parametrize("scale", [-6111, 6176])
def test_rounding_works_at_the_ends_of_scale(scale: int) -> None:
    expected = Decimal("5.5") if scale > 0 else Decimal(0)
    assert numbers.round_to(Decimal("5.5"), scale, decimal.ROUND_DOWN) == expected


def test_only_whole_numbers_within_a_bound_become_integers() -> None:
    assert numbers.to_int(Decimal("3.00"), bound=9) == 3
    assert numbers.to_int(Decimal("3.5"), bound=9) is None
    assert numbers.to_int(Decimal("1e6000"), bound=9) is None
    assert numbers.is_whole(Decimal("1e6000"))
