"""The coordinate system of one node: peers, estimates, refusals, and what it forgets."""

from __future__ import annotations

import math
import random
import threading

import attrs
import msgspec
import pytest

from federlib.errors import InvalidInput
from federlib.vivaldi import (
    DEFAULTS,
    RttEstimate,
    VivaldiConfig,
    VivaldiCoordinate,
    VivaldiCoordinateSystem,
    VivaldiCounts,
    initial_coordinate,
    vivaldi_distance,
)
from vivaldi.worlds import Now, at, system

THERE = at(60.0, 0.0, 0.0, 0.0, height=5.0)
PREDICTING = attrs.evolve(DEFAULTS, direct_first=False)


def test_a_measurement_moves_the_node_and_keeps_the_peer() -> None:
    node = system()
    assert node.update_coordinate("b", THERE, 80.0)
    assert node.get_local_coordinate().position != (0.0,) * 4
    assert node.get_local_coordinate().sample_count == 1
    assert node.get_peer_coordinate("b") == THERE
    assert node.counts == VivaldiCounts(updates=1)


def test_an_unknown_peer_has_the_defaults_and_says_so() -> None:
    node = system()
    assert node.estimate_rtt("nobody") == 100.0
    assert node.estimate_rtt_ucb_ms("nobody") == 200.0
    assert node.get_peer_coordinate("nobody") is None
    assert node.estimate("nobody") == RttEstimate(
        100.0, 50.0, 200.0, 0.0, is_known=False, measured=False, age_s=None
    )


def test_an_estimate_is_the_distance_of_the_coordinates() -> None:
    node = system(config=PREDICTING)
    for _ in range(5):
        node.update_coordinate("b", THERE, 80.0)
    here = node.get_local_coordinate()
    assert node.estimate_rtt("b") == vivaldi_distance(here, THERE)
    assert not node.estimate("b").measured
    assert node.predict(THERE).rtt_ms == node.estimate_rtt("b")


def test_two_fresh_measurements_of_the_pair_come_before_its_coordinates() -> None:
    now = Now()
    node = system(now)
    node.update_coordinate("b", THERE, 80.0)
    assert not node.estimate("b").measured
    node.update_coordinate("b", THERE, 81.0)
    assert (node.estimate("b").measured, node.estimate_rtt("b")) == (True, 80.0)
    now.s += DEFAULTS.filter_max_age_s + 1
    assert not node.estimate("b").measured
    assert node.estimate_rtt("b") == node.predict(THERE).rtt_ms


def test_what_only_the_peer_has_measured_is_learned_and_is_no_direct_estimate() -> None:
    node = system()
    for _ in range(3):
        assert node.observe("b", THERE, 80.0)
    assert node.get_local_coordinate().sample_count == 3
    assert not node.estimate("b").measured
    node.update_coordinate("b", THERE, 80.0)
    assert node.estimate("b").measured


def test_lan_peers_keep_their_order_and_timeouts_their_floor() -> None:
    node = system()
    for name, rtt_ms in (("far", 0.9), ("near", 0.1), ("middle", 0.4)):
        for _ in range(3):
            node.update_coordinate(name, at(0.0, 0.0, 0.0, 0.0), rtt_ms)
    assert [name for name, _ in node.nearest(3)] == ["near", "middle", "far"]
    assert node.estimate_rtt("near") == 0.1
    assert node.estimate_rtt_ucb_ms("near") >= DEFAULTS.rtt_min_ms


def test_equal_peers_are_in_the_order_of_their_names() -> None:
    node = system()
    for name in ("c", "a", "b"):
        for _ in range(2):
            node.update_coordinate(name, THERE, 80.0)
    assert [name for name, _ in node.nearest(2)] == ["a", "b"]
    assert node.nearest(0) == ()
    assert node.peers() == ("a", "b", "c")


@pytest.mark.parametrize(
    ("rtts", "found"),
    [
        pytest.param([80.0, 800.0], 80.0, id="of two the lower"),
        pytest.param([80.0, 800.0, 82.0], 82.0, id="of three the middle"),
        pytest.param([80.0, 81.0, 82.0, 200.0, 201.0], 200.0, id="a changed route, twice seen"),
    ],
)
def test_each_peer_has_a_filter_of_its_last_round_trips(rtts: list[float], found: float) -> None:
    node = system()
    for rtt_ms in rtts:
        node.update_coordinate("b", THERE, rtt_ms)
    assert node.estimate_rtt("b") == found


def test_a_filter_forgets_what_was_before_a_silence() -> None:
    now = Now()
    node = system(now)
    for _ in range(3):
        node.update_coordinate("b", THERE, 80.0)
    now.s += DEFAULTS.filter_max_age_s + 1
    for _ in range(2):
        node.update_coordinate("b", THERE, 200.0)
    assert node.estimate_rtt("b") == 200.0


