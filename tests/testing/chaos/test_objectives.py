"""The arithmetic of the objectives, on evidence that is known to be right or wrong."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.testing.chaos.evidence import Fate
from federlib.testing.chaos.objectives import (
    duplicates,
    duplicates_allowed,
    failover_rto_s,
    less_outages,
    objectives,
    slo,
    split_brain,
)
from testing.chaos.recorded import RIGHT, at, note, strike, wrong


def passed(evidence: object) -> dict[str, bool]:
    return {one.name: one.passed for one in objectives(evidence)}  # type: ignore[arg-type]  # a row


def test_a_run_as_it_should_be_keeps_every_objective() -> None:
    assert [(one.name, one.limit, one.measured) for one in objectives(RIGHT)] == [
        ("failover_rto_s", 30.0, 3.9),
        ("split_brain_commands_accepted", 0, 0),
        ("duplicate_side_effects", 1, 1),
    ]
    assert all(passed(RIGHT).values())


def test_a_limit_is_kept_by_what_reaches_it_and_missed_by_what_exceeds_it() -> None:
    assert slo("any", limit=30, measured=30).passed
    assert not slo("any", limit=30, measured=30.001).passed


def test_a_failover_that_takes_too_long_is_missed() -> None:
    slow = attrs.evolve(RIGHT, ended_ns=at(39.2))
    assert failover_rto_s(slow) == pytest.approx(30.2)
    assert not passed(slow)["failover_rto_s"]


def test_a_fleet_that_never_does_anything_has_no_failover_at_all() -> None:
    mute = attrs.evolve(RIGHT, notes=(), ended_ns=at(31))
    assert not passed(mute)["failover_rto_s"]


def test_time_in_which_the_store_takes_nothing_is_nobodys_failover() -> None:
    away = attrs.evolve(RIGHT, ended_ns=at(39.2), strikes=(strike("store_down", 10, 25, who=""),))
    assert failover_rto_s(away) == pytest.approx(15.2)
    cut_off = attrs.evolve(away, strikes=(strike("isolate", 10, 25),))
    assert failover_rto_s(cut_off) == pytest.approx(30.2)


def test_an_outage_that_was_never_mended_lasts_to_the_end() -> None:
    away = attrs.evolve(RIGHT, ended_ns=at(60), strikes=(strike("store_full", 10, None, who=""),))
    assert failover_rto_s(away) == pytest.approx(3.9)


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50))),
)
def test_outages_are_taken_off_once_however_they_overlap(
    begin: int, length: int, outages: list[tuple[int, int]]
) -> None:
    end = begin + length
    naive = sum(
        not any(first <= tick < last for first, last in outages) for tick in range(begin, end)
    )
    assert less_outages(begin, end, outages) == naive


def test_a_command_that_got_in_under_an_epoch_that_was_over_is_a_split_brain() -> None:
    split = wrong(fates=(Fate(id="late", epoch=1, issued=30, started=31, ended=32),))
    assert split_brain(split) == ("late",)
    assert not passed(split)["split_brain_commands_accepted"]


def test_a_command_that_was_begun_after_a_later_epoch_is_a_split_brain() -> None:
    begun = wrong(fates=(Fate(id="late", epoch=1, issued=14, started=40),))
    assert split_brain(begun) == ("late",)


def test_a_command_that_got_in_and_is_refused_by_its_consumer_is_a_split_brain_too() -> None:
    split = wrong(
        fates=(Fate(id="late", epoch=1, issued=30, ended=31, status="rejected_stale_epoch"),)
    )
    assert split_brain(split) == ("late",)


def test_the_ledger_shows_a_split_brain_that_the_store_keeps_silent_about() -> None:
    silent = wrong(notes=(note(9.5, "n1", "issued", id="ghost", epoch=1, since=9.4),))
    assert split_brain(silent) == ("ghost",)
    mark = wrong(notes=(note(9.5, "n1", "marked", id="effect-9", epoch=1, since=9.4),))
    assert split_brain(mark) == ("effect-9",)


def test_what_was_under_way_when_the_next_epoch_began_may_have_been_first() -> None:
    beside = wrong(notes=(note(9.5, "n1", "issued", id="slow", epoch=1, since=4.5),))
    assert split_brain(beside) == ()


def test_effects_that_happened_too_often_are_counted_by_the_ledger_alone() -> None:
    assert duplicates(RIGHT.notes) == {"effect-2": 1}
    again = wrong(
        notes=(
            note(9.2, "n2", "effect", id="effect-2", epoch=2),
            note(9.3, "n3", "acted", id="2-n2-1", epoch=2),
        )
    )
    assert duplicates(again.notes) == {"effect-2": 2, "2-n2-1": 1}
    assert not passed(again)["duplicate_side_effects"]


def test_a_fault_allows_one_duplicate_for_each_time_to_live_that_it_lasts() -> None:
    assert duplicates_allowed(RIGHT) == 1
    assert duplicates_allowed(attrs.evolve(RIGHT, strikes=())) == 0
    assert duplicates_allowed(wrong(strikes=(strike("stop", 5, 7.5),))) == 1 + 3


@pytest.mark.parametrize("what", ["answer_lost", "lost"])
def test_a_lost_answer_or_reign_allows_one_duplicate(what: str) -> None:
    assert duplicates_allowed(wrong(notes=(note(9, "n2", what),))) == 2
