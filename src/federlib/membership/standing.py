"""States of a peer, the steps between them, and what one claim about a peer did.

Source: seed §12.3.
"""

from __future__ import annotations

from enum import Enum, StrEnum

import attrs

from federlib.errors import Conflict

__all__ = [
    "MET_RANK",
    "TRANSITIONS",
    "Change",
    "NodeLifecycleState",
    "Outcome",
    "Standing",
    "check_transition",
]


class NodeLifecycleState(bytes, Enum):
    """What a peer is held to be."""

    UNCONFIRMED = b"UNCONFIRMED"
    ALIVE = b"ALIVE"
    SUSPECT = b"SUSPECT"
    DEAD = b"DEAD"
    LEFT = b"LEFT"


_UNCONFIRMED, _ALIVE = NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.ALIVE
_SUSPECT, _DEAD = NodeLifecycleState.SUSPECT, NodeLifecycleState.DEAD
_LEFT = NodeLifecycleState.LEFT
_MET = frozenset({_ALIVE, _SUSPECT, _DEAD, _LEFT})

TRANSITIONS: dict[NodeLifecycleState | None, frozenset[NodeLifecycleState | None]] = {
    # Not known: spoken of, or it spoke itself.
    None: frozenset({_UNCONFIRMED, _ALIVE}),
    _UNCONFIRMED: frozenset({_ALIVE, None}),
    _ALIVE: _MET - {_ALIVE} | {_UNCONFIRMED},
    _SUSPECT: _MET - {_SUSPECT} | {_UNCONFIRMED},
    _DEAD: _MET - {_DEAD} | {_UNCONFIRMED, None},
    _LEFT: _MET - {_LEFT} | {_UNCONFIRMED, None},
}
"""Whither from where; None is a peer that is not known. To UNCONFIRMED leads only a later run."""

MET_RANK = {_ALIVE: 0, _SUSPECT: 1, _DEAD: 2, _LEFT: 3}
"""Which state wins within one incarnation."""


def check_transition(before: NodeLifecycleState | None, after: NodeLifecycleState | None) -> None:
    """Refuse a step that the lifecycle does not have; None is a peer that is not known.

    Raises:
        Conflict: UNCONFIRMED to SUSPECT or DEAD, removal of a live peer, and the like.
    Source: seed 12.3.2.
    """
    if after not in TRANSITIONS[before]:
        allowed = sorted(_word(each) for each in TRANSITIONS[before])
        raise Conflict(
            f"a peer that is {_word(before)}",
            expected=f"to become {' or '.join(allowed)}",
            actual=_word(after),
        )


def _word(state: NodeLifecycleState | None) -> str:
    return "unknown" if state is None else state.name


class Outcome(StrEnum):
    """What came of one claim.

    * LEARNED: a peer that was not known, now UNCONFIRMED.
    * CONFIRMED: it spoke itself, and is ALIVE.
    * RESTARTED: a later run has taken the place of an earlier; UNCONFIRMED, or ALIVE if it spoke.
    * CHANGED: another state.
    * REFRESHED: the same state in a later incarnation; a suspicion starts afresh.
    * AGREED: the same again; one more voice for a suspicion.
    * HELD: nothing but the incarnation was kept: the peer is UNCONFIRMED, or must refute.
    * STALE: older than what is known.
    * TOMBSTONED: removed not long ago, and nothing newer is claimed.
    * UNKNOWN: a verdict on a peer or a run that we do not know.
    * FULL: no room for another peer.
    * REMOVED: it is no longer known.
    """

    LEARNED = "learned"
    CONFIRMED = "confirmed"
    RESTARTED = "restarted"
    CHANGED = "changed"
    REFRESHED = "refreshed"
    AGREED = "agreed"
    HELD = "held"
    STALE = "stale"
    TOMBSTONED = "tombstoned"
    UNKNOWN = "unknown"
    FULL = "full"
    REMOVED = "removed"


@attrs.frozen
class Standing:
    """What is held of one peer.

    Attributes:
        name: Who.
        epoch: Which run of it.
        incarnation: The highest seen of that run.
        state: What it is held to be.
        since_s: When it came into that state; for UNCONFIRMED, when it was discovered.
        updated_s: When anything about it was last taken in.
        floor: The lowest (epoch, incarnation) with which an UNCONFIRMED peer's own word counts.
    """

    name: str
    epoch: int
    incarnation: int
    state: NodeLifecycleState
    since_s: float
    updated_s: float
    floor: tuple[int, int] = (0, 0)


@attrs.frozen
class Change:
    """What one claim did.

    Attributes:
        name: Who.
        outcome: What came of it.
        before: Its state before; None where it was not known.
        after: Its state now; None where it is not known.
        epoch: The run held now; that of the claim where nobody is held.
        incarnation: The same of the incarnation.
    """

    name: str
    outcome: Outcome
    before: NodeLifecycleState | None
    after: NodeLifecycleState | None
    epoch: int
    incarnation: int
