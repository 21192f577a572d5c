"""Metrics and events: their exact names, and when they are told."""

from __future__ import annotations

import pytest

from federlib.membership.confirmation import (
    AskPeer,
    Evidence,
    PeerConfirmed,
    RemovePeer,
    StaleUnconfirmed,
)
from federlib.membership.effects import MemberJoined, MemberRemoved
from federlib.membership.lifecycle import IncarnationTracker, NodeLifecycleState
from federlib.membership.metrics import ALL_METRICS, EVENTS, MembershipMeter
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole
from federlib.membership.timeouts import AppliedTimeout
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue

UNCONFIRMED, ALIVE = NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.ALIVE
PEER = NodeId("p", 1)


class RecordingLogger:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append((level, event, fields))


class Told:
    """A meter and all that it told."""

    def __init__(self) -> None:
        self.sink = RecordingSink()
        self.logger = RecordingLogger()
        self.telemetry = Telemetry(self.sink, self.logger)
        self.meter = MembershipMeter(self.telemetry)


@pytest.fixture
def told() -> Told:
    return Told()


def test_names_kinds_and_labels_are_those_of_the_seed() -> None:
    declared = {
        f"{each.name}{{{','.join(each.labels)}}}" if each.labels else each.name: each.kind
        for each in ALL_METRICS
    }
    assert declared == {
        "vivaldi_coordinate_updates": "counter",
        "vivaldi_prediction_error": "histogram",
        "vivaldi_convergence_time": "histogram",
        "vivaldi_coord_quality{peer}": "gauge",
        "vivaldi_rtt_ucb_ms{peer}": "gauge",
        "unconfirmed_peers_removed_gate": "counter",
        "unconfirmed_peers_removed_manager": "counter",
        "unconfirmed_peers_removed_worker": "counter",
        "confirmation_attempts_total{role}": "counter",
        "confirmation_attempts_success": "counter",
        "peer_confirmation_attempts_total{role}": "counter",
        "unconfirmed_cleanup_total{role,reason}": "counter",
        "unconfirmed_stale_total{role}": "counter",
        "peers_unconfirmed": "gauge",
        "peers_alive": "gauge",
        "peers_suspect": "gauge",
        "peers_dead": "gauge",
        "transitions_unconfirmed_to_alive": "counter",
        "transitions_unconfirmed_to_removed": "counter",
        "name_conflicts_total": "counter",
        "adaptive_timeout_applied": "histogram",
        "latency_multiplier": "histogram",
        "load_multiplier": "histogram",
        "confidence_adjustment": "histogram",
        "adaptive_timeout_seconds{role}": "gauge",
    }
    assert set(EVENTS) >= {"RoleConfirmationAttempt", "PeerConfirmed", "PeerUnconfirmedCleanup"}
    assert all(each.help.endswith(".") for each in ALL_METRICS)


def test_each_question_counts_and_the_last_word_counts_apart(told: Told) -> None:
    told.meter.tell_confirmation(AskPeer("p", PeerRole.GATE, 1, is_last_word=False, timeout_s=1))
    told.meter.tell_confirmation(AskPeer("p", PeerRole.GATE, 2, is_last_word=True, timeout_s=1))
    assert told.sink.value("confirmation_attempts_total", role="gate") == 2
    assert told.sink.value("peer_confirmation_attempts_total", role="gate") == 1
    assert told.logger.events == [
        (
            "debug",
            "RoleConfirmationAttempt",
            {"peer": "p", "role": "gate", "attempts": attempt, "outcome": "sent"},
        )
        for attempt in (1, 2)
    ]


@pytest.mark.parametrize(
    ("role", "metric"),
    [
        (PeerRole.GATE, "unconfirmed_peers_removed_gate"),
        (PeerRole.MANAGER, "unconfirmed_peers_removed_manager"),
        (PeerRole.WORKER, "unconfirmed_peers_removed_worker"),
        (PeerRole.UNKNOWN, "unconfirmed_peers_removed_manager"),
    ],
)
def test_a_removal_is_counted_by_role_and_logged(told: Told, role: PeerRole, metric: str) -> None:
    told.meter.tell_confirmation(RemovePeer("p", role, "passive_timeout", 180.0, 0))
    assert told.sink.value(metric) == 1
    labels = {"role": role.value, "reason": "passive_timeout"}
    assert told.sink.value("unconfirmed_cleanup_total", **labels) == 1
    assert told.logger.events == [
        (
            "info",
            "PeerUnconfirmedCleanup",
            {
                "peer": "p",
                "role": role.value,
                "reason": "passive_timeout",
                "elapsed": 180.0,
                "attempts": 0,
            },
        )
    ]


