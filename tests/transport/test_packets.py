"""How two runs meet, and what nobody gets past them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from federlib.errors import InvalidInput, Unavailable
from federlib.transport import MAX_PACKET, Key, Keyring, Limits, fits_reply
from federlib.transport.envelope import HEADER, MAX_SEQUENCE, OVERHEAD, Kind
from federlib.transport.packets import PlainPackets
from federlib.transport.refusals import Refusal
from transport.keys import OTHER, SECRET, SIGN, VERIFY
from transport.pairs import Run, S, Wire

ADA = "10.0.0.1:7000"
BEN = "10.0.0.2:7000"
MALLORY = "10.6.6.6:6666"


@pytest.fixture
def ada() -> Run:
    return Run(ADA)


@pytest.fixture
def ben() -> Run:
    return Run(BEN)


@pytest.fixture
def wire(ada: Run, ben: Run) -> Wire:
    return Wire(ada, ben)


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


def test_a_replay_is_refused(wire: Wire, ada: Run, ben: Run) -> None:
    for number in range(5):
        wire.send(ada, ben, b"%d" % number)
    before = list(ben.payloads)
    for sender, to, packet in list(wire.record):
        if to == BEN:
            wire.inject(sender, ben, packet)
    assert ben.payloads == before
    assert ben.refused[Refusal.REPLAYED] >= 5


def test_a_replay_from_another_address_is_refused_too(wire: Wire, ada: Run, ben: Run) -> None:
    packet = wire.send(ada, ben, b"once")
    wire.inject(MALLORY, ben, packet)
    assert ben.payloads == [b"once"]
    assert ben.refused[Refusal.REPLAYED] == 1


def test_nothing_recorded_gets_past_a_restart(wire: Wire, ada: Run, ben: Run) -> None:
    for number in range(10):
        wire.send(ada, ben, b"%d" % number)
    recorded = [packet for _, to, packet in wire.record if to == BEN]
    again = Run(BEN)
    wire.runs = {BEN: again}  # Ada's run has ended too
    for packet in recorded:
        wire.inject(ADA, again, packet)
    assert (again.inbox, len(again.packets.sessions)) == ([], 0)
    assert again.refused[Refusal.UNCONFIRMED] == 11
    # Her answers were for the old run's challenges.
    assert again.refused[Refusal.BAD_COOKIE] == 1


def test_nothing_recorded_gets_past_a_restart_while_its_sender_lives(
    wire: Wire, ada: Run, ben: Run
) -> None:
    for number in range(10):
        wire.send(ada, ben, b"%d" % number)
    recorded = [packet for _, to, packet in wire.record if to == BEN]
    wire.now_ns += 3_600 * S
    again = Run(BEN)
    wire.runs = {ADA: ada, BEN: again}
    for _ in range(2):
        for packet in recorded:
            wire.inject(ADA, again, packet)
    # Ada lives, but what she said an hour ago she does not vouch for.
    assert (again.inbox, len(again.packets.sessions)) == ([], 0)
    assert ada.refused[Refusal.STALE_CHALLENGE] == 22
    wire.send(ada, again, b"now")
    assert again.payloads == [b"now"]


def test_a_recorded_answer_does_not_bring_back_a_run_that_was_pushed_out() -> None:
    ben = Run(BEN, limits=Limits(sessions=1))
    ada, cy = Run(ADA), Run("10.0.0.3:7000")
    wire = Wire(ada, ben, cy)
    wire.send(ada, ben, b"once")
    recorded = [packet for sender, to, packet in wire.record if to == BEN]
    wire.send(cy, ben, b"other")
    assert len(ben.packets.sessions) == 1
    del wire.runs[ADA]
    for packet in recorded * 2:
        wire.inject(ADA, ben, packet)
    assert ben.payloads == [b"once", b"other"]
    assert ben.refused[Refusal.BAD_COOKIE] >= 1
    wire.runs[ADA] = ada
    wire.send(ada, ben, b"again")
    assert ben.payloads[-1] == b"again"


def test_a_silent_run_is_forgotten_and_comes_back_by_a_challenge() -> None:
    ben = Run(BEN, limits=Limits(session_idle_s=120))
    ada, cy = Run(ADA), Run("10.0.0.3:7000")
    wire = Wire(ada, ben, cy)
    wire.send(ada, ben, b"1")
    recorded = [packet for _, to, packet in wire.record if to == BEN]
    wire.now_ns += 121 * S
    wire.send(cy, ben, b"2")
    assert len(ben.packets.sessions) == 1
    for packet in recorded:
        wire.inject(ADA, ben, packet)
    wire.send(ada, ben, b"3")
    assert ben.payloads == [b"1", b"2", b"3"]


def test_a_cookie_lasts_from_one_to_two_periods(ben: Run) -> None:
    sessions = ben.packets.sessions
    peer = ("", b"s" * 12)
    for now_s, is_good in ((0, True), (30, True), (59, True), (60, False), (3_600, False)):
        cookie = sessions.cookie(peer, ADA, 0)
        assert sessions.is_cookie(cookie, peer, ADA, now_s * S) == is_good
    cookie = sessions.cookie(peer, ADA, 0)
    assert not sessions.is_cookie(cookie, peer, BEN, 0)
    assert not sessions.is_cookie(cookie, ("gate", b"s" * 12), ADA, 0)
    assert not sessions.is_cookie(cookie, ("", b"t" * 12), ADA, 0)


def test_another_address_proves_itself_too(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"1")
    # Mallory overtakes Ada's datagram and sends it as his.
    wire.launch(ada, ben, b"2")
    _, _, packet = wire.flying.pop()
    wire.inject(MALLORY, ben, packet)
    assert ben.payloads == [b"1"]
    assert ben.refused[Refusal.UNCONFIRMED] == 2
    wire.inject(ADA, ben, packet)
    assert ben.payloads == [b"1", b"2"]


def test_a_peer_that_moves_is_heard_at_its_new_address(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"0")
    for step in range(1, 7):
        ada.address = f"10.0.1.{step}:7000"
        wire.runs = {ada.address: ada, BEN: ben}
        wire.send(ada, ben, b"%d" % step)
    assert ben.payloads == [b"%d" % step for step in range(7)]
    assert {each.address for each in ben.inbox[-1:]} == {"10.0.1.6:7000"}
    assert len(ben.packets.sessions) == 1


def test_our_own_datagrams_sent_back_are_refused(wire: Wire, ada: Run, ben: Run) -> None:
    packet = wire.send(ada, ben, b"x")
    assert wire.inject(BEN, ada, packet).refused is Refusal.REFLECTED


def test_another_cluster_is_refused_under_the_same_key(ben: Run) -> None:
    stranger = Run(ADA, cluster="test2")
    wire = Wire(stranger, ben)
    wire.send(stranger, ben, b"x")
    assert (ben.inbox, ben.refused) == ([], {Refusal.UNAUTHENTIC: 1})
    assert len(wire.record) == 1


def test_another_key_is_refused(ben: Run) -> None:
    stranger = Run(ADA, keyring=Keyring(Key(OTHER)))
    wire = Wire(stranger, ben)
    wire.send(stranger, ben, b"x")
    assert (ben.inbox, ben.refused) == ([], {Refusal.UNKNOWN_KEY: 1})


def test_every_bit_counts(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"x")
    packet = ada.packets.seal(b"payload", BEN, wire.now_ns)
    for bit in range(len(packet) * 8):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        taken = wire.inject(ADA, ben, bytes(forged))
        assert taken.delivered is None
        assert taken.refused is not None
        assert taken.replies == ()
    # No forgery has touched the window.
    assert wire.inject(ADA, ben, packet).delivered is not None


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b"", Refusal.TRUNCATED),
        (b"\x01", Refusal.TRUNCATED),
        (b"\x01" + bytes(38), Refusal.TRUNCATED),
        (b"\x01" + bytes(39), Refusal.UNKNOWN_KEY),
        (b"\x00hello", Refusal.PLAINTEXT),
        (b"\x02" + bytes(60), Refusal.VERSION),
        (b"\xff", Refusal.VERSION),
        (b"\x01" + bytes(1_400), Refusal.OVERSIZE),
    ],
)
def test_what_is_no_envelope_is_refused(ben: Run, packet: bytes, expected: Refusal) -> None:
    assert ben.packets.take(packet, ADA, 0).refused is expected


def test_a_challenge_of_another_run_is_stale(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"x")
    [challenge] = [packet for _, _, packet in wire.record if len(packet) == 74]
    again = Run(ADA)
    assert wire.inject(BEN, again, challenge).refused is Refusal.STALE_CHALLENGE


@pytest.mark.parametrize("number", [1, 2])
def test_a_body_of_the_wrong_length_is_refused(wire: Wire, ada: Run, ben: Run, number: int) -> None:
    packet = ada.packets._seal(Kind(number), b"short")
    assert wire.inject(ADA, ben, packet).refused is Refusal.MALFORMED


def test_no_reply_to_a_stranger_is_more_than_three_times_as_long() -> None:
    assert fits_reply(300, request_bytes=100)
    assert not fits_reply(301, request_bytes=100)
    signed = Key(SECRET, role="gate", sign=SIGN)
    for key in (Key(SECRET), signed):
        ada, ben = Run(ADA, keyring=Keyring(key)), Run(BEN, keyring=Keyring(signed, read=[key]))
        wire = Wire(ada, ben)
        wire.send(ada, ben, b"")
        shortest = min(len(packet) for _, _, packet in wire.record)
        [challenge] = [packet for sender, _, packet in wire.record[:2] if sender == BEN]
        assert fits_reply(len(challenge), request_bytes=shortest)


def test_a_challenge_sent_again_and_again_brings_one_copy_of_the_datagram(
    wire: Wire, ada: Run, ben: Run
) -> None:
    wire.send(ada, ben, b"x" * 1_000)
    [challenge] = [packet for _, _, packet in wire.record if len(packet) == 74]
    for _ in range(5):
        taken = wire.inject(BEN, ada, challenge)
        assert sum(map(len, taken.replies)) < 3 * len(challenge)
    assert ben.payloads == [b"x" * 1_000]


def test_a_datagram_sent_on_to_another_process_is_not_taken_there(
    wire: Wire, ada: Run, ben: Run
) -> None:
    cy = Run("10.0.0.3:7000")
    wire.runs[cy.address] = cy
    wire.loses = lambda _sender, to, _packet: to == BEN
    packet = wire.send(ada, ben, b"for Ben")
    wire.inject(ADA, cy, packet)
    assert (cy.inbox, cy.refused) == ([], {Refusal.UNCONFIRMED: 1})
    assert ada.refused == {Refusal.STALE_CHALLENGE: 1}


def test_nobody_is_answered_in_anothers_place(wire: Wire, ada: Run, ben: Run) -> None:
    # Mallory has Ada's datagram challenged at his own address, and asks Ada in Ben's words.
    wire.loses = lambda _sender, to, _packet: to == BEN
    packet = wire.send(ada, ben, b"for Ben")
    [challenge] = ben.packets.take(packet, MALLORY, wire.now_ns).replies
    assert wire.inject(MALLORY, ada, challenge).replies == ()
    # In Ben's name he gets an answer, and a cookie for one address is none for another.
    [answer, _] = ada.packets.take(challenge, BEN, wire.now_ns).replies
    assert wire.inject(ADA, ben, answer).refused is Refusal.BAD_COOKIE


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


class Traitor(Key):
    """A key that can only read, in the hands of somebody who seals with it all the same."""

    @property
    def can_seal(self) -> bool:
        return True

    def signed(self, payload: bytes, associated: bytes) -> bytes:
        return bytes(64) + payload


def test_who_can_only_read_a_role_cannot_speak_for_it() -> None:
    reads = Traitor(SECRET, role="gate", verify=VERIFY)
    signs = Key(SECRET, role="gate", sign=SIGN)
    worker = Key(OTHER, role="worker")
    mallory = Run(MALLORY, keyring=Keyring(reads, read=[worker]))
    ben = Run(BEN, keyring=Keyring(worker, read=[Key(SECRET, role="gate", verify=VERIFY)]))
    ada = Run(ADA, keyring=Keyring(signs, read=[worker]))
    wire = Wire(ada, ben, mallory)
    wire.send(ada, ben, b"order")
    wire.send(mallory, ben, b"forged order")
    # Nor under the session of the true gate, from its address.
    mallory.packets._session = ada.packets._session
    mallory.packets._sequence = 1_000
    mallory.packets._sealing = None
    forged = mallory.packets.seal(b"forged order", BEN, wire.now_ns)
    wire.inject(ADA, ben, forged)
    assert ben.payloads == [b"order"]
    assert ben.refused[Refusal.WRONG_ROLE] == 2
    wire.send(ada, ben, b"another order")
    assert ben.payloads == [b"order", b"another order"]
    assert ada.packets.max_payload == 1_354 - 64


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


def test_two_challenges_of_one_datagram_bring_it_once(wire: Wire, ada: Run, ben: Run) -> None:
    packet = wire.launch(ada, ben, b"once")
    replies = [reply for _ in range(2) for reply in ben.packets.take(packet, ADA, 0).replies]
    answers = [len(ada.packets.take(each, BEN, wire.now_ns).replies) for each in replies]
    assert answers == [2, 1]


def test_a_datagram_that_has_arrived_is_not_brought_a_second_time(
    wire: Wire, ada: Run, ben: Run
) -> None:
    # Found by the machine of test_meeting: Cy's challenge, sent on to Ada in Ben's name.
    wire.send(ada, ben, b"before")
    packet = wire.send(ada, ben, b"once")
    cy = Run("10.0.0.3:7000")
    [challenge] = cy.packets.take(packet, ADA, wire.now_ns).replies
    assert len(wire.inject(BEN, ada, challenge).replies) == 2
    assert ben.payloads == [b"before", b"once"]
    assert ben.refused[Refusal.REPLAYED] == 1


@pytest.mark.parametrize("body", [b"", b"short", (999).to_bytes(6, "big") + b"x"])
def test_what_is_sent_again_has_an_earlier_number(
    wire: Wire, ada: Run, ben: Run, body: bytes
) -> None:
    wire.send(ada, ben, b"x")
    packet = ada.packets._seal(Kind.AGAIN, body)
    assert wire.inject(ADA, ben, packet).refused is Refusal.MALFORMED
    wire.send(ada, ben, b"y")
    assert ben.payloads == [b"x", b"y"]


def test_an_answer_counts_once(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"x")
    ada.address = "10.0.1.1:7000"
    wire.runs[ada.address] = ada
    wire.send(ada, ben, b"y")
    answers = [packet for sender, _, packet in wire.record if sender == ada.address]
    [answer] = [packet for packet in answers if len(packet) == 72]
    assert wire.inject(ada.address, ben, answer).refused is Refusal.REPLAYED


def test_a_kind_of_a_later_version_is_refused(wire: Wire, ada: Run, ben: Run) -> None:
    wire.send(ada, ben, b"x")
    packet = ada.packets._seal(cast("Kind", 4), b"y")
    assert wire.inject(ADA, ben, packet).refused is Refusal.MALFORMED
