"""The short way: it answers what the long way answers, or leaves it to it."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmn.models import decision, model
from federlib.dmn import (
    DecisionTable,
    InputClause,
    ItemDefinition,
    Model,
    OutputClause,
    Rule,
    compile_model,
)
from federlib.errors import InvalidInput

_TABLE = DecisionTable(
    (InputClause("tier", allowed='"gold", "silver", "basic"'), InputClause("load")),
    (OutputClause("rate"),),
    (
        Rule(('"gold"', "< 50"), ("1",)),
        Rule(('"gold", "silver"', "[50..80]"), ("2",)),
        Rule(("-", "> 80"), ("3",)),
        Rule(('"basic"', "-"), ("4",)),
    ),
    hit_policy="FIRST",
)
_PERCENT = ItemDefinition("tPercent", "number", allowed="[0..100]")
_GUARDED = compile_model(
    model(
        decision("it", _TABLE, "tier", "load"),
        inputs={"tier": "string", "load": "tPercent"},
        item_definitions=(_PERCENT,),
    )
)


_BARE = compile_model(
    model(
        decision("it", _TABLE, "tier", "load"),
        inputs={"tier": "string", "load": "number"},
    )
)


class _Colour(str, Enum):  # noqa: UP042 (as older programs have it)
    GOLD = "gold"


_FACTS = st.fixed_dictionaries(
    {},
    optional={
        "tier": st.sampled_from(
            ["gold", "silver", "basic", "tin", "", None, 1, True, _Colour.GOLD]
        ),
        "load": st.one_of(
            st.none(), st.booleans(), st.integers(-5, 105), st.floats(-5, 105),
            st.decimals(-5, 105, places=2), st.just("50"), st.just([50]), st.just(10**40),
        ),
        "other": st.integers(),
    },
)  # fmt: skip


def _is_same(found: Model, facts: dict[str, object]) -> None:
    short, long = found.decide(facts), found.decide(facts, trace=True)
    assert short.outputs == long.outputs == found.outputs(facts)
    assert short.matched == long.matched
    assert short.applied == long.applied
    assert short.problems == long.problems
    assert short.inputs == long.inputs
    assert short.inputs_hash == long.inputs_hash


@settings(deadline=None)
@given(_FACTS)
def test_guarded_facts_pass_as_they_are_or_go_the_long_way(facts: dict[str, object]) -> None:
    _is_same(_GUARDED, facts)


def test_the_short_way_is_gone_where_values_are_allowed() -> None:
    answer = _GUARDED.decider().answer
    assert answer({"tier": "gold", "load": 10}) == (1, ("1",), ("1",))
    assert answer({"tier": "gold", "load": 10.5}) == (1, ("1",), ("1",))
    for facts in (
        {"tier": "tin", "load": 10},
        {"tier": "gold", "load": 101},
        {"tier": "gold", "load": "10"},
        {"tier": ["gold"], "load": 10},
        {"tier": "gold", "load": float("nan")},
        {"tier": "gold"},
    ):
        assert answer(facts) is None


def test_allowed_texts_are_remembered_up_to_a_bound() -> None:
    table = DecisionTable(
        (InputClause("x", allowed="string length(?) > 1"),),
        (OutputClause(),),
        (Rule(("-",), ("1",)),),
    )
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "string"}))
    for number in range(600):
        assert found.outputs({"x": f"text {number}"}) == 1
    assert found.outputs({"x": "y"}) is None


def test_allowed_values_may_name_other_facts() -> None:
    table = DecisionTable(
        (InputClause("x", allowed="< y"), InputClause("y")),
        (OutputClause(),),
        (Rule(("-", "-"), ("1",)),),
    )
    found = compile_model(
        model(decision("it", table, "x", "y"), inputs={"x": "number", "y": "number"})
    )
    assert found.outputs({"x": 1, "y": 2}) == 1
    assert found.outputs({"x": 2, "y": 2}) is None


_RULES = tuple(
    Rule((f'"pool-{rule // 60}"', f"[{rule % 60 * 5}..{rule % 60 * 5 + 5})", "-"), (str(rule),))
    for rule in range(600)
)


@pytest.fixture(scope="module", name="large")
def _large() -> Model:
    table = DecisionTable(
        (InputClause("pool"), InputClause("depth"), InputClause("any")),
        (OutputClause(),),
        (*_RULES, Rule(("-", "-", '"x", 5'), ("999",)), Rule(("null", "null", "-"), ("1000",))),
        hit_policy="COLLECT",
    )
    return compile_model(
        model(
            decision("it", table, "pool", "depth", "any"),
            inputs={"pool": "", "depth": "", "any": ""},
        )
    )


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(st.none(), st.sampled_from(["pool-0", "pool-9", "pool-10"]), st.integers()),
    st.one_of(st.none(), st.integers(-5, 400), st.floats(-5, 400), st.decimals(-5, 400, places=1)),
    st.sampled_from(["x", "y", 5, 5.0, Decimal(5), True, None]),
)
def test_large_tables_are_asked_part_by_part(
    large: Model, pool: object, depth: object, other: object
) -> None:
    facts = {"pool": pool, "depth": depth, "any": other}
    expected = [
        rule
        for rule in range(600)
        if pool == f"pool-{rule // 60}"
        and isinstance(depth, int | float | Decimal)
        and rule % 60 * 5 <= depth < rule % 60 * 5 + 5
    ]
    expected += [999] if other in {"x", 5} else []
    expected += [1000] if pool is None and depth is None else []
    assert large.outputs(facts) == (expected or None)
    _is_same(large, facts)


@pytest.mark.parametrize("facts", [None, [], "ab", 5])
def test_what_are_no_facts_is_refused(large: Model, facts: object) -> None:
    with pytest.raises(ValueError, match="mapping"):
        large.outputs(facts)  # type: ignore[arg-type]  # that is what is tested


def test_combinations_that_are_kept_are_bounded() -> None:
    # Each of these facts makes another set of rules match.
    table = DecisionTable(
        tuple(InputClause(f"x{bit}") for bit in range(8)),
        (OutputClause(),),
        tuple(
            Rule(tuple("1" if place == bit else "-" for place in range(8)), (str(bit),))
            for bit in range(8)
        ),
        hit_policy="COLLECT",
    )
    names = [f"x{bit}" for bit in range(8)]
    found = compile_model(model(decision("it", table, *names), inputs=dict.fromkeys(names, "")))
    for number in range(256):
        facts = {f"x{bit}": number >> bit & 1 for bit in range(8)}
        assert found.outputs(facts) == ([bit for bit in range(8) if number >> bit & 1] or None)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.integers(-5, 3_100), st.floats(-5, 3_100), st.decimals(-5, 3_100, places=1),
        st.sampled_from([None, True, "5", 1e301, [5]]),
    )
)  # fmt: skip
def test_a_table_that_numbers_part_is_asked_part_by_part(numbered: Model, depth: object) -> None:
    is_number = isinstance(depth, int | float | Decimal) and depth is not True
    expected = depth // 5 if is_number and 0 <= depth < 3_000 else None  # type: ignore[operator]
    assert numbered.outputs({"depth": depth}) == (None if expected is None else int(expected))
    _is_same(numbered, {"depth": depth})


@pytest.fixture(scope="module", name="numbered")
def _numbered() -> Model:
    rules = tuple(Rule((f"[{low * 5}..{low * 5 + 5})",), (str(low),)) for low in range(600))
    table = DecisionTable((InputClause("depth"),), (OutputClause(),), rules)
    return compile_model(model(decision("it", table, "depth"), inputs={"depth": ""}))


def test_rules_that_nothing_parts_are_asked_too() -> None:
    rules = tuple(Rule((f"> {low}",), (str(low),)) for low in range(1_100))
    table = DecisionTable((InputClause("x"),), (OutputClause(),), rules, hit_policy="COLLECT")
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}))
    assert found.outputs({"x": 3}) == [0, 1, 2]
    assert found.outputs({"x": 1_100.5}) == list(range(1_100))
    assert found.decide({"x": True}).outputs is None
    _is_same(found, {"x": 1_024})


def test_a_computed_default_and_a_result_that_does_not_fit_go_the_long_way() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause(default="x + 1"),),
        (Rule(("> 5",), ('"text"',)), Rule(("< 1",), ("2",))),
    )
    found = compile_model(
        model(decision("it", table, "x", type_ref="number"), inputs={"x": "number"})
    )
    answer = found.decider().answer
    assert answer({"x": 3}) is None
    assert found.outputs({"x": 3}) == 4
    assert answer({"x": 6}) is None
    assert found.outputs({"x": 6}) is None
    assert answer({"x": 0}) == (2, ("2",), ("2",))
    assert answer([]) is None  # type: ignore[arg-type]  # whoever asks may be wrong


def test_a_default_that_does_not_fit_goes_the_long_way() -> None:
    table = DecisionTable((InputClause("x"),), (OutputClause(default='"a"'),), ())
    found = compile_model(
        model(decision("it", table, "x", type_ref="number"), inputs={"x": "number"})
    )
    assert found.decider().answer({"x": 1}) is None
    assert found.decide({"x": 1}).problems


@pytest.mark.parametrize(
    "load",
    [
        "100." + "0" * 40 + "1",
        "99." + "9" * 40,
        "1e-7000",
        "-1e-7000",
        "-1e-6177",
        "80.1",
        "1e6144",
    ],
)
def test_a_decimal_of_more_digits_is_rounded_on_both_ways(load: str) -> None:
    table = DecisionTable(
        (InputClause("load"),),
        (OutputClause("band"),),
        (Rule(("> 100",), ("1",)), Rule(("0",), ("2",)), Rule(("100",), ("3",)),
         Rule(("< 0",), ("4",)), Rule(("-",), ("5",))),
        hit_policy="FIRST",
    )  # fmt: skip
    asked = compile_model(model(decision("it", table, "load"), inputs={"load": "number"}))
    facts = {"load": Decimal(load)}
    found = asked.decide(facts, trace=True)
    assert asked.outputs(facts) == found.outputs
    assert asked.decide(facts).matched == found.matched


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_decimal_that_is_no_number_is_refused(number: str) -> None:
    facts = {"tier": "gold", "load": Decimal(number)}
    for ask in (_GUARDED.outputs, _GUARDED.decide, _BARE.outputs, _BARE.decide):
        with pytest.raises(InvalidInput, match="load: expected a finite number"):
            ask(facts)
