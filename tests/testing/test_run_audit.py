"""The audit of runs names what is wrong with a commit, and with a run that should be over."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dag.run_lab import new_state, run_record, workflow
from federlib.dag.records import (
    AssignRecord,
    Claim,
    DoneRecord,
    EpochRecord,
    ProgressRecord,
    SnapshotHead,
    Versioned,
    encode,
)
from federlib.dag.runstate import Life
from federlib.dag.transitions import Claimed, Epoch, LogBatch, Refused, Succeeded, Transition
from federlib.storage import Batch, Event, Record
from federlib.testing.sim.run_audit import ENDS, Ending, RunAudit
from federlib.testing.sim.run_book import Held
from federlib.testing.sim.run_commits import AFTERWARDS, COMMITS

TASKS: Mapping[str, list[str]] = {"a": [], "b": ["a"]}
LIFE: Life = ("w", 1, 1)


class Heard:
    """An audit of a run under epoch 2, and what it accuses of."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.audit = RunAudit("r", workflow(TASKS), lambda name, _: self.named.append(name))
        self.book = self.audit.book
        self.keys = self.book.keys
        self.book.epoch, self.book.leader, self.book.record = 2, "l", run_record(2)
        self.book.slots[LIFE] = 1

    def hear(self, puts: Mapping[str, Versioned], gone: tuple[str, ...] = ()) -> list[str]:
        events = [Event(key, Record(key, encode(made), 9, 9)) for key, made in puts.items()]
        events += [Event(key, None) for key in gone]
        self.audit.hear(Batch(9, tuple(events)))
        return self.named


def log(*transitions: Transition, epoch: int = 2) -> LogBatch:
    return LogBatch(epoch=epoch, at_ns=1, t=transitions, workers=(LIFE,))


def done(epoch: int) -> DoneRecord:
    return DoneRecord(worker_id="w", incarnation=1, token=1, epoch=epoch, finishes=())


def progress(success: int) -> ProgressRecord:
    counts = {"success": success, "running": 0, "failed": 0}
    return ProgressRecord(
        epoch=2, leader="l", at_ns=1, counts=counts, attempts=0, refused=0, workers=0, started_ns=0
    )


def head(seq: int) -> SnapshotHead:
    return SnapshotHead(
        seq=seq,
        parts=1,
        transitions=0,
        epoch=2,
        outcome="running",
        attempts=0,
        refused=0,
        adopted=0,
        epochs=(),
    )


REFUSED = Refused(0, 1, 1, "old")
CASES: list[tuple[str, Mapping[str, Versioned], tuple[str, ...]]] = [
    ("epochs_rise", {"epoch": EpochRecord(epoch=2, leader="l")}, ()),
    ("who_takes_over_was_granted_the_lease", {"epoch": EpochRecord(epoch=3, leader="l")}, ()),
    ("a_takeover_is_the_first_word", {"log/000000000001": log(Epoch(3, "l", 0), epoch=3)}, ()),
    ("only_the_present_epoch_appends", {"log/000000000001": log(REFUSED, epoch=1)}, ()),
    ("the_log_has_no_gap", {"log/000000000003": log(REFUSED)}, ()),
    ("finishes_name_the_present_epoch", {"done/w/1": done(1)}, ()),
    ("the_log_is_cut_behind_its_snapshot", {}, ("log/000000000001",)),
    ("the_log_is_cut_behind_its_snapshot", {"snap-head": head(5)}, ()),
    ("results_come_with_their_success", {"log/000000000001": log(Succeeded(0, 1, 1))}, ()),
    ("the_record_says_how_it_stands", {"run": run_record(2, fields={"state": "success"})}, ()),
    (
        "assignments_say_what_is_claimed",
        {"assign/w": AssignRecord(epoch=2, incarnation=1, token=1, claims=(Claim(0, 1, 2),))},
        (),
    ),
    (
        "workers_keep_to_their_credit",
        {"log/000000000001": log(Claimed(0, 1, 0), Claimed(1, 1, 0))},
        (),
    ),
    (
        "progress_counts_what_is",
        {"log/000000000001": log(REFUSED), "progress": progress(1)},
        (),
    ),
]


@pytest.mark.parametrize(("name", "puts", "gone"), CASES)
def test_a_commit_that_must_not_be_is_named(
    name: str, puts: Mapping[str, Versioned], gone: tuple[str, ...]
) -> None:
    heard = Heard()
    root = heard.keys.root
    named = heard.hear(
        {root + key: record for key, record in puts.items()}, tuple(root + key for key in gone)
    )
    assert name in named


def test_each_invariant_of_commits_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == COMMITS.keys() | AFTERWARDS.keys()


def test_a_commit_that_may_be_is_not_named() -> None:
    heard = Heard()
    keys = heard.keys
    assert heard.hear({keys.done("w", 1, 1, 1): done(2)}) == []
    claims = (Claim(0, 1, 2),)
    assigned = AssignRecord(epoch=2, incarnation=1, token=1, claims=claims)
    assert heard.hear({keys.log(1): log(Claimed(0, 1, 0)), keys.assign("w"): assigned}) == []
    assert heard.hear({keys.snap_head: head(1)}) == []
    assert heard.hear({}, (keys.log(1),)) == []
    assert heard.book.held_by(LIFE) == {0: Held(1, 2, LIFE)}
    assert heard.hear({"lease/another": head(1)}) == []


@pytest.mark.parametrize("name", ENDS)
def test_a_run_that_is_not_over_as_it_should_be_is_named(name: str) -> None:
    heard, lived = Heard(), new_state(TASKS)
    if name == "the_leader_knows_what_the_log_says":
        lived.apply(Epoch(1, "l", 0), seq=1, at_ns=1, workers=())
    heard.book.lost.append((0, 1))
    ending = Ending(book=heard.book, folded=new_state(TASKS), lived=lived, is_calm=True)
    assert ENDS[name](ending) is not None


def test_a_run_that_is_over_as_it_should_be_is_not_named() -> None:
    heard, folded = Heard(), new_state(TASKS)
    said: list[Transition] = [Epoch(2, "l", 0)]
    for node in (0, 1):
        said += [Claimed(node, 1, 0), Succeeded(node, 1)]
    for transition in said:
        batch = log(transition)
        folded.apply(transition, seq=1, at_ns=1, workers=batch.workers)
        heard.book.move(transition, batch)
    heard.book.outcome = heard.book.stated = folded.outcome = "success"
    ending = Ending(book=heard.book, folded=folded, lived=folded, is_calm=True)
    assert {name: found for name, check in ENDS.items() if (found := check(ending))} == {}
