"""AD-35 §12.1, 12.9.1 and 12.10.1 to 12.10.4: Vivaldi coordinates."""

from __future__ import annotations

import inspect
import math
import threading

import attrs
import pytest

from federlib.vivaldi import (
    DEFAULTS,
    VIVALDI_ENV,
    VivaldiConfig,
    VivaldiCoordinate,
    VivaldiCoordinateSystem,
    config_from_env,
    coordinate_quality,
    decode_coordinate,
    encode_coordinate,
    vivaldi_distance,
)
from vivaldi.worlds import Fleet, Now, at, plane, system

# §12.1.12, as the seed writes it.
CONSTANTS: dict[str, int | float] = {
    "dimensions": 4,
    "initial_error": 1.0,
    "min_error": 0.001,
    "max_error": 1.5,
    "error_adjustment": 0.25,
    "coordinate_adjustment": 0.25,
    "convergence_threshold": 0.15,
    "rtt_default_ms": 100.0,
    "rtt_min_ms": 1.0,
    "rtt_max_ms": 10000.0,
    "sigma_default_ms": 50.0,
    "sigma_min_ms": 5.0,
    "sigma_max_ms": 500.0,
    "k_sigma": 2.0,
    "min_samples_for_routing": 5,
    "error_good_ms": 20.0,
    "coord_ttl_s": 300.0,
}


def test_a_coordinate_has_the_fields_and_defaults() -> None:
    """§12.1.1: position, height, error, `sample_count = 0`, `updated_at = 0.0`."""
    found = VivaldiCoordinate(position=(0.0,) * 4, height=1.0, error=1.0)
    assert VivaldiCoordinate.__struct_fields__[:5] == (
        "position",
        "height",
        "error",
        "sample_count",
        "updated_at",
    )
    assert (found.sample_count, found.updated_at) == (0, 0.0)


def test_distance_is_euclidean_plus_heights_in_milliseconds() -> None:
    """§12.1.2."""
    assert list(inspect.signature(vivaldi_distance).parameters) == ["coord_a", "coord_b"]
    assert vivaldi_distance(at(0, 3, 0, 0, height=1), at(4, 0, 0, 0, height=2)) == 8.0


def test_quality_combines_samples_error_and_staleness() -> None:
    """§12.1.3: a score from 0.0 to 1.0."""
    names = list(inspect.signature(coordinate_quality).parameters)
    assert names[:3] == ["sample_count", "error_ms", "staleness_s"]
    best = coordinate_quality(5, 20.0, 300.0)
    worse = [
        coordinate_quality(4, 20.0, 300.0),
        coordinate_quality(5, 21.0, 300.0),
        coordinate_quality(5, 20.0, 301.0),
    ]
    assert best == 1.0
    assert all(0.0 < each < 1.0 for each in worse)


def test_the_system_is_guarded_by_a_lock() -> None:
    """§12.1.4: `VivaldiCoordinateSystem` with a local coordinate, peers, configuration, a lock."""
    node = system()
    assert isinstance(node.get_local_coordinate(), VivaldiCoordinate)
    assert node.config == DEFAULTS
    assert isinstance(node._lock, type(threading.Lock()))


def test_an_update_moves_the_node_learns_the_error_and_keeps_the_peer() -> None:
    """§12.1.5."""
    node = system()
    before = node.get_local_coordinate()
    peer = at(50.0, 0.0, 0.0, 0.0, height=2.0)
    node.update_coordinate(peer="b", peer_coord=peer, measured_rtt_ms=80.0)
    after = node.get_local_coordinate()
    assert after.position != before.position
    assert after.error != before.error
    assert node.get_peer_coordinate("b") == peer


def test_an_estimate_is_the_distance_or_the_default() -> None:
    """§12.1.6."""
    node = system(config=VivaldiConfig.plain())
    peer = at(50.0, 0.0, 0.0, 0.0, height=2.0)
    node.update_coordinate("b", peer, 80.0)
    assert node.estimate_rtt("b") == vivaldi_distance(node.get_local_coordinate(), peer)
    assert node.estimate_rtt("unknown") == DEFAULTS.rtt_default_ms


