"""What is held of each member, and what follows when that changes.

Updates come in any order and more than once. The tracker says what is news; here suspicions
begin and end, and others are told. What is said of ourselves is for `names`.

It is one class, since every step may begin or end another: a word that confirms a peer ends a
suspicion, and its end begins a death.

Source: SWIM §4.2; Lifeguard, local health aware suspicion; research membership-routing §1.4.
"""

from __future__ import annotations

from federlib.membership.confirmation import Evidence, RoleAwareConfirmationManager
from federlib.membership.effects import (
    MemberDied,
    MemberJoined,
    MemberLearned,
    MemberLeft,
    MemberRefuted,
    MemberRemoved,
    MemberRestarted,
    MemberSuspected,
)
from federlib.membership.lifecycle import Change, NodeLifecycleState, Outcome
from federlib.membership.messages import Alive, Dead, Gossip, Leave, Suspect, Update, encode_update
from federlib.membership.names import MOST_LEAP, Names
from federlib.membership.node import NodeId, is_name
from federlib.membership.roles import PeerRole
from federlib.membership.shared import Shared
from federlib.membership.suspects import Suspects
from federlib.membership.suspicion import Suspicion
from federlib.membership.table import Peer

__all__ = ["Judge"]

_UNCONFIRMED = NodeLifecycleState.UNCONFIRMED
_ALIVE = NodeLifecycleState.ALIVE
_SUSPECT = NodeLifecycleState.SUSPECT
_DEAD = NodeLifecycleState.DEAD
_LEFT = NodeLifecycleState.LEFT
_OVER = frozenset({_DEAD, _LEFT})

REAP_EVERY_S = 10.0
"""How often dead members are looked through for those that may be forgotten."""


