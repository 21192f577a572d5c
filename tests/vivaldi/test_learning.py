"""The update alone: what one measurement teaches."""

from __future__ import annotations

import math
import random

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.testing import strategies as fed
from federlib.vivaldi import DEFAULTS, VivaldiConfig, VivaldiCoordinate, initial_coordinate
from federlib.vivaldi.learning import Fit, Gauss, initial_fit, is_finite, replay, sigma_ms
from federlib.vivaldi.learning import learn as learn_filtered
from vivaldi.worlds import at

PLAIN = VivaldiConfig.plain()
GAUSS = random.Random(1).gauss
coordinates = fed.of(VivaldiCoordinate)
rtts = st.floats(DEFAULTS.rtt_floor_ms, DEFAULTS.rtt_max_ms)


def fit(*position: float, height: float = 10.0, error: float = 0.5, samples: int = 0) -> Fit:
    return Fit(position, height, error, 50.0, samples)


def learn(
    own: Fit, peer: VivaldiCoordinate, rtt_ms: float, config: VivaldiConfig, gauss: Gauss
) -> Fit:
    return learn_filtered(own, peer, rtt_ms, rtt_ms, config, gauss)


def by_the_paper(
    own: Fit, peer: VivaldiCoordinate, rtt_ms: float
) -> tuple[list[float], float, float]:
    """Dabek et al. 2004, figure 3, with height vectors (section 5.4), written out naively."""
    w = own.error / (own.error + peer.error)
    away = [a - b for a, b in zip(own.position, peer.position, strict=True)]
    norm = math.sqrt(sum(each * each for each in away)) + own.height + peer.height
    wrong = min(abs(norm - rtt_ms) / rtt_ms, 1.5)
    error = wrong * 0.25 * w + own.error * (1 - 0.25 * w)
    force = 0.25 * w * (rtt_ms - norm)
    moved = [a + force * b / norm for a, b in zip(own.position, away, strict=True)]
    return moved, own.height + force * (own.height + peer.height) / norm, error


@given(st.floats(1, 1_000))
def test_the_plain_form_is_the_paper_letter_by_letter(rtt_ms: float) -> None:
    own, peer = fit(30.0, -40.0, 5.0, 0.0), at(-10.0, 20.0, 0.0, 7.0, height=4.0, error=0.3)
    learned = learn(own, peer, rtt_ms, PLAIN, GAUSS)
    position, height, error = by_the_paper(own, peer, rtt_ms)
    assert learned.position == pytest.approx(position)
    assert learned.height == pytest.approx(max(height, PLAIN.height_min_ms))
    assert learned.error == pytest.approx(error)
    assert learned.samples == 1


@given(coordinates, st.lists(st.tuples(coordinates, rtts), max_size=30))
def test_no_chain_of_sound_measurements_leads_out_of_bounds(
    start: VivaldiCoordinate, heard: list[tuple[VivaldiCoordinate, float]]
) -> None:
    found = initial_fit(start)
    for peer, rtt_ms in heard:
        found = learn(found, peer, rtt_ms, DEFAULTS, GAUSS)
        found = replay(found, heard[:4], DEFAULTS, GAUSS)
        assert all(map(math.isfinite, [*found.position, found.height, found.widening]))
        assert found.height >= min(DEFAULTS.height_min_ms, start.height)
        assert DEFAULTS.min_error <= found.error <= DEFAULTS.max_error
        assert 0 <= found.residual_ms <= 3 * DEFAULTS.rtt_max_ms
        assert 0 < found.usual_ms <= DEFAULTS.rtt_max_ms


@given(coordinates, rtts)
def test_a_node_moves_towards_what_was_measured_and_not_beyond(
    peer: VivaldiCoordinate, rtt_ms: float
) -> None:
    own = fit(1.0, 2.0, 3.0, 4.0)
    config = attrs.evolve(DEFAULTS, gravity_rho=0.0)

    def off(found: Fit) -> float:
        apart = math.dist(found.position, peer.position)
        return apart + found.height + peer.height - rtt_ms

    before, after = off(own), off(learn(own, peer, rtt_ms, config, GAUSS))
    # The floor of the height may leave a hundredth of a millisecond.
    assert abs(after) <= abs(before) + 2 * config.height_min_ms
    assert before * after >= -2 * config.height_min_ms * abs(before)


def test_two_nodes_at_one_point_part_in_a_drawn_direction() -> None:
    own = initial_fit(initial_coordinate())
    found = [
        learn(own, initial_coordinate(), 50.0, DEFAULTS, random.Random(k).gauss) for k in (1, 2)
    ]
    assert found[0].position != found[1].position
    for each in found:
        # Half of the trust, a quarter of the rest.
        assert math.hypot(*each.position) == pytest.approx(0.25 * 0.5 * (50 - 0.02), rel=1e-6)
        assert each.height > own.height


def test_a_residual_far_beyond_the_usual_hardly_moves_and_a_usual_one_does() -> None:
    steady = msgspec.structs.replace(fit(50.0, 0.0, 0.0, 0.0, samples=500), usual_ms=10.0)
    peer = at(-50.0, 0.0, 0.0, 0.0)

    def step(rtt_ms: float) -> float:
        return math.dist(learn(steady, peer, rtt_ms, DEFAULTS, GAUSS).position, steady.position)

    assert step(115.0) > step(1_100.0)
    assert step(1_100.0) < 0.01 * 990


