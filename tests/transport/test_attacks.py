"""What nobody gets past two runs: recordings, forgeries, words of others."""

from __future__ import annotations

from typing import cast

import pytest

from federlib.transport import Key, Keyring, Limits, fits_reply
from federlib.transport.envelope import Kind
from federlib.transport.refusals import Refusal
from transport.keys import OTHER, SECRET, SIGN, VERIFY, Traitor
from transport.pairs import ADA, BEN, MALLORY, Run, S, Wire


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
