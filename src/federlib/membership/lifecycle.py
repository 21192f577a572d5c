"""What a peer is held to be, and by whose word that may change.

    tracker = IncarnationTracker()
    tracker.hear("gate-1", epoch=7, incarnation=0, state=NodeLifecycleState.ALIVE, now_s=0.0)
    tracker.confirm("gate-1", epoch=7, incarnation=0, now_s=0.4)   # it spoke itself: ALIVE

A peer that others merely speak of is UNCONFIRMED. From there it becomes ALIVE by its own word,
or it is removed; it is never suspected and never declared dead, because nobody here has met it.

Between the runs of one peer its `epoch` decides: a later run begins UNCONFIRMED, whatever
became of the earlier. Within a run the larger of (incarnation, state) wins, states in the order
ALIVE, SUSPECT, DEAD, LEFT. That is a join, so rumours may come in any order and all members
come to hold the same.

What a peer says itself outweighs hearsay: an UNCONFIRMED later run gives way to the peer that
still speaks as the earlier one. So a false rumour of a restart cannot silence a live peer.

Does not promise: that names are bounded in length; whoever decodes messages sees to that.

Source: seed §12.3; research note §1.4; SWIM §4.2 for the order within a run.
"""

from __future__ import annotations

import math

import attrs

from federlib._bounds import integer, number
from federlib.errors import Conflict, InvalidInput
from federlib.membership.standing import (
    MET_RANK,
    TRANSITIONS,
    Change,
    NodeLifecycleState,
    Outcome,
    Standing,
    check_transition,
)

__all__ = [
    "TRANSITIONS",
    "Change",
    "IncarnationTracker",
    "NodeLifecycleState",
    "Outcome",
    "Standing",
    "TrackerLimits",
    "check_transition",
]


_UNCONFIRMED, _ALIVE = NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.ALIVE
_DEAD, _LEFT = NodeLifecycleState.DEAD, NodeLifecycleState.LEFT


@attrs.frozen
class _Tombstone:
    epoch: int
    incarnation: int
    was_met: bool
    floor: tuple[int, int]
    until_s: float


@attrs.frozen(kw_only=True)
class TrackerLimits:
    """How much is kept; each peer costs about half a kilobyte.

    Attributes:
        max_members: Peers in all.
        max_unconfirmed: Of these, peers that nobody here has met; the rest is kept for those
            that speak themselves, so that bogus names never shut out a real peer.
        max_tombstones: Removed peers that are remembered; the oldest goes first.
        tombstone_s: How long a removed peer is; at least twice the longest passive timeout,
            or it is learned again from members that have not yet removed it. 720 is twice the
            ceiling of a worker's.
    Raises:
        InvalidInput: Out of range, or no room beside the unconfirmed.
    """

    max_members: int = attrs.field(default=16_384, validator=integer(1, 1_000_000))
    max_unconfirmed: int = attrs.field(default=4_096, validator=integer(1, 1_000_000))
    max_tombstones: int = attrs.field(default=4_096, validator=integer(1, 1_000_000))
    tombstone_s: float = attrs.field(default=720.0, validator=number(0, 86_400, "seconds"))

    def __attrs_post_init__(self) -> None:
        if self.max_unconfirmed >= self.max_members:
            raise InvalidInput(
                "max_unconfirmed",
                expected=f"fewer than max_members ({self.max_members})",
                found=self.max_unconfirmed,
            )


