"""How two runs meet, what a datagram carries, roles and rotations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from federlib.errors import InvalidInput, Unavailable
from federlib.transport import MAX_PACKET, Key, Keyring, Limits
from federlib.transport.envelope import HEADER, MAX_SEQUENCE, OVERHEAD
from federlib.transport.packets import PlainPackets
from federlib.transport.refusals import Refusal
from transport.keys import OTHER, SECRET
from transport.pairs import ADA, BEN, Run, S, Wire


def test_the_first_datagram_arrives_after_one_challenge(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"hello")
    assert ben.payloads == [b"hello"]
    assert ben.inbox[0].is_first
    assert ben.refused == {Refusal.UNCONFIRMED: 1}
    assert [(sender, len(packet)) for sender, _, packet in wire.record] == [
        (ADA, 45),
        (BEN, 74),  # challenge
        (ADA, 72),  # answer, with a cookie for Ben
        (ADA, 51),  # the datagram again, with the number it had
        (BEN, 72),  # answer
    ]
    wire.record.clear()
    wire.send(ada, ben, b"more")
    wire.send(ben, ada, b"back")
    assert (ben.payloads, ada.payloads) == ([b"hello", b"more"], [b"back"])
    assert len(wire.record) == 2
    assert ada.refused == {}


def test_the_first_that_comes_after_an_exchange_is_known_by_either_end(
    wire: Wire, ada: Run, ben: Run
) -> None:
    # Ben's last answer is lost: he knows Ada, and she does not know him.
    wire.loses = lambda sender, _to, packet: sender == ADA and len(packet) == 72
    wire.send(ben, ada, b"hello")
    wire.send(ada, ben, b"lost")
    assert (ada.payloads, ben.payloads) == ([b"hello"], [])
    wire.loses = lambda _sender, _to, _packet: False
    wire.send(ada, ben, b"ping")
    wire.send(ben, ada, b"ack")
    wire.send(ben, ada, b"more")
    assert [(each.payload, each.is_first) for each in ada.inbox] == [
        (b"hello", True),
        (b"ack", True),
        (b"more", False),
    ]


def test_the_envelope_costs_forty_bytes_and_nothing_is_longer_than_a_packet(
    wire: Wire, ada: Run, ben: Run
) -> None:
    assert OVERHEAD == 40
    assert ada.packets.max_payload == 1_354
    wire.send(ada, ben, b"x" * 1_354)
    assert [len(packet) for _, _, packet in wire.record] == [1_394, 74, 72, MAX_PACKET, 72]
    with pytest.raises(InvalidInput, match="at most 1354 bytes in a datagram"):
        ada.packets.seal(b"x" * 1_355, BEN, wire.now_ns)


def test_every_datagram_has_another_nonce_and_none_shows_its_content(
    wire: Wire, ada: Run, ben: Run
) -> None:
    for _ in range(50):
        wire.send(ada, ben, b"the same words")
    headers = {packet[1:HEADER] for _, _, packet in wire.record}
    assert len(headers) == len(wire.record)
    assert not any(b"same words" in packet for _, _, packet in wire.record)


def test_what_was_in_flight_together_arrives_once_each(wire: Wire, ada: Run, ben: Run) -> None:
    for number in range(20):
        wire.launch(ada, ben, b"a%d" % number)
        wire.launch(ben, ada, b"b%d" % number)
    wire.settle()
    assert ben.payloads == [b"a%d" % number for number in range(20)]
    assert ada.payloads == [b"b%d" % number for number in range(20)]


def test_a_lost_challenge_costs_one_datagram(wire: Wire, ada: Run, ben: Run) -> None:
    wire.loses = lambda sender, _to, _packet: sender == BEN
    wire.send(ada, ben, b"lost")
    wire.loses = lambda _sender, _to, _packet: False
    wire.send(ada, ben, b"kept")
    assert ben.payloads == [b"kept"]


def test_a_late_challenge_is_answered_but_the_datagram_has_had_its_time(
    wire: Wire, ada: Run, ben: Run
) -> None:
    wire.launch(ada, ben, b"late")
    _, _, packet = wire.flying.pop()
    wire.now_ns += 3 * S
    wire.inject(ADA, ben, packet)
    assert ben.payloads == []
    wire.send(ada, ben, b"next")
    assert ben.payloads == [b"next"]


def test_a_peer_that_moves_is_heard_at_its_new_address(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"0")
    for step in range(1, 7):
        ada.address = f"10.0.1.{step}:7000"
        wire.runs = {ada.address: ada, BEN: ben}
        wire.send(ada, ben, b"%d" % step)
    assert ben.payloads == [b"%d" % step for step in range(7)]
    assert {each.address for each in ben.inbox[-1:]} == {"10.0.1.6:7000"}
    assert len(ben.packets.sessions) == 1


def test_the_role_is_that_of_the_key() -> None:
    gate, worker = Key(SECRET, role="gate"), Key(SECRET, role="worker")
    ada = Run(ADA, keyring=Keyring(worker, read=[gate]))
    ben = Run(BEN, keyring=Keyring(gate, read=[worker]))
    wire = Wire(ada, ben)
    wire.send(ada, ben, b"I am a gate")
    wire.send(ben, ada, b"I am a gate")
    assert (ben.inbox[0].role, ada.inbox[0].role) == ("worker", "gate")
    assert not ben.inbox[0].vouches_for("gate")
    assert ben.inbox[0].vouches_for("worker")


def test_a_key_without_a_role_vouches_for_any(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"x")
    assert ben.inbox[0].role is None
    assert ben.inbox[0].vouches_for("gate")


def test_keys_rotate_without_losing_a_datagram(wire: Wire, ada: Run, ben: Run) -> None:
    sent: list[bytes] = []

    def talk() -> None:
        for _ in range(3):
            for one, other in ((ada, ben), (ben, ada)):
                sent.append(b"%d" % len(sent))
                wire.send(one, other, sent[-1])

    old, new = ada.keyring.primary.key_id, Key(OTHER).key_id
    steps: tuple[Callable[[Keyring], None], ...] = (
        lambda ring: ring.install(Key(OTHER)),
        lambda ring: ring.use(new),
        lambda ring: ring.remove(old),
    )
    talk()
    for step in steps:
        for run in (ada, ben):
            step(run.keyring)
            talk()
    assert sorted(ada.payloads + ben.payloads) == sorted(sent)
    # The run is the same, so it was not even challenged again.
    assert ada.refused + ben.refused == {Refusal.UNCONFIRMED: 1}
    last = [packet for _, to, packet in wire.record if to == BEN][-1]
    assert last[1:5].hex() == new


def test_a_removed_key_is_not_believed_even_from_a_known_run(
    wire: Wire, ada: Run, ben: Run
) -> None:
    wire.send(ada, ben, b"1")
    ben.keyring.install(Key(OTHER))
    ben.keyring.use(Key(OTHER).key_id)
    ben.keyring.remove(Key(SECRET).key_id)
    wire.send(ada, ben, b"2")
    assert ben.payloads == [b"1"]
    assert ben.refused[Refusal.UNKNOWN_KEY] == 1


def test_many_rotations_keep_few_ciphers(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"x")
    for number in range(10):
        key = Key(bytes([number]) * 32)
        for run in (ada, ben):
            run.keyring.install(key)
            run.keyring.use(key.key_id)
        wire.send(ada, ben, b"%d" % number)
    assert len(ben.inbox) == 11
    [peer] = ben.packets.sessions._peers.values()
    assert len(peer.ciphers) == 4


def test_a_session_ends_before_its_numbers_do(ada: Run) -> None:
    ada.packets._sequence = MAX_SEQUENCE - 1
    ada.packets.seal(b"last", BEN, 0)
    with pytest.raises(Unavailable, match="no numbers left"):
        ada.packets.seal(b"one more", BEN, 0)


def test_what_is_kept_to_be_sent_again_is_bounded(ada: Run) -> None:
    for number in range(2_000):
        ada.packets.seal(b"%d" % number, BEN, 0)
    assert len(ada.packets._sent) == 512


def test_the_core_shows_no_secret(ada: Run) -> None:
    assert repr(ada.packets) == f"SealedPackets(session={ada.packets._session.hex()!r}, sent=0)"


@pytest.mark.parametrize("cluster", ["", "x" * 129])
def test_a_cluster_has_a_name(cluster: str) -> None:
    with pytest.raises(InvalidInput, match="cluster"):
        Run(ADA, cluster=cluster)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b"", Refusal.TRUNCATED),
        (b"\x01" + bytes(60), Refusal.PLAINTEXT),
        (b"\x02", Refusal.VERSION),
        (bytes(1_401), Refusal.OVERSIZE),
    ],
)
def test_plaintext_refuses_what_is_not(packet: bytes, expected: Refusal) -> None:
    assert PlainPackets(Limits()).take(packet, ADA, 0).refused is expected


def test_plaintext_carries_as_much_as_a_key_would() -> None:
    plain = PlainPackets(Limits())
    assert plain.max_payload == 1_354
    packet = plain.seal(b"x" * 1_354, BEN, 0)
    received = plain.take(packet, ADA, 0).delivered
    assert received is not None
    assert (received.payload, received.role, received.session) == (b"x" * 1_354, None, "")
    with pytest.raises(InvalidInput):
        plain.seal(b"x" * 1_355, BEN, 0)
