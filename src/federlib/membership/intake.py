"""What came: who speaks, whether that is believed, and who deals with it.

Source: seed §12.2.6-12.2.9, §12.3.2; research membership-routing §1.4, §8.
"""

from __future__ import annotations

from federlib.membership.confirmation import Evidence
from federlib.membership.judge import Judge
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import (
    Ack,
    Alive,
    ConfirmationPing,
    Digest,
    Heartbeat,
    IndirectAck,
    Message,
    Nack,
    Packet,
    Ping,
    PingReq,
    State,
)
from federlib.membership.names import Names
from federlib.membership.node import NodeId
from federlib.membership.probing import Prober, Relays
from federlib.membership.pushing import Watching
from federlib.membership.pushpull import PushPull
from federlib.membership.roles import PeerRole
from federlib.membership.shared import Shared
from federlib.membership.table import Peer

__all__ = ["Intake"]

_UNCONFIRMED = NodeLifecycleState.UNCONFIRMED
_LIVE = frozenset({NodeLifecycleState.ALIVE, NodeLifecycleState.SUSPECT})


class Intake:
    """Takes in one packet after the other."""

    def __init__(
        self,
        shared: Shared,
        names: Names,
        judge: Judge,
        prober: Prober,
        relays: Relays,
        push_pull: PushPull,
        watching: Watching,
    ) -> None:
        self._own = shared.own
        self._config = shared.config
        self._table = shared.table
        self._outbox = shared.outbox
        self._names = names
        self._judge = judge
        self._prober = prober
        self._relays = relays
        self._push_pull = push_pull
        self._watching = watching

    def take(
        self,
        packet: Packet,
        address: str,
        role: PeerRole | None,
        now_s: float,
        *,
        reliable: bool,
        is_timed: bool,
    ) -> None:
        """Take in a packet that was decoded; the arguments are those of `SwimCore.handle`."""
        message = packet.message
        node, incarnation, claim = _who(message)
        if node.name == self._own.node.name:
            # Our own words come back, or somebody else has our name.
            if role is not None:
                self._names.meet(node, incarnation, claim)
            self._outbox.refuse("own")
            return
        known = self._table.get(node.name)
        if not _fits_role(known, claim, role):
            self._outbox.refuse("role")
            return
        said = claim.role if claim is not None else PeerRole.UNKNOWN
        speaker = Peer(
            node,
            claim.address if claim is not None else address,
            said if role is None or role is PeerRole.UNKNOWN else role,
            incarnation,
            _UNCONFIRMED,
            now_s,
            now_s,
        )
        peer = self._believe(
            message, speaker, known, claim, is_proven=role is not None, reliable=reliable
        )
        if peer is not None:
            if claim is not None and role is not None:
                self._names.compare(peer, claim, now_s)
            self._take_updates(packet, now_s)
            self._take_message(message, peer, now_s, reliable=reliable, is_timed=is_timed)

    def _believe(
        self,
        message: Message,
        speaker: Peer,
        known: Peer | None,
        claim: Alive | None,
        *,
        is_proven: bool,
        reliable: bool,
    ) -> Peer | None:
        """Return who speaks, as far as that is believed; None where nothing more is to be done."""
        now_s = speaker.heard_s
        is_answer = type(message) is Ack and self._prober.is_asked(message.seq, speaker.node.name)
        is_met = known is not None and known.state is not _UNCONFIRMED
        # A source address is easily forged: without a key only an answer proves anything.
        if not (is_proven or is_answer or is_met):
            self._hear_stranger(message, speaker, claim, now_s)
            return None
        is_beat = type(message) is Heartbeat
        is_roleless = speaker.role is PeerRole.UNKNOWN
        is_nameless = known is None and claim is None and (reliable or is_roleless)
        if is_nameless or (not is_beat and _must_beat(known, speaker)):
            # A stream's port is nobody's address, and who does not say what it is may be a worker.
            return speaker
        if known is not None and claim is None and reliable:
            speaker.address = known.address
        evidence = Evidence.ACK if is_answer else Evidence.MESSAGE
        return self._judge.meet(
            speaker.node,
            speaker.incarnation,
            speaker.address,
            speaker.role,
            Evidence.HEARTBEAT if is_beat else evidence,
            now_s,
        )

    def _hear_stranger(
        self, message: Message, speaker: Peer, claim: Alive | None, now_s: float
    ) -> None:
        """Somebody says to be a peer that we have not met: that is hearsay, and is asked about."""
        if claim is not None:
            self._judge.alive(claim, now_s)
        if isinstance(message, Ping | ConfirmationPing):
            self._answer(message, speaker, reliable=False)
        else:
            self._outbox.refuse("stranger")

    def _take_updates(self, packet: Packet, now_s: float) -> None:
        new = 0
        for update in packet.updates:
            if (
                new >= self._config.max_new_a_packet
                and type(update) is Alive
                and self._table.get(update.node.name) is None
            ):
                self._outbox.refuse("budget")
                continue
            new += self._judge.take(update, now_s)

    def _take_message(
        self, message: Message, peer: Peer, now_s: float, *, reliable: bool, is_timed: bool
    ) -> None:
        match message:
            case Ping() | ConfirmationPing() | Heartbeat():
                self._answer(message, peer, reliable=reliable)
                if type(message) is Heartbeat:
                    self._watching.on_heartbeat(peer, now_s)
            case Ack():
                if not self._relays.on_ack(message):
                    self._prober.on_ack(message, peer, now_s, is_timed=is_timed)
            case IndirectAck():
                if self._prober.on_indirect_ack(message):
                    self._meet_indirectly(message, now_s)
            case Nack():
                self._prober.on_nack(message)
            case PingReq():
                self._relays.on_request(message, peer, now_s)
            case Digest():
                self._push_pull.on_digest(message, peer)
            case State():
                self._push_pull.on_state(message, peer, now_s)
            case _:
                pass  # gossip has said all by its updates

    def _meet_indirectly(self, ack: IndirectAck, now_s: float) -> None:
        peer = self._table.get(ack.target.name)
        if peer is not None:
            self._judge.meet(
                ack.target,
                ack.target_incarnation,
                peer.address,
                peer.role,
                Evidence.INDIRECT_ACK,
                now_s,
            )

    def _answer(
        self, message: Ping | ConfirmationPing | Heartbeat, peer: Peer, *, reliable: bool
    ) -> None:
        if not isinstance(message, Heartbeat) and message.target != self._own.node.name:
            self._outbox.refuse("stranger")
            return
        own = self._own
        ack = Ack(message.seq, own.node, own.incarnation, own.coordinate(), peer.rtt_ms)
        self._outbox.post(peer, ack, reliable=reliable)


def _who(message: Message) -> tuple[NodeId, int, Alive | None]:
    if isinstance(message, ConfirmationPing | Heartbeat | Digest | State):
        return message.me.node, message.me.incarnation, message.me
    return message.sender, message.incarnation, None


def _fits_role(known: Peer | None, claim: Alive | None, role: PeerRole | None) -> bool:
    """Say whether the key that was used may speak for this peer."""
    if role is None or role is PeerRole.UNKNOWN:
        return True
    if claim is not None and claim.role is not role:
        return False
    # What others say of a peer's role is no reason to refuse the peer itself.
    is_proven = known is not None and known.state is not _UNCONFIRMED
    return not is_proven or known is None or known.role in {role, PeerRole.UNKNOWN}


def _must_beat(known: Peer | None, speaker: Peer) -> bool:
    """Say whether this is a worker that only a heartbeat makes alive, so that it is watched."""
    if known is None:
        return speaker.role is PeerRole.WORKER
    if PeerRole.WORKER not in {known.role, speaker.role}:
        return False
    return known.state not in _LIVE or known.node != speaker.node
