"""How a datagram is laid out.

| bytes | what |
|---|---|
| 0 | version: 1 |
| 1-4 | id of the key |
| 5-16 | session of the sender: random, drawn at each start |
| 17-22 | sequence number of the datagram in its session, big-endian |
| 23- | the sealed body, and at its end the tag of 16 bytes |

The body begins with its kind: 0 data, 1 challenge, 2 answer, 3 data again; so it is never empty,
which some versions of the cipher refuse. Under a signed key the signature follows, 64 bytes, but
for challenges. Data that is sent again has the number that it had at first before its payload, 6
bytes. Version 0 is plaintext: the payload follows at once.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import attrs

from federlib.transport.protocol import MAX_PACKET
from federlib.transport.refusals import Refusal

__all__ = ["HEADER", "MAX_SEQUENCE", "PLAIN", "SIGNATURE", "TAG", "VERSION", "Header", "Kind"]

VERSION = 1
PLAIN = 0
KEY_ID = 4
SESSION = 12
TAG = 16
SIGNATURE = 64
MAX_SEQUENCE = 2**48 - 1
"""At a million datagrams a second a session lasts for eight years."""

_LAYOUT = struct.Struct(f">B{KEY_ID}s{SESSION}sHI")
HEADER = _LAYOUT.size
OVERHEAD = HEADER + 1 + TAG

SEQUENCE = 6
ROOM = OVERHEAD + SEQUENCE
"""What a payload leaves free: it may have to be sent again, under its first number."""


class Kind(IntEnum):
    """What a datagram is for."""

    DATA = 0
    CHALLENGE = 1
    ANSWER = 2
    AGAIN = 3


KINDS = {int(kind): kind for kind in Kind}


@attrs.frozen(slots=True)
class Header:
    """The open part of a sealed datagram; its tag covers it.

    Attributes:
        key_id: Which key seals it.
        session: Which run of which sender.
        sequence: Which datagram of that run; 1 and up.
    """

    key_id: bytes
    session: bytes
    sequence: int

    def pack(self) -> bytes:
        """Return its bytes."""
        high, low = divmod(self.sequence, 1 << 32)
        return _LAYOUT.pack(VERSION, self.key_id, self.session, high, low)


def read_header(packet: bytes) -> Header | Refusal:
    """Read the header of a datagram from anybody; says what is wrong instead of raising."""
    if len(packet) > MAX_PACKET:
        return Refusal.OVERSIZE
    if not packet:
        return Refusal.TRUNCATED
    if packet[0] != VERSION:
        return Refusal.PLAINTEXT if packet[0] == PLAIN else Refusal.VERSION
    if len(packet) < OVERHEAD:
        return Refusal.TRUNCATED
    _, key_id, session, high, low = _LAYOUT.unpack_from(packet)
    return Header(key_id, session, high << 32 | low)
