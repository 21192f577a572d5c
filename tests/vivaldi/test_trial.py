"""A trial refuses what would end in numbers that say nothing, and takes odd networks."""

from __future__ import annotations

import random
from collections.abc import Callable
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


def _plane(i: int, j: int) -> float:
    return 1.0 + 20.0 * abs(i % 4 - j % 4) + 15.0 * abs(i // 4 - j // 4)


@pytest.mark.parametrize(
    ("size", "rtt_ms", "median"),
    [
        pytest.param(2, lambda _i, _j: 25.0, 0.001, id="two nodes"),
        pytest.param(3, lambda i, j: 10.0 * (i + j), 0.01, id="three nodes"),
        pytest.param(12, lambda _i, _j: 50.0, 0.05, id="all as far from each other"),
        pytest.param(12, lambda i, j: 40.0 if i and j else 20.0, 0.05, id="a star"),
        pytest.param(12, lambda i, j: 0.05 + 0.001 * (i + j), 0.05, id="a LAN"),
        pytest.param(12, lambda i, j: 2e3 if 11 in {i, j} else _plane(i, j), 0.15, id="one far"),
        pytest.param(
            12, lambda i, j: 600.0 if max(i, j) > 8 else _plane(i, j), 0.15, id="satellites"
        ),
        pytest.param(
            16,
            lambda i, j: [float("nan"), -1.0, _plane(i, j), _plane(i, j)][(i * j) % 4],
            0.15,
            id="many pairs missing",
        ),
        pytest.param(6, lambda i, j: 5.0 * (i // 3 == j // 3), 0.02, id="two islands"),
    ],
)
def test_odd_networks_are_learned(
    size: int, rtt_ms: Callable[[int, int], float], median: float
) -> None:
    matrix = read_matrix([",".join(str(rtt_ms(i, j)) for j in range(size)) for i in range(size)])
    found = run_trial(matrix, samples=[100], rng=random.Random(1))
    assert found.readings[0].median < median
    assert found.ucb_coverage > 0.9
    assert found.refused == 0
