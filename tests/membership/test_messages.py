"""Packets: they come back as they went, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.membership.messages import (
    FORMAT,
    MAX_COORDINATE_BYTES,
    MAX_STATE_BYTES,
    MAX_UPDATES,
    Ack,
    Alive,
    ConfirmationPing,
    Dead,
    Digest,
    Gossip,
    Heartbeat,
    IndirectAck,
    Leave,
    Message,
    Nack,
    Packet,
    Ping,
    PingReq,
    Reason,
    Refused,
    Row,
    State,
    Suspect,
    Update,
    decode_packet,
    encode_message,
    encode_update,
    pack,
)
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole

NODE = NodeId("gate-1", 1_700_000_000_000)
MANY = settings(max_examples=100, deadline=None)

numbers = st.integers(0, 2**53)
nodes = st.builds(NodeId, st.text(min_size=1, max_size=128).filter(str.isprintable), numbers)
seqs = st.integers(0, 2**32 - 1)
coordinates = st.none() | st.binary(max_size=MAX_COORDINATE_BYTES)
names = st.text(min_size=1, max_size=128).filter(str.isprintable)
addresses = st.text(min_size=1, max_size=262).filter(str.isprintable)
roles = st.sampled_from(PeerRole)
lives = st.builds(Alive, nodes, numbers, addresses, roles)
updates = st.one_of(
    lives,
    st.builds(Suspect, nodes, numbers, names),
    st.builds(Dead, nodes, numbers, names),
    st.builds(Leave, nodes, numbers),
)
rows = st.builds(Row, nodes, numbers, addresses, roles, st.sampled_from((0, 1, 2, 3)))
messages = st.one_of(
    st.builds(Ping, seqs, names, nodes, numbers, coordinates),
    st.builds(PingReq, seqs, nodes, numbers, nodes, st.integers(0, 60_000)),
    st.builds(Ack, seqs, nodes, numbers, coordinates, st.none() | st.floats(0, 10_000)),
    st.builds(IndirectAck, seqs, nodes, numbers, nodes, numbers),
    st.builds(Nack, seqs, nodes, numbers),
    st.builds(Gossip, nodes, numbers),
    st.builds(ConfirmationPing, seqs, names, lives, coordinates),
    st.builds(Heartbeat, seqs, lives, coordinates),
    st.builds(Digest, lives, st.binary(max_size=1_024)),
    st.builds(
        State,
        lives,
        st.lists(rows, max_size=5).map(tuple),
        st.binary(max_size=64),
        st.integers(1, 256),
    ),
)


def encoded(message: Message, *said: Update) -> bytes:
    return pack(encode_message(message), [encode_update(each) for each in said])


@MANY
@given(messages, st.lists(updates, max_size=20))
def test_a_packet_comes_back_as_it_went(message: Message, said: list[Update]) -> None:
    assert decode_packet(encoded(message, *said)) == Packet(FORMAT, message, tuple(said))


@pytest.mark.parametrize("many", [0, 1, 15, 16, MAX_UPDATES])
def test_as_many_updates_as_there_may_be(many: int) -> None:
    said = [Suspect(NODE, 3, "a")] * many
    assert decode_packet(encoded(Gossip(NODE, 0), *said)).updates == tuple(said)


def test_a_ping_without_its_coordinate_is_short() -> None:
    ping = Ping(2**32 - 1, "manager-2", NODE, 3, b"")
    assert len(encoded(ping)) < 50


def refusal(payload: bytes, **limits: int) -> Reason:
    with pytest.raises(Refused) as refused:
        decode_packet(payload, **limits)
    return refused.value.reason


PING = encoded(Ping(1, "b", NODE, 0))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(PING[:-1], "malformed", id="torn"),
        pytest.param(PING + b"\x00", "malformed", id="more follows"),
        pytest.param(b"\x92\x02" + PING[2:], "version", id="a later version"),
        pytest.param(b"\x92\x02\x00", "version", id="a later version of another shape"),
        pytest.param(b"\x92\x00" + PING[2:], "malformed", id="version 0"),
        pytest.param(b"\x80", "malformed", id="a map"),
        pytest.param(b"\xc1", "malformed", id="never used"),
        pytest.param(b"\x91" * 100_000, "malformed", id="deep"),
        pytest.param(b"\x92\x01\xdd\xff\xff\xff\xff", "malformed", id="four thousand million"),
        pytest.param(encoded(Ping(1, "", NODE, 0)), "malformed", id="no target"),
        pytest.param(encoded(Ping(2**32, "b", NODE, 0)), "malformed", id="a long number"),
        pytest.param(encoded(Ping(1, "b", NodeId("x" * 129, 1), 0)), "malformed", id="long name"),
        pytest.param(encoded(Ping(1, "b", NODE, 2**53 + 1)), "malformed", id="incarnation"),
        pytest.param(
            encoded(Ping(1, "b", NODE, 0, bytes(MAX_COORDINATE_BYTES + 1))),
            "malformed",
            id="a long coordinate",
        ),
        pytest.param(encoded(Ack(1, NODE, 0, None, -1.0)), "malformed", id="rtt below zero"),
        pytest.param(
            encoded(Ack(1, NODE, 0, None, float("nan"))), "malformed", id="rtt not a number"
        ),
    ],
)
def test_what_is_no_packet_is_refused(payload: bytes, reason: Reason) -> None:
    assert refusal(payload) == reason


def test_too_many_updates_are_refused() -> None:
    said = [Leave(NODE, 3)] * (MAX_UPDATES + 1)
    assert refusal(encoded(Gossip(NODE, 0), *said)) == "malformed"


def test_what_is_too_long_is_not_looked_at() -> None:
    assert refusal(bytes(MAX_STATE_BYTES + 1)) == "oversize"
    assert refusal(PING, most_bytes=len(PING) - 1) == "oversize"


def decoded(payload: bytes) -> Packet | Reason:
    try:
        return decode_packet(payload)
    except Refused as refused:
        return refused.reason


@MANY
@given(st.binary(max_size=200))
def test_noise_is_a_packet_or_refused(payload: bytes) -> None:
    found = decoded(payload)
    assert isinstance(found, Packet) or found in {"empty", "malformed", "version"}


@MANY
@given(messages, st.lists(updates, max_size=3), st.data())
def test_a_flipped_byte_is_a_packet_or_refused(
    message: Message, said: list[Update], data: st.DataObject
) -> None:
    broken = bytearray(encoded(message, *said))
    place = data.draw(st.integers(0, len(broken) - 1))
    broken[place] ^= data.draw(st.integers(1, 255))
    found = decoded(bytes(broken))
    assert isinstance(found, Packet) or found in {"malformed", "version"}
