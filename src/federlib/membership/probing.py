"""Probes: one member after the other is pinged, directly and through others.

Source: SWIM §4.1 and §4.3; Lifeguard, local health aware probe; research
membership-routing §1.3. What we add is the witness: see `Prober._is_witnessed`.
"""

from __future__ import annotations

import attrs

from federlib.membership.awareness import Awareness
from federlib.membership.effects import HealthChanged, PeerMeasured
from federlib.membership.judge import Judge
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import (
    MAX_RTT_MS,
    MAX_WAIT_MS,
    Ack,
    IndirectAck,
    Nack,
    Ping,
    PingReq,
)
from federlib.membership.node import NodeId
from federlib.membership.shared import Shared
from federlib.membership.table import Peer, RandomSource
from federlib.membership.timeouts import AdaptiveTimeouts

__all__ = ["Prober", "Relays", "Sequences"]

NACK_SHARE = 0.6
"""Of the time that is left to the prober: the rest is for the way there and back."""

MAX_PENDING = 256
"""Pings whose late answers still tell a round trip."""


class Sequences:
    """Numbers of questions; drawn by chance, so that no answer can be guessed."""

    __slots__ = ("_rng",)

    def __init__(self, rng: RandomSource) -> None:
        self._rng = rng

    def next(self) -> int:
        """Draw one."""
        return self._rng.randrange(2**32)


@attrs.define
class _Probe:
    peer: Peer
    node: NodeId
    seq: int
    started_s: float
    deadline_s: float
    relays: set[str] = attrs.field(factory=set)
    nacked: set[str] = attrs.field(factory=set)
    is_answered: bool = False


@attrs.frozen
class _Sent:
    name: str
    sent_s: float
    is_timed: bool


