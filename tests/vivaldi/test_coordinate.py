"""Coordinates: distance, quality, and which ones are believed."""

from __future__ import annotations

import math
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.testing import strategies as fed
from federlib.vivaldi import (
    DEFAULTS,
    VivaldiConfig,
    VivaldiCoordinate,
    coordinate_quality,
    initial_coordinate,
    is_sound,
    vivaldi_distance,
)
from vivaldi.worlds import at

coordinates = fed.of(VivaldiCoordinate)


def test_a_distance_is_the_euclidean_one_and_both_heights() -> None:
    assert vivaldi_distance(at(0, 0, 0, 0, height=2), at(3, 4, 0, 0, height=7)) == 14


def test_adjustments_count_unless_nothing_would_be_left() -> None:
    here = at(0, 0, 0, 0, height=1)
    there = msgspec.structs.replace(at(3, 4, 0, 0, height=1), adjustment_ms=-2.0)
    assert vivaldi_distance(here, there) == 5
    lost = msgspec.structs.replace(there, adjustment_ms=-7.0)
    assert vivaldi_distance(here, lost) == 7


def test_coordinates_of_two_spaces_have_no_distance() -> None:
    with pytest.raises(InvalidInput, match="4 dimensions, found 2"):
        vivaldi_distance(at(0, 0, 0, 0), at(1, 1))


@given(coordinates, coordinates)
def test_a_distance_is_the_same_from_both_ends_and_at_least_both_heights(
    a: VivaldiCoordinate, b: VivaldiCoordinate
) -> None:
    plain = [msgspec.structs.replace(each, adjustment_ms=0.0) for each in (a, b)]
    there, back = vivaldi_distance(*plain), vivaldi_distance(*reversed(plain))
    assert there == pytest.approx(back)
    assert there >= (a.height + b.height) * (1 - 1e-12)


@pytest.mark.parametrize(
    ("samples", "error_ms", "age_s", "quality"),
    [
        pytest.param(5, 20, 300, 1.0, id="all three at their yardsticks"),
        pytest.param(0, 20, 0, 0.0, id="no sample"),
        pytest.param(1, 0, 0, 0.2, id="a fifth of the samples"),
        pytest.param(500, 0, 0, 1.0, id="more samples are not better than good"),
        pytest.param(5, 40, 0, 0.5, id="twice the error"),
        pytest.param(5, 20, 600, 0.5, id="twice the ttl"),
        pytest.param(1, 40, 600, 0.05, id="all three"),
        pytest.param(5, math.nan, 0, 0.0, id="an error that is no number"),
        pytest.param(5, 20, math.nan, 0.0, id="an age that is no number"),
        pytest.param(-1, 20, 0, 0.0, id="less than no sample"),
        pytest.param(5, -1, 0, 0.0, id="less than no error"),
        pytest.param(5, 20, math.inf, 0.0, id="never heard of"),
        pytest.param(10**400, 20, 0, 1.0, id="more samples than a float holds"),
        pytest.param(5, 10**400, 0, 0.0, id="an error that no float holds"),
        pytest.param(5, 20, "old", 0.0, id="an age in words"),
    ],
)
def test_quality_is_the_product_of_samples_error_and_age(
    samples: int, error_ms: float, age_s: float, quality: float
) -> None:
    assert coordinate_quality(samples, error_ms, age_s) == pytest.approx(quality)


@given(st.integers(), st.floats(), st.floats())
def test_quality_is_a_share(samples: int, error_ms: float, age_s: float) -> None:
    assert 0 <= coordinate_quality(samples, error_ms, age_s) <= 1


@given(coordinates)
def test_what_a_node_can_say_of_itself_is_sound(coord: VivaldiCoordinate) -> None:
    assert is_sound(coord)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"position": (0.0,) * 3}, id="another space"),
        pytest.param({"position": ()}, id="no space"),
        pytest.param({"position": (math.nan, 0, 0, 0)}, id="not a number"),
        pytest.param({"position": (0, 0, -math.inf, 0)}, id="infinite"),
        pytest.param({"position": (math.inf, math.nan, 0, 0)}, id="both"),
        pytest.param({"position": (10_001.0, 0, 0, 0)}, id="absurdly far"),
        pytest.param({"position": [0.0] * 4}, id="a list, which may change"),
        pytest.param({"position": ("1", 0, 0, 0)}, id="text"),
        pytest.param({"position": None}, id="nothing"),
        pytest.param({"position": (10**400, 0, 0, 0)}, id="no float holds it"),
        pytest.param({"height": -1.0}, id="a pit"),
        pytest.param({"height": math.nan}, id="no height"),
        pytest.param({"height": 10_001.0}, id="absurdly high"),
        pytest.param({"error": -0.1}, id="surer than sure"),
        pytest.param({"error": math.inf}, id="knows nothing at all"),
        pytest.param({"residual_ms": -1.0}, id="a residual below 0"),
        pytest.param({"residual_ms": math.nan}, id="a residual that is no number"),
        pytest.param({"adjustment_ms": -math.inf}, id="adjusted away"),
        pytest.param({"sample_count": -1}, id="fewer than no samples"),
        pytest.param({"sample_count": None}, id="no count"),
        pytest.param({"sample_count": 10**400}, id="more samples than a float holds"),
        pytest.param({"sample_count": math.inf}, id="samples without end"),
        pytest.param({"updated_at": math.nan}, id="at no instant"),
        pytest.param({"updated_at": math.inf}, id="never"),
        pytest.param({"updated_at": -(10**400)}, id="before any clock"),
        pytest.param({"updated_at": "now"}, id="an instant in words"),
    ],
)
def test_what_cannot_be_is_not_sound(changes: dict[str, Any]) -> None:
    assert not is_sound(msgspec.structs.replace(initial_coordinate(), **changes))


def test_what_is_no_coordinate_is_not_sound() -> None:
    assert not is_sound(object())  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("config", [DEFAULTS, VivaldiConfig.plain()])
def test_a_node_begins_at_the_origin_and_knows_nothing(config: VivaldiConfig) -> None:
    found = initial_coordinate(attrs.evolve(config, dimensions=2))
    assert (found.position, found.sample_count) == ((0.0, 0.0), 0)
    assert (found.error, found.residual_ms) == (config.initial_error, config.sigma_default_ms)
