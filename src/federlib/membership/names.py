"""What is said of ourselves, and names that two processes have.

Source: SWIM §4.2 and Lifeguard for the refutation. Of a name that two have, Serf's members vote,
and the one in the minority ends; memberlist asks its host. So do we: no vote can tell which of
the two was meant.
"""

from __future__ import annotations

from federlib.membership.awareness import Awareness
from federlib.membership.effects import HealthChanged, NameConflict, SelfRefuted
from federlib.membership.messages import Alive, Update
from federlib.membership.node import NodeId
from federlib.membership.shared import Shared
from federlib.membership.table import Peer

__all__ = ["MOST_LEAP", "Names"]

MOST_LEAP = 1_000_000
"""By how much an incarnation may rise at once. A refutation raises it by one; who could raise it
to its end with one word would have a death that nobody can refute."""

AGAIN_S = 60.0
"""How often it is told that two others have one name; a worker says where it is every second."""


class Names:
    """Refutes what is said of us, and tells where a name is taken."""

    def __init__(self, shared: Shared, awareness: Awareness) -> None:
        self._own = shared.own
        self._config = shared.config
        self._outbox = shared.outbox
        self._awareness = awareness

    def meet(self, node: NodeId, incarnation: int, claim: Alive | None) -> None:
        """Take in that somebody spoke under our name: we ourselves, or another process.

        Args:
            node: As it says.
            incarnation: As it says.
            claim: What it says of itself; None in a packet without it.
        """
        own = self._own
        if claim is not None and node == own.node and claim.address != own.address:
            # By the address alone two runs of one epoch can be told apart.
            self._outbox.effects.append(NameConflict(node, (own.address, claim.address)))
        self.hear(Alive(node, incarnation, own.address, own.role))

    def compare(self, peer: Peer, claim: Alive, now_s: float) -> None:
        """Take in where a peer says that it is; a run says so of one address only.

        Only its own word is compared, as others may know it by another address, behind a NAT.
        Whom we hold it to be does not change: packets for one would go to the other.
        """
        if peer.node != claim.node or claim.address == peer.claimed:
            return
        if peer.claimed is None:
            peer.claimed = claim.address
        elif now_s >= peer.rival_s:
            peer.rival_s = now_s + AGAIN_S
            conflict = NameConflict(claim.node, (peer.claimed, claim.address))
            self._outbox.effects.append(conflict)

    def hear(self, update: Update) -> None:
        """Take in what is said of us."""
        own = self._own
        if update.node.epoch != own.node.epoch:
            # Of an earlier run of ours it may say what it likes.
            if update.node.epoch > own.node.epoch:
                self._outbox.refuse("own")
                self._outbox.effects.append(NameConflict(update.node))
            return
        if update.incarnation > own.incarnation + MOST_LEAP:
            # Nobody believes that, so nobody need be told otherwise.
            self._outbox.refuse("leap")
        elif type(update) is Alive:
            if update.incarnation > own.incarnation:
                # A tale of ours that we have not told: go beyond it, or nobody hears us again.
                self._refute(update.incarnation)
        elif update.incarnation >= own.incarnation and not own.is_leaving:
            self._refute(update.incarnation)

    def _refute(self, incarnation: int) -> None:
        own = self._own
        own.incarnation = incarnation + 1
        self._outbox.broadcast(own.alive(), urgent=True)
        self._outbox.effects.append(SelfRefuted(own.incarnation))
        if self._config.lifeguard:
            self._awareness.add(1)
            self._outbox.effects.append(HealthChanged(self._awareness.score, "refute"))
