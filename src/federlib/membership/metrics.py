"""Metrics and log events of membership, by the seed's exact names.

    meter = MembershipMeter(telemetry)
    for effect in manager.tick(now_s=now_s):
        meter.tell_confirmation(effect)

Series with the label `peer` are as many as there were peers; a host that pays for series drops
the label in its sink.

Source: seed §12.8.
"""

from __future__ import annotations

from typing import Protocol, assert_never

from federlib.membership.confirmation import (
    AskPeer,
    ConfirmationEffect,
    PeerConfirmed,
    RemovePeer,
    StaleUnconfirmed,
)
from federlib.membership.effects import Event, MemberJoined, MemberRemoved, NameConflict
from federlib.membership.roles import PeerRole
from federlib.membership.standing import NodeLifecycleState
from federlib.membership.timeouts import AppliedTimeout
from federlib.telemetry import Metric, Telemetry

__all__ = ["ALL_METRICS", "EVENTS", "MembershipMeter", "StateCounts"]

# 12.8.1
VIVALDI_COORDINATE_UPDATES = Metric(
    "vivaldi_coordinate_updates", "counter", "Measurements that moved the local coordinate."
)
VIVALDI_PREDICTION_ERROR = Metric(
    "vivaldi_prediction_error",
    "histogram",
    "Distance between a predicted and a measured round trip, in milliseconds.",
)
VIVALDI_CONVERGENCE_TIME = Metric(
    "vivaldi_convergence_time",
    "histogram",
    "From the start until the coordinate had converged, in seconds.",
)
VIVALDI_COORD_QUALITY = Metric(
    "vivaldi_coord_quality", "gauge", "Quality of a peer's coordinate, 0 to 1.", ("peer",)
)
VIVALDI_RTT_UCB_MS = Metric(
    "vivaldi_rtt_ucb_ms",
    "gauge",
    "Upper bound of the round trip to a peer, in milliseconds.",
    ("peer",),
)

# 12.8.2
_REMOVED = {
    role: Metric(
        f"unconfirmed_peers_removed_{role}",
        "counter",
        f"Peers said to be a {role} that were removed without having spoken.",
    )
    for role in (PeerRole.GATE, PeerRole.MANAGER, PeerRole.WORKER)
}
CONFIRMATION_ATTEMPTS_TOTAL = Metric(
    "confirmation_attempts_total", "counter", "Confirmation pings sent.", ("role",)
)
CONFIRMATION_ATTEMPTS_SUCCESS = Metric(
    "confirmation_attempts_success", "counter", "Peers that were asked, and then spoke."
)
PEER_CONFIRMATION_ATTEMPTS_TOTAL = Metric(
    "peer_confirmation_attempts_total",
    "counter",
    "Confirmation pings sent as the last word, after the passive timeout of a peer.",
    ("role",),
)
UNCONFIRMED_CLEANUP_TOTAL = Metric(
    "unconfirmed_cleanup_total",
    "counter",
    "Peers removed without having spoken; reason: passive_timeout, attempts_exhausted.",
    ("role", "reason"),
)

# 12.7.6 asks for metrics of peers that are unconfirmed for long, and names none.
UNCONFIRMED_STALE_TOTAL = Metric(
    "unconfirmed_stale_total",
    "counter",
    "Peers that were not confirmed within a minute; each once.",
    ("role",),
)

# 12.8.3
_STATES = {
    state: Metric(
        f"peers_{state.name.lower()}", "gauge", f"Peers that are held to be {state.name}."
    )
    for state in (
        NodeLifecycleState.UNCONFIRMED,
        NodeLifecycleState.ALIVE,
        NodeLifecycleState.SUSPECT,
        NodeLifecycleState.DEAD,
    )
}
TRANSITIONS_UNCONFIRMED_TO_ALIVE = Metric(
    "transitions_unconfirmed_to_alive", "counter", "UNCONFIRMED peers that spoke."
)
TRANSITIONS_UNCONFIRMED_TO_REMOVED = Metric(
    "transitions_unconfirmed_to_removed", "counter", "UNCONFIRMED peers that were removed."
)

# Not of the seed.
NAME_CONFLICTS_TOTAL = Metric(
    "name_conflicts_total", "counter", "Told that two processes have one name."
)

# 12.8.4
ADAPTIVE_TIMEOUT_APPLIED = Metric(
    "adaptive_timeout_applied", "histogram", "Timeouts that were adapted to a peer, in seconds."
)
LATENCY_MULTIPLIER = Metric(
    "latency_multiplier", "histogram", "The share of distance in a timeout, at least 1."
)
LOAD_MULTIPLIER = Metric(
    "load_multiplier", "histogram", "The share of our own load in a timeout, at least 1."
)
CONFIDENCE_ADJUSTMENT = Metric(
    "confidence_adjustment",
    "histogram",
    "The share of doubt about the distance in a timeout, at least 1.",
)
ADAPTIVE_TIMEOUT_SECONDS = Metric(
    "adaptive_timeout_seconds",
    "gauge",
    "The last timeout that was adapted to a peer of a role, in seconds.",
    ("role",),
)

