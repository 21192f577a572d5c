"""The pure part of an election."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.leadership.election import (
    Event,
    Granted,
    LeaderState,
    Lost,
    Reached,
    Unreachable,
    next_state,
)

START = LeaderState(name="e")


def play(*events: Event) -> LeaderState:
    state = START
    for number, event in enumerate(events):
        state = next_state(state, event, now_ns=number + 1)
    return state


def test_a_process_starts_as_observer_until_the_backend_answers() -> None:
    assert START.role == "observer"
    state = play(Reached("w1", 4))
    assert (state.role, state.leader, state.epoch) == ("follower", "w1", 4)


def test_a_grant_makes_leader_under_its_token() -> None:
    state = play(Reached(None, 4), Granted(5, "me"))
    assert (state.role, state.epoch, state.leader) == ("leader", 5, "me")


def test_an_outage_makes_observers_of_followers_and_not_of_the_leader() -> None:
    assert play(Reached("w1", 1), Unreachable("away")).role == "observer"
    assert play(Granted(1, "me"), Unreachable("away")).role == "leader"


def test_a_leader_that_loses_its_lease_follows() -> None:
    state = play(Granted(1, "me"), Lost("late"))
    assert (state.role, state.leader, state.reason) == ("follower", None, "late")


def test_roles_return_by_themselves() -> None:
    state = play(Reached("w1", 1), Unreachable("away"), Reached("w2", 2))
    assert (state.role, state.leader, state.epoch) == ("follower", "w2", 2)


def test_news_of_an_older_epoch_never_lowers_the_epoch() -> None:
    assert play(Reached("w1", 7), Reached("w0", 3)).epoch == 7


def test_a_role_that_does_not_change_keeps_its_beginning() -> None:
    assert play(Reached("w1", 1), Reached("w2", 2)).since_ns == 1


EVENTS = st.one_of(
    st.builds(Granted, st.integers(1, 9), st.just("me")),
    st.builds(Lost, st.just("r")),
    st.builds(Reached, st.none() | st.just("w"), st.integers(0, 9)),
    st.builds(Unreachable, st.just("r")),
)


@given(st.lists(EVENTS, max_size=30))
def test_only_a_grant_makes_a_leader_and_only_a_loss_ends_it(events: list[Event]) -> None:
    state = START
    for number, event in enumerate(events):
        after = next_state(state, event, now_ns=number)
        if after.role == "leader":
            assert state.role == "leader" or isinstance(event, Granted)
        if state.role == "leader" and after.role != "leader":
            assert isinstance(event, Lost)
        if not isinstance(event, Granted):
            assert after.epoch >= state.epoch
        state = after


@pytest.mark.parametrize("event", [Lost("x"), Unreachable("x")])
def test_an_observer_stays_one_until_reached(event: Event) -> None:
    assert next_state(START, event, now_ns=9) is START
