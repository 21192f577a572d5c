"""`Model.decide` and `Model.outputs`: what is asked, from what, and what comes back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmn.models import ask, decision, model
from federlib.dmn import (
    DecisionNode,
    DecisionTable,
    Definitions,
    Import,
    InputClause,
    InputData,
    LiteralExpression,
    OutputClause,
    Rule,
    compile_model,
    content_hash,
    find_problems,
    read_decision,
    write_decision,
)
from federlib.dmn.engine.asking import guarded
from federlib.dmn.feel import Evaluation
from federlib.errors import InvalidInput
from federlib.testing import strategies

_TABLE = DecisionTable(
    (InputClause("queue depth"), InputClause("pool")),
    (OutputClause("action"), OutputClause("by")),
    (
        Rule(("> 100", '"batch"'), ('"up"', "2"), id="large"),
        Rule(("> 100", 'not("batch")'), ('"up"', "1")),
        Rule(("<= 100", "-"), ('"stay"', "0")),
    ),
)
_SCALING = model(
    decision("scaling", _TABLE, "queue depth", "pool"),
    inputs={"queue depth": "number", "pool": "string"},
    version="7",
)


def test_outputs_are_as_python_has_them() -> None:
    found = compile_model(_SCALING)
    assert found.outputs({"queue depth": 120, "pool": "batch"}) == {"action": "up", "by": 2}
    assert found.outputs({"queue depth": 1.5, "pool": "x"}, "scaling") == {
        "action": "stay",
        "by": 0,
    }


def test_a_decision_says_from_what_and_by_which_rules_of_which_version() -> None:
    found = compile_model(_SCALING)
    made = found.decide({"queue depth": 120, "pool": "batch", "other": object()}, now_ns=5)
    assert made.outputs == {"action": "up", "by": 2}
    assert made.matched == made.applied == ("large",)
    assert made.inputs == {"queue depth": 120, "pool": "batch"}
    assert made.source.decision == "scaling"
    assert made.version == "7"
    assert made.content_hash == found.content_hash == content_hash(_SCALING)
    assert made.decided_at_ns == 5
    assert made.problems == ()
    assert made.trace is None


def test_a_trace_says_of_each_cell_whether_it_holds() -> None:
    made = compile_model(_SCALING).decide({"queue depth": 120, "pool": "x"}, trace=True)
    assert made.trace is not None
    (table,) = made.trace
    held = [[cell.matched for cell in rule.cells] for rule in table.rules]
    assert held == [[True, False], [True, True], [False, True]]
    assert made.matched == ("2",)


@pytest.mark.parametrize("facts", [{}, {"pool": "x"}])
def test_what_is_missing_is_null_and_a_problem(facts: dict[str, object]) -> None:
    made = compile_model(_SCALING).decide(facts)
    assert made.outputs is None
    assert "input 'queue depth' is not given, so it is null" in made.problems


def test_a_problem_is_told_where_the_missing_input_decides_nothing() -> None:
    made = compile_model(_SCALING).decide({"queue depth": 1})
    assert made.outputs == {"action": "stay", "by": 0}
    assert made.problems == ("input 'pool' is not given, so it is null",)


def test_a_null_and_a_missing_input_have_one_hash() -> None:
    found = compile_model(_SCALING)
    one = found.decide({"queue depth": 1, "pool": None})
    other = found.decide({"queue depth": Decimal("1.0")})
    assert one.inputs_hash == other.inputs_hash
    assert one.inputs_hash != found.decide({"queue depth": 2}).inputs_hash


def test_the_rules_of_a_decision_are_not_those_of_what_it_requires() -> None:
    found = compile_model(
        model(
            decision("last", 'scaling.action + "!"', decisions=("scaling",)),
            *_SCALING.decisions,
            inputs={"queue depth": "number", "pool": "string"},
        )
    )
    made = found.decide({"queue depth": 1, "pool": "x"}, trace=True)
    assert made.outputs == "stay!"
    assert made.matched == ()
    assert made.trace is not None
    assert [table.element for table in made.trace] == ["decision 'scaling'"]
    assert found.default_decision == "last"


def test_a_decision_must_be_named_where_more_than_one_is_required_by_none() -> None:
    found = compile_model(model(decision("a", "1"), decision("b", "2")))
    with pytest.raises(InvalidInput, match="one of a, b"):
        found.outputs({})
    assert found.outputs({}, "b") == 2
    with pytest.raises(InvalidInput, match="one of a, b"):
        found.decide({}, "c")


def test_facts_that_feel_cannot_hold_are_refused_by_name() -> None:
    found = compile_model(_SCALING)
    with pytest.raises(InvalidInput, match="queue depth"):
        found.decide({"queue depth": float("nan"), "pool": "x"})
    with pytest.raises(InvalidInput, match="facts"):
        found.decide([1])  # type: ignore[arg-type] # the mistake that is meant


def test_endless_work_keeps_what_it_was_asked_with() -> None:
    slow = decision("d", "count(for a in 1..n, b in 1..n, c in 1..n return a)", "n")
    made = compile_model(model(slow, inputs={"n": "number"})).decide({"n": 1000})
    assert made.outputs is None
    assert made.problems
    assert made.inputs == {"n": 1000}


def test_inputs_of_an_imported_model_are_facts_too() -> None:
    library = Definitions(
        "library",
        namespace="urn:library",
        inputs=(InputData("who", "string"),),
        decisions=(DecisionNode("hello", LiteralExpression('"hello " + who'), inputs=("who",)),),
    )
    main = Definitions(
        "main",
        imports=(Import("urn:library", "lib"),),
        decisions=(
            DecisionNode("d", LiteralExpression("lib.hello"), decisions=("urn:library#hello",)),
        ),
    )
    found = compile_model(main, [library])
    assert found.outputs({"who": "you"}) == found.outputs({"lib": {"who": "you"}}) == "hello you"
    assert found.decide({"lib": {"who": "you"}}).inputs == {"lib": {"who": "you"}}
    assert found.content_hash != content_hash(main)


def test_now_is_what_the_caller_says() -> None:
    found = compile_model(model(decision("d", "now().year")))
    assert found.outputs({}, now_ns=0) == 1970
    assert found.decide({}).problems


def test_the_short_way_and_the_long_way_say_the_same() -> None:
    found = compile_model(_SCALING)

    @settings(max_examples=50, deadline=None)
    @given(
        st.one_of(st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
        st.one_of(st.none(), st.sampled_from(["batch", "web"]), st.booleans()),
    )
    def check(depth: object, pool: object) -> None:
        facts = {"queue depth": depth, "pool": pool}
        made = found.decide(facts)
        value, problems = ask(found, "scaling", facts)
        assert made.outputs == value == found.outputs(facts)
        assert list(made.problems) == problems

    check()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(strategies.of(Definitions))
def test_models_that_are_generated_have_no_problems_and_decide(found: Definitions) -> None:
    assert find_problems(found) == ()
    compiled = compile_model(found)
    for each in found.decisions:
        made = compiled.decide({}, each.name, trace=True, now_ns=0)
        assert read_decision(write_decision(made)).inputs_hash == made.inputs_hash


def test_a_table_over_an_imported_input_is_decided_too() -> None:
    library = Definitions("l", namespace="urn:l", inputs=(InputData("n", "number", id="n"),))
    table = DecisionTable((InputClause("l.n"),), (OutputClause(),), (Rule(("> 1",), ('"big"',)),))
    main = Definitions(
        "m",
        imports=(Import("urn:l", "l"),),
        decisions=(DecisionNode("d", table, inputs=("urn:l#n",)),),
    )
    found = compile_model(main, [library])
    assert found.outputs({"l": {"n": 2}}) == "big"
    assert found.decide({"l": {"n": 2}}).matched == ("1",)


def test_a_stack_that_is_too_deep_is_a_problem() -> None:
    def endless() -> int:
        return endless()

    ev = Evaluation()
    assert guarded(ev, endless, 0) == 0
    assert ev.problems == ["functions call one another more deeply than they may"]