ALL_METRICS: tuple[Metric, ...] = (
    VIVALDI_COORDINATE_UPDATES,
    VIVALDI_PREDICTION_ERROR,
    VIVALDI_CONVERGENCE_TIME,
    VIVALDI_COORD_QUALITY,
    VIVALDI_RTT_UCB_MS,
    *_REMOVED.values(),
    CONFIRMATION_ATTEMPTS_TOTAL,
    CONFIRMATION_ATTEMPTS_SUCCESS,
    PEER_CONFIRMATION_ATTEMPTS_TOTAL,
    UNCONFIRMED_CLEANUP_TOTAL,
    UNCONFIRMED_STALE_TOTAL,
    *_STATES.values(),
    TRANSITIONS_UNCONFIRMED_TO_ALIVE,
    TRANSITIONS_UNCONFIRMED_TO_REMOVED,
    NAME_CONFLICTS_TOTAL,
    ADAPTIVE_TIMEOUT_APPLIED,
    LATENCY_MULTIPLIER,
    LOAD_MULTIPLIER,
    CONFIDENCE_ADJUSTMENT,
    ADAPTIVE_TIMEOUT_SECONDS,
)

ATTEMPT_EVENT = "RoleConfirmationAttempt"
CONFIRMED_EVENT = "PeerConfirmed"
CLEANUP_EVENT = "PeerUnconfirmedCleanup"
STALE_EVENT = "unconfirmed_peer_stale"
CONFLICT_EVENT = "name_conflict"

EVENTS = (ATTEMPT_EVENT, CONFIRMED_EVENT, CLEANUP_EVENT, STALE_EVENT, CONFLICT_EVENT)
"""The first three are the seed's, 12.8.6; the fourth is the warning of 12.7.6."""


class StateCounts(Protocol):
    """Says how many peers are in a state; `IncarnationTracker` does."""

    def count(self, state: NodeLifecycleState) -> int:
        """Return how many peers are in a state."""
        ...


