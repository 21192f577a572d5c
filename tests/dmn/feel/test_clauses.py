"""Sentences of the standard, a test each, named by its clause.

Source: DMN 1.5, 10.3.1 and 10.3.2.
"""

from __future__ import annotations

import pytest

from federlib.dmn.feel import Evaluation, Scope, compile_expression, compile_unary_tests, evaluate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 in (? > 0)", True),
        ("1 in (? > 5, ? = 1)", True),
        ("1 in (? > 5, 2)", False),
        ('"abc" in (starts with(?, "a"))', True),
        ("5 in (< ? + 1)", True),
        ("5 in [? .. 10]", True),
        ("null in (? = null)", True),
        ("null in (? > 1)", None),
        ("5 in (? + 0)", True),  # no boolean, so it is compared
        ("5 in (? + 1)", False),
        ("(1 in (? > 0)) and (2 in (? > 1))", True),
        ("true in (2 in (? > 1))", True),  # only the inner one asks
        ("[1, 2, 3][item in (? > 1)] = [2, 3]", True),
        ("{f: function(x) x in (? > 2), r: f(3)}.r", True),
        ("{r: for x in [1, 3] return x in (? > 2)}.r = [false, true]", True),
    ],
)
def test_table_55_after_in_the_value_is_called_by_a_question_mark(
    text: str, expected: object
) -> None:
    assert evaluate(text) == expected


def test_table_55_in_a_cell_a_question_mark_stays_what_the_cell_tests() -> None:
    tests = compile_unary_tests('"a" in ?', Scope())
    assert tests.matches(Evaluation(), {}, ["a", "b"]) is True
    assert tests.matches(Evaluation(), {}, ["b"]) is False


def test_table_55_a_question_mark_means_nothing_elsewhere() -> None:
    ev = Evaluation()
    assert compile_expression("1 in (1) and ? > 0", Scope(strict=False)).evaluate(ev, {}) is None
    assert ev.problems[0] == "nothing is called ?"


@pytest.mark.parametrize("name", ["list", "context", "range", "function"])
def test_table_61_a_type_without_its_parameters_is_no_type(name: str) -> None:
    ev = Evaluation()
    assert compile_expression(f"123 instance of {name}").evaluate(ev, {}) is None
    assert ev.problems == [f"there is no type {name}"]


def test_10_3_1_3_a_type_of_the_model_may_be_called_list() -> None:
    scope = Scope(types={"list": Scope().all_types["number"]}).nested({})
    assert compile_expression("123 instance of list", scope).evaluate(Evaluation(), {}) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[1, 2]["a"]', None),
        ("[1, 2][[true]]", None),
        ("[1, 2][function(x) x]", None),
        ('{a: 1}["a"]', None),
        ('[1, 2][if item = 1 then true else "a"]', None),
        ("[true, 3][item]", None),  # a number picks only where the first is one
        ("[1, null, 3][item > 1] = [3]", True),  # null is left out, as in 10.3.2.5
        ("[1, 2][null] = []", True),
    ],
)
def test_table_68_a_filter_is_a_boolean_or_the_number_of_an_element(
    text: str, expected: object
) -> None:
    assert evaluate(text) == expected
