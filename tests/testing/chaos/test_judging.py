"""Each invariant accuses evidence that breaks it, and no other."""

from __future__ import annotations

import attrs
import pytest

from federlib.storage import Committed, NotSeen
from federlib.testing.chaos.evidence import Evidence, Fate
from federlib.testing.chaos.judging import INVARIANTS, judge, settled
from federlib.testing.history import History, Operation
from testing.chaos.recorded import RIGHT, note, wrong

BROKEN = {
    "no_stale_epoch_is_accepted": wrong(
        fates=(Fate(id="late", epoch=1, issued=30, started=31, ended=32, status="noop"),)
    ),
    "no_replay_gets_in": wrong(
        fates=(Fate(id="replay-2", epoch=2, issued=30, ended=31, status="noop"),)
    ),
    "commands_are_acted_on_once": wrong(notes=(note(9.2, "n1", "acted", id="2-n2-1", epoch=2),)),
    "only_accepted_commands_are_acted_on": wrong(
        notes=(note(9.2, "n1", "acted", id="from nowhere", epoch=2),)
    ),
    "outcomes_are_true": wrong(
        fates=(Fate(id="2-n2-9", epoch=2, issued=30, started=31, ended=32, status="applied"),)
    ),
    "what_was_promised_is_kept": wrong(notes=(note(9.2, "n2", "issued", id="gone", epoch=2),)),
    "every_command_ends": wrong(fates=(Fate(id="2-n2-9", epoch=2, issued=30),)),
    "effects_are_idempotent": wrong(
        notes=(note(9.2, "n2", "effect", id="effect-2", epoch=2, text="2 squared is 5"),)
    ),
    "one_leader_an_epoch": wrong(notes=(note(9.2, "n3", "leads", epoch=2),)),
}


def accused(evidence: Evidence) -> set[str]:
    return {violation.partition(":")[0] for violation in judge(evidence).violations}


def test_a_run_as_it_should_be_is_accused_of_nothing() -> None:
    assert judge(RIGHT).violations == ()
    assert judge(RIGHT).histories_checked == 4


def test_every_invariant_has_evidence_that_breaks_it() -> None:
    assert BROKEN.keys() == INVARIANTS.keys()


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_one_invariant_is_called_by_its_name(name: str) -> None:
    assert accused(BROKEN[name]) == {name}


def test_a_command_acted_on_that_is_recorded_as_failed_is_told() -> None:
    liar = Fate(id="2-n2-1", epoch=2, issued=21, started=22, ended=23, status="actuation_failed")
    evidence = attrs.evolve(RIGHT, fates=(*RIGHT.fates[:2], liar))
    assert accused(evidence) == {"outcomes_are_true"}


def test_what_the_harness_saw_itself_is_told_too() -> None:
    fallen = attrs.evolve(RIGHT, problems=("nobody_falls: n3 exited with 1",))
    assert accused(fallen) == {"nobody_falls"}


def lease_calls(second: int) -> History:
    """Two grants of one lease, one after the other, the later one under a given token."""

    def grant(who: str, token: int, begin: int) -> Operation:
        return Operation(
            process=who,
            verb="acquire",
            key="leader",
            arguments=(who, "1"),
            invoked=begin,
            returned=begin + 1,
            outcome="ok",
            result=("granted", who, "1", token, 1),
        )

    return History([grant("n1", 2, 0), grant("n2", second, 5_000_000_000)])


def test_a_token_that_does_not_rise_is_found_in_the_history() -> None:
    assert accused(attrs.evolve(RIGHT, history=lease_calls(3))) == set()
    assert accused(attrs.evolve(RIGHT, history=lease_calls(1))) == {"leases_are_safe"}


def test_two_who_believe_at_once_are_told_only_where_clocks_are_true() -> None:
    first, second = lease_calls(3).operations
    long = attrs.evolve(RIGHT, history=History([
        Operation(**{**{f: getattr(first, f) for f in first.__struct_fields__},
                     "result": ("granted", "n1", "1", 2, 60_000)}),
        second,
    ]))  # fmt: skip
    assert accused(long) == {"no_holder_still_believes"}
    assert accused(attrs.evolve(long, has_true_clocks=False)) == set()


def get(value: str, revision: int, begin: int) -> Operation:
    return Operation(
        process="n1",
        verb="get",
        key="x",
        invoked=begin,
        returned=begin + 1,
        outcome="ok",
        result=(value, revision, 1),
    )


def test_a_store_that_goes_back_is_found_in_the_history() -> None:
    back = History([get("b", 2, 10), get("a", 1, 20)])
    assert accused(attrs.evolve(RIGHT, history=back)) == {"the_store_is_linearizable"}


def commit(name: str | None) -> Operation:
    return Operation(
        process="n1", verb="commit", key="x", arguments=("id", name, "put", "x", "v"), invoked=5
    )


def test_a_commit_without_an_answer_is_settled_by_its_receipt() -> None:
    history = History([commit("a"), commit("b"), commit(None), get("v", 7, 9)])
    receipts: dict[str, Committed | NotSeen] = {"a": Committed(7), "b": NotSeen()}
    first, second, third, read = settled(history, receipts, end=99)
    assert (first.outcome, first.returned, first.result) == ("ok", 99, ("committed", 7))
    assert (second.outcome, second.returned) == ("fail", 99)
    assert (third.outcome, third.returned) == ("info", None)
    assert read.result == ("v", 7, 1)
