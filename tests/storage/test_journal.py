"""Frames: what was written is read, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.storage import Batch, Event, Record
from federlib.storage.backends._embedded.table import Receipt
from federlib.storage.backends.file import _journal as frames
from federlib.storage.backends.file._journal import FrameReader

SALT = frames.salt_of("some store")
KINDS = st.sampled_from([frames.CHANGE, frames.CLOSING, frames.RECORDS])
REVISIONS = st.integers(0, 2**64 - 1)


def reader(data: bytes, *, at: int = 0, salt: int = SALT) -> FrameReader:
    return FrameReader(lambda offset, size: data[offset : offset + size], at, salt)


@given(st.lists(st.tuples(KINDS, REVISIONS, st.binary(max_size=200)), max_size=8), st.binary())
def test_frames_come_back_in_order_and_end_where_something_else_begins(
    written: list[tuple[bytes, int, bytes]], noise: bytes
) -> None:
    whole = [frames.frame(*one, SALT) for one in written]
    reading = reader(b"".join(whole) + b"\0" + noise)
    for kind, revision, payload in written:
        found = reading.next()
        assert found is not None
        assert (found.kind, found.revision, found.payload) == (kind, revision, payload)
    assert reading.next() is None
    assert reading.at == sum(map(len, whole))


def test_a_long_frame_is_read_in_one_piece_between_short_ones() -> None:
    payloads = [b"a", bytes(3_000_000), b"b" * 20_000, b""]
    reading = reader(b"".join(frames.frame(b"C", n, p, SALT) for n, p in enumerate(payloads)))
    found = [reading.next() for _ in payloads]
    assert [one.payload for one in found if one is not None] == payloads


@pytest.mark.parametrize("length", [0, 1, 40])
def test_every_flipped_bit_of_a_frame_is_noticed(length: int) -> None:
    whole = frames.frame(frames.CHANGE, 7, bytes(range(length)), SALT)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        assert reader(bytes(damaged)).next() is None, bit


def test_every_missing_end_of_a_frame_is_noticed() -> None:
    whole = frames.frame(frames.CHANGE, 7, b"some payload", SALT)
    for size in range(len(whole)):
        assert reader(whole[:size]).next() is None, size
        assert reader(whole[:size] + bytes(len(whole))).next() is None, size


def test_a_huge_length_is_refused_before_anything_is_read() -> None:
    asked: list[int] = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return bytes(whole[offset : offset + size])

    whole = bytearray(frames.frame(frames.CHANGE, 7, b"x", SALT))
    whole[4:8] = b"\xff\xff\xff\xff"
    assert FrameReader(read, 0, SALT).next() is None
    assert max(asked) < 100_000


def test_a_frame_of_another_store_is_none_of_ours() -> None:
    whole = frames.frame(frames.CHANGE, 7, b"x", frames.salt_of("another store"))
    assert reader(whole).next() is None


@given(
    st.dictionaries(st.text(max_size=9), st.none() | st.binary(max_size=9), max_size=5),
    st.integers(1, 2**62),
    st.booleans(),
)
def test_a_change_is_decoded_as_it_was(
    writes: dict[str, bytes | None], revision: int, has_receipt: bool
) -> None:
    events = [
        Event(key, None if value is None else Record(key, value, revision, revision))
        for key, value in writes.items()
    ]
    batch = Batch(revision, tuple(events))
    receipt = Receipt("some id", revision, b"digest", 5) if has_receipt else None
    payload = frames.encode_change(batch, receipt)
    assert frames.decode_change(revision, payload) == (batch, receipt)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x90", b"\x92\xa1x\xc0", b"\x92\x91\xc0\xc0"])
def test_a_payload_that_we_did_not_write_is_an_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        frames.decode_change(7, payload)


def test_a_receipt_of_another_revision_is_an_error() -> None:
    payload = frames.encode_change(Batch(7, ()), Receipt("some id", 8, b"", 5))
    with pytest.raises(ValueError, match="revision 8"):
        frames.decode_change(7, payload)


@given(st.binary(max_size=60), st.integers(8, 30))
def test_a_later_frame_is_found_behind_anything(noise: bytes, revision: int) -> None:
    later = frames.frame(frames.CHANGE, revision, bytes(500), SALT)
    assert frames.find_later_change(noise + later + noise, 7, SALT) == revision


@pytest.mark.parametrize(
    "other",
    [
        frames.frame(frames.CHANGE, 7, bytes(500), SALT),
        frames.frame(frames.CHANGE, 8, bytes(500), frames.salt_of("another")),
        frames.frame(frames.RECORDS, 8, bytes(500), SALT),
        frames.frame(frames.CHANGE, 8, bytes(500), SALT)[:-1],
        frames.frame(frames.CHANGE, 2**60, bytes(500), SALT),
        b"\xf5FJC" * 100,
        b"",
    ],
    ids=["not later", "another store", "another kind", "torn", "far later", "heads", "nothing"],
)
def test_what_is_no_later_frame_is_not_taken_for_one(other: bytes) -> None:
    assert frames.find_later_change(b"noise" + other, 7, SALT) is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (frames.beginning("journal", "id"), "id"),
        (frames.beginning("state", "id", 9), "id"),
        (b"federlib journal 2\nwhatever", 2),
        (b"federlib journal 0\n" + frames.beginning("journal", "id")[19:], None),
        (b"federlib journal 99999999999\n", None),
        (frames.beginning("journal", "id")[:-1], None),
        (b"federlib journal 1\n" + frames.frame(frames.OPENING, 0, b"{}", 0), None),
        (b"federlib journal 1\n" + frames.frame(frames.CHANGE, 0, b'{"store_id":"a"}', 0), None),
        (b"", None),
        (b"SQLite format 3\0", None),
    ],
)
def test_the_beginning_of_a_file_names_store_and_format(
    data: bytes, expected: str | int | None
) -> None:
    assert frames.read_beginning(data) == expected
