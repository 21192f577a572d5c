"""The lifecycle of peers: whose word moves them, and whose does not."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import Conflict, InvalidInput
from federlib.membership.lifecycle import (
    TRANSITIONS,
    IncarnationTracker,
    NodeLifecycleState,
    Outcome,
    Standing,
    TrackerLimits,
    check_transition,
)

UNCONFIRMED, ALIVE = NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.ALIVE
SUSPECT, DEAD, LEFT = NodeLifecycleState.SUSPECT, NodeLifecycleState.DEAD, NodeLifecycleState.LEFT

QUICK = settings(max_examples=200, deadline=None, database=None)


class Peer:
    """One peer, as a tracker holds it; short words for short tests."""

    def __init__(self, limits: TrackerLimits | None = None) -> None:
        self.tracker = IncarnationTracker(limits)
        self.now_s = 0.0

    def hear(
        self, state: NodeLifecycleState, incarnation: int = 0, *, epoch: int = 1, name: str = "a"
    ) -> Outcome:
        return self.tracker.hear(
            name, epoch=epoch, incarnation=incarnation, state=state, now_s=self.now_s
        ).outcome

    def speak(self, incarnation: int = 0, *, epoch: int = 1, name: str = "a") -> Outcome:
        return self.tracker.confirm(
            name, epoch=epoch, incarnation=incarnation, now_s=self.now_s
        ).outcome

    @property
    def standing(self) -> Standing:
        found = self.tracker.get("a")
        assert found is not None
        return found

    @property
    def seen(self) -> tuple[NodeLifecycleState, int, int]:
        return self.standing.state, self.standing.epoch, self.standing.incarnation


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def met(peer: Peer) -> Peer:
    peer.speak(3)
    return peer


def test_values_are_as_the_seed_writes_them() -> None:
    assert NodeLifecycleState.UNCONFIRMED.value == b"UNCONFIRMED"
    assert all(state.value == state.name.encode() for state in NodeLifecycleState)


def test_a_peer_that_is_spoken_of_is_unconfirmed(peer: Peer) -> None:
    assert peer.hear(ALIVE, 4) is Outcome.LEARNED
    assert peer.seen == (UNCONFIRMED, 1, 4)


def test_a_peer_that_speaks_is_alive(peer: Peer) -> None:
    peer.hear(ALIVE)
    assert peer.speak() is Outcome.CONFIRMED
    assert peer.seen == (ALIVE, 1, 0)


def test_a_peer_that_speaks_first_is_alive_at_once(peer: Peer) -> None:
    assert peer.speak() is Outcome.CONFIRMED
    assert peer.seen == (ALIVE, 1, 0)


@pytest.mark.parametrize("said", [SUSPECT, DEAD, LEFT], ids=lambda state: state.name)
def test_rumours_never_move_a_peer_that_nobody_met(peer: Peer, said: NodeLifecycleState) -> None:
    peer.hear(ALIVE)
    assert peer.hear(said, 7) is Outcome.HELD
    assert peer.seen == (UNCONFIRMED, 1, 7)


def test_the_highest_incarnation_is_kept_so_that_alive_cannot_roll_back(peer: Peer) -> None:
    peer.hear(ALIVE)
    peer.hear(DEAD, 7)
    peer.hear(ALIVE, 2)
    peer.speak(2)
    assert peer.seen == (ALIVE, 1, 7)


@pytest.mark.parametrize("said", [SUSPECT, DEAD, LEFT], ids=lambda state: state.name)
def test_a_verdict_on_a_stranger_introduces_nobody(peer: Peer, said: NodeLifecycleState) -> None:
    assert peer.hear(said) is Outcome.UNKNOWN
    assert len(peer.tracker) == 0


@pytest.mark.parametrize("verdict", [SUSPECT, DEAD, LEFT, ALIVE], ids=lambda state: state.name)
def test_our_own_verdict_never_moves_a_peer_that_nobody_met(
    peer: Peer, verdict: NodeLifecycleState
) -> None:
    peer.hear(ALIVE)
    with pytest.raises(Conflict, match="UNCONFIRMED"):
        peer.tracker.set_state("a", verdict, now_s=1)
    assert peer.seen == (UNCONFIRMED, 1, 0)


def test_verdicts_go_from_alive_to_suspect_to_dead(met: Peer) -> None:
    assert met.tracker.set_state("a", SUSPECT, now_s=1).outcome is Outcome.CHANGED
    assert met.tracker.set_state("a", DEAD, now_s=2).before is SUSPECT
    assert met.seen == (DEAD, 1, 3)


def test_a_verdict_that_says_what_is_held_already_changes_nothing(met: Peer) -> None:
    assert met.tracker.set_state("a", ALIVE, now_s=1).outcome is Outcome.AGREED
    assert met.seen == (ALIVE, 1, 3)


def test_no_verdict_brings_back_without_a_later_incarnation(met: Peer) -> None:
    met.tracker.set_state("a", DEAD, now_s=1)
    with pytest.raises(Conflict, match="later incarnation"):
        met.tracker.set_state("a", ALIVE, now_s=2)
    with pytest.raises(InvalidInput, match="known"):
        met.tracker.set_state("b", DEAD, now_s=2)


@pytest.mark.parametrize(
    ("before", "after"),
    [(UNCONFIRMED, SUSPECT), (UNCONFIRMED, DEAD), (UNCONFIRMED, LEFT), (ALIVE, None), (None, DEAD)],
)
def test_steps_that_the_lifecycle_does_not_have_are_refused(
    before: NodeLifecycleState | None, after: NodeLifecycleState | None
) -> None:
    assert after not in TRANSITIONS[before]
    with pytest.raises(Conflict):
        check_transition(before, after)


@pytest.mark.parametrize(
    ("said", "incarnation", "outcome", "state"),
    [
        pytest.param(ALIVE, 2, Outcome.STALE, ALIVE, id="older"),
        pytest.param(ALIVE, 3, Outcome.AGREED, ALIVE, id="the same"),
        pytest.param(ALIVE, 4, Outcome.REFRESHED, ALIVE, id="later"),
        pytest.param(SUSPECT, 2, Outcome.STALE, ALIVE, id="suspicion of an older incarnation"),
        pytest.param(SUSPECT, 3, Outcome.CHANGED, SUSPECT, id="suspicion"),
        pytest.param(DEAD, 2, Outcome.STALE, ALIVE, id="death of an older incarnation"),
        pytest.param(DEAD, 3, Outcome.CHANGED, DEAD, id="death"),
        pytest.param(LEFT, 3, Outcome.CHANGED, LEFT, id="goodbye"),
        pytest.param(UNCONFIRMED, 3, Outcome.AGREED, ALIVE, id="a speaker that knows no more"),
    ],
)
def test_within_a_run_incarnations_decide(
    met: Peer,
    said: NodeLifecycleState,
    incarnation: int,
    outcome: Outcome,
    state: NodeLifecycleState,
) -> None:
    assert met.hear(said, incarnation) is outcome
    assert met.standing.state is state


def test_a_suspicion_of_a_later_incarnation_starts_afresh(met: Peer) -> None:
    met.hear(SUSPECT, 3)
    assert met.hear(SUSPECT, 3) is Outcome.AGREED
    assert met.hear(SUSPECT, 4) is Outcome.REFRESHED


@pytest.mark.parametrize("doubt", [SUSPECT, DEAD, LEFT], ids=lambda state: state.name)
def test_a_peer_in_doubt_must_refute_to_be_alive(met: Peer, doubt: NodeLifecycleState) -> None:
    met.hear(doubt, 3)
    assert met.speak(3) is Outcome.HELD
    assert met.standing.state is doubt
    assert met.speak(4) is Outcome.CHANGED
    assert met.seen == (ALIVE, 1, 4)


def test_a_later_run_is_not_its_dead_predecessor(met: Peer) -> None:
    met.hear(DEAD, 3)
    assert met.hear(ALIVE, 0, epoch=2) is Outcome.RESTARTED
    assert met.seen == (UNCONFIRMED, 2, 0)
    assert met.hear(DEAD, 99, epoch=1) is Outcome.STALE
    assert met.speak(0, epoch=2) is Outcome.CONFIRMED
    assert met.seen == (ALIVE, 2, 0)


def test_a_later_run_that_speaks_is_alive_at_once(met: Peer) -> None:
    assert met.speak(0, epoch=2) is Outcome.RESTARTED
    assert met.seen == (ALIVE, 2, 0)


def test_an_earlier_run_is_ignored(met: Peer) -> None:
    met.speak(0, epoch=5)
    assert met.speak(9, epoch=4) is Outcome.STALE
    assert met.hear(DEAD, 9, epoch=4) is Outcome.STALE
    assert met.seen == (ALIVE, 5, 0)


def test_the_word_of_a_dead_run_does_not_outweigh_its_successor(met: Peer) -> None:
    met.hear(DEAD, 3)
    met.hear(ALIVE, 0, epoch=2)
    assert met.speak(3, epoch=1) is Outcome.STALE
    assert met.seen == (UNCONFIRMED, 2, 0)


def test_a_live_peer_outweighs_a_false_rumour_of_its_restart(met: Peer) -> None:
    met.hear(ALIVE, 0, epoch=2**40)
    assert met.standing.state is UNCONFIRMED
    assert met.speak(3) is Outcome.CONFIRMED
    assert met.seen == (ALIVE, 1, 3)


def test_rumours_of_ever_later_runs_do_not_make_a_name_younger(peer: Peer) -> None:
    for epoch in range(1, 50):
        peer.now_s = float(epoch)
        peer.hear(ALIVE, epoch=epoch)
    assert peer.standing.since_s == 1.0
    assert peer.seen == (UNCONFIRMED, 49, 0)


@pytest.mark.parametrize("said", [SUSPECT, DEAD, LEFT], ids=lambda state: state.name)
def test_a_verdict_on_a_later_run_says_nothing_of_this_one(
    met: Peer, said: NodeLifecycleState
) -> None:
    assert met.hear(said, 0, epoch=2) is Outcome.UNKNOWN
    assert met.seen == (ALIVE, 1, 3)


def test_a_removed_peer_is_not_learned_again_from_gossip(peer: Peer) -> None:
    peer.hear(ALIVE, 4)
    change = peer.tracker.remove_node("a", now_s=0)
    assert (change.outcome, change.before, change.after) == (Outcome.REMOVED, UNCONFIRMED, None)
    # No incarnation of a run that never spoke is believed.
    assert peer.hear(ALIVE, 2**40) is Outcome.TOMBSTONED
    assert peer.tracker.is_tombstoned("a", now_s=719)
    peer.now_s = 720.0
    assert peer.hear(ALIVE, 4) is Outcome.LEARNED


def test_a_removed_peer_that_speaks_is_alive(peer: Peer) -> None:
    peer.hear(ALIVE, 4)
    peer.tracker.remove_node("a", now_s=0)
    assert peer.speak(4) is Outcome.CONFIRMED
    assert not peer.tracker.is_tombstoned("a", now_s=0)


def test_a_dead_peer_that_was_removed_comes_back_by_refuting(met: Peer) -> None:
    met.hear(DEAD, 3)
    met.tracker.remove_node("a", now_s=0)
    assert met.hear(ALIVE, 3) is Outcome.TOMBSTONED
    assert met.speak(3) is Outcome.TOMBSTONED
    assert met.hear(ALIVE, 4) is Outcome.LEARNED
    assert met.seen == (UNCONFIRMED, 1, 4)
    assert met.speak(3) is Outcome.STALE
    assert met.speak(4) is Outcome.CONFIRMED


def test_only_the_dead_the_gone_and_the_unmet_are_removed(met: Peer) -> None:
    for _ in range(2):
        with pytest.raises(Conflict):
            met.tracker.remove_node("a", now_s=0)
        met.hear(SUSPECT, 3)
    met.hear(LEFT, 3)
    assert met.tracker.remove_node("a", now_s=0).before is LEFT
    with pytest.raises(InvalidInput, match="known"):
        met.tracker.remove_node("a", now_s=0)


def test_a_tombstone_lasts_as_long_as_is_said(peer: Peer) -> None:
    peer.hear(ALIVE)
    peer.tracker.remove_node("a", now_s=0, tombstone_s=10)
    assert peer.tracker.is_tombstoned("a", now_s=9.9)
    assert not peer.tracker.is_tombstoned("a", now_s=10)
    assert (peer.tracker.prune(now_s=10), peer.tracker.tombstones) == (1, 0)


def test_queries_of_the_seed(peer: Peer) -> None:
    for number, name in enumerate(("c", "a", "b")):
        peer.now_s = float(number)
        peer.hear(ALIVE, name=name)
    peer.now_s = 5.0
    peer.speak(name="a")
    tracker = peer.tracker
    assert tracker.get_nodes_by_state(UNCONFIRMED) == ["c", "b"]
    assert tracker.get_nodes_by_state(ALIVE) == ["a"]
    assert [tracker.count(state) for state in (UNCONFIRMED, ALIVE, DEAD)] == [2, 1, 0]
    assert tracker.get_last_update_time("a") == 5.0
    assert tracker.get_last_update_time("nobody") == -math.inf


def test_ten_thousand_bogus_names_take_bounded_room_and_shut_out_nobody() -> None:
    limits = TrackerLimits(max_members=200, max_unconfirmed=100, max_tombstones=50)
    peer = Peer(limits)
    outcomes = [peer.hear(ALIVE, name=f"bogus-{number}") for number in range(10_000)]
    assert outcomes.count(Outcome.LEARNED) == 100
    assert outcomes.count(Outcome.FULL) == 9_900
    assert peer.speak(name="real") is Outcome.CONFIRMED
    for name in peer.tracker.get_nodes_by_state(UNCONFIRMED):
        peer.tracker.remove_node(name, now_s=0)
    assert (len(peer.tracker), peer.tracker.tombstones) == (1, 50)


def test_even_peers_that_speak_are_bounded() -> None:
    peer = Peer(TrackerLimits(max_members=3, max_unconfirmed=1))
    outcomes = [peer.speak(name=f"p{number}") for number in range(4)]
    assert outcomes == [Outcome.CONFIRMED] * 3 + [Outcome.FULL]


def test_rumours_of_restarts_do_not_pass_the_bound_of_the_unconfirmed() -> None:
    peer = Peer(TrackerLimits(max_members=10, max_unconfirmed=2))
    for number in range(5):
        peer.speak(name=f"p{number}")
    outcomes = [peer.hear(ALIVE, epoch=2, name=f"p{number}") for number in range(5)]
    assert outcomes == [Outcome.RESTARTED] * 2 + [Outcome.FULL] * 3
    assert peer.tracker.count(ALIVE) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"max_members": 0},
        {"max_members": True},
        {"max_members": 10, "max_unconfirmed": 10},
        {"max_tombstones": -1},
        {"tombstone_s": math.nan},
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        TrackerLimits(**fields)


_claims = st.tuples(st.sampled_from([ALIVE, SUSPECT, DEAD, LEFT]), st.integers(0, 3))


@QUICK
@given(st.lists(_claims, max_size=8), st.randoms(use_true_random=False))
def test_rumours_may_come_in_any_order(
    claims: list[tuple[NodeLifecycleState, int]], chance: random.Random
) -> None:
    one, other = Peer(), Peer()
    for each in (one, other):
        each.speak(0)
    for state, incarnation in claims:
        one.hear(state, incarnation)
    shuffled = list(claims)
    chance.shuffle(shuffled)
    for state, incarnation in shuffled:
        other.hear(state, incarnation)
    assert one.seen == other.seen


def test_all_orders_of_a_refuted_suspicion_end_alive() -> None:
    story = [(ALIVE, 0), (SUSPECT, 0), (DEAD, 0), (ALIVE, 1)]
    for order in itertools.permutations(story):
        peer = Peer()
        peer.speak(0)
        for state, incarnation in order:
            peer.hear(state, incarnation)
        assert peer.seen == (ALIVE, 1, 1)
