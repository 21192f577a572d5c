"""Worker ids and the records of the identity directory."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import CorruptRecord, InvalidInput
from federlib.identity import HostRecord, SeenStoreRecord, SlotRecord, WorkerIdentity
from federlib.identity.records import MAX_RECORD_BYTES, MAX_SEQ, decode_record, encode_record

HOST = "550e8400-e29b-41d4-a716-446655440000"
HOST_IDS = st.uuids(allow_nil=True).map(str)
SEQS = st.integers(0, MAX_SEQ)
SLOT = SlotRecord(host_id=HOST, seq=3, incarnation=7, claimed_ns=1)


@given(HOST_IDS, SEQS)
def test_the_text_form_leads_back_to_the_same_identity(host_id: str, seq: int) -> None:
    identity = WorkerIdentity(host_id, seq)
    assert str(identity) == f"{host_id}:{seq}"
    assert WorkerIdentity.parse(str(identity)) == identity


@given(st.text(max_size=60))
def test_whatever_parses_is_the_one_spelling_of_its_identity(text: str) -> None:
    try:
        identity = WorkerIdentity.parse(text)
    except InvalidInput:
        return
    assert str(identity) == text


@pytest.mark.parametrize("seq", ["0", "1", "9", "10", "999999"])
def test_both_ends_of_the_range_of_numbers_are_taken(seq: str) -> None:
    assert WorkerIdentity.parse(f"{HOST}:{seq}").seq == int(seq)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(HOST, id="no number"),
        pytest.param(f"{HOST}:", id="empty number"),
        pytest.param(f":{1}", id="no host"),
        pytest.param(f"{HOST}:1000000", id="one too many"),
        pytest.param(f"{HOST}:{'9' * 10_000}", id="10 kB of number"),
        pytest.param(f"{HOST}:-1", id="minus"),
        pytest.param(f"{HOST}:+1", id="plus"),
        pytest.param(f"{HOST}:01", id="leading zero"),
        pytest.param(f"{HOST}:00", id="zero twice"),
        pytest.param(f"{HOST}:1_0", id="underscore"),
        pytest.param(f"{HOST}:1.0", id="fraction"),
        pytest.param(f"{HOST}:٣", id="Arabic digit"),
        pytest.param(f"{HOST}:１", id="full-width digit"),
        pytest.param(f"{HOST}:1\n", id="newline behind"),
        pytest.param(f" {HOST}:1", id="blank before"),
        pytest.param(f"{HOST}:1:2", id="two numbers"),
        pytest.param(f"{HOST.upper()}:1", id="upper case"),
        pytest.param(f"{HOST.replace('-', '')}:1", id="without dashes"),
        pytest.param(f"{{{HOST}}}:1", id="in braces"),
        pytest.param(f"urn:uuid:{HOST}:1", id="as a URN"),
        pytest.param(f"{HOST[:-1]}:1", id="a digit short"),
        pytest.param(f"{HOST}0:1", id="a digit long"),
        pytest.param(f"{HOST}:1\0", id="NUL"),
        pytest.param("../../etc/passwd:1", id="a path"),
    ],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        WorkerIdentity.parse(text)
    assert caught.value.field == "worker_id"
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [None, 7, b"x", 1.5, ["a"]])
def test_what_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        WorkerIdentity.parse(value)  # type: ignore[arg-type]  # hostile on purpose


@pytest.mark.parametrize("seq", [-1, MAX_SEQ + 1, True, 1.0, "1", None])
def test_a_number_that_cannot_be_is_refused(seq: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        WorkerIdentity(HOST, seq)  # type: ignore[arg-type]  # hostile on purpose
    assert caught.value.field == "seq"


@pytest.mark.parametrize("host_id", ["", "host", HOST.upper(), HOST + "\n", None, 1])
def test_a_host_id_that_is_no_canonical_uuid_is_refused(host_id: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        WorkerIdentity(host_id, 0)  # type: ignore[arg-type]  # hostile on purpose
    assert caught.value.field == "host_id"


def test_identities_sort_by_host_and_then_by_number_not_by_text() -> None:
    ten, nine = WorkerIdentity(HOST, 10), WorkerIdentity(HOST, 9)
    assert sorted([ten, nine]) == [nine, ten]
    assert len({ten, nine, WorkerIdentity(HOST, 9)}) == 2


@given(
    st.one_of(
        st.builds(
            HostRecord,
            host_id=HOST_IDS,
            machine_id=st.none() | st.text(min_size=1, max_size=256),
            created_ns=st.integers(0, 2**63 - 1),
        ),
        st.builds(
            SlotRecord,
            host_id=HOST_IDS,
            seq=SEQS,
            incarnation=st.integers(1, 2**63 - 1),
            claimed_ns=st.integers(0, 2**63 - 1),
        ),
        st.builds(
            SeenStoreRecord,
            key=st.text(min_size=1, max_size=300),
            store_id=st.text(min_size=1, max_size=256),
            seen_ns=st.integers(0, 2**63 - 1),
        ),
    )
)
def test_every_record_comes_back_as_it_was_written(
    record: HostRecord | SlotRecord | SeenStoreRecord,
) -> None:
    assert decode_record(type(record), encode_record(record), where="f") == record


@given(st.integers(0, len(encode_record(SLOT)) - 2))
def test_a_record_torn_anywhere_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptRecord) as caught:
        decode_record(SlotRecord, encode_record(SLOT)[:size], where="worker-3.json")
    assert "worker-3.json" in str(caught.value)


@given(st.binary(max_size=200))
def test_foreign_bytes_raise_nothing_but_corrupt_record(raw: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode_record(HostRecord, raw, where="host.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"seq": "3"}, "$.seq", id="text for a number"),
        pytest.param({"seq": -1}, "$.seq", id="negative"),
        pytest.param({"seq": True}, "$.seq", id="a truth value"),
        pytest.param({"seq": None}, "$.seq", id="null"),
        pytest.param({"seq": MAX_SEQ + 1}, "$.seq", id="above the range"),
        pytest.param({"incarnation": 0}, "$.incarnation", id="no life yet"),
        pytest.param({"incarnation": 2**63}, "$.incarnation", id="beyond 64 bits"),
        pytest.param({"incarnation": 1.5}, "$.incarnation", id="a fraction"),
        pytest.param({"host_id": HOST.upper()}, "$.host_id", id="upper case"),
        pytest.param({"host_id": HOST + "\n"}, "$.host_id", id="newline"),
        pytest.param({"claimed_ns": -1}, "$.claimed_ns", id="before 1970"),
        pytest.param({"v": "1"}, "$.v", id="schema as text"),
        pytest.param({"v": 2}, "field v", id="newer"),
        pytest.param({"v": 0}, "field v", id="older than any"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], named: str) -> None:
    raw = json.dumps(json.loads(encode_record(SLOT)) | change).encode()
    with pytest.raises(CorruptRecord) as caught:
        decode_record(SlotRecord, raw, where="worker-3.json")
    assert named in str(caught.value)
    assert "worker-3.json" in str(caught.value)


@pytest.mark.parametrize("field", ["host_id", "seq", "incarnation", "claimed_ns", "v"])
def test_a_missing_field_is_named(field: str) -> None:
    fields = json.loads(encode_record(SLOT))
    del fields[field]
    with pytest.raises(CorruptRecord, match=field):
        decode_record(SlotRecord, json.dumps(fields).encode(), where="f")


def test_a_newer_record_says_upgrade_even_where_its_other_fields_changed() -> None:
    with pytest.raises(CorruptRecord) as caught:
        decode_record(SlotRecord, b'{"v": 2, "lives": []}', where="f")
    assert "upgrade" in caught.value.hint


def test_fields_that_are_not_known_are_left_out_of_the_way() -> None:
    raw = json.dumps(json.loads(encode_record(SLOT)) | {"colour": "red"}).encode()
    assert decode_record(SlotRecord, raw, where="f") == SLOT


@pytest.mark.parametrize("raw", [b"", b" ", b"\n", b"\0" * 4096])
def test_an_empty_or_zeroed_file_is_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptRecord, match="blank"):
        decode_record(HostRecord, raw, where="f")


def test_a_file_of_absurd_size_or_depth_is_corrupt() -> None:
    with pytest.raises(CorruptRecord, match="more than"):
        decode_record(HostRecord, b"x" * (MAX_RECORD_BYTES + 1), where="f")
    with pytest.raises(CorruptRecord):
        decode_record(HostRecord, b'{"v":1,"a":' + b"[" * 10_000, where="f")
