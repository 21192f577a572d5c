"""Types: which conforms to which, which value is of which, and how values adapt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn.feel import (
    ANY,
    BOOLEAN,
    CONTEXT,
    DATE,
    DATE_AND_TIME,
    LIST,
    NULL,
    NUMBER,
    STRING,
    ContextType,
    Evaluation,
    FeelSyntaxError,
    FeelType,
    FunctionType,
    ListType,
    RangeType,
    Scope,
    UnknownName,
    Value,
    coerce,
    compile_expression,
    conforms,
    is_instance,
    parse_type,
    type_of,
)
from federlib.dmn.feel.types import join

SIMPLE = st.sampled_from([ANY, NULL, NUMBER, STRING, BOOLEAN, DATE, DATE_AND_TIME])
TYPES: st.SearchStrategy[FeelType] = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(ListType, inner),
        st.builds(RangeType, inner),
        st.builds(ContextType, st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
        st.builds(FunctionType, st.lists(inner, max_size=2).map(tuple), inner),
    ),
    max_leaves=5,
)


def value(text: str) -> Value:
    """Evaluate a text without facts."""
    return compile_expression(text).evaluate(Evaluation(), {})


@given(TYPES)
def test_every_type_conforms_to_itself_and_to_any_and_null_to_every(kind: FeelType) -> None:
    assert conforms(kind, kind)
    assert conforms(kind, ANY)
    assert conforms(NULL, kind)


@given(TYPES, TYPES, TYPES)
def test_conformance_is_transitive(a: FeelType, b: FeelType, c: FeelType) -> None:
    if conforms(a, b) and conforms(b, c):
        assert conforms(a, c)


@given(st.lists(TYPES, max_size=4))
def test_lists_of_several_types_have_a_type_that_each_conforms_to_if_it_is_one_type(
    kinds: list[FeelType],
) -> None:
    joined = join(kinds)
    if not any("context" in str(kind) for kind in kinds):  # a union of entries, for names
        assert all(conforms(kind, joined) for kind in kinds)


@given(TYPES.filter(lambda kind: kind != NULL))
def test_a_type_is_read_as_it_is_written(kind: FeelType) -> None:
    assert parse_type(str(kind)) == kind


@pytest.mark.parametrize(
    ("narrow", "wide", "does"),
    [
        ("list<number>", "list<Any>", True),
        ("list<Any>", "list<number>", False),
        ("context<a: number, b: string>", "context<a: number>", True),
        ("context<a: number>", "context<a: number, b: string>", False),
        ("context<a: number>", "context<a: string>", False),
        ("function<Any>->number", "function<number>->Any", True),
        ("function<number>->number", "function<Any>->number", False),
        ("function<number>->number", "function<number, number>->number", False),
        ("range<number>", "range<Any>", True),
        ("number", "list<number>", False),
        ("date", "date and time", False),
    ],
)
def test_conformance_row(narrow: str, wide: str, does: bool) -> None:
    assert conforms(parse_type(narrow), parse_type(wide)) is does


@pytest.mark.parametrize(
    ("text", "kind", "is_of"),
    [
        ("null", "Any", False),
        ("null", "number", False),
        ("null", "Null", True),
        ("1", "Null", False),
        ("true", "number", False),
        ("[null, 1]", "list<number>", True),
        ('[1, "a"]', "list<number>", False),
        ("[]", "list<number>", True),
        ("{a: null}", "context<a: string>", True),
        ("{}", "context<a: string>", False),
        ("[1..2]", "range<number>", True),
        ('["a".."b"]', "range<number>", False),
        ("(< 5)", "range<number>", True),
        ("function(a: number) a", "function<number>->number", True),
        ("function(a: number) a", "function<string>->number", False),
        ("function(a) 1", "function<string>->number", True),
        ("function() 1", "function<string>->number", False),
        ("abs", "function<number>->number", True),
        ("abs", "function<number, number, number>->number", False),
        ("date", "function<string>->date", True),
        ("1", "function<>->Any", False),
        ('@"2020-01-01"', "date", True),
        ('@"2020-01-01"', "date and time", False),
        ('@"P1D"', "days and time duration", True),
        ('@"P1Y"', "days and time duration", False),
        ('@"P1Y"', "years and months duration", True),
        ('@"10:00:00"', "time", True),
    ],
)
def test_instance_of(text: str, kind: str, is_of: bool) -> None:
    assert is_instance(value(text), parse_type(kind)) is is_of


@pytest.mark.parametrize(
    ("text", "kind", "adapted"),
    [
        ("1", "list<number>", "[1]"),
        ('"a"', "list<number>", "null"),
        ("[1]", "number", "1"),
        ("[1, 2]", "number", "null"),
        ("[]", "number", "null"),
        ('["a"]', "number", "null"),
        ("[1, 2]", "list<list<number>>", "[[1, 2]]"),
        ('@"2020-01-01"', "date and time", '@"2020-01-01T00:00:00Z"'),
        ('@"2020-01-01T00:00:00"', "date", "null"),
        ("null", "number", "null"),
        ("{a: 1, b: 2}", "context<a: number>", "{a: 1, b: 2}"),
        ("{a: 1}", "context<a: string>", "null"),
    ],
)
def test_values_adapt_to_types(text: str, kind: str, adapted: str) -> None:
    assert coerce(value(text), parse_type(kind)) == value(adapted)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "null",
        '"a"',
        "(< 5)",
        "function(a: string) a",
        "[1, 2]",
        "{a: [1]}",
        "[1..2]",
        "[{a: 1}, {b: 2}]",
        "abs",
        "date",
        "[]",
    ],
)
def test_a_value_is_of_the_type_it_is_said_to_have(text: str) -> None:
    kind = type_of(value(text))
    if "[{" not in text:
        assert is_instance(value(text), kind)


def test_names_of_types_come_from_the_scope() -> None:
    scope = Scope({}, {"tAge": NUMBER, "ns.t Long Name": STRING, "date and place": LIST})
    assert parse_type("tAge", scope) == NUMBER
    assert parse_type("list<ns.t Long Name>", scope) == ListType(STRING)
    assert parse_type("date and place", scope) == LIST
    assert parse_type("date and time", scope) == DATE_AND_TIME
    assert parse_type("tAge", Scope(outer=scope)) == NUMBER
    assert parse_type("context") == CONTEXT
    assert parse_type("list") == LIST
    with pytest.raises(UnknownName) as caught:
        parse_type("tAgee", scope)
    assert caught.value.suggestions == ("tAge",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "context<1: number>",
        "list<",
        "list<number",
        "context<a>",
        "function<number>",
        "number number",
        "a.",
    ],
)
def test_what_is_no_type_is_an_error(text: str) -> None:
    with pytest.raises(FeelSyntaxError):
        parse_type(text)


def test_a_type_nests_only_so_deep() -> None:
    with pytest.raises(FeelSyntaxError, match="levels"):
        parse_type("list<" * 1000 + "number" + ">" * 1000)


@pytest.mark.parametrize("text", ["list<x>", "context<a: x>", "function<x>->number", "x.y z"])
def test_an_unknown_type_inside_another_is_unknown_too(text: str) -> None:
    with pytest.raises(UnknownName):
        parse_type(text)