class IncarnationTracker:
    """The standing of every peer. Pure: the caller gives the time, in seconds that never go back.

    Claims never raise: what is old, refused or too much is told by the outcome. Not shared
    between threads.

    Args:
        limits: How much is kept.
    """

    def __init__(self, limits: TrackerLimits | None = None) -> None:
        self._limits = limits or TrackerLimits()
        self._peers: dict[str, Standing] = {}
        # By state and in the order of arrival, so that a query costs what it returns.
        self._names: dict[NodeLifecycleState, dict[str, None]] = {
            state: {} for state in NodeLifecycleState
        }
        self._tombstones: dict[str, _Tombstone] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, node: str) -> Standing | None:
        """Return what is held of a peer, or None."""
        return self._peers.get(node)

    def get_nodes_by_state(self, state: NodeLifecycleState) -> list[str]:
        """Return the names of all peers in a state, longest in it first.

        Source: seed 12.3.3.
        """
        return list(self._names[state])

    def count(self, state: NodeLifecycleState) -> int:
        """Return how many peers are in a state."""
        return len(self._names[state])

    def get_last_update_time(self, node: str) -> float:
        """Return when anything about a peer was last taken in; minus infinity if never.

        Source: seed 12.3.4.
        """
        found = self._peers.get(node)
        return -math.inf if found is None else found.updated_s

    def is_tombstoned(self, node: str, *, now_s: float) -> bool:
        """Say whether a peer was removed and is still remembered as such."""
        return self._tombstone(node, now_s) is not None

    @property
    def tombstones(self) -> int:
        """How many removed peers are remembered, outdated ones included."""
        return len(self._tombstones)

    def hear(
        self, name: str, *, epoch: int, incarnation: int, state: NodeLifecycleState, now_s: float
    ) -> Change:
        """Take in what somebody says of a peer: gossip, or our own verdict on it.

        Args:
            name: Of whom.
            epoch: Of which run.
            incarnation: In which incarnation.
            state: What it is said to be; UNCONFIRMED counts as ALIVE, as the speaker knows no more.
            now_s: Now.
        """
        claimed = _ALIVE if state is _UNCONFIRMED else state
        found = self._peers.get(name)
        if found is None:
            return self._meet_by_rumour(name, epoch, incarnation, claimed, now_s)
        if epoch < found.epoch:
            return _unchanged(found, Outcome.STALE)
        if epoch > found.epoch:
            return self._restart_by_rumour(found, epoch, incarnation, claimed, now_s)
        if found.state is _UNCONFIRMED:
            return self._hold(found, incarnation, now_s)
        order = (incarnation, MET_RANK[claimed])
        known = (found.incarnation, MET_RANK[found.state])
        if order < known:
            return _unchanged(found, Outcome.STALE)
        if order == known:
            return self._agree(found, now_s)
        return self._move(found, claimed, epoch, incarnation, now_s)

    def confirm(self, name: str, *, epoch: int, incarnation: int, now_s: float) -> Change:
        """Take in that a peer itself spoke, in an authenticated message, to us or a helper of ours.

        A suspect or dead peer is not cleared by speaking alone: it must refute in a later
        incarnation, or the other members would not follow.

        Source: seed 12.3.2, 12.3.7; `confirmation.CONFIRMS` lists what counts.
        """
        found = self._peers.get(name)
        if found is None:
            return self._meet(name, epoch, incarnation, now_s)
        said = (epoch, incarnation)
        if found.state is _UNCONFIRMED:
            if said < found.floor:
                return _unchanged(found, Outcome.STALE)
            kept = max(incarnation, found.incarnation) if epoch == found.epoch else incarnation
            return self._move(found, _ALIVE, epoch, kept, now_s, Outcome.CONFIRMED)
        if epoch != found.epoch:
            if epoch < found.epoch:
                return _unchanged(found, Outcome.STALE)
            return self._move(found, _ALIVE, epoch, incarnation, now_s, Outcome.RESTARTED)
        if incarnation > found.incarnation:
            return self._move(found, _ALIVE, epoch, incarnation, now_s)
        if incarnation < found.incarnation:
            return _unchanged(found, Outcome.STALE)
        if found.state is _ALIVE:
            return self._agree(found, now_s)
        return _unchanged(found, Outcome.HELD)

    def set_state(self, node: str, state: NodeLifecycleState, *, now_s: float) -> Change:
        """Pass our own verdict on a peer, in the incarnation that is known.

        Raises:
            Conflict: The lifecycle has no such step, above all from UNCONFIRMED to SUSPECT or
                DEAD; nothing is changed.
            InvalidInput: No such peer.
        """
        found = self._known(node)
        if state is not found.state:
            check_transition(found.state, state)
            if MET_RANK.get(state, -1) < MET_RANK.get(found.state, -1):
                raise Conflict(
                    f"peer {node!r}, which is {found.state.name}",
                    expected="a later incarnation or a later run",
                    actual=f"{state.name} in the same incarnation",
                )
        if found.state is _UNCONFIRMED:
            raise Conflict(
                f"peer {node!r}, which is UNCONFIRMED", expected="its own word", actual="a verdict"
            )
        return self.hear(
            node, epoch=found.epoch, incarnation=found.incarnation, state=state, now_s=now_s
        )

    def remove_node(self, node: str, *, now_s: float, tombstone_s: float | None = None) -> Change:
        """Forget a peer that is UNCONFIRMED, DEAD or LEFT, and remember that it was removed.

        Args:
            node: Who.
            now_s: Now.
            tombstone_s: How long it is remembered; by the limits where it is not given.
        Raises:
            Conflict: It is alive or suspect; only a death or a goodbye ends that.
            InvalidInput: No such peer.
        Source: seed 12.3.5; research note §1.4.
        """
        found = self._known(node)
        check_transition(found.state, None)
        del self._peers[node], self._names[found.state][node]
        kept_s = self._limits.tombstone_s if tombstone_s is None else tombstone_s
        was_met = found.state is not _UNCONFIRMED
        # The newest stands last, and the first is the one to drop.
        self._tombstones.pop(node, None)
        if len(self._tombstones) >= self._limits.max_tombstones:
            del self._tombstones[next(iter(self._tombstones))]
        floor = (found.epoch, found.incarnation + 1) if was_met else found.floor
        self._tombstones[node] = _Tombstone(
            found.epoch, found.incarnation, was_met, floor, now_s + kept_s
        )
        return Change(node, Outcome.REMOVED, found.state, None, found.epoch, found.incarnation)

    def prune(self, *, now_s: float) -> int:
        """Drop outdated tombstones; return how many. They count for nothing even before."""
        outdated = [name for name, each in self._tombstones.items() if each.until_s <= now_s]
        for name in outdated:
            del self._tombstones[name]
        return len(outdated)

    def _known(self, node: str) -> Standing:
        found = self._peers.get(node)
        if found is None:
            raise InvalidInput("node", expected="a peer that is known", found=node)
        return found

    def _tombstone(self, name: str, now_s: float) -> _Tombstone | None:
        found = self._tombstones.get(name)
        return None if found is None or found.until_s <= now_s else found

    def _meet_by_rumour(
        self, name: str, epoch: int, incarnation: int, claimed: NodeLifecycleState, now_s: float
    ) -> Change:
        grave = self._tombstone(name, now_s)
        if claimed is not _ALIVE:
            # A verdict says neither where a peer is nor what it does: it introduces nobody.
            return Change(name, Outcome.UNKNOWN, None, None, epoch, incarnation)
        if grave is not None:
            # Of a run that never spoke no incarnation is believed: only another run, or itself.
            last = grave.incarnation if grave.was_met else math.inf
            if (epoch, incarnation) <= (grave.epoch, last):
                return Change(name, Outcome.TOMBSTONED, None, None, epoch, incarnation)
        if (
            len(self._peers) >= self._limits.max_members
            or len(self._names[_UNCONFIRMED]) >= self._limits.max_unconfirmed
        ):
            return Change(name, Outcome.FULL, None, None, epoch, incarnation)
        floor = (0, 0) if grave is None else grave.floor
        self._put(Standing(name, epoch, incarnation, _UNCONFIRMED, now_s, now_s, floor))
        return Change(name, Outcome.LEARNED, None, _UNCONFIRMED, epoch, incarnation)

    def _meet(self, name: str, epoch: int, incarnation: int, now_s: float) -> Change:
        grave = self._tombstone(name, now_s)
        if grave is not None and (epoch, incarnation) < grave.floor:
            return Change(name, Outcome.TOMBSTONED, None, None, epoch, incarnation)
        if len(self._peers) >= self._limits.max_members:
            return Change(name, Outcome.FULL, None, None, epoch, incarnation)
        self._put(Standing(name, epoch, incarnation, _ALIVE, now_s, now_s))
        return Change(name, Outcome.CONFIRMED, None, _ALIVE, epoch, incarnation)

    def _restart_by_rumour(
        self,
        found: Standing,
        epoch: int,
        incarnation: int,
        claimed: NodeLifecycleState,
        now_s: float,
    ) -> Change:
        if claimed is not _ALIVE:
            # Nor does it introduce a run: it says nothing of the one that we know.
            return _unchanged(found, Outcome.UNKNOWN)
        if found.state is _UNCONFIRMED:
            # Discovered when it was: rumours of ever later runs must not keep a name for ever.
            standing = attrs.evolve(found, epoch=epoch, incarnation=incarnation, updated_s=now_s)
        else:
            over = 1 if found.state in {_DEAD, _LEFT} else 0
            floor = (found.epoch, found.incarnation + over)
            if len(self._names[_UNCONFIRMED]) >= self._limits.max_unconfirmed:
                return _unchanged(found, Outcome.FULL)
            standing = Standing(found.name, epoch, incarnation, _UNCONFIRMED, now_s, now_s, floor)
        self._put(standing, found)
        return Change(found.name, Outcome.RESTARTED, found.state, _UNCONFIRMED, epoch, incarnation)

    def _hold(self, found: Standing, incarnation: int, now_s: float) -> Change:
        """Keep the incarnation of a rumour about a peer that nobody here has met, and no more."""
        held = max(incarnation, found.incarnation)
        standing = attrs.evolve(found, incarnation=held, updated_s=now_s)
        self._put(standing, found)
        return _unchanged(standing, Outcome.HELD)

    def _agree(self, found: Standing, now_s: float) -> Change:
        self._put(attrs.evolve(found, updated_s=now_s), found)
        return _unchanged(found, Outcome.AGREED)

    def _move(
        self,
        found: Standing,
        state: NodeLifecycleState,
        epoch: int,
        incarnation: int,
        now_s: float,
        outcome: Outcome | None = None,
    ) -> Change:
        is_same = state is found.state
        since_s = found.since_s if is_same and epoch == found.epoch else now_s
        self._put(Standing(found.name, epoch, incarnation, state, since_s, now_s), found)
        came = outcome or (Outcome.REFRESHED if is_same else Outcome.CHANGED)
        return Change(found.name, came, found.state, state, epoch, incarnation)

    def _put(self, standing: Standing, before: Standing | None = None) -> None:
        if before is None:
            self._tombstones.pop(standing.name, None)
        elif before.state is not standing.state:
            del self._names[before.state][standing.name]
        self._peers[standing.name] = standing
        self._names[standing.state][standing.name] = None


def _unchanged(found: Standing, outcome: Outcome) -> Change:
    return Change(found.name, outcome, found.state, found.state, found.epoch, found.incarnation)
