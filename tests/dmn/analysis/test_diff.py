"""Two versions: what is written differently, and which inputs come out otherwise."""

from __future__ import annotations

import random
from itertools import product

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.dmn.analysis.diff import ModelDiff, diff_models
from federlib.dmn.engine.compiled import Model, compile_model
from federlib.dmn.model import (
    DecisionNode,
    DecisionTable,
    Definitions,
    InputClause,
    InputData,
    ItemDefinition,
    LiteralExpression,
    OutputClause,
    Rule,
)

Row = tuple[str, str, str]


def definitions_of(*rules: Row, default: str = "") -> Definitions:
    table = DecisionTable(
        (InputClause("cpu"), InputClause("pool")),
        (OutputClause("out", default=default),),
        tuple(Rule(rule[:-1], rule[-1:]) for rule in rules),
        hit_policy="FIRST",
    )
    node = DecisionNode("scale", table, inputs=("cpu", "pool"))
    inputs = (InputData("cpu", "number"), InputData("pool", "string"))
    return Definitions("m", inputs=inputs, decisions=(node,))


def model_of(*rules: Row, default: str = "") -> Model:
    return compile_model(definitions_of(*rules, default=default))


def compared(old: Model, new: Model, *, most: int = 20_000, limit: int = 10) -> ModelDiff:
    return diff_models(old, new, draw=random.Random(1).randrange, most=most, limit=limit)


def test_a_boundary_that_moved_is_shown_by_inputs_between_old_and_new() -> None:
    found = compared(
        model_of((">= 80", "-", '"up"'), ("-", "-", '"hold"')),
        model_of((">= 90", "-", '"up"'), ("-", "-", '"hold"')),
    )
    assert found.is_proof
    assert found.method == "exhaustive"
    (difference,) = found.differences
    assert difference.facts["cpu"] == 80
    assert (difference.before, difference.after) == ("up", "hold")
    assert (difference.rules_before, difference.rules_after) == (("1",), ("2",))
    assert [(each.what, each.rule, each.before) for each in found.changes] == [
        ("changed", "1", '>= 80 | - || "up"')
    ]


def test_an_open_boundary_that_closed_is_found_at_the_one_value() -> None:
    found = compared(model_of(("> 80", "-", "1")), model_of((">= 80", "-", "1")))
    assert [(each.facts["cpu"], each.before, each.after) for each in found.differences] == [
        (80, None, 1)
    ]


def test_rules_that_never_meet_may_change_places_and_that_is_proved() -> None:
    found = compared(
        model_of(("< 5", "-", "1"), (">= 5", '"a"', "2")),
        model_of((">= 5", '"a"', "2"), ("< 5", "-", "1")),
    )
    assert found.differences == ()
    assert found.is_proof
    assert {each.what for each in found.changes} == {"added", "removed"}


def test_what_was_rewritten_without_effect_is_no_difference() -> None:
    found = compared(model_of(("<= 5", "-", "1")), model_of(("not(> 5, null)", "-", "1.0")))
    assert found.differences == ()
    assert len(found.changes) == 1


def test_true_is_not_one() -> None:
    found = compared(model_of(("-", "-", "1")), model_of(("-", "-", "true")))
    assert [(each.before, each.after) for each in found.differences] == [(1, True)]


def test_too_many_combinations_are_drawn_and_that_is_said() -> None:
    rules: list[Row] = [(f"[{n}..{n + 1})", f'"{n % 7}"', str(n)) for n in range(200)]
    other = [*rules[:150], ("[150..151)", '"3"', "999"), *rules[151:]]
    found = compared(model_of(*rules), model_of(*other), most=500)
    assert found.method == "sampled"
    assert not found.is_proof
    assert found.tried == 500
    assert [each.after for each in found.differences] == [999]
    assert found.differences[0].facts == {"cpu": 150, "pool": "3"}


def test_only_so_many_examples_are_told() -> None:
    rules: list[Row] = [(str(n), "-", str(n)) for n in range(20)]
    other: list[Row] = [(str(n), "-", str(n + 1)) for n in range(20)]
    found = compared(model_of(*rules), model_of(*other), limit=5)
    assert len(found.differences) == 5
    assert not found.is_proof


