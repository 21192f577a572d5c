"""Workers push heartbeats to a few members, and these watch them; nobody probes a worker.

A worker keeps to the members that it has chosen while they live, so that none of them waits
for a heartbeat that goes elsewhere. Which they are is drawn by rendezvous hashing: workers
spread over the members, and each finds the same ones again.

Source: seed §12.4.4 (workers passive); research membership-routing §1.4.
"""

from __future__ import annotations

from hashlib import blake2b

from federlib.membership.heartbeats import PhiAccrual
from federlib.membership.judge import Judge
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import Gossip, Heartbeat, Leave, encode_update
from federlib.membership.probing import Prober
from federlib.membership.roles import PeerRole
from federlib.membership.shared import Shared
from federlib.membership.table import Peer

__all__ = ["Pushing", "Watching", "choose_watchers"]


def choose_watchers(worker: str, members: list[str], many: int) -> list[str]:
    """Return the members that a worker pushes to, best first; the same for the same members."""

    def weight(name: str) -> bytes:
        return blake2b(f"{worker}\0{name}".encode(errors="replace"), digest_size=8).digest()

    return sorted(members, key=weight)[:many]


class Pushing:
    """A worker's side."""

    def __init__(self, shared: Shared, prober: Prober) -> None:
        self._own = shared.own
        self._config = shared.config
        self._table = shared.table
        self._outbox = shared.outbox
        self._timers = shared.timers
        self._prober = prober
        self._rng = shared.rng
        self._watchers: list[str] = []

    def start(self, now_s: float) -> None:
        """Begin when a worker that joins has heard of more members than of those it asked."""
        first_s = self._config.interval_s * (2 + self._rng.random())
        self._timers.at(now_s + first_s, self._push)

    def farewell(self) -> None:
        """Tell every watcher that we leave; nobody else knows us."""
        leave = encode_update(Leave(self._own.node, self._own.incarnation))
        for name in self._watchers:
            peer = self._table.get(name)
            if peer is not None:
                word = Gossip(self._own.node, self._own.incarnation)
                self._outbox.send(peer.address, word, first=(leave,), reliable=True)

    def _push(self, _number: int, now_s: float) -> None:
        live = self._table.live
        kept = [name for name in self._watchers if name in live]
        missing = self._config.heartbeat_nodes - len(kept)
        if missing > 0:
            others = [name for name in live if name not in kept]
            kept += choose_watchers(self._own.node.name, others, missing)
        self._watchers = kept
        for name in kept:
            peer = self._table.get(name)
            if peer is not None and not self._own.is_leaving:
                seq = self._prober.ask(peer, now_s)
                beat = Heartbeat(seq, self._own.alive(), self._own.coordinate())
                self._outbox.post(peer, beat)
        self._timers.at(now_s + self._config.interval_s, self._push)


class Watching:
    """A watcher's side."""

    def __init__(self, shared: Shared, judge: Judge) -> None:
        self._config = shared.config
        self._table = shared.table
        self._timers = shared.timers
        self._judge = judge
        self._watched: dict[int, Peer] = {}
        self._made = 0

    def on_heartbeat(self, peer: Peer, now_s: float) -> None:
        """Take in a heartbeat of a peer that has just been met."""
        if peer.role is not PeerRole.WORKER:
            return
        if peer.pulse is None:
            peer.pulse = PhiAccrual(self._config.interval_s, now_s)
            self._made += 1
            self._watched[self._made] = peer
            self._wait(self._made, peer.pulse, now_s)
        else:
            peer.pulse.beat(now_s)
        self._judge.beat(peer, now_s)

    def forgive(self, away_s: float) -> None:
        """Leave out a time in which nobody could be heard; seconds."""
        for peer in self._watched.values():
            if peer.pulse is not None:
                peer.pulse.forgive(away_s)

    def _wait(self, number: int, pulse: PhiAccrual, now_s: float) -> None:
        due_s = pulse.due_s(self._config.heartbeat_phi)
        self._timers.at(max(due_s, now_s + 0.01), self._look, number)

    def _look(self, number: int, now_s: float) -> None:
        peer = self._watched[number]
        is_here = self._table.get(peer.node.name) is peer
        if not is_here or peer.pulse is None or peer.state in _OVER:
            peer.pulse = None
            del self._watched[number]
            return
        if (
            peer.state is NodeLifecycleState.ALIVE
            and peer.pulse.phi(now_s) >= self._config.heartbeat_phi
        ):
            self._judge.miss(peer, now_s)
        self._wait(number, peer.pulse, now_s + self._config.interval_s / 4)


_OVER = frozenset({NodeLifecycleState.DEAD, NodeLifecycleState.LEFT})
