"""Who is there: SWIM with Lifeguard, aware of roles and of distance.

    async with (
        UdpTransport("10.0.0.7", 7946, cluster="prod", keyring=keyring) as transport,
        HealthAwareServer(transport, "gate-1", PeerRole.GATE) as server,
        server.events() as events,
    ):
        server.join(["10.0.0.1:7946"])
        async for event in events:
            ...

A peer is UNCONFIRMED until it has spoken itself; then it is ALIVE, SUSPECT and DEAD in turn as
the protocol finds it. Gates and managers are probed; workers push heartbeats and are never
asked. How long anybody is waited for depends on how far it is and on how well we are.

*Does not promise*: agreement. What two members hold of a third may differ for as long as an
update travels; who needs one decision for all takes a lease.

*Hazards*: an event loop that is blocked looks like a dead process from outside. An epoch that
does not grow with a restart makes the new run inherit the old one's death until it refutes it.

Source: SWIM (Das et al. 2002); Lifeguard (arXiv 1707.00788); AD-35 §12.
"""

from __future__ import annotations

from federlib.membership.config import SwimConfig
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
    DebugSource,
    PeerCoordinateView,
    UnconfirmedPeerView,
    debug_app,
)
from federlib.membership.effects import (
    Effect,
    Event,
    HealthChanged,
    LeaveTold,
    MemberDied,
    MemberJoined,
    MemberLearned,
    MemberLeft,
    MemberRefuted,
    MemberRemoved,
    MemberRestarted,
    MemberSuspected,
    NameConflict,
    PeerMeasured,
    SelfRefuted,
    Send,
    WakeAt,
)
from federlib.membership.feed import EventsMissed, ServerEvent
from federlib.membership.lifecycle import IncarnationTracker, NodeLifecycleState, TrackerLimits
from federlib.membership.metrics import MembershipMeter
from federlib.membership.node import Member, NodeId
from federlib.membership.roles import (
    GATE_STRATEGY,
    MANAGER_STRATEGY,
    SEED_DEFAULT_ROLE,
    WORKER_STRATEGY,
    PeerRole,
    RoleBasedConfirmationStrategy,
    RoleHints,
    RoleStrategies,
    detect_peer_role,
    get_strategy_for_role,
)
from federlib.membership.server import HealthAwareServer
from federlib.membership.settings import MembershipSettings
from federlib.membership.standing import Change, Outcome, Standing
from federlib.membership.timeouts import (
    AdaptiveTimeouts,
    AppliedTimeout,
    Distances,
    SuspicionBounds,
    TimeoutSettings,
)

__all__ = [
    "GATE_STRATEGY",
    "MANAGER_STRATEGY",
    "SEED_DEFAULT_ROLE",
    "WORKER_STRATEGY",
    "AdaptiveTimeouts",
    "AppliedTimeout",
    "AskPeer",
    "Change",
    "ConfirmationState",
    "CoordinateView",
    "DebugSource",
    "Distances",
    "Effect",
    "Event",
    "EventsMissed",
    "Evidence",
    "HealthAwareServer",
    "HealthChanged",
    "IncarnationTracker",
    "LeaveTold",
    "Member",
    "MemberDied",
    "MemberJoined",
    "MemberLearned",
    "MemberLeft",
    "MemberRefuted",
    "MemberRemoved",
    "MemberRestarted",
    "MemberSuspected",
    "MembershipMeter",
    "MembershipSettings",
    "NameConflict",
    "NodeId",
    "NodeLifecycleState",
    "Outcome",
    "PeerConfirmed",
    "PeerCoordinateView",
    "PeerMeasured",
    "PeerRole",
    "RemovePeer",
    "RoleAwareConfirmationManager",
    "RoleBasedConfirmationStrategy",
    "RoleHints",
    "RoleStrategies",
    "SelfRefuted",
    "Send",
    "ServerEvent",
    "StaleUnconfirmed",
    "Standing",
    "SuspicionBounds",
    "SwimConfig",
    "SwimCore",
    "TimeoutSettings",
    "TrackerLimits",
    "UnconfirmedPeerView",
    "WakeAt",
    "debug_app",
    "detect_peer_role",
    "get_strategy_for_role",
]
