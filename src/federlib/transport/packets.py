"""`SealedPackets`: what goes out as a datagram, and what is believed of what comes in.

Pure: time and randomness are arguments. `PlainPackets` is the same without keys.

How two runs meet, each step one datagram:

1. Ada sends data. Ben can read it, but has not confirmed Ada's run: it may be a recording.
   He takes nothing and sends a challenge: Ada's session, the number of the datagram, a cookie.
2. Ada answers: Ben's cookie, and one of her own, for Ben's run is as new to her. Behind the
   answer she sends the data again, under a new number and with its first one.
3. Ben takes the answer: Ada is confirmed, and only numbers above the answer's count. He
   answers her cookie, and takes the data.

Nothing is kept for step 2 by Ben, so nobody fills his memory without a key.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

import attrs

from federlib.errors import InvalidInput, Unavailable
from federlib.transport._aead import Cipher, open_sealed
from federlib.transport.envelope import (
    HEADER,
    KINDS,
    MAX_SEQUENCE,
    PLAIN,
    ROOM,
    SEQUENCE,
    SESSION,
    Header,
    Kind,
    read_header,
)
from federlib.transport.keyring import Key, Keyring
from federlib.transport.protocol import MAX_PACKET, Limits, Received, check_datagram, fits_reply
from federlib.transport.refusals import Refusal
from federlib.transport.sessions import COOKIE, Peer, PeerId, Sessions
from federlib.transport.window import Freshness

__all__ = ["PlainPackets", "SealedPackets", "Taken", "check_cluster"]

_FRESH_NS = 2_000_000_000
"""How long a sender answers the challenge of a datagram, and sends it again; nanoseconds."""

_KEPT = 512
"""Datagrams that are kept for it: at most 700 KB."""

_SESSION_PURPOSE = b"session"
_NO_COOKIE = bytes(COOKIE)
_CHALLENGE = struct.Struct(f">{SESSION}sHI{COOKIE}s")
_ANSWER = struct.Struct(f">{COOKIE}s{COOKIE}s")
_STALE = {Freshness.REPLAYED: Refusal.REPLAYED, Freshness.TOO_OLD: Refusal.TOO_OLD}


def check_cluster(cluster: str) -> bytes:
    """Return the label of a cluster as it is bound to every message.

    Raises:
        InvalidInput: It is empty or longer than 128 characters.
    """
    if not _is_label(cluster):
        raise InvalidInput("cluster", expected="a name of 1 to 128 characters", found=cluster)
    return cluster.encode("utf-8", "surrogatepass")


@attrs.frozen(slots=True)
class Taken:
    """What one datagram came to.

    Attributes:
        delivered: For the user, or None.
        replies: Datagrams for the address that it came from, in order.
        refused: Why it was not taken, or None; a challenge may go out all the same.
    """

    delivered: Received | None = None
    replies: tuple[bytes, ...] = ()
    refused: Refusal | None = None


class SealedPackets:
    """The datagrams of one run of one process.

    Args:
        keyring: Read at every message, so its changes count at once.
        cluster: Messages of other clusters are refused, even under the same key.
        session: 12 random bytes, drawn at this start. Were they drawn twice, nonces would
            repeat.
        cookie_secret: 32 random bytes, drawn at this start.
        limits: What is held at most.

    Raises:
        InvalidInput: The label is empty or too long.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        cluster: str,
        session: bytes,
        cookie_secret: bytes,
        limits: Limits,
    ) -> None:
        assert len(session) == SESSION
        self.sessions: Sessions = Sessions(cookie_secret, limits)
        self._keyring = keyring
        # A user of the same secret for another channel gets other tags.
        self._bound = b"federlib udp " + check_cluster(cluster)
        self._session = session
        self._sequence = 0
        self._limits = limits
        self._sealing: tuple[Key, Cipher] | None = None
        self._sent: OrderedDict[int, tuple[int, str, bytes | None]] = OrderedDict()

    def __repr__(self) -> str:
        return f"SealedPackets(session={self._session.hex()!r}, sent={self._sequence})"

    @property
    def max_payload(self) -> int:
        """Bytes of a payload at most, under the key in use."""
        return self._limits.max_packet - ROOM - self._keyring.primary.signature_bytes

    def seal(self, payload: bytes, address: str, now_ns: int) -> bytes:
        """Make a datagram of a payload.

        Raises:
            InvalidInput: The payload is too long.
            Unavailable: The session has no numbers left.
        """
        payload = check_datagram(payload, max_payload=self.max_payload)
        packet = self._seal(Kind.DATA, payload)
        self._sent[self._sequence] = (now_ns, address, payload)
        if len(self._sent) > _KEPT:
            self._sent.popitem(last=False)
        return packet

    def take(self, packet: bytes, address: str, now_ns: int) -> Taken:
        """Judge a datagram from anybody; raises nothing."""
        header = read_header(packet)
        if isinstance(header, Refusal):
            return Taken(refused=header)
        if header.session == self._session:
            return Taken(refused=Refusal.REFLECTED)
        key = self._keyring.get(header.key_id)
        if key is None:
            return Taken(refused=Refusal.UNKNOWN_KEY)
        peer_id = (key.role or "", header.session)
        peer = self.sessions.find(peer_id)
        if peer is not None:
            # Before it is opened: a flood of copies costs no cipher.
            stale = _STALE.get(peer.window.judge(header.sequence))
            if stale is not None:
                return Taken(refused=stale)
        found = self._open(packet, header, key, peer)
        if isinstance(found, Refusal):
            return Taken(refused=found)
        kind, body = found
        if kind is Kind.ANSWER:
            return self._answered(body, header, peer_id, address, now_ns)
        if kind is Kind.CHALLENGE:
            # One that is recorded costs an answer, as small as itself.
            return self._challenged(body, peer_id, peer, address, now_ns)
        if peer is None or address not in peer.addresses:
            return self._challenge(packet, header, peer_id, address, now_ns)
        peer.window.accept(header.sequence)
        self.sessions.heard(peer_id, peer, now_ns)
        if kind is Kind.AGAIN:
            number, payload = int.from_bytes(body[:SEQUENCE], "big"), body[SEQUENCE:]
            if len(body) < SEQUENCE or number >= header.sequence:
                return Taken(refused=Refusal.MALFORMED)
            if not peer.take_again(number):
                return Taken(refused=Refusal.REPLAYED)
            body = payload
        is_first, peer.has_delivered = not peer.has_delivered, True
        delivered = Received(
            payload=body,
            address=address,
            role=key.role,
            session=header.session.hex(),
            is_proven=True,
            is_first=is_first,
        )
        return Taken(delivered)

    def _seal(self, kind: Kind, payload: bytes) -> bytes:
        if self._sequence >= MAX_SEQUENCE:
            raise Unavailable("transport", "its session has no numbers left", hint="open it anew")
        key = self._keyring.primary
        if self._sealing is None or self._sealing[0] is not key:
            self._sealing = (key, key.cipher(self._session, _SESSION_PURPOSE))
        self._sequence += 1
        header = Header(key.wire_id, self._session, self._sequence).pack()
        associated = header + self._bound
        mark = bytes((kind,))
        # A challenge claims nothing, and unsigned it is short enough for every request.
        if kind is not Kind.CHALLENGE:
            payload = key.signed(payload, mark + associated)
        body = mark + payload
        return header + self._sealing[1].encrypt(_nonce(self._sequence), body, associated)

    def _open(
        self, packet: bytes, header: Header, key: Key, peer: Peer | None
    ) -> tuple[Kind, bytes] | Refusal:
        cipher = None if peer is None else peer.ciphers.get(header.key_id)
        if cipher is None:
            cipher = key.cipher(header.session, _SESSION_PURPOSE)
            if peer is not None:
                peer.keep_cipher(header.key_id, cipher)
        associated = packet[:HEADER] + self._bound
        body = open_sealed(cipher, _nonce(header.sequence), packet[HEADER:], associated)
        if body is None:
            return Refusal.UNAUTHENTIC
        kind, mark = KINDS.get(body[0]), body[:1]
        if kind is None:
            return Refusal.MALFORMED
        if kind is Kind.CHALLENGE:
            return kind, body[1:]
        payload = key.unsigned(body[1:], mark + associated)
        return Refusal.WRONG_ROLE if payload is None else (kind, payload)

    def _challenge(
        self, packet: bytes, header: Header, peer_id: PeerId, address: str, now_ns: int
    ) -> Taken:
        high, low = divmod(header.sequence, 1 << 32)
        cookie = self.sessions.cookie(peer_id, address, now_ns)
        reply = self._seal(Kind.CHALLENGE, _CHALLENGE.pack(header.session, high, low, cookie))
        fits = fits_reply(len(reply), request_bytes=len(packet))
        return Taken(replies=(reply,) if fits else (), refused=Refusal.UNCONFIRMED)

    def _challenged(
        self, body: bytes, peer_id: PeerId, peer: Peer | None, address: str, now_ns: int
    ) -> Taken:
        if len(body) != _CHALLENGE.size:
            return Taken(refused=Refusal.MALFORMED)
        session, high, low, cookie = _CHALLENGE.unpack(body)
        if session != self._session:
            return Taken(refused=Refusal.STALE_CHALLENGE)
        number = high << 32 | low
        sent_ns, to, payload = self._sent.get(number, (0, "", None))
        if to != address or now_ns - sent_ns > _FRESH_NS:
            # Only who was sent this datagram, just now, is told that it is ours: a datagram
            # that somebody sent on to another process, or kept, confirms nothing.
            return Taken(refused=Refusal.STALE_CHALLENGE)
        is_known = peer is not None and address in peer.addresses
        mine = _NO_COOKIE if is_known else self.sessions.cookie(peer_id, address, now_ns)
        replies = [self._seal(Kind.ANSWER, _ANSWER.pack(cookie, mine))]
        if payload is not None and len(payload) <= self.max_payload:
            # Exactly the datagram that was refused, once: nobody takes it twice.
            self._sent[number] = (sent_ns, to, None)
            again = number.to_bytes(SEQUENCE, "big") + payload
            replies.append(self._seal(Kind.AGAIN, again))
            if peer is not None:
                # It knew us no more, or never did: its answer to this took a round trip longer.
                peer.has_delivered = False
        return Taken(replies=tuple(replies))

    def _answered(
        self, body: bytes, header: Header, peer_id: PeerId, address: str, now_ns: int
    ) -> Taken:
        if len(body) != _ANSWER.size:
            return Taken(refused=Refusal.MALFORMED)
        cookie, theirs = _ANSWER.unpack(body)
        if not self.sessions.is_cookie(cookie, peer_id, address, now_ns):
            return Taken(refused=Refusal.BAD_COOKIE)
        self.sessions.confirm(peer_id, address, header.sequence, now_ns)
        if theirs == _NO_COOKIE:
            return Taken()
        return Taken(replies=(self._seal(Kind.ANSWER, _ANSWER.pack(theirs, _NO_COOKIE)),))


