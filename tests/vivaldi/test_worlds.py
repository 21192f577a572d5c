"""Whole fleets in simulated time: cold start, changed routes, LANs, and upper bounds."""

from __future__ import annotations

import random

import attrs
import pytest

from data_sets import latency_file
from federlib.cli.vivaldi import load_matrix
from federlib.errors import InvalidInput
from federlib.vivaldi import (
    DEFAULTS,
    Noise,
    RttMatrix,
    TrialResult,
    VivaldiConfig,
    run_trial,
)
from vivaldi.worlds import Fleet, centres, globe, plane

PLAIN = VivaldiConfig.plain()


def trial(
    matrix: RttMatrix,
    *samples: int,
    config: VivaldiConfig = DEFAULTS,
    noise: Noise | None = None,
    seed: int = 1,
) -> TrialResult:
    return run_trial(matrix, samples=samples, rng=random.Random(seed), config=config, noise=noise)


@pytest.mark.parametrize("world", [plane, globe])
def test_a_cold_start_is_usable_after_50_samples_and_sooner_than_plain(world: type) -> None:
    matrix = world(60)
    ours, plain = trial(matrix, 50, 150), trial(matrix, 50, 150, config=PLAIN)
    assert ours.readings[0].median < 0.15
    assert ours.readings[0].median < plain.readings[0].median
    assert ours.readings[1].median <= 1.05 * plain.readings[1].median


def test_in_a_space_that_fits_the_error_vanishes() -> None:
    assert trial(plane(40), 300).readings[0].median < 0.03


def test_outliers_and_noise_hardly_show() -> None:
    noise = Noise(spread=0.1, outliers=0.02)
    matrix = globe(60)
    clean, noisy = trial(matrix, 150), trial(matrix, 150, noise=noise)
    assert noisy.readings[0].median < clean.readings[0].median + 0.03
    plain = trial(matrix, 150, noise=noise, config=PLAIN)
    assert noisy.readings[0].median < plain.readings[0].median
    assert noisy.step_ms < plain.step_ms


@pytest.mark.parametrize("noise", [None, Noise(spread=0.1, outliers=0.02)])
@pytest.mark.parametrize("world", [plane, globe])
def test_upper_bounds_hold_for_the_promised_share(world: type, noise: Noise | None) -> None:
    found = trial(world(60), 200, noise=noise).ucb_coverage
    # Two percent of outliers are above any bound worth having; 5 ms of least sigma may be all.
    assert 0.95 <= found <= 1.0


def changed(fleet: Fleet, nodes: set[int], by_ms: float) -> list[list[float]]:
    return [
        [rtt + by_ms if rtt and (i in nodes) != (j in nodes) else rtt for j, rtt in enumerate(row)]
        for i, row in enumerate(fleet.rows)
    ]


@pytest.mark.parametrize("world", [globe(60), centres([20, 20], 60.0)], ids=["globe", "centres"])
def test_a_changed_route_is_learned_within_a_minute(world: RttMatrix) -> None:
    fleet = Fleet(world.truth)
    fleet.seconds(200)
    nodes = {0, 1, 2, 3, 4, 5}

    def hit(i: int, j: int) -> bool:
        return (i in nodes) != (j in nodes)

    before = fleet.error(hit)
    fleet.rows = changed(fleet, nodes, 80.0)
    assert fleet.error(hit) > before + 0.1
    fleet.seconds(60)
    assert fleet.error(hit) < before + 0.05


def test_neighbours_on_a_lan_are_told_from_those_far_away() -> None:
    fleet = Fleet(centres([10, 10], 60.0).truth)
    fleet.seconds(150)
    for i, node in enumerate(fleet.nodes):
        nearest = [name for name, _ in node.nearest(5)]
        assert all((int(name[1:]) < 10) == (i < 10) for name in nearest)


def test_a_floor_of_a_millisecond_flattens_a_lan_and_ours_does_not() -> None:
    rows = centres([12], 0.0).truth
    ours, plain = Fleet(rows), Fleet(rows, PLAIN)
    for fleet in (ours, plain):
        fleet.seconds(100)
    # Sub-millisecond links: 1 ms is five times what they are.
    assert ours.error() < 0.6
    assert plain.error() > 2


def test_the_same_seed_gives_the_same_trial() -> None:
    matrix = plane(15)
    noise = Noise(spread=0.1, outliers=0.02)
    assert trial(matrix, 5, 20, noise=noise) == trial(matrix, 5, 20, noise=noise)
    assert trial(matrix, 5, 20, noise=noise) != trial(matrix, 5, 20, noise=noise, seed=2)


def test_a_trial_reads_what_it_is_asked_for() -> None:
    found = run_trial(plane(12), samples=[3, 9], rng=random.Random(1), trace=[1, 9], neighbours=0)
    assert [each.samples for each in found.readings] == [3, 9]
    assert [each.samples for each in found.trace] == [1, 9]
    # So few pairs are all traced.
    assert found.trace[1] == found.readings[1]
    assert 0 <= found.rank_loss <= 1


def test_slices_follow_one_another_and_errors_are_against_their_median() -> None:
    quiet = plane(12).truth
    loud = [[3 * rtt for rtt in row] for row in quiet]
    found = trial(RttMatrix((quiet, loud), quiet), 60, 120)
    assert found.readings[0].median < 0.3
    assert found.readings[1].median > 1


def test_two_nodes_and_one_that_nobody_reaches_are_a_trial_too() -> None:
    rows = [[0.0, 20.0, 0.0], [20.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    found = trial(RttMatrix((rows,), rows), 100)
    assert found.readings[0].p90 < 0.05
    assert found.rank_loss == 0


@pytest.mark.parametrize("samples", [[], [0], [-1, 5]])
def test_a_trial_needs_numbers_of_samples(samples: list[int]) -> None:
    with pytest.raises(InvalidInput, match="samples"):
        run_trial(plane(4), samples=samples, rng=random.Random(1))


def test_a_trial_needs_no_negative_neighbours() -> None:
    with pytest.raises(InvalidInput, match="neighbours"):
        run_trial(plane(4), samples=[1], rng=random.Random(1), neighbours=-1)


@pytest.mark.parametrize("share", [-0.1, 1.1, True, float("nan"), "0.1"])
def test_noise_is_a_share(share: float) -> None:
    with pytest.raises(InvalidInput, match="0 to 1"):
        Noise(spread=share)


def test_the_named_extras_change_the_result_and_none_breaks_it() -> None:
    matrix = globe(30)
    noise = Noise(spread=0.1, outliers=0.02)
    base = trial(matrix, 100, noise=noise).readings[0].median
    for changes in (
        {"adjustment_window": 20},
        {"gate": 0.0},
        {"replay": 0},
        {"filter_samples": 5},
        {"dimensions": 8},
    ):
        config = attrs.evolve(DEFAULTS, **changes)
        found = trial(matrix, 100, config=config, noise=noise).readings[0].median
        assert found != base
        assert found < base + 0.15


def test_on_a_measured_network_the_map_is_there_after_50_samples() -> None:
    whole = load_matrix(latency_file("planetlab490_median"))
    rows = [row[::5] for row in whole.truth[::5]]
    found = trial(RttMatrix((rows,), rows), 20, 50, 200)
    assert found.readings[0].median < 0.2
    assert found.readings[1].median < 0.11
    assert found.readings[2].median < 0.09
    assert found.step_ms < 1.55
    assert 0.95 <= found.ucb_coverage <= 0.99