@pytest.mark.parametrize("rtt_ms", [math.nan, math.inf, -math.inf, -1e-9, 10_000.1, True, "80"])
def test_what_is_no_round_trip_is_refused_and_counted(rtt_ms: float) -> None:
    node = system()
    before = node.get_local_coordinate()
    assert not node.update_coordinate("b", THERE, rtt_ms)
    assert not node.observe("b", THERE, rtt_ms)
    assert node.counts == VivaldiCounts(refused_rtts=2)
    assert node.get_local_coordinate() == before
    assert node.get_peer_coordinate("b") is None


@pytest.mark.parametrize("rtt_ms", [0, 0.0, 0.009])
def test_a_round_trip_below_the_floor_counts_as_the_floor(rtt_ms: float) -> None:
    node = system()
    for _ in range(2):
        assert node.update_coordinate("b", THERE, rtt_ms)
    assert node.counts == VivaldiCounts(updates=2, floored=2)
    assert node.estimate_rtt("b") == DEFAULTS.rtt_floor_ms


@pytest.mark.parametrize("peer", ["", "x" * 129, None, 7])
def test_what_can_be_no_name_is_refused_and_counted(peer: str) -> None:
    node = system()
    assert not node.update_coordinate(peer, THERE, 80.0)
    assert not node.remember(peer, THERE)
    assert node.counts == VivaldiCounts(refused_peers=2)


def test_a_coordinate_that_cannot_be_is_refused_and_counted() -> None:
    node = system()
    for position in [(math.nan,) * 4, (1e9, 0.0, 0.0, 0.0), (0.0,) * 5]:
        wrong = msgspec.structs.replace(THERE, position=position)
        assert not node.update_coordinate("b", wrong, 80.0)
        assert not node.remember("b", wrong)
        with pytest.raises(InvalidInput, match="a sound coordinate"):
            node.predict(wrong)
    assert node.counts == VivaldiCounts(refused_coordinates=6)


def test_a_state_that_is_no_number_is_reset_and_counted() -> None:
    node = system()
    node.update_coordinate("b", THERE, 80.0)
    node._fit = msgspec.structs.replace(node._fit, position=(math.nan,) * 4)
    assert node.update_coordinate("b", THERE, 80.0)
    assert node.counts.resets == 1
    found = node.get_local_coordinate()
    assert (found.position, found.sample_count) == ((0.0,) * 4, 0)
    assert node.update_coordinate("b", THERE, 80.0)
    assert math.isfinite(node.get_local_coordinate().position[0])


def test_a_peer_is_forgotten_after_its_ttl() -> None:
    now = Now()
    node = system(now)
    node.update_coordinate("b", THERE, 80.0)
    now.s += DEFAULTS.coord_ttl_s
    assert node.peers() == ("b",)
    now.s += 0.001
    assert node.get_peer_coordinate("b") is None
    assert not node.estimate("b").is_known
    assert (node.peers(), node.counts.forgotten) == ((), 1)


def test_a_peer_that_comes_back_after_its_ttl_is_a_new_one() -> None:
    now = Now()
    config = attrs.evolve(DEFAULTS, filter_max_age_s=1e6)
    node = system(now, config)
    for _ in range(3):
        node.update_coordinate("b", THERE, 80.0)
    now.s += DEFAULTS.coord_ttl_s + 1
    node.update_coordinate("b", THERE, 20.0)
    node.update_coordinate("b", THERE, 20.0)
    assert (node.estimate_rtt("b"), node.counts.forgotten) == (20.0, 1)


def test_silent_peers_are_forgotten_without_being_asked_for() -> None:
    now = Now()
    node = system(now)
    for number in range(50):
        node.update_coordinate(f"old-{number}", THERE, 80.0)
    now.s += DEFAULTS.coord_ttl_s + 1
    for _ in range(64):
        node.update_coordinate("b", THERE, 80.0)
    assert node.counts.forgotten == 50


def test_ten_thousand_names_take_bounded_memory_and_who_was_silent_longest_goes() -> None:
    config = attrs.evolve(DEFAULTS, max_peers=100, replay=0)
    node = system(config=config)
    for number in range(10_000):
        node.update_coordinate(f"bogus-{number}", THERE, 80.0)
        if not number % 50:
            node.update_coordinate("b", THERE, 80.0)
    assert len(node.peers()) == 100
    assert node.estimate("b").is_known
    assert node.counts.forgotten == 10_001 - 100


def test_hearsay_names_are_bounded_too() -> None:
    node = system(config=attrs.evolve(DEFAULTS, max_peers=10))
    for number in range(1_000):
        assert node.remember(f"bogus-{number}", THERE)
    assert len(node.peers()) == 10


def test_hearsay_is_kept_only_if_it_is_news() -> None:
    now = Now(1_000.0)
    node = system(now)
    assert node.remember("b", msgspec.structs.replace(THERE, updated_at=990.0))
    older = msgspec.structs.replace(THERE, updated_at=989.0, height=1.0)
    assert not node.remember("b", older)
    newer = msgspec.structs.replace(THERE, updated_at=995.0, height=2.0)
    assert node.remember("b", newer)
    assert node.get_peer_coordinate("b") == newer
    assert not node.remember("c", msgspec.structs.replace(THERE, updated_at=600.0))
    assert node.get_local_coordinate().sample_count == 0


