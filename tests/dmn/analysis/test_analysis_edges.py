"""Analysis and comparison where cells compute, limits end a search, or a model is odd."""

from __future__ import annotations

import random

import msgspec
import pytest

from federlib.dmn import (
    CompiledTable,
    DecisionNode,
    DecisionTable,
    Definitions,
    FunctionDefinition,
    HitPolicy,
    Import,
    InputClause,
    InputData,
    KnowledgeModel,
    ListExpression,
    LiteralExpression,
    Model,
    ModelDiff,
    OutputClause,
    Parameter,
    Rule,
    analyse,
    analyse_table,
    compile_model,
    diff_models,
)
from federlib.dmn.analysis.changes import changes_between
from federlib.dmn.analysis.classes import classes_of, constants_of, literal_text
from federlib.dmn.analysis.grid import bits_of, grid_of
from federlib.dmn.feel import ANY, STRING, compile_unary_tests, evaluate

Row = tuple[str, str, str]


def definitions_of(*rules: Row, policy: HitPolicy = "UNIQUE", first: str = "a") -> Definitions:
    table = DecisionTable(
        (InputClause(first), InputClause("b")),
        (OutputClause("out"),),
        tuple(Rule(rule[:-1], rule[-1:]) for rule in rules),
        hit_policy=policy,
    )
    inputs = (InputData("a", "number"), InputData("b", "number"))
    return Definitions("m", inputs=inputs, decisions=(DecisionNode("d", table, inputs=("a", "b")),))


def model_of(*rules: Row, policy: HitPolicy = "UNIQUE", first: str = "a") -> Model:
    return compile_model(definitions_of(*rules, policy=policy, first=first))


def table_of(model: Model) -> CompiledTable:
    ((table,),) = model.tables().values()
    return table


def compared(old: Model, new: Model) -> ModelDiff:
    return diff_models(old, new, draw=random.Random(1).randrange)


def test_what_is_tried_comes_in_the_order_of_the_rules_and_so_is_the_same_in_each_process() -> None:
    cells = ['"a"', "1", '@"2026-01-01"', '@"10:00:00"', '@"P1D"', '@"P1M"', "true"]

    def untyped(number: int) -> Model:
        table = DecisionTable(
            (InputClause("x"),),
            (OutputClause("out"),),
            tuple(Rule((cell,), (f"{number}{place}",)) for place, cell in enumerate(cells)),
        )
        node = DecisionNode("d", table, inputs=("x",))
        return compile_model(Definitions("m", inputs=(InputData("x"),), decisions=(node,)))

    found = compared(untyped(1), untyped(2))
    assert [each.before for each in found.differences] == [10, 11, 12, 13, 14, 15, 16]
    grid = grid_of(table_of(untyped(1)))
    assert grid is not None
    members = grid.axes[0].classes.members
    values = [evaluate(cell) for cell in cells]
    assert [each.example for each in members if each.example in values] == values


def test_an_overlap_of_cells_that_compute_is_told_where_one_was_tried() -> None:
    (found,) = analyse(model_of(("? > 5", "-", "1"), ("10", "-", "2"), ("? > b", "? = 3", "3")))
    assert ("1", "2") in {each.rules for each in found.overlaps}
    example = next(each.example for each in found.overlaps if each.rules == ("1", "3"))
    assert example["b"] == "3"
    assert not found.is_exhaustive


def test_rules_that_compute_and_do_not_meet_are_not_told() -> None:
    (found,) = analyse(model_of(("? > b", "-", "1"), ("? < b", "-", "2")))
    assert found.overlaps == ()
    assert "overlaps: some rules ask for more than was tried" in found.notes


def test_a_column_that_computes_is_said_to() -> None:
    (found,) = analyse(model_of(("> 5", "-", "1"), ("<= 5", "-", "2"), first="a + b"))
    assert [gap.where for gap in found.gaps] == [{"a + b": "null"}]
    assert any("a + b" in note for note in found.notes)


def test_a_search_that_is_cut_says_so() -> None:
    rules = [(f"[{n}..{n + 10}]", f"> {n}", str(n)) for n in range(60)]
    (found,) = analyse(model_of(*rules), limit=1)
    assert "overlaps: only the first 1 are told" in found.notes
    table = table_of(model_of(*rules, policy="FIRST"))
    cut = analyse_table(table, steps=50)
    assert "gaps: more combinations than are tried" in cut.notes
    assert "rules that never decide: more combinations than are tried" in cut.notes
    apart = table_of(model_of(*[(str(n), str(n), "1") for n in range(60)]))
    assert "overlaps: more pairs of rules than are tried" in analyse_table(apart, steps=10).notes


def test_a_grid_says_when_it_would_be_too_much_work() -> None:
    table = table_of(model_of(("< 5", "> 5", "1"), ("[1..9]", "-", "2")))
    assert grid_of(table, work=1) is None
    grid = grid_of(table)
    assert grid is not None
    for axis in grid.axes:
        for rule, classes in enumerate(axis.rules_surely):
            assert set(bits_of(classes)) == {
                place for place, rules in enumerate(axis.surely) if rules >> rule & 1
            }