class PlainPackets:
    """Datagrams without keys: a byte that says so, and the payload.

    Args:
        limits: `max_packet` counts.
    """

    def __init__(self, limits: Limits) -> None:
        self._max_packet = limits.max_packet

    @property
    def max_payload(self) -> int:
        """Bytes of a payload at most; as under a key, so that what fits here fits there."""
        return self._max_packet - ROOM

    def seal(self, payload: bytes, address: str, now_ns: int) -> bytes:  # noqa: ARG002 (as above)
        """Make a datagram of a payload.

        Raises:
            InvalidInput: The payload is too long.
        """
        return bytes((PLAIN,)) + check_datagram(payload, max_payload=self.max_payload)

    def take(self, packet: bytes, address: str, now_ns: int) -> Taken:  # noqa: ARG002 (as above)
        """Judge a datagram from anybody; raises nothing."""
        if len(packet) > MAX_PACKET:
            return Taken(refused=Refusal.OVERSIZE)
        if not packet:
            return Taken(refused=Refusal.TRUNCATED)
        if packet[0] != PLAIN:
            return Taken(refused=Refusal.PLAINTEXT if packet[0] == 1 else Refusal.VERSION)
        return Taken(Received(payload=packet[1:], address=address))


def _is_label(cluster: object) -> bool:
    return isinstance(cluster, str) and 0 < len(cluster) <= 128


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(12, "big")
