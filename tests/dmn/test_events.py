"""From a request to `decision.made`: facts, an id that is the same each time, and a trace."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn import compile_model
from federlib.dmn.events import (
    DECISION_MADE,
    EventDecisions,
    EventMapping,
    decode_made,
    encode_made,
    facts_of,
)
from federlib.dmn.policies import POLICIES, load_mapping, load_policy
from federlib.errors import CorruptRecord, InvalidInput
from federlib.telemetry import RecordingSink, Telemetry

PAYLOAD: dict[str, object] = {
    "request_id": "r-1",
    "leader_epoch": 7,
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "pool": {
        "queue_depth": 50,
        "workers": 4,
        "min_workers": 1,
        "max_workers": 10,
        "cpu_percent": 50.5,
        "seconds_since_change": 100,
    },
}


@pytest.fixture(scope="module")
def scaling() -> EventDecisions:
    return EventDecisions(compile_model(load_policy("scaling")), load_mapping("scaling"))


def test_a_request_becomes_facts() -> None:
    facts = facts_of(PAYLOAD, load_mapping("scaling"))
    assert facts["queue depth"] == 50
    assert facts["cpu"] == 50.5
    assert len(facts) == 6


def test_what_is_not_in_the_payload_is_no_fact(scaling: EventDecisions) -> None:
    payload = {**PAYLOAD, "pool": {"workers": 4, "min_workers": 6, "max_workers": 10}}
    assert sorted(facts_of(payload, load_mapping("scaling"))) == [
        "max workers",
        "min workers",
        "workers",
    ]
    made = scaling.answer(payload, now_ns=1)
    assert made.decision.outputs == {"action": "scale_up", "delta": 2}
    assert made.decision.problems


def test_a_decision_is_told_with_its_trace(scaling: EventDecisions) -> None:
    made = scaling.answer(PAYLOAD, now_ns=1_000)
    assert made.event == DECISION_MADE
    assert made.decision.outputs == {"action": "scale_up", "delta": 2}
    assert made.decision.matched == ("long-queue",)
    assert made.decision.decided_at_ns == 1_000
    assert (made.request_event, made.request_id) == ("scaling.decision.requested", "r-1")
    assert (made.leader_epoch, made.traceparent) == (7, PAYLOAD["traceparent"])
    assert made.decision.trace is not None
    assert [rule.applied for rule in made.decision.trace[-1].rules].count(True) == 1


def test_the_same_request_has_the_same_id_whoever_decides_and_whenever(
    scaling: EventDecisions,
) -> None:
    made = scaling.answer(PAYLOAD, now_ns=1)
    again = EventDecisions(compile_model(load_policy("scaling")), load_mapping("scaling"))
    assert again.answer({**PAYLOAD, "leader_epoch": 8}, now_ns=2).decision_id == made.decision_id
    other = scaling.answer({**PAYLOAD, "request_id": "r-2"}, now_ns=1)
    assert other.decision_id != made.decision_id
    # Commands keep ids of at most 200 characters.
    assert len(made.decision_id) < 50


def test_another_version_gives_another_id(scaling: EventDecisions) -> None:
    newer = msgspec.structs.replace(load_policy("scaling"), version="2")
    made = EventDecisions(compile_model(newer), load_mapping("scaling")).answer(PAYLOAD, now_ns=1)
    assert made.decision_id != scaling.answer(PAYLOAD, now_ns=1).decision_id
    assert made.decision.version == "2"


def test_what_is_told_goes_round_as_json(scaling: EventDecisions) -> None:
    made = scaling.answer(PAYLOAD, now_ns=1)
    data = encode_made(made)
    assert decode_made(data) == made
    plain = msgspec.json.decode(data)
    assert plain["event"] == "decision.made"
    assert plain["decision"]["matched"] == ["long-queue"]
    assert plain["decision"]["trace"]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"event": "x"}'])
def test_what_is_no_decision_made_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode_made(data)


def test_another_event_or_a_later_version_is_refused(scaling: EventDecisions) -> None:
    data = encode_made(scaling.answer(PAYLOAD, now_ns=1))
    for changed in (data.replace(b"decision.made", b"decision.mado"), data[:-2] + b"2}"):
        with pytest.raises(CorruptRecord):
            decode_made(changed)


@pytest.mark.parametrize(
    "bad",
    [
        {"request_id": 1},
        {"request_id": "x" * 201},
        {"leader_epoch": "7"},
        {"leader_epoch": -1},
        {"leader_epoch": True},
        {"traceparent": []},
        {"pool": {"cpu_percent": float("nan")}},
    ],
)
def test_a_payload_of_wrong_types_is_refused(
    scaling: EventDecisions, bad: Mapping[str, object]
) -> None:
    with pytest.raises(InvalidInput):
        scaling.answer({**PAYLOAD, **bad}, now_ns=1)


@pytest.mark.parametrize("field", ["request_id", "traceparent"])
def test_half_of_a_pair_of_surrogates_is_refused(scaling: EventDecisions, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"{field}: expected a text of Unicode"):
        scaling.answer({**PAYLOAD, field: "r\ud800"}, now_ns=1)


def test_a_payload_that_is_no_mapping_is_refused(scaling: EventDecisions) -> None:
    with pytest.raises(InvalidInput):
        scaling.answer([], now_ns=1)  # type: ignore[arg-type]  # that is the case


def test_a_mapping_to_a_decision_that_is_not_there_is_refused() -> None:
    mapping = EventMapping(event="e", decision="other", facts={})
    with pytest.raises(InvalidInput, match="scaling"):
        EventDecisions(compile_model(load_policy("scaling")), mapping)


def test_each_decision_is_counted_and_logged() -> None:
    logged: list[tuple[str, str, object]] = []

    class Log:
        def log(self, level: str, event: str, /, **fields: object) -> None:
            logged.append((level, event, fields["rules"]))

    sink = RecordingSink()
    decisions = EventDecisions(
        compile_model(load_policy("scaling")),
        load_mapping("scaling"),
        telemetry=Telemetry(sink, Log()),
    )
    decisions.answer(PAYLOAD, now_ns=1)
    decisions.answer({}, now_ns=1)
    assert sink.value("federlib_dmn_decisions_total", decision="scaling", has_problems="no") == 1
    assert sink.value("federlib_dmn_decisions_total", decision="scaling", has_problems="yes") == 1
    assert [each[:2] for each in logged] == [
        ("info", "decision.made"),
        ("warning", "decision.made"),
    ]
    assert logged[0][2] == "long-queue"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["pool", "worker", "candidate", "x"]), plain))
def test_no_payload_does_anything_but_decide_or_be_refused(payload: dict[str, object]) -> None:
    for name in POLICIES:
        try:
            made = ALL[name].answer(payload, now_ns=1)
        except InvalidInput:
            continue
        assert decode_made(encode_made(made)).decision_id == made.decision_id


ALL = {
    name: EventDecisions(compile_model(load_policy(name)), load_mapping(name)) for name in POLICIES
}
