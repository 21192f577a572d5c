"""How whole commits are put together of what a watch tells in pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import CorruptRecord
from federlib.storage.backends.etcd._events import Assembler, Gap
from federlib.storage.backends.etcd._keys import NEVER, Layout, Place, successor
from federlib.storage.backends.etcd._wire import KeyValue, WatchEvent
from federlib.storage.protocol import Batch, Event, Record

PLACE = Place("etcd store a", Layout("p/"), 100, b"meta")


def put(key: str, revision: int, *, created: int = 0, value: bytes = b"") -> WatchEvent:
    created = created or revision
    return WatchEvent(KeyValue(key.encode(), value, created + 100, revision + 100))


def gone(key: str, revision: int) -> WatchEvent:
    return WatchEvent(KeyValue(key.encode(), mod_revision=revision + 100), "DELETE")


def tick(revision: int, version: int) -> WatchEvent:
    return WatchEvent(KeyValue(b"p/k~", b"", 101, revision + 100, version))


STORY = (
    put("p/k/b", 5), put("p/k/a", 5, created=2), put("p/r/id", 5), tick(5, 4),
    put("p/l/lease", 6),
    tick(7, 5),
    put("p/k/foreign", 8),
    gone("p/k/a", 9), tick(9, 6),
)  # fmt: skip
TOLD = [
    Batch(5, (Event("a", Record("a", b"", 5, 2)), Event("b", Record("b", b"", 5, 5)))),
    Batch(7, ()),
    Batch(8, (Event("foreign", Record("foreign", b"", 8, 8)),)),
    Batch(9, (Event("a", None),)),
]


@given(st.sets(st.integers(0, len(STORY))))
def test_however_it_is_cut_the_same_commits_come_out(cuts: set[int]) -> None:
    assembler = Assembler(PLACE, after=4)
    told: list[Batch] = []
    for start, end in itertools.pairwise([0, *sorted(cuts), len(STORY)]):
        told += assembler.take(STORY[start:end])
    assert told == TOLD
    assert assembler.position == 9


def test_what_lies_before_the_beginning_is_not_told() -> None:
    assert list(Assembler(PLACE, after=7).take(STORY)) == TOLD[2:]


@pytest.mark.parametrize(
    "story",
    [(tick(5, 4), tick(7, 6)), (tick(5, 4), tick(6, 4)), (tick(5, 4), gone("p/k~", 6))],
    ids=["one is missing", "begun anew", "deleted"],
)
def test_ticks_that_do_not_follow_each_other_are_a_gap(story: tuple[WatchEvent, ...]) -> None:
    with pytest.raises(Gap):
        list(Assembler(PLACE, after=0).take(story))


@pytest.mark.parametrize(
    "event",
    [
        gone("p/k/meta/store", 5),
        put("p/k/meta/store", 5, created=1, value=b"other"),
        put("p/k/meta/store", 5, value=b"meta"),
    ],
    ids=["deleted", "another", "made again"],
)
def test_another_store_is_no_change_like_any(event: WatchEvent) -> None:
    with pytest.raises(CorruptRecord, match="meta/store"):
        list(Assembler(PLACE, after=0).take((event, tick(5, 2))))


def test_the_creation_of_the_store_is_a_change_like_any() -> None:
    story = (put("p/k/meta/store", 1, value=b"meta"), tick(1, 1))
    (batch,) = Assembler(PLACE, after=0).take(story)
    assert [event.key for event in batch.events] == ["meta/store"]


@given(st.text(min_size=1), st.text())
def test_a_successor_lies_behind_all_that_begin_so_and_before_all_else(
    prefix: str, text: str
) -> None:
    try:
        start, key = prefix.encode(), text.encode()
    except UnicodeEncodeError:
        return
    assert (start <= key < successor(start)) == key.startswith(start)


@given(st.integers())
def test_no_revision_that_cannot_be_is_taken_for_another(revision: int) -> None:
    found = PLACE.mod_revision(revision)
    assert 0 < found <= NEVER
    assert found == NEVER or PLACE.revision(found) == revision
