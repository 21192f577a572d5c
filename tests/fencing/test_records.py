"""What fencing stores, and what it refuses to read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import CorruptRecord, InvalidInput
from federlib.fencing import Command, Outcome, Started, is_rejected, new_command_id
from federlib.fencing.records import (
    MAX_PAYLOAD_BYTES,
    MAX_TOKEN,
    checked_command,
    command_prefix,
    deadline_after,
    decode_command,
    decode_outcome,
    decode_started,
    encode,
    encode_payload,
    shorten,
)
from federlib.storage import Record
from fencing.worlds import SCOPE, a_command

PREFIX = command_prefix(SCOPE, "c1")
STARTED = Started(command_id="c1", epoch=1, consumer="m", at_ns=5)
OUTCOME = Outcome(command_id="c1", status="applied", epoch=1, consumer="m", at_ns=5)


def stored(name: str, value: bytes) -> Record:
    return Record(PREFIX + name, value, 7, 7)


def test_every_field_survives_the_store() -> None:
    command = checked_command(
        Command(
            command_id="c1",
            scope=SCOPE,
            action="stop_lane",
            payload=encode_payload({"lane": "blue"}),
            leader_epoch=3,
            issuer="host:1",
            issued_at_ns=10,
            deadline_ns=20,
            decision_id="d",
            dag_id="run",
            dag_node="node",
            causal_id="h",
            traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        )
    )
    assert decode_command(stored("issued", encode(command))) == command
    assert decode_started(stored("started", encode(STARTED))) == STARTED
    assert decode_outcome(stored("outcome", encode(OUTCOME))) == OUTCOME


def test_unknown_fields_of_the_same_format_are_kept_out_of_the_way() -> None:
    value = encode(OUTCOME)[:-1] + b',"colour":"blue"}'
    assert decode_outcome(stored("outcome", value)) == OUTCOME


def test_a_rejection_that_only_a_newer_federlib_knows_is_a_rejection() -> None:
    value = encode(msgspec.structs.replace(OUTCOME, status="rejected_causal"))
    assert is_rejected(decode_outcome(stored("outcome", value)).status)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2),
        ("v", "1"),
        ("command_id", "c2"),
        ("command_id", 7),
        ("scope", "elsewhere"),
        ("action", ""),
        ("action", "x" * 201),
        ("leader_epoch", -1),
        ("leader_epoch", MAX_TOKEN + 1),
        ("leader_epoch", True),
        ("leader_epoch", 1.5),
        ("issuer", None),
        ("deadline_ns", "soon"),
        ("decision_id", 5),
        ("payload", "x" * (MAX_PAYLOAD_BYTES + 1)),
    ],
)
def test_a_wrong_field_of_a_command_names_key_and_field(field: str, value: object) -> None:
    plain = msgspec.json.decode(encode(a_command()))
    plain[field] = value
    with pytest.raises(CorruptRecord) as caught:
        decode_command(stored("issued", msgspec.json.encode(plain)))
    assert caught.value.where == PREFIX + "issued"
    # A key that names another command or scope is said in terms of the key.
    assert field in str(caught.value)


@pytest.mark.parametrize("value", [b"", b"\0\0\0", b"{", b"[]", b"null", b'{"v":1}', b'{"v":99}'])
def test_torn_empty_foreign_and_newer_records_are_refused(value: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode_command(stored("issued", value))
    with pytest.raises(CorruptRecord):
        decode_started(stored("started", value))
    with pytest.raises(CorruptRecord):
        decode_outcome(stored("outcome", value))


@pytest.mark.parametrize("status", ["", "ok", "rejected_", "Applied", "applied\n", "rejected_X"])
def test_an_unknown_status_is_refused(status: str) -> None:
    value = encode(msgspec.structs.replace(OUTCOME, status=status))
    with pytest.raises(CorruptRecord, match="status"):
        decode_outcome(stored("outcome", value))


def test_a_record_that_does_not_say_its_version_is_refused() -> None:
    plain = msgspec.json.decode(encode(a_command()))
    del plain["v"]
    with pytest.raises(CorruptRecord, match="`v`"):
        decode_command(stored("issued", msgspec.json.encode(plain)))


def test_every_cut_of_a_record_is_refused() -> None:
    value = encode(a_command())
    for length in range(len(value)):
        with pytest.raises(CorruptRecord):
            decode_command(stored("issued", value[:length]))


def test_a_payload_that_is_not_text_is_found_before_a_handler_sees_it() -> None:
    value = encode(a_command()).replace(b'"n"', b'"\xff"')
    with pytest.raises(CorruptRecord):
        decode_command(stored("issued", value))


@pytest.mark.parametrize(
    "command_id", ["", ".", "..", "a/b", "-x", "x" * 97, "a\n", "ä", "a b", 7, None]
)
def test_an_id_that_cannot_be_a_key_is_refused(command_id: str) -> None:
    with pytest.raises(InvalidInput):
        command_prefix(SCOPE, command_id)


@pytest.mark.parametrize(
    "value", [object(), {(1, 2): 3}, "\ud800", float, "x" * MAX_PAYLOAD_BYTES, lambda: 1]
)
def test_a_payload_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        encode_payload(value)


def test_a_payload_deeper_than_any_stack_is_refused() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput):
        encode_payload(deep)
    with pytest.raises(InvalidInput):
        encode_payload(msgspec.Raw(b"[" * 30_000 + b"]" * 30_000))


def test_a_payload_of_exactly_the_limit_is_taken() -> None:
    assert len(bytes(encode_payload("x" * (MAX_PAYLOAD_BYTES - 2)))) == MAX_PAYLOAD_BYTES


def test_the_same_arguments_are_the_same_bytes() -> None:
    one = encode_payload({"a": 1, "b": [1.5, None]})
    assert encode_payload(msgspec.Raw(b' {"b" : [1.5, null], "a": 1}')) == one


def test_a_payload_is_read_as_what_the_handler_expects() -> None:
    assert a_command().read(dict[str, int]) == {"n": 3}
    assert a_command().arguments() == {"n": 3}
    with pytest.raises(InvalidInput, match="payload"):
        a_command().read(list[int])


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan"), float("inf"), True, "1"])
def test_a_deadline_is_a_positive_number_of_seconds(deadline_s: float) -> None:
    with pytest.raises(InvalidInput):
        deadline_after(0, deadline_s)


def test_a_deadline_beyond_the_calendar_still_fits_its_field() -> None:
    assert deadline_after(10, 1.5) == 1_500_000_010
    assert deadline_after(10, None) is None
    assert deadline_after(MAX_TOKEN - 1, 1e300) == MAX_TOKEN


@given(st.integers(min_value=0, max_value=MAX_TOKEN), st.integers(min_value=0, max_value=MAX_TOKEN))
def test_drawn_ids_sort_as_time_does(one: int, other: int) -> None:
    first, second = sorted((one, other))
    assert new_command_id(first, "0") <= new_command_id(second, "0")
    assert command_prefix(SCOPE, new_command_id(first, "00ff"))


@given(st.text(), st.integers(min_value=1, max_value=600))
def test_a_shortened_text_always_fits_and_encodes(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short.encode().decode() == short


def test_shortening_survives_lone_surrogates() -> None:
    assert shorten("a\ud800b").encode() == b"a?b"
