"""Records of decisions: what their hash says, and JSON there and back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dmn.models import decision, model
from federlib.dmn import (
    Decision,
    DecisionTable,
    InputClause,
    OutputClause,
    Rule,
    compile_model,
    hash_inputs,
    read_decision,
    write_decision,
)
from federlib.dmn.documents.plain_json import jsonable, read_jsonable
from federlib.dmn.engine.decider import InputHasher
from federlib.dmn.feel import Days, Range, evaluate
from federlib.dmn.feel.convert import from_python
from federlib.errors import CorruptRecord, InvalidInput

_TABLE = DecisionTable(
    (InputClause("depth"), InputClause("pool")),
    (OutputClause("action"), OutputClause("by")),
    (
        Rule(("> 100", '"batch"'), ('"up"', "2.5"), annotations=("busy",)),
        Rule(("-", "-"), ('"stay"', "0"), id="rest"),
    ),
    hit_policy="FIRST",
    annotation_names=("remark",),
)
_MODEL = compile_model(
    model(
        decision("scaling", _TABLE, "depth", "pool"),
        inputs={"depth": "number", "pool": "string"},
        version="7",
    )
)

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=8),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=4),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), _VALUES, max_size=4))
@example({"a": 1e16, "b": 1e-5, "c": -0.0, "d": 12.0, "e": 10**34, "f": 10**34 - 1})
@example({"%": "%s", 'a"': "\\", "\x00": "\x1f", "é": "\ud800"})
@example({"a": "ab", "b": "ab", "c": True, "d": 1})
def test_the_quick_hash_of_facts_is_the_hash_of_their_values(facts: dict[str, object]) -> None:
    values = {name: from_python(value) for name, value in facts.items()}
    hasher = InputHasher([*facts, "missing"])
    expected = hash_inputs({**values, "missing": None})
    assert hasher.hash(facts) == expected
    assert hasher.hash(dict(reversed(facts.items()))) == expected


@pytest.mark.parametrize("fact", [float("nan"), float("inf"), b"", {1: 2}, object()])
def test_what_feel_has_not_has_no_hash(fact: object) -> None:
    with pytest.raises(InvalidInput, match="x"):
        InputHasher(["x"]).hash({"x": fact})


def test_many_texts_are_hashed_and_few_are_kept() -> None:
    hasher = InputHasher(["x"])
    for number in range(2_000):
        text = f"pool-{number}"
        assert hasher.hash({"x": text}) == hash_inputs({"x": text})
    assert hasher.hash({"x": "y" * 10_000}) == hash_inputs({"x": "y" * 10_000})


@pytest.mark.parametrize(
    "facts",
    [
        {"depth": 120, "pool": "batch"},
        {"pool": "batch", "depth": 120.0},
        {"pool": "batch", "depth": Decimal("1.20e2")},
        {"pool": "batch", "depth": Decimal("120.000"), "other": 5},
    ],
)
def test_spelling_and_order_do_not_change_the_hash(facts: dict[str, object]) -> None:
    made = _MODEL.decide(facts)
    assert made.inputs_hash == _MODEL.decide({"depth": 120, "pool": "batch"}).inputs_hash
    assert made.inputs_hash == hash_inputs({"depth": Decimal(120), "pool": "batch"})


def test_types_change_the_hash() -> None:
    hashes = {InputHasher(["x"]).hash({"x": each}) for each in (1, "1", True, [1], {"x": 1})}
    assert len(hashes) == 5


@given(_VALUES)
@example({"@": "2026-01-01"})
@example({"@": {"@": 1}})
@example([{"@": [1]}])
def test_a_value_comes_back_from_json_as_it_went(value: object) -> None:
    data = msgspec.json.encode(jsonable(value))
    plain = msgspec.json.Decoder(float_hook=Decimal).decode(data)
    assert from_python(read_jsonable(plain)) == from_python(value)
    json.loads(data)  # it is JSON for others too


@pytest.mark.parametrize(
    "text",
    ['@"-999999999-01-01"', '@"10:00:00.123456789@Europe/Paris"', '@"P1Y2M"', '@"-P1DT0.5S"',
     '@"2026-01-01T10:00:00+01:00"', "[1..5)", "(> 5)", "[1, 2][item > 5]", "1/3", "10 ** 6000"],
)  # fmt: skip
def test_what_python_has_not_comes_back_from_json_too(text: str) -> None:
    value = evaluate(text)
    data = msgspec.json.encode(jsonable(value))
    back = read_jsonable(msgspec.json.Decoder(float_hook=Decimal).decode(data))
    assert from_python(back) == value


def test_a_function_is_named_in_json_and_comes_back_as_null() -> None:
    data = msgspec.json.encode(jsonable(evaluate("sum")))
    assert json.loads(data) == {"@": ["function", "sum"]}
    assert read_jsonable(json.loads(data)) is None


@pytest.mark.parametrize(
    "plain",
    [{"@": "no date"}, {"@": 5}, {"@": ["range", 1]}, {"@": ["range", "?", True, True, 1, 2]},
     {"@": None}],
)  # fmt: skip
def test_what_nobody_wrote_is_not_read(plain: object) -> None:
    with pytest.raises(InvalidInput):
        read_jsonable(plain)


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize(
    "facts",
    [
        {"depth": 120, "pool": "batch"},
        {"depth": Decimal("0.1234567890123456789"), "pool": None},
        {"pool": dt.date(2026, 1, 1)},
    ],
)
def test_a_record_comes_back_from_json_as_it_went(facts: Mapping[str, object], trace: bool) -> None:
    made = _MODEL.decide(facts, trace=trace, now_ns=1_700_000_000_000_000_000)
    assert read_decision(write_decision(made)) == made


def test_a_record_is_json_that_others_read() -> None:
    made = _MODEL.decide({"depth": 120, "pool": "batch"}, trace=True, now_ns=5)
    found = json.loads(write_decision(made))
    assert found["outputs"] == {"action": "up", "by": 2.5}
    assert found["matched"] == ["1"]
    assert found["source"]["version"] == "7"
    assert found["v"] == 1
    first = found["trace"][0]["rules"][0]
    assert first["cells"][0] == {"text": "> 100", "matched": True}
    assert first["annotations"] == ["busy"]


_GOOD = write_decision(_MODEL.decide({"depth": 120, "pool": "batch"}, trace=True))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"null", b"[]", b"{}", b"\xff", _GOOD.replace(b'"v":1', b'"v":2'),
        _GOOD.replace(b'"matched":["1"]', b'"matched":[1]'),
        _GOOD.replace(b'"by":2.5', b'"by":{"@":"x"}'),
        _GOOD.replace(b'"by":2.5', b'"by":1e999999'),
        _GOOD.replace(b'"hit_policy"', b'"hit"'),
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        read_decision(data, where="the log")


@given(st.binary(max_size=6), st.integers(0, len(_GOOD) - 1))
def test_a_damaged_record_is_read_or_refused_and_never_more(junk: bytes, at: int) -> None:
    try:
        found = read_decision(_GOOD[:at] + junk + _GOOD[at + len(junk) :])
    except CorruptRecord:
        return
    assert isinstance(found, Decision)


def test_outputs_of_one_decision_may_be_changed_without_changing_the_next() -> None:
    table = DecisionTable(
        (InputClause("x"),),
        (OutputClause("a"), OutputClause("b")),
        (Rule(("> 1",), ("1", "2")), Rule(("> 2",), ("3", "4"))),
        hit_policy="COLLECT",
    )
    found = compile_model(model(decision("it", table, "x"), inputs={"x": "number"}))
    for ask in (found.outputs, lambda facts: found.decide(facts).outputs):
        first = ask({"x": 3})
        assert first == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
        assert isinstance(first, list)
        first[0]["a"] = "changed"
        first.clear()
        assert ask({"x": 3}) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_days_and_ranges_are_what_json_says_of_them() -> None:
    assert jsonable(Days(86_400_000_000_000)) == {"@": "P1D"}
    assert jsonable(Range(None, "a", has_low=False, has_high=True, operator="<=")) == {
        "@": ["range", "<=", False, True, None, "a"]
    }


def test_half_of_a_pair_of_surrogates_cannot_be_written() -> None:
    made = _MODEL.decide({"depth": 1, "pool": "\ud800"})
    with pytest.raises(InvalidInput, match="texts of Unicode"):
        write_decision(made)


@pytest.mark.parametrize("trace", [0, 1.5, True, "text", {}])
def test_a_trace_that_is_no_list_is_corrupt(trace: object) -> None:
    plain = json.loads(write_decision(_MODEL.decide({"depth": 1, "pool": "x"}, trace=True)))
    with pytest.raises(CorruptRecord, match="trace"):
        read_decision(json.dumps({**plain, "trace": trace}).encode())
