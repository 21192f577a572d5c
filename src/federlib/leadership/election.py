"""Who leads, as a value: the pure part of an election.

          granted                 lost
    follower ────▶ leader ────────────▶ follower
       │ ▲           │ unreachable
       ▼ │           ▼
      observer ◀─────┘     observer: the backend is away; nobody guesses

Source: HA plan §1 (observer mode), §2; design §5, leadership.
"""

from __future__ import annotations

from typing import Literal, assert_never

import attrs

__all__ = [
    "Event",
    "Granted",
    "LeaderState",
    "Lost",
    "Reached",
    "Role",
    "Unreachable",
    "next_state",
]

Role = Literal["leader", "follower", "observer"]
"""What a member is; an observer cannot reach the store, and follows nobody."""


@attrs.frozen(kw_only=True)
class LeaderState:
    """What one process knows of an election.

    Attributes:
        name: The election.
        role: `leader`, `follower`, or `observer` while the backend is away.
        epoch: The leader's fencing token: ours as leader, else the last one heard of; 0
            before any.
        leader: The holder id of the leader, where known.
        since_ns: When this role began; Unix nanoseconds.
        reason: Why the role changed, in words.
    """

    name: str
    role: Role = "observer"
    epoch: int = 0
    leader: str | None = None
    since_ns: int = 0
    reason: str = "starting"


@attrs.frozen
class Granted:
    """The lease is ours under `epoch`."""

    epoch: int
    holder_id: str


@attrs.frozen
class Lost:
    """The lease is no longer ours."""

    reason: str


@attrs.frozen
class Reached:
    """The backend answered: `leader` holds the lease under `epoch`, or nobody does."""

    leader: str | None
    epoch: int


@attrs.frozen
class Unreachable:
    """The backend did not answer."""

    reason: str


Event = Granted | Lost | Reached | Unreachable


def next_state(state: LeaderState, event: Event, *, now_ns: int) -> LeaderState:
    """Move on by one event; the same state comes back where nothing changed.

    A leader stays leader through `Unreachable` and `Reached`: only its lease's own deadline
    (`Lost`) may end its reign, so that a short outage does not depose it.
    """
    match event:
        case Granted(epoch, holder_id):
            return attrs.evolve(
                state,
                role="leader",
                epoch=epoch,
                leader=holder_id,
                since_ns=now_ns,
                reason="granted",
            )
        case Lost(reason):
            if state.role != "leader":
                return state
            return attrs.evolve(state, role="follower", leader=None, since_ns=now_ns, reason=reason)
        case Reached(leader, epoch):
            if state.role == "leader":
                return state
            seen = attrs.evolve(state, leader=leader, epoch=max(state.epoch, epoch))
            if state.role == "follower":
                return seen
            return attrs.evolve(seen, role="follower", since_ns=now_ns, reason="reachable")
        case Unreachable(reason):
            if state.role != "follower":
                return state
            return attrs.evolve(state, role="observer", leader=None, since_ns=now_ns, reason=reason)
        case _:
            assert_never(event)
