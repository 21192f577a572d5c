"""`Sessions`: which runs of which peers have proved that they are alive now.

A run is confirmed by answering a challenge. The challenge is a cookie that only this process
can make (its secret is drawn at each start), so nothing is remembered of whoever was asked,
and nothing recorded before can answer it.

Source: RFC 9147 §5.1 (stateless cookies), RFC 9000 §8 (address validation).
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict

from federlib.transport._aead import Cipher
from federlib.transport.protocol import Limits
from federlib.transport.window import Freshness, ReplayWindow

__all__ = ["COOKIE", "COOKIE_NS", "Peer", "Sessions"]

COOKIE = 16
COOKIE_NS = 30 * 1_000_000_000
"""A cookie is taken for one to two of these; nanoseconds."""

_ADDRESSES = 4
"""A peer may send from a few addresses by turns; more is a peer that moves."""

_CIPHERS = 4
"""An old and a new key, and room."""

PeerId = tuple[str, bytes]
"""The role of the key, "" for none, and the session. Whoever holds keys of another role only
cannot touch the window of this one."""


class Peer:
    """One run of one peer, confirmed."""

    __slots__ = ("addresses", "ciphers", "floor", "has_delivered", "heard_ns", "window")

    def __init__(self, sequence: int, now_ns: int) -> None:
        # What it sent before it proved itself may be a recording: all of it counts as come.
        self.window: ReplayWindow = ReplayWindow(sequence)
        self.floor: int = sequence
        self.addresses: list[str] = []
        self.ciphers: dict[bytes, Cipher] = {}
        self.heard_ns: int = now_ns
        self.has_delivered: bool = False

    def take_again(self, number: int) -> bool:
        """Say whether a datagram that was first sent as `number` has not been taken.

        At or below the floor it has not: it was refused, or went to a run before this one.
        Above, the window knows. Without this, who has a datagram challenged by a third process
        and sends that challenge on would bring a peer to send what has arrived.
        """
        return number <= self.floor or self.window.accept(number) is Freshness.NEW

    def keep_cipher(self, key_id: bytes, cipher: Cipher) -> None:
        """Remember the cipher of a key; after a few rotations the first ones go."""
        if key_id not in self.ciphers and len(self.ciphers) >= _CIPHERS:
            del self.ciphers[next(iter(self.ciphers))]
        self.ciphers[key_id] = cipher


class Sessions:
    """The confirmed runs, bounded, and the cookies that confirm others.

    Args:
        cookie_secret: 32 random bytes, drawn at this start.
        limits: `sessions` and `session_idle_s` count.
    """

    def __init__(self, cookie_secret: bytes, limits: Limits) -> None:
        self._secret = cookie_secret
        self._most = limits.sessions
        self._idle_ns = int(limits.session_idle_s * 1_000_000_000)
        self._generation = 0
        self._peers: OrderedDict[PeerId, Peer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def find(self, peer_id: PeerId) -> Peer | None:
        """Return a confirmed run, or None."""
        return self._peers.get(peer_id)

    def heard(self, peer_id: PeerId, peer: Peer, now_ns: int) -> None:
        """Note that it has sent something new; forget who was silent for too long."""
        peer.heard_ns = now_ns
        self._peers.move_to_end(peer_id)
        while True:
            oldest = next(iter(self._peers.values()))
            if now_ns - oldest.heard_ns <= self._idle_ns:
                return  # at the latest this very peer
            # It is silent for longer than any cookie lives: no old answer brings it back.
            self._peers.popitem(last=False)

    def confirm(self, peer_id: PeerId, address: str, sequence: int, now_ns: int) -> Peer:
        """Take in a run, or another address of it, that has answered its challenge."""
        peer = self._peers.get(peer_id)
        if peer is None:
            peer = self._peers[peer_id] = Peer(sequence, now_ns)
            if len(self._peers) > self._most:
                self._peers.popitem(last=False)
                # Its window is lost: an answer of it that is still valid, sent again, would
                # bring it back with an older one. So no earlier cookie is taken any more.
                self._generation += 1
        else:
            peer.window.accept(sequence)
        if address not in peer.addresses:
            peer.addresses = [address, *peer.addresses[: _ADDRESSES - 1]]
        self.heard(peer_id, peer, now_ns)
        return peer

    def cookie(self, peer_id: PeerId, address: str, now_ns: int) -> bytes:
        """Make the cookie that this run, at this address, must send back."""
        return self._cookie(peer_id, address, now_ns // COOKIE_NS)

    def is_cookie(self, cookie: bytes, peer_id: PeerId, address: str, now_ns: int) -> bool:
        """Say whether this is the cookie of now or of the period before."""
        period = now_ns // COOKIE_NS
        return any(
            hmac.compare_digest(cookie, self._cookie(peer_id, address, period - ago))
            for ago in (0, 1)
        )

    def _cookie(self, peer_id: PeerId, address: str, period: int) -> bytes:
        role, session = peer_id
        # The session has one length, and no address holds a zero byte.
        text = f"{self._generation} {period} {address}\0{role}".encode()
        return hmac.digest(self._secret, session + text, hashlib.sha256)[:COOKIE]
