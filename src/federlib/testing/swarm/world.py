"""Many membership cores in one simulated time; one seed replays all.

    swarm = Swarm(50, seed=7, links=Links(loss=0.01), starved=range(5))
    swarm.start()
    swarm.run(60.0)
    swarm.crash(20)
    swarm.run(120.0)
    assert swarm.false_deaths() == []

A starved member reads every packet half a second to two and a half late, in order, while its
timers are on time: a process without its share of the processor, behind a full socket buffer.
A blocked one does nothing at all, and then reads what has come before its timers fire.

Every member has a clock of its own; they may lie hours apart.
"""

from __future__ import annotations

import heapq
import random  # noqa: TID251 (seeded, for a simulation)
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import attrs

from federlib.membership.config import SwimConfig
from federlib.membership.core import SwimCore
from federlib.membership.effects import (
    Effect,
    MemberDied,
    MemberJoined,
    MemberRefuted,
    MemberSuspected,
    Send,
    WakeAt,
)
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole
from federlib.testing.swarm.network import Links

__all__ = ["STARVED_S", "Seen", "Swarm", "Traffic"]

STARVED_S = (0.5, 2.5)
"""How late a starved member reads a packet. Source: research membership-routing §4."""

_SEEN = (MemberDied, MemberJoined, MemberRefuted, MemberSuspected)


@attrs.frozen
class Seen:
    """One event that a member told.

    Attributes:
        at_s: When, in simulated time.
        observer: Number of the member.
        event: What it told.
        was_up: Whether the one that it told of was up then.
    """

    at_s: float
    observer: int
    event: MemberDied | MemberJoined | MemberRefuted | MemberSuspected
    was_up: bool


@attrs.define
class Traffic:
    """What was sent.

    Attributes:
        datagrams: How many.
        streams: Messages by stream.
        payload_bytes: Of all, before they were sealed.
    """

    datagrams: int = 0
    streams: int = 0
    payload_bytes: int = 0


@attrs.frozen
class _Known:
    links: Links
    number: int

    def estimate_rtt(self, peer: str) -> float:
        return 2_000 * self.links.way_s(self.number, int(peer[1:]))

    def estimate_rtt_ucb_ms(self, peer: str) -> float:
        return 1.2 * self.estimate_rtt(peer)

    def get_error(self) -> float:
        return 0.1


@attrs.define
class _Node:
    number: int
    core: SwimCore
    address: str
    role: PeerRole
    offset_s: float
    is_up: bool = True
    is_starved: bool = False
    read_s: float = 0.0
    wake_s: float = 0.0
    blocked_until_s: float = 0.0
    inbox: list[tuple[bytes, str, PeerRole, bool]] = attrs.field(factory=list)


