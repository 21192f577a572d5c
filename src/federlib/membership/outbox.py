"""What one member is about to send, and what rides on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from federlib.membership.config import SwimConfig
from federlib.membership.dissemination import Broadcasts, retransmit_limit
from federlib.membership.effects import Effect, Send
from federlib.membership.messages import (
    MAX_UPDATES,
    PACKET_FRAME_BYTES,
    Alive,
    Message,
    Reason,
    Update,
    encode_message,
    encode_update,
    pack,
)
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole
from federlib.membership.table import MemberTable, Peer

__all__ = ["Outbox", "Own"]


@attrs.define
class Own:
    """What this member says of itself.

    Attributes:
        node: Who, and which run.
        address: Where it listens; ``host:port``.
        role: What it is.
        coordinate: Asked for its coordinate, encoded; None where it has none.
        incarnation: How often it has had to refute.
        is_leaving: Whether it has said goodbye.
    """

    node: NodeId
    address: str
    role: PeerRole
    coordinate: Callable[[], bytes | None]
    incarnation: int = 0
    is_leaving: bool = False

    def alive(self) -> Alive:
        """Return what is told of ourselves."""
        return Alive(self.node, self.incarnation, self.address, self.role)


class Outbox:
    """Collects effects; the core hands them out.

    Attributes:
        effects: Since they were last taken, in order.
        refused: How often something that came was refused, by reason.
    """

    def __init__(self, own: Own, table: MemberTable, config: SwimConfig) -> None:
        self._own = own
        self._table = table
        self._config = config
        self._broadcasts = Broadcasts(urgent_first=config.lifeguard)
        self._wants_gossip: Callable[[], None] = _nothing
        self.effects: list[Effect] = []
        self.refused: Counter[str] = Counter()

    def on_broadcast(self, call: Callable[[], None]) -> None:
        """Have this called whenever there is something to tell."""
        self._wants_gossip = call

    @property
    def waiting(self) -> int:
        """Updates that are still to be told."""
        return len(self._broadcasts)

    def refuse(self, reason: Reason) -> None:
        """Count something that came and was not taken in."""
        self.refused[reason] += 1

    def broadcast(self, update: Update, *, urgent: bool = False) -> bytes:
        """Tell this to everybody by and by, and nothing older of its subject."""
        raw = encode_update(update)
        self._broadcasts.put(update.node.name, raw, urgent=urgent)
        self._wants_gossip()
        return raw

    def is_telling(self, name: str) -> bool:
        """Whether there is still something to tell of a member."""
        return name in self._broadcasts

    def drop(self, name: str) -> None:
        """Tell nothing of a member any more."""
        self._broadcasts.drop(name)

    def post(self, peer: Peer, message: Message, *, reliable: bool = False) -> None:
        """Send a message to a peer, and with it what it should know first.

        A suspect hears of the suspicion with everything that we send it, so that it can refute
        (Lifeguard's buddy system); likewise one that we hold to be dead.
        """
        first: tuple[bytes, ...] = ()
        if peer.verdict is not None and self._config.lifeguard:
            first = (peer.verdict,)
        self.send(peer.address, message, first=first, reliable=reliable)

    def send(
        self,
        address: str,
        message: Message,
        *,
        first: Sequence[bytes] = (),
        reliable: bool = False,
    ) -> None:
        """Send a message with as many updates as there is room for."""
        encoded = encode_message(message)
        room = self._config.room_bytes - len(encoded) - PACKET_FRAME_BYTES
        if room < 0:
            reliable = True
        for update in first:
            room -= len(update)
        updates: Sequence[bytes] = first
        if self._broadcasts:
            limit = retransmit_limit(self._config.retransmit_mult, self._table.count)
            taken = self._broadcasts.take(room, limit=limit, most=MAX_UPDATES - len(first))
            updates = [*first, *taken] if first else taken
        self.effects.append(Send(address, pack(encoded, updates), reliable))


def _nothing() -> None:
    pass