def test_old_hearsay_does_not_live_longer_for_being_told_again() -> None:
    now = Now(1_000.0)
    node = system(now)
    node.remember("b", msgspec.structs.replace(THERE, updated_at=800.0))
    now.s = 1_101.0
    assert not node.estimate("b").is_known


@pytest.mark.parametrize("updated_at", [5_000.0, 1e12])
def test_a_coordinate_from_the_future_is_of_now(updated_at: float) -> None:
    now = Now()
    node = system(now)
    node.update_coordinate("b", msgspec.structs.replace(THERE, updated_at=updated_at), 80.0)
    assert node.estimate("b").age_s == 0.0
    node.remember("c", msgspec.structs.replace(THERE, updated_at=updated_at))
    now.s += DEFAULTS.coord_ttl_s + 1
    assert node.peers() == ()


def test_quality_falls_with_the_age_of_the_coordinate() -> None:
    now = Now(2_000.0)
    node = system(now)
    node.update_coordinate("b", msgspec.structs.replace(THERE, updated_at=1_400.0), 80.0)
    found = node.estimate("b")
    assert (found.quality, found.age_s) == (0.5, 600.0)


def test_the_upper_bound_is_not_below_what_was_just_measured() -> None:
    node = system(config=PREDICTING)
    node.update_coordinate("b", at(0.0, 0.0, 0.0, 0.0, error=0.0, residual_ms=0.0), 900.0)
    for _ in range(60):
        node.update_coordinate("c", at(0.0, 0.0, 0.0, 0.0, residual_ms=0.0), 1.0)
    found = node.estimate("b")
    assert found.rtt_ms < 100
    assert found.ucb_ms >= 900


def test_a_forgotten_peer_is_unknown_and_no_longer_replayed() -> None:
    node = system()
    node.update_coordinate("b", THERE, 80.0)
    node.update_coordinate("c", THERE, 80.0)
    assert node.forget("b")
    assert not node.forget("b")
    assert (node.peers(), node.counts.forgotten) == (("c",), 1)
    assert [peer.name for peer in node._peers._recent] == ["c"]


def test_converged_is_a_small_error_after_enough_samples() -> None:
    now = Now()
    lucky = VivaldiCoordinateSystem(
        DEFAULTS,
        now_s=now,
        rng=random.Random(1),
        start=at(0.0, 0.0, 0.0, 0.0, error=0.01, samples=4),
    )
    assert (lucky.get_error(), lucky.is_converged()) == (0.01, False)
    node = system(now)
    assert (node.get_error(), node.is_converged()) == (1.0, False)
    for _ in range(200):
        node.update_coordinate("b", THERE, 80.0)
    assert node.get_error() < DEFAULTS.convergence_threshold
    assert node.is_converged()


def test_a_node_goes_on_from_the_coordinate_that_it_kept() -> None:
    kept = at(1.0, 2.0, 3.0, 4.0, height=5.0, samples=70, residual_ms=3.0)
    node = VivaldiCoordinateSystem(now_s=Now(), rng=random.Random(1), start=kept)
    assert node.get_local_coordinate() == kept
    node.update_coordinate("b", THERE, 80.0)
    assert node.get_local_coordinate().sample_count == 71


def test_a_kept_coordinate_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="start"):
        VivaldiCoordinateSystem(
            VivaldiConfig(dimensions=3), now_s=Now(), rng=random.Random(1), start=THERE
        )


def test_the_adjustment_term_is_half_the_mean_of_the_window() -> None:
    node = system(config=attrs.evolve(PREDICTING, adjustment_window=20, replay=0))
    for _ in range(5):
        node.update_coordinate("b", THERE, 80.0)
    total = sum(node._fit.adjustments)
    assert node.get_local_coordinate().adjustment_ms == total / 40
    assert node.get_local_coordinate().adjustment_ms != 0


def test_two_systems_with_one_seed_and_one_history_are_one() -> None:
    nodes = [system(seed=7), system(seed=7)]
    for node in nodes:
        for number in range(40):
            node.update_coordinate(f"n{number % 5}", initial_coordinate(), 10.0 + number)
    assert nodes[0].get_local_coordinate() == nodes[1].get_local_coordinate()


def test_many_threads_lose_no_update() -> None:
    node = system(config=attrs.evolve(DEFAULTS, max_peers=20))

    def work(name: str) -> None:
        for number in range(300):
            node.update_coordinate(f"{name}-{number % 10}", THERE, 80.0)
            node.estimate(f"{name}-{number % 7}")
            node.nearest(2)

    threads = [threading.Thread(target=work, args=(f"t{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.counts.updates == 1_200
    assert node.get_local_coordinate().sample_count == 1_200
    assert len(node.peers()) <= 20


def test_a_system_tells_its_constants() -> None:
    config = VivaldiConfig.plain()
    assert system(config=config).config is config


def test_a_coordinate_is_the_same_object_until_something_is_learned() -> None:
    node = system()
    first: VivaldiCoordinate = node.get_local_coordinate()
    assert node.get_local_coordinate() is first
    node.update_coordinate("b", THERE, 80.0)
    assert node.get_local_coordinate() is not first
