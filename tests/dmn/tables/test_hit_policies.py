"""What a table makes of the rules that match, violations and empty results included."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn.models import decision, model
from federlib.dmn import (
    Aggregator,
    DecisionTable,
    HitPolicy,
    InputClause,
    ItemDefinition,
    Model,
    OutputClause,
    Rule,
    compile_model,
    find_problems,
)
from federlib.dmn.tables.hit_policies import letter

_PRIORITIES = '"high", "middle", "low"'


def _table(
    rules: Sequence[tuple[str, str]],
    policy: HitPolicy,
    aggregator: Aggregator | None = None,
    *,
    allowed: str = "",
    default: str = "",
) -> DecisionTable:
    return DecisionTable(
        (InputClause("x"),),
        (OutputClause(allowed=allowed, default=default),),
        tuple(
            Rule((condition,), (conclusion,), id=f"r{number}")
            for number, (condition, conclusion) in enumerate(rules, 1)
        ),
        hit_policy=policy,
        aggregator=aggregator,
    )


def _compiled(table: DecisionTable) -> Model:
    return compile_model(model(decision("it", table, "x"), inputs={"x": "number"}))


_STEPS = (("> 1", "10"), ("> 2", "20"), ("> 3", "30"), ("> 3", "5"))


@pytest.mark.parametrize(
    ("policy", "aggregator", "x", "value", "applied"),
    [
        ("FIRST", None, 4, 10, ("r1",)),
        ("RULE ORDER", None, 4, [10, 20, 30, 5], ("r1", "r2", "r3", "r4")),
        ("COLLECT", None, 3, [10, 20], ("r1", "r2")),
        ("COLLECT", "SUM", 4, 65, ("r1", "r2", "r3", "r4")),
        ("COLLECT", "MIN", 4, 5, ("r1", "r2", "r3", "r4")),
        ("COLLECT", "MAX", 4, 30, ("r1", "r2", "r3", "r4")),
        ("COLLECT", "COUNT", 4, 4, ("r1", "r2", "r3", "r4")),
        ("UNIQUE", None, 2, 10, ("r1",)),
    ],
)  # fmt: skip
def test_each_policy_makes_its_own_of_the_rules_that_match(
    policy: HitPolicy,
    aggregator: Aggregator | None,
    x: int,
    value: object,
    applied: tuple[str, ...],
) -> None:
    made = _compiled(_table(_STEPS, policy, aggregator)).decide({"x": x})
    assert made.outputs == value
    assert made.applied == applied
    assert made.problems == ()


@pytest.mark.parametrize(
    ("policy", "aggregator"),
    [
        ("UNIQUE", None),
        ("ANY", None),
        ("FIRST", None),
        ("RULE ORDER", None),
        ("COLLECT", None),
        ("COLLECT", "SUM"),
        ("COLLECT", "MIN"),
        ("COLLECT", "MAX"),
        ("COLLECT", "COUNT"),
    ],
)
def test_without_a_match_the_result_is_null_for_every_policy(
    policy: HitPolicy, aggregator: Aggregator | None
) -> None:
    """10.3.2.10, step 2b: `DTI=null`, before anything is collected."""
    made = _compiled(_table(_STEPS, policy, aggregator)).decide({"x": 0})
    assert made.outputs is None
    assert made.matched == made.applied == made.problems == ()


@pytest.mark.parametrize(
    ("policy", "aggregator"),
    [
        ("UNIQUE", None),
        ("FIRST", None),
        ("COLLECT", None),
        ("RULE ORDER", None),
        ("COLLECT", "SUM"),
    ],
)
def test_without_a_match_the_default_output_is_the_result(
    policy: HitPolicy, aggregator: Aggregator | None
) -> None:
    """10.3.2.10, step 2a: `DTI=FEEL(d)`, for policies that give lists too."""
    found = _compiled(_table(_STEPS, policy, aggregator, default="3 + 4"))
    assert found.outputs({"x": 0}) == 7
    assert found.outputs({"x": 0.5}) == 7


def test_unique_with_several_matches_is_an_error_that_names_them() -> None:
    made = _compiled(_table(_STEPS, "UNIQUE")).decide({"x": 3})
    assert made.outputs is None
    assert made.matched == ("r1", "r2")
    assert made.applied == ()
    assert len(made.problems) == 1
    assert "UNIQUE: rules r1 and r2 match" in made.problems[0]


def test_any_with_equal_outputs_is_their_output_and_with_others_an_error_that_names_them() -> None:
    rules = (("> 1", "1"), ("> 2", "1.0"), ("> 3", "2"))
    found = _compiled(_table(rules, "ANY"))
    made = found.decide({"x": 3})
    assert (made.outputs, made.applied) == (1, ("r1", "r2"))
    made = found.decide({"x": 4})
    assert made.outputs is None
    assert "ANY: rules r1, r2 and r3 match" in made.problems[0]


def test_any_takes_nulls_for_equal() -> None:
    made = _compiled(_table((("> 1", "null"), ("> 2", "")), "ANY")).decide({"x": 3})
    assert made.outputs is None
    assert made.problems == ()
    assert made.applied == ("r1", "r2")


_RANKED = (("> 1", '"low"'), ("> 2", '"high"'), ("> 3", '"middle"'), ("> 3", '"low"'))


def test_priority_takes_the_first_of_the_allowed_values_whatever_the_order_of_the_rules() -> None:
    found = _compiled(_table(_RANKED, "PRIORITY", allowed=_PRIORITIES))
    assert found.decide({"x": 4}).applied == ("r2",)
    made = found.decide({"x": 2})
    assert (made.outputs, made.matched, made.applied) == ("low", ("r1",), ("r1",))


def test_output_order_sorts_by_the_allowed_values_and_keeps_the_order_of_equals() -> None:
    made = _compiled(_table(_RANKED, "OUTPUT ORDER", allowed=_PRIORITIES)).decide({"x": 4})
    assert made.outputs == ["high", "middle", "low", "low"]
    assert made.applied == ("r2", "r3", "r1", "r4")
    assert made.matched == ("r1", "r2", "r3", "r4")


_LEVEL = ItemDefinition("level", "string", allowed=_PRIORITIES)


@pytest.mark.parametrize(
    ("types", "type_ref", "best"),
    [
        ((_LEVEL,), "level", "high"),
        ((_LEVEL, ItemDefinition("mine", "level")), "mine", "high"),
        ((_LEVEL, ItemDefinition("up", "level", allowed='"low", "middle", "high"')), "up", "low"),
    ],
)
def test_an_output_without_allowed_values_is_ranked_by_those_of_its_type(
    types: tuple[ItemDefinition, ...], type_ref: str, best: str
) -> None:
    made = {}
    for policy in ("PRIORITY", "OUTPUT ORDER"):
        table = msgspec.structs.replace(
            _table(_RANKED, policy), outputs=(OutputClause(type_ref=type_ref),)
        )
        written = model(decision("it", table, "x"), inputs={"x": "number"}, item_definitions=types)
        made[policy] = compile_model(written).outputs({"x": 4})
    order = ["high", "middle", "low", "low"]
    assert made == {
        "PRIORITY": best,
        "OUTPUT ORDER": order if best == "high" else ["low", "low", "middle", "high"],
    }


def test_allowed_values_of_an_output_go_before_those_of_its_type() -> None:
    clause = OutputClause(type_ref="level", allowed='"middle", "high", "low"')
    table = msgspec.structs.replace(_table(_RANKED, "PRIORITY"), outputs=(clause,))
    written = model(decision("it", table, "x"), inputs={"x": "number"}, item_definitions=(_LEVEL,))
    assert compile_model(written).outputs({"x": 4}) == "middle"


def test_a_collection_is_not_ranked_by_the_values_of_its_elements() -> None:
    levels = ItemDefinition("levels", "level", is_collection=True)
    table = msgspec.structs.replace(
        _table((("-", '["high"]'),), "PRIORITY"), outputs=(OutputClause(type_ref="levels"),)
    )
    written = model(
        decision("it", table, "x"), inputs={"x": "number"}, item_definitions=(_LEVEL, levels)
    )
    (problem,) = find_problems(written)
    assert "PRIORITY needs allowed values" in problem.text


def test_priority_of_several_outputs_goes_column_by_column() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause("a", allowed='"yes", "no"'), OutputClause("b", allowed="1, 2, 3")),
        (
            Rule(("-",), ('"no"', "1")),
            Rule(("-",), ('"yes"', "3")),
            Rule(("-",), ('"yes"', "2")),
        ),
        hit_policy="PRIORITY",
    )
    assert _compiled(table).outputs({"x": 1}) == {"a": "yes", "b": 2}


@pytest.mark.parametrize("policy", ["PRIORITY", "OUTPUT ORDER"])
def test_an_order_without_allowed_values_is_a_problem_of_the_model(policy: HitPolicy) -> None:
    problems = find_problems(
        model(decision("it", _table(_RANKED, policy), "x"), inputs={"x": "number"})
    )
    assert any(policy in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("aggregator", "conclusion", "told"),
    [
        ("SUM", '"a"', "rule r2 gives no number"),
        ("SUM", "null", "rule r2 gives no number"),
        ("MIN", '"a"', "no order"),
        ("MAX", "true", "no order"),
    ],
)
def test_what_cannot_be_aggregated_is_an_error_that_names_the_rule(
    aggregator: Aggregator, conclusion: str, told: str
) -> None:
    made = _compiled(_table((("> 1", "1"), ("> 2", conclusion)), "COLLECT", aggregator)).decide(
        {"x": 3}
    )
    assert made.outputs is None
    assert any(told in problem for problem in made.problems)


def test_a_sum_beyond_all_numbers_is_an_error() -> None:
    big = "9" * 34 + "e6111"
    made = _compiled(_table((("> 1", big), ("> 2", big)), "COLLECT", "SUM")).decide({"x": 3})
    assert made.outputs is None
    assert made.problems


@pytest.mark.parametrize(
    ("policy", "aggregator", "drawn"),
    [
        ("UNIQUE", None, "U"),
        ("OUTPUT ORDER", None, "O"),
        ("COLLECT", None, "C"),
        ("COLLECT", "SUM", "C+"),
        ("COLLECT", "MIN", "C<"),
        ("COLLECT", "MAX", "C>"),
        ("COLLECT", "COUNT", "C#"),
    ],
)
def test_the_letter_is_what_people_draw_in_the_corner(
    policy: HitPolicy, aggregator: Aggregator | None, drawn: str
) -> None:
    assert letter(_table(_STEPS, policy, aggregator)) == drawn


@given(st.permutations(range(6)), st.integers(0, 60))
def test_under_unique_the_order_of_the_rules_says_nothing(order: list[int], x: int) -> None:
    rules = [(f"[{low * 10}..{low * 10 + 10})", str(low)) for low in range(6)]
    here = _compiled(_table([rules[place] for place in order], "UNIQUE"))
    assert here.outputs({"x": x}) == (x // 10 if x < 60 else None)


def test_many_rules_are_counted_not_listed() -> None:
    rules = [("> 0", str(number)) for number in range(30)]
    (problem,) = _compiled(_table(rules, "UNIQUE")).decide({"x": 1}).problems
    assert "r10 and 20 more match" in problem


def test_allowed_values_that_are_no_list_give_no_order() -> None:
    table = _table(_RANKED, "PRIORITY", allowed='not("x")')
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}), strict=False)
    made = found.decide({"x": 4})
    assert made.outputs is None
    assert any("need allowed output values" in problem for problem in made.problems)
    table = _table(_RANKED, "OUTPUT ORDER", allowed='not("x")')
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}), strict=False)
    assert found.decide({"x": 4}).outputs is None


def test_a_value_without_a_rank_comes_last() -> None:
    rules = (("> 0", "x"), ("> 0", '"low"'))
    table = _table(rules, "OUTPUT ORDER", allowed='"high", "low"')
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}))
    made = found.decide({"x": 4})
    assert made.outputs == ["low", None]


@pytest.mark.parametrize("aggregator", ["SUM", "MIN", "MAX"])
def test_several_outputs_are_not_aggregated(aggregator: Aggregator) -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause("a"), OutputClause("b")),
        (Rule(("-",), ("1", "2")), Rule(("-",), ("3", "4"))),
        hit_policy="COLLECT",
        aggregator=aggregator,
    )
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}), strict=False)
    made = found.decide({"x": 4})
    assert made.outputs is None
    assert made.problems
    count = msgspec.structs.replace(table, aggregator="COUNT")
    found = compile_model(model(decision("it", count, "x"), inputs={"x": "number"}), strict=False)
    assert found.outputs({"x": 4}) == 2


def test_the_first_of_a_sum_must_be_a_number_too() -> None:
    made = _compiled(_table((("> 1", '"a"'), ("> 2", "1")), "COLLECT", "SUM")).decide({"x": 3})
    assert "rule r1 gives no number" in made.problems[0]
