"""What the leader decides, from inboxes made by hand."""

from __future__ import annotations

import msgspec
import pytest

from federlib.dag.inbox import WorkerView
from federlib.dag.records import MAX_RESULT_BYTES, AskRecord
from federlib.dag.transitions import (
    Adopted,
    Cancelled,
    Claimed,
    Ended,
    Epoch,
    Failed,
    Lost,
    Refused,
    Resumed,
    Retried,
    Succeeded,
)

from .run_lab import CHAIN, Desk, dead, done, finish, live, new_state, view


def desk(tasks: dict[str, list[str]] | None = None, **fields: str | float) -> Desk:
    return Desk(new_state(CHAIN if tasks is None else tasks, **fields))  # type: ignore[arg-type]


def wide(size: int) -> dict[str, list[str]]:
    return {f"t{n}": [] for n in range(size)}


def ask(verb: str, *, retry_failed: bool = False) -> AskRecord:
    return msgspec.convert(
        {"verb": verb, "by": "me", "at_ns": 1, "retry_failed": retry_failed}, AskRecord
    )


def kinds(desk: Desk) -> list[type]:
    return [type(t) for batch in desk.log for t in batch.t]


def test_an_empty_dag_ends_with_success_in_the_takeover_itself() -> None:
    d = desk({})
    draft = d.take_over(1)
    assert draft.outcome == "success"
    assert kinds(d) == [Epoch, Ended]
    assert d.decide() is None


def test_claims_never_go_beyond_a_workers_credit_and_spread_before_they_pile_up() -> None:
    d = desk(wide(10))
    d.inbox.workers = {"v": live(slots=2), "w": live(slots=3)}
    d.take_over(1)
    assert sorted(r.worker_id for r in d.state.claims.values()) == ["v", "v", "w", "w", "w"]
    assert d.decide() is None


def test_a_worker_with_a_hostile_credit_gets_no_more_than_a_thousand() -> None:
    d = desk(wide(3_000))
    d.inbox.workers = {"w": live(slots=10**9)}
    d.take_over(1)
    d.settle()
    assert len(d.state.claims) == 1_000


def test_a_worker_that_was_not_yet_inspected_gains_and_loses_nothing() -> None:
    d = desk()
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    d.inbox.workers = {"w": WorkerView(1, 4, "unknown")}
    d.take_over(2)
    assert [r.epoch for r in d.state.claims.values()] == [1]
    d.inbox.workers = {"w": live()}
    d.settle()
    assert [r.epoch for r in d.state.claims.values()] == [2]


def test_a_takeover_adopts_the_claims_of_the_living_and_raises_no_attempt() -> None:
    d = desk(wide(2))
    d.inbox.workers = {"v": live(slots=1), "w": live(slots=1)}
    d.take_over(1)
    d.inbox.workers["w"] = dead(slots=1)
    draft = d.take_over(5)
    of_v, of_w = ([r for r in d.state.claims.values() if r.worker_id == name] for name in "vw")
    assert [(r.attempt, r.epoch) for r in of_v] == [(1, 5)]
    assert of_w == []
    assert [type(t) for t in draft.batch.t].count(Adopted) == 1
    assert [t.reason for t in draft.batch.t if isinstance(t, Lost)] == ["worker gone at takeover"]
    assert draft.assigns["v"].claims[0].epoch == 5
    assert draft.assigns["w"].claims == ()


def test_rerun_starts_every_running_task_again() -> None:
    d = desk(on_failover="rerun")
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    d.take_over(2)
    assert [(r.attempt, r.epoch) for r in d.state.claims.values()] == [(2, 2)]


@pytest.mark.parametrize("again", [live(incarnation=2), live(token=2)])
def test_another_life_of_a_worker_never_inherits_claims(again: WorkerView) -> None:
    d = desk(wide(1))
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    d.inbox.workers = {"w": again}
    (draft,) = d.settle()
    assert [type(t) for t in draft.batch.t] == [Lost, Claimed]
    (claim,) = draft.assigns["w"].claims
    assert (claim.attempt, draft.assigns["w"].token) == (2, again.token)
    assert draft.assigns["w"].incarnation == again.incarnation


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (done("w", 4, finish(0)), "epoch 5 is current"),
        (done("w", 5, finish(0, 2)), "attempt 1 is current"),
        (done("v", 5, finish(0)), "claimed by another worker"),
        (done("w", 5, finish(0), token=2), "claimed by another worker"),
        (done("w", 5, finish(2)), "no such claim"),
        (done("w", 5, finish(-1)), "no such claim"),
        (done("w", 5, finish(10**12)), "no such claim"),
    ],
)
def test_a_finish_that_is_not_the_present_claim_is_refused_and_counted(
    record: object, reason: str
) -> None:
    d = desk()
    d.inbox.workers = {"w": live()}
    d.take_over(5)
    before = dict(d.state.claims)
    d.inbox.dones["k"] = record  # type: ignore[assignment]
    (draft,) = d.settle()
    assert [(type(t), t.reason) for t in draft.batch.t] == [(Refused, reason)]  # type: ignore[union-attr]
    assert draft.settled == ("k",)
    assert (d.state.claims, d.state.refused) == (before, 1)


