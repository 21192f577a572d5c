"""What members say to each other: a versioned tagged union in msgpack, and nothing else.

A packet is ``[version, message, updates]``; every struct is an array, so that a ping stays
below 50 bytes and its coordinate. Updates ride on whatever is sent anyway. No instant is ever
sent, only durations: the clocks of two members may lie hours apart.

Decoding is total: what is torn, too long, of a newer version or of no known kind raises
`Refused` with a reason from a closed set, before anything is allocated for it.

The types are the format, field by field; so they stand in one table with what encodes them.

Source: seed §12.2.1-12.2.3 (`vivaldi_coord`, `rtt_ms`); research membership-routing §4, §8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from federlib.membership.node import Name, NodeId, Number
from federlib.membership.roles import PeerRole

__all__ = [
    "FORMAT",
    "MAX_ADDRESS",
    "MAX_COORDINATE_BYTES",
    "MAX_PACKET_BYTES",
    "MAX_STATE_BYTES",
    "MAX_UPDATES",
    "PACKET_FRAME_BYTES",
    "Ack",
    "Alive",
    "ConfirmationPing",
    "Dead",
    "Digest",
    "Gossip",
    "Heartbeat",
    "IndirectAck",
    "Leave",
    "Message",
    "Nack",
    "Packet",
    "Ping",
    "PingReq",
    "Reason",
    "Refused",
    "Row",
    "State",
    "Suspect",
    "Update",
    "decode_packet",
    "encode_message",
    "encode_update",
    "pack",
]

FORMAT: Final = 1

MAX_PACKET_BYTES = 1_400
"""Of a datagram, its seal included: it is never split on the way."""

MAX_STATE_BYTES = 4 * 1024 * 1024
"""Of a stream's message: the rows of some 50,000 members."""

MAX_ADDRESS = 262
"""A host name of 253 characters, a colon and a port, with room for brackets."""

MAX_COORDINATE_BYTES = 160
"""A coordinate of eight dimensions takes 90; the rest is room for later versions of it."""

MAX_UPDATES = 256
MAX_ROWS = 65_536
MAX_DIGEST_BYTES = 4_096
MAX_WAIT_MS = 60_000
MAX_RTT_MS = 10_000.0

Reason = Literal[
    "empty",
    "own",
    "oversize",
    "malformed",
    "version",
    "role",
    "name",
    "stale",
    "stranger",
    "unasked",
    "budget",
    "leap",
    "full",
]
"""Why something from the network was refused; each is counted by its name."""

Address = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ADDRESS)]
Sequence_ = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Coordinate = Annotated[bytes, msgspec.Meta(max_length=MAX_COORDINATE_BYTES)]
RttMs = Annotated[float, msgspec.Meta(ge=0, le=MAX_RTT_MS)]
Buckets = Annotated[bytes, msgspec.Meta(max_length=MAX_DIGEST_BYTES)]
RowState = Literal[0, 1, 2, 3]


class Alive(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A member says of itself that it lives, and where.

    Attributes:
        node: Who.
        incarnation: How often this run has had to say so.
        address: Where it listens; ``host:port``.
        role: What it is.
    """

    node: NodeId
    incarnation: Number
    address: Address
    role: PeerRole


class Suspect(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Somebody gets no answer from a member.

    Attributes:
        node: From whom.
        incarnation: Which incarnation is suspected.
        accuser: Name of who gets none.
    """

    node: NodeId
    incarnation: Number
    accuser: Name


class Dead(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A suspect has not refuted in time.

    Attributes:
        node: Who.
        incarnation: Which incarnation was suspected.
        accuser: Name of who waited.
    """

    node: NodeId
    incarnation: Number
    accuser: Name


class Leave(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A member said goodbye.

    Attributes:
        node: Who.
        incarnation: Its last.
    """

    node: NodeId
    incarnation: Number


Update: TypeAlias = Alive | Suspect | Dead | Leave


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Asks one member whether it is there.

    Attributes:
        seq: Comes back in the answer.
        target: Name of who is meant; another one at that address does not answer.
        sender: Who asks.
        incarnation: Of the sender.
        vivaldi_coord: Of the sender; encoded, or None.
    """

    seq: Sequence_
    target: Name
    sender: NodeId
    incarnation: Number
    vivaldi_coord: Coordinate | None = None


class PingReq(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Asks another member to ping a third one.

    Attributes:
        seq: Comes back in the answer.
        sender: Who asks.
        incarnation: Of the sender.
        target: Who is to be pinged, where the relay itself knows it to be: a request never says
            where to send a packet.
        wait_ms: When a nack is owed if no ack has come; a duration.
    """

    seq: Sequence_
    sender: NodeId
    incarnation: Number
    target: NodeId
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_MS)]


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answers a ping, a confirmation ping or a heartbeat.

    Attributes:
        seq: Of what it answers.
        sender: Who answers.
        incarnation: Of the sender.
        vivaldi_coord: Of the sender; encoded, or None.
        rtt_ms: What the sender itself last measured to the one it answers; None before that.
    """

    seq: Sequence_
    sender: NodeId
    incarnation: Number
    vivaldi_coord: Coordinate | None = None
    rtt_ms: RttMs | None = None


class IndirectAck(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A relay heard the target that it was asked to ping.

    Attributes:
        seq: Of the request.
        sender: The relay.
        incarnation: Of the relay.
        target: Who answered it.
        target_incarnation: As the target said.
    """

    seq: Sequence_
    sender: NodeId
    incarnation: Number
    target: NodeId
    target_incarnation: Number


