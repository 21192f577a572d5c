"""Coordinates as bytes: whole and sound, or nothing."""

from __future__ import annotations

import math
import struct

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.testing import strategies as fed
from federlib.vivaldi import (
    DEFAULTS,
    MAX_COORDINATE_BYTES,
    MAX_DIMENSIONS,
    VivaldiCoordinate,
    decode_coordinate,
    encode_coordinate,
    is_sound,
)
from vivaldi.worlds import at

HERE = at(1.5, -2.5, 3.5, -4.5, height=0.25, error=0.125, residual_ms=7.5, updated_at=90.0)
DATA = encode_coordinate(HERE, now_s=100.0)


def test_a_coordinate_of_four_dimensions_is_58_bytes() -> None:
    assert len(DATA) == 58
    assert decode_coordinate(DATA, now_s=100.0) == HERE


def test_the_age_travels_and_the_clock_does_not() -> None:
    found = decode_coordinate(DATA, now_s=5_000_000.0, transit_s=0.5)
    assert found is not None
    assert found.updated_at == 5_000_000.0 - 10.0 - 0.5


def test_told_on_and_on_a_coordinate_grows_older() -> None:
    data = DATA
    for hop in range(3):
        here_s = 7_000.0 * (hop + 1)
        found = decode_coordinate(data, now_s=here_s)
        assert found is not None
        data = encode_coordinate(found, now_s=here_s + 20)
    last = decode_coordinate(data, now_s=0.0)
    assert last is not None
    assert -last.updated_at == 10 + 3 * 20


def test_what_is_from_the_future_is_written_as_of_now() -> None:
    data = encode_coordinate(HERE, now_s=1.0)
    found = decode_coordinate(data, now_s=50.0)
    assert found is not None
    assert found.updated_at == 50.0


@given(fed.of(VivaldiCoordinate))
def test_what_was_written_is_read_but_for_the_precision_of_floats(
    coord: VivaldiCoordinate,
) -> None:
    found = decode_coordinate(encode_coordinate(coord, now_s=1e9), now_s=1e9)
    assert found is not None
    assert found.position == coord.position
    assert found.height == pytest.approx(coord.height, rel=1e-6, abs=1e-30)
    assert found.sample_count == coord.sample_count
    assert found.error == pytest.approx(coord.error)
    assert found.residual_ms == pytest.approx(coord.residual_ms, rel=1e-6, abs=1e-30)
    assert found.adjustment_ms == pytest.approx(coord.adjustment_ms, rel=1e-6, abs=1e-30)
    assert found.updated_at == pytest.approx(coord.updated_at, rel=1e-6, abs=200)


@pytest.mark.parametrize("size", range(1, MAX_DIMENSIONS + 1))
def test_each_number_of_dimensions_is_read_only_where_it_is_expected(size: int) -> None:
    coord = at(*[1.0] * size)
    data = encode_coordinate(coord, now_s=1_000.0)
    assert len(data) <= MAX_COORDINATE_BYTES
    config = attrs.evolve(DEFAULTS, dimensions=size)
    found = decode_coordinate(data, now_s=1_000.0, config=config)
    assert found is not None
    assert found.position == coord.position
    other = attrs.evolve(DEFAULTS, dimensions=size % MAX_DIMENSIONS + 1)
    assert decode_coordinate(data, now_s=1_000.0, config=other) is None


@pytest.mark.parametrize("length", [*range(58), 59, 10_000])
def test_what_is_cut_off_or_too_long_is_nothing(length: int) -> None:
    assert decode_coordinate((DATA * 200)[:length], now_s=0.0) is None


@pytest.mark.parametrize("field", range(8))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e9, -1e9])
def test_numbers_that_cannot_be_are_nothing(field: int, value: float) -> None:
    numbers = [*HERE.position, HERE.height, 0.1, 1.0, 0.0, 1.0]
    numbers[field] = value
    data = struct.pack("!BB4d5fI", 1, 4, *numbers, 3)
    assert len(data) == len(DATA)
    assert decode_coordinate(data, now_s=0.0) is None


@pytest.mark.parametrize("age_s", [-1.0, math.nan, math.inf])
def test_an_age_that_cannot_be_is_nothing(age_s: float) -> None:
    data = struct.pack("!BB4d5fI", 1, 4, *HERE.position, 0.25, 0.1, 1.0, 0.0, age_s, 3)
    assert len(data) == len(DATA)
    assert decode_coordinate(data, now_s=0.0) is None


@pytest.mark.parametrize("first", [b"\0\4", b"\2\4", b"\1\0", b"\1\xff"])
def test_another_version_or_space_is_nothing(first: bytes) -> None:
    assert decode_coordinate(first + DATA[2:], now_s=0.0) is None


@given(st.binary(max_size=MAX_COORDINATE_BYTES + 9) | st.binary(max_size=60).map(b"\1\4".__add__))
def test_no_bytes_make_a_coordinate_that_is_not_sound(data: bytes) -> None:
    found = decode_coordinate(data, now_s=1_000.0)
    assert found is None or is_sound(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"position": ()},
        {"position": (0.0,) * (MAX_DIMENSIONS + 1)},
        {"height": "high"},
        {"error": 1e300},
        {"sample_count": -1},
        {"sample_count": None},
        {"sample_count": "3"},
        {"sample_count": 1.5},
        {"updated_at": None},
        {"updated_at": "now"},
        {"updated_at": math.nan},
        {"updated_at": -math.inf},
        {"position": None},
        {"position": (1.0, math.nan)},
        {"position": ("1", 2.0)},
        {"height": math.nan},
        {"residual_ms": None},
        {"adjustment_ms": -math.inf},
    ],
)
def test_what_cannot_be_written_is_told(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        encode_coordinate(msgspec.structs.replace(HERE, **changes), now_s=100.0)


@pytest.mark.parametrize("most", [1.7, 9_999.9, 100 / 3, 123.456])
def test_what_lies_at_a_bound_is_read_within_it(most: float) -> None:
    config = attrs.evolve(DEFAULTS, rtt_max_ms=most)
    for sign in (1, -1):
        coord = msgspec.structs.replace(
            at(0.0, 0.0, 0.0, 0.0, height=most, residual_ms=most), adjustment_ms=sign * most
        )
        assert is_sound(coord, config)
        found = decode_coordinate(encode_coordinate(coord, now_s=1.0), now_s=1.0, config=config)
        assert found is not None
        assert found.height == found.residual_ms == sign * found.adjustment_ms
        assert found.height == pytest.approx(most, rel=2e-7)


@given(st.lists(st.floats(-1e9, 1e9), min_size=4, max_size=4))
def test_floats_are_the_nearest_that_are_not_further_from_zero(numbers: list[float]) -> None:
    height, error, residual_ms, adjustment_ms = numbers
    coord = msgspec.structs.replace(
        HERE, height=height, error=error, residual_ms=residual_ms, adjustment_ms=adjustment_ms
    )
    data = encode_coordinate(coord, now_s=100.0)
    for given_, found in zip(numbers, struct.unpack("!4f", data[34:50]), strict=True):
        assert abs(found) <= abs(given_)
        assert found == pytest.approx(given_, rel=2e-7, abs=1e-44)


def test_more_samples_than_fit_are_as_many_as_fit() -> None:
    many = msgspec.structs.replace(HERE, sample_count=2**40)
    found = decode_coordinate(encode_coordinate(many, now_s=100.0), now_s=100.0)
    assert found is not None
    assert found.sample_count == 2**32 - 1
