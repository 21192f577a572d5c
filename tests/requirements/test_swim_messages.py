"""AD-35 §12.2: coordinates ride on pings and acks; one test a sentence, through the core.

The seed's dict of position, height and error is bytes here, which decode to these.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from federlib.membership import NodeId, PeerMeasured, PeerRole, Send, SwimCore
from federlib.membership.effects import Effect
from federlib.membership.messages import (
    MAX_PACKET_BYTES,
    Ack,
    Alive,
    ConfirmationPing,
    Message,
    Ping,
    decode_packet,
    encode_message,
    pack,
)
from federlib.transport.envelope import OVERHEAD
from federlib.vivaldi import VivaldiCoordinate, decode_coordinate, encode_coordinate

HERE = VivaldiCoordinate(position=(1.0, 2.0, 3.0, 4.0), height=0.5, error=0.2, sample_count=30)
THERE = VivaldiCoordinate(position=(9.0, 8.0, 7.0, 6.0), height=1.5, error=0.1, sample_count=99)
MANAGER = NodeId("manager-1", 1)


def encoded(coordinate: VivaldiCoordinate) -> bytes:
    return encode_coordinate(coordinate, now_s=0.0)


def new_core() -> SwimCore:
    core = SwimCore(
        NodeId("gate-1", 1),
        "10.0.0.1:1",
        PeerRole.GATE,
        rng=random.Random(1),
        coordinate=lambda: encoded(HERE),
    )
    core.start(0.0)
    asks = ConfirmationPing(1, "gate-1", Alive(MANAGER, 0, "10.0.0.2:1", PeerRole.MANAGER))
    hand(core, asks, 0.0)
    return core


def hand(core: SwimCore, message: Message, now_s: float) -> tuple[Effect, ...]:
    payload = pack(encode_message(message))
    return core.handle(payload, "10.0.0.2:1", PeerRole.MANAGER, now_s)


def sent(effects: Iterable[Effect]) -> list[Message]:
    return [decode_packet(each.payload).message for each in effects if isinstance(each, Send)]


def first_ping(core: SwimCore) -> tuple[Ping, float]:
    while True:
        wake_s = core.next_wake_s
        assert wake_s is not None
        for message in sent(core.tick(wake_s)):
            if isinstance(message, Ping):
                return message, wake_s


def answered(core: SwimCore, ping: Ping) -> Ack:
    (ack,) = (each for each in sent(hand(core, ping, 0.1)) if isinstance(each, Ack))
    return ack


def test_pings_carry_the_local_coordinate() -> None:
    """12.2.1 and 12.2.6: position, height and error."""
    ping, _ = first_ping(new_core())
    assert ping.vivaldi_coord is not None
    found = decode_coordinate(ping.vivaldi_coord, now_s=0.0)
    assert found is not None
    assert (found.position, found.height) == (HERE.position, HERE.height)
    assert found.error == pytest.approx(HERE.error)


def test_acks_carry_the_local_coordinate() -> None:
    """12.2.2 and 12.2.7."""
    ack = answered(new_core(), Ping(9, "gate-1", MANAGER, 0, encoded(THERE)))
    assert ack.vivaldi_coord == encoded(HERE)


def test_acks_carry_the_measured_rtt() -> None:
    """12.2.3 and 12.2.7: who answers says what it last measured itself to who asked."""
    core = new_core()
    assert answered(core, Ping(8, "gate-1", MANAGER, 0)).rtt_ms is None
    ping, sent_s = first_ping(core)
    hand(core, Ack(ping.seq, MANAGER, 0), sent_s + 0.040)
    assert answered(core, Ping(9, "gate-1", MANAGER, 0)).rtt_ms == pytest.approx(40.0)


def test_the_round_trip_is_from_the_send_of_the_ping_to_its_ack() -> None:
    """12.2.8 and 12.2.9: with the coordinate that the ack brought, it is handed on once."""
    core = new_core()
    ping, sent_s = first_ping(core)
    ack = Ack(ping.seq, MANAGER, 0, encoded(THERE), 35.0)
    effects = hand(core, ack, sent_s + 0.040)
    (measured,) = (each for each in effects if isinstance(each, PeerMeasured))
    assert measured.rtt_ms == pytest.approx(40.0)
    assert (measured.name, measured.their_rtt_ms) == ("manager-1", 35.0)
    assert measured.vivaldi_coord == encoded(THERE)
    again = hand(core, ack, sent_s + 1.0)
    assert not any(isinstance(each, PeerMeasured) for each in again)


def test_a_coordinate_takes_50_to_80_bytes_and_a_ping_stays_far_below_a_packet() -> None:
    """Within the packet budget, 50 to 80 bytes for a coordinate."""
    assert 50 <= len(encoded(HERE)) <= 80
    ping, _ = first_ping(new_core())
    assert len(pack(encode_message(ping))) + OVERHEAD < MAX_PACKET_BYTES / 8
