"""Unary tests: what a cell of a table matches."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn.feel import (
    ANY,
    NUMBER,
    Evaluation,
    Exhausted,
    FeelSyntaxError,
    Scope,
    UnknownName,
    Value,
    compile_expression,
    compile_unary_tests,
)

SCOPE = Scope({"limit": NUMBER, "names": ANY, "is open": ANY})
FACTS: dict[str, Value] = {"limit": Decimal(10), "names": ["a", "b"], "is open": True}


def matches(text: str, value: str) -> bool | None:
    """Test the value of an expression."""
    tested = compile_expression(value).evaluate(Evaluation(), {})
    return compile_unary_tests(text, SCOPE).matches(Evaluation(), FACTS, tested)


@pytest.mark.parametrize(
    ("text", "value", "result"),
    [
        ("-", "1", True),
        (" - ", "null", True),
        ("", "1", True),
        ("// any\n", "1", True),
        ("5", "5.0", True),
        ("5", "6", False),
        ("-5", "-5", True),
        ("- 5", "-5", True),
        ("- limit", "-10", True),
        ('"a"', '"a"', True),
        ('"a"', "1", None),
        ("null", "null", True),
        ("null", "1", False),
        ("1, null", "null", True),
        ("[0..999], null", "null", True),
        ("true", "true", True),
        ("true", "false", False),
        ("true", "null", False),
        ("false", "false", True),
        ("< 5", "4", True),
        ("<5", "5", False),
        (">= 5", "5", True),
        ("!= 5", "5", False),
        ("= 5", "5", True),
        ("< 5", "null", None),
        ("< limit", "9", True),
        ("< limit * 2, > 100", "101", True),
        ("[1..5]", "5", True),
        ("[1..5)", "5", False),
        ("]1..5]", "1", False),
        ("(1..5)", "3", True),
        ("[1..limit]", "10", True),
        ("1, 2, 3", "2", True),
        ("< 1, [5..6], 9", "9", True),
        ("< 1, [5..6], 9", "8", False),
        ("[1, 2, 3]", "2", True),  # a list matches what is in it
        ("[1, 2, 3]", "[1, 2, 3]", True),  # and itself
        ("names", '"b"', True),
        ("names", '["a", "b"]', True),
        ("not(5)", "5", False),
        ("not(5)", "6", True),
        ('not("a", "b")', '"c"', True),
        ('not("a", "b")', '"b"', False),
        ("not(< 5, > 7)", "6", True),
        ("not([1..5])", "5", False),
        ("not(null)", "null", False),
        ("not(null)", "1", True),
        ("not(< 5)", "null", None),
        ("not(? > 5)", "6", False),
        ("not(? > 5)", "5", True),
        ("not(is open)", "false", True),
        ("not(true) or ? = 3", "3", True),  # the function, not the tests
        ("? > 5", "6", True),
        ("? > 5 and ? < limit", "7", True),
        ("? > 5 and ? < limit", "11", False),
        ("? = false", "false", True),
        ("? = true", "false", False),
        ('contains(?, "b")', '"abc"', True),
        ("even(?)", "3", False),
        ("?", "3", True),
        ("? * 2", "3", False),
        ("?.a = 1", "{a: 1}", True),
        ("?[1] = 1", "[1, 2]", True),
        ("some i in ? satisfies i > 1", "[1, 2]", True),
        ("is open", "true", True),
        ("is open", "false", False),
        ("is open", "null", False),
        ("limit > 5", "3", True),  # a boolean about something else decides by itself
        ("limit > 50", "3", False),
        ("limit", "10", True),
        ('@"2020-01-01"', '@"2020-01-01"', True),
        ('< @"2020-01-01"', '@"2019-12-31"', True),
        ('[date("2020-01-01")..date("2020-02-01")]', '@"2020-01-15"', True),
        ('"VERY LOW", "LOW"', '"LOW"', True),
    ],
)
def test_cell_row(text: str, value: str, result: bool | None) -> None:
    assert matches(text, value) is result


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (",", 1),
        ("1,", 3),
        ("< ", 3),
        ("not(", 5),
        ("not()", 5),
        ("- -", 4),
        ("1 2", 3),
        ("5..6", 2),
    ],
)
def test_what_is_no_unary_test_is_an_error(text: str, column: int) -> None:
    with pytest.raises(FeelSyntaxError) as caught:
        compile_unary_tests(text, SCOPE)
    assert caught.value.column == column


def test_a_word_without_quotes_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        compile_unary_tests("VIP", SCOPE)
    lax = compile_unary_tests("VIP", Scope(strict=False))
    ev = Evaluation()
    assert lax.matches(ev, {}, "VIP") is False
    assert ev.problems == ["nothing is called VIP"]


def test_the_tree_says_what_a_cell_is() -> None:
    assert compile_unary_tests("-").tree.is_any
    negated = compile_unary_tests("not(1, ? > 2)").tree
    assert negated.is_negated
    assert negated.asking == (False, True)
    assert len(negated.tests) == 2


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-20, 20))
def test_a_test_and_its_comparison_agree(low: int, high: int, value: int) -> None:
    for text, holds in {
        f"< {low}": value < low,
        f"<= {low}": value <= low,
        f"> {low}": value > low,
        f">= {low}": value >= low,
        f"= {low}": value == low,
        f"!= {low}": value != low,
        f"[{low}..{high}]": low <= value <= high,
        f"({low}..{high})": low < value < high,
        f"[{low}..{high})": low <= value < high,
        f"({low}..{high}]": low < value <= high,
        f"{low}, {high}": value in {low, high},
        f"? + {low} > {high}": value + low > high,
    }.items():
        assert matches(text, str(value)) is holds, text
        assert matches(f"not({text})", str(value)) is not holds, text


def test_a_cell_takes_no_more_than_it_may() -> None:
    tests = compile_unary_tests("count(for i in 1..1000, j in 1..1000 return 1) > 1")
    with pytest.raises(Exhausted):
        tests.matches(Evaluation(steps=1000), {}, None)
    calls = compile_unary_tests(f"{{f: function(n) {'1 + (' * 50}f(n){')' * 50}, r: f(1)}}.r")
    with pytest.raises(Exhausted):
        calls.matches(Evaluation(), {}, None)
