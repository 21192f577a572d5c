"""Timestamps: one order in four shapes, and strict reading of each."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.skewclock import (
    HlcTimestamp,
    check_hlc,
    hlc_bytes,
    hlc_from_bytes,
    hlc_from_text,
    hlc_logical,
    hlc_physical_ns,
    hlc_text,
    hlc_timestamp,
)

MS = 1_000_000
LAST = 2**63 - 1
TIMESTAMPS = st.integers(0, LAST).map(HlcTimestamp)


@given(TIMESTAMPS)
def test_a_timestamp_survives_text_bytes_json_and_its_parts(stamp: HlcTimestamp) -> None:
    assert hlc_from_text(hlc_text(stamp)) == stamp
    assert hlc_from_bytes(hlc_bytes(stamp)) == stamp
    assert msgspec.json.decode(msgspec.json.encode(stamp), type=HlcTimestamp) == stamp
    assert hlc_timestamp(hlc_physical_ns(stamp), hlc_logical(stamp)) == stamp


@given(TIMESTAMPS, TIMESTAMPS)
def test_every_shape_has_the_order_of_time(one: HlcTimestamp, two: HlcTimestamp) -> None:
    parts = [(hlc_physical_ns(stamp), hlc_logical(stamp)) for stamp in (one, two)]
    order = (parts[0] < parts[1], parts[0] == parts[1])
    assert (one < two, one == two) == order
    assert (hlc_text(one) < hlc_text(two), hlc_text(one) == hlc_text(two)) == order
    assert (hlc_bytes(one) < hlc_bytes(two), hlc_bytes(one) == hlc_bytes(two)) == order


@given(TIMESTAMPS)
def test_text_and_bytes_have_one_width(stamp: HlcTimestamp) -> None:
    assert (len(hlc_text(stamp)), len(hlc_bytes(stamp))) == (17, 8)


@given(st.integers(0, (2**47 - 1) * MS), st.integers(0, 65_535))
def test_the_physical_part_is_the_millisecond_that_has_begun(ns: int, logical: int) -> None:
    stamp = hlc_timestamp(ns, logical)
    assert hlc_physical_ns(stamp) == ns // MS * MS
    assert hlc_logical(stamp) == logical


def test_the_layout_is_48_bits_of_milliseconds_and_16_of_the_logical_part() -> None:
    stamp = hlc_timestamp(1_700_000_000_123 * MS, 1)
    assert stamp == (1_700_000_000_123 << 16) + 1
    assert hlc_text(stamp) == "018bcfe5687b-0001"


def test_the_last_timestamp_is_in_the_year_6429() -> None:
    last_ns = hlc_physical_ns(HlcTimestamp(LAST))
    assert 6429 <= 1970 + last_ns // (31_556_952 * 10**9) < 6430
    assert hlc_text(HlcTimestamp(LAST)) == "7fffffffffff-ffff"


@pytest.mark.parametrize(
    ("physical_ns", "logical"),
    [
        pytest.param(-1, 0, id="before the epoch"),
        pytest.param(2**47 * MS, 0, id="a millisecond too late"),
        pytest.param(1.0, 0, id="a float"),
        pytest.param(True, 0, id="a boolean"),
        pytest.param(0, -1, id="logical below 0"),
        pytest.param(0, 65_536, id="logical beyond 16 bits"),
        pytest.param(0, None, id="logical None"),
    ],
)
def test_parts_out_of_range_are_refused(physical_ns: object, logical: object) -> None:
    with pytest.raises(InvalidInput):
        hlc_timestamp(physical_ns, logical)  # type: ignore[arg-type]  # hostile on purpose


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, True, "1", None, b"\0" * 8])
def test_what_is_no_timestamp_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="remote: expected an integer from 0"):
        check_hlc(value, field="remote")
    for write in (hlc_text, hlc_bytes):
        with pytest.raises(InvalidInput, match="timestamp"):
            write(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "", "018bcfe5687b0001", "018bcfe5687b-001", "018bcfe5687b-00011", "018BCFE5687B-0001",
        "018bcfe5687b_0001", " 018bcfe5687b-0001", "018bcfe5687b-0001\n", "+18bcfe568fb-0001",
        "0x8bcfe568fb-0001", "0_8bcfe568fb-0001", "8" + "0" * 11 + "-0000", "٠18bcfe568fb-0001",
        None, 3, b"018bcfe5687b-0001",
    ],
)  # fmt: skip
def test_text_in_any_other_spelling_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput, match="timestamp"):
        hlc_from_text(text)  # type: ignore[arg-type]  # hostile on purpose


@given(st.text(max_size=20))
def test_text_is_read_only_if_it_is_written_so(text: str) -> None:
    try:
        stamp = hlc_from_text(text)
    except InvalidInput:
        return
    assert hlc_text(stamp) == text


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\0" * 9, b"\x80" + b"\0" * 7, "\0" * 8, 8])
def test_bytes_of_another_length_or_sign_are_refused(content: object) -> None:
    with pytest.raises(InvalidInput, match="8 bytes"):
        hlc_from_bytes(content)  # type: ignore[arg-type]  # hostile on purpose
