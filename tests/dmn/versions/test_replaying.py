"""Decisions decided again: by their own version, and by newer ones."""

from __future__ import annotations

import msgspec

from dmn.models import decision, model
from federlib.dmn import (
    DecisionTable,
    HitPolicy,
    InputClause,
    Model,
    OutputClause,
    Rule,
    compile_model,
    read_decision,
    replay,
    write_decision,
)


def _model(*rules: Rule, version: str = "1", name: str = "scaling", also: str = "") -> Model:
    table = DecisionTable(
        (InputClause("queue depth"), InputClause("pool")),
        (OutputClause("action"), OutputClause("by")),
        rules,
        hit_policy="FIRST",
    )
    inputs = {"queue depth": "number", "pool": "string"}
    if also:
        inputs[also] = "number"
    return compile_model(model(decision(name, table, *inputs), inputs=inputs, version=version))


_REST = Rule(("-", "-"), ('"stay"', "0"), id="rest")
_BUSY = Rule(("> 100", '"batch"'), ('"up"', "2"), id="busy")
_OLD = _model(_BUSY, _REST)
_FACTS = {"queue depth": 120, "pool": "batch"}
_MADE = _OLD.decide(_FACTS, now_ns=7)


def test_the_version_that_decided_decides_the_same_from_the_record_alone() -> None:
    found = replay(read_decision(write_decision(_MADE)), _OLD)
    assert found.is_same_version
    assert found.is_same_inputs
    assert not found.is_different
    assert found.reasons == ()
    assert found.now is not None
    assert found.now.decided_at_ns == 7
    assert found.now.outputs == _MADE.outputs


def test_another_version_that_decides_the_same_is_another_version() -> None:
    found = replay(_MADE, _model(_BUSY, _REST, version="2"))
    assert not found.is_same_version
    assert not found.is_different
    assert found.reasons == ()


def test_a_condition_that_does_not_hold_any_more_is_named_with_its_value() -> None:
    newer = _model(msgspec.structs.replace(_BUSY, conditions=("> 200", '"batch"')), _REST)
    found = replay(_MADE, newer)
    assert found.is_different
    assert found.reasons == (
        'output action: "up" before, "stay" now',
        "output by: 2 before, 0 now",
        "rule busy does not match: queue depth is 120, not > 200",
        "rule rest matches now",
    )


def test_a_conclusion_that_changed_is_named() -> None:
    newer = _model(msgspec.structs.replace(_BUSY, conclusions=('"up"', "3")), _REST)
    found = replay(_MADE, newer)
    assert found.is_different
    assert found.reasons == ("output by: 2 before, 3 now",)


def test_a_rule_that_is_gone_and_one_that_comes_first_are_named() -> None:
    assert "rule busy is gone" in replay(_MADE, _model(_REST)).reasons
    first = Rule(("> 110", "-"), ('"up"', "2"), id="first")
    found = replay(_MADE, _model(first, _BUSY, _REST))
    assert not found.is_different
    assert "rule busy still holds, but is not asked: first comes first" in found.reasons


def test_other_facts_are_told() -> None:
    found = replay(_MADE, _OLD, {"queue depth": 5, "pool": "batch"})
    assert not found.is_same_inputs
    assert found.is_different
    assert found.reasons[0] == "the facts are not those of the record"
    assert replay(_MADE, _OLD, {"pool": "batch", "queue depth": 120.0, "x": 1}).is_same_inputs


def test_a_record_that_was_changed_is_told() -> None:
    forged = msgspec.structs.replace(_MADE, outputs={"action": "up", "by": 9})
    found = replay(forged, _OLD)
    assert found.is_different
    assert "was the record changed?" in found.reasons[-1]
    forged = msgspec.structs.replace(_MADE, inputs={**_MADE.inputs, "queue depth": 130})
    assert "the hash of the record is not that of its inputs" in replay(forged, _OLD).reasons


def test_a_version_without_the_decision_is_told() -> None:
    found = replay(_MADE, _model(_REST, name="other"))
    assert found.now is None
    assert found.is_different
    assert "scaling" in found.reasons[0]


def test_problems_that_are_new_are_told() -> None:
    newer = _model(_BUSY, _REST, also="cpu")
    found = replay(_MADE, newer)
    assert not found.is_different
    assert any("a problem:" in reason and "cpu" in reason for reason in found.reasons)


def test_outputs_that_are_new_or_gone_are_named() -> None:
    table = DecisionTable(
        (InputClause("queue depth"), InputClause("pool")),
        (OutputClause("action"), OutputClause("reason")),
        (Rule(("-", "-"), ('"up"', '"busy"'), id="busy"),),
    )
    newer = compile_model(
        model(
            decision("scaling", table, "queue depth", "pool"),
            inputs={"queue depth": "number", "pool": "string"},
        )
    )
    reasons = replay(_MADE, newer).reasons
    assert "output by is gone" in reasons
    assert 'output reason is new: "busy"' in reasons


def _single(policy: HitPolicy, *rules: Rule, allowed: str = "", logic: str = "") -> Model:
    table = DecisionTable(
        (InputClause("x"),), (OutputClause(allowed=allowed),), rules, hit_policy=policy
    )
    return compile_model(model(decision("it", logic or table, "x"), inputs={"x": "number"}))


def test_a_single_output_is_told_without_a_name() -> None:
    before = _single("FIRST", Rule(("-",), ("1",)))
    found = replay(before.decide({"x": 1}), _single("FIRST", Rule(("-",), ('"' + "b" * 99 + '"',))))
    assert found.reasons[0].startswith('outputs: 1 before, "bbb')
    assert found.reasons[0].endswith("… now")


def test_another_of_the_rules_that_match_may_apply() -> None:
    rules = (Rule(("-",), ("1",)), Rule(("-",), ("2",)))
    before = _single("PRIORITY", *rules, allowed="1, 2")
    found = replay(before.decide({"x": 1}), _single("PRIORITY", *rules, allowed="2, 1"))
    assert found.reasons[-1] == "of the rules that match, 2 applies now"


def test_what_is_no_table_any_more_has_no_rules() -> None:
    before = _single("FIRST", Rule(("-",), ("1",)))
    found = replay(before.decide({"x": 1}), _single("FIRST", logic="x + 1"))
    assert "rule 1 is gone" in found.reasons


def test_functions_are_compared_by_what_they_are() -> None:
    found = _single("FIRST", logic="sum")
    made = found.decide({"x": 1})
    assert not replay(made, found).is_different


def test_an_input_that_is_new_is_named() -> None:
    newer = _model(_BUSY, _REST, also="cpu")
    found = replay(_MADE, newer, {**_FACTS, "cpu": 5})
    assert "it depends on cpu now" in found.reasons


def test_a_rule_whose_inputs_are_not_allowed_any_more_does_not_match() -> None:
    table = DecisionTable(
        (InputClause("x", allowed="< 0"),), (OutputClause(),), (Rule(("-",), ("1",)),)
    )
    newer = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}))
    before = _single("FIRST", Rule(("-",), ("1",)))
    assert "rule 1 does not match" in replay(before.decide({"x": 1}), newer).reasons
