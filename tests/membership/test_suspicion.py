"""How long a suspect has, against the figures of the note and the paper's formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.membership.suspicion import (
    Suspicion,
    decayed_timeout_s,
    needed_confirmations,
    shortest_timeout_s,
)


@pytest.mark.parametrize(
    ("members", "shortest_s"),
    [(1, 4.0), (10, 4.0), (50, 6.796), (100, 8.0), (128, 8.429), (200, 9.204), (1_000, 12.0)],
)
def test_the_shortest_grows_with_the_logarithm(members: int, shortest_s: float) -> None:
    found = shortest_timeout_s(multiplier=4, members=members, interval_s=1.0)
    assert found == pytest.approx(shortest_s, abs=0.001)


def test_a_far_peer_gets_its_two_round_trips_and_no_more() -> None:
    near = shortest_timeout_s(multiplier=4, members=10, interval_s=1.0)
    far = shortest_timeout_s(multiplier=4, members=10, interval_s=1.0, rtt_ms=300)
    assert far - near == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("confirmations", "timeout_s"),
    [(0, 30.0), (1, 17.5), (2, 10.188), (3, 5.0), (4, 5.0), (100, 5.0)],
)
def test_confirmations_shorten_it_as_in_the_paper(confirmations: int, timeout_s: float) -> None:
    found = decayed_timeout_s(5.0, 30.0, confirmations=confirmations, needed=3)
    assert found == pytest.approx(timeout_s, abs=0.001)


def test_where_nobody_can_confirm_it_is_shortest_at_once() -> None:
    assert decayed_timeout_s(5.0, 30.0, confirmations=0, needed=0) == 5.0


@pytest.mark.parametrize(("members", "needed"), [(2, 0), (4, 0), (5, 3), (50, 3)])
def test_a_small_group_asks_for_no_confirmations(members: int, needed: int) -> None:
    assert needed_confirmations(3, members) == needed


@given(
    st.floats(0.1, 100), st.floats(1, 10), st.integers(0, 20), st.integers(0, 8), st.floats(0, 1e6)
)
def test_it_stays_between_shortest_and_longest_and_never_grows(
    shortest_s: float, times: float, confirmations: int, needed: int, started_s: float
) -> None:
    longest_s = shortest_s * times
    suspicion = Suspicion(started_s, shortest_s, longest_s, needed)
    before_s = suspicion.deadline_s
    for number in range(confirmations):
        suspicion.confirm(f"n{number}")
        assert suspicion.deadline_s <= before_s
        before_s = suspicion.deadline_s
        assert started_s + shortest_s <= before_s <= started_s + longest_s + 1e-6
    assert len(suspicion.accusers) <= needed + 1


def test_one_accuser_counts_once() -> None:
    suspicion = Suspicion(0.0, 1.0, 6.0, 3)
    assert suspicion.confirm("a")
    assert not suspicion.confirm("a")
    assert (suspicion.confirmations, suspicion.deadline_s) == (0, 6.0)
    assert suspicion.confirm("b")
    assert suspicion.confirmations == 1
