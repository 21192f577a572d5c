"""Gaps, overlaps and rules that never decide: each with an example, and none left out."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from federlib.dmn.analysis.classes import Classes, classes_of, constants_of, literal_text
from federlib.dmn.analysis.gaps import TableAnalysis, analyse
from federlib.dmn.engine.compiled import compile_model
from federlib.dmn.feel import (
    ANY,
    NUMBER,
    STRING,
    Evaluation,
    FeelType,
    Scope,
    UnaryTests,
    Value,
    compile_unary_tests,
    evaluate,
)
from federlib.dmn.feel.operators import kind_of
from federlib.dmn.model import (
    DecisionNode,
    DecisionTable,
    Definitions,
    HitPolicy,
    InputClause,
    InputData,
    ItemDefinition,
    OutputClause,
    Rule,
)
from federlib.dmn.tables.table import CompiledTable


def model_of(
    *rules: tuple[str, ...],
    policy: HitPolicy = "UNIQUE",
    inputs: tuple[tuple[str, str], ...] = (("cpu", "number"), ("pool", "string")),
    default: str = "",
    types: tuple[ItemDefinition, ...] = (),
) -> Definitions:
    table = DecisionTable(
        tuple(InputClause(name) for name, _ in inputs),
        (OutputClause("out", default=default),),
        tuple(Rule(rule[:-1], rule[-1:]) for rule in rules),
        hit_policy=policy,
    )
    node = DecisionNode("scale", table, inputs=tuple(name for name, _ in inputs))
    return Definitions(
        "m",
        inputs=tuple(InputData(name, kind) for name, kind in inputs),
        decisions=(node,),
        item_definitions=types,
    )


def analysed(*rules: tuple[str, ...], **options: object) -> TableAnalysis:
    (found,) = analyse(compile_model(model_of(*rules, **options)))  # type: ignore[arg-type]  # passed on
    return found


def test_a_gap_is_told_with_the_values_that_fall_into_it() -> None:
    found = analysed(("< 50", "-", "1"), ("> 50", "-", "2"), ("null", "-", "3"))
    assert [(gap.where, gap.example["cpu"]) for gap in found.gaps] == [({"cpu": "50"}, "50")]
    assert found.is_exhaustive
    assert not found.is_clean


def test_null_is_one_more_value() -> None:
    found = analysed(("< 50", "-", "1"), (">= 50", "-", "2"))
    assert [gap.where for gap in found.gaps] == [{"cpu": "null"}]
    whole = compile_model(model_of(("< 50", "-", "1"), (">= 50", "-", "2")))
    assert analyse(whole, has_null=False)[0].is_clean


def test_neighbouring_gaps_are_told_as_one() -> None:
    found = analysed(("< 10", "-", "1"), (">= 30", "-", "2"), ("null", "-", "3"))
    assert [gap.where for gap in found.gaps] == [{"cpu": "[10..30)"}]
    assert found.gaps[0].example == {"cpu": "10", "pool": '"other"'}


def test_other_strings_are_a_value_too() -> None:
    found = analysed(("-", '"a"', "1"), ("-", '"b", null', "2"))
    assert [gap.where for gap in found.gaps] == [{"pool": 'not("a", "b", null)'}]


def test_allowed_values_of_a_type_bound_what_is_looked_for() -> None:
    percent = ItemDefinition("tPercent", "number", allowed="[0..100]")
    rules = (("< 50", "-", "1"), (">= 50", "-", "2"), ("null", "-", "0"))
    found = analysed(*rules, inputs=(("cpu", "tPercent"), ("pool", "string")), types=(percent,))
    assert found.gaps == ()
    assert found.is_clean


def test_default_outputs_fill_gaps() -> None:
    found = analysed(("< 50", "-", "1"), default="0")
    assert found.gaps
    assert found.has_default
    assert found.is_clean


def test_two_rules_for_one_input_are_an_error_under_unique() -> None:
    found = analysed(("<= 50", "-", "1"), (">= 50", '"a"', "1"), (">= 50", 'not("a"), null', "2"))
    errors = [each for each in found.overlaps if each.is_error]
    assert [(each.rules, each.where["cpu"]) for each in errors] == [
        (("1", "2"), "50"),
        (("1", "3"), "50"),
    ]
    assert [each.is_conflict for each in errors] == [False, True]


def test_two_rules_that_agree_are_no_error_under_any() -> None:
    found = analysed(("<= 50", "-", "1"), (">= 50", "-", "1"), ("null", "-", "0"), policy="ANY")
    assert [each.is_error for each in found.overlaps] == [False]
    assert found.is_clean
    found = analysed(("<= 50", "-", "1"), (">= 50", "-", "2"), ("null", "-", "0"), policy="ANY")
    assert [each.is_error for each in found.overlaps] == [True]


def test_a_rule_that_earlier_ones_cover_never_decides_under_first() -> None:
    found = analysed(
        ("< 50", "-", "1"), (">= 40", "-", "2"), ("[30..60]", '"a"', "3"), ("-", "-", "4"),
        policy="FIRST",
    )  # fmt: skip
    assert [(each.rule, each.reason) for each in found.unreachable] == [
        ("3", "earlier rules match all it does")
    ]


def test_a_rule_whose_conditions_no_value_passes_is_told() -> None:
    percent = ItemDefinition("tPercent", "number", allowed="[0..100]")
    inputs = (("cpu", "tPercent"), ("pool", "string"))
    found = analysed(("> 100", "-", "1"), ("-", "-", "2"), inputs=inputs, types=(percent,))
    assert [each.rule for each in found.unreachable] == ["1"]


def test_columns_that_test_one_expression_are_one_axis() -> None:
    inputs = (("cpu", "number"), ("cpu", "number"))
    model = model_of((">= 10", "< 20", "1"), ("< 10", "-", "2"), ("-", ">= 20", "3"))
    table = DecisionTable(
        tuple(InputClause(name) for name, _ in inputs),
        (OutputClause("out"),),
        (
            Rule((">= 10", "< 20"), ("1",)),
            Rule(("< 10", "-"), ("2",)),
            Rule(("-", ">= 20"), ("3",)),
        ),
    )
    node = DecisionNode("scale", table, inputs=("cpu",))
    model = Definitions("m", inputs=(InputData("cpu", "number"),), decisions=(node,))
    (found,) = analyse(compile_model(model), has_null=False)
    assert (found.gaps, found.overlaps) == ((), ())


def test_a_cell_that_asks_for_other_facts_makes_the_analysis_say_so() -> None:
    inputs = (("a", "number"), ("b", "number"))
    found = analysed(("< b", "-", "1"), (">= b", "-", "2"), inputs=inputs)
    assert not found.is_exhaustive
    assert found.notes
    assert all(each.example["a"] == "null" or each.example["b"] == "null" for each in found.gaps)
    assert found.gaps


def test_only_so_many_are_told_and_that_is_said() -> None:
    rules = [(str(number), "-", "1") for number in range(0, 100, 2)]
    (found,) = analyse(compile_model(model_of(*rules)), limit=3)
    assert found.gaps
    assert len(found.gaps) <= 3
    many = [(str(number), f'"{number}"', "1") for number in range(50)]
    (found,) = analyse(compile_model(model_of(*many)), limit=3)
    assert len(found.gaps) == 3
    assert not found.is_exhaustive
    assert "gaps: only the first 3 are told" in found.notes


def test_a_table_of_a_thousand_rules_is_analysed() -> None:
    rules = [
        (f"[{10 * number}..{10 * number + 10})", '"a"' if number % 2 else "-", "1")
        for number in range(1000)
    ]
    (found,) = analyse(compile_model(model_of(*rules, policy="FIRST")))
    assert found.rules == 1000
    assert found.unreachable == ()
    assert found.gaps[0].where == {"cpu": "< 0, >= 10000, null"}


def test_a_table_that_would_fill_the_memory_is_said_to_be_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = [(f"{number}", "-", "1") for number in range(50)]
    model = compile_model(model_of(*rules))
    assert analyse(model)[0].notes == ()
    monkeypatch.setattr("federlib.dmn.analysis.grid._MAX_BITS", 1_000)
    assert analyse(model)[0].notes == ("the table is too large",)


def test_large_tables_end_in_time_and_say_what_was_not_looked_at() -> None:
    many = [(f"< {number}", f'"{number}"', "1") for number in range(500)]
    (found,) = analyse(compile_model(model_of(*many)))
    assert len(found.gaps) == 20
    texts = ", ".join(f'"{number}"' for number in range(5_000))
    (found,) = analyse(compile_model(model_of(("-", texts, "1"))))
    assert found.notes == ("the table is too large",)
    assert not found.is_exhaustive


# Against a search that tries everything.

numbers = st.sampled_from(["0", "1", "2", "2.5", "-3"])
number_cells = st.one_of(
    st.just("-"),
    numbers,
    st.just("null"),
    st.builds("{}{}".format, st.sampled_from(["<", "<=", ">", ">="]), numbers),
    st.builds("[{}..{})".format, numbers, numbers),
    st.builds("not({})".format, numbers),
    st.builds("{}, > {}".format, numbers, numbers),
)
string_cells = st.sampled_from(["-", '"a"', '"b"', '"a","b"', 'not("a")', "null", 'not("a","b")'])
rules = st.lists(st.tuples(number_cells, string_cells, st.sampled_from("12")), max_size=6)
TRIED = [
    dict(zip(("cpu", "pool"), pair, strict=True))
    for pair in product(
        [None, *(evaluate(str(half / 2)) for half in range(-9, 9))], [None, "a", "b", "c"]
    )
]


@cache
def compiled(text: str) -> UnaryTests:
    return compile_unary_tests(text)


def matching(table: CompiledTable, names: dict[str, Value]) -> set[str]:
    """Ask cell by cell."""
    return {
        table.rule_id(number)
        for number, rule in enumerate(table.table.rules)
        if all(
            compiled(text).matches(Evaluation(), names, names[column.name]) is True
            for column, text in zip(table.columns, rule.conditions, strict=True)
        )
    }


@settings(deadline=None)
@example([("-", "-", "1"), ("[0..0)", "-", "1")])
@given(rules)
def test_what_is_told_is_there_and_what_is_there_is_told(written: list[tuple[str, ...]]) -> None:
    model = compile_model(model_of(*written))
    (found,) = analyse(model, limit=10_000)
    ((table,),) = model.tables().values()
    assert found.is_exhaustive
    for gap in found.gaps:
        assert matching(table, read(gap.example)) == set()
    for overlap in found.overlaps:
        assert set(overlap.rules) <= matching(table, read(overlap.example))
    told = {tuple(sorted(each.rules)) for each in found.overlaps}
    alive = set()
    for names in TRIED:
        here = matching(table, names)
        alive |= here
        inside = [gap for gap in found.gaps if lies_in(names, gap.where)]
        assert len(inside) == (0 if here else 1)
        assert {pair for pair in product(here, here) if pair[0] < pair[1]} <= told
    assert not alive & {each.rule for each in found.unreachable}


def read(example: dict[str, str]) -> dict[str, Value]:
    return {name: evaluate(text) for name, text in example.items()}


def lies_in(names: dict[str, Value], where: dict[str, str]) -> bool:
    return all(passes_one(text, names[name]) for name, text in where.items())


def passes_one(text: str, value: Value) -> bool:
    if text.startswith("any"):
        return kind_of(value) in text
    return compiled(text).matches(Evaluation(), {}, value) is True


@pytest.mark.parametrize(
    ("kind", "texts", "examples"),
    [
        (NUMBER, ["> 5", "[10..20)"], ["4", "5", "6", "10", "11", "20", "21", "null"]),
        (NUMBER, ["0.1, 0.2"], ["-0.9", "0.1", "0.15", "0.2", "1.2", "null"]),
        (STRING, ['"a"'], ['"a"', '"other"', "null"]),
        (STRING, ['"other"'], ['"other"', '"other 2"', "null"]),
        (STRING, ['< "m"'], ['""', '"m"', '"ma"', "null"]),
        (ANY, ["true"], ["true", "false", "null"]),
        (ANY, ["-"], ["null"]),
        (NUMBER, ["-"], ["0", "null"]),
        (
            ANY,
            ['> date("2020-02-28"), @"2020-03-01"'],
            [
                '@"2020-02-27"',
                '@"2020-02-28"',
                '@"2020-02-29"',
                '@"2020-03-01"',
                '@"2020-03-02"',
                "null",
            ],
        ),
        (ANY, ['< @"P1M"'], ['@"P0M"', '@"P1M"', '@"P2M"', "null"]),
    ],
)
def test_each_class_of_a_column_has_an_example(
    kind: FeelType, texts: list[str], examples: list[str]
) -> None:
    classes = classes_of([constants_of(compile_unary_tests(text)) for text in texts], kind)
    assert [literal_text(each.example) for each in classes.members] == examples
    assert classes.is_exact


@pytest.mark.parametrize(
    ("text", "is_exact", "asks_facts"),
    [
        ("< 5", True, False),
        ("[1..2], not(3)", True, False),
        ('date("2020-01-01")', True, False),
        ("1 + 1", True, False),
        ("[1, 2, 3]", True, False),
        ("? > 5", False, False),
        ("< x", False, True),
        ("{a: 1}", False, False),
        ("for i in [1, 2] return i", False, False),
    ],
)
def test_a_cell_of_constants_is_told_from_one_that_computes(
    text: str, *, is_exact: bool, asks_facts: bool
) -> None:
    found = constants_of(compile_unary_tests(text, Scope({"x": NUMBER})))
    assert (found.is_exact, found.asks_facts) == (is_exact, asks_facts)


@given(st.recursive(
    st.none() | st.booleans() | st.text() | st.decimals(-1000, 1000, places=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
))  # fmt: skip
def test_a_literal_says_its_value(value: Value) -> None:
    assert evaluate(literal_text(value)) == value


def test_no_classes_is_still_one() -> None:
    assert len(classes_of([], ANY, has_null=False).members) == 1
    assert Classes((), is_exact=True).text([]) == "-"
