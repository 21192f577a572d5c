"""The suspicions that run: when each ends, and the last question before that.

Source: Lifeguard (arXiv 1707.00788), local health aware suspicion and buddy system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from federlib.membership.roles import PeerRole
from federlib.membership.shared import Shared
from federlib.membership.standing import NodeLifecycleState
from federlib.membership.suspicion import Suspicion, needed_confirmations
from federlib.membership.table import Peer
from federlib.membership.timeouts import AdaptiveTimeouts

__all__ = ["Suspects"]

REMIND_INTERVALS = 2.5
"""So long before its suspicion runs out a suspect is asked once more, and told of it."""

REMINDERS = 64
"""So many members do that, of a larger group by chance: the suspect is to answer, not to drown."""

_Call = Callable[[Peer, float], None]


class Suspects:
    """Timers of suspicions; what a suspicion is, its peer holds."""

    def __init__(self, shared: Shared, timeouts: AdaptiveTimeouts) -> None:
        self._config = shared.config
        self._table = shared.table
        self._timers = shared.timers
        self._timeouts = timeouts
        self._rng = shared.rng
        self._end: _Call = _nothing
        self._remind: _Call = _nothing
        self._running: dict[int, Peer] = {}
        self._made = 0

    def on_end(self, call: _Call) -> None:
        """Have this called when a suspicion has run out."""
        self._end = call

    def on_remind(self, call: _Call) -> None:
        """Have this called when a suspect is to be asked for the last time."""
        self._remind = call

    def begin(self, peer: Peer, accuser: str | None, now_s: float) -> None:
        """Begin to suspect a peer, afresh if it was suspected before.

        Args:
            peer: Whom.
            accuser: Who says so; None where nobody else will hear of it, and so nobody can
                confirm it.
            now_s: Now.
        """
        config, members = self._config, self._table.count
        bounds = self._timeouts.suspicion_bounds(
            peer.node.name, peer.role, members=members, interval_s=config.interval_s
        )
        needed = 0 if accuser is None else self._needed
        suspicion = Suspicion(now_s, bounds.shortest_s, bounds.longest_s, needed)
        if accuser is not None:
            suspicion.confirm(accuser)
        peer.suspicion = suspicion
        self.arm(peer, suspicion)

    def arm(self, peer: Peer, suspicion: Suspicion) -> None:
        """Set the timers of a suspicion, again whenever its deadline has moved."""
        self._made += 1
        self._running[self._made] = peer
        self._timers.at(suspicion.deadline_s, self._ran_out, self._made)
        if self._config.lifeguard and peer.role is not PeerRole.WORKER:
            self._timers.at(suspicion.deadline_s - self._early_s, self._look, self._made)

    def forgive(self, away_s: float) -> None:
        """Give every suspect as much more time as we could not hear anybody; seconds."""
        for peer in self._suspected():
            if peer.suspicion is not None:
                peer.suspicion.started_s += away_s
                self.arm(peer, peer.suspicion)

    def hurry(self, now_s: float) -> None:
        """Have no suspicion wait for others any more; each ends in its shortest time from now."""
        for peer in self._suspected():
            suspicion = peer.suspicion
            if suspicion is None or now_s + suspicion.shortest_s >= suspicion.deadline_s:
                continue
            suspicion.started_s, suspicion.needed = now_s, 0
            self.arm(peer, suspicion)

    def resume(self, now_s: float) -> None:
        """Begin every suspicion anew: we were alone, and nobody could refute or confirm it."""
        for peer in self._suspected():
            suspicion = peer.suspicion
            if suspicion is not None and peer.role is not PeerRole.WORKER:
                suspicion.started_s, suspicion.needed = now_s, self._needed
                suspicion.is_reminded = False
                self.arm(peer, suspicion)

    @property
    def _needed(self) -> int:
        config = self._config
        wanted = config.confirmations if config.lifeguard else 0
        return needed_confirmations(wanted, self._table.count)

    def _suspected(self) -> Iterator[Peer]:
        for name in self._table.tracker.get_nodes_by_state(NodeLifecycleState.SUSPECT):
            peer = self._table.get(name)
            if peer is not None:
                yield peer

    @property
    def _early_s(self) -> float:
        return REMIND_INTERVALS * self._config.interval_s

    def _look(self, number: int, now_s: float) -> None:
        """Give a suspect its last chance, directly: the gossip of its refutation may have passed
        us by.

        It hears of the suspicion with the question, and its answer carries its incarnation.
        """
        peer = self._running.get(number)
        suspicion = None if peer is None else peer.suspicion
        if peer is None or suspicion is None or suspicion.is_reminded:
            return
        if suspicion.deadline_s - self._early_s > now_s:
            return
        suspicion.is_reminded = True
        if self._rng.random() * self._table.count < REMINDERS:
            self._remind(peer, now_s)

    def _ran_out(self, number: int, now_s: float) -> None:
        peer = self._running.pop(number)
        suspicion = peer.suspicion
        # Not of a suspicion that has ended, or that has been given more time since.
        if suspicion is not None and suspicion.deadline_s <= now_s:
            self._end(peer, now_s)


def _nothing(_peer: Peer, _now_s: float) -> None:
    pass
