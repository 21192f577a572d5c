"""One member of a SWIM group with Lifeguard, without sockets, clocks or loop.

    core = SwimCore(NodeId("gate-1", epoch), "10.0.0.7:7946", PeerRole.GATE, rng=rng)
    effects = core.start(now_s) + core.join(["10.0.0.1:7946"], now_s)
    ...                                     # carry them out, in order
    effects = core.handle(payload, address, role, now_s)       # a packet came
    effects = core.tick(now_s)              # the instant of the last `WakeAt` has come

The caller reads every packet that waits before it calls `tick`, or a loop that ran late
accuses healthy members. If it was late all the same, `tick` notices, blames itself and gives
everybody else that much more time.

*Does not promise*: agreement. Two members may hold a third to be different things for as long
as an update travels; who needs one decision for all takes a lease.

*Hazards*: an epoch that does not grow with a restart makes the new run inherit the old one's
death until it has refuted it. A clock that is not monotonic breaks every deadline.

Source: SWIM (Das et al. 2002); Lifeguard (arXiv 1707.00788); seed §12.2, §12.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from federlib.errors import InvalidInput
from federlib.membership.awareness import Awareness, Hearing
from federlib.membership.config import SwimConfig
from federlib.membership.confirmation import (
    AskPeer,
    RemovePeer,
    RoleAwareConfirmationManager,
)
from federlib.membership.effects import Effect, HealthChanged, LeaveTold, WakeAt
from federlib.membership.intake import Intake
from federlib.membership.judge import Judge
from federlib.membership.lifecycle import IncarnationTracker
from federlib.membership.messages import (
    MAX_ADDRESS,
    MAX_STATE_BYTES,
    ConfirmationPing,
    Gossip,
    Leave,
    Refused,
    decode_packet,
)
from federlib.membership.names import Names
from federlib.membership.node import Member, NodeId, check_node
from federlib.membership.outbox import Outbox, Own
from federlib.membership.probing import Prober, Relays, Sequences
from federlib.membership.pushing import Pushing, Watching
from federlib.membership.pushpull import PushPull
from federlib.membership.roles import DEFAULT_STRATEGIES, PeerRole, RoleStrategies
from federlib.membership.shared import Shared
from federlib.membership.suspects import Suspects
from federlib.membership.table import MemberTable, RandomSource
from federlib.membership.timeouts import (
    AdaptiveTimeouts,
    AppliedTimeout,
    Distances,
    Unmeasured,
)
from federlib.membership.timers import Timers

__all__ = ["SwimCore"]

_DEFAULT = SwimConfig()


def _no_coordinate() -> bytes | None:
    return None


class SwimCore:
    """The protocol of one member. Pure: same calls and same `rng`, same effects.

    Not shared between threads. No packet, however broken, makes it raise.

    Args:
        node: Who we are, and which run.
        address: Where we listen; ``host:port``.
        role: What we are.
        rng: Randomness; of a shell, not to be guessed by others.
        config: How the protocol runs.
        distances: How far peers are; by default everybody is next door.
        coordinate: Asked for our own coordinate, encoded, whenever we ping or answer.
        strategies: How peers of each role are confirmed.
        on_timeout: Told of every timeout that was made, for metrics.
    Raises:
        InvalidInput: Node or address cannot be sent.
    """

    def __init__(
        self,
        node: NodeId,
        address: str,
        role: PeerRole,
        *,
        rng: RandomSource,
        config: SwimConfig = _DEFAULT,
        distances: Distances | None = None,
        coordinate: Callable[[], bytes | None] = _no_coordinate,
        strategies: RoleStrategies = DEFAULT_STRATEGIES,
        on_timeout: Callable[[PeerRole, AppliedTimeout], None] | None = None,
    ) -> None:
        if not 1 <= len(address) <= MAX_ADDRESS:
            raise InvalidInput("address", expected=f"1 to {MAX_ADDRESS} characters", found=address)
        self._own = own = Own(check_node(node), address, role, coordinate)
        self._config = config
        self._rng = rng
        self._awareness = awareness = Awareness(config.awareness_most)
        self._hearing = hearing = Hearing(config.interval_s if config.lifeguard else math.inf)
        self._timers = timers = Timers()
        self._table = table = MemberTable(config.limits, rng)
        self._outbox = outbox = Outbox(own, table, config)
        timeouts = AdaptiveTimeouts(
            distances or Unmeasured(),
            lhm=lambda: awareness.score,
            strategies=strategies,
            settings=config.timeouts,
            on_applied=on_timeout,
        )
        self._confirmations = RoleAwareConfirmationManager(
            timeouts,
            jitter=rng.random,
            strategies=strategies,
            max_pending=config.limits.max_unconfirmed,
        )
        shared = Shared(own, config, table, outbox, timers, rng, hearing)
        self._suspects = suspects = Suspects(shared, timeouts)
        names = Names(shared, awareness)
        self._judge = judge = Judge(shared, names, suspects, self._confirmations)
        sequences = Sequences(rng)
        self._prober = prober = Prober(shared, judge, awareness, timeouts, sequences)
        suspects.on_remind(prober.remind)
        self._push_pull = PushPull(shared, judge)
        self._pushing = Pushing(shared, prober)
        self._watching = Watching(shared, judge)
        relays = Relays(shared, sequences)
        self._intake = Intake(shared, names, judge, prober, relays, self._push_pull, self._watching)
        outbox.on_broadcast(self._arm_gossip)
        self._now_s = 0.0
        self._wake_s: float | None = None
        self._gossip_s: float | None = None
        self._is_told = False

    # Queries.

    @property
    def node(self) -> NodeId:
        """Who we are."""
        return self._own.node

    @property
    def incarnation(self) -> int:
        """How often this run has had to refute."""
        return self._own.incarnation

    @property
    def health_score(self) -> int:
        """Our own local health; 0 is well."""
        return self._awareness.score

    @property
    def refused(self) -> Mapping[str, int]:
        """How often something that came was refused, by reason; a live view."""
        return MappingProxyType(self._outbox.refused)

    @property
    def tracker(self) -> IncarnationTracker:
        """What every peer is held to be; to read only."""
        return self._table.tracker

    @property
    def confirmations(self) -> RoleAwareConfirmationManager:
        """The peers that are UNCONFIRMED; to read only."""
        return self._confirmations

    @property
    def next_wake_s(self) -> float | None:
        """When `tick` has something to do; None before `start`."""
        mine, theirs = self._timers.next_s, self._confirmations.next_wake_s()
        if mine is None or (theirs is not None and theirs < mine):
            return theirs
        return mine

    def members(self) -> tuple[Member, ...]:
        """Return all peers that are known, whatever their state; not ourselves."""
        return tuple(map(self._table.member, self._table))

    def member(self, name: str) -> Member | None:
        """Return one peer, or None."""
        peer = self._table.get(name)
        return None if peer is None else self._table.member(peer)

    # What the caller does.

    def start(self, now_s: float) -> tuple[Effect, ...]:
        """Begin to take part."""
        self._now_s = now_s
        self._hearing.hear(now_s)
        if self._own.role is PeerRole.WORKER:
            self._pushing.start(now_s)
        else:
            self._prober.start(now_s)
        self._push_pull.start(now_s)
        return self._effects(is_tick=True)

    def join(self, addresses: Sequence[str], now_s: float) -> tuple[Effect, ...]:
        """Ask these addresses who is there, again and again until somebody is.

        They are asked again whenever nobody is left.
        """
        self._now_s = now_s
        self._push_pull.join(addresses, now_s)
        return self._effects()

    def leave(self, now_s: float) -> tuple[Effect, ...]:
        """Say goodbye; go on with `tick` until `LeaveTold` comes. There is no way back."""
        self._now_s = now_s
        own = self._own
        if not own.is_leaving:
            own.is_leaving = True
            if own.role is PeerRole.WORKER or not len(self._table.live):
                self._pushing.farewell()
                self._end()
            else:
                self._outbox.broadcast(Leave(own.node, own.incarnation), urgent=True)
        return self._effects()

    def tick(self, now_s: float) -> tuple[Effect, ...]:
        """Do all that is due. Call it when every packet that waits has been read."""
        self._now_s = now_s
        due_s = self._timers.next_s
        if due_s is not None and now_s - due_s > self._config.late_s:
            self._was_away(now_s - due_s)
        self._timers.run(now_s)
        self._confirm(now_s)
        return self._effects(is_tick=True)

    def handle(
        self,
        payload: bytes,
        sender_address: str,
        authenticated_role: PeerRole | None,
        now_s: float,
        *,
        reliable: bool = False,
        is_timed: bool = True,
    ) -> tuple[Effect, ...]:
        """Take in one packet.

        Args:
            payload: As the transport opened it.
            sender_address: Where it came from; ``host:port``.
            authenticated_role: What its key proves; UNKNOWN where a key proves membership
                only, None where nothing is proven (plaintext).
            now_s: Now; the caller's monotonic clock.
            reliable: Whether it came by a stream; it is then answered by one.
            is_timed: Whether a round trip that ends with it may be measured: not where its trip
                may hold more, as the exchange that confirmed its sender, or a connection.
        """
        self._now_s = now_s
        most = MAX_STATE_BYTES if reliable else self._config.packet_bytes
        try:
            packet = decode_packet(payload, most_bytes=most)
        except Refused as refusal:
            self._outbox.refuse(refusal.reason)
            return ()
        if self._hearing.hear(now_s):
            self._suspects.resume(now_s)
        self._intake.take(
            packet,
            sender_address,
            authenticated_role,
            now_s,
            reliable=reliable,
            is_timed=is_timed and not reliable,
        )
        return self._effects()

    # Inside.

    def _effects(self, *, is_tick: bool = False) -> tuple[Effect, ...]:
        wake_s = self.next_wake_s
        if wake_s is not None and (is_tick or self._wake_s is None or wake_s < self._wake_s):
            self._wake_s = wake_s
            self._outbox.effects.append(WakeAt(wake_s))
        effects = tuple(self._outbox.effects)
        self._outbox.effects.clear()
        return effects

    def _was_away(self, away_s: float) -> None:
        if not self._config.lifeguard:
            return
        self._awareness.add(1)
        self._outbox.effects.append(HealthChanged(self._awareness.score, "late"))
        self._hearing.forgive(away_s)
        self._prober.forgive(away_s)
        self._suspects.forgive(away_s)
        self._watching.forgive(away_s)

    def _confirm(self, now_s: float) -> None:
        for effect in self._confirmations.tick(now_s=now_s):
            self._outbox.effects.append(effect)
            if type(effect) is RemovePeer:
                self._judge.remove(effect.peer, now_s)
            elif type(effect) is AskPeer:
                peer = self._table.get(effect.peer)
                if peer is not None:
                    own = self._own
                    seq = self._prober.ask(peer, now_s)
                    ping = ConfirmationPing(seq, effect.peer, own.alive(), own.coordinate())
                    self._outbox.post(peer, ping)

    def _end(self) -> None:
        if not self._is_told:
            self._is_told = True
            self._outbox.effects.append(LeaveTold())

    def _arm_gossip(self) -> None:
        if self._gossip_s is None:
            self._gossip_s = self._now_s + self._config.gossip_interval_s * self._rng.random()
            self._timers.at(self._gossip_s, self._gossip)

    def _gossip(self, _number: int, now_s: float) -> None:
        own, table, outbox = self._own, self._table, self._outbox
        self._gossip_s = None
        for name in table.live.draw(self._config.gossip_nodes, self._rng):
            peer = table.get(name)
            if peer is not None and outbox.waiting:
                outbox.post(peer, Gossip(own.node, own.incarnation))
        if own.is_leaving and not outbox.is_telling(own.node.name):
            self._end()
        elif outbox.waiting and len(table.live):
            self._gossip_s = now_s + self._config.gossip_interval_s
            self._timers.at(self._gossip_s, self._gossip)
