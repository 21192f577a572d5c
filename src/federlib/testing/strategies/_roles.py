"""The role-aware half of membership: standings, strategies, confirmations, timeouts, views."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hypothesis import strategies as st

from federlib.membership.confirmation import (
    CONFIRMS,
    AskPeer,
    ConfirmationState,
    PeerConfirmed,
    RemovePeer,
    StaleUnconfirmed,
)
from federlib.membership.debug import CoordinateView, PeerCoordinateView, UnconfirmedPeerView
from federlib.membership.lifecycle import TrackerLimits
from federlib.membership.roles import (
    DEFAULT_STRATEGIES,
    PeerRole,
    RoleBasedConfirmationStrategy,
    RoleHints,
    RoleStrategies,
)
from federlib.membership.settings import MembershipSettings
from federlib.membership.standing import TRANSITIONS, Change, NodeLifecycleState, Outcome, Standing
from federlib.membership.timeouts import AppliedTimeout, SuspicionBounds, TimeoutSettings
from federlib.testing.strategies._plain import booleans, counts, plain_text, seconds

__all__ = ["STRATEGIES", "peer_names", "peer_roles"]

_MOST = 2**53
_DAY_S = 86_400.0


def peer_names() -> st.SearchStrategy[str]:
    """Generate names of peers: 1 to 128 printable characters."""
    letters = plain_text(max_bytes=512, max_size=128, min_size=1)
    return letters.filter(str.isprintable)


def peer_roles() -> st.SearchStrategy[PeerRole]:
    """Generate roles of peers."""
    return st.sampled_from(PeerRole)


_numbers = counts(0, _MOST)
_instants = seconds(0, 1e6)
_asked_roles = st.sampled_from([PeerRole.GATE, PeerRole.MANAGER, PeerRole.UNKNOWN])


def _strategies(*, is_asked: bool) -> st.SearchStrategy[RoleBasedConfirmationStrategy]:
    return st.builds(
        RoleBasedConfirmationStrategy,
        passive_timeout=seconds(0.001, _DAY_S),
        enable_proactive_confirmation=st.just(is_asked),
        confirmation_attempts=st.integers(1 if is_asked else 0, 100),
        attempt_interval=seconds(0.001, _DAY_S),
        latency_aware=booleans,
        use_vivaldi=booleans,
        load_multiplier_max=st.floats(1, 1_000),
    )


_role_strategies = st.builds(
    RoleStrategies,
    gate=_strategies(is_asked=True),
    manager=_strategies(is_asked=True),
    worker=_strategies(is_asked=False),
)
_ports = st.tuples(st.integers(0, 65_535), st.integers(0, 65_535)).map(sorted)
_ranges = st.builds(lambda ends, role: (ends[0], ends[1], role), _ports, peer_roles())
_patterns = st.tuples(st.sampled_from(["gate-*", "*worker*", "m?"]), peer_roles())
_timeout_settings = st.builds(
    TimeoutSettings,
    policy=st.sampled_from(["additive", "multiplicative"]),
    slack_s=st.floats(0.001, 60),
    probe_ceiling=st.floats(0.1, 1),
    suspicion_mult=st.floats(1, 100),
    suspicion_max_mult=st.floats(1, 100),
    ceiling_s=seconds(0.001, _DAY_S),
    reference_rtt_ms=st.floats(0.001, 10_000),
    max_latency_multiplier=st.floats(1, 1_000),
)


@st.composite
def _limits(draw: st.DrawFn) -> TrackerLimits:
    most = draw(st.integers(2, 1_000_000))
    return TrackerLimits(
        max_members=most,
        max_unconfirmed=draw(st.integers(1, most - 1)),
        max_tombstones=draw(st.integers(1, 1_000_000)),
        tombstone_s=draw(seconds(0, _DAY_S)),
    )


@st.composite
def _standings(draw: st.DrawFn) -> Standing:
    state, since_s = draw(st.sampled_from(NodeLifecycleState)), draw(_instants)
    epoch, incarnation = draw(_numbers), draw(_numbers)
    is_unmet = state is NodeLifecycleState.UNCONFIRMED
    floor = (draw(counts(0, epoch)), draw(_numbers)) if is_unmet else (0, 0)
    updated_s = since_s + draw(_instants)
    return Standing(draw(peer_names()), epoch, incarnation, state, since_s, updated_s, floor)


@st.composite
def _changes(draw: st.DrawFn) -> Change:
    before = draw(st.none() | st.sampled_from(NodeLifecycleState))
    after = draw(st.sampled_from(sorted(TRANSITIONS[before], key=str)))
    outcome = {
        (None, NodeLifecycleState.UNCONFIRMED): Outcome.LEARNED,
        (None, NodeLifecycleState.ALIVE): Outcome.CONFIRMED,
        (NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.ALIVE): Outcome.CONFIRMED,
        (before, None): Outcome.REMOVED,
    }.get((before, after), Outcome.CHANGED)
    if before is not None and after is NodeLifecycleState.UNCONFIRMED:
        outcome = Outcome.RESTARTED
    return Change(draw(peer_names()), outcome, before, after, draw(_numbers), draw(_numbers))


@st.composite
def _confirmation_states(draw: st.DrawFn) -> ConfirmationState:
    role, discovered_s = draw(peer_roles()), draw(_instants)
    strategy = DEFAULT_STRATEGIES.for_role(role)
    is_asked = strategy.enable_proactive_confirmation
    is_last_word = is_asked and draw(booleans)
    asks = draw(counts(0, 8)) if is_asked else 0
    return ConfirmationState(
        peer=draw(peer_names()),
        role=role,
        strategy=strategy,
        discovered_at=discovered_s,
        attempts=draw(counts(1, strategy.confirmation_attempts)) if is_last_word else 0,
        last_attempt_at=discovered_s + draw(_instants) if asks or is_last_word else 0.0,
        timer_token=str(draw(counts(1, _MOST))),
        early_asks=asks,
        next_ask_at=discovered_s + draw(_instants) if is_asked else math.inf,
        is_last_word=is_last_word,
        is_stale=draw(booleans),
    )


@st.composite
def _applied(draw: st.DrawFn) -> AppliedTimeout:
    base_s, shares = draw(seconds(0.001, 3_600)), [draw(st.floats(1, 10)) for _ in range(3)]
    return AppliedTimeout(base_s * math.prod(shares), base_s, *shares)


@st.composite
def _bounds(draw: st.DrawFn) -> SuspicionBounds:
    shortest_s = draw(seconds(0.001, 3_600))
    return SuspicionBounds(shortest_s, shortest_s * draw(st.floats(1, 6)))


_positions = st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4).map(tuple)
_ms = st.floats(0, 10_000)

STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    AppliedTimeout: _applied(),
    AskPeer: st.builds(
        AskPeer,
        peer=peer_names(),
        role=_asked_roles,
        attempt=counts(1, 100),
        is_last_word=booleans,
        timeout_s=seconds(0.001, 10),
    ),
    Change: _changes(),
    ConfirmationState: _confirmation_states(),
    CoordinateView: st.builds(
        CoordinateView,
        position=_positions,
        height_ms=_ms,
        error=st.floats(0, 1.5),
        residual_ms=_ms,
        sample_count=counts(0, _MOST),
        age_s=st.none() | seconds(0, 1e6),
        is_converged=booleans,
    ),
    MembershipSettings: st.builds(
        MembershipSettings, strategies=_role_strategies, timeouts=_timeout_settings
    ),
    PeerConfirmed: st.builds(
        PeerConfirmed,
        peer=peer_names(),
        role=peer_roles(),
        evidence=st.sampled_from(sorted(CONFIRMS)),
        elapsed_s=_instants,
        asks=counts(0, 100),
    ),
    PeerCoordinateView: st.builds(
        PeerCoordinateView,
        peer=peer_names(),
        position=_positions,
        height_ms=_ms,
        error=st.floats(0, 1.5),
        sample_count=counts(0, _MOST),
        age_s=_instants,
        rtt_ms=_ms,
        rtt_ucb_ms=_ms,
        quality=st.floats(0, 1),
    ),
    RemovePeer: st.builds(
        RemovePeer,
        peer=peer_names(),
        role=_asked_roles,
        reason=st.just("attempts_exhausted"),
        elapsed_s=_instants,
        attempts=counts(1, 100),
    )
    | st.builds(
        RemovePeer,
        peer=peer_names(),
        role=st.just(PeerRole.WORKER),
        reason=st.just("passive_timeout"),
        elapsed_s=_instants,
        attempts=st.just(0),
    ),
    RoleBasedConfirmationStrategy: _strategies(is_asked=True) | _strategies(is_asked=False),
    RoleHints: st.builds(
        RoleHints,
        ports=st.lists(_ranges, max_size=3).map(tuple),
        hostnames=st.lists(_patterns, max_size=3).map(tuple),
    ),
    RoleStrategies: _role_strategies,
    StaleUnconfirmed: st.builds(
        StaleUnconfirmed,
        peer=peer_names(),
        role=peer_roles(),
        elapsed_s=seconds(60, 1e6),
        asks=counts(0, 100),
    ),
    Standing: _standings(),
    SuspicionBounds: _bounds(),
    TimeoutSettings: _timeout_settings,
    TrackerLimits: _limits(),
    UnconfirmedPeerView: st.builds(
        UnconfirmedPeerView,
        peer=peer_names(),
        role=peer_roles().map(lambda role: role.value),
        elapsed_s=_instants,
        passive_timeout_s=seconds(0.001, _DAY_S),
        asks=counts(0, 100),
        attempts=counts(0, 100),
        is_last_word=booleans,
        next_ask_s=st.none() | _instants,
    ),
}
