"""All that two members know, compared by checksums; only what differs is sent.

A sends a digest: its members in buckets by their names, four bytes a bucket. B answers with
its rows of the buckets that differ, and says which they are; A takes them in and sends its own
rows of the same buckets back. When both know the same, the digest is all that is sent: some
200 bytes at 50 members, where a table of rows is two kilobytes.

Source: memberlist's push-pull and its scaling; research membership-routing §4.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from federlib.membership.judge import Judge
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import (
    Alive,
    Dead,
    Digest,
    Leave,
    Row,
    RowState,
    State,
    Suspect,
)
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole
from federlib.membership.shared import Shared
from federlib.membership.table import Peer

__all__ = ["PushPull", "bucket_count", "checksums", "scaled_interval_s"]

SCALE_FROM = 32
"""Up to so many members the interval is as configured."""

LEAST_BUCKETS = 8
MOST_BUCKETS = 256

FIRST_S = 5.0
"""The first comparison comes within this."""

JOIN_FIRST_S = 1.0
JOIN_MOST_S = 30.0
"""Between tries to join; they double. Who knows nobody tries for ever (serf#333)."""

_STATES: dict[NodeLifecycleState, RowState] = {
    NodeLifecycleState.ALIVE: 0,
    NodeLifecycleState.SUSPECT: 1,
    NodeLifecycleState.DEAD: 2,
    NodeLifecycleState.LEFT: 3,
}


def scaled_interval_s(interval_s: float, members: int) -> float:
    """Return the interval for so many members: once more as long for each doubling past 32."""
    if members <= SCALE_FROM:
        return interval_s
    return interval_s * (math.ceil(math.log2(members) - math.log2(SCALE_FROM)) + 1)


def bucket_count(members: int) -> int:
    """Return how many buckets a digest of so many members has: about four names in each."""
    wanted = max(LEAST_BUCKETS, members // 4)
    return min(MOST_BUCKETS, 1 << (wanted - 1).bit_length())


def checksums(lives: Iterator[tuple[NodeId, int]], buckets: int) -> bytes:
    """Return the checksum of each bucket, four bytes, whatever the order of its members.

    Args:
        lives: Each live member and its incarnation.
        buckets: A power of two.
    """
    sums = [0] * buckets
    for node, incarnation in lives:
        # Not a CRC: two members that refute at once would change it by the same bits, and undo
        # each other in their sum.
        life = f"{node.name}\0{node.epoch}.{incarnation}".encode(errors="replace")
        word = blake2b(life, digest_size=4).digest()
        sums[_bucket(node.name, buckets)] ^= int.from_bytes(word, "big")
    return b"".join(each.to_bytes(4, "big") for each in sums)


class PushPull:
    """Compares what we know with one other member at a time; also how we join."""

    def __init__(self, shared: Shared, judge: Judge) -> None:
        self._own = shared.own
        self._config = shared.config
        self._table = shared.table
        self._outbox = shared.outbox
        self._timers = shared.timers
        self._judge = judge
        self._rng = shared.rng
        self._seeds: tuple[str, ...] = ()
        self._join_waits_s = JOIN_FIRST_S
        self._joins = 0
        self._is_joining = False

    def start(self, now_s: float) -> None:
        """Begin to compare soon: while many join, an update may be told before one listens."""
        config = self._config
        first_s = min(FIRST_S, self._interval_s()) * self._rng.random()
        self._timers.at(now_s + first_s, self._compare)
        again_s = config.reconnect_interval_s * (0.5 + self._rng.random() / 2)
        self._timers.at(now_s + again_s, self._reconnect)

    def join(self, seeds: Sequence[str], now_s: float) -> None:
        """Ask these addresses who is there, until somebody answers; and again when alone."""
        self._seeds = tuple(address for address in seeds if address != self._own.address)
        self._join_waits_s = JOIN_FIRST_S
        self._joins += 1
        self._is_joining = True
        self._try_join(self._joins, now_s)

    def on_digest(self, digest: Digest, peer: Peer) -> None:
        """Answer with our rows where we know otherwise."""
        theirs = digest.buckets
        count = len(theirs) // 4
        if len(theirs) % 4 or not _is_count(count):
            self._outbox.refuse("malformed")
            return
        ours = checksums(self._lives(), count)
        differing = [
            each
            for each in range(count)
            if ours[4 * each : 4 * each + 4] != theirs[4 * each : 4 * each + 4]
        ]
        if differing:
            wanted = b"".join(each.to_bytes(2, "big") for each in differing)
            self._send_state(peer, set(differing), count, wanted)

    def on_state(self, state: State, peer: Peer, now_s: float) -> None:
        """Take in the other's rows, and send ours of the same buckets if it wants them."""
        if not _is_count(state.buckets) or len(state.wanted) % 2:
            self._outbox.refuse("malformed")
            return
        room = 32 * self._config.max_new_a_packet
        for row in state.rows:
            room -= self._merge(row, peer, now_s)
            if room < 0:
                self._outbox.refuse("budget")
                break
        if state.wanted:
            raw = state.wanted
            wanted = {int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)}
            self._send_state(peer, wanted, state.buckets, b"")

    def _merge(self, row: Row, peer: Peer, now_s: float) -> bool:
        """Take in one row; return whether its name was new.

        Who is dead over there is only suspect here: it may be a partition, and it shall have
        its chance to refute.
        """
        node, incarnation, accuser = row.node, row.incarnation, peer.node.name
        if row.state == _STATES[NodeLifecycleState.LEFT]:
            return self._judge.take(Leave(node, incarnation), now_s)
        if row.state == _STATES[NodeLifecycleState.DEAD] and node.name == self._own.node.name:
            return self._judge.take(Dead(node, incarnation, accuser), now_s)
        is_new = False
        if row.state == _STATES[NodeLifecycleState.ALIVE]:
            return self._judge.take(Alive(node, incarnation, row.address, row.role), now_s)
        if row.state == _STATES[NodeLifecycleState.SUSPECT]:
            alive = Alive(node, incarnation, row.address, row.role)
            is_new = self._judge.take(alive, now_s)
        known = self._table.get(node.name)
        if known is None or known.state is not NodeLifecycleState.DEAD:
            self._judge.take(Suspect(node, incarnation, accuser), now_s)
        return is_new

    def _interval_s(self) -> float:
        return scaled_interval_s(self._config.push_pull_interval_s, self._table.count)

    def _compare(self, _number: int, now_s: float) -> None:
        for name in self._table.live.draw(1, self._rng):
            self._send_digest(name)
        self._timers.at(now_s + self._interval_s(), self._compare)

    def _reconnect(self, _number: int, now_s: float) -> None:
        for name in self._table.dead.draw(1, self._rng):
            self._send_digest(name, reliable=True)
        waits_s = self._config.reconnect_interval_s
        self._timers.at(now_s + waits_s, self._reconnect)
        if self._seeds and not self._is_joining and not len(self._table.live):
            self.join(self._seeds, now_s)

    def _try_join(self, number: int, now_s: float) -> None:
        if number != self._joins:
            return
        if len(self._table.live) or self._own.is_leaving:
            self._is_joining = False
            return
        for address in self._seeds:
            self._outbox.send(address, self._digest(), reliable=True)
        jitter = 0.75 + self._rng.random() / 2
        self._timers.at(now_s + self._join_waits_s * jitter, self._try_join, number)
        self._join_waits_s = min(JOIN_MOST_S, 2 * self._join_waits_s)

    def _digest(self) -> Digest:
        count = bucket_count(self._table.count)
        return Digest(self._own.alive(), checksums(self._lives(), count))

    def _send_digest(self, name: str, *, reliable: bool = False) -> None:
        peer = self._table.get(name)
        if peer is not None and not self._own.is_leaving:
            self._outbox.post(peer, self._digest(), reliable=reliable)

    def _send_state(self, peer: Peer, wanted: set[int], count: int, back: bytes) -> None:
        rows = tuple(row for row in self._rows() if _bucket(row.node.name, count) in wanted)
        self._outbox.post(peer, State(self._own.alive(), rows, back, count))

    def _lives(self) -> Iterator[tuple[NodeId, int]]:
        own = self._own
        if own.role is not PeerRole.WORKER and not own.is_leaving:
            yield own.node, own.incarnation
        for name in self._table.live:
            peer = self._table.get(name)
            if peer is not None:
                yield peer.node, peer.incarnation

    def _rows(self) -> Iterator[Row]:
        own = self._own
        if own.role is not PeerRole.WORKER and not own.is_leaving:
            yield Row(own.node, own.incarnation, own.address, own.role, 0)
        for peer in self._table:
            state = _STATES.get(peer.state)
            if state is not None and peer.role is not PeerRole.WORKER:
                yield Row(peer.node, peer.incarnation, peer.address, peer.role, state)


def _bucket(name: str, count: int) -> int:
    return zlib.crc32(name.encode(errors="replace")) % count


def _is_count(count: int) -> bool:
    return LEAST_BUCKETS <= count <= MOST_BUCKETS and count & (count - 1) == 0
