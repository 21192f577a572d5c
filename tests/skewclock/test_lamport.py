"""`LamportClock`: numbers that rise along cause and effect, and never past int64."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput, Unavailable
from federlib.skewclock import LamportClock

LAST = 2**63 - 1


def test_events_of_one_clock_count_up_from_its_start() -> None:
    clock = LamportClock(41)
    assert [clock.now(), clock.now()] == [42, 43]
    assert clock.latest == 43


@pytest.mark.parametrize(
    ("remote", "receipt"),
    [
        pytest.param(9, 11, id="behind"),
        pytest.param(10, 11, id="equal"),
        pytest.param(11, 12, id="just ahead"),
        pytest.param(500, 501, id="far ahead"),
    ],
)
def test_a_receipt_is_above_both(remote: int, receipt: int) -> None:
    clock = LamportClock(10)
    assert clock.observe(remote) == receipt
    assert clock.now() == receipt + 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=60))
def test_numbers_rise_along_every_chain_of_cause_and_effect(hops: list[tuple[int, int]]) -> None:
    clocks = [LamportClock() for _ in range(3)]
    for sender, receiver in hops:
        before = clocks[receiver].latest
        sent = clocks[sender].now()
        received = clocks[receiver].observe(sent)
        assert received > max(sent, before)


def test_a_number_too_far_ahead_is_refused_counted_and_not_taken_in() -> None:
    clock = LamportClock(5, max_jump=10)
    with pytest.raises(InvalidInput, match="from 0 to 15, found 16"):
        clock.observe(16)
    assert (clock.latest, clock.refused) == (5, 1)
    assert clock.observe(15) == 16


@pytest.mark.parametrize("remote", [-1, LAST + 1, 1.0, True, None, "7"])
def test_what_is_no_number_is_refused_and_nothing_changes(remote: object) -> None:
    clock = LamportClock(5, max_jump=LAST)
    with pytest.raises(InvalidInput, match="remote"):
        clock.observe(remote)  # type: ignore[arg-type]  # hostile on purpose
    assert (clock.latest, clock.refused) == (5, 1)


def test_int64_is_used_to_its_last_number_and_not_beyond() -> None:
    clock = LamportClock(LAST - 1)
    assert clock.now() == LAST
    for step in (clock.now, lambda: clock.observe(3), lambda: clock.observe(LAST)):
        with pytest.raises(Unavailable, match="used up"):
            step()
    assert clock.latest == LAST


@pytest.mark.parametrize(
    "arguments", [{"start": -1}, {"start": LAST + 1}, {"start": 0.5}, {"max_jump": 0}]
)
def test_a_clock_that_cannot_be_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        LamportClock(**arguments)


def test_threads_that_hammer_one_clock_get_distinct_and_rising_numbers() -> None:
    clock = LamportClock()
    found: list[list[int]] = [[] for _ in range(4)]

    def hammer(mine: list[int]) -> None:
        mine += (
            clock.observe(clock.latest) if turn % 3 == 0 else clock.now() for turn in range(5_000)
        )

    threads = [threading.Thread(target=hammer, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in found)
    everything = [number for mine in found for number in mine]
    assert len(set(everything)) == len(everything) == 20_000
