"""What rides on other messages: how often, in which order, and how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.membership.awareness import Awareness
from federlib.membership.dissemination import Broadcasts, retransmit_limit

RAW = b"an update of twenty."


def take(broadcasts: Broadcasts, room: int = 10_000, *, limit: int = 4) -> list[bytes]:
    return broadcasts.take(room, limit=limit, most=256)


@pytest.mark.parametrize(
    ("members", "times"), [(1, 4), (9, 4), (10, 8), (50, 8), (100, 12), (200, 12), (1_000, 16)]
)
def test_an_update_is_sent_as_often_as_the_logarithm_says(members: int, times: int) -> None:
    assert retransmit_limit(4, members) == times


def test_an_update_is_forgotten_when_it_was_sent_often_enough() -> None:
    broadcasts = Broadcasts(urgent_first=True)
    broadcasts.put("a", RAW)
    assert [take(broadcasts) for _ in range(5)] == [[RAW]] * 4 + [[]]
    assert "a" not in broadcasts


def test_the_newer_update_of_a_subject_replaces_the_older() -> None:
    broadcasts = Broadcasts(urgent_first=True)
    broadcasts.put("a", b"the older of these two")
    take(broadcasts)
    broadcasts.put("a", RAW)
    assert take(broadcasts) == [RAW]
    assert len(broadcasts) == 1


def test_a_refutation_overtakes_what_waits() -> None:
    broadcasts = Broadcasts(urgent_first=True)
    broadcasts.put("a", b"some suspicion")
    broadcasts.put("b", b"the refutation", urgent=True)
    assert take(broadcasts, 15) == [b"the refutation"]


def test_without_lifeguard_nothing_is_urgent() -> None:
    broadcasts = Broadcasts(urgent_first=False)
    broadcasts.put("a", b"some suspicion")
    broadcasts.put("b", b"the refutation", urgent=True)
    assert take(broadcasts, 15) == [b"some suspicion"]


def test_what_was_sent_least_goes_first() -> None:
    broadcasts = Broadcasts(urgent_first=True)
    broadcasts.put("a", b"aaaaaaaaaa")
    assert take(broadcasts, 10) == [b"aaaaaaaaaa"]
    broadcasts.put("b", b"bbbbbbbbbb")
    assert take(broadcasts, 10) == [b"bbbbbbbbbb"]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(10, 40), st.booleans()), max_size=40),
    st.integers(0, 200),
    st.integers(1, 5),
)
def test_it_never_exceeds_its_room_and_sends_each_exactly_so_often(
    puts: list[tuple[int, int, bool]], room: int, limit: int
) -> None:
    broadcasts = Broadcasts(urgent_first=True)
    last: dict[int, bytes] = {}
    for subject, size, urgent in puts:
        last[subject] = bytes([subject]) * size
        broadcasts.put(str(subject), last[subject], urgent=urgent)
    counted = dict.fromkeys(last, 0)
    for _ in range(10 * limit):
        taken = take(broadcasts, room, limit=limit)
        assert sum(map(len, taken)) <= room
        for each in taken:
            assert each == last[each[0]]
            counted[each[0]] += 1
    if all(len(raw) <= room for raw in last.values()):
        assert all(counted.values())
    assert all(times <= limit for times in counted.values())


def test_of_thousands_that_wait_only_some_are_looked_at() -> None:
    class Watched(bytes):
        looks = 0

        def __len__(self) -> int:
            Watched.looks += 1
            return super().__len__()

    broadcasts = Broadcasts(urgent_first=True)
    for number in range(5_000):
        broadcasts.put(str(number), Watched(RAW))
    Watched.looks = 0
    assert len(take(broadcasts, 110)) == 5
    assert Watched.looks < 50


def test_local_health_keeps_its_bounds() -> None:
    awareness = Awareness(8)
    awareness.add(-3)
    assert (awareness.score, awareness.multiplier) == (0, 1)
    awareness.add(5)
    awareness.add(5)
    assert (awareness.score, awareness.multiplier, awareness.is_worst) == (8, 9, True)
    awareness.add(-1)
    assert (awareness.score, awareness.is_worst) == (7, False)
