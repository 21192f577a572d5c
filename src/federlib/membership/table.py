"""All peers that one member knows: what they are held to be, where they are, who is next.

The bound on their number is the tracker's; what stands here stands there too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from federlib.membership.heartbeats import PhiAccrual
from federlib.membership.lifecycle import IncarnationTracker, NodeLifecycleState, TrackerLimits
from federlib.membership.node import Member, NodeId
from federlib.membership.roles import PeerRole
from federlib.membership.suspicion import Suspicion

__all__ = ["Bag", "MemberTable", "Peer", "RandomSource"]


class RandomSource(Protocol):
    """What is needed of `random.Random`."""

    def random(self) -> float:
        """Return a float from 0 up to 1."""
        ...

    def randrange(self, stop: int, /) -> int:
        """Return an integer from 0 up to `stop`."""
        ...


class Bag:
    """Names of which some are drawn by chance; to add, to take out and to draw cost the same."""

    __slots__ = ("_names", "_places")

    def __init__(self) -> None:
        self._names: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def add(self, name: str) -> None:
        """Put a name in, once."""
        if name not in self._places:
            self._places[name] = len(self._names)
            self._names.append(name)

    def discard(self, name: str) -> None:
        """Take a name out if it is in."""
        place = self._places.pop(name, None)
        if place is None:
            return
        last = self._names.pop()
        if last != name:
            self._names[place] = last
            self._places[last] = place

    def draw(self, many: int, rng: RandomSource, *, but: str = "") -> list[str]:
        """Draw different names, fewer where there are not so many; `but` is not drawn."""
        names, found = self._names, list[str]()
        if len(names) <= 2 * many:
            rest = [name for name in names if name != but]
            while rest and len(found) < many:
                found.append(rest.pop(rng.randrange(len(rest))))
            return found
        while len(found) < many:
            name = names[rng.randrange(len(names))]
            if name != but and name not in found:
                found.append(name)
        return found


@attrs.define
class Peer:
    """What is kept of one peer beside its standing.

    Attributes:
        node: Which run of it.
        address: Where it listens; ``host:port``.
        role: What it is.
        incarnation: As in its standing.
        state: As in its standing.
        met_s: When it was first spoken of here.
        heard_s: When it last spoke itself.
        suspicion: While it is SUSPECT.
        verdict: The update to tell it first, while it is SUSPECT or DEAD; encoded.
        rtt_ms: Last measured, None before that.
        pulse: Of one that pushes heartbeats to us.
        claimed: Where this run said first that it is; None before that.
        rival_s: When it is told next that somebody else has its name.
    """

    node: NodeId
    address: str
    role: PeerRole
    incarnation: int
    state: NodeLifecycleState
    met_s: float
    heard_s: float
    suspicion: Suspicion | None = None
    verdict: bytes | None = None
    rtt_ms: float | None = None
    pulse: PhiAccrual | None = None
    claimed: str | None = None
    rival_s: float = -math.inf


class MemberTable:
    """Every peer by its name.

    Attributes:
        tracker: What each is held to be.
        live: Those that take part and are ALIVE or SUSPECT; no workers.
        dead: Those that took part and are DEAD.
    """

    def __init__(self, limits: TrackerLimits, rng: RandomSource) -> None:
        self.tracker: IncarnationTracker = IncarnationTracker(limits)
        self.live: Bag = Bag()
        self.dead: Bag = Bag()
        self._peers: dict[str, Peer] = {}
        self._rng = rng
        self._ring: list[str] = []
        self._place = 0
        self.get: Callable[[str], Peer | None] = self._peers.get

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    @property
    def count(self) -> int:
        """How many take part, ourselves included."""
        return len(self.live) + 1

    def add(self, peer: Peer) -> None:
        """Put a new peer in; `place` then tells what it is."""
        self._peers[peer.node.name] = peer

    def remove(self, name: str) -> None:
        """Forget a peer."""
        del self._peers[name]
        self.live.discard(name)
        self.dead.discard(name)

    def settle(self, peer: Peer) -> None:
        """Put a peer where its state and role belong."""
        name, state = peer.node.name, peer.state
        takes_part = peer.role is not PeerRole.WORKER
        if takes_part and state in _LIVE:
            self.dead.discard(name)
            if name not in self.live:
                self.live.add(name)
                # Anywhere in the round, so that those who join together are not probed together.
                self._ring.insert(self._rng.randrange(len(self._ring) + 1), name)
            return
        self.live.discard(name)
        if takes_part and state is NodeLifecycleState.DEAD:
            self.dead.add(name)
        else:
            self.dead.discard(name)

    def next_target(self) -> Peer | None:
        """Return whom to probe now: everybody once in a round, each round shuffled anew.

        Source: SWIM §4.3; it bounds the time until a given member is probed.
        """
        for _ in range(2):
            while self._place < len(self._ring):
                name = self._ring[self._place]
                self._place += 1
                if name in self.live:
                    return self._peers[name]
            self._shuffle()
        return None

    def _shuffle(self) -> None:
        ring, rng = list(self.live), self._rng
        for last in range(len(ring) - 1, 0, -1):
            other = rng.randrange(last + 1)
            ring[last], ring[other] = ring[other], ring[last]
        self._ring, self._place = ring, 0

    def member(self, peer: Peer) -> Member:
        """Return a peer as the caller may keep it."""
        standing = self.tracker.get(peer.node.name)
        since_s = peer.met_s if standing is None else standing.since_s
        return Member(peer.node, peer.address, peer.role, peer.incarnation, peer.state, since_s)


_LIVE = frozenset({NodeLifecycleState.ALIVE, NodeLifecycleState.SUSPECT})
