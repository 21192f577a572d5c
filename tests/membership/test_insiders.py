"""Members that hold the key and lie, or are another's double."""

from __future__ import annotations

import pytest

from federlib.membership.effects import NameConflict, SelfRefuted, Send
from federlib.membership.messages import Alive, ConfirmationPing, Dead, Leave, Ping, Suspect
from federlib.membership.names import MOST_LEAP
from federlib.membership.node import MAX_NUMBER, NodeId
from federlib.membership.roles import PeerRole

from .packets import MANAGER, STATE, alive, new_core, packet, run, sent, speak, state, told


@pytest.mark.parametrize("incarnation", [0, 1, 7])
def test_hearsay_does_not_move_the_address_of_who_is_met(incarnation: int) -> None:
    core = new_core()
    speak(core, "b")
    speak(core, "a", Alive(NodeId("b", 1), incarnation, "evil:1", MANAGER))
    found = core.member("b")
    assert found is not None
    assert (found.address, found.incarnation) == ("b:1", incarnation)
    effects = run(core, 10.0)
    assert sent(effects, Ping, to="b:1")
    assert sent(effects, Ping, to="evil:1") == []


@pytest.mark.parametrize("kind", [Dead, Suspect])
@pytest.mark.parametrize("by", [1, 2**40, MAX_NUMBER - MOST_LEAP])
def test_no_word_raises_an_incarnation_beyond_refutation(
    kind: type[Dead | Suspect], by: int
) -> None:
    core = new_core()
    speak(core, "b")
    speak(core, "a", kind(NodeId("b", 1), MOST_LEAP + by, "a"))
    speak(core, "a", Leave(NodeId("b", 1), MOST_LEAP + by))
    speak(core, "a", Alive(NodeId("b", 1), MOST_LEAP + by, "b:1", MANAGER))
    assert state(core, "b") is STATE.ALIVE
    found = core.member("b")
    assert found is not None
    assert (found.incarnation, core.refused["leap"]) == (0, 3)
    speak(core, "a", kind(NodeId("b", 1), MOST_LEAP, "a"))
    assert state(core, "b") is not STATE.ALIVE


def test_nor_that_of_a_peer_not_known_or_by_its_own_word() -> None:
    core = new_core()
    speak(core, "a", Alive(NodeId("b", 1), MAX_NUMBER, "b:1", MANAGER))
    asks = ConfirmationPing(3, "me", Alive(NodeId("c", 1), MAX_NUMBER, "c:1", MANAGER))
    core.handle(packet(asks), "c:1", MANAGER, 0.0)
    assert (state(core, "b"), state(core, "c"), core.refused["leap"]) == (None, None, 2)


def test_what_nobody_believes_of_us_is_not_refuted() -> None:
    core = new_core()
    for lie in (
        Dead(NodeId("me", 1), MAX_NUMBER, "a"),
        Alive(NodeId("me", 1), MAX_NUMBER, "me:1", MANAGER),
    ):
        assert told(speak(core, "a", lie), SelfRefuted) == []
    assert (core.incarnation, core.refused["leap"]) == (0, 2)
    speak(core, "a", Dead(NodeId("me", 1), MOST_LEAP, "a"))
    assert core.incarnation == MOST_LEAP + 1


def test_another_process_of_our_name_and_epoch_is_told_by_its_address() -> None:
    core = new_core()
    double = ConfirmationPing(3, "me", Alive(NodeId("me", 1), 0, "other:1", MANAGER))
    effects = core.handle(packet(double), "other:1", MANAGER, 0.0)
    assert told(effects, NameConflict) == [NameConflict(NodeId("me", 1), ("me:1", "other:1"))]
    echo = ConfirmationPing(3, "me", alive("me"))
    assert told(core.handle(packet(echo), "me:1", MANAGER, 0.0), NameConflict) == []


def test_two_others_of_one_name_and_epoch_are_told_by_what_each_says_of_itself() -> None:
    core = new_core()

    def says(address: str, now_s: float, *, epoch: int = 1) -> list[NameConflict]:
        me = Alive(NodeId("b", epoch), 0, address, MANAGER)
        # Where it comes from may be a NAT's address, and tells nothing.
        asks = packet(ConfirmationPing(3, "me", me))
        return told(core.handle(asks, "nat:1", MANAGER, now_s), NameConflict)

    assert says("b:1", 0.0) == says("b:1", 1.0) == []
    conflict = NameConflict(NodeId("b", 1), ("b:1", "other:1"))
    assert says("other:1", 2.0) == [conflict]
    assert says("b:1", 3.0) == says("other:1", 4.0) == says("other:1", 61.0) == []
    assert says("other:1", 62.0) == [conflict]
    assert core.members()[0].address == "b:1"
    assert says("new:1", 63.0, epoch=2) == []
    assert says("newer:1", 123.0, epoch=2) == [
        NameConflict(NodeId("b", 2), ("new:1", "newer:1")),
    ]


def test_what_others_say_or_nobody_proves_of_an_address_makes_no_conflict() -> None:
    core = new_core()
    me = Alive(NodeId("b", 1), 0, "b:1", MANAGER)
    core.handle(packet(ConfirmationPing(3, "me", me)), "b:1", MANAGER, 0.0)
    rumour = Alive(NodeId("b", 1), 0, "nat:1", MANAGER)
    assert told(speak(core, "c", rumour), NameConflict) == []
    forged = packet(ConfirmationPing(3, "me", rumour))
    assert told(core.handle(forged, "nat:1", None, 0.0), NameConflict) == []


def test_an_older_run_of_a_name_hears_of_the_newer() -> None:
    core, old = new_core(), new_core("b", epoch=1)
    speak(core, "b", epoch=2)
    asks = ConfirmationPing(3, "me", Alive(NodeId("b", 1), 0, "old:1", MANAGER))
    effects = core.handle(packet(asks), "old:1", MANAGER, 0.0)
    found: list[NameConflict] = []
    for send in told(effects, Send):
        assert send.address == "old:1"
        found += told(old.handle(send.payload, "me:1", PeerRole.UNKNOWN, 0.0), NameConflict)
    assert NameConflict(NodeId("b", 2)) in found
