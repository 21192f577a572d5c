"""What a run keeps: its records, and the transitions of its log."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import get_args

from hypothesis import strategies as st

from federlib.dag import ProgressRecord, Running, RunRecord
from federlib.dag.arrays import pack
from federlib.dag.records import (
    MAX_SLOTS,
    NO_RESULT,
    AskRecord,
    AssignRecord,
    Claim,
    DoneRecord,
    EpochRecord,
    EpochSpan,
    Finish,
    ResultBatch,
    RunOutcome,
    SnapshotHead,
    SnapshotPart,
    WorkerRecord,
)
from federlib.dag.transitions import (
    Adopted,
    Cancelled,
    Claimed,
    Ended,
    Epoch,
    Failed,
    LogBatch,
    Lost,
    Refused,
    Resumed,
    Retried,
    Revoked,
    Succeeded,
    Transition,
)
from federlib.graph import NODE_STATES
from federlib.testing.strategies._fleet import worker_ids
from federlib.testing.strategies._lease import holder_ids
from federlib.testing.strategies._plain import (
    any_text,
    booleans,
    counts,
    hlc_timestamps,
    instants,
    raw_json,
    tokens,
)
from federlib.testing.strategies._tasks import policies, run_ids

__all__ = ["STRATEGIES"]

_INT32 = 2**31 - 1
_nodes, _attempts = counts(0, 100_000), counts(1, 1_000)
_ms = counts(0, _INT32)
_words = any_text(max_size=60)
_hlc = st.none() | hlc_timestamps()
_outcomes = st.sampled_from(get_args(RunOutcome))
_lives = st.tuples(worker_ids(), counts(1), tokens())
_retry = st.none() | instants()
_seqs = counts(1, 10**12 - 1)  # twelve digits of a key


@st.composite
def _run_records(draw: st.DrawFn) -> RunRecord:
    policy = draw(policies)
    chunks, state = draw(counts(1, 1_000)), draw(_outcomes)
    submitted_ns = draw(counts(1, 2**61))
    return RunRecord(
        run_id=draw(run_ids()),
        name=draw(_words),
        plan_hash=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        chunks=chunks,
        tasks=draw(counts(chunks, 1_000_000)),
        submitted_ns=submitted_ns,
        on_failover=policy.on_failover,
        max_lost=policy.max_lost,
        backoff_s=policy.backoff_s,
        backoff_max_s=policy.backoff_max_s,
        state=state,
        ended_ns=0 if state == "running" else draw(counts(submitted_ns)),
    )


@st.composite
def _claims(draw: st.DrawFn) -> Claim:
    inputs = sorted(draw(st.lists(_seqs, unique=True, max_size=4)))
    scan = len(inputs) == 2 and draw(booleans)
    return Claim(draw(_nodes), draw(_attempts), draw(tokens()), tuple(inputs), scan)


@st.composite
def _finishes(draw: st.DrawFn) -> Finish:
    ok = draw(booleans)
    return Finish(
        node=draw(_nodes),
        attempt=draw(_attempts),
        ok=ok,
        result=draw(st.just(NO_RESULT) | raw_json()) if ok else NO_RESULT,
        reason="" if ok else draw(_words),
        ms=draw(_ms),
    )


@st.composite
def _spans(draw: st.DrawFn) -> EpochSpan:
    first, last, acted = sorted(draw(st.tuples(instants(), instants(), instants())))
    return EpochSpan(draw(tokens()), draw(holder_ids()), first, max(last, acted), acted)


_transitions: Mapping[type, st.SearchStrategy[Transition]] = {
    Epoch: st.builds(Epoch, tokens(), holder_ids(), instants()),
    Succeeded: st.builds(Succeeded, _nodes, _attempts, st.sampled_from((0, 1)), _ms),
    Failed: st.builds(Failed, _nodes, _attempts, _words, _retry),
    Lost: st.builds(Lost, _nodes, _attempts, _words, _retry),
    Revoked: st.builds(Revoked, _nodes, _attempts),
    Adopted: st.builds(Adopted, _nodes, _attempts, tokens()),
    Refused: st.builds(Refused, _nodes, _attempts, tokens(), _words),
    Retried: st.builds(Retried, _nodes),
    Cancelled: st.builds(Cancelled, _words),
    Resumed: st.builds(Resumed, _words),
    Ended: st.builds(Ended, st.sampled_from(("success", "failed", "cancelled"))),
}


@st.composite
def _log_batches(draw: st.DrawFn) -> LogBatch:
    workers = draw(st.lists(_lives, unique=True, max_size=3))
    kinds: list[st.SearchStrategy[Transition]] = list(_transitions.values())
    if workers:
        # A claim points into the batch's table of workers.
        kinds.append(st.builds(Claimed, _nodes, _attempts, st.integers(0, len(workers) - 1)))
    return LogBatch(
        epoch=draw(tokens()),
        at_ns=draw(instants()),
        t=tuple(draw(st.lists(st.one_of(kinds), min_size=1, max_size=6))),
        workers=tuple(workers),
        hlc=draw(_hlc),
    )


@st.composite
def _columns(draw: st.DrawFn) -> SnapshotPart:
    """Draw a stretch of nodes: as many entries in each array."""
    states = draw(st.binary(min_size=1, max_size=5).map(lambda raw: bytes(b % 6 for b in raw)))
    numbers = st.lists(_ms, min_size=len(states), max_size=len(states))
    column = numbers.map(lambda found: pack(array("i", found)))
    return SnapshotPart(
        first=draw(_nodes),
        states=states,
        attempts=draw(column),
        losses=draw(column),
        forgiven=draw(column),
        results=draw(column),
        durations=draw(column),
    )


_accepted = st.lists(st.tuples(_nodes, _attempts, tokens()), min_size=1, max_size=4).map(
    lambda rows: pack(array("q", [number for row in rows for number in row]))
)
_open_claims = st.lists(
    st.builds(lambda head, life: (*head, *life), st.tuples(_nodes, _attempts, tokens()), _lives),
    min_size=1,
    max_size=3,
    unique_by=lambda claim: claim[0],
)
_parts = (
    _columns()
    | st.builds(SnapshotPart, first=_nodes, accepted=_accepted)
    | st.builds(SnapshotPart, claims=_open_claims.map(tuple))
    | st.builds(
        SnapshotPart,
        delayed=st.dictionaries(_nodes, instants(), min_size=1, max_size=3).map(
            lambda found: tuple(found.items())
        ),
    )
    | st.builds(SnapshotPart, reasons=st.dictionaries(_nodes, _words, min_size=1, max_size=3))
)


def _one_each(row: Claim | Finish) -> tuple[int, int]:
    return row.node, row.attempt


_count_by_state = st.fixed_dictionaries({state: counts(0, 10_000) for state in NODE_STATES})

STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    **_transitions,
    Claimed: st.builds(Claimed, _nodes, _attempts, st.integers(0, 100)),
    LogBatch: _log_batches(),
    AskRecord: st.builds(
        AskRecord,
        verb=st.sampled_from(("cancel", "resume")),
        by=_words,
        at_ns=instants(),
        retry_failed=booleans,
    ),
    AssignRecord: st.builds(
        AssignRecord,
        epoch=tokens(),
        incarnation=counts(1),
        token=tokens(),
        claims=st.lists(_claims(), max_size=4, unique_by=_one_each).map(tuple),
    ),
    Claim: _claims(),
    DoneRecord: st.builds(
        DoneRecord,
        worker_id=worker_ids(),
        incarnation=counts(1),
        token=tokens(),
        epoch=tokens(),
        finishes=st.lists(_finishes(), min_size=1, max_size=4, unique_by=_one_each).map(tuple),
    ),
    EpochRecord: st.builds(EpochRecord, epoch=tokens(), leader=holder_ids()),
    EpochSpan: _spans(),
    Finish: _finishes(),
    ProgressRecord: st.builds(
        ProgressRecord,
        epoch=tokens(),
        leader=holder_ids(),
        at_ns=instants(),
        counts=_count_by_state,
        attempts=counts(),
        refused=counts(),
        workers=counts(0, 10_000),
        started_ns=instants(),
    ),
    ResultBatch: st.builds(
        ResultBatch, results=st.dictionaries(_nodes, raw_json(), min_size=1, max_size=4)
    ),
    RunRecord: _run_records(),
    Running: st.builds(Running, _nodes, _attempts, tokens(), _lives),
    SnapshotHead: st.builds(
        SnapshotHead,
        seq=_seqs,
        parts=counts(1, 9_999),
        transitions=counts(),
        epoch=tokens(),
        outcome=_outcomes,
        attempts=counts(),
        refused=counts(),
        adopted=counts(),
        epochs=st.lists(_spans(), max_size=3, unique_by=lambda span: span.epoch).map(
            lambda spans: tuple(sorted(spans, key=lambda span: span.epoch))
        ),
        hlc=_hlc,
    ),
    SnapshotPart: _parts,
    WorkerRecord: st.builds(
        WorkerRecord,
        worker_id=worker_ids(),
        incarnation=counts(1),
        slots=counts(0, MAX_SLOTS),
        token=tokens(),
        pid=counts(1, _INT32),
        host=_words,
    ),
}
