"""The state of a run: the fold of its log, and nothing else.

`RunState` is a machine: `apply` takes one transition and either moves or, where the
transition is illegal in the present state, raises `CorruptRecord` and changes nothing. Fold
and live leader use the same code, so what a new leader rebuilds is what the old one had.

Source: design §5, dag; HA plan §4 (node states).
"""

from __future__ import annotations

import heapq
import sys
from array import array
from collections.abc import Sequence
from typing import assert_never

import attrs
import msgspec

from federlib.dag.plan import Plan
from federlib.dag.records import (
    Adopted,
    Cancelled,
    Claimed,
    Ended,
    Epoch,
    EpochSpan,
    Failed,
    LogBatch,
    Lost,
    Refused,
    Resumed,
    Retried,
    RunKeys,
    RunOutcome,
    RunRecord,
    SnapshotHead,
    SnapshotPart,
    Succeeded,
    Transition,
)
from federlib.errors import Conflict, CorruptRecord, InvalidInput
from federlib.graph import Frontier, NodeState

__all__ = ["RunState", "Running"]

_PART = 16_384
"""Nodes, or accepted finishes, in one part of a snapshot: about 300 KiB of base64."""


@attrs.frozen
class Running:
    """A present claim: `(task_id, attempt, leader_epoch)` and whose it is."""

    node: int
    attempt: int
    epoch: int
    worker_id: str
    incarnation: int