class Judge:
    """Takes in what is said of members, and what they say themselves."""

    def __init__(
        self,
        shared: Shared,
        names: Names,
        suspects: Suspects,
        confirmations: RoleAwareConfirmationManager,
    ) -> None:
        self._own = shared.own
        self._config = shared.config
        self._table = shared.table
        self._outbox = shared.outbox
        self._timers = shared.timers
        self._hearing = shared.hearing
        self._names = names
        self._suspects = suspects
        suspects.on_end(self._ran_out)
        self._confirmations = confirmations
        self._reaps = False

    # What a peer says itself.

    def meet(
        self,
        node: NodeId,
        incarnation: int,
        address: str,
        role: PeerRole,
        evidence: Evidence,
        now_s: float,
    ) -> Peer | None:
        """Take in that a peer itself spoke; return it, or None where that is not believed.

        Args:
            node: Who.
            incarnation: As it says.
            address: Where it is, where it is new to us.
            role: What it is.
            evidence: How it spoke.
            now_s: Now.
        """
        peer = self._table.get(node.name)
        if (
            peer is not None
            and peer.incarnation == incarnation
            and peer.state is _ALIVE
            and peer.node.epoch == node.epoch
        ):
            # Nearly every message of a life: nothing is new but that it came.
            peer.heard_s = now_s
            return peer
        if peer is None and not is_name(node.name):
            self._outbox.refuse("name")
            return None
        if self._leaps(node, incarnation):
            return None
        change = self._table.tracker.confirm(
            node.name, epoch=node.epoch, incarnation=incarnation, now_s=now_s
        )
        if change.outcome is Outcome.FULL:
            self._outbox.refuse("full")
            return None
        if change.outcome is Outcome.TOMBSTONED:
            # It is forgotten here, and must say that it lives before it is known again.
            self._tell_one(address, Dead(node, incarnation, self._own.node.name))
            return None
        if peer is None:
            peer = Peer(node, address, role, incarnation, _ALIVE, now_s, now_s)
            self._table.add(peer)
        elif change.epoch != node.epoch:
            self._outbox.refuse("stale")
            # An older run of that name, which should know that it has a rival.
            self._tell_one(address, Alive(peer.node, peer.incarnation, peer.address, peer.role))
            return None
        peer.heard_s = now_s
        if change.outcome in {Outcome.CONFIRMED, Outcome.RESTARTED}:
            self._confirm(peer, change, node, address, role, evidence, now_s)
        elif change.outcome in {Outcome.CHANGED, Outcome.REFRESHED}:
            self._revive(peer, change)
        return peer

    def _confirm(
        self,
        peer: Peer,
        change: Change,
        node: NodeId,
        address: str,
        role: PeerRole,
        evidence: Evidence,
        now_s: float,
    ) -> None:
        before = peer.node
        if change.outcome is Outcome.RESTARTED:
            self._end_suspicion(peer)
            self._outbox.effects.append(MemberRestarted(node, before))
        if change.before is not _UNCONFIRMED:
            peer.met_s = now_s
        # What was said of an unconfirmed peer by others gives way to what it shows itself.
        peer.address = address
        if role is not PeerRole.UNKNOWN:
            peer.role = role
        self._sync(peer, change)
        confirmed = self._confirmations.on_evidence(node.name, evidence, now_s=now_s)
        if confirmed is not None:
            self._outbox.effects.append(confirmed)
        self._outbox.effects.append(
            MemberJoined(peer.node, peer.address, peer.role, change.before, now_s - peer.met_s)
        )
        self._tell_alive(peer, urgent=False)

    # What others say.

    def take(self, update: Update, now_s: float) -> bool:
        """Take in an update; return whether it brought a name that was new."""
        if update.node.name == self._own.node.name:
            self._names.hear(update)
            return False
        if type(update) is Alive:
            return self.alive(update, now_s)
        if type(update) is Suspect:
            self.suspect(update, now_s)
        elif type(update) is Dead:
            self.dead(update, now_s)
        elif type(update) is Leave:
            self.left(update, now_s)
        return False

    def alive(self, update: Alive, now_s: float) -> bool:
        """Take in that a member lives, by hearsay; return whether its name was new."""
        node = update.node
        peer = self._table.get(node.name)
        if peer is None and not is_name(node.name):
            self._outbox.refuse("name")
            return False
        if (
            peer is not None
            and update.incarnation <= peer.incarnation
            and node.epoch == peer.node.epoch
        ):
            # Nearly everything that is told of the living: each hears it many times.
            return False
        change = self._hear(node, update.incarnation, _ALIVE, now_s)
        match change.outcome:
            case Outcome.LEARNED:
                self._learn(update, now_s)
                return True
            case Outcome.RESTARTED if peer is not None:
                self._restart(peer, change, update, now_s)
            case Outcome.CHANGED | Outcome.REFRESHED if peer is not None:
                # A run keeps its address: one by hearsay would lead its packets astray.
                self._revive(peer, change)
            case Outcome.HELD if peer is not None:
                peer.incarnation = change.incarnation
            case Outcome.FULL:
                self._outbox.refuse("full")
            case _:
                pass
        return False

    def suspect(self, update: Suspect, now_s: float) -> None:
        """Take in that somebody hears nothing of a member."""
        peer = self._table.get(update.node.name)
        if peer is None or peer.role is PeerRole.WORKER or _is_old(peer, update):
            return
        if (
            peer.suspicion is not None
            and peer.incarnation == update.incarnation
            and peer.node.epoch == update.node.epoch
        ):
            self._confirm_suspicion(peer, peer.suspicion, update)
            return
        change = self._hear(update.node, update.incarnation, _SUSPECT, now_s)
        match change.outcome:
            case Outcome.CHANGED | Outcome.REFRESHED:
                self._begin_suspicion(peer, change, update, now_s)
            case Outcome.HELD:
                peer.incarnation = change.incarnation
            case _:
                pass

    def dead(self, update: Dead, now_s: float) -> None:
        """Take in that a member's suspicion ran out somewhere."""
        peer = self._table.get(update.node.name)
        if peer is None or peer.role is PeerRole.WORKER or _is_old(peer, update):
            return
        change = self._hear(update.node, update.incarnation, _DEAD, now_s)
        if change.outcome in {Outcome.CHANGED, Outcome.REFRESHED}:
            is_new = change.before is not _DEAD
            self._sync(peer, change)
            self._end_suspicion(peer)
            peer.verdict = self._outbox.broadcast(update)
            if is_new:
                self._outbox.effects.append(MemberDied(peer.node, peer.incarnation, update.accuser))
            self._reap_later(now_s)
        elif change.outcome is Outcome.HELD:
            peer.incarnation = change.incarnation

    def left(self, update: Leave, now_s: float) -> None:
        """Take in that a member said goodbye."""
        peer = self._table.get(update.node.name)
        if peer is None:
            return
        change = self._hear(update.node, update.incarnation, _LEFT, now_s)
        if change.outcome in {Outcome.CHANGED, Outcome.REFRESHED}:
            is_new = change.before is not _LEFT
            self._sync(peer, change)
            self._end_suspicion(peer)
            if peer.role is not PeerRole.WORKER:
                self._outbox.broadcast(update)
            if is_new:
                self._outbox.effects.append(MemberLeft(peer.node))
            self._reap_later(now_s)

    def accuse(self, peer: Peer, now_s: float) -> None:
        """Say that we hear nothing of a member."""
        name = self._own.node.name
        self.suspect(Suspect(peer.node, peer.incarnation, name), now_s)
        if self._hearing.is_alone(now_s):
            self._suspects.hurry(now_s)

    def _hear(
        self, node: NodeId, incarnation: int, state: NodeLifecycleState, now_s: float
    ) -> Change:
        if self._leaps(node, incarnation):
            return Change(node.name, Outcome.STALE, None, None, node.epoch, incarnation)
        return self._table.tracker.hear(
            node.name, epoch=node.epoch, incarnation=incarnation, state=state, now_s=now_s
        )

    def _leaps(self, node: NodeId, incarnation: int) -> bool:
        """Count and refuse an incarnation that nobody can have come to."""
        if incarnation <= MOST_LEAP:
            return False
        found = self._table.tracker.get(node.name)
        known = 0 if found is None or found.epoch != node.epoch else found.incarnation
        if incarnation <= known + MOST_LEAP:
            return False
        self._outbox.refuse("leap")
        return True

    def _tell_one(self, address: str, update: Update) -> None:
        own = Gossip(self._own.node, self._own.incarnation)
        self._outbox.send(address, own, first=(encode_update(update),))

    def _learn(self, update: Alive, now_s: float) -> None:
        name = update.node.name
        if not self._confirmations.start_confirmation(name, update.role, now_s=now_s):
            self._table.tracker.remove_node(name, now_s=now_s)
            self._outbox.refuse("full")
            return
        peer = Peer(
            update.node,
            update.address,
            update.role,
            update.incarnation,
            _UNCONFIRMED,
            now_s,
            now_s,
        )
        self._table.add(peer)
        self._outbox.effects.append(MemberLearned(peer.node, peer.address, peer.role))

    def _restart(self, peer: Peer, change: Change, update: Alive, now_s: float) -> None:
        before = peer.node
        self._end_suspicion(peer)
        peer.address, peer.role, peer.rtt_ms = update.address, update.role, None
        if change.before is not _UNCONFIRMED:
            peer.met_s = now_s
            self._outbox.effects.append(MemberRestarted(update.node, before))
        self._outbox.drop(before.name)
        self._sync(peer, change)
        self._confirmations.start_confirmation(before.name, update.role, now_s=now_s)

    def _revive(self, peer: Peer, change: Change) -> None:
        """A member says in a later incarnation that it lives."""
        self._end_suspicion(peer)
        self._sync(peer, change)
        if change.before is not None and change.before is not _ALIVE:
            self._outbox.effects.append(MemberRefuted(peer.node, peer.incarnation, change.before))
        self._tell_alive(peer, urgent=True)

    def _tell_alive(self, peer: Peer, *, urgent: bool) -> None:
        # A worker is known to those alone that it sends its heartbeats to.
        if peer.role is not PeerRole.WORKER:
            update = Alive(peer.node, peer.incarnation, peer.address, peer.role)
            self._outbox.broadcast(update, urgent=urgent)

    def _sync(self, peer: Peer, change: Change) -> None:
        if peer.node.epoch != change.epoch:
            peer.node = NodeId(peer.node.name, change.epoch)
            peer.claimed = None
        peer.incarnation = change.incarnation
        if change.after is not None:
            peer.state = change.after
        self._table.settle(peer)

    # Suspicions.

    def _begin_suspicion(self, peer: Peer, change: Change, update: Suspect, now_s: float) -> None:
        self._sync(peer, change)
        self._suspects.begin(peer, update.accuser, now_s)
        peer.verdict = self._outbox.broadcast(update)
        self._outbox.effects.append(MemberSuspected(peer.node, peer.incarnation, update.accuser))

    def _confirm_suspicion(self, peer: Peer, suspicion: Suspicion, update: Suspect) -> None:
        # Of accusers that we do not know ourselves, anybody could make up any number.
        accuser = update.accuser
        is_known = accuser in self._table.live or accuser == self._own.node.name
        if is_known and suspicion.confirm(accuser) and self._config.lifeguard:
            self._outbox.broadcast(update)
            self._suspects.arm(peer, suspicion)

    def _ran_out(self, peer: Peer, now_s: float) -> None:
        if peer.role is PeerRole.WORKER or self._hearing.is_alone(now_s):
            # Alone we tell nobody, later neither: most likely it is we who were cut off.
            self._lose(peer, _DEAD, now_s)
        else:
            self.dead(Dead(peer.node, peer.incarnation, self._own.node.name), now_s)

    def _end_suspicion(self, peer: Peer) -> None:
        peer.suspicion = None
        peer.verdict = None

    # What nobody else hears of: those that push heartbeats, and those that we lose when alone.

    def miss(self, peer: Peer, now_s: float) -> None:
        """Suspect a worker that has been silent too long."""
        self._lose(peer, _SUSPECT, now_s)
        self._suspects.begin(peer, None, now_s)

    def beat(self, peer: Peer, now_s: float) -> None:
        """A suspected worker sends heartbeats again, in the incarnation that we suspect.

        Nobody else has heard of the suspicion, so nothing need be refuted.
        """
        if peer.state is _SUSPECT:
            self._end_suspicion(peer)
            change = self._hear(peer.node, peer.incarnation + 1, _ALIVE, now_s)
            self._sync(peer, change)

    def _lose(self, peer: Peer, state: NodeLifecycleState, now_s: float) -> None:
        name = self._own.node.name
        change = self._table.tracker.set_state(peer.node.name, state, now_s=now_s)
        self._sync(peer, change)
        if state is _SUSPECT:
            self._outbox.effects.append(MemberSuspected(peer.node, peer.incarnation, name))
        else:
            self._end_suspicion(peer)
            self._outbox.drop(peer.node.name)
            dead = Dead(peer.node, peer.incarnation, name)
            peer.verdict = encode_update(dead)
            self._outbox.effects.append(MemberDied(peer.node, peer.incarnation, name))
            self._reap_later(now_s)

    # Those that are gone.

    def remove(self, name: str, now_s: float) -> None:
        """Forget a peer that was never confirmed, or that has been dead long enough."""
        peer = self._table.get(name)
        if peer is None:
            return
        self._table.tracker.remove_node(name, now_s=now_s)
        self._table.remove(name)
        self._confirmations.cancel_confirmation(name)
        self._outbox.drop(name)
        self._outbox.effects.append(MemberRemoved(peer.node, peer.role, peer.state))

    def _reap_later(self, now_s: float) -> None:
        if not self._reaps:
            self._reaps = True
            self._timers.at(now_s + REAP_EVERY_S, self._reap)

    def _reap(self, _number: int, now_s: float) -> None:
        tracker = self._table.tracker
        gone = [name for state in _OVER for name in tracker.get_nodes_by_state(state)]
        for name in gone:
            standing = tracker.get(name)
            if standing is not None and now_s - standing.since_s >= self._config.reclaim_s:
                self.remove(name, now_s)
        tracker.prune(now_s=now_s)
        self._reaps = False
        if gone:
            self._reap_later(now_s)


def _is_old(peer: Peer, update: Update) -> bool:
    """Say at a glance, for most of what comes, that it is not news; the tracker says the rest."""
    if peer.node.epoch != update.node.epoch:
        return False
    if update.incarnation != peer.incarnation:
        return update.incarnation < peer.incarnation
    return peer.state in _OVER
