"""How a message goes over a stream: a hello each way, then frames.

The hello is 21 bytes: the version (1; 0 is plaintext), the id of the key (4), a random nonce (16).
A frame is its length (4 bytes, big-endian) and, sealed with a tag of 16 bytes: one byte, 1 in
the last frame and 0 before, and a piece of the message, 65,536 bytes in all but the last.

Both nonces go into the keys of the stream, so nothing recorded can be read in another one:
a stream needs no window and no challenge. Nothing is compressed: what is unpacked after it is
checked cannot be too large, and lengths tell nothing about the content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from federlib.transport._aead import Cipher, open_sealed
from federlib.transport.envelope import KEY_ID, PLAIN, TAG, VERSION
from federlib.transport.keyring import Key, Keyring
from federlib.transport.packets import check_cluster
from federlib.transport.refusals import Refusal

__all__ = ["CHUNK", "HELLO", "PREFIX", "Conversation", "MessageReader", "Streams"]

NONCE = 16
HELLO = 1 + KEY_ID + NONCE
CHUNK = 65_536
PREFIX = 4

_LENGTH = struct.Struct(">I")


@attrs.frozen
class Hello:
    """What this side opens a stream with.

    Attributes:
        sent: Its bytes.
        key: What this side seals with; None for plaintext.
    """

    sent: bytes
    key: Key | None


class Streams:
    """The streams of one process, as data.

    Args:
        keyring: Or None for plaintext.
        cluster: Streams of other clusters are refused, even under the same key.
        max_bytes: Of one message.

    Raises:
        InvalidInput: The label is empty or too long.
    """

    def __init__(self, keyring: Keyring | None, *, cluster: str, max_bytes: int) -> None:
        self._keyring = keyring
        self._bound = b"federlib tcp " + check_cluster(cluster)
        self._max_bytes = max_bytes

    @property
    def is_sealed(self) -> bool:
        """Whether what comes was sealed with a key of the cluster."""
        return self._keyring is not None

    def hello(self, nonce: bytes) -> Hello:
        """Begin a stream with 16 random bytes."""
        assert len(nonce) == NONCE
        if self._keyring is None:
            return Hello(bytes((PLAIN,)) + bytes(KEY_ID) + nonce, None)
        key = self._keyring.primary
        return Hello(bytes((VERSION,)) + key.wire_id + nonce, key)

    def meet(self, mine: Hello, theirs: bytes, *, is_server: bool) -> Conversation | Refusal:
        """Take the hello of the other side; says what is wrong instead of raising."""
        if len(theirs) != HELLO:
            return Refusal.TRUNCATED
        if theirs[0] not in {PLAIN, VERSION}:
            return Refusal.VERSION
        if (theirs[0] == PLAIN) != (self._keyring is None):
            return Refusal.PLAINTEXT
        if theirs == mine.sent:
            return Refusal.REFLECTED
        client, server = (theirs, mine.sent) if is_server else (mine.sent, theirs)
        bound = client + server + self._bound
        if self._keyring is None or mine.key is None:
            return Conversation(_Way(None, b""), _Way(None, b""), self._max_bytes)
        key = self._keyring.get(theirs[1 : 1 + KEY_ID])
        if key is None:
            return Refusal.UNKNOWN_KEY
        ours, other = (b" server", b" client") if is_server else (b" client", b" server")
        return Conversation(
            _Way(mine.key, bound + ours, mine.key.cipher(client + server, b"stream" + ours)),
            _Way(key, bound + other, key.cipher(client + server, b"stream" + other)),
            self._max_bytes,
        )


@attrs.frozen
class _Way:
    """One direction of a stream: its key, what its tags cover besides, its cipher."""

    key: Key | None
    bound: bytes
    cipher: Cipher | None = attrs.field(default=None, repr=False)


class Conversation:
    """One message each way.

    Attributes:
        role: Of the key of the other side, or None.
    """

    def __init__(self, out: _Way, back: _Way, max_bytes: int) -> None:
        self.role: str | None = None if back.key is None else back.key.role
        self._out = out
        self._back = back
        self._max_bytes = max_bytes

    def seal(self, payload: bytes) -> Iterator[bytes]:
        """Make the frames of this side's one message; call it once."""
        key, cipher = self._out.key, self._out.cipher
        body = payload if key is None else key.signed(payload, self._out.bound)
        starts = range(0, max(1, len(body)), CHUNK)
        for number, start in enumerate(starts):
            is_last = number == len(starts) - 1
            frame = bytes((is_last,)) + body[start : start + CHUNK]
            if cipher is not None:
                frame = cipher.encrypt(_nonce(number), frame, self._out.bound)
            yield _LENGTH.pack(len(frame)) + frame

    def reader(self) -> MessageReader:
        """Read the other side's one message; call it once."""
        return MessageReader(self._back, self._max_bytes)


class MessageReader:
    """Puts the frames of one message together."""

    def __init__(self, way: _Way, max_bytes: int) -> None:
        self._way = way
        self._tag = 0 if way.cipher is None else TAG
        signature = 0 if way.key is None else way.key.signature_bytes
        self._left = max_bytes + signature
        self._chunks: list[bytes] = []

    def frame_bytes(self, prefix: bytes) -> int | Refusal:
        """Say how long the next frame is, before anything is made for it."""
        if len(prefix) != PREFIX:
            return Refusal.TRUNCATED
        length: int = _LENGTH.unpack(prefix)[0]
        content = length - 1 - self._tag
        if content < 0:
            return Refusal.TRUNCATED
        return Refusal.OVERSIZE if content > min(CHUNK, self._left) else length

    def take(self, frame: bytes) -> bytes | Refusal | None:
        """Take a frame; the message with the last one, None before."""
        way = self._way
        content: bytes | None = frame
        if way.cipher is not None:
            content = open_sealed(way.cipher, _nonce(len(self._chunks)), frame, way.bound)
        if content is None:
            return Refusal.UNAUTHENTIC
        if not content or content[0] > 1:
            return Refusal.MALFORMED
        is_last, chunk = content[0] == 1, content[1:]
        # Only the last may be short: a message is no more frames than its bytes need.
        if len(chunk) > self._left or not (is_last or len(chunk) == CHUNK):
            return Refusal.MALFORMED
        self._left -= len(chunk)
        self._chunks.append(chunk)
        if not is_last:
            return None
        body = b"".join(self._chunks)
        payload = body if way.key is None else way.key.unsigned(body, way.bound)
        return Refusal.WRONG_ROLE if payload is None else payload


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