def test_the_same_finish_twice_is_accepted_once() -> None:
    d = desk()
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    d.inbox.dones = {"k1": done("w", 1, finish(0), finish(0)), "k2": done("w", 1, finish(0))}
    d.settle()
    assert kinds(d).count(Succeeded) == 1
    assert d.state.refused == 2


def test_retries_wait_with_injected_jitter_and_doubling_pauses_then_fail() -> None:
    d = Desk(new_state({"a": []}, retries=3, backoff_s=1.0, backoff_max_s=3.0))
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    pauses: list[float | None] = []
    for attempt, d.jitter in enumerate((0.0, 1.0, 0.5, 0.0), start=1):
        d.inbox.dones["k"] = done("w", 1, finish(0, attempt, ok=False, reason="no"))
        d.settle()
        (failed,) = [t for t in d.log[-1].t if isinstance(t, Failed)]
        pauses.append(None if failed.retry_ns is None else (failed.retry_ns - d.now_ns) / 1e9)
        if failed.retry_ns is not None:
            d.now_ns = failed.retry_ns - 1
            assert d.decide() is None
            d.now_ns += 1
            d.settle()
            assert d.state.attempts(0) == attempt + 1
    assert pauses == [1.0, 1.0, 2.25, None]
    assert d.state.outcome == "failed"


def test_a_retry_that_is_due_while_nobody_is_free_wakes_the_leader_no_more() -> None:
    """It waits for a free slot then, not for its time: the leader would never sleep again."""
    d = Desk(new_state({"a": [], "b": []}, retries=1, backoff_s=1.0))
    d.inbox.workers = {"w": live(slots=1)}
    d.take_over(1)
    d.inbox.dones["k"] = done("w", 1, finish(0, 1, ok=False, reason="no"))
    d.settle()
    retry_ns = d.state.next_retry_ns()
    assert retry_ns is not None
    d.now_ns = retry_ns
    assert d.decide() is None
    assert d.state.next_retry_ns() is None
    d.inbox.dones["l"] = done("w", 1, finish(1))
    d.settle()
    assert d.state.attempts(0) == 2


def test_without_retries_the_first_failure_is_final_and_blocks_what_is_below() -> None:
    d = desk()
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    d.inbox.dones["k"] = done("w", 1, finish(0, ok=False, reason="no"))
    (draft,) = d.settle()
    assert draft.outcome == "failed"
    assert [d.state.state(n) for n in range(3)] == ["failed", "blocked", "blocked"]


def test_a_task_is_lost_max_lost_times_and_no_more() -> None:
    d = desk(wide(1), max_lost=2)
    for incarnation in range(1, 4):
        d.inbox.workers = {"w": live(incarnation=incarnation)}
        d.take_over(incarnation)
    d.inbox.workers = {}
    d.settle()
    assert (d.state.attempts(0), d.state.outcome) == (3, "failed")


def test_a_fresh_start_forgives_losses_as_well_as_failures() -> None:
    d = desk(wide(1), max_lost=1)
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    d.inbox.workers = {"w": live(incarnation=2)}
    d.settle()
    d.inbox.workers = {"w": live(incarnation=3)}
    d.settle()
    assert d.state.outcome == "failed"
    d.inbox.asks["k"] = ask("resume", retry_failed=True)
    d.settle()
    d.inbox.workers = {"w": live(incarnation=4)}
    d.settle()
    assert (d.state.outcome, d.state.attempts(0), len(d.state.claims)) == ("running", 4, 1)


