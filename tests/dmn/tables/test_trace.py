"""Traces: each table that was asked, each rule, each cell."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dmn.models import decision, model
from federlib.dmn import (
    Binding,
    CellTrace,
    DecisionTable,
    FunctionDefinition,
    InputClause,
    Invocation,
    KnowledgeModel,
    LiteralExpression,
    OutputClause,
    Parameter,
    Rule,
    TableTrace,
    compile_model,
)
from federlib.dmn.feel import Evaluation, Value
from federlib.dmn.tables.table import CompiledTable
from federlib.dmn.tables.trace import explain_table

_TABLE = DecisionTable(
    (InputClause("x", label="load"), InputClause("y")),
    (OutputClause("a"), OutputClause("b")),
    (
        Rule(("> 5", '"up"'), ("x * 2", '"first"'), annotations=("why not",), id="one"),
        Rule(("[0..5]", "-"), ("0", '"second"')),
        Rule(("? > 5 and y = null", "null"), ("1", '"third"')),
    ),
    hit_policy="RULE ORDER",
    annotation_names=("remark",),
)
_MODEL = compile_model(
    model(decision("it", _TABLE, "x", "y"), inputs={"x": "number", "y": "string"})
)


def _trace(**facts: object) -> TableTrace:
    made = _MODEL.decide(facts, trace=True)
    assert made.trace is not None
    (table,) = made.trace
    return table


def test_a_trace_has_the_columns_their_values_and_every_rule() -> None:
    table = _trace(x=7, y="up")
    assert table.element == "decision 'it'"
    assert table.hit_policy == "R"
    assert table.columns == ("load", "y")
    assert table.values == (7, "up")
    assert [rule.id for rule in table.rules] == ["one", "2", "3"]
    assert table.value == [{"a": 14, "b": "first"}]


def test_a_rule_that_matches_has_its_outputs_and_remarks() -> None:
    first, second, third = _trace(x=7, y="up").rules
    assert (first.matched, first.applied) == (True, True)
    assert first.outputs == {"a": 14, "b": "first"}
    assert first.annotations == ("why not",)
    assert (second.matched, second.applied, second.outputs) == (False, False, None)
    assert not third.matched


def test_a_cell_is_true_or_false_or_neither() -> None:
    first, second, third = _trace(x=None, y=None).rules
    assert first.cells[0].matched is None
    assert first.cells[1].matched is False
    assert second.cells[1] == CellTrace("-", matched=True)
    assert third.cells[0].matched in {None, False}
    assert third.cells[1].matched is True
    assert first.cells[0].problem


def test_the_tables_of_functions_and_of_other_decisions_are_in_the_trace_in_their_order() -> None:
    doubled = DecisionTable(
        (InputClause("n"),), (OutputClause(),), (Rule(("-",), ("n * 2",), id="twice"),)
    )
    function = KnowledgeModel("double", FunctionDefinition((Parameter("n", "number"),), doubled))
    call = Invocation(LiteralExpression("double"), (Binding("n", LiteralExpression("it[1].a")),))
    found = compile_model(
        model(
            decision("it", _TABLE, "x", "y"),
            decision("last", call, decisions=["it"], knowledge=["double"]),
            inputs={"x": "number", "y": "string"},
            functions=[function],
        )
    )
    made = found.decide({"x": 7, "y": "up"}, "last", trace=True)
    assert made.outputs == 28
    assert made.trace is not None
    assert [table.value for table in made.trace] == [[{"a": 14, "b": "first"}], 28]
    assert made.matched == ("twice",)


def test_where_a_value_is_not_allowed_nothing_was_tested() -> None:
    table = DecisionTable(
        (InputClause("x", allowed="< 5"),), (OutputClause(),), (Rule(("-",), ("1",)),)
    )
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}))
    made = found.decide({"x": 7}, trace=True)
    assert made.trace is not None
    assert made.trace[0].values == ()
    assert made.trace[0].rules[0].cells[0].matched is None
    assert not made.trace[0].rules[0].matched


def _compiled() -> CompiledTable:
    (table,) = _MODEL.tables()["it"]
    return table


def test_a_trace_that_would_take_too_long_says_so_cell_by_cell() -> None:
    table = _compiled()
    names: dict[str, Value] = {"x": Decimal(7), "y": "up"}
    result = table.decide(Evaluation(), names)
    found = explain_table(table, names, result, steps=2)
    cells = [cell for rule in found.rules for cell in rule.cells]
    assert any("more steps" in cell.problem for cell in cells)
    assert found.rules[0].applied


@pytest.mark.parametrize("x", [7, 7.0, Decimal(7)])
def test_a_trace_does_not_change_what_is_decided(x: object) -> None:
    facts = {"x": x, "y": "up"}
    with_trace, without = _MODEL.decide(facts, trace=True), _MODEL.decide(facts)
    assert with_trace.outputs == without.outputs
    assert with_trace.problems == without.problems
    assert without.trace is None