class Swarm:
    """The members, their network and their time.

    Args:
        size: How many members.
        seed: Everything that is drawn follows from it.
        config: How each runs.
        links: Delay, loss and cuts.
        starved: Numbers of those that read late.
        roles: Of those that are not managers.
        clock_offsets_s: How far a member's clock is from simulated time.
        coordinate: What pings and acks carry.
        configs: Of those that run otherwise.
        knows_distances: Whether members know how far others are, as if from coordinates that
            are right.

    Attributes:
        now_s: Simulated time.
        seen: What was told, in order.
        traffic: What was sent.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int,
        config: SwimConfig | None = None,
        links: Links | None = None,
        starved: Collection[int] = (),
        roles: Mapping[int, PeerRole] | None = None,
        clock_offsets_s: Callable[[int], float] = lambda _: 0.0,
        coordinate: bytes | None = None,
        configs: Mapping[int, SwimConfig] | None = None,
        knows_distances: bool = False,
    ) -> None:
        self.now_s: float = 0.0
        self.seen: list[Seen] = []
        self.traffic: Traffic = Traffic()
        self.links: Links = links or Links()
        self._seed = seed
        self._config = config or SwimConfig()
        self._configs = configs or {}
        self._coordinate = coordinate
        self._roles = roles or {}
        self._knows_distances = knows_distances
        self._rng = random.Random(f"swarm {seed}")  # noqa: S311 (a simulation is no secret)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._queued = 0
        self._nodes = [self._make(each, 1, clock_offsets_s(each)) for each in range(size)]
        for number in starved:
            self._nodes[number].is_starved = True
        self._by_address = {node.address: node for node in self._nodes}

    def _make(self, number: int, epoch: int, offset_s: float) -> _Node:
        rng = random.Random(f"member {self._seed} {number} {epoch}")  # noqa: S311 (as above)
        role = self._roles.get(number, PeerRole.MANAGER)
        address = f"10.0.{number // 250}.{number % 250}:7946"
        core = SwimCore(
            NodeId(f"n{number}", epoch),
            address,
            role,
            rng=rng,
            config=self._configs.get(number, self._config),
            coordinate=lambda: self._coordinate,
            distances=_Known(self.links, number) if self._knows_distances else None,
        )
        return _Node(number, core, address, role, offset_s)

    def __len__(self) -> int:
        return len(self._nodes)

    def core(self, number: int) -> SwimCore:
        """Return one member's core."""
        return self._nodes[number].core

    def address(self, number: int) -> str:
        """Return where a member listens."""
        return self._nodes[number].address

    def is_up(self, number: int) -> bool:
        """Whether a member runs."""
        return self._nodes[number].is_up

    # What happens to it.

    def start(self, *, within_s: float = 1.0, seeds: Sequence[int] = (0, 1, 2)) -> None:
        """Start all members within a time, and let them join by those of these numbers."""
        addresses = [self._nodes[each].address for each in seeds if each < len(self._nodes)]
        for node in self._nodes:
            self.at(within_s * self._rng.random(), partial(self._join, node, addresses))

    def _join(self, node: _Node, addresses: Sequence[str]) -> None:
        now_s = self.now_s + node.offset_s
        self._apply(node, node.core.start(now_s))
        self._apply(node, node.core.join(addresses, now_s))

    def at(self, at_s: float, call: Callable[[], None]) -> None:
        """Have something done at an instant."""
        self._queued += 1
        heapq.heappush(self._queue, (at_s, self._queued, call))

    def crash(self, number: int) -> None:
        """Stop a member without a word."""
        self._nodes[number].is_up = False

    def restart(self, number: int, *, seeds: Sequence[int] = (0, 1, 2)) -> None:
        """Start a later run of a member at the same address."""
        old = self._nodes[number]
        node = self._make(number, old.core.node.epoch + 1, old.offset_s)
        node.is_starved = old.is_starved
        self._nodes[number] = self._by_address[node.address] = node
        self._join(node, [self._nodes[each].address for each in seeds if each != number])

    def leave(self, number: int) -> None:
        """Let a member say goodbye; it stays up and quiet."""
        node = self._nodes[number]
        self._apply(node, node.core.leave(self.now_s + node.offset_s))

    def feed(self) -> None:
        """Let those that were starved read at once from now on."""
        for node in self._nodes:
            node.is_starved = False

    def block(self, number: int, seconds: float) -> None:
        """Keep a member from doing anything for a time."""
        node = self._nodes[number]
        node.blocked_until_s = self.now_s + seconds
        self.at(node.blocked_until_s, lambda: self._unblock(node))

    def inject(self, payload: bytes, receiver: int, *, sender: str, role: PeerRole | None) -> None:
        """Let a member receive this packet now."""
        node = self._nodes[receiver]
        now_s = self.now_s + node.offset_s
        self._apply(node, node.core.handle(payload, sender, role, now_s))

    def run(self, until_s: float) -> None:
        """Go on until an instant."""
        queue = self._queue
        while queue and queue[0][0] <= until_s:
            self.now_s, _, call = heapq.heappop(queue)
            call()
        self.now_s = until_s

    # What became of it.

    def deaths(self, number: int) -> list[Seen]:
        """Return who told when that a member died, from the first on."""
        name = f"n{number}"
        return [
            each
            for each in self.seen
            if isinstance(each.event, MemberDied) and each.event.node.name == name
        ]

    def false_deaths(self) -> list[Seen]:
        """Return each verdict of a member's own that another one, which was up, is dead."""
        return [
            each
            for each in self.seen
            if isinstance(each.event, MemberDied)
            and each.was_up
            and each.event.accuser == f"n{each.observer}"
        ]

    def false_suspicions(self) -> list[Seen]:
        """Return each accusation of a member's own against one that was up."""
        return [
            each
            for each in self.seen
            if isinstance(each.event, MemberSuspected)
            and each.was_up
            and each.event.accuser == f"n{each.observer}"
        ]

    def alive_for(self, number: int) -> set[str]:
        """Return the names that a member holds to be ALIVE."""
        tracker = self._nodes[number].core.tracker
        return set(tracker.get_nodes_by_state(NodeLifecycleState.ALIVE))

    def agrees(self) -> bool:
        """Say whether each member that is up holds all others that are up, and no more, ALIVE."""
        up = {f"n{node.number}" for node in self._nodes if node.is_up}
        return all(
            self.alive_for(node.number) == up - {f"n{node.number}"}
            for node in self._nodes
            if node.is_up
        )

    # Inside.

    def _apply(self, node: _Node, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if type(effect) is Send:
                self._send(node, effect)
            elif type(effect) is WakeAt:
                self._wake_at(node, effect.at_s)
            elif isinstance(effect, _SEEN):
                other = self._nodes[int(effect.node.name[1:])] if self._is_ours(effect) else None
                was_up = other is not None and other.is_up and other.core.node == effect.node
                self.seen.append(Seen(self.now_s, node.number, effect, was_up))

    def _is_ours(self, event: MemberDied | MemberJoined | MemberRefuted | MemberSuspected) -> bool:
        digits = event.node.name[1:]
        return digits.isdecimal() and int(digits) < len(self._nodes)

    def _send(self, node: _Node, send: Send) -> None:
        traffic = self.traffic
        if send.reliable:
            traffic.streams += 1
        else:
            traffic.datagrams += 1
        traffic.payload_bytes += len(send.payload)
        other = self._by_address.get(send.address)
        if other is None or not other.is_up:
            return
        delay_s = self.links.delay_s(node.number, other.number, self._rng, reliable=send.reliable)
        if delay_s is None:
            return
        arrives_s = self.now_s + delay_s
        if other.is_starved:
            low, high = STARVED_S
            # In order: what came later is never read earlier.
            arrives_s = max(other.read_s, arrives_s + low + (high - low) * self._rng.random())
            other.read_s = arrives_s
        sender = node.address
        self.at(
            arrives_s,
            partial(self._deliver, other, send.payload, sender, node.role, reliable=send.reliable),
        )

    def _deliver(
        self, node: _Node, payload: bytes, sender: str, role: PeerRole, *, reliable: bool
    ) -> None:
        if not node.is_up:
            return
        if self.now_s < node.blocked_until_s:
            node.inbox.append((payload, sender, role, reliable))
            return
        now_s = self.now_s + node.offset_s
        self._apply(node, node.core.handle(payload, sender, role, now_s, reliable=reliable))

    def _wake_at(self, node: _Node, wake_s: float) -> None:
        node.wake_s = wake_s
        self.at(max(self.now_s, wake_s - node.offset_s), lambda: self._wake(node, wake_s))

    def _wake(self, node: _Node, wake_s: float) -> None:
        if node.is_up and node.wake_s == wake_s and self.now_s >= node.blocked_until_s:
            self._apply(node, node.core.tick(max(wake_s, self.now_s + node.offset_s)))

    def _unblock(self, node: _Node) -> None:
        waiting, node.inbox = node.inbox, []
        for payload, sender, role, reliable in waiting:
            self._deliver(node, payload, sender, role, reliable=reliable)
        if node.is_up:
            self._apply(node, node.core.tick(self.now_s + node.offset_s))
