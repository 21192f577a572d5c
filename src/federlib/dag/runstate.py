"""The state of a run: the fold of its log, and nothing else.

`RunState` is a machine: `apply` takes one transition and either moves or, where the
transition is illegal in the present state, raises `CorruptRecord` and changes nothing. Fold
and live leader use the same code, so what a new leader rebuilds is what the old one had.

Source: design §5, dag; HA plan §4 (node states).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import assert_never

import msgspec

from federlib.dag.arrays import cut, where
from federlib.dag.columns import Columns
from federlib.dag.keys import RunKeys
from federlib.dag.plan import Plan
from federlib.dag.records import EpochSpan, RunOutcome, RunRecord, SnapshotHead, SnapshotPart
from federlib.dag.transitions import (
    Adopted,
    Cancelled,
    Claimed,
    Ended,
    Epoch,
    Failed,
    LogBatch,
    Lost,
    RareTransition,
    Refused,
    Resumed,
    Retried,
    Revoked,
    Succeeded,
    Transition,
)
from federlib.errors import Conflict, CorruptRecord, InvalidInput
from federlib.graph import Frontier, NodeState
from federlib.skewclock import HlcTimestamp

__all__ = ["Life", "RunState", "Running"]

_PART_CLAIMS, _PART_DELAYED, _PART_REASONS = 1_500, 8_000, 200
"""What else is open, in one part: below 400 KiB with the longest ids and reasons."""

_KEPT_REASONS = 600
_KEPT_EPOCHS = 1_000

Life = tuple[str, int, int]
"""One life of a worker: its id, its incarnation, its lease's token."""


class Running(msgspec.Struct, frozen=True):
    """A present claim: `(task_id, attempt, leader_epoch)` and whose it is."""

    node: int
    attempt: int
    epoch: int
    life: Life

    @property
    def worker_id(self) -> str:
        """Which worker has it."""
        return self.life[0]


