"""The export format: lossless, readable, and refused unless it is whole."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage import Record, check_key
from federlib.storage.limits import MAX_VALUE_BYTES
from federlib.storage.lines import MAX_LINE_BYTES, ExportHeader, LineReader, LineWriter

HEADER = ExportHeader(store_id="s1", revision=9, at="2025-01-31T12:00:00Z")


def written(records: list[Record]) -> bytes:
    writer = LineWriter()
    lines = [writer.header(HEADER), *map(writer.record, records), writer.footer()]
    return b"".join(lines)


def read(data: bytes) -> list[Record]:
    reader = LineReader("x.jsonl")
    found = [reader.feed(line) for line in data.splitlines(keepends=True)]
    assert reader.finish() == HEADER
    return [record for record in found if record is not None]


def signed(*lines: bytes, records: int | None = None) -> bytes:
    """Put lines behind a header, with a checksum that fits: only what they say is wrong."""
    body = msgspec.json.encode(HEADER) + b"\n" + b"".join(line + b"\n" for line in lines)
    count = len(lines) if records is None else records
    footer = {"records": count, "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(footer, separators=(",", ":")).encode() + b"\n"


def record(key: str, value: bytes, revision: int = 1) -> Record:
    return Record(key, value, revision, revision)


def _is_key(text: str) -> bool:
    try:
        check_key(text)
    except InvalidInput:
        return False
    return text not in {"meta/store", "meta/unfinished"}


KEYS = st.text(max_size=20).map(lambda text: unicodedata.normalize("NFC", text)).filter(_is_key)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
VALUES = (
    st.binary(max_size=60)
    | st.text(max_size=30).map(lambda t: t.encode("utf-8", "surrogatepass"))
    | st.tuples(JSON, st.sampled_from([None, 1]), st.booleans()).map(
        lambda t: json.dumps(t[0], indent=t[1], ensure_ascii=t[2]).encode("utf-8", "surrogatepass")
    )
)
STORES = st.dictionaries(KEYS, st.tuples(VALUES, st.integers(1, 2**63 - 1)), max_size=6).map(
    lambda d: [record(key, *d[key]) for key in sorted(d, key=str.encode)]
)


@given(STORES)
def test_what_is_written_is_read_back_byte_for_byte(records: list[Record]) -> None:
    data = written(records)
    assert read(data) == records
    # Any reader of JSON can follow, line by line.
    for line in data.decode().split("\n")[:-1]:
        assert isinstance(json.loads(line), dict)


@given(STORES.filter(bool), st.data())
def test_any_torn_or_altered_export_is_refused(records: list[Record], data: st.DataObject) -> None:
    whole = written(records)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CorruptRecord, match="line"):
        read(whole[:cut])
    where = data.draw(st.integers(0, len(whole) - 1))
    bad = (
        whole[:where] + bytes([whole[where] ^ data.draw(st.integers(1, 255))]) + whole[where + 1 :]
    )
    try:
        assert read(bad) == records
    except CorruptRecord:
        return
    # Only case of hex digits or the like could be read the same.
    pytest.fail("a wrong byte went by unseen")


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_whatever_lines_come_only_our_error_comes_out(lines: list[bytes]) -> None:
    flat = [line.replace(b"\n", b"") for line in lines]
    for data in (b"\n".join(flat), signed(*flat)):
        try:
            read(data)
        except CorruptRecord:
            continue
        assert data == signed()


def test_json_stays_readable_and_everything_else_is_base64() -> None:
    lines = written([record("a", b'{"n" : 1}'), record("b", b"\xff")]).splitlines()
    assert lines[1] == b'{"key":"a","revision":1,"json":{"n" : 1}}'
    assert lines[2] == b'{"key":"b","revision":1,"base64":"/w=="}'


@pytest.mark.parametrize(
    "value",
    [b" 1", b"1 ", b"", b"1\n", b'{"a":\r1}', b'"\xff"', b'"\xed\xa0\x80"', b"NaN", b"[1,]",
     b"[" * 70 + b"]" * 70, b"[" * 200_000 + b"]" * 200_000],
    ids=repr,
)  # fmt: skip
def test_what_would_not_come_back_the_same_is_base64(value: bytes) -> None:
    data = written([record("a", value)])
    assert b'"base64":' in data
    assert read(data) == [record("a", value)]


def test_the_largest_record_fits_in_a_line() -> None:
    largest = record("\u0639" * 250, bytes(MAX_VALUE_BYTES))
    data = written([largest])
    assert max(map(len, data.splitlines())) < MAX_LINE_BYTES
    assert read(data) == [largest]


def line(key: str = "a", revision: object = 1, **value: object) -> bytes:
    return json.dumps({"key": key, "revision": revision, **(value or {"json": 1})}).encode()


HOSTILE = {
    "no key": (b'{"revision":1,"json":1}', "missing required field `key`"),
    "another field": (b'{"key":"a","revision":1,"json":1,"x":1}', "unknown field `x`"),
    "both forms": (line(json=1, base64=""), "either json or base64"),
    "no form": (b'{"key":"a","revision":1}', "either json or base64"),
    "bad base64": (line(base64="a*b="), "a value that can be read"),
    "short base64": (line(base64="abc"), "a value that can be read"),
    "base64 of umlauts": (line(base64="ää"), "a value that can be read"),
    "half a letter": (b'{"key":"a","revision":1,"json":"\xff"}', "a value that can be read"),
    "no revision": (line(revision=0), "Expected `int` >= 1"),
    "huge revision": (line(revision=2**63), "revision"),
    "float revision": (line(revision=1.5), "revision"),
    "empty key": (line(""), "at least one character"),
    "key with dots": (line("a/../b"), "no empty, '.' or '..' segment"),
    "control character": (line("a\0"), "no control character"),
    "key not normal": (line("e\u0301"), "Unicode normal form NFC"),
    "long key": (line("k" * 513), "at most 512 bytes"),
    "the store's own key": (line("meta/store"), "the store's own"),
    "the mark": (line("meta/unfinished"), "a record of a whole store"),
    "large value": (
        line(base64=base64.b64encode(bytes(MAX_VALUE_BYTES + 1)).decode()), "at most 524288 bytes"
    ),
    "deep": (b'{"key":"a","revision":1,"json":' + b"[" * 300_000 + b"]" * 300_000 + b"}",
             "JSON of its kind"),
    "a list": (b"[]", "JSON of its kind"),
    "nothing": (b"", "JSON of its kind"),
    "too long": (b"x" * MAX_LINE_BYTES, f"at most {MAX_LINE_BYTES} bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_is_named_with_its_number(name: str) -> None:
    hostile, expected = HOSTILE[name]
    with pytest.raises(CorruptRecord, match=re.escape(expected)) as caught:
        read(signed(hostile))
    assert caught.value.where == "x.jsonl, line 2"
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("second", ["a", "A"])
def test_a_key_comes_once_and_in_order(second: str) -> None:
    with pytest.raises(CorruptRecord, match="ascending order, each once") as caught:
        read(signed(line("a"), line(second)))
    assert caught.value.where == "x.jsonl, line 3"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b'{"federlib":"store export","v":2,"x":"s1"}', "expected field v = 1, found 2; a newer"),
        (b'{"federlib":"store export","v":0,"store_id":"s1"}', "expected field v = 1, found 0"),
        (b'{"federlib":"run report","v":1}', "an export of a store"),
        (b'{"hello":1}', "JSON of its kind"),
        (b'{"federlib":"store export","v":1,"store_id":1,"revision":1,"at":""}', "store_id"),
        (b"SQLite format 3\0", "JSON of its kind"),
    ],
)  # fmt: skip
def test_another_file_is_refused_at_its_first_line(header: bytes, expected: str) -> None:
    with pytest.raises(CorruptRecord, match=re.escape(expected)) as caught:
        read(header + b"\n")
    assert caught.value.where == "x.jsonl, line 1"


def test_an_empty_file_is_torn() -> None:
    with pytest.raises(CorruptRecord, match="the file is torn"):
        read(b"")


def test_nothing_may_follow_the_last_line() -> None:
    with pytest.raises(CorruptRecord, match="line 4: expected the end of the file"):
        read(signed(line()) + b"\n")


def test_a_wrong_count_and_a_wrong_checksum_are_told() -> None:
    with pytest.raises(CorruptRecord, match="expected 2 records in front of it, found 1"):
        read(signed(line(), records=2))
    with pytest.raises(CorruptRecord, match="lines with the checksum"):
        read(signed(line("a")).replace(b'"a"', b'"b"'))