@pytest.mark.parametrize("config", [DEFAULTS, VivaldiConfig.plain()], ids=["default", "plain"])
def test_the_upper_bound_is_two_sigmas_above_within_its_limits(config: VivaldiConfig) -> None:
    """§12.1.7, §12.10.4: `rtt_hat + K_SIGMA * sigma`, clamped to `[RTT_MIN_MS, RTT_MAX_MS]`."""
    node = system(config=config)
    for _ in range(5):
        node.update_coordinate("b", at(50.0, 0.0, 0.0, 0.0), 80.0)
    found = node.estimate("b")
    assert node.estimate_rtt_ucb_ms("b") == found.ucb_ms
    assert found.ucb_ms == pytest.approx(found.rtt_ms + 2.0 * found.sigma_ms)
    tiny = attrs.evolve(config, sigma_min_ms=0.0, sigma_default_ms=0.0, rtt_default_ms=0.0)
    assert system(config=tiny).estimate_rtt_ucb_ms("unknown") == config.rtt_min_ms
    huge = attrs.evolve(config, rtt_default_ms=1e5)
    assert system(config=huge).estimate_rtt_ucb_ms("unknown") == config.rtt_max_ms


def test_what_is_known_can_be_asked_for() -> None:
    """§12.1.8 to 12.1.10."""
    node = system()
    assert node.get_local_coordinate().position == (0.0,) * 4
    assert node.get_peer_coordinate("unknown") is None
    assert node.get_error() == node.get_local_coordinate().error == 1.0


def test_converged_is_an_error_below_the_threshold() -> None:
    """§12.1.11, §12.10.1: and coordinates converge."""
    fleet = Fleet(plane(20).truth)
    assert not any(node.is_converged() for node in fleet.nodes)
    fleet.seconds(100)
    assert all(node.is_converged() for node in fleet.nodes)
    assert all(node.get_error() < 0.15 for node in fleet.nodes)


@pytest.mark.parametrize("config", [DEFAULTS, VivaldiConfig.plain()], ids=["default", "plain"])
def test_the_constants_have_their_names_and_defaults(config: VivaldiConfig) -> None:
    """§12.1.12."""
    assert {name: getattr(config, name) for name in CONSTANTS} == CONSTANTS


def test_the_environment_configures_four_of_them() -> None:
    """§12.9.1."""
    assert VIVALDI_ENV == {
        "VIVALDI_DIMENSIONS": "dimensions",
        "VIVALDI_CONVERGENCE_THRESHOLD": "convergence_threshold",
        "VIVALDI_K_SIGMA": "k_sigma",
        "VIVALDI_MIN_SAMPLES_FOR_ROUTING": "min_samples_for_routing",
    }
    assert config_from_env({}) == DEFAULTS


def test_predictions_are_accurate_for_pairs_that_never_met() -> None:
    """§12.10.2: fifteen percent of the median after twenty rounds."""
    fleet = Fleet(plane(30).truth)
    fleet.seconds(20)
    assert fleet.error(lambda i, j: fleet.nodes[i].get_peer_coordinate(f"n{j}") is None) < 0.15


def test_both_ends_of_a_ping_learn() -> None:
    """§12.10.3: coordinates travel with ping and ack, and the ack's round trip with the next."""
    now = Now()
    a, b = system(now, seed=1), system(now, seed=2)

    def sent(of: VivaldiCoordinateSystem) -> VivaldiCoordinate:
        found = decode_coordinate(encode_coordinate(of.get_local_coordinate(), now_s=0), now_s=0)
        assert found is not None
        return found

    for _ in range(100):
        a.update_coordinate("b", sent(b), 40.0)
        b.observe("a", sent(a), 40.0)
    for node, other in ((a, b), (b, a)):
        predicted = node.predict(other.get_local_coordinate()).rtt_ms
        assert math.isclose(predicted, 40.0, rel_tol=0.05)


def test_the_state_that_is_no_number_never_leaves_the_node() -> None:
    """§12.1.5 in face of broken peers: refused, counted, finite."""
    node = system()
    wrong = at(math.nan, 0.0, 0.0, 0.0)
    assert not node.update_coordinate("b", wrong, 80.0)
    assert node.counts.refused_coordinates == 1
    assert all(map(math.isfinite, node.get_local_coordinate().position))