class Prober:
    """Probes one member at a time.

    Every deadline moves with our own health: a node that hears late waits longer before it
    asks others, and longer before it accuses. A node that hears nothing at all is not late.
    """

    def __init__(
        self,
        shared: Shared,
        judge: Judge,
        awareness: Awareness,
        timeouts: AdaptiveTimeouts,
        sequences: Sequences,
    ) -> None:
        self._own = shared.own
        self._config = shared.config
        self._table = shared.table
        self._outbox = shared.outbox
        self._timers = shared.timers
        self._judge = judge
        self._awareness = awareness
        self._hearing = shared.hearing
        self._timeouts = timeouts
        self._sequences = sequences
        self._rng = shared.rng
        self._probe: _Probe | None = None
        self._round = 0
        self._sent: dict[int, _Sent] = {}

    def start(self, now_s: float) -> None:
        """Begin to probe, at any instant of the first interval: not all members at once."""
        self._timers.at(now_s + self._config.interval_s * self._rng.random(), self._next, 0)

    def forgive(self, away_s: float) -> None:
        """Wait longer for the pending answer, by a time in which nothing could be heard."""
        if self._probe is not None:
            self._probe.deadline_s += away_s

    def ask(self, peer: Peer, now_s: float) -> int:
        """Note that a peer is asked something now; return the number of the question."""
        return self._note(peer.node.name, now_s, is_timed=True)

    def remind(self, peer: Peer, now_s: float) -> None:
        """Ask a suspect outside its turn."""
        own, name = self._own, peer.node.name
        seq = self._note(name, now_s, is_timed=True)
        self._outbox.post(peer, Ping(seq, name, own.node, own.incarnation, own.coordinate()))

    def on_ack(self, ack: Ack, peer: Peer, now_s: float, *, is_timed: bool) -> None:
        """Take in an answer to us, and measure the round trip if it may be."""
        sent = self._sent.get(ack.seq)
        if sent is None or sent.name != peer.node.name:
            self._outbox.refuse("unasked")
            return
        del self._sent[ack.seq]
        if sent.is_timed and is_timed:
            rtt_ms = (now_s - sent.sent_s) * 1_000
            if 0 <= rtt_ms <= MAX_RTT_MS:
                peer.rtt_ms = rtt_ms
                self._outbox.effects.append(
                    PeerMeasured(peer.node.name, rtt_ms, ack.vivaldi_coord, ack.rtt_ms)
                )
        self._answered(peer.node)

    def is_asked(self, seq: int, name: str) -> bool:
        """Whether a question of this number to this peer is pending."""
        sent = self._sent.get(seq)
        return sent is not None and sent.name == name

    def on_indirect_ack(self, ack: IndirectAck) -> bool:
        """Take in that a relay heard the target; return whether we had asked it to."""
        probe = self._probe
        if probe is None or ack.seq != probe.seq or ack.sender.name not in probe.relays:
            self._outbox.refuse("unasked")
            return False
        self._answered(ack.target)
        return True

    def on_nack(self, nack: Nack) -> None:
        """Take in that a relay is well and heard nothing."""
        probe = self._probe
        if probe is None or nack.seq != probe.seq or nack.sender.name not in probe.relays:
            self._outbox.refuse("unasked")
            return
        probe.nacked.add(nack.sender.name)

    def _answered(self, node: NodeId) -> None:
        probe = self._probe
        if probe is not None and probe.node == node and not probe.is_answered:
            probe.is_answered = True
            self._health(-1)

    def _note(self, name: str, now_s: float, *, is_timed: bool) -> int:
        if len(self._sent) >= MAX_PENDING:
            del self._sent[next(iter(self._sent))]
        seq = self._sequences.next()
        self._sent[seq] = _Sent(name, now_s, is_timed)
        return seq

    def _next(self, number: int, now_s: float) -> None:
        probe = self._probe
        if probe is not None:
            if probe.deadline_s > now_s:
                self._timers.at(probe.deadline_s, self._next, number)
                return
            if not probe.is_answered:
                self._fail(probe, now_s)
            self._probe = None
        self._round = number + 1
        is_alone = self._hearing.is_alone(now_s)
        waits_s = self._config.interval_s * (1 if is_alone else self._awareness.multiplier)
        target = None if self._own.is_leaving else self._table.next_target()
        if target is not None:
            self._ping(target, now_s, now_s + waits_s)
        self._timers.at(now_s + waits_s, self._next, self._round)

    def _ping(self, peer: Peer, now_s: float, deadline_s: float) -> None:
        name = peer.node.name
        timeout_s = self._timeouts.probe_timeout_s(
            name, peer.role, interval_s=self._config.interval_s
        )
        # Alone we ask others, and by a stream, before the probe is over, whatever our health.
        timeout_s = min(timeout_s, self._config.timeouts.probe_ceiling * (deadline_s - now_s))
        seq = self._note(name, now_s, is_timed=True)
        self._probe = _Probe(peer, peer.node, seq, now_s, deadline_s)
        own = self._own
        ping = Ping(seq, name, own.node, own.incarnation, own.coordinate())
        self._outbox.post(peer, ping)
        self._timers.at(now_s + timeout_s, self._ask_others, self._round)

    def _ask_others(self, number: int, now_s: float) -> None:
        probe = self._probe
        if probe is None or number != self._round or probe.is_answered:
            return
        name, own = probe.node.name, self._own
        left_ms = int((probe.deadline_s - now_s) * 1_000 * NACK_SHARE)
        for relay in self._table.live.draw(self._config.relays, self._rng, but=name):
            peer = self._table.get(relay)
            if peer is not None:
                probe.relays.add(relay)
                wait_ms = max(0, min(left_ms, MAX_WAIT_MS))
                request = PingReq(probe.seq, own.node, own.incarnation, probe.node, wait_ms)
                self._outbox.post(peer, request)
        if self._config.stream_fallback:
            seq = self._note(name, now_s, is_timed=False)
            ping = Ping(seq, name, own.node, own.incarnation, own.coordinate())
            self._outbox.post(probe.peer, ping, reliable=True)

    def _fail(self, probe: _Probe, now_s: float) -> None:
        asked, nacks = len(probe.relays), len(probe.nacked)
        is_witnessed = self._is_witnessed(nacks, asked, now_s)
        # First: our own doubt makes our own suspicion longer.
        self._health(asked - nacks if asked else 1)
        peer = probe.peer
        if peer.node == probe.node and peer.state in _MAY_BE_ACCUSED and is_witnessed:
            self._judge.accuse(peer, now_s)

    def _is_witnessed(self, nacks: int, asked: int, now_s: float) -> bool:
        """Say whether a failed probe is the target's failure rather than ours.

        A relay's nack proves that we hear others in time. Without any, most likely we do not:
        accusing everybody we probe is what a starved node does in SWIM. It first waits longer,
        up to its worst health, and only then accuses without a witness. Who hears nothing at
        all is not starved but alone, as the last of its side of a partition, and accuses.
        """
        if not (self._config.lifeguard and self._config.witness) or not asked:
            return True
        return nacks > 0 or self._hearing.is_alone(now_s) or self._awareness.is_worst

    def _health(self, delta: int) -> None:
        if not self._config.lifeguard:
            return
        before = self._awareness.score
        self._awareness.add(delta)
        if self._awareness.score != before:
            self._outbox.effects.append(
                HealthChanged(self._awareness.score, "answer" if delta < 0 else "probe")
            )