class MembershipMeter:
    """Turns what cores return into numbers and events. Never raises, as `Telemetry` never does.

    Args:
        telemetry: Where they go.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def tell_event(self, event: Event, counts: StateCounts) -> None:
        """Tell of whatever else the core told; of measurements and what they confirm, others do.

        Args:
            event: What it told.
            counts: How many peers are in each state now.
        """
        if isinstance(event, AskPeer | RemovePeer | StaleUnconfirmed):
            self.tell_confirmation(event)
            return
        if isinstance(event, MemberJoined | MemberRemoved):
            self.tell_transition(event)
        elif isinstance(event, NameConflict):
            self.tell_conflict(event)
        self.tell_counts(counts)

    def tell_confirmation(self, effect: ConfirmationEffect) -> None:
        """Tell of a question that is sent, a removal, or a peer unconfirmed for long.

        Source: seed 12.5.7, 12.7.6, 12.8.2, 12.8.6.
        """
        match effect:
            case AskPeer():
                self._tell_attempt(effect)
            case RemovePeer():
                self._tell_cleanup(effect)
            case StaleUnconfirmed():
                self._telemetry.emit(UNCONFIRMED_STALE_TOTAL, role=effect.role.value)
                self._telemetry.log(
                    "warning",
                    STALE_EVENT,
                    peer=effect.peer,
                    role=effect.role.value,
                    elapsed_s=effect.elapsed_s,
                    asks=effect.asks,
                )
            case _:
                assert_never(effect)

    def _tell_attempt(self, effect: AskPeer) -> None:
        emit, role = self._telemetry.emit, effect.role.value
        emit(CONFIRMATION_ATTEMPTS_TOTAL, role=role)
        if effect.is_last_word:
            emit(PEER_CONFIRMATION_ATTEMPTS_TOTAL, role=role)
        self._log_attempt(effect.peer, role, effect.attempt, "sent")

    def _tell_cleanup(self, effect: RemovePeer) -> None:
        emit, role = self._telemetry.emit, effect.role.value
        # A peer of unknown role is treated as a manager; its own role stands in the next one.
        emit(_REMOVED.get(effect.role, _REMOVED[PeerRole.MANAGER]))
        emit(UNCONFIRMED_CLEANUP_TOTAL, role=role, reason=effect.reason)
        if effect.reason == "attempts_exhausted":
            self._log_attempt(effect.peer, role, effect.attempts, "exhausted")
        self._telemetry.log(
            "info",
            CLEANUP_EVENT,
            peer=effect.peer,
            role=role,
            reason=effect.reason,
            elapsed=effect.elapsed_s,
            attempts=effect.attempts,
        )

    def _log_attempt(self, peer: str, role: str, attempts: int, outcome: str) -> None:
        self._telemetry.log(
            "debug", ATTEMPT_EVENT, peer=peer, role=role, attempts=attempts, outcome=outcome
        )

    def tell_confirmed(
        self,
        confirmed: PeerConfirmed,
        *,
        rtt_ms: float | None = None,
        error: float | None = None,
        samples: int | None = None,
    ) -> None:
        """Tell of a peer that spoke itself.

        Args:
            confirmed: What the confirmation manager returned.
            rtt_ms: The round trip to it, where one is known; milliseconds.
            error: The relative error of its coordinate, where it sent one.
            samples: How many samples that coordinate rests on.
        Source: seed 12.8.2, 12.8.6.
        """
        role = confirmed.role.value
        if confirmed.asks:
            self._telemetry.emit(CONFIRMATION_ATTEMPTS_SUCCESS)
            self._log_attempt(confirmed.peer, role, confirmed.asks, "confirmed")
        self._telemetry.log(
            "info",
            CONFIRMED_EVENT,
            peer=confirmed.peer,
            role=role,
            evidence=confirmed.evidence.value,
            elapsed=confirmed.elapsed_s,
            rtt=rtt_ms,
            error=error,
            samples=samples,
        )

    def tell_transition(self, event: MemberJoined | MemberRemoved) -> None:
        """Count the transitions out of UNCONFIRMED; others are none of these metrics.

        Source: seed 12.8.3.
        """
        if isinstance(event, MemberJoined):
            if event.before is NodeLifecycleState.UNCONFIRMED:
                self._telemetry.emit(TRANSITIONS_UNCONFIRMED_TO_ALIVE)
        elif event.state is NodeLifecycleState.UNCONFIRMED:
            self._telemetry.emit(TRANSITIONS_UNCONFIRMED_TO_REMOVED)

    def tell_conflict(self, conflict: NameConflict) -> None:
        """Warn that two processes have one name."""
        self._telemetry.emit(NAME_CONFLICTS_TOTAL)
        self._telemetry.log(
            "warning",
            CONFLICT_EVENT,
            peer=conflict.node.name,
            epoch=conflict.node.epoch,
            addresses=" ".join(conflict.addresses),
        )

    def tell_counts(self, counts: StateCounts) -> None:
        """Set the gauges of peers by state.

        Source: seed 12.8.3.
        """
        for state, metric in _STATES.items():
            self._telemetry.emit(metric, counts.count(state))

    def tell_timeout(self, role: PeerRole, applied: AppliedTimeout) -> None:
        """Tell of one timeout; give it to `AdaptiveTimeouts` as `on_applied`.

        Source: seed 12.8.4.
        """
        emit = self._telemetry.emit
        emit(ADAPTIVE_TIMEOUT_APPLIED, applied.seconds)
        emit(LATENCY_MULTIPLIER, applied.latency_multiplier)
        emit(LOAD_MULTIPLIER, applied.load_multiplier)
        emit(CONFIDENCE_ADJUSTMENT, applied.confidence_adjustment)
        emit(ADAPTIVE_TIMEOUT_SECONDS, applied.seconds, role=role.value)

    def tell_update(self, *, predicted_ms: float | None, measured_ms: float) -> None:
        """Tell of one measurement that moved the local coordinate.

        Args:
            predicted_ms: The round trip that was expected, None where nothing was.
            measured_ms: The one that was measured.
        Source: seed 12.8.1.
        """
        self._telemetry.emit(VIVALDI_COORDINATE_UPDATES)
        if predicted_ms is not None:
            self._telemetry.emit(VIVALDI_PREDICTION_ERROR, abs(predicted_ms - measured_ms))

    def tell_converged(self, *, after_s: float) -> None:
        """Tell that the local coordinate has converged, so long after the start.

        Source: seed 12.8.1.
        """
        self._telemetry.emit(VIVALDI_CONVERGENCE_TIME, after_s)

    def tell_distance(self, peer: str, *, quality: float, rtt_ucb_ms: float) -> None:
        """Set the gauges of one peer's distance.

        Source: seed 12.8.1.
        """
        self._telemetry.emit(VIVALDI_COORD_QUALITY, quality, peer=peer)
        self._telemetry.emit(VIVALDI_RTT_UCB_MS, rtt_ucb_ms, peer=peer)