class RunState:
    """What the log of a run says.

    Args:
        plan: The tasks and their graph.
        record: The run as submitted.

    Attributes:
        claims: The running nodes, by number, in the order in which they were claimed.
        outcome: `running`, or how the run ended.
        epoch: Of the last leader.
        epochs: The reigns so far, oldest first.
        refused: How many finishes were refused.
        adopted: How many claims were adopted at failovers.
        total_attempts: How many claims were made.
        transitions: How many transitions were folded.
        last_append_ns: When the last batch was appended, by its leader's wall clock.
    """

    def __init__(self, plan: Plan, record: RunRecord) -> None:
        self.plan = plan
        self.record = record
        self.frontier = Frontier(plan.graph)
        size = len(plan.graph)
        self.claims: dict[int, Running] = {}
        self.outcome: RunOutcome = "running"
        self.epoch = 0
        self.epochs: list[EpochSpan] = []
        self.refused = 0
        self.adopted = 0
        self.total_attempts = 0
        self.transitions = 0
        self.last_append_ns = 0
        self._attempts = array("i", bytes(4 * size))
        self._losses = array("i", bytes(4 * size))
        self._results = array("i", bytes(4 * size))
        self._durations = array("i", bytes(4 * size))
        self._accepted = array("q")
        self._delayed: dict[int, int] = {}
        self._due: list[tuple[int, int]] = []
        self._reasons: dict[int, str] = {}

    # Reading

    @property
    def started_ns(self) -> int:
        """When the first leader took over; 0 before."""
        return self.epochs[0].first_ns if self.epochs else 0

    def attempts(self, node: int) -> int:
        """Return the number of the last attempt; 0 before the first."""
        return self._attempts[node]

    def losses(self, node: int) -> int:
        """Return how many attempts ended without word from their worker."""
        return self._losses[node]

    def failures(self, node: int) -> int:
        """Return how many finished attempts failed; the present one does not count."""
        open_attempt = 1 if node in self.claims else 0
        return self._attempts[node] - self._losses[node] - open_attempt

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
        length_ms, _ = self.plan.graph.critical_path(self._durations)
        return length_ms / 1_000

    def accepted(self) -> list[tuple[int, int, int]]:
        """List the accepted successes as `(node, attempt, epoch)`, in order of acceptance."""
        flat = self._accepted
        return list(zip(flat[0::3], flat[1::3], flat[2::3], strict=True))

    def input_seqs(self, node: int) -> tuple[int, ...]:
        """Return which log records accepted results of a node's parents, ascending."""
        results = self._results
        return tuple(
            sorted({results[parent] for parent in self.plan.graph.parents_of(node)} - {0})
        )

    def claims_of_older_epochs(self) -> list[Running]:
        """List the claims that the present leader has not judged yet."""
        return [running for running in self.claims.values() if running.epoch < self.epoch]

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
        ended_ns = 0 if self.outcome == "running" else now_ns
        self.record = msgspec.structs.replace(self.record, state=self.outcome, ended_ns=ended_ns)
        return self.record

    # Moving

    def apply_batch(self, batch: LogBatch, *, seq: int) -> None:
        """Take in one log record.

        Raises:
            CorruptRecord: A transition is illegal in the state before it.
        """
        for transition in batch.t:
            self.apply(transition, seq=seq, at_ns=batch.at_ns, workers=batch.workers)

    def apply(
        self,
        transition: Transition,
        *,
        seq: int,
        at_ns: int,
        workers: Sequence[tuple[str, int]],
    ) -> None:
        """Take in one transition of log record `seq`."""
        try:
            self._apply(transition, seq, at_ns, workers)
        except (Conflict, InvalidInput, IndexError, KeyError) as error:
            raise CorruptRecord(
                RunKeys(self.record.run_id).log(seq),
                expected="a transition that is legal here",
                found=f"{transition!r:.100} ({error})",
            ) from error
        self.transitions += 1
        self.last_append_ns = max(self.last_append_ns, at_ns)
        if self.epochs:
            span = self.epochs[-1]
            if span.last_ns < at_ns:
                self.epochs[-1] = msgspec.structs.replace(span, last_ns=at_ns)

    def _apply(
        self,
        transition: Transition,
        seq: int,
        at_ns: int,
        workers: Sequence[tuple[str, int]],
    ) -> None:
        match transition:
            case Claimed(node, attempt, worker):
                self._claim(node, attempt, workers[worker])
            case Succeeded(node, attempt, result, ms):
                running = self._end(node, attempt)
                self.frontier.done(node)
                self._results[node] = seq if result else 0
                self._durations[node] = ms
                self._accepted.extend((node, attempt, running.epoch))
                self._reasons.pop(node, None)
            case Failed(node, attempt, reason, retry_ns):
                self._end(node, attempt)
                self._set_aside(node, reason, retry_ns)
            case Lost(node, attempt, reason, retry_ns):
                self._end(node, attempt)
                self._losses[node] += 1
                self._set_aside(node, reason, retry_ns)
            case Adopted(node, attempt, from_epoch):
                running = self._present(node, attempt)
                if running.epoch != from_epoch:
                    raise KeyError(from_epoch)
                self.claims[node] = attrs.evolve(running, epoch=self.epoch)
                self.adopted += 1
            case Refused():
                self.refused += 1
            case Epoch(epoch, leader, last_act_ns):
                if epoch <= self.epoch:
                    raise KeyError(epoch)
                self.epoch = epoch
                self.epochs.append(EpochSpan(epoch, leader, at_ns, at_ns, last_act_ns))
            case Retried(node):
                # A fresh start: the failures so far are forgiven.
                self.frontier.retry(node)
                self._losses[node] = self._attempts[node]
            case Cancelled():
                self._revoke_all()
                self.outcome = "cancelled"
            case Resumed():
                self.outcome = "running"
            case Ended(state):
                self.outcome = state
            case _:
                assert_never(transition)

    def _claim(self, node: int, attempt: int, worker: tuple[str, int]) -> None:
        if attempt != self._attempts[node] + 1:
            raise KeyError(attempt)
        if self.frontier.is_deferred(node):
            self._delayed.pop(node, None)
            self.frontier.requeue(node)
        self.frontier.claim(node)
        self._attempts[node] = attempt
        self.total_attempts += 1
        self.claims[node] = Running(node, attempt, self.epoch, *worker)

    def _present(self, node: int, attempt: int) -> Running:
        running = self.claims[node]
        if running.attempt != attempt:
            raise KeyError(attempt)
        return running

    def _end(self, node: int, attempt: int) -> Running:
        running = self._present(node, attempt)
        del self.claims[node]
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
            self._losses[node] += 1
            self.frontier.requeue(node)
        self.claims.clear()

    # Snapshots

    def snapshot(self, seq: int) -> tuple[SnapshotHead, list[SnapshotPart]]:
        """Write the state down as of log record `seq`."""
        states = self.frontier.codes()
        finishes = len(self._accepted) // 3
        parts = [
            SnapshotPart(
                first=first,
                states=states[first : first + _PART],
                attempts=_pack(self._attempts[first : first + _PART]),
                losses=_pack(self._losses[first : first + _PART]),
                results=_pack(self._results[first : first + _PART]),
                durations=_pack(self._durations[first : first + _PART]),
            )
            for first in range(0, len(states), _PART)
        ] + [
            SnapshotPart(first=first, accepted=_pack(self._accepted[3 * first : 3 * (first + _PART // 2)]))
            for first in range(0, finishes, _PART // 2)
        ]
        head = SnapshotHead(
            seq=seq,
            parts=len(parts),
            transitions=self.transitions,
            epoch=self.epoch,
            outcome=self.outcome,
            attempts=self.total_attempts,
            refused=self.refused,
            adopted=self.adopted,
            claims=tuple(
                (r.node, r.attempt, r.epoch, r.worker_id, r.incarnation)
                for r in self.claims.values()
            ),
            delayed=tuple(self._delayed.items()),
            # Reasons are for people: the newest of them, so that the head stays small.
            reasons=dict(list(self._reasons.items())[-500:]),
            epochs=tuple(self.epochs[-1_000:]),
        )
        return head, parts

    def restore(self, head: SnapshotHead, parts: Sequence[SnapshotPart]) -> None:
        """Become what a snapshot wrote down; `self` must be new.

        Raises:
            CorruptRecord: The parts do not belong to this plan.
        """
        states = bytearray()
        for name in ("_attempts", "_losses", "_results", "_durations", "_accepted"):
            getattr(self, name)[:] = array(getattr(self, name).typecode)
        for part in parts:
            states += part.states
            _unpack(self._attempts, part.attempts)
            _unpack(self._losses, part.losses)
            _unpack(self._results, part.results)
            _unpack(self._durations, part.durations)
            _unpack(self._accepted, part.accepted)
        size = len(self.plan.graph)
        sizes = {len(states), len(self._attempts), len(self._losses)}
        if sizes | {len(self._results), len(self._durations)} != {size}:
            raise CorruptRecord(
                RunKeys(self.record.run_id).snap(head.seq, 0),
                expected=f"the states of {size} nodes",
                found=len(states),
            )
        self.claims = {claim[0]: Running(*claim) for claim in head.claims}
        self.frontier = Frontier.restore(
            self.plan.graph,
            done=_where(states, 3),
            failed=_where(states, 4),
            running=self.claims,
            deferred=[node for node, _ in head.delayed],
        )
        for node, retry_ns in head.delayed:
            self._delay(node, retry_ns)
        self.outcome, self.epoch = head.outcome, head.epoch
        self.epochs = list(head.epochs)
        self.refused, self.adopted = head.refused, head.adopted
        self.total_attempts, self.transitions = head.attempts, head.transitions
        self._reasons = dict(head.reasons)
        self.last_append_ns = max((span.last_ns for span in head.epochs), default=0)


def _where(states: bytearray, code: int) -> list[int]:
    return [node for node, found in enumerate(states) if found == code]


def _pack(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover (stored little-endian everywhere)
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _unpack(into: array[int], data: bytes) -> None:
    numbers = array(into.typecode, data)
    if sys.byteorder == "big":  # pragma: no cover (as above)
        numbers.byteswap()
    into.extend(numbers)
