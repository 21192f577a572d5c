"""What is learned from measurements, and what metrics hear of it."""

from __future__ import annotations

import random

import pytest

from federlib.membership.effects import PeerMeasured
from federlib.membership.locating import Locator
from federlib.membership.metrics import MembershipMeter
from federlib.telemetry import RecordingSink, Telemetry
from federlib.vivaldi import VivaldiCoordinateSystem, encode_coordinate, initial_coordinate

COORD = encode_coordinate(initial_coordinate(), now_s=0.0)


@pytest.mark.parametrize(
    ("coord", "theirs_ms", "updates"),
    [
        pytest.param(COORD, None, 1, id="ours alone"),
        pytest.param(COORD, 12.0, 2, id="ours and theirs"),
        pytest.param(COORD, -1.0, 1, id="theirs cannot be"),
        pytest.param(None, 12.0, 0, id="no coordinate"),
        pytest.param(b"\1\4", 12.0, 0, id="a coordinate that is none"),
    ],
)
def test_every_measurement_that_moved_us_is_counted(
    coord: bytes | None, theirs_ms: float | None, updates: int
) -> None:
    sink = RecordingSink()
    vivaldi = VivaldiCoordinateSystem(now_s=lambda: 0.0, rng=random.Random(1))
    locator = Locator(vivaldi, MembershipMeter(Telemetry(sink)), lambda: 0.0)
    locator.learn(PeerMeasured("p", 10.0, coord, theirs_ms))
    assert sink.value("vivaldi_coordinate_updates") == updates == vivaldi.counts.updates
    assert sink.observations("vivaldi_prediction_error") == ()
    assert bool(sink.value("vivaldi_rtt_ucb_ms", peer="p")) == bool(updates)
    locator.learn(PeerMeasured("p", 10.0, COORD, 12.0))
    assert len(sink.observations("vivaldi_prediction_error")) == bool(updates)


def test_what_cannot_be_measured_moves_nothing_and_is_not_counted() -> None:
    sink = RecordingSink()
    vivaldi = VivaldiCoordinateSystem(now_s=lambda: 0.0, rng=random.Random(1))
    locator = Locator(vivaldi, MembershipMeter(Telemetry(sink)), lambda: 0.0)
    locator.learn(PeerMeasured("p", 1e6, COORD, None))
    assert sink.value("vivaldi_coordinate_updates") == vivaldi.counts.updates == 0


def test_convergence_is_told_once() -> None:
    sink = RecordingSink()
    now = [100.0]
    vivaldi = VivaldiCoordinateSystem(now_s=lambda: now[0], rng=random.Random(1))
    locator = Locator(vivaldi, MembershipMeter(Telemetry(sink)), lambda: now[0])
    while not vivaldi.is_converged():
        now[0] += 1.0
        peer = VivaldiCoordinateSystem(now_s=lambda: now[0], rng=random.Random(2))
        coord = encode_coordinate(peer.get_local_coordinate(), now_s=now[0])
        locator.learn(PeerMeasured("p", 10.0, coord, 10.0))
    first_s = now[0] - 100.0
    locator.learn(PeerMeasured("p", 10.0, COORD, 10.0))
    assert sink.observations("vivaldi_convergence_time") == (first_s,)
