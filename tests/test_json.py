"""What users' values may hold before they are stored as JSON."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib._json import MAX_DEPTH, encode_json, json_fault
from federlib.errors import InvalidInput

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_what_json_can_hold_comes_back_as_it_was(value: object) -> None:
    assert json_fault(value) is None
    encoded = encode_json(value, field="x", max_bytes=1 << 20)
    assert msgspec.json.decode(encoded) == value


def test_text_that_utf8_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="what JSON can hold"):
        encode_json("\ud800", field="x", max_bytes=100)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_the_limit_of_depth_on_both_sides() -> None:
    assert encode_json(nested(MAX_DEPTH), field="x", max_bytes=1_000)
    with pytest.raises(InvalidInput, match="64 levels"):
        encode_json(nested(MAX_DEPTH + 1), field="x", max_bytes=1_000)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {"a": [float("-inf")]}, 2**64, object(), nested(100_000)],
    ids=["nan", "inf", "inside", "too large", "no such type", "very deep"],
)
def test_what_json_cannot_hold_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidInput, match="payload"):
        encode_json(value, field="payload", max_bytes=1_000)


def test_the_limit_of_size_on_both_sides() -> None:
    assert len(encode_json("x" * 98, field="x", max_bytes=100)) == 100
    with pytest.raises(InvalidInput, match="at most 100 bytes"):
        encode_json("x" * 99, field="x", max_bytes=100)


def test_the_same_value_is_the_same_bytes() -> None:
    one = encode_json({"a": 1, "b": 2}, field="x", max_bytes=100)
    assert one == encode_json({"b": 2, "a": 1}, field="x", max_bytes=100)
    assert one == encode_json(msgspec.Raw(b'{"b": 2,\n"a": 1}'), field="x", max_bytes=100)