def test_the_gate_opens_when_everything_has_changed() -> None:
    found = msgspec.structs.replace(fit(50.0, 0.0, 0.0, 0.0, samples=500), usual_ms=1.0)
    peer = at(-50.0, 0.0, 0.0, 0.0)
    for _ in range(60):
        found = learn(found, peer, 200.0, DEFAULTS, GAUSS)
    assert math.dist(found.position, peer.position) + found.height == pytest.approx(200, rel=0.05)


def test_whoever_claims_to_be_sure_counts_no_more_than_oneself() -> None:
    own, sure = fit(0.0, 0.0, 0.0, 0.0, error=0.5), at(90.0, 0.0, 0.0, 0.0, error=1e-9)
    equal = at(90.0, 0.0, 0.0, 0.0, error=0.5)
    assert (
        learn(own, sure, 200.0, DEFAULTS, GAUSS).position
        == learn(own, equal, 200.0, DEFAULTS, GAUSS).position
    )


def test_the_gain_sinks_with_experience_to_the_steady_one() -> None:
    peer = at(90.0, 0.0, 0.0, 0.0, error=0.5)

    def step(samples: int) -> float:
        own = fit(0.0, 0.0, 0.0, 0.0, samples=samples)
        return learn(own, peer, 110.0, DEFAULTS, GAUSS).position[0]

    assert step(0) == step(49) < step(60) < step(99) == pytest.approx(step(0) / 2)
    assert step(99) == step(10_000)


def test_upper_bounds_widen_by_what_was_measured_and_not_by_what_was_filtered() -> None:
    own, peer = fit(0.0, 0.0, 0.0, 0.0), at(90.0, 0.0, 0.0, 0.0)
    within = learn_filtered(own, peer, 100.0, 101.0, DEFAULTS, GAUSS)
    beyond = learn_filtered(own, peer, 100.0, 900.0, DEFAULTS, GAUSS)
    assert within.widening < own.widening < beyond.widening
    assert within.position == beyond.position


def test_a_replay_moves_and_learns_nothing_about_errors() -> None:
    own = fit(0.0, 0.0, 0.0, 0.0)
    found = replay(own, [(at(90.0, 0.0, 0.0, 0.0), 150.0)], DEFAULTS, GAUSS)
    assert found.position != own.position
    assert (found.error, found.residual_ms, found.samples) == (0.5, 50.0, 0)
    assert replay(own, [], DEFAULTS, GAUSS) == own


def test_gravity_draws_to_the_origin_and_hardly() -> None:
    far = fit(1_000.0, 0.0, 0.0, 0.0)
    peer = at(0.0, 0.0, 0.0, 0.0, height=0.0)

    def after(samples: int, rho: float) -> float:
        found = far
        for _ in range(samples):
            found = learn(found, peer, 1_010.0, attrs.evolve(DEFAULTS, gravity_rho=rho), GAUSS)
        return found.position[0]

    # (1 s / 150)² is 44 microseconds, sixteen times.
    assert after(15, 150.0) == after(15, 0.0)
    assert after(16, 0.0) - after(16, 150.0) == pytest.approx(16 * 0.0444, rel=0.01)
    assert after(16, 0.001) == 0.0


def test_the_adjustment_window_keeps_the_last_residuals() -> None:
    config = attrs.evolve(DEFAULTS, adjustment_window=3)
    found = fit(0.0, 0.0, 0.0, 0.0)
    for rtt_ms in (50.0, 60.0, 70.0, 80.0):
        found = learn(found, at(90.0, 0.0, 0.0, 0.0), rtt_ms, config, GAUSS)
    assert len(found.adjustments) == 3


@pytest.mark.parametrize(
    ("own_ms", "peer_ms", "sigma"),
    [
        pytest.param(0.0, 0.0, 5.0, id="never below the least"),
        pytest.param(1e6, 0.0, 500.0, id="never above the most"),
        pytest.param(20.0, 20.0, 20 * math.sqrt(math.pi / 2), id="a mean deviation of 20 ms"),
    ],
)
def test_sigma_comes_from_both_ends_within_bounds(
    own_ms: float, peer_ms: float, sigma: float
) -> None:
    assert sigma_ms(own_ms, peer_ms, 1.0, DEFAULTS) == pytest.approx(sigma)


@pytest.mark.parametrize(
    "broken",
    [
        {"position": (math.nan, 0.0, 0.0, 0.0)},
        {"position": (math.inf, 0.0, 0.0, 0.0)},
        {"height": math.nan},
        {"error": math.nan},
        {"error": 0.0},
        {"residual_ms": math.inf},
        {"usual_ms": math.nan},
        {"widening": math.nan},
    ],
)
def test_a_state_that_is_no_number_is_told(broken: dict[str, object]) -> None:
    own = fit(0.0, 0.0, 0.0, 0.0)
    assert is_finite(own, DEFAULTS)
    assert not is_finite(msgspec.structs.replace(own, **broken), DEFAULTS)


def test_the_usual_residual_stays_within_what_can_be_measured() -> None:
    own = msgspec.structs.replace(fit(0.0, 0.0, 0.0, 0.0), usual_ms=9_999.0)
    far = at(9_000.0, 0.0, 0.0, 0.0, height=9_000.0)
    assert learn(own, far, 1.0, DEFAULTS, GAUSS).usual_ms == DEFAULTS.rtt_max_ms
    quiet = msgspec.structs.replace(own, usual_ms=0.5)
    assert learn(quiet, at(10.0, 0.0, 0.0, 0.0), 20.0, DEFAULTS, GAUSS).usual_ms == 0.5
