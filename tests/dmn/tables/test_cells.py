"""Plain cells: what is read without the parser means what the language says it means."""

from __future__ import annotations

from decimal import Decimal
from math import nextafter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from federlib.dmn.feel import Evaluation, compile_unary_tests
from federlib.dmn.feel.convert import from_python
from federlib.dmn.tables.cells import ANY, Cell, bound_of, read_cell

_NUMBERS = st.one_of(
    st.integers(-99, 99).map(str),
    st.decimals(-1000, 1000, places=3, allow_nan=False).map(lambda number: format(number, "f")),
    st.sampled_from(
        ["0", "-0", "0.1", ".5", "-.5", "007", "1.50", "123456789012345", "999999999999999",
         "0.00000000000001", "1234567890123456", "1234567890.123456789"]
    ),
)  # fmt: skip
_TEXTS = st.sampled_from(['"gold"', '"silver"', '""', '"a,b"', '"not(x)"', '"-"', '"ä"'])
_WORDS = st.sampled_from(["true", "false", "null"])
_SPACE = st.sampled_from(["", " ", "\t", "\n"])


@st.composite
def _items(draw: st.DrawFn) -> str:
    match draw(st.integers(0, 4)):
        case 0:
            return draw(_TEXTS)
        case 1:
            return draw(_WORDS)
        case 2:
            return draw(_NUMBERS)
        case 3:
            return draw(st.sampled_from(["<", "<=", ">", ">="])) + draw(_SPACE) + draw(_NUMBERS)
        case _:
            low, high = draw(_NUMBERS), draw(_NUMBERS)
            opens, closes = draw(st.sampled_from("[(]")), draw(st.sampled_from("])["))
            return f"{opens}{low}{draw(_SPACE)}..{high}{closes}"


@st.composite
def _cells(draw: st.DrawFn) -> str:
    items = draw(st.lists(_items(), min_size=1, max_size=4))
    space = draw(_SPACE)
    text = f"{space},{space}".join(items)
    return f"not({text})" if draw(st.booleans()) else text


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(["gold", "silver", "", "a,b", "other", "not(x)", "-", "ä"]),
    _NUMBERS.map(Decimal),
    st.floats(-1000, 1000).map(lambda number: Decimal(repr(number))),
    st.sampled_from([Decimal("1e400"), Decimal("-1e6000"), Decimal("1e-400"), Decimal("-1e-400")]),
    st.decimals(allow_nan=False, allow_infinity=False),
)


@given(_cells(), _VALUES)
@example("not(null)", True)
@example("not(5)", "gold")
@example('not("gold")', None)
@example("not(< 5)", None)
@example('not("gold", 5)', "silver")
@example("> 0", Decimal("1e-400"))
@example("< 0", Decimal("-1e-400"))
@example("[0.1..0.2]", Decimal("0.1000000000000000000000000001"))
@example("(0.1..0.2)", Decimal("0.1000000000000000000000000001"))
@example("[0.1..0.2]", Decimal("0.2000000000000000000000000001"))
@example("> 0", Decimal("1e400"))
@example("< 0", Decimal("-1e6144"))
@example("0.1", Decimal("0.1000000000000000055511151231257827"))
@example("[0.1..0.2]", Decimal("0.09999999999999999999999999999"))
def test_a_plain_cell_holds_for_the_values_that_the_language_says(
    text: str, value: Decimal | str | bool | None
) -> None:
    cell = read_cell(text)
    if cell is None:
        return
    matched = compile_unary_tests(text).matches(Evaluation(), {}, value)
    assert cell.holds(value) is (matched is True)


@given(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**17), 10**17)),
    st.decimals(-(10**9), 10**9, places=4).map(lambda number: format(number, "f")),
)
@example(0.1, "0.1")
@example(nextafter(0.1, 1), "0.1")
@example(nextafter(0.1, 0), "0.1")
@example(999999999999999, "999999999999999")
def test_a_float_is_on_the_side_of_a_bound_on_which_its_shortest_spelling_is(
    fact: float, constant: str
) -> None:
    number = from_python(fact)
    assert isinstance(number, Decimal)
    for text in (f"< {constant}", f"<= {constant}", constant, f">= {constant}", f"> {constant}"):
        cell = read_cell(text)
        if cell is None:
            continue
        as_it_comes = any(low <= fact < high for low, high in cell.numbers)
        assert as_it_comes is cell.holds(number)


@pytest.mark.parametrize(
    "text",
    [
        "1..2", "[1..2", "[2..1]", "(1..1)", "1,", ",1", "not()", "not(1", "not 1", '"a" "b"',
        '"a\\n"', "1e5", "1e999999", "= 5", "!= 5", "? > 5", "5 // comment", "pool", 'date("x")',
        "1234567890123456", "0.1234567890123456", "truely", "- 5", "--5", "not(not(5))", "\x00",
        '"a', "[1..", "1 2", '< "a"', "٣", "<" * 1000, "[" * 1000,
    ],
)  # fmt: skip
def test_whatever_is_not_quite_plain_is_left_to_the_language(text: str) -> None:
    assert read_cell(text) is None


@pytest.mark.parametrize("text", ["", "-", "  ", " - ", "\n"])
def test_a_dash_and_nothing_hold_for_everything(text: str) -> None:
    assert read_cell(text) is ANY


def test_a_long_cell_is_left_to_the_language_at_once() -> None:
    assert read_cell(", ".join(["1"] * 10_000)) is None
    assert read_cell("not(" * 2_000_000) is None


def test_spans_that_touch_are_one() -> None:
    assert read_cell("[1..2], (2..3], 5") == Cell(
        ((1.0, nextafter(3.0, 4)), (5.0, nextafter(5.0, 6)))
    )


@pytest.mark.parametrize("number", ["1e300", "-1e300", "1e6144", "-1e6144", "0", "0.1"])
def test_the_bound_of_a_number_is_on_its_side_of_all_others(number: str) -> None:
    bound = bound_of(Decimal(number))
    assert (bound > 0) - (bound < 0) == (Decimal(number) > 0) - (Decimal(number) < 0)