class RunState:
    """What the log of a run says.

    Args:
        plan: The tasks and their graph.
        record: The run as submitted.

    Attributes:
        claims: The running nodes, by number, in the order in which they were claimed.
        claims_by: The same claims by the life of a worker that has them.
        outcome: `running`, or how the run ended.
        epoch: Of the last leader.
        epochs: The reigns so far, oldest first.
        refused: How many finishes were refused.
        adopted: How many claims were adopted at failovers.
        total_attempts: How many claims were made.
        transitions: How many transitions were folded.
        last_append_ns: When the last batch was appended, by its leader's wall clock.
        last_hlc: The latest timestamp of the log's hybrid logical clocks; None without any.
    """

    def __init__(self, plan: Plan, record: RunRecord) -> None:
        self.plan = plan
        self.record: RunRecord = record
        self.frontier: Frontier = Frontier(plan.graph)
        size = len(plan.graph)
        self.claims: dict[int, Running] = {}
        self.claims_by: dict[Life, dict[int, Running]] = {}
        self.outcome: RunOutcome = "running"
        self.epoch: int = 0
        self.epochs: list[EpochSpan] = []
        self.refused: int = 0
        self.adopted: int = 0
        self.total_attempts: int = 0
        self.transitions: int = 0
        self.last_append_ns: int = 0
        self.last_hlc: HlcTimestamp | None = None
        self._marked_ns = 0
        self._has_results = False
        self._columns = Columns(size)
        self._delayed: dict[int, int] = {}
        self._due: list[tuple[int, int]] = []
        self._reasons: dict[int, str] = {}
        # Claims that the present leader has not judged, and what each claim's parents gave.
        self._unjudged: dict[int, None] = {}
        self._inputs: dict[int, tuple[int, ...]] = {}

    # Reading

    @property
    def started_ns(self) -> int:
        """When the first leader took over; 0 before."""
        return self.epochs[0].first_ns if self.epochs else 0

    def attempts(self, node: int) -> int:
        """Return the number of the last attempt; 0 before the first."""
        return self._columns.attempts[node]

    def losses(self, node: int) -> int:
        """Return how many attempts were lost with their worker since the last fresh start."""
        return self._columns.losses[node]

    def failures(self, node: int) -> int:
        """Return how many finished attempts failed; the present one does not count."""
        open_attempt = 1 if node in self.claims else 0
        return self._columns.attempts[node] - self._columns.forgiven[node] - open_attempt

    def retries(self, node: int) -> int:
        """Return how many failures the plan forgives."""
        return self.plan.spec(node).retries

    def reason(self, node: int) -> str:
        """Return why the last attempt of a node failed or was lost; "" if it did not."""
        return self._reasons.get(node, "")

    def failed_nodes(self) -> list[int]:
        """List the nodes that failed for good."""
        return self.frontier.nodes_in("failed")

    def counts(self) -> dict[str, int]:
        """Count the nodes in each state."""
        return {str(state): count for state, count in self.frontier.counts().items()}

    def state(self, node: int) -> NodeState:
        """Return the state of one node."""
        return self.frontier.state(node)

    def critical_path_s(self) -> float:
        """Return the longest chain of accepted attempts' durations; seconds."""
        length_ms, _ = self.plan.graph.critical_path(self._columns.durations)
        return length_ms / 1_000

    def accepted(self) -> list[tuple[int, int, int]]:
        """List the accepted successes as `(node, attempt, epoch)`, in order of acceptance."""
        flat = self._columns.accepted
        return list(zip(flat[0::3], flat[1::3], flat[2::3], strict=True))

    def input_seqs(self, node: int) -> tuple[int, ...]:
        """Return which log records accepted results of a node's parents, ascending.

        For a running node they are found once: its parents' results do not change any more.
        """
        if not self._has_results:
            return ()
        found = self._inputs.get(node)
        if found is None:
            results = self._columns.results
            parents = self.plan.graph.parents_of(node)
            found = tuple(sorted({results[parent] for parent in parents} - {0}))
            if node in self.claims:
                self._inputs[node] = found
        return found

    def claims_of_older_epochs(self) -> list[Running]:
        """List the claims that the present leader has not judged yet."""
        return [self.claims[node] for node in self._unjudged]

    def is_drained(self) -> bool:
        """Say whether nothing is ready, running or waiting for a retry."""
        return self.frontier.is_over

    def next_ready(self, now_ns: int) -> int | None:
        """Return a node that may be claimed now, or None."""
        while self._due and self._due[0][0] <= now_ns:
            retry_ns, node = heapq.heappop(self._due)
            if self._delayed.get(node) == retry_ns:
                del self._delayed[node]
                self.frontier.requeue(node)
        return self.frontier.peek()

    def next_retry_ns(self) -> int | None:
        """Return when the next retry is due; Unix nanoseconds, or None if none waits."""
        while self._due and self._delayed.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def record_with_outcome(self, now_ns: int) -> RunRecord:
        """Return the run's record as it should stand after the last transition."""
        if self.outcome == self.record.state:
            return self.record
        ended_ns = 0 if self.outcome == "running" else now_ns
        self.record = msgspec.structs.replace(self.record, state=self.outcome, ended_ns=ended_ns)
        return self.record

    # Moving

    def apply_batch(self, batch: LogBatch, *, seq: int) -> None:
        """Take in one log record.

        Raises:
            CorruptRecord: A transition is illegal in the state before it, or the record is
                of another epoch than its leader's.
        """
        first = batch.t[0] if batch.t else None
        epoch = first.epoch if isinstance(first, Epoch) else self.epoch
        if batch.epoch != epoch:
            raise CorruptRecord(
                RunKeys(self.record.run_id).log(seq),
                expected=f"a log record of epoch {epoch}",
                found=f"one of epoch {batch.epoch}",
            )
        for transition in batch.t:
            self.apply(transition, seq=seq, at_ns=batch.at_ns, workers=batch.workers)
        self.note_hlc(batch.hlc)

    def note_hlc(self, hlc: HlcTimestamp | None) -> None:
        """Keep the latest timestamp of the log: a new leader's clock takes it in."""
        if hlc is not None and (self.last_hlc is None or hlc > self.last_hlc):
            self.last_hlc = hlc

    def apply(
        self,
        transition: Transition,
        *,
        seq: int,
        at_ns: int,
        workers: Sequence[Life],
    ) -> None:
        """Take in one transition of log record `seq`.

        Raises:
            CorruptRecord: It is illegal in the present state, which stays as it is.
        """
        try:
            # By far the most are of these two kinds, and matching a pattern costs more than both.
            if isinstance(transition, Claimed):
                self._claim(transition, workers)
            elif isinstance(transition, Succeeded):
                self._succeed(transition, seq)
            else:
                self._apply(transition, at_ns)
        except (Conflict, InvalidInput, LookupError, OverflowError) as error:
            raise CorruptRecord(
                RunKeys(self.record.run_id).log(seq),
                expected="a transition that is legal here",
                found=f"{transition!r:.100} ({error})",
            ) from error
        self.transitions += 1
        if at_ns != self._marked_ns:
            self._mark(at_ns)

    def _mark(self, at_ns: int) -> None:
        """Note when something was appended; the same for all transitions of a batch."""
        self._marked_ns = at_ns
        self.last_append_ns = max(self.last_append_ns, at_ns)
        if self.epochs:
            span = self.epochs[-1]
            if span.last_ns < at_ns:
                self.epochs[-1] = msgspec.structs.replace(span, last_ns=at_ns)

    def _apply(self, transition: RareTransition, at_ns: int) -> None:
        match transition:
            case Failed(node, attempt, reason, retry_ns):
                self._end(node, attempt)
                self._set_aside(node, reason, retry_ns)
            case Lost(node, attempt, reason, retry_ns):
                self._end(node, attempt)
                self._columns.losses[node] += 1
                self._columns.forgiven[node] += 1
                self._set_aside(node, reason, retry_ns)
            case Revoked(node, attempt):
                self._end(node, attempt)
                self._columns.forgiven[node] += 1
                self.frontier.requeue(node)
            case Adopted(node, attempt, from_epoch):
                running = self._present(node, attempt)
                _require(running.epoch == from_epoch and node in self._unjudged, transition)
                running = msgspec.structs.replace(running, epoch=self.epoch)
                self.claims[node] = self.claims_by[running.life][node] = running
                del self._unjudged[node]
                self.adopted += 1
            case Refused():
                self.refused += 1
            case Epoch(epoch, leader, last_act_ns):
                _require(epoch > self.epoch, transition)
                self.epoch = epoch
                self._unjudged = dict.fromkeys(self.claims)
                self.epochs.append(EpochSpan(epoch, leader, at_ns, at_ns, last_act_ns))
                self._marked_ns = 0
            case Retried(node):
                # A fresh start: the failures and losses so far are forgiven.
                self.frontier.retry(node)
                self._columns.forgiven[node] = self._columns.attempts[node]
                self._columns.losses[node] = 0
            case Cancelled():
                _require(self.outcome == "running", transition)
                self._revoke_all()
                self.outcome = "cancelled"
            case Resumed():
                _require(self.outcome != "running", transition)
                self.outcome = "running"
            case Ended(state):
                _require(self.outcome == "running" and self.is_drained(), transition)
                _require(state in {"success", "failed"}, transition)
                self.outcome = state
            case _:
                assert_never(transition)

    def _succeed(self, success: Succeeded, seq: int) -> None:
        node = success.node
        if not (0 <= success.ms <= _MAX_INT and seq <= _MAX_INT):
            raise OverflowError(success.ms)
        running = self._end(node, success.attempt)
        self.frontier.done(node)
        if success.result:
            self._has_results = True
            self._columns.results[node] = seq
        self._columns.durations[node] = success.ms
        self._columns.accepted.extend((node, success.attempt, running.epoch))
        if self._reasons:
            self._reasons.pop(node, None)

    def _claim(self, claimed: Claimed, workers: Sequence[Life]) -> None:
        node, attempt = claimed.node, claimed.attempt
        if self.outcome != "running" or claimed.worker < 0:
            raise KeyError(claimed.worker)
        worker = workers[claimed.worker]
        if attempt != self._columns.attempts[node] + 1:
            raise KeyError(attempt)
        if self._delayed and self._delayed.pop(node, None) is not None:
            self.frontier.requeue(node)
        self.frontier.claim(node)
        self._columns.attempts[node] = attempt
        self.total_attempts += 1
        self._take(Running(node, attempt, self.epoch, worker))

    def _take(self, running: Running) -> None:
        self.claims[running.node] = running
        self.claims_by.setdefault(running.life, {})[running.node] = running

    def _present(self, node: int, attempt: int) -> Running:
        running = self.claims[node]
        if running.attempt != attempt:
            raise KeyError(attempt)
        return running

    def _end(self, node: int, attempt: int) -> Running:
        running = self._present(node, attempt)
        del self.claims[node]
        of_life = self.claims_by[running.life]
        del of_life[node]
        if not of_life:
            del self.claims_by[running.life]
        if self._unjudged:
            self._unjudged.pop(node, None)
        if self._inputs:
            self._inputs.pop(node, None)
        return running

    def _set_aside(self, node: int, reason: str, retry_ns: int | None) -> None:
        self._reasons[node] = reason
        if retry_ns is None:
            self.frontier.fail(node)
            return
        self.frontier.defer(node)
        self._delay(node, retry_ns)

    def _delay(self, node: int, retry_ns: int) -> None:
        self._delayed[node] = retry_ns
        heapq.heappush(self._due, (retry_ns, node))

    def _revoke_all(self) -> None:
        for node in self.claims:
            self._columns.forgiven[node] += 1
            self.frontier.requeue(node)
        for held in (self.claims, self.claims_by, self._unjudged, self._inputs):
            held.clear()

    # Snapshots

    def snapshot(self, seq: int) -> tuple[SnapshotHead, list[SnapshotPart]]:
        """Write the state down as of log record `seq`."""
        parts = [*self._columns.parts(self.frontier.codes()), *self._open_parts()]
        head = SnapshotHead(
            seq=seq,
            parts=len(parts),
            transitions=self.transitions,
            epoch=self.epoch,
            outcome=self.outcome,
            attempts=self.total_attempts,
            refused=self.refused,
            adopted=self.adopted,
            epochs=tuple(self.epochs[-_KEPT_EPOCHS:]),
            hlc=self.last_hlc,
        )
        return head, parts

    def _open_parts(self) -> list[SnapshotPart]:
        claims = [(r.node, r.attempt, r.epoch, *r.life) for r in self.claims.values()]
        # Reasons are for people: the newest are enough.
        reasons = list(self._reasons.items())[-_KEPT_REASONS:]
        return [
            *(SnapshotPart(claims=part) for part in cut(claims, _PART_CLAIMS)),
            *(SnapshotPart(delayed=part) for part in cut(self._delayed.items(), _PART_DELAYED)),
            *(SnapshotPart(reasons=dict(part)) for part in cut(reasons, _PART_REASONS)),
        ]

    def restore(self, head: SnapshotHead, parts: Sequence[SnapshotPart]) -> None:
        """Become what a snapshot wrote down; `self` must be new.

        Raises:
            CorruptRecord: The parts do not belong to this plan.
        """
        try:
            self._restore(head, parts)
        except (Conflict, InvalidInput, LookupError, ValueError, OverflowError) as error:
            raise CorruptRecord(
                RunKeys(self.record.run_id).snap(head.seq, 0),
                expected=f"a snapshot of {len(self.plan.graph)} nodes",
                found=str(error),
            ) from error

    def _restore(self, head: SnapshotHead, parts: Sequence[SnapshotPart]) -> None:
        states = bytearray()
        self._columns = columns = Columns(0)
        for part in parts:
            states += part.states
            columns.append(part)
            for claim in part.claims:
                self._take(Running(*claim[:3], claim[3:]))
            self._delayed.update(part.delayed)
            self._reasons.update(part.reasons)
        size = len(self.plan.graph)
        columns.check(size)
        if len(states) != size:
            raise ValueError(f"{len(states)} states")
        self.frontier = Frontier.restore(
            self.plan.graph,
            done=where(states, 3),
            failed=where(states, 4),
            running=self.claims,
            deferred=self._delayed,
        )
        for node, retry_ns in self._delayed.items():
            heapq.heappush(self._due, (retry_ns, node))
        self._has_results = any(columns.results)
        self.last_hlc = head.hlc
        self.outcome, self.epoch = head.outcome, head.epoch
        self._unjudged = {n: None for n, r in self.claims.items() if r.epoch < self.epoch}
        self.epochs = list(head.epochs)
        self.refused, self.adopted = head.refused, head.adopted
        self.total_attempts, self.transitions = head.attempts, head.transitions
        self.last_append_ns = max((span.last_ns for span in head.epochs), default=0)


_MAX_INT = 2**31 - 1


def _require(legal: bool, transition: Transition) -> None:  # noqa: FBT001 (reads as a sentence)
    if not legal:
        raise KeyError(type(transition).__name__)