_MAY_BE_ACCUSED = frozenset({NodeLifecycleState.ALIVE, NodeLifecycleState.SUSPECT})


@attrs.frozen
class _Errand:
    origin: str
    seq: int
    target: NodeId


class Relays:
    """Pings that others have asked us for; bounded, and only to peers that we know ourselves."""

    def __init__(self, shared: Shared, sequences: Sequences) -> None:
        self._own = shared.own
        self._config = shared.config
        self._table = shared.table
        self._outbox = shared.outbox
        self._timers = shared.timers
        self._sequences = sequences
        self._errands: dict[int, _Errand] = {}

    def on_request(self, request: PingReq, origin: Peer, now_s: float) -> None:
        """Ping the target; a nack is owed if it does not answer in time."""
        target = self._table.get(request.target.name)
        if (
            target is None
            or target.node != request.target
            or target.node.name not in self._table.live
            or len(self._errands) >= self._config.max_relayed
        ):
            # Better said at once than not at all: we are well, and know nothing of the target.
            self._nack(origin, request.seq)
            return
        seq = self._sequences.next()
        name = origin.node.name
        self._errands[seq] = _Errand(name, request.seq, request.target)
        own = self._own
        ping = Ping(seq, target.node.name, own.node, own.incarnation, own.coordinate())
        self._outbox.post(target, ping)
        # Nobody's probe is longer, whatever it says; else a few requests would fill the room.
        longest_s = self._config.interval_s * (self._config.awareness_most + 1)
        wait_s = min(request.wait_ms / 1_000, longest_s)
        self._timers.at(now_s + wait_s, self._owe, seq)
        # A late ack is still worth more to the prober than the nack before it.
        self._timers.at(now_s + 2 * wait_s, self._forget, seq)

    def on_ack(self, ack: Ack) -> bool:
        """Pass an answer on; return whether it was to a ping for somebody else."""
        errand = self._errands.get(ack.seq)
        if errand is None or errand.target != ack.sender:
            return False
        del self._errands[ack.seq]
        origin = self._table.get(errand.origin)
        if origin is not None:
            own = self._own
            passed = IndirectAck(errand.seq, own.node, own.incarnation, ack.sender, ack.incarnation)
            self._outbox.post(origin, passed)
        return True

    def _owe(self, seq: int, _now_s: float) -> None:
        errand = self._errands.get(seq)
        origin = None if errand is None else self._table.get(errand.origin)
        if errand is not None and origin is not None:
            self._nack(origin, errand.seq)

    def _forget(self, seq: int, _now_s: float) -> None:
        self._errands.pop(seq, None)

    def _nack(self, origin: Peer, seq: int) -> None:
        if self._config.lifeguard:
            self._outbox.post(origin, Nack(seq, self._own.node, self._own.incarnation))