class Nack(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A relay is well, but heard nothing of the target.

    Attributes:
        seq: Of the request.
        sender: The relay.
        incarnation: Of the relay.
    """

    seq: Sequence_
    sender: NodeId
    incarnation: Number


class Gossip(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Says nothing itself: its packet brings updates.

    Attributes:
        sender: Who sends them.
        incarnation: Of the sender.
    """

    sender: NodeId
    incarnation: Number


class ConfirmationPing(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Asks somebody known by hearsay only; the answer confirms it.

    Attributes:
        seq: Comes back in the answer.
        target: Name of who is meant.
        me: Who asks, complete: the other one may not know the sender either.
        vivaldi_coord: Of the sender; encoded, or None.
    """

    seq: Sequence_
    target: Name
    me: Alive
    vivaldi_coord: Coordinate | None = None


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A worker says that it lives; nobody probes it.

    Attributes:
        seq: Comes back in the answer.
        me: Who lives.
        vivaldi_coord: Of the sender; encoded, or None.
    """

    seq: Sequence_
    me: Alive
    vivaldi_coord: Coordinate | None = None


class Digest(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """What the sender knows of all members, as checksums; who knows otherwise answers.

    Attributes:
        me: The sender.
        buckets: Four bytes for each of a power of two of buckets.
    """

    me: Alive
    buckets: Buckets


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What the sender knows of one member.

    Attributes:
        node: Of whom.
        incarnation: The latest known.
        address: Where it listens.
        role: What it is.
        state: 0 alive, 1 suspect, 2 dead, 3 left.
    """

    node: NodeId
    incarnation: Number
    address: Address
    role: PeerRole
    state: RowState


class State(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The rows of those buckets in which two members differ.

    Attributes:
        me: The sender.
        rows: What it knows.
        wanted: Numbers of the buckets whose rows it wants back, two bytes each; empty in the
            answer.
        buckets: How many buckets these numbers count.
    """

    me: Alive
    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=MAX_ROWS)]
    wanted: Annotated[bytes, msgspec.Meta(max_length=2 * 1_024)]
    buckets: Annotated[int, msgspec.Meta(ge=1, le=1_024)]


Message: TypeAlias = (
    Ping
    | PingReq
    | Ack
    | IndirectAck
    | Nack
    | Gossip
    | ConfirmationPing
    | Heartbeat
    | Digest
    | State
)


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """One message and what rides on it.

    Attributes:
        v: Version of the format.
        message: What is said.
        updates: What is told on the way, most urgent first.
    """

    v: int
    message: Message
    updates: Annotated[tuple[Update, ...], msgspec.Meta(max_length=MAX_UPDATES)] = ()


class Refused(Exception):  # noqa: N818 (named for what happened)
    """What came is no packet of ours.

    Attributes:
        reason: From a closed set.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Packet)

# The bytes of a small array and of the version, as every packet of ours begins.
_ALONE = bytes((0x92, FORMAT))
_LADEN = bytes((0x93, FORMAT))
_NEWER = range(FORMAT + 1, 0x80)

PACKET_FRAME_BYTES = 5
"""What a packet adds to its message and its updates, at most."""


def encode_message(message: Message) -> bytes:
    """Encode a message; `pack` makes a packet of it."""
    return _ENCODER.encode(message)


def pack(message: bytes, updates: Sequence[bytes] = ()) -> bytes:
    """Make a packet of an encoded message and of encoded updates, at most 256."""
    if not updates:
        return _ALONE + message
    many = len(updates)
    head = bytes((0x90 | many,)) if many < 16 else b"\xdc" + many.to_bytes(2, "big")
    return b"".join((_LADEN, message, head, *updates))


def encode_update(update: Update) -> bytes:
    """Encode an update, once for all packets that it will ride on."""
    return _ENCODER.encode(update)


def decode_packet(payload: bytes, *, most_bytes: int = MAX_STATE_BYTES) -> Packet:
    """Decode what came from the network.

    Args:
        payload: As the transport opened it.
        most_bytes: Nothing longer is looked at.

    Raises:
        Refused: ``empty``, ``oversize``, ``version`` or ``malformed``; and nothing else, ever.
    """
    if not payload:
        raise Refused("empty")
    if len(payload) > most_bytes:
        raise Refused("oversize")
    try:
        packet = _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        newer = len(payload) > 1 and payload[0] & 0xF0 == 0x90 and payload[1] in _NEWER
        raise Refused("version" if newer else "malformed") from None
    if packet.v != FORMAT:
        raise Refused("version" if packet.v > FORMAT else "malformed")
    return packet
