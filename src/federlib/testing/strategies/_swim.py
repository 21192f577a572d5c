"""Members, how their protocol runs, and what its core wants done and tells."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from federlib.membership.config import SwimConfig
from federlib.membership.effects import (
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
from federlib.membership.messages import MAX_COORDINATE_BYTES, MAX_PACKET_BYTES
from federlib.membership.node import MAX_NUMBER, Member, NodeId
from federlib.membership.standing import NodeLifecycleState
from federlib.testing.strategies._plain import booleans, counts, seconds
from federlib.testing.strategies._roles import peer_names, peer_roles

__all__ = ["STRATEGIES"]

_numbers = counts(most=MAX_NUMBER)
_nodes = st.builds(NodeId, name=peer_names(), epoch=_numbers)
_instants = seconds(0, 1e9)
_addresses = st.builds(
    "10.{}.{}.{}:{}".format,
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(1, 254),
    st.integers(1, 65_535),
)
_states = st.sampled_from(NodeLifecycleState)
_gone = st.sampled_from(
    [NodeLifecycleState.SUSPECT, NodeLifecycleState.DEAD, NodeLifecycleState.LEFT]
)
_forgotten = st.sampled_from(
    [NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.DEAD, NodeLifecycleState.LEFT]
)
_coordinates = st.none() | st.binary(max_size=MAX_COORDINATE_BYTES)
_rtts = st.floats(0, 10_000)


def _configs() -> st.SearchStrategy[SwimConfig]:
    """Generate the three named ones, and others."""
    drawn = st.builds(
        SwimConfig,
        interval_s=seconds(0.01, 60),
        relays=st.integers(0, 5),
        stream_fallback=booleans,
        confirmations=st.integers(0, 5),
        lifeguard=booleans,
        witness=booleans,
        awareness_most=st.integers(0, 16),
        gossip_interval_s=seconds(0.01, 5),
        gossip_nodes=st.integers(0, 6),
        retransmit_mult=st.integers(0, 8),
        late_s=seconds(0.01, 10),
        seal_overhead_bytes=st.integers(0, 128),
    )
    named = [SwimConfig(), SwimConfig.wan(), SwimConfig.plain_swim()]
    return st.sampled_from(named) | drawn


STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    NodeId: _nodes,
    Member: st.builds(
        Member,
        node=_nodes,
        address=_addresses,
        role=peer_roles(),
        incarnation=_numbers,
        state=_states,
        since_s=_instants,
    ),
    SwimConfig: _configs(),
    Send: st.builds(
        Send,
        address=_addresses,
        payload=st.binary(min_size=1, max_size=MAX_PACKET_BYTES),
        reliable=booleans,
    ),
    WakeAt: st.builds(WakeAt, at_s=_instants),
    MemberLearned: st.builds(MemberLearned, node=_nodes, address=_addresses, role=peer_roles()),
    MemberJoined: st.builds(
        MemberJoined,
        node=_nodes,
        address=_addresses,
        role=peer_roles(),
        before=st.none() | _states,
        unconfirmed_s=seconds(0, 1e4),
    ),
    MemberSuspected: st.builds(
        MemberSuspected, node=_nodes, incarnation=_numbers, accuser=peer_names()
    ),
    MemberRefuted: st.builds(MemberRefuted, node=_nodes, incarnation=_numbers, before=_gone),
    MemberDied: st.builds(MemberDied, node=_nodes, incarnation=_numbers, accuser=peer_names()),
    MemberLeft: st.builds(MemberLeft, node=_nodes),
    MemberRestarted: st.builds(MemberRestarted, node=_nodes, before=_nodes),
    MemberRemoved: st.builds(MemberRemoved, node=_nodes, role=peer_roles(), state=_forgotten),
    NameConflict: st.builds(NameConflict, node=_nodes),
    PeerMeasured: st.builds(
        PeerMeasured,
        name=peer_names(),
        rtt_ms=_rtts,
        vivaldi_coord=_coordinates,
        their_rtt_ms=st.none() | _rtts,
    ),
    SelfRefuted: st.builds(SelfRefuted, incarnation=counts(1, MAX_NUMBER)),
    HealthChanged: st.builds(
        HealthChanged,
        score=st.integers(0, 8),
        reason=st.sampled_from(["answer", "late", "probe", "refute"]),
    ),
    LeaveTold: st.builds(LeaveTold),
}
