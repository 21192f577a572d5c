"""Records: strict in what they take back, bounded in what they take up."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import CorruptRecord, InvalidInput
from federlib.registry.records import (
    MAX_LABEL_BYTES,
    MAX_LABELS,
    MAX_RECORD_BYTES,
    check_kind,
    check_labels,
    check_load,
    check_slots,
    decode_member,
    encode_member,
    host_prefix,
    member_key,
)
from registry.worlds import HOST, OTHER_HOST, RECORD, record

KEY = f"registry/{HOST}:0"


def test_a_record_comes_back_as_it_was_written() -> None:
    member = record(labels={"zone": "b", "ру": "да"}, left_at_ns=5)
    assert decode_member(KEY, encode_member(member)) == member


def test_the_key_is_the_worker_id_and_a_host_is_a_prefix_of_its_workers() -> None:
    assert member_key(f"{HOST}:0") == KEY
    assert KEY.startswith(host_prefix(HOST))
    assert not member_key(f"{OTHER_HOST}:1").startswith(host_prefix(HOST))


@pytest.mark.parametrize("text", ["", "x", f"{HOST}", f"{HOST}:01", f"{HOST}:-1", "../../etc:0"])
def test_a_key_is_only_made_of_a_worker_id(text: str) -> None:
    with pytest.raises(InvalidInput):
        member_key(text)
    with pytest.raises(InvalidInput):
        host_prefix(text + "!")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2),
        ("v", 0),
        ("v", None),
        ("v", "1"),
        ("worker_id", "nobody"),
        ("worker_id", f"{HOST}:1"),
        ("host_id", OTHER_HOST),
        ("host_id", None),
        ("incarnation", 0),
        ("incarnation", 2**63),
        ("incarnation", True),
        ("session", ""),
        ("kind", ""),
        ("kind", "k" * (MAX_LABEL_BYTES + 1)),
        ("labels", {"a": 1}),
        ("labels", {str(n): "" for n in range(MAX_LABELS + 1)}),
        ("labels", []),
        ("slots", -1),
        ("slots", 10**7),
        ("load", -0.1),
        ("load", "much"),
        ("pid", 0),
        ("hostname", "h" * 1_000),
        ("started_at_ns", -1),
        ("last_seen", -1),
        ("last_seen", 2**63),
        ("last_seen", 1.5),
        ("boot_ns", None),
        ("ttl_ms", 0),
        ("ttl_ms", 10**9),
        ("left_at_ns", -1),
    ],
)
def test_a_record_with_a_wrong_field_is_corrupt_and_says_where(field: str, value: object) -> None:
    fields = msgspec.to_builtins(RECORD) | {field: value}
    with pytest.raises(CorruptRecord) as caught:
        decode_member(KEY, msgspec.json.encode(fields))
    assert caught.value.where == KEY


def test_a_record_of_a_newer_federlib_asks_for_an_upgrade() -> None:
    with pytest.raises(CorruptRecord, match="upgrade"):
        decode_member(KEY, b'{"v": 2, "who": "knows"}')


@pytest.mark.parametrize("field", sorted(set(RECORD.__struct_fields__) - {"v", "left_at_ns"}))
def test_every_field_but_the_goodbye_must_be_there(field: str) -> None:
    fields = msgspec.to_builtins(RECORD)
    del fields[field]
    with pytest.raises(CorruptRecord):
        decode_member(KEY, msgspec.json.encode(fields))


def test_a_field_of_a_later_release_is_left_out_of_the_way() -> None:
    fields = msgspec.to_builtins(RECORD) | {"mood": "good"}
    assert decode_member(KEY, msgspec.json.encode(fields)) == RECORD


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0" * 400,
        b"null",
        b"[]",
        b"{",
        b'{"v": 1}',
        b"\xff\xfe",
        b"[" * 60_000,
        encode_member(RECORD)[:-1],
        encode_member(RECORD) + b" " * MAX_RECORD_BYTES,
    ],
    ids=lambda value: repr(value[:12]),
)
def test_what_is_torn_or_foreign_is_corrupt(value: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode_member(KEY, value)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_decode_or_be_corrupt(value: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode_member(KEY, value)


def test_the_largest_member_that_may_join_can_be_read_back() -> None:
    quote = '"' * MAX_LABEL_BYTES
    labels = check_labels({f"{n:02}{quote[2:]}": quote for n in range(MAX_LABELS)})
    member = record(labels=labels, kind=check_kind(quote), hostname=quote, version=quote)
    assert decode_member(KEY, encode_member(member)) == member


@pytest.mark.parametrize("kind", ["", None, 5, "a\nb", "x" * 257, "ä" * 129, "\ud800", "e\u0301"])
def test_a_kind_is_short_plain_text(kind: object) -> None:
    with pytest.raises(InvalidInput, match="kind"):
        check_kind(kind)  # type: ignore[arg-type]  # what a program may pass all the same


@pytest.mark.parametrize(
    "labels",
    [
        None,
        [("a", "b")],
        {"": "x"},
        {"a": None},
        {"a": 1},
        {1: "a"},
        {"a": "\x1b[2J"},
        {"a" * 257: ""},
        {"a": "b" * 257},
        {str(n): "" for n in range(MAX_LABELS + 1)},
    ],
)
def test_labels_are_few_and_short_and_plain(labels: object) -> None:
    with pytest.raises(InvalidInput, match="label"):
        check_labels(labels)  # type: ignore[arg-type]  # as above


def test_labels_are_copied() -> None:
    mine = {"a": ""}
    taken = check_labels(mine)
    mine["b"] = "late"
    assert taken == {"a": ""}


@pytest.mark.parametrize("slots", [-1, 1.0, True, "4", None, 1_000_001])
def test_slots_are_a_bounded_integer(slots: object) -> None:
    with pytest.raises(InvalidInput, match="slots"):
        check_slots(slots)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("load", [-0.5, float("nan"), float("inf"), True, "1", None])
def test_a_load_is_a_finite_number_from_0(load: object) -> None:
    with pytest.raises(InvalidInput, match="load"):
        check_load(load)  # type: ignore[arg-type]  # as above
    assert check_load(3) == 3.0