def test_attempts_that_are_exhausted_are_logged_as_such(told: Told) -> None:
    told.meter.tell_confirmation(RemovePeer("p", PeerRole.GATE, "attempts_exhausted", 145.0, 5))
    [(_, event, fields), (_, cleanup, _)] = told.logger.events
    assert (event, cleanup) == ("RoleConfirmationAttempt", "PeerUnconfirmedCleanup")
    assert (fields["attempts"], fields["outcome"]) == (5, "exhausted")


def test_a_peer_unconfirmed_for_long_is_a_warning(told: Told) -> None:
    told.meter.tell_confirmation(StaleUnconfirmed("p", PeerRole.WORKER, 60.0, 0))
    [(level, event, fields)] = told.logger.events
    assert (level, event, fields["elapsed_s"]) == ("warning", "unconfirmed_peer_stale", 60.0)
    assert told.sink.value("unconfirmed_stale_total", role="worker") == 1


@pytest.mark.parametrize(("asks", "successes"), [(0, 0), (2, 1)])
def test_a_confirmation_is_a_success_if_it_was_asked_for(
    told: Told, asks: int, successes: int
) -> None:
    confirmed = PeerConfirmed("p", PeerRole.GATE, Evidence.ACK, 0.8, asks)
    told.meter.tell_confirmed(confirmed, rtt_ms=12.5, error=0.3, samples=7)
    assert told.sink.value("confirmation_attempts_success") == successes
    level, event, fields = told.logger.events[-1]
    assert (level, event) == ("info", "PeerConfirmed")
    assert (fields["rtt"], fields["error"], fields["samples"]) == (12.5, 0.3, 7)
    assert fields["evidence"] == "ack"


@pytest.mark.parametrize(
    ("event", "to_alive", "to_removed"),
    [
        (MemberJoined(PEER, "10.0.0.1:1", PeerRole.GATE, UNCONFIRMED, 2.0), 1, 0),
        (MemberJoined(PEER, "10.0.0.1:1", PeerRole.GATE, None, 0.0), 0, 0),
        (MemberRemoved(PEER, PeerRole.GATE, UNCONFIRMED), 0, 1),
        (MemberRemoved(PEER, PeerRole.GATE, NodeLifecycleState.DEAD), 0, 0),
    ],
)
def test_transitions_out_of_unconfirmed_are_counted(
    told: Told, event: MemberJoined | MemberRemoved, to_alive: int, to_removed: int
) -> None:
    told.meter.tell_transition(event)
    assert told.sink.value("transitions_unconfirmed_to_alive") == to_alive
    assert told.sink.value("transitions_unconfirmed_to_removed") == to_removed


def test_gauges_say_how_many_are_in_each_state(told: Told) -> None:
    tracker = IncarnationTracker()
    for name in ("a", "b"):
        tracker.hear(name, epoch=1, incarnation=0, state=ALIVE, now_s=0)
    tracker.confirm("c", epoch=1, incarnation=0, now_s=0)
    told.meter.tell_counts(tracker)
    states = ("unconfirmed", "alive", "suspect", "dead")
    assert [told.sink.value(f"peers_{state}") for state in states] == [2, 1, 0, 0]


def test_a_timeout_is_told_with_its_shares(told: Told) -> None:
    told.meter.tell_timeout(PeerRole.GATE, AppliedTimeout(12.0, 2.0, 1.5, 2.0, 2.0))
    assert told.sink.observations("adaptive_timeout_applied") == (12.0,)
    assert told.sink.observations("latency_multiplier") == (1.5,)
    assert told.sink.observations("load_multiplier") == (2.0,)
    assert told.sink.observations("confidence_adjustment") == (2.0,)
    assert told.sink.value("adaptive_timeout_seconds", role="gate") == 12.0


def test_coordinates_are_told(told: Told) -> None:
    told.meter.tell_update(predicted_ms=None, measured_ms=10)
    told.meter.tell_update(predicted_ms=8, measured_ms=10)
    told.meter.tell_converged(after_s=20)
    told.meter.tell_distance("p", quality=0.9, rtt_ucb_ms=33)
    assert told.sink.value("vivaldi_coordinate_updates") == 2
    assert told.sink.observations("vivaldi_prediction_error") == (2,)
    assert told.sink.observations("vivaldi_convergence_time") == (20,)
    assert told.sink.value("vivaldi_coord_quality", peer="p") == 0.9
    assert told.sink.value("vivaldi_rtt_ucb_ms", peer="p") == 33