def test_parts_of_a_context_are_given_as_one() -> None:
    person = ItemDefinition(
        "tPerson",
        components=(ItemDefinition("age", "number"), ItemDefinition("home town", "string")),
    )

    def model(limit: str) -> Model:
        table = DecisionTable(
            (InputClause("person.age"), InputClause("person.home town")),
            (OutputClause("out"),),
            (Rule((limit, '"Ulm"'), ("1",)),),
        )
        node = DecisionNode("d", table, inputs=("person",))
        return compile_model(
            Definitions(
                "m",
                inputs=(InputData("person", "tPerson"),),
                decisions=(node,),
                item_definitions=(person,),
            )
        )

    found = compared(model(">= 18"), model(">= 21"))
    assert [each.facts for each in found.differences] == [
        {"person": {"age": 18, "home town": "Ulm"}}
    ]
    assert found.is_proof


def test_what_is_computed_is_no_proof() -> None:
    def model(text: str) -> Model:
        node = DecisionNode("d", LiteralExpression(text), inputs=("x",))
        return compile_model(
            Definitions("m", inputs=(InputData("x", "number"),), decisions=(node,))
        )

    found = compared(model("x + 1"), model("x + 2"))
    assert not found.is_proof
    assert [(each.before, each.after) for each in found.differences] == [(0, 1)]
    assert found.changes[0].before == "x + 1"


def test_a_boundary_of_what_is_computed_is_found_by_drawing() -> None:
    def model(limit: str) -> Model:
        table = DecisionTable(
            (InputClause("ratio"), InputClause("zone")),
            (OutputClause("out"),),
            (Rule((f"> {limit}", '"a"'), ("1",)),),
        )
        ratio = DecisionNode("ratio", LiteralExpression("x / y"), inputs=("x", "y"))
        node = DecisionNode("d", table, inputs=("zone",), decisions=("ratio",))
        names = (("x", "number"), ("y", "number"), ("zone", "string"))
        inputs = tuple(InputData(name, kind) for name, kind in names)
        return compile_model(Definitions("m", inputs=inputs, decisions=(ratio, node)))

    found = compared(model("10"), model("20"))
    assert not found.is_proof
    (difference,) = found.differences
    x, y = difference.facts["x"], difference.facts["y"]
    assert isinstance(x, int | float)
    assert isinstance(y, int | float)
    assert 10 < x / y <= 20
    assert difference.facts["zone"] == "a"


def test_decisions_and_inputs_that_came_and_went_are_told() -> None:
    old = definitions_of(("-", "-", "1"))
    more = DecisionNode("more", LiteralExpression("1"))
    given_too = InputData("zone", "string")
    new = msgspec.structs.replace(
        old, decisions=(*old.decisions, more), inputs=(old.inputs[0], given_too, old.inputs[1])
    )
    draw = random.Random(1).randrange
    found = diff_models(compile_model(old), compile_model(new), "scale", draw=draw)
    assert [(each.element, each.what) for each in found.changes] == [
        ("more", "added"),
        ("zone", "added"),
    ]


numbers = st.sampled_from(["0", "1", "2"])
rows = st.lists(
    st.tuples(
        st.one_of(st.just("-"), numbers, st.builds("<{}".format, numbers), st.just("null")),
        st.sampled_from(["-", '"a"', 'not("b")']),
        st.sampled_from("123"),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(rows, rows)
def test_a_proof_holds_for_all_inputs(before: list[Row], after: list[Row]) -> None:
    old, new = model_of(*before), model_of(*after)
    found = compared(old, new, limit=1_000)
    assert found.is_proof
    told = {(each.rules_before, each.rules_after) for each in found.differences}
    for cpu, pool in product([None, -1, 0, 0.5, 1, 1.5, 2, 3], [None, "a", "b", "c"]):
        facts = {"cpu": cpu, "pool": pool}
        if old.outputs(facts) != new.outputs(facts):
            assert (old.decide(facts).matched, new.decide(facts).matched) in told
    for each in found.differences:
        assert old.outputs(each.facts) == each.before != each.after == new.outputs(each.facts)