def test_cancel_takes_every_claim_back_and_resume_makes_them_anew() -> None:
    d = desk(wide(3))
    d.inbox.workers = {"w": live()}
    d.take_over(1)
    d.inbox.asks["k"] = ask("cancel")
    (draft,) = d.settle()
    assert (draft.outcome, draft.assigns["w"].claims, d.state.claims) == ("cancelled", (), {})
    assert sum(map(d.state.losses, range(3))) == 0
    d.inbox.dones["late"] = done("w", 1, finish(0))
    d.inbox.asks["k2"] = ask("resume")
    d.settle()
    assert d.state.refused == 1
    assert [r.attempt for r in d.state.claims.values()] == [2, 2, 2]


@pytest.mark.parametrize(("workers", "slots"), [(31, 1), (100, 3), (40, 60), (1, 1_000)])
def test_a_cancel_of_any_size_ends_within_the_limits_of_a_transaction(
    workers: int, slots: int
) -> None:
    d = desk(wide(workers * slots))
    d.inbox.workers = {f"{'w' * 40}{n}": live(slots=slots) for n in range(workers)}
    d.take_over(1)
    d.settle()
    assert len(d.state.claims) == workers * slots
    d.inbox.asks["k"] = ask("cancel")
    drafts = d.settle()
    assert d.state.outcome == "cancelled"
    assert not d.state.claims
    # Each worker heard that it has nothing left.
    last = {name: record.claims for draft in drafts for name, record in draft.assigns.items()}
    assert last == dict.fromkeys(d.inbox.workers, ())
    assert not any(isinstance(t, Claimed) for draft in drafts for t in draft.batch.t)
    assert view(d.fold()) == view(d.state)


@pytest.mark.parametrize("failed", [511, 512, 513, 1_500])
def test_resume_retries_any_number_of_failed_tasks_before_the_run_goes_on(failed: int) -> None:
    d = desk(wide(failed))
    d.inbox.workers = {"w": live(slots=1_000)}
    d.take_over(1)
    while d.state.outcome == "running":
        claims = sorted(d.state.claims)
        for at in range(0, len(claims), 256):
            finishes = [finish(n, ok=False, reason="no") for n in claims[at : at + 256]]
            d.inbox.dones[f"k{at}"] = done("w", 1, *finishes)
        d.settle()
    d.inbox.asks["k"] = ask("resume", retry_failed=True)
    drafts = d.settle()
    everything = kinds(d)
    assert everything.count(Retried) == failed
    assert everything.count(Resumed) == 1
    assert Retried not in everything[everything.index(Resumed) :]
    assert [draft.outcome for draft in drafts if draft.outcome] == ["running"]
    assert view(d.fold()) == view(d.state)


def test_requests_that_change_nothing_are_settled() -> None:
    d = desk()
    d.take_over(1)
    d.inbox.asks = {"k1": ask("resume")} | {f"x{n}": ask("cancel") for n in range(60)}
    drafts = d.settle()
    assert sum(len(draft.settled) for draft in drafts) == 61
    assert kinds(d).count(Cancelled) == 1


def test_results_of_full_size_and_many_workers_keep_the_limits() -> None:
    d = desk(wide(200))
    d.inbox.workers = {f"w{n}": live(slots=4) for n in range(50)}
    d.take_over(1)
    d.settle()
    big = msgspec.Raw(b'"' + b"x" * (MAX_RESULT_BYTES - 2) + b'"')
    for name in d.inbox.workers:
        mine = [r for r in d.state.claims.values() if r.worker_id == name]
        d.inbox.dones[name] = done(name, 1, *(finish(r.node, result=big) for r in mine))
    d.settle()
    assert d.state.outcome == "success"


def test_reasons_of_full_length_in_the_worst_encoding_keep_the_limits() -> None:
    d = desk(wide(1_000))
    d.inbox.workers = {"w": live(slots=1_000)}
    d.take_over(1)
    d.settle()
    for at in range(0, 1_000, 250):
        finishes = [finish(n, ok=False, reason="\x01" * 400) for n in range(at, at + 250)]
        d.inbox.dones[f"k{at}"] = done("w", 1, *finishes)
    d.settle()
    assert d.state.outcome == "failed"


def test_many_inputs_for_many_slots_keep_the_limits() -> None:
    tasks = wide(100)
    tasks |= {f"join{n}": list(tasks) for n in range(900)}
    d = desk(tasks)
    d.inbox.workers = {"v": live(slots=1_000), "w": live(slots=400)}
    d.take_over(1)
    while any(node < 100 for node in d.state.claims):
        node, running = next(iter(d.state.claims.items()))
        d.inbox.dones["k"] = done(running.worker_id, 1, finish(node, result=msgspec.Raw(b"1")))
        d.settle()
    assert len(d.state.claims) > 500
    assert len(d.state.input_seqs(500)) == 100
