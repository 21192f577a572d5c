"""One core, spoken to packet by packet: probes, relays, and a loop that runs late."""

from __future__ import annotations

import pytest

from federlib.membership.config import SwimConfig
from federlib.membership.core import SwimCore
from federlib.membership.effects import (
    HealthChanged,
    MemberDied,
    MemberSuspected,
    PeerMeasured,
    Send,
    WakeAt,
)
from federlib.membership.messages import (
    Ack,
    IndirectAck,
    Nack,
    Ping,
    PingReq,
    Suspect,
)
from federlib.membership.node import NodeId

from .packets import (
    MANAGER,
    STATE,
    group,
    new_core,
    packet,
    packets,
    run,
    sent,
    speak,
    state,
    told,
)


def probed(core: SwimCore) -> tuple[Ping, float]:
    """Return the first ping of the core to anybody, and when it was sent."""
    while True:
        wake_s = core.next_wake_s
        assert wake_s is not None
        if found := sent(core.tick(wake_s), Ping):
            return found[0], wake_s


def test_a_probe_without_answer_asks_three_others_and_a_stream() -> None:
    core = new_core()
    group(core, 9)
    ping, _ = probed(core)
    effects = run(core, 1.4)
    requests = sent(effects, PingReq)
    assert [each.target.name for each in requests[:3]] == [ping.target] * 3
    assert f"{ping.target}:1" in {e.address for e in told(effects, Send) if e.reliable}


def test_a_nack_from_a_relay_makes_the_accusation_and_none_makes_us_doubt_ourselves() -> None:
    def accused(*, nacks: bool, worst: bool = False) -> tuple[bool, int]:
        core = new_core()
        group(core, 9)
        if worst:
            for incarnation in range(8):
                speak(core, "n1", Suspect(NodeId("me", 1), incarnation, "n1"))
        ping, _ = probed(core)
        effects = list[object]()
        for _ in range(200):
            wake_s = core.next_wake_s
            assert wake_s is not None
            now = core.tick(wake_s)
            effects += now
            for each in told(now, Send):
                if nacks and (found := sent([each], PingReq)):
                    nack = Nack(found[0].seq, NodeId(each.address[:-2], 1), 0)
                    core.handle(packet(nack), each.address, MANAGER, wake_s + 0.01)
            if any(isinstance(each, HealthChanged | MemberSuspected) for each in now):
                break
        suspected = {e.node.name for e in effects if isinstance(e, MemberSuspected)}
        return ping.target in suspected, core.health_score

    assert accused(nacks=True) == (True, 0)
    assert accused(nacks=False) == (False, 3)
    assert accused(nacks=False, worst=True)[0]


def test_a_relay_pings_whom_it_knows_passes_the_answer_on_and_nacks_in_time() -> None:
    core = new_core()
    group(core, 2)
    request = PingReq(77, NodeId("n0", 1), 0, NodeId("n1", 1), 300)
    effects = core.handle(packet(request), "n0:1", MANAGER, 0.0)
    (ping,) = sent(effects, Ping, to="n1:1")
    late = run(core, 0.31)
    assert sent(late, Nack, to="n0:1") == [Nack(77, NodeId("me", 1), 0)]
    ack = packet(Ack(ping.seq, NodeId("n1", 1), 4))
    passed = core.handle(ack, "n1:1", MANAGER, 0.32)
    assert sent(passed, IndirectAck, to="n0:1") == [
        IndirectAck(77, NodeId("me", 1), 0, NodeId("n1", 1), 4)
    ]
    unknown = PingReq(78, NodeId("n0", 1), 0, NodeId("nobody", 1), 300)
    effects = core.handle(packet(unknown), "n0:1", MANAGER, 0.4)
    assert sent(effects, Nack) == [Nack(78, NodeId("me", 1), 0)]
    assert not sent(effects, Ping)


def test_an_ack_measures_the_round_trip_and_carries_the_other_ends() -> None:
    core = new_core()
    speak(core, "a")
    ping, sent_s = probed(core)
    now_s = sent_s + 0.025
    ack = Ack(ping.seq, NodeId("a", 1), 0, b"there", 12.5)
    effects = core.handle(packet(ack), "a:1", MANAGER, now_s)
    (measured,) = told(effects, PeerMeasured)
    assert (measured.vivaldi_coord, measured.their_rtt_ms) == (b"there", 12.5)
    assert measured.rtt_ms == pytest.approx(25.0)
    again = core.handle(packet(ack), "a:1", MANAGER, now_s)
    assert not told(again, PeerMeasured)
    assert core.refused["unasked"] == 1


@pytest.mark.parametrize("how", ["first", "stream"])
def test_a_trip_that_may_hold_more_is_neither_measured_nor_told_to_the_other_end(how: str) -> None:
    core = new_core()
    speak(core, "a")
    ping, sent_s = probed(core)
    late = packet(Ack(ping.seq, NodeId("a", 1), 0, b"there", 12.5))
    now_s = sent_s + 0.1
    effects = core.handle(
        late, "a:1", MANAGER, now_s, reliable=how == "stream", is_timed=how != "first"
    )
    assert not told(effects, PeerMeasured)
    asked = core.handle(packet(Ping(9, "me", NodeId("a", 1), 0)), "a:1", MANAGER, now_s)
    (ack,) = sent(asked, Ack)
    assert ack.rtt_ms is None
    assert core.health_score == 0
    run(core, sent_s + 0.9)
    assert state(core, "a") is STATE.ALIVE


def test_a_late_loop_blames_itself_and_gives_everybody_that_much_more_time() -> None:
    core = new_core()
    group(core, 9)
    run(core, 1.0)
    for accuser in ("n1", "n2", "n3", "n4"):
        speak(core, accuser, Suspect(NodeId("n0", 1), 0, accuser), now_s=1.0)
    effects = core.tick(6.5)
    assert told(effects, HealthChanged)[0].reason == "late"
    assert not told(effects, MemberDied)
    effects = tuple(run(core, 9.0))
    assert not told(effects, MemberDied)
    speak(core, "n0", incarnation=1, now_s=9.0)
    assert state(core, "n0") is STATE.ALIVE


def test_every_wish_to_be_woken_lies_ahead() -> None:
    core = new_core()
    group(core, 5)
    now_s = 0.0
    for _ in range(300):
        wake_s = core.next_wake_s
        assert wake_s is not None
        now_s = max(now_s, wake_s)
        wishes = told(core.tick(now_s), WakeAt)
        assert wishes[-1].at_s > now_s


def test_a_suspect_is_asked_once_more_before_its_time_is_over_and_its_answer_is_enough() -> None:
    core = new_core(config=SwimConfig(interval_s=10.0))
    group(core, 2)
    accusation = Suspect(NodeId("n0", 1), 0, "n1")
    speak(core, "n1", accusation, now_s=0.0)
    effects = run(core, 15.5)
    asked = [each for each in packets(effects, to="n0:1") if isinstance(each.message, Ping)]
    assert [each.updates[0] for each in asked] == [accusation] * len(asked)
    ping = asked[-1].message
    assert isinstance(ping, Ping)
    core.handle(packet(Ack(ping.seq, NodeId("n0", 1), 1)), "n0:1", MANAGER, 16.0)
    assert state(core, "n0") is STATE.ALIVE
