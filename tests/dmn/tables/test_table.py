"""Compiled tables: what the index knows, what the language must say, and what is wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmn.models import decision, model
from federlib.dmn import (
    DecisionTable,
    Definitions,
    HitPolicy,
    InputClause,
    ItemDefinition,
    OutputClause,
    Rule,
    compile_model,
    find_problems,
)
from federlib.dmn.feel import ANY, Evaluation, Scope
from federlib.dmn.feel.compile import UnaryTests
from federlib.dmn.feel.convert import from_python
from federlib.dmn.feel.values import Value
from federlib.dmn.model.item_types import ItemTypes
from federlib.dmn.tables.compiler import compile_table, read_constant
from federlib.dmn.tables.table import CompiledTable, TableColumn


def _rules(*rules: tuple[tuple[str, ...], tuple[str, ...]]) -> tuple[Rule, ...]:
    return tuple(Rule(conditions, conclusions) for conditions, conclusions in rules)


def _model(table: DecisionTable, **inputs: str) -> Definitions:
    return model(decision("it", table, *inputs), inputs=inputs)


def _alone(table: DecisionTable, told: list[str]) -> CompiledTable:
    def report(element: str, text: str, *, rule: int | None = None, column: str = "") -> None:
        told.append(f"{element}, {rule}, {column}: {text}")

    names = {"x": ANY, "y": ANY}
    types = ItemTypes((), {}, report)
    return compile_table(table, Scope(names), "it", types=types, report=report)


_CELLS = st.sampled_from(
    ["-", "5", "< 5", ">= 5", "[2..7)", "1, 2, 3", "not(5)", "null", "not(null)", "? > 5",
     '"a"', 'not("a")', '"a", "b"', "true", "string length(?) > 1", "< y", 'date("2026-01-01")',
     "[1,2]", "? = y", "not(< 5)"]
)  # fmt: skip
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(["a", "b", "abc"]),
    st.integers(0, 9),
    st.floats(0, 9),
    st.just([1, 2]),
    st.just(["a"]),
    st.just({"a": 1}),
    st.just(dt.date(2026, 1, 1)),
)
_POLICIES: list[HitPolicy] = ["UNIQUE", "ANY", "FIRST", "RULE ORDER", "COLLECT", "PRIORITY"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(_CELLS, _CELLS, st.sampled_from(["1", "2", "3", "x", "null"])), max_size=8),
    st.sampled_from(_POLICIES),
    _VALUES,
    _VALUES,
)
def test_short_way_long_way_and_a_look_at_each_cell_say_the_same(
    written: list[tuple[str, str, str]], policy: HitPolicy, x: object, y: object
) -> None:
    table = DecisionTable(
        (InputClause("x"), InputClause("y")),
        (OutputClause("out", allowed="3, 2, 1" if policy == "PRIORITY" else ""),),
        tuple(Rule((first, second), (out,)) for first, second, out in written),
        hit_policy=policy,
    )
    compiled = compile_model(_model(table, x="", y=""))
    facts = {"x": x, "y": y}
    short = compiled.decide(facts)
    long = compiled.decide(facts, trace=True)
    assert compiled.outputs(facts) == short.outputs == long.outputs
    assert (short.matched, short.applied) == (long.matched, long.applied)
    assert (short.problems, short.inputs_hash) == (long.problems, long.inputs_hash)
    assert long.trace is not None
    held = [rule.id for rule in long.trace[0].rules if rule.matched]
    assert list(long.matched) == (held[:1] if policy == "FIRST" else held)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_CELLS, _CELLS), max_size=12), _VALUES, _VALUES)
def test_the_index_finds_what_asking_every_rule_finds(
    written: list[tuple[str, str]], x: object, y: object
) -> None:
    table = DecisionTable(
        (InputClause("x"), InputClause("y")),
        (OutputClause(),),
        tuple(Rule(cells, ("1",)) for cells in written),
        hit_policy="COLLECT",
    )
    compiled = _alone(table, [])
    names = {"x": from_python(x), "y": from_python(y)}
    expected = [
        number
        for number, cells in enumerate(written)
        if all(
            column.compile(text).matches(Evaluation(), names, names[column.name]) is True
            for column, text in zip(compiled.columns, cells, strict=True)
        )
    ]
    assert compiled.matching(Evaluation(), names, names) == expected


class _Deaf:
    """A witness that hears nothing, but may have."""

    def asked(self, table: object, names: Mapping[str, object], result: object) -> None:
        pass


@pytest.mark.parametrize(
    ("x", "matched"), [("abcd", [0, 1, 2]), ("ab", []), (None, [])], ids=["holds", "not", "fails"]
)
def test_a_cell_that_several_rules_share_is_looked_at_once_and_costs_and_tells_the_same(
    monkeypatch: pytest.MonkeyPatch, x: Value, matched: list[int]
) -> None:
    # Over two columns with the same text: what holds of one says nothing of the other.
    cells = ("string length(?) > 3", "string length(?) > 3")
    table = DecisionTable(
        (InputClause("x"), InputClause("y")),
        (OutputClause(),),
        tuple(Rule(cells, ("1",)) for _ in range(3)),
        hit_policy="COLLECT",
    )
    compiled = _alone(table, [])
    names: dict[str, Value] = {"x": x, "y": "abcdef"}
    once, always = Evaluation(), Evaluation(witness=_Deaf())
    looks: list[Evaluation] = []
    look = UnaryTests.matches

    def counted(
        self: UnaryTests, ev: Evaluation, names: Mapping[str, Value], value: Value
    ) -> bool | None:
        looks.append(ev)
        return look(self, ev, names, value)

    monkeypatch.setattr(UnaryTests, "matches", counted)
    for ev in (once, always):
        assert compiled.matching(ev, names, names) == matched
    assert (once.steps, once.problems) == (always.steps, always.problems)
    columns = 2 if matched else 1
    assert looks.count(always) == 3 * columns
    # What fails is told by every rule.
    assert looks.count(once) == (3 if x is None else columns)


def test_what_a_column_tests_may_be_any_expression() -> None:
    table = DecisionTable(
        (InputClause("x + 1"), InputClause("order.total", type_ref="number")),
        (OutputClause(),),
        _rules((("> 5", "< 10"), ('"yes"',)), (("-", "-"), ('"no"',))),
        hit_policy="FIRST",
    )
    kind = ItemDefinition("tOrder", components=(ItemDefinition("total", "number"),))
    found = compile_model(
        model(
            decision("it", table, "x", "order"),
            inputs={"x": "number", "order": "tOrder"},
            item_definitions=(kind,),
        )
    )
    assert found.outputs({"x": 5, "order": {"total": 9}}) == "yes"
    assert found.outputs({"x": 4, "order": {"total": 9}}) == "no"
    assert found.outputs({"x": 5, "order": {"total": 10}}) == "no"


def test_a_cell_may_look_into_what_is_tested() -> None:
    kind = ItemDefinition("tOrder", components=(ItemDefinition("grand total", "number"),))
    table = DecisionTable(
        (InputClause("order"),),
        (OutputClause(),),
        _rules((("?.grand total > 5",), ("1",)), (("-",), ("2",))),
        hit_policy="FIRST",
    )
    found = compile_model(
        model(decision("it", table, "order"), inputs={"order": "tOrder"}, item_definitions=(kind,))
    )
    assert found.outputs({"order": {"grand total": 6}}) == 1
    assert found.outputs({"order": {"grand total": 5}}) == 2


_ALLOWED = DecisionTable(
    (InputClause("tier", allowed='"gold", "silver"'),),
    (OutputClause("rate", allowed="[0..1]"), OutputClause("why")),
    _rules((('"gold"',), ("tier rate", '"g"')), (("-",), ("0.1", '"s"'))),
    hit_policy="FIRST",
)


def test_a_value_that_an_input_does_not_allow_decides_nothing() -> None:
    found = compile_model(
        model(
            decision("it", _ALLOWED, "tier", "tier rate"),
            inputs={"tier": "string", "tier rate": "number"},
        )
    )
    made = found.decide({"tier": "bronze", "tier rate": 1})
    assert made.outputs is None
    assert made.matched == ()
    assert any("tier is not an allowed value" in problem for problem in made.problems)
    assert found.outputs({"tier": "silver", "tier rate": 1}) == {"rate": 0.1, "why": "s"}


def test_an_output_that_is_not_allowed_is_null_and_the_others_stay() -> None:
    found = compile_model(
        model(
            decision("it", _ALLOWED, "tier", "tier rate"),
            inputs={"tier": "string", "tier rate": "number"},
        )
    )
    assert found.outputs({"tier": "gold", "tier rate": 0.5}) == {"rate": 0.5, "why": "g"}
    made = found.decide({"tier": "gold", "tier rate": 2})
    assert made.outputs == {"rate": None, "why": "g"}
    assert any("rule 1" in each and "not an allowed value" in each for each in made.problems)


def test_a_constant_that_is_not_allowed_or_of_another_type_is_a_problem_of_the_model() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause("a", allowed="1, 2"), OutputClause("b", type_ref="string")),
        _rules((("1",), ("3", '"ok"')), (("2",), ("1", "5"))),
    )
    problems = [str(each) for each in find_problems(_model(table, x="number"))]
    assert any("rule 1" in each and "not an allowed value" in each for each in problems)
    assert any("rule 2" in each and "type string" in each for each in problems)


def test_only_some_outputs_may_have_defaults() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause("a", default="x * 2"), OutputClause("b")),
        _rules((("1",), ("1", "1"))),
    )
    assert compile_model(_model(table, x="number")).outputs({"x": 4}) == {"a": 8, "b": None}


def test_a_fact_of_another_type_than_its_column_is_null_and_told() -> None:
    table = DecisionTable(
        (InputClause("x", type_ref="number"),),
        (OutputClause(),),
        _rules((("> 5",), ("1",)), (("null",), ("2",))),
    )
    made = compile_model(_model(table, x="")).decide({"x": "7"})
    assert made.outputs == 2
    assert any("x is not of type number" in problem for problem in made.problems)


def test_true_is_not_one() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause(),),
        _rules((("1",), ('"number"',)), (("true",), ('"boolean"',))),
        hit_policy="COLLECT",
    )
    found = compile_model(_model(table, x=""))
    assert found.outputs({"x": True}) == ["boolean"]
    assert found.outputs({"x": 1}) == found.outputs({"x": 1.0}) == ["number"]
    assert found.outputs({"x": Decimal("1.00")}) == ["number"]


def test_everything_that_is_wrong_is_told_by_rule_and_column() -> None:
    table = DecisionTable(
        (InputClause("x"), InputClause("oops +")),
        (OutputClause("a"),),
        (
            Rule(("] [", "-"), ("1",)),
            Rule(("-",), ("1", "2")),
            Rule(("-", "-"), ("1 +",)),
        ),
        hit_policy="COLLECT",
    )
    told: list[str] = []
    compiled = _alone(table, told)
    text = "\n".join(told)
    assert "it, 1, x:" in text
    assert "it, None, oops +:" in text
    assert "it, 2, : 1 conditions for 2 inputs" in text
    assert "it, 2, : 2 conclusions for 1 outputs" in text
    assert "it, 3, a:" in text
    # What is broken never holds, or is null; the rest is there.
    ev = Evaluation()
    result = compiled.decide(ev, {"x": Decimal(1)})
    assert result.matched == (1, 2)
    assert result.value == [Decimal(1), None]
    assert ev.problems


def test_a_table_without_inputs_and_one_without_rules_are_tables() -> None:
    always = DecisionTable((), (OutputClause(),), _rules(((), ("1",))))
    assert compile_model(_model(always)).outputs({}) == 1
    never = DecisionTable((InputClause("x"),), (OutputClause(default="2"),), ())
    assert compile_model(_model(never, x="")).outputs({"x": 1}) == 2


def test_asking_cell_by_cell_ends_in_time() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause(),),
        tuple(Rule((f'"{number}"',), ("1",)) for number in range(3_000)),
    )
    compiled = compile_model(_model(table, x=""))
    assert compiled.decide({"x": [1]}).outputs is None
    assert compiled.decide({"x": ["2999"]}).problems or compiled.outputs({"x": ["2999"]}) is None


def test_a_cell_compiled_for_one_evaluation_is_there_for_the_next_at_the_same_price(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause(),),
        tuple(Rule((f'"{number % 3}"',), ("1",)) for number in range(9)),
        hit_policy="COLLECT",
    )
    compiled = _alone(table, [])
    made: list[str] = []
    make = TableColumn.compile

    def counted(self: TableColumn, text: str) -> object:
        made.append(text)
        return make(self, text)

    monkeypatch.setattr(TableColumn, "compile", counted)
    monkeypatch.setattr("federlib.dmn.tables.table._MAX_COMPILED", 2)
    steps = []
    for _ in range(2):
        ev = Evaluation()
        # No index knows lists.
        assert compiled.decide(ev, {"x": ["1"]}).matched == ()
        steps.append(ev.steps)
    assert steps[0] == steps[1]
    assert made == ['"0"', '"1"', '"2"', '"2"']


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("null", None), ("true", True), (' "a" ', "a"), ("1.50", Decimal("1.5")),
        ("-3", Decimal(-3)), (".5", Decimal("0.5")),
    ],
)  # fmt: skip
def test_constants_are_read_without_the_parser(text: str, value: object) -> None:
    assert read_constant(text) == (value,)


@pytest.mark.parametrize("text", ['"a\\n"', "1 + 1", "x", "- 5", '"a" + "b"', "nullx", "٣", "-"])
def test_what_is_no_plain_constant_is_left_to_the_parser(text: str) -> None:
    assert read_constant(text) is None
