"""What the core wants done, and what it has to tell; data, in the order in which it must happen."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs
import msgspec

from federlib.membership.confirmation import (
    AskPeer,
    PeerConfirmed,
    RemovePeer,
    StaleUnconfirmed,
)
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole

__all__ = [
    "Effect",
    "Event",
    "HealthChanged",
    "LeaveTold",
    "MemberDied",
    "MemberJoined",
    "MemberLearned",
    "MemberLeft",
    "MemberRefuted",
    "MemberRemoved",
    "MemberRestarted",
    "MemberSuspected",
    "NameConflict",
    "PeerMeasured",
    "SelfRefuted",
    "Send",
    "WakeAt",
]


class Send(msgspec.Struct, frozen=True):
    """Send a packet, as well as it goes.

    Attributes:
        address: Whither; ``host:port``.
        payload: What, before it is sealed.
        reliable: By a stream; otherwise by one datagram.
    """

    address: str
    payload: bytes
    reliable: bool = False


class WakeAt(msgspec.Struct, frozen=True):
    """Call `tick` at this instant; it takes the place of every earlier wish.

    Attributes:
        at_s: On the caller's monotonic clock; seconds.
    """

    at_s: float


class MemberLearned(msgspec.Struct, frozen=True):
    """Somebody spoke of a peer that is not known here; it is UNCONFIRMED."""

    node: NodeId
    address: str
    role: PeerRole


@attrs.frozen
class MemberJoined:
    """A peer spoke itself, and is ALIVE.

    Attributes:
        before: What it was held to be; None where it was not known.
        unconfirmed_s: How long it was UNCONFIRMED; seconds.
    """

    node: NodeId
    address: str
    role: PeerRole
    before: NodeLifecycleState | None
    unconfirmed_s: float


class MemberSuspected(msgspec.Struct, frozen=True):
    """A member is SUSPECT.

    Attributes:
        accuser: Name of who said so first; our own where it was us.
    """

    node: NodeId
    incarnation: int
    accuser: str


@attrs.frozen
class MemberRefuted:
    """A member that was SUSPECT, DEAD or LEFT lives.

    Attributes:
        before: What it was held to be.
    """

    node: NodeId
    incarnation: int
    before: NodeLifecycleState


class MemberDied(msgspec.Struct, frozen=True):
    """A member is DEAD.

    Attributes:
        accuser: Name of who waited for its refutation in vain; our own where it was us.
    """

    node: NodeId
    incarnation: int
    accuser: str


class MemberLeft(msgspec.Struct, frozen=True):
    """A member said goodbye."""

    node: NodeId


class MemberRestarted(msgspec.Struct, frozen=True):
    """A later run has taken the place of an earlier one.

    Attributes:
        node: The later run.
        before: The earlier one.
    """

    node: NodeId
    before: NodeId


@attrs.frozen
class MemberRemoved:
    """A peer is no longer known: it was never confirmed, or has been dead long enough.

    Attributes:
        state: What it was held to be.
    """

    node: NodeId
    role: PeerRole
    state: NodeLifecycleState


class NameConflict(msgspec.Struct, frozen=True):
    """Two processes have one name: another one and we, or two others.

    Of two others it is told by whoever hears from both where they are, at most once a minute
    each. A run that began again elsewhere with the same epoch looks the same.

    Attributes:
        node: As the later one, or somebody of it, said.
        addresses: Where both are, the one that was heard of first before the other; empty where
            ours is an earlier run.
    """

    node: NodeId
    addresses: tuple[str, ...] = ()


class PeerMeasured(msgspec.Struct, frozen=True):
    """A peer answered a ping: a sample for network coordinates.

    Attributes:
        name: Who.
        rtt_ms: From our ping to its answer.
        vivaldi_coord: As the peer sent it; encoded, or None.
        their_rtt_ms: What the peer last measured to us, or None.
    """

    name: str
    rtt_ms: float
    vivaldi_coord: bytes | None
    their_rtt_ms: float | None


class SelfRefuted(msgspec.Struct, frozen=True):
    """We were suspected, and have said that we live.

    Attributes:
        incarnation: Our new one.
    """

    incarnation: int


class HealthChanged(msgspec.Struct, frozen=True):
    """Our own health is another.

    Attributes:
        score: 0 is well.
        reason: What changed it: a probe was answered, we ran late, a probe failed by our own
            fault, or we had to refute.
    """

    score: int
    reason: Literal["answer", "late", "probe", "refute"]


class LeaveTold(msgspec.Struct, frozen=True):
    """Our goodbye has been told often enough: the process may end."""


Event: TypeAlias = (
    MemberLearned
    | MemberJoined
    | MemberSuspected
    | MemberRefuted
    | MemberDied
    | MemberLeft
    | MemberRestarted
    | MemberRemoved
    | NameConflict
    | PeerMeasured
    | SelfRefuted
    | HealthChanged
    | LeaveTold
    | AskPeer
    | RemovePeer
    | StaleUnconfirmed
    | PeerConfirmed
)
"""What members learn of one another."""

Effect: TypeAlias = Send | WakeAt | Event
"""What the core asks of its shell."""