@pytest.mark.parametrize(
    "text",
    ["(< 5)", "(>= 5)", "[1..5)", '{a: [1, null], "b c": true}', '@"P1M"', '@"10:00:00+01:00"'],
)
def test_a_literal_is_read_as_what_it_says(text: str) -> None:
    value = evaluate(text)
    assert value is not None
    assert evaluate(literal_text(value)) == value


def test_a_function_is_spelled_by_its_name() -> None:
    assert literal_text(evaluate("sum")) == "sum"


def test_strings_that_are_ordered_have_a_place_below_and_none_when_it_is_empty() -> None:
    classes = classes_of([constants_of(compile_unary_tests('>= ""'))], STRING)
    assert [each.example for each in classes.members] == ["", "a", None]
    assert classes.text([0, 1]) == "not(null)"


def test_times_have_none_below_midnight_nor_above_the_last_second() -> None:
    classes = classes_of([constants_of(compile_unary_tests('@"00:00:00", @"23:59:59"'))], ANY)
    assert [literal_text(each.example) for each in classes.members] == [
        '@"00:00:00"',
        '@"01:00:00"',
        '@"23:59:59"',
        "null",
    ]


def test_times_with_an_offset_are_not_told_apart_for_certain() -> None:
    for text, is_exact in (('> @"10:00:00"', True), ('> @"10:00:00Z"', False)):
        assert classes_of([constants_of(compile_unary_tests(text))], ANY).is_exact is is_exact
    text = '@"2026-01-01T00:00:00Z", @"2026-01-01T00:00:00"'
    assert not classes_of([constants_of(compile_unary_tests(text))], ANY).is_exact


# Comparison


def test_every_kind_of_change_is_told() -> None:
    function = FunctionDefinition((Parameter("x"),), LiteralExpression("x"))
    old = Definitions(
        "m",
        inputs=(InputData("a", "number"), InputData("gone", "string")),
        decisions=(
            DecisionNode("same", LiteralExpression("1")),
            DecisionNode("removed", LiteralExpression("1")),
            DecisionNode("text", LiteralExpression("1")),
            DecisionNode("kind", LiteralExpression("1")),
        ),
        knowledge_models=(KnowledgeModel("f", function), KnowledgeModel("g", function)),
    )
    other = FunctionDefinition((Parameter("y"),), LiteralExpression("y"))
    new = Definitions(
        "m",
        inputs=(InputData("a", "string"), InputData("come", "string")),
        decisions=(
            DecisionNode("same", LiteralExpression("1")),
            DecisionNode("text", LiteralExpression("2")),
            DecisionNode("kind", ListExpression()),
            DecisionNode("added", LiteralExpression("1")),
        ),
        knowledge_models=(KnowledgeModel("f", other), KnowledgeModel("g", function)),
    )
    found = [
        (each.element, each.what, each.before, each.after) for each in changes_between(old, new)
    ]
    assert found == [
        ("removed", "removed", "", ""),
        ("text", "changed", "1", "2"),
        ("kind", "changed", "", ""),
        ("added", "added", "", ""),
        ("f", "changed", "", ""),
        ("a", "changed", "number", "string"),
        ("come", "added", "", "string"),
        ("gone", "removed", "string", ""),
    ]


def test_a_table_that_changed_all_over_is_told_rule_by_rule() -> None:
    old = definitions_of(("1", "-", "1"), ("2", "-", "2"), ("3", "-", "3"))
    new = definitions_of(("1", "-", "1"), ("3", "-", "3"), ("4", "-", "4"), policy="FIRST")
    found = [(each.element, each.what, each.rule) for each in changes_between(old, new)]
    assert found == [
        ("d: hit_policy", "changed", ""),
        ("d", "removed", "2"),
        ("d", "added", "3"),
    ]


def test_functions_are_the_same_only_if_they_are_the_same() -> None:
    def model() -> Model:
        node = DecisionNode("d", LiteralExpression("function(x) x"))
        return compile_model(Definitions("m", decisions=(node,)))

    one = model()
    assert len(compared(one, model()).differences) == 1


def test_imports_columns_that_compute_and_conclusions_that_compute_are_no_proof() -> None:
    old = definitions_of((">= 5", "-", "a * 2"), first="a + b")
    new = definitions_of(("> 5", "-", "a * 2"), first="a + b")
    found = compared(compile_model(old), compile_model(new))
    assert not found.is_proof
    assert {"a + b is computed", "decision 'd': conclusions are computed"} <= set(found.notes)
    assert found.differences
    imported = Definitions("other", namespace="n", inputs=(InputData("x", "number"),))
    importing = msgspec.structs.replace(old, imports=(Import("n", "other"),))
    both = compile_model(importing, [imported])
    assert "imported models are not looked into" in compared(both, both).notes


def test_allowed_values_of_a_column_are_boundaries_too() -> None:
    def model(allowed: str) -> Model:
        table = DecisionTable(
            (InputClause("a", allowed=allowed),), (OutputClause("out"),), (Rule(("-",), ("1",)),)
        )
        node = DecisionNode("d", table, inputs=("a",))
        inputs = (InputData("a", "number"),)
        return compile_model(Definitions("m", inputs=inputs, decisions=(node,)))

    found = compared(model("[0..10]"), model("[0..10)"))
    assert [(each.facts, each.before, each.after) for each in found.differences] == [
        ({"a": 10}, 1, None)
    ]
    assert found.is_proof
