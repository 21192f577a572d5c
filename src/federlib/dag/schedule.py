"""What the leader of a run decides: one batch of transitions at a time, pure.

`decide` looks at the state and at what has come in, and returns one `Draft`: transitions
for the log and what the same transaction must write and delete. It applies each transition
to the state as it goes, so the caller commits the draft or throws the state away.

Order within a batch: requests, claims of an older epoch (adopt or lose), finishes, claims
of dead workers, new claims, the end.

Source: design §5, dag; HA plan §4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import attrs
import msgspec

from federlib.dag.records import (
    MAX_TRANSITIONS,
    Adopted,
    AskRecord,
    AssignRecord,
    Cancelled,
    Claim,
    Claimed,
    DoneRecord,
    Ended,
    Epoch,
    Failed,
    Finish,
    LogBatch,
    Lost,
    Refused,
    ResultBatch,
    Resumed,
    Retried,
    RunOutcome,
    RunRecord,
    Succeeded,
    Transition,
)
from federlib.dag.runstate import Running, RunState

__all__ = ["Draft", "Inbox", "WorkerView", "decide"]

# Room in a transaction of 64 writes: the log, the results, the run, the epoch, progress.
_MAX_DELETES = 26
_MAX_ASSIGNS = 30
_MAX_RESULT_BYTES = 384 * 1024
_MAX_REASON = 300
_MAX_INPUTS = 64


@attrs.frozen
class WorkerView:
    """A worker as the leader sees it.

    Attributes:
        incarnation: Of its identity.
        slots: Its credit: how many claims it may have at once.
        state: `live` by its lease; `dead`; or `unknown` until first inspected, when it
            gets no new claims and loses none.
    """

    incarnation: int
    slots: int
    state: Literal["live", "dead", "unknown"]


@attrs.define
class Inbox:
    """What has come in and is not yet settled, by key of its record."""

    dones: dict[str, DoneRecord] = attrs.field(factory=dict)
    asks: dict[str, AskRecord] = attrs.field(factory=dict)
    workers: dict[str, WorkerView] = attrs.field(factory=dict)


@attrs.frozen
class Draft:
    """One append and what goes with it.

    Attributes:
        batch: The log record.
        results: For `result/<seq>`, or None.
        settled: Keys of `done` and `ask` records to delete.
        assigns: New claims by worker id.
        outcome: The run's state if the batch ends, cancels or resumes it, else None.
    """

    batch: LogBatch
    results: ResultBatch | None
    settled: tuple[str, ...]
    assigns: Mapping[str, AssignRecord]
    outcome: RunOutcome | None


def decide(
    state: RunState,
    inbox: Inbox,
    *,
    seq: int,
    now_ns: int,
    jitter: Callable[[], float],
    takeover: Epoch | None = None,
) -> Draft | None:
    """Return the next batch, or None if there is nothing to say.

    Settled requests and finishes are taken out of `inbox`.

    Args:
        state: Changed in place.
        inbox: Changed in place.
        seq: Number of the log record that the batch will be.
        now_ns: The leader's wall clock; Unix nanoseconds.
        jitter: Draws from [0, 1).
        takeover: The first transition of a new leader.
    """
    step = _Step(state, inbox, seq, now_ns, jitter)
    if takeover is not None:
        step.add(takeover)
    step.answer_requests()
    if state.outcome == "running":
        step.adopt_or_lose()
        step.accept_finishes()
        step.lose_dead()
        step.claim_ready()
        step.end_if_done()
    else:
        step.accept_finishes()
    return step.draft()


class _Step:
    def __init__(
        self,
        state: RunState,
        inbox: Inbox,
        seq: int,
        now_ns: int,
        jitter: Callable[[], float],
    ) -> None:
        self.state = state
        self.inbox = inbox
        self.seq = seq
        self.now_ns = now_ns
        self.jitter = jitter
        self.transitions: list[Transition] = []
        self.table: dict[tuple[str, int], int] = {}
        self.results: dict[int, msgspec.Raw] = {}
        self.result_bytes = 0
        self.settled: list[str] = []
        self.touched: set[str] = set()

    def add(self, transition: Transition) -> None:
        self.transitions.append(transition)
        self.state.apply(
            transition, seq=self.seq, at_ns=self.now_ns, workers=tuple(self.table)
        )

    def has_room(self, transitions: int = 1) -> bool:
        return len(self.transitions) + transitions <= MAX_TRANSITIONS

    def may_touch(self, worker_id: str) -> bool:
        return worker_id in self.touched or len(self.touched) < _MAX_ASSIGNS

    # Requests

    def answer_requests(self) -> None:
        for key, ask in list(self.inbox.asks.items()):
            if len(self.settled) >= _MAX_DELETES or not self.has_room():
                return
            if ask.verb == "cancel" and self.state.outcome == "running":
                if not self._cancel(ask):
                    return
            elif ask.verb == "resume" and self.state.outcome != "running":
                if not self._resume(ask):
                    return
            self.settled.append(key)
            del self.inbox.asks[key]

    def _cancel(self, ask: AskRecord) -> bool:
        owners = {running.worker_id for running in self.state.claims.values()}
        for worker_id in sorted(owners):
            if not self.may_touch(worker_id):
                return False
            self.touched.add(worker_id)
        self.add(Cancelled(ask.by))
        return True

    def _resume(self, ask: AskRecord) -> bool:
        failed = self.state.failed_nodes() if ask.retry_failed else []
        if failed:
            if not self.has_room(min(len(failed), MAX_TRANSITIONS // 2) + 1):
                return False
            # More than fit: the run goes on with the rest in the next batch of this ask.
            for node in failed[: MAX_TRANSITIONS // 2]:
                self.add(Retried(node))
            if len(failed) > MAX_TRANSITIONS // 2:
                return False
        self.add(Resumed(ask.by))
        return True

    # Takeover

    def adopt_or_lose(self) -> None:
        for running in self.state.claims_of_older_epochs():
            if not self.has_room() or not self.may_touch(running.worker_id):
                return
            view = self.inbox.workers.get(running.worker_id)
            same_life = view is not None and view.incarnation == running.incarnation
            if same_life and view is not None and view.state == "unknown":
                continue
            lives = same_life and view is not None and view.state == "live"
            self.touched.add(running.worker_id)
            if lives and self.state.record.on_failover == "adopt":
                self.add(Adopted(running.node, running.attempt, running.epoch))
            else:
                self._lose(running, "taken over" if lives else "worker gone at takeover")

    # Finishes

    def accept_finishes(self) -> None:
        for key, done in list(self.inbox.dones.items()):
            size = sum(len(finish.result) for finish in done.finishes)
            full = self.result_bytes + size > _MAX_RESULT_BYTES and self.result_bytes > 0
            if (
                full
                or len(self.settled) >= _MAX_DELETES
                or not self.has_room(len(done.finishes))
                or not self.may_touch(done.worker_id)
            ):
                return
            self.touched.add(done.worker_id)
            for finish in done.finishes:
                self._settle(done, finish)
            self.settled.append(key)
            del self.inbox.dones[key]

    def _settle(self, done: DoneRecord, finish: Finish) -> None:
        running = self.state.claims.get(finish.node)
        refusal = _refusal(running, done, finish, self.state.epoch)
        if refusal:
            self.add(Refused(finish.node, finish.attempt, done.epoch, refusal))
        elif finish.ok:
            if finish.has_result:
                self.results[finish.node] = finish.result
                self.result_bytes += len(finish.result)
            has_result = int(finish.has_result)
            self.add(Succeeded(finish.node, finish.attempt, has_result, _millis(finish.ms)))
        else:
            retry_ns = self._retry_ns(finish.node)
            self.add(Failed(finish.node, finish.attempt, finish.reason[:_MAX_REASON], retry_ns))

    def _retry_ns(self, node: int) -> int | None:
        failures = self.state.failures(node) + 1
        if failures > self.state.retries(node):
            return None
        record: RunRecord = self.state.record
        # The exponent is bounded before the power: 2.0 ** 5000 is not a number.
        pause_s = min(record.backoff_max_s, record.backoff_s * 2.0 ** min(failures - 1, 40))
        return self.now_ns + round(pause_s * (1.0 - self.jitter() / 2) * 1e9)

    # Dead workers

    def lose_dead(self) -> None:
        for running in list(self.state.claims.values()):
            view = self.inbox.workers.get(running.worker_id)
            if view is not None and view.incarnation == running.incarnation:
                if view.state != "dead":
                    continue
                reason = "worker's lease expired"
            else:
                reason = "worker restarted or left"
            if not self.has_room() or not self.may_touch(running.worker_id):
                return
            self.touched.add(running.worker_id)
            self._lose(running, reason)

    def _lose(self, running: Running, reason: str) -> None:
        final = self.state.losses(running.node) + 1 > self.state.record.max_lost
        retry_ns = None if final else self.now_ns
        self.add(Lost(running.node, running.attempt, reason, retry_ns))

    # New claims

    def claim_ready(self) -> None:
        free = self._free_slots()
        while free and self.has_room():
            node = self.state.next_ready(self.now_ns)
            if node is None:
                return
            # The worker with most room first: claims spread out before they pile up.
            worker_id = max(free, key=lambda name: (free[name], name))
            free[worker_id] -= 1
            if not free[worker_id]:
                del free[worker_id]
            self.touched.add(worker_id)
            who = (worker_id, self.inbox.workers[worker_id].incarnation)
            index = self.table.setdefault(who, len(self.table))
            self.add(Claimed(node, self.state.attempts(node) + 1, index))

    def _free_slots(self) -> dict[str, int]:
        used: dict[str, int] = {}
        for running in self.state.claims.values():
            used[running.worker_id] = used.get(running.worker_id, 0) + 1
        free = {
            worker_id: view.slots - used.get(worker_id, 0)
            for worker_id, view in sorted(self.inbox.workers.items())
            if view.state == "live"
        }
        room = max(0, _MAX_ASSIGNS - len(self.touched))
        chosen: dict[str, int] = {}
        for worker_id, slots in free.items():
            if slots <= 0:
                continue
            if worker_id not in self.touched:
                if room == 0:
                    continue
                room -= 1
            chosen[worker_id] = slots
        return chosen

    # The end

    def end_if_done(self) -> None:
        if self.has_room() and self.state.is_drained():
            self.add(Ended("failed" if self.state.failed_nodes() else "success"))

    def draft(self) -> Draft | None:
        if not self.transitions and not self.settled:
            return None
        state = self.state
        batch = LogBatch(
            epoch=state.epoch,
            at_ns=self.now_ns,
            t=tuple(self.transitions),
            workers=tuple(self.table),
        )
        assigns = {worker_id: self._assign(worker_id) for worker_id in sorted(self.touched)}
        moved = any(isinstance(t, Cancelled | Resumed | Ended) for t in self.transitions)
        return Draft(
            batch=batch,
            results=ResultBatch(results=self.results) if self.results else None,
            settled=tuple(self.settled),
            assigns=assigns,
            outcome=state.outcome if moved else None,
        )

    def _assign(self, worker_id: str) -> AssignRecord:
        view = self.inbox.workers.get(worker_id)
        claims = tuple(
            self._claim(running)
            for running in self.state.claims.values()
            if running.worker_id == worker_id
        )
        return AssignRecord(
            epoch=self.state.epoch,
            incarnation=view.incarnation if view is not None else 0,
            claims=claims,
        )

    def _claim(self, running: Running) -> Claim:
        seqs = self.state.input_seqs(running.node)
        scan = len(seqs) > _MAX_INPUTS
        return Claim(
            running.node,
            running.attempt,
            running.epoch,
            (seqs[0], seqs[-1]) if scan else seqs,
            scan,
        )


def _millis(ms: int) -> int:
    # As others wrote it; the state keeps 32 bits.
    return max(0, min(ms, 2**31 - 1))


def _refusal(running: Running | None, done: DoneRecord, finish: Finish, epoch: int) -> str:
    """Say why a finish does not equal the present claim; "" if it does."""
    if running is None:
        return "no such claim"
    if (running.worker_id, running.incarnation) != (done.worker_id, done.incarnation):
        return "claimed by another worker"
    if running.attempt != finish.attempt:
        return f"attempt {running.attempt} is current"
    if running.epoch != done.epoch or done.epoch != epoch:
        return f"epoch {running.epoch} is current"
    return ""
