"""One core, spoken to packet by packet: who is what."""

from __future__ import annotations

import random

import pytest

from federlib.errors import InvalidInput
from federlib.membership.config import SwimConfig
from federlib.membership.confirmation import RemovePeer
from federlib.membership.core import SwimCore
from federlib.membership.effects import (
    LeaveTold,
    MemberDied,
    MemberJoined,
    MemberLearned,
    MemberLeft,
    MemberRefuted,
    MemberRemoved,
    MemberRestarted,
    MemberSuspected,
    NameConflict,
    PeerMeasured,
    SelfRefuted,
)
from federlib.membership.lifecycle import TrackerLimits
from federlib.membership.messages import (
    Ack,
    ConfirmationPing,
    Dead,
    Digest,
    Gossip,
    Heartbeat,
    Leave,
    Ping,
    Suspect,
)
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole

from .packets import (
    MANAGER,
    STATE,
    alive,
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

# What confirms.


def test_a_peer_that_speaks_itself_is_alive_and_its_answer_brings_our_coordinate() -> None:
    core = new_core()
    ping = Ping(9, "me", NodeId("a", 1), 0, b"there")
    effects = core.handle(packet(ping), "a:1", MANAGER, 1.0)
    assert state(core, "a") is STATE.ALIVE
    assert told(effects, MemberJoined)[0].node == NodeId("a", 1)
    assert sent(effects, Ack, to="a:1") == [Ack(9, NodeId("me", 1), 0, b"here")]


def test_hearsay_confirms_nobody_and_is_not_passed_on() -> None:
    core = new_core()
    effects = [*speak(core, "a", alive("b")), *run(core, 0.4)]
    assert state(core, "b") is STATE.UNCONFIRMED
    assert told(effects, MemberLearned)[0].node == NodeId("b", 1)
    told_of = {each.node.name for found in packets(effects) for each in found.updates}
    assert told_of <= {"a"}


def test_the_answer_to_a_confirmation_ping_confirms() -> None:
    core = new_core()
    speak(core, "a", alive("b"))
    (asked, *_) = sent(run(core, 1.1), ConfirmationPing, to="b:1")
    assert (asked.target, asked.me) == ("b", alive("me"))
    effects = core.handle(packet(Ack(asked.seq, NodeId("b", 1), 0)), "b:1", None, 1.2)
    assert state(core, "b") is STATE.ALIVE
    assert told(effects, PeerMeasured)[0].name == "b"


def test_without_a_key_nobody_is_believed_that_was_not_asked() -> None:
    core = new_core()
    effects = core.handle(packet(Ping(9, "me", NodeId("a", 1), 0)), "a:1", None, 0.0)
    assert len(sent(effects, Ack, to="a:1")) == 1
    assert state(core, "a") is None
    guessed = core.handle(packet(Ack(9, NodeId("a", 1), 0)), "a:1", None, 0.0)
    assert (guessed, state(core, "a")) == ((), None)
    asks = ConfirmationPing(3, "me", alive("a"))
    core.handle(packet(asks), "a:1", None, 0.0)
    assert state(core, "a") is STATE.UNCONFIRMED


@pytest.mark.parametrize("kind", [Suspect, Dead])
def test_an_unconfirmed_peer_is_never_suspect_nor_dead(kind: type[Suspect | Dead]) -> None:
    core = new_core()
    speak(core, "a", alive("b"), kind(NodeId("b", 1), 3, "a"))
    assert state(core, "b") is STATE.UNCONFIRMED
    run(core, 60.0)
    assert state(core, "b") is STATE.UNCONFIRMED


def test_an_unconfirmed_peer_that_never_answers_is_removed_and_not_learned_again() -> None:
    core = new_core()
    speak(core, "a", alive("b"))
    effects = run(core, 300.0)
    assert {type(each) for each in effects} >= {RemovePeer, MemberRemoved}
    assert not [each for each in told(effects, MemberDied) if each.node.name == "b"]
    speak(core, "c", alive("b"), now_s=300.0)
    assert state(core, "b") is None
    speak(core, "b", now_s=301.0)
    assert state(core, "b") is STATE.ALIVE


def test_workers_are_never_pinged() -> None:
    core = new_core()
    speak(core, "a", alive("w", role=PeerRole.WORKER))
    beat = Heartbeat(4, alive("v", role=PeerRole.WORKER))
    answered = core.handle(packet(beat), "v:1", PeerRole.WORKER, 0.0)
    assert len(sent(answered, Ack, to="v:1")) == 1
    assert state(core, "v") is STATE.ALIVE
    effects = run(core, 400.0)
    for name in ("w:1", "v:1"):
        assert not sent(effects, Ping, to=name)
        assert not sent(effects, ConfirmationPing, to=name)
    assert state(core, "w") is None
    assert state(core, "v") is STATE.DEAD


def test_a_worker_that_only_asks_who_is_there_is_not_watched() -> None:
    core = new_core()
    digest = Digest(alive("w", role=PeerRole.WORKER), bytes(32))
    effects = core.handle(packet(digest), "w:1", PeerRole.WORKER, 0.0)
    assert packets(effects, to="w:1")
    assert state(core, "w") is None


# Roles and names.


def test_a_worker_key_does_not_speak_for_a_manager() -> None:
    core = new_core()
    asks = ConfirmationPing(3, "me", alive("a"))
    assert core.handle(packet(asks), "a:1", PeerRole.WORKER, 0.0) == ()
    core.handle(packet(asks), "a:1", MANAGER, 0.0)
    before = core.refused["role"]
    core.handle(packet(Gossip(NodeId("a", 1), 5)), "a:1", PeerRole.WORKER, 0.0)
    assert (before, core.refused["role"]) == (1, 2)
    found = core.member("a")
    assert found is not None
    assert (found.role, found.incarnation) == (MANAGER, 0)


def test_another_process_of_our_name_is_told_and_not_obeyed() -> None:
    core = new_core(epoch=5)
    effects = speak(core, "me", Suspect(NodeId("me", 5), 0, "x"), epoch=6)
    assert told(effects, NameConflict) == [NameConflict(NodeId("me", 6))]
    assert (core.incarnation, core.refused["own"] > 0) == (0, True)


def test_a_name_with_control_characters_is_refused() -> None:
    core = new_core()
    speak(core, "a", alive("b\x1b[2J"))
    speak(core, "\x00")
    assert core.refused["name"] == 2
    assert [each.node.name for each in core.members()] == ["a"]


@pytest.mark.parametrize(
    ("node", "address"),
    [
        (NodeId("", 1), "a:1"),
        (NodeId("a\n", 1), "a:1"),
        (NodeId("a", -1), "a:1"),
        (NodeId("a", 1), ""),
    ],
)
def test_a_core_that_could_not_speak_is_not_made(node: NodeId, address: str) -> None:
    with pytest.raises(InvalidInput):
        SwimCore(node, address, MANAGER, rng=random.Random(1))


# Suspicion and refutation.


def test_we_refute_what_is_said_of_us_at_once_and_doubt_our_health() -> None:
    core = new_core()
    effects = core.handle(
        packet(Ping(9, "me", NodeId("a", 1), 0), Suspect(NodeId("me", 1), 0, "a")),
        "a:1",
        MANAGER,
        0.0,
    )
    assert told(effects, SelfRefuted) == [SelfRefuted(1)]
    assert core.health_score == 1
    (answer,) = packets(effects, to="a:1")
    assert answer.message == Ack(9, NodeId("me", 1), 1, b"here")
    assert answer.updates[0] == alive("me", incarnation=1)


def test_an_old_runs_death_does_not_concern_us() -> None:
    core = new_core(epoch=5)
    speak(core, "a", Dead(NodeId("me", 4), 9, "a"))
    assert core.incarnation == 0


def test_a_suspect_is_told_first_refutes_and_lives() -> None:
    core = new_core()
    speak(core, "a")
    accusation = Suspect(NodeId("b", 1), 0, "a")
    effects = [*speak(core, "b"), *speak(core, "a", accusation, now_s=0.1)]
    assert told(effects, MemberSuspected)[0].accuser == "a"
    answered = core.handle(packet(Ping(9, "me", NodeId("b", 1), 0)), "b:1", MANAGER, 0.2)
    assert packets(answered, to="b:1")[0].updates[0] == accusation
    assert state(core, "b") is STATE.SUSPECT
    refuted = speak(core, "b", incarnation=1, now_s=0.3)
    assert told(refuted, MemberRefuted)[0].before is STATE.SUSPECT
    assert state(core, "b") is STATE.ALIVE


@pytest.mark.parametrize("config", [SwimConfig(), SwimConfig.plain_swim()], ids=["ours", "SWIM"])
def test_who_hears_nobody_tells_nobody_whom_it_finds_dead(config: SwimConfig) -> None:
    core = new_core(config=config)
    group(core, 9)
    effects = run(core, 60.0)
    assert told(effects, MemberDied)
    # Somebody is there again, and asks what is new.
    effects = [*speak(core, "n10", now_s=60.0), *run(core, 65.0)]
    verdicts = [each for p in packets(effects, to="n10:1") for each in p.updates]
    assert any(isinstance(each, Dead) for each in verdicts) is not config.lifeguard


def test_suspicions_begin_anew_when_somebody_is_heard_again() -> None:
    core = new_core()
    group(core, 9)
    effects = run(core, 12.0)
    suspects = {each.node.name for each in told(effects, MemberSuspected)}
    assert len(suspects) > 2
    assert not told(effects, MemberDied)
    alive_name = next(f"n{each}" for each in range(9) if f"n{each}" not in suspects)
    effects = list(speak(core, alive_name, now_s=12.0))
    for second in range(13, 25):
        effects += run(core, second)
        effects += speak(core, alive_name, now_s=second)
    assert not told(effects, MemberDied)


def test_confirmations_bring_death_nearer_and_only_from_those_we_know() -> None:
    def died_at(accusers: list[str]) -> float:
        core = new_core(config=SwimConfig(interval_s=1_000.0))
        group(core, 9)
        run(core, 0.0)
        for accuser in accusers:
            speak(core, "n8", Suspect(NodeId("n0", 1), 0, accuser), now_s=1.0)
        while True:
            wake_s = core.next_wake_s
            assert wake_s is not None
            # Who hears nobody waits for no confirmation.
            speak(core, "n8", now_s=wake_s)
            core.tick(wake_s)
            if state(core, "n0") is STATE.DEAD:
                return wake_s

    alone = died_at(["n1"])
    assert died_at(["n1", "n1"]) == alone
    assert died_at(["n1", "stranger-1", "stranger-2", "stranger-3"]) == alone
    assert died_at(["n1", "n2"]) < alone
    assert died_at(["n1", "n2", "n3", "n4"]) == pytest.approx(1.0 + (alone - 1.0) / 6)


def test_a_suspicion_of_a_higher_incarnation_starts_a_fresh_timer() -> None:
    core = new_core()
    group(core, 3)
    speak(core, "n1", Suspect(NodeId("n0", 1), 0, "n1"), now_s=0.0)
    speak(core, "n1", Suspect(NodeId("n0", 1), 1, "n1"), now_s=3.0)
    effects = run(core, 6.9)
    assert not [each for each in told(effects, MemberDied) if each.node.name == "n0"]
    assert state(core, "n0") is STATE.SUSPECT
    run(core, 7.1)
    assert state(core, "n0") is STATE.DEAD


def test_a_dead_member_that_speaks_is_told_and_comes_back_when_it_has_refuted() -> None:
    core = new_core()
    group(core, 2)
    speak(core, "n1", Dead(NodeId("n0", 1), 0, "n1"))
    assert state(core, "n0") is STATE.DEAD
    ping = packet(Ping(1, "me", NodeId("n0", 1), 0))
    answered = core.handle(ping, "n0:1", MANAGER, 1.0)
    assert packets(answered, to="n0:1")[0].updates[0] == Dead(NodeId("n0", 1), 0, "n1")
    assert state(core, "n0") is STATE.DEAD
    effects = speak(core, "n0", incarnation=1, now_s=1.1)
    assert told(effects, MemberRefuted)[0].before is STATE.DEAD
    assert state(core, "n0") is STATE.ALIVE


def test_a_restarted_peer_is_not_its_dead_predecessor() -> None:
    core = new_core()
    group(core, 2)
    speak(core, "n1", Dead(NodeId("n0", 1), 7, "n1"))
    effects = speak(core, "n0", epoch=2, now_s=1.0)
    assert told(effects, MemberRestarted) == [MemberRestarted(NodeId("n0", 2), NodeId("n0", 1))]
    assert state(core, "n0") is STATE.ALIVE
    speak(core, "n1", Dead(NodeId("n0", 1), 9, "n1"), now_s=1.1)
    assert state(core, "n0") is STATE.ALIVE


def test_a_rumour_of_a_restart_must_be_confirmed_and_cannot_silence_a_live_peer() -> None:
    core = new_core()
    group(core, 2)
    speak(core, "n1", alive("n0", epoch=2))
    assert state(core, "n0") is STATE.UNCONFIRMED
    speak(core, "n0", epoch=1, now_s=0.5)
    found = core.member("n0")
    assert found is not None
    assert (found.state, found.node.epoch) == (STATE.ALIVE, 1)


def test_a_member_that_leaves_is_gone_and_not_dead() -> None:
    core = new_core()
    group(core, 2)
    effects = speak(core, "n1", Leave(NodeId("n0", 1), 0))
    assert told(effects, MemberLeft) == [MemberLeft(NodeId("n0", 1))]
    later = run(core, 60.0)
    assert state(core, "n0") is STATE.LEFT
    assert not packets(later, to="n0:1")


def test_our_goodbye_is_told_often_enough_and_then_we_may_end() -> None:
    core = new_core()
    group(core, 3)
    run(core, 5.0)
    effects = [*core.leave(5.0), *run(core, 10.0)]
    goodbyes = [
        each
        for found in packets(effects)
        for each in found.updates
        if each == Leave(NodeId("me", 1), 0)
    ]
    assert len(goodbyes) >= 4
    assert len(told(effects, LeaveTold)) == 1
    assert told(new_core().leave(0.0), LeaveTold) == [LeaveTold()]


def test_the_dead_are_forgotten_in_the_end_and_must_refute_to_be_known_again() -> None:
    core = new_core(config=SwimConfig(reclaim_s=20.0))
    group(core, 2)
    speak(core, "n1", Dead(NodeId("n0", 1), 0, "n1"))
    run(core, 40.0)
    assert state(core, "n0") is None
    effects = speak(core, "n0", now_s=41.0)
    assert packets(effects, to="n0:1")[0].updates[0] == Dead(NodeId("n0", 1), 0, "me")
    assert state(core, "n0") is None
    speak(core, "n0", incarnation=1, now_s=42.0)
    assert state(core, "n0") is STATE.ALIVE


def test_a_restarted_peer_that_is_rumoured_twice_is_asked_as_the_latest() -> None:
    core = new_core()
    group(core, 2)
    speak(core, "n1", Suspect(NodeId("n0", 1), 0, "n1"), alive("n0", epoch=2))
    speak(core, "n1", alive("n0", epoch=3))
    asked = sent(run(core, 1.1), ConfirmationPing, to="n0:1")
    assert [each.target for each in asked][:1] == ["n0"]
    effects = speak(core, "n0", epoch=3, now_s=1.2)
    assert told(effects, MemberJoined)[0].node == NodeId("n0", 3)


def test_what_an_unconfirmed_peer_is_said_to_have_suffered_is_kept_as_its_incarnation() -> None:
    core = new_core()
    speak(core, "a", alive("b"), alive("b", incarnation=2), Suspect(NodeId("b", 1), 4, "a"))
    speak(core, "a", Dead(NodeId("b", 1), 5, "a"))
    found = core.member("b")
    assert found is not None
    assert (found.state, found.incarnation) == (STATE.UNCONFIRMED, 5)


def test_a_tale_of_ours_that_we_have_not_told_is_outdone() -> None:
    core = new_core()
    speak(core, "a", alive("me", incarnation=9))
    assert core.incarnation == 10
    speak(core, "a", Suspect(NodeId("me", 1), 2**53, "a"))
    assert core.incarnation == 10


def test_who_is_known_does_not_take_the_place_of_others_when_the_table_is_full() -> None:
    core = new_core(config=SwimConfig(limits=TrackerLimits(max_members=3, max_unconfirmed=1)))
    group(core, 5)
    assert [each.node.name for each in core.members()] == ["n0", "n1", "n2"]
    assert core.refused["full"] == 2


def test_a_word_of_an_earlier_run_is_refused() -> None:
    core = new_core()
    speak(core, "a", epoch=3)
    told_it = speak(core, "a", alive("b"), epoch=2)
    assert (core.refused["stale"], state(core, "b")) == (1, None)
    # What it hears is that it has a rival, and nothing else.
    assert [update.node for each in packets(told_it) for update in each.updates[:1]] == [
        NodeId("a", 3)
    ]
    assert len(told_it) == 1


def test_leaving_is_not_refuted_and_probes_end() -> None:
    core = new_core()
    group(core, 3)
    core.leave(0.0)
    speak(core, "n0", Suspect(NodeId("me", 1), 0, "n0"))
    assert core.incarnation == 0
    assert not sent(run(core, 10.0), Ping)
