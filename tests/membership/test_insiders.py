"""Members that hold the key and lie, or are another's double."""

from __future__ import annotations

import pytest

from federlib.membership.effects import NameConflict, SelfRefuted, Send
from federlib.membership.judge import MOST_LEAP
from federlib.membership.messages import Alive, ConfirmationPing, Dead, Leave, Ping, Suspect
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
    assert told(effects, NameConflict) == [NameConflict(NodeId("me", 1))]
    echo = ConfirmationPing(3, "me", alive("me"))
    assert told(core.handle(packet(echo), "me:1", MANAGER, 0.0), NameConflict) == []


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
