"""A trial refuses what would end in numbers that say nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from federlib.errors import InvalidInput
from federlib.vivaldi import Noise, VivaldiConfig, read_matrix, run_trial

MATRIX = read_matrix(["0,10", "10,0"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"samples": []}, "samples"),
        ({"samples": [0]}, "samples"),
        ({"samples": [1.5]}, "samples"),
        ({"samples": [True]}, "samples"),
        ({"samples": ["10"]}, "samples"),
        ({"samples": [10], "trace": [float("nan")]}, "samples"),
        ({"samples": [10], "neighbours": -1}, "neighbours"),
        ({"samples": [10], "neighbours": 1.5}, "neighbours"),
        ({"samples": [10], "neighbours": None}, "neighbours"),
    ],
)
def test_numbers_of_samples_and_neighbours_are_integers(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        run_trial(MATRIX, rng=random.Random(0), **changes)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"spread": 1.1}, "spread"),
        ({"spread": float("nan")}, "spread"),
        ({"outliers": True}, "outliers"),
        ({"outlier_factor": float("nan")}, "outlier_factor"),
        ({"outlier_factor": -1.0}, "outlier_factor"),
    ],
)
def test_noise_is_made_of_finite_numbers(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Noise(**changes)
    assert caught.value.field == field


def test_a_matrix_of_which_every_round_trip_would_be_refused_is_in_another_unit() -> None:
    microseconds = read_matrix(["0,20000", "143000,0"])
    with pytest.raises(InvalidInput, match=r"at most 10000 \(rtt_max_ms\), found .20000 as the"):
        run_trial(microseconds, samples=[10], rng=random.Random(0))
    far = VivaldiConfig(rtt_max_ms=100_000.0)
    assert run_trial(microseconds, samples=[10], rng=random.Random(0), config=far).readings
