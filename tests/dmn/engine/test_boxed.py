"""Boxed expressions: each means what FEEL's own counterpart means."""

from __future__ import annotations

import pytest

from dmn.models import ask, decision, literal, model, number
from federlib.dmn.engine.compiled import compile_model, find_problems
from federlib.dmn.feel.values import Function
from federlib.dmn.model import (
    Binding,
    Column,
    Conditional,
    Context,
    ContextEntry,
    DecisionTable,
    Expression,
    Filter,
    For,
    FunctionDefinition,
    InputClause,
    Invocation,
    ListExpression,
    LiteralExpression,
    OutputClause,
    Parameter,
    Quantified,
    Relation,
    Rule,
)

_PEOPLE = [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 20}]


def _value(logic: Expression | str, type_ref: str = "", **facts: object) -> object:
    found = model(decision("d", logic, *facts, type_ref=type_ref), inputs=dict.fromkeys(facts, ""))
    value, _ = ask(found, "d", facts)
    return value


def _entry(text: str, name: str = "", type_ref: str = "") -> ContextEntry:
    return ContextEntry(literal(text), name, type_ref)


def test_an_entry_of_a_context_sees_those_above_it() -> None:
    boxed = Context((_entry("1", "a"), _entry("a + 1", "my b"), _entry("a + my b", "c")))
    assert _value(boxed) == {"a": number(1), "my b": number(2), "c": number(3)}


def test_an_entry_without_name_is_the_result_of_a_context() -> None:
    assert _value(Context((_entry("1", "a"), _entry("a + 1")))) == number(2)


def test_an_entry_does_not_see_those_below_it() -> None:
    found = model(decision("d", Context((_entry("b", "a"), _entry("1", "b")))))
    assert any("'b'" in str(problem) for problem in find_problems(found))


def test_the_result_of_a_context_must_be_its_last_entry() -> None:
    found = model(decision("d", Context((_entry("1"), _entry("2", "a")))))
    assert any("must be the last" in str(problem) for problem in find_problems(found))


def test_an_entry_is_adapted_to_its_type() -> None:
    assert _value(Context((_entry('"x"', "a", "number"), _entry("[1]", "b", "number")))) == {
        "a": None,
        "b": number(1),
    }


def test_parts_of_an_untyped_context_are_found_by_names_with_spaces() -> None:
    inner = Context((_entry("5", "monthly fee"),))
    boxed = Context((ContextEntry(inner, "loan"), _entry("loan.monthly fee * 2")))
    assert _value(boxed) == number(10)


@pytest.mark.parametrize(
    "function",
    [
        FunctionDefinition((Parameter("n"),), literal("if n < 2 then 1 else n * f(n - 1)")),
        literal("function(n) if n < 2 then 1 else n * f(n - 1)"),
    ],
    ids=["boxed", "text"],
)
def test_a_function_in_a_context_may_call_itself(function: Expression) -> None:
    assert _value(Context((ContextEntry(function, "f"), _entry("f(5)")))) == number(120)


def test_a_function_keeps_what_it_has_seen() -> None:
    inner = Context((_entry("2", "x"), _entry("f() + x")))
    boxed = Context(
        (
            _entry("1", "x"),
            ContextEntry(FunctionDefinition((), literal("x")), "f"),
            ContextEntry(inner, "r"),
            _entry("r"),
        )
    )
    assert _value(boxed) == number(3)


def test_an_invocation_binds_parameters_by_name() -> None:
    boxed = Invocation(
        FunctionDefinition((Parameter("a"), Parameter("b")), literal("a - b")),
        (Binding("b", literal("1")), Binding("a", literal("x"))),
    )
    assert _value(boxed, x=5) == number(4)


def test_an_invocation_calls_functions_that_are_built_in() -> None:
    boxed = Invocation(
        literal("substring"),
        (Binding("string", literal('"foobar"')), Binding("start position", literal("3"))),
    )
    assert _value(boxed) == "obar"


def test_an_invocation_of_what_is_no_function_is_null() -> None:
    assert _value(Invocation(literal("1"))) is None


def test_a_binding_without_value_is_null() -> None:
    function = FunctionDefinition((Parameter("a"),), literal("a = null"))
    assert _value(Invocation(function, (Binding("a"),))) is True


def test_a_function_adapts_what_it_is_given_and_what_it_gives() -> None:
    function = FunctionDefinition((Parameter("a", "number"),), literal("a"), type_ref="string")
    called = Invocation(function, (Binding("a", literal("[1]")),))
    found = model(decision("d", called))
    value, problems = ask(found, "d")
    assert value is None
    assert "is not of type string" in problems[0]


@pytest.mark.parametrize("kind", ["JAVA", "PMML"])
def test_a_function_that_is_not_feel_is_there_and_calling_it_is_a_problem(kind: str) -> None:
    body = Context((_entry('"java.lang.Math"', "class"),))
    function = FunctionDefinition((Parameter("n"),), body, kind)  # type: ignore[arg-type] # a row
    assert isinstance(_value(function), Function)
    found = model(decision("d", Invocation(function, (Binding("n", literal("1")),))))
    value, problems = ask(found, "d")
    assert value is None
    assert problems == [f"decision 'd': functions in {kind} are not run"]


def test_a_relation_is_a_list_of_contexts() -> None:
    boxed = Relation(
        (Column("a"), Column("b c", "string")),
        ((literal("1"), literal('"x"')), (None, literal("2"))),
    )
    assert _value(boxed) == [{"a": number(1), "b c": "x"}, {"a": None, "b c": None}]
    column = Context((ContextEntry(boxed, "r"), _entry("r.b c")))
    assert _value(column) == ["x", None]


