"""AD-35 §12.3 to §12.10, roles and lifecycle: one test a sentence, through the public API."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping

import attrs
import pytest

from federlib.errors import Conflict
from federlib.membership.confirmation import (
    AskPeer,
    ConfirmationState,
    Evidence,
    PeerConfirmed,
    RemovePeer,
    RoleAwareConfirmationManager,
    StaleUnconfirmed,
)
from federlib.membership.core import SwimCore
from federlib.membership.debug import (
    CoordinateView,
    PeerCoordinateView,
    UnconfirmedPeerView,
    debug_app,
    unconfirmed_view,
)
from federlib.membership.effects import (
    Effect,
    MemberDied,
    MemberJoined,
    MemberRemoved,
    MemberSuspected,
)
from federlib.membership.lifecycle import IncarnationTracker, NodeLifecycleState
from federlib.membership.messages import ConfirmationPing, Dead, Leave, Suspect
from federlib.membership.metrics import ALL_METRICS, MembershipMeter
from federlib.membership.node import NodeId
from federlib.membership.roles import (
    GATE_STRATEGY,
    MANAGER_STRATEGY,
    SEED_DEFAULT_ROLE,
    WORKER_STRATEGY,
    PeerRole,
    RoleBasedConfirmationStrategy,
    RoleHints,
    detect_peer_role,
    get_strategy_for_role,
)
from federlib.membership.settings import MEMBERSHIP_ENVS, MembershipSettings
from federlib.membership.timeouts import (
    MAX_LATENCY_MULTIPLIER,
    REFERENCE_RTT_MS,
    AdaptiveTimeouts,
    TimeoutSettings,
    Unmeasured,
)
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue
from membership.packets import alive, answer, new_core, run, sent, speak, told

UNCONFIRMED, ALIVE = NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.ALIVE
SUSPECT, DEAD = NodeLifecycleState.SUSPECT, NodeLifecycleState.DEAD
GATE, MANAGER, WORKER = PeerRole.GATE, PeerRole.MANAGER, PeerRole.WORKER


class FiftyMs(Unmeasured):
    """Every peer is 50 ms away, with half an error."""

    def estimate_rtt(self, peer: str) -> float:
        return 50.0

    def estimate_rtt_ucb_ms(self, peer: str) -> float:
        return 80.0

    def get_error(self) -> float:
        return 0.5


def discover(name: str, role: PeerRole) -> SwimCore:
    """Make a core that a member has told of a peer; the member is gone, and so all is quiet."""
    core = new_core()
    speak(core, "teller", alive(name, role=role))
    speak(core, "teller", Leave(NodeId("teller", 1), 0))
    return core


def state_of(core: SwimCore, name: str) -> NodeLifecycleState | None:
    found = core.tracker.get(name)
    return None if found is None else found.state


def asked_last(effects: list[Effect]) -> int:
    return sum(each.is_last_word for each in told(effects, AskPeer) if each.peer == "p")


# 12.3 The lifecycle.


def test_12_3_1_unconfirmed_is_a_state() -> None:
    assert NodeLifecycleState.UNCONFIRMED.value == b"UNCONFIRMED"


def test_12_3_2_unconfirmed_becomes_alive_on_its_own_word_or_is_removed() -> None:
    tracker = IncarnationTracker()
    for name in ("a", "b"):
        tracker.hear(name, epoch=1, incarnation=0, state=ALIVE, now_s=0)
    assert tracker.confirm("a", epoch=1, incarnation=0, now_s=1).after is ALIVE
    assert tracker.remove_node("b", now_s=1).after is None


@pytest.mark.parametrize("verdict", [SUSPECT, DEAD], ids=lambda state: state.name)
def test_12_3_2_unconfirmed_cannot_become_suspect_or_dead(verdict: NodeLifecycleState) -> None:
    tracker = IncarnationTracker()
    tracker.hear("a", epoch=1, incarnation=0, state=ALIVE, now_s=0)
    tracker.hear("a", epoch=1, incarnation=9, state=verdict, now_s=0)
    with pytest.raises(Conflict):
        tracker.set_state("a", verdict, now_s=0)
    assert tracker.get_nodes_by_state(UNCONFIRMED) == ["a"]


def test_12_3_3_to_12_3_5_queries_and_removal() -> None:
    tracker = IncarnationTracker()
    tracker.hear("a", epoch=1, incarnation=0, state=ALIVE, now_s=7)
    assert tracker.get_nodes_by_state(UNCONFIRMED) == ["a"]
    assert tracker.get_last_update_time("a") == 7
    tracker.remove_node("a", now_s=8)
    assert tracker.get_nodes_by_state(UNCONFIRMED) == []


def test_12_3_6_a_peer_known_by_gossip_is_unconfirmed_and_its_timer_runs() -> None:
    core = discover("p", GATE)
    assert state_of(core, "p") is UNCONFIRMED
    assert [(each.peer, each.role) for each in core.confirmations.pending()] == [("p", GATE)]


def test_12_3_7_the_first_ack_makes_it_alive_and_ends_its_timer() -> None:
    core = discover("p", GATE)
    effects = run(core, 1.0)
    [question] = sent(effects, ConfirmationPing, to="p:1")
    answer(core, question, "p", 1.1)
    assert state_of(core, "p") is ALIVE
    assert "p" not in core.confirmations


def test_12_3_7_those_who_listen_are_told_of_the_confirmation() -> None:
    core = discover("p", GATE)
    effects = speak(core, "p", now_s=0.3)
    [confirmed] = told(effects, PeerConfirmed)
    [joined] = told(effects, MemberJoined)
    assert (confirmed.peer, confirmed.evidence) == ("p", Evidence.MESSAGE)
    assert (joined.node.name, joined.before) == ("p", UNCONFIRMED)


def test_12_3_8_and_12_3_9_discovery_and_timer_of_each_are_kept() -> None:
    core = new_core()
    speak(core, "teller", alive("p", role=GATE), now_s=4.0)
    [state] = core.confirmations.pending()
    assert (state.discovered_at, state.timer_token is not None) == (4.0, True)


# 12.4 Roles.


def test_12_4_1_roles() -> None:
    assert (GATE.value, MANAGER.value, WORKER.value) == ("gate", "manager", "worker")


def test_12_4_2_explicit_role_then_port_then_host_then_worker() -> None:
    hints = RoleHints(ports=((9_000, 9_009, GATE),), hostnames=(("mgr-*", MANAGER),))

    def found(node: str, said: Mapping[str, object]) -> PeerRole:
        return detect_peer_role(node, said, hints=hints, default=SEED_DEFAULT_ROLE)

    assert found("mgr-1:9000", {"role": "worker"}) is WORKER
    assert found("mgr-1:9000", {}) is GATE
    assert found("mgr-1:80", {}) is MANAGER
    assert found("h:80", {}) is WORKER


def test_12_4_2_by_default_unknown_stays_unknown_and_is_asked() -> None:
    role = detect_peer_role("h:80", {})
    assert role is PeerRole.UNKNOWN
    assert get_strategy_for_role(role).enable_proactive_confirmation


def test_12_4_3_fields_of_a_strategy() -> None:
    assert [each.name for each in attrs.fields(RoleBasedConfirmationStrategy)] == [
        "passive_timeout",
        "enable_proactive_confirmation",
        "confirmation_attempts",
        "attempt_interval",
        "latency_aware",
        "use_vivaldi",
        "load_multiplier_max",
    ]


@pytest.mark.parametrize(
    ("strategy", "passive_s", "is_asked", "attempts", "vivaldi", "load"),
    [
        (GATE_STRATEGY, 120, True, 5, True, 3),
        (MANAGER_STRATEGY, 90, True, 3, True, 5),
        (WORKER_STRATEGY, 180, False, 0, False, 10),
    ],
)
def test_12_4_4_constants_of_the_strategies(
    strategy: RoleBasedConfirmationStrategy,
    passive_s: float,
    is_asked: bool,
    attempts: int,
    vivaldi: bool,
    load: float,
) -> None:
    assert strategy.passive_timeout == passive_s
    assert strategy.enable_proactive_confirmation is is_asked
    assert strategy.confirmation_attempts == attempts
    assert strategy.use_vivaldi is vivaldi
    assert strategy.load_multiplier_max == load


def test_12_4_5_each_role_has_its_strategy() -> None:
    found = [get_strategy_for_role(role) for role in (GATE, MANAGER, WORKER)]
    assert found == [GATE_STRATEGY, MANAGER_STRATEGY, WORKER_STRATEGY]


# 12.5 Confirmation.


def new_manager(distances: Unmeasured | None = None) -> RoleAwareConfirmationManager:
    timeouts = AdaptiveTimeouts(distances or Unmeasured(), lhm=lambda: 0)
    return RoleAwareConfirmationManager(timeouts, jitter=lambda: 0.5)


def test_12_5_1_and_12_5_2_what_is_kept_for_a_peer() -> None:
    names = [each.name for each in attrs.fields(ConfirmationState)]
    assert names[:7] == [
        "peer",
        "role",
        "strategy",
        "discovered_at",
        "attempts",
        "last_attempt_at",
        "timer_token",
    ]
    state = ConfirmationState("p", GATE, GATE_STRATEGY, 0.0)
    assert (state.attempts, state.last_attempt_at, state.timer_token) == (0, 0.0, None)
    assert "_pending_confirmations" in vars(new_manager())


def test_12_5_3_and_12_5_4_start_and_cancel() -> None:
    manager = new_manager()
    manager.start_confirmation("p", GATE, now_s=0)
    wake_s = manager.next_wake_s()
    assert wake_s is not None
    assert [type(each) for each in manager.tick(now_s=wake_s)] == [AskPeer]
    manager.cancel_confirmation("p")
    assert manager.next_wake_s() is None
    assert manager.pending() == ()


def test_12_5_5_after_the_passive_timeout_it_is_asked_if_its_role_allows() -> None:
    core = discover("p", MANAGER)
    assert asked_last(run(core, 89.9)) == 0
    assert asked_last(run(core, 90.1)) == 1


def test_12_5_6_an_unanswered_attempt_counts_and_the_last_one_removes() -> None:
    core = discover("p", MANAGER)
    effects = run(core, 104.9)
    assert asked_last(effects) == 3
    assert state_of(core, "p") is UNCONFIRMED
    [removal] = told(run(core, 105.1), RemovePeer)
    assert (removal.attempts, removal.reason) == (3, "attempts_exhausted")


def test_12_5_7_removal_is_not_death_and_is_told() -> None:
    core = discover("p", MANAGER)
    effects = run(core, 110)
    [removed] = [each for each in told(effects, MemberRemoved) if each.node.name == "p"]
    assert removed.state is UNCONFIRMED
    assert state_of(core, "p") is None
    sink = RecordingSink()
    meter = MembershipMeter(Telemetry(sink))
    for each in told(effects, RemovePeer):
        meter.tell_confirmation(each)
    assert sink.value("unconfirmed_peers_removed_manager") == 1


def test_12_5_8_the_seeds_form_is_base_latency_load_confidence() -> None:
    settings = TimeoutSettings(policy="multiplicative")
    timeouts = AdaptiveTimeouts(FiftyMs(), lhm=lambda: 1, settings=settings)
    manager = RoleAwareConfirmationManager(timeouts, jitter=lambda: 0.5)
    manager.start_confirmation("p", GATE, now_s=0)
    assert manager.get_adaptive_timeout("p", 5.0) == pytest.approx(5 * (50 / 10) * 2 * 1.05)


# 12.6 and 12.7.


def test_12_6_3_and_12_6_5_a_suspicion_knows_distance_load_and_role() -> None:
    def shortest_s(distances: Unmeasured, lhm: int, role: PeerRole) -> float:
        made = AdaptiveTimeouts(distances, lhm=lambda: lhm)
        return made.suspicion_bounds("p", role, members=50, interval_s=1).shortest_s

    near = shortest_s(Unmeasured(), 0, GATE)
    assert shortest_s(FiftyMs(), 0, GATE) == pytest.approx(near + 0.16)
    assert shortest_s(Unmeasured(), 1, GATE) == pytest.approx(2 * near)
    assert shortest_s(FiftyMs(), 0, WORKER) == near


def test_12_6_4_a_probe_knows_distance_and_load() -> None:
    def wait_s(distances: Unmeasured, lhm: int) -> float:
        made = AdaptiveTimeouts(distances, lhm=lambda: lhm)
        return made.probe_timeout_s("p", GATE, interval_s=1)

    assert wait_s(FiftyMs(), 0) == pytest.approx(wait_s(Unmeasured(), 0) + 0.08)
    assert wait_s(Unmeasured(), 1) == pytest.approx(2 * wait_s(Unmeasured(), 0))


def test_12_7_6_a_peer_unconfirmed_for_a_minute_is_warned_of() -> None:
    core = discover("p", WORKER)
    assert told(run(core, 59.9), StaleUnconfirmed) == []
    [stale] = told(run(core, 60.1), StaleUnconfirmed)
    assert (stale.peer, stale.elapsed_s) == ("p", 60.0)


# 12.8 Observability.

SEED_METRICS = """
vivaldi_coordinate_updates (counter) vivaldi_prediction_error (histogram)
vivaldi_convergence_time (histogram) vivaldi_coord_quality{peer} (gauge)
vivaldi_rtt_ucb_ms{peer} (gauge) unconfirmed_peers_removed_gate (counter)
unconfirmed_peers_removed_manager (counter) unconfirmed_peers_removed_worker (counter)
confirmation_attempts_total{role} (counter) confirmation_attempts_success (counter)
peer_confirmation_attempts_total{role} (counter) unconfirmed_cleanup_total{role,reason} (counter)
peers_unconfirmed (gauge) peers_alive (gauge) peers_suspect (gauge) peers_dead (gauge)
transitions_unconfirmed_to_alive (counter) transitions_unconfirmed_to_removed (counter)
adaptive_timeout_applied (histogram) latency_multiplier (histogram) load_multiplier (histogram)
confidence_adjustment (histogram) adaptive_timeout_seconds{role} (gauge)
"""


def test_12_8_1_to_12_8_4_every_metric_is_declared() -> None:
    wanted = re.findall(r"(\w+)(?:\{([\w,]+)\})? \((\w+)\)", SEED_METRICS)
    declared = {(each.name, ",".join(each.labels), each.kind) for each in ALL_METRICS}
    ours = declared - set(wanted)
    # 12.7.6 asks for one of peers that are unconfirmed for long, and names none.
    assert {name for name, _, _ in ours} == {"unconfirmed_stale_total", "name_conflicts_total"}
    assert set(wanted) <= declared


class Shown:
    """Something to show."""

    def __init__(self, core: SwimCore) -> None:
        self._core = core

    def local_coordinate(self) -> CoordinateView:
        return CoordinateView(
            position=(0.0,) * 4,
            height_ms=0.0,
            error=1.0,
            residual_ms=0.0,
            sample_count=0,
            age_s=None,
            is_converged=False,
        )

    def peer_coordinates(self) -> list[PeerCoordinateView]:
        return []

    def unconfirmed_peers(self) -> list[UnconfirmedPeerView]:
        pending = self._core.confirmations.pending()
        return [unconfirmed_view(each, now_s=2.0) for each in pending]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/debug/vivaldi/coordinate", "position"),
        ("/debug/vivaldi/peers", "peers"),
        ("/debug/peers/unconfirmed", "peers"),
    ],
)
async def test_12_8_5_debug_endpoints(path: str, key: str) -> None:
    sent_messages: list[dict[str, object]] = []

    async def receive() -> Mapping[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent_messages.append(message)

    app = debug_app(Shown(discover("p", GATE)))
    await app({"type": "http", "method": "GET", "path": path}, receive, send)
    start, body = sent_messages
    assert start["status"] == 200
    assert isinstance(body["body"], bytes)
    assert key in json.loads(body["body"])


def test_12_8_6_log_events() -> None:
    logged: dict[str, dict[str, LogValue]] = {}

    class Logger:
        def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
            logged[event] = fields

    meter = MembershipMeter(Telemetry(logger=Logger()))
    meter.tell_confirmation(AskPeer("p", GATE, 1, is_last_word=True, timeout_s=1))
    meter.tell_confirmation(RemovePeer("p", WORKER, "passive_timeout", 180.0, 0))
    confirmed = PeerConfirmed("p", GATE, Evidence.ACK, 0.4, 1)
    meter.tell_confirmed(confirmed, rtt_ms=9.0, error=0.2, samples=12)
    assert {"role", "attempts", "outcome"} <= logged["RoleConfirmationAttempt"].keys()
    assert {"rtt", "error", "samples"} <= logged["PeerConfirmed"].keys()
    assert {"reason", "elapsed"} <= logged["PeerUnconfirmedCleanup"].keys()


# 12.9 Settings.


def test_12_9_2_and_12_9_3_variables_and_their_defaults() -> None:
    assert MEMBERSHIP_ENVS == (
        "GATE_PASSIVE_TIMEOUT",
        "GATE_CONFIRMATION_ATTEMPTS",
        "MANAGER_PASSIVE_TIMEOUT",
        "MANAGER_CONFIRMATION_ATTEMPTS",
        "WORKER_PASSIVE_TIMEOUT",
        "REFERENCE_RTT_MS",
        "MAX_LATENCY_MULTIPLIER",
    )
    assert (REFERENCE_RTT_MS, MAX_LATENCY_MULTIPLIER) == (10.0, 10.0)
    found = MembershipSettings.from_env({})
    gate, manager = found.strategies.gate, found.strategies.manager
    assert (gate.passive_timeout, gate.confirmation_attempts) == (120.0, 5)
    assert (manager.passive_timeout, manager.confirmation_attempts) == (90.0, 3)
    assert found.strategies.worker.passive_timeout == 180.0
    timeouts = found.timeouts
    assert (timeouts.reference_rtt_ms, timeouts.max_latency_multiplier) == (10.0, 10.0)


# 12.10 What is to be tested.


@pytest.mark.parametrize(
    ("role", "attempts"),
    [
        pytest.param(GATE, 5, id="12.10.5"),
        pytest.param(MANAGER, 3, id="12.10.6"),
        pytest.param(WORKER, 0, id="12.10.7"),
    ],
)
def test_12_10_5_to_12_10_7_attempts_of_each_role(role: PeerRole, attempts: int) -> None:
    core = discover("p", role)
    effects = run(core, 400)
    assert asked_last(effects) == attempts
    asked = [each for each in told(effects, AskPeer) if each.peer == "p"]
    assert bool(asked) is (role is not WORKER)
    assert bool(sent(effects, ConfirmationPing, to="p:1")) is (role is not WORKER)
    assert state_of(core, "p") is None


def test_12_10_8_and_12_10_9_both_ways_out_of_unconfirmed() -> None:
    spoken, silent = discover("p", GATE), discover("p", GATE)
    speak(spoken, "p", now_s=0.5, role=GATE)
    assert state_of(spoken, "p") is ALIVE
    run(silent, 400)
    assert state_of(silent, "p") is None


def test_12_10_10_adaptive_timeouts_by_default_add_the_distance() -> None:
    made = AdaptiveTimeouts(FiftyMs(), lhm=lambda: 0)
    assert made.get_adaptive_timeout("p", 5.0, GATE) == pytest.approx(5.08)


def test_12_10_11_a_role_is_learned_by_gossip() -> None:
    assert [each.role for each in discover("p", GATE).confirmations.pending()] == [GATE]


def test_12_10_12_no_rumour_makes_an_unconfirmed_peer_suspect_or_dead() -> None:
    core = discover("p", GATE)
    node = NodeId("p", 1)
    speak(core, "teller", Suspect(node, 3, "teller"), Dead(node, 4, "teller"))
    standing = core.tracker.get("p")
    assert standing is not None
    assert (standing.state, standing.incarnation) == (UNCONFIRMED, 4)
    effects = run(core, 400)
    assert state_of(core, "p") is None
    assert told(effects, MemberSuspected) == []
    assert told(effects, MemberDied) == []


def test_signatures_are_those_of_the_seed() -> None:
    for call, names in (
        (RoleAwareConfirmationManager.start_confirmation, ["peer", "role"]),
        (RoleAwareConfirmationManager.cancel_confirmation, ["peer"]),
        (RoleAwareConfirmationManager.get_adaptive_timeout, ["peer", "base_timeout"]),
        (IncarnationTracker.get_nodes_by_state, ["state"]),
        (IncarnationTracker.get_last_update_time, ["node"]),
        (IncarnationTracker.remove_node, ["node"]),
    ):
        found = list(inspect.signature(call).parameters)[1:]
        assert found[: len(names)] == names
    assert list(inspect.signature(detect_peer_role).parameters)[:2] == ["node", "gossip_data"]
