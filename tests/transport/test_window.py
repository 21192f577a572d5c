"""`ReplayWindow`: the boundary on both sides, and against a set that forgets nothing."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.transport.window import WINDOW, Freshness, ReplayWindow


def test_a_new_window_takes_only_what_is_above_its_top() -> None:
    window = ReplayWindow(10)
    assert window.judge(10) is Freshness.REPLAYED
    assert window.judge(9) is Freshness.REPLAYED
    assert window.judge(11) is Freshness.NEW


def test_to_judge_changes_nothing() -> None:
    window = ReplayWindow(0)
    assert [window.judge(5), window.judge(5)] == [Freshness.NEW, Freshness.NEW]
    assert [window.accept(5), window.accept(5)] == [Freshness.NEW, Freshness.REPLAYED]


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (0, Freshness.REPLAYED),
        (1, Freshness.NEW),
        (WINDOW - 1, Freshness.NEW),
        (WINDOW, Freshness.TOO_OLD),
        (WINDOW * 1_000, Freshness.TOO_OLD),
    ],
)
def test_the_window_ends_where_it_says(behind: int, expected: Freshness) -> None:
    window = ReplayWindow(0)
    top = WINDOW * 2_000
    window.accept(top)
    assert window.accept(top - behind) is expected


def test_a_leap_to_the_highest_number_costs_no_memory() -> None:
    window = ReplayWindow(0)
    assert window.accept(2**48 - 1) is Freshness.NEW
    assert sys.getsizeof(window._bits) < 400
    assert window.accept(2**48 - 2) is Freshness.NEW
    assert window.accept(5) is Freshness.TOO_OLD


@given(st.lists(st.integers(0, 3 * WINDOW) | st.integers(0, 40), max_size=200))
def test_no_number_is_taken_twice_and_none_within_the_window_is_lost(numbers: list[int]) -> None:
    window = ReplayWindow(0)
    taken: set[int] = set()
    top = 0
    for number in numbers:
        found = window.accept(number)
        is_within = top - number < WINDOW
        if number in taken or number == 0:
            assert found is not Freshness.NEW
        else:
            assert (found is Freshness.NEW) == is_within
        if found is Freshness.NEW:
            taken.add(number)
            top = max(top, number)