def test_a_row_of_another_length_is_a_problem() -> None:
    boxed = Relation((Column("a"), Column("b")), ((literal("1"),),))
    found = find_problems(model(decision("d", boxed)))
    assert [problem.text for problem in found] == ["row 1 has 1 cells, the relation 2 columns"]


def test_a_list_has_its_elements_in_order() -> None:
    boxed = ListExpression((literal("1"), None, ListExpression((literal('"a"'),))))
    assert _value(boxed) == [number(1), None, ["a"]]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [("true", 1), ("false", 2), ("null", 2), ('"x"', None)],
)
def test_a_conditional_takes_one_side(condition: str, expected: int | None) -> None:
    boxed = Conditional(literal(condition), literal("1"), literal("2"))
    assert _value(boxed) == (None if expected is None else number(expected))


@pytest.mark.parametrize(
    ("source", "match", "expected"),
    [
        ("[1, 2, 3]", "item > 1", [2, 3]),
        ("[1, 2, 3]", "2", 2),
        ("[1, 2, 3]", "-1", 3),
        ("[1, 2, 3]", "5", None),
        ("[1, 2, 3]", '"x"', None),
        ("[]", "item > 1", []),
        ("5", "item > 1", [5]),
        ("5", "item > 5", []),
        ("null", "true", None),
        ("[1, 2] // numbers", "item > 1 // large", [2]),
    ],
)
def test_a_boxed_filter_is_that_of_the_language(source: str, match: str, expected: object) -> None:
    boxed = Filter(literal(source), literal(match))
    found = [number(each) for each in expected] if isinstance(expected, list) else expected
    assert _value(boxed) == (number(found) if isinstance(found, int) else found)


@pytest.mark.parametrize("match", ["age > 25", "item.age > 25", "limit < age"])
def test_a_boxed_filter_knows_the_names_of_its_elements(match: str) -> None:
    boxed = Filter(literal("people"), literal(match))
    found = _value(boxed, people=_PEOPLE, limit=25)
    assert found == [{"name": "Ann", "age": number(30)}]


def test_a_boxed_filter_with_a_boxed_condition_knows_names_and_item() -> None:
    condition = Conditional(literal("item.age > 25"), literal("true"), literal('name = "Bob"'))
    typed = '[{name: "Ann", age: 30}, {name: "Bob", age: 20}, {name: "Cy", age: 1}]'
    boxed = Filter(literal(typed), condition)
    assert _value(Context((ContextEntry(boxed, "r"), _entry("r.name")))) == ["Ann", "Bob"]


@pytest.mark.parametrize("match", ["1] + [2", "true][true", "", "item > 1] = [2"])
def test_the_condition_of_a_boxed_filter_is_one_expression(match: str) -> None:
    found = model(decision("d", Filter(literal("[1]"), literal(match))))
    assert find_problems(found)
    assert ask(compile_model(found, strict=False), "d")[0] is None


@pytest.mark.parametrize(
    ("source", "result", "expected"),
    [
        ("[1, 2, 3]", "x * 2", [2, 4, 6]),
        ("[1..3]", "x", [1, 2, 3]),
        ("[1..3)", "x", [1, 2]),
        ("[]", "x", []),
        ("7", "x", [7]),
        ("[1, 2, 3]", "if count(partial) = 0 then x else x + partial[-1]", [1, 3, 6]),
    ],
)
def test_a_boxed_for_is_that_of_the_language(source: str, result: str, expected: list[int]) -> None:
    boxed = For("x", literal(source), literal(result))
    assert _value(boxed) == [number(each) for each in expected]


def test_a_boxed_for_over_null_is_null() -> None:
    assert _value(For("x", literal("null"), literal("x"))) is None


@pytest.mark.parametrize(
    ("source", "satisfies", "every", "some"),
    [
        ("[1, 2]", "x > 0", True, True),
        ("[1, 2]", "x > 1", False, True),
        ("[1, 2]", "x > 2", False, False),
        ("[]", "x > 2", True, False),
        ("[1, 2]", '"x"', None, None),
        ('[1, "s"]', "if x = 1 then true else x", None, True),
        ("null", "true", None, None),
    ],
)
def test_boxed_quantifiers_are_those_of_the_language(
    source: str, satisfies: str, every: bool | None, some: bool | None
) -> None:
    for is_every, expected in ((True, every), (False, some)):
        boxed = Quantified("x", literal(source), literal(satisfies), is_every=is_every)
        assert _value(boxed) is expected


def test_loops_in_loops_see_all_variables() -> None:
    inner = For("y", literal("[10, 20]"), literal("x + y + base"))
    boxed = For("x", literal("[1, 2]"), inner)
    assert _value(boxed, base=100) == [[number(111), number(121)], [number(112), number(122)]]


def test_a_table_may_stand_anywhere() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause(),),
        (Rule(("> 1",), ('"many"',)), Rule(("<= 1",), ('"few"',))),
    )
    assert _value(For("x", literal("[1, 2]"), table)) == ["few", "many"]


def test_another_language_is_a_problem_and_no_text_is_null() -> None:
    assert _value("") is None
    found = find_problems(model(decision("d", LiteralExpression("1", language="urn:js"))))
    assert [str(problem) for problem in found] == [
        "decision 'd': expressions in 'urn:js' are not run, only FEEL"
    ]


def test_boxes_in_boxes_end() -> None:
    logic: Expression = literal("1")
    for _ in range(100):
        logic = ListExpression((logic,))
    found = find_problems(model(decision("d", logic)))
    assert any("more than 64 expressions in one another" in str(problem) for problem in found)


def test_the_type_of_an_expression_adapts_its_value() -> None:
    assert _value(LiteralExpression("[1]", "number")) == number(1)
    assert _value(LiteralExpression('"x"', "number")) is None
    assert _value(ListExpression((literal("1"),), "number")) == number(1)
