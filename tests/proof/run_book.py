"""Judges a run from outside: what was stored, in order, and what the handlers did.

Knows the claim contract and nothing of how it is kept: no fold, no frontier, no inbox.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from federlib.dag.keys import RunKeys
from federlib.dag.plan import Plan
from federlib.dag.records import (
    AssignRecord,
    DoneRecord,
    EpochRecord,
    ResultBatch,
    RunRecord,
    SnapshotHead,
    WorkerRecord,
    decode,
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
from federlib.storage import Delete, Put, Record, Transaction

__all__ = ["Execution", "RunBook", "Who"]

Who = tuple[str, int]
"""A process: its worker id and its incarnation."""

_Try = tuple[int, int]
_Life = tuple[str, int, int]
_Said = tuple[_Life, int, int, bool, int]


@attrs.define
class Execution:
    """One call of a handler.

    Attributes:
        member: In which process.
        node: The task's number in the plan.
        attempt: As the handler was told.
        is_over: Whether it came to an end of its own, good or bad.
    """

    member: Who
    node: int
    attempt: int
    is_over: bool = False


@attrs.define
class _Held:
    attempt: int
    epoch: int
    life: _Life


class RunBook:
    """Everything that happened to one run, checked while it happens.

    Args:
        run_id: Which run.
        plan: Its tasks.
        result_of: What a task hands on; None for nothing.

    Attributes:
        epoch: The stored one.
        leader: Who wrote it.
        epochs: How many there were.
        seq: Number of the last log record.
        state: Of the run's record.
        accepted: Attempt and epoch of each accepted success, by node.
        executions: In the order in which they began.
        lost: Whose each lost attempt was.
        bereft: Who has lost one.
        refused: How many finishes were refused.
    """

    def __init__(self, run_id: str, plan: Plan) -> None:
        self.keys: RunKeys = RunKeys(run_id)
        self.plan: Plan = plan
        self.epoch = 0
        self.leader = ""
        self.epochs = 0
        self.seq = 0
        self.snapped = 0
        self.state = ""
        self.accepted: dict[int, _Try] = {}
        self.executions: list[Execution] = []
        self.lost: dict[_Try, _Life] = {}
        self.bereft: set[Who] = set()
        self.refused = 0
        self._claims: dict[int, _Held] = {}
        self._owners: dict[_Try, _Life] = {}
        self._set_back: set[_Try] = set()
        self._dones: dict[str, DoneRecord] = {}
        self._begun: dict[_Try, Execution] = {}

    # What handlers do

    def begin(self, member: Who, node: int, attempt: int) -> Execution:
        """Note that a handler was called: once an attempt, by its owner, after the parents."""
        owner = self._owners.get((node, attempt))
        assert owner is not None, f"attempt {attempt} of node {node} runs and was never claimed"
        assert owner[:2] == member, f"node {node} runs in {member}, claimed by {owner}"
        assert (node, attempt) not in self._begun, f"attempt {attempt} of node {node} runs twice"
        early = [p for p in self.plan.graph.parents_of(node) if p not in self.accepted]
        assert not early, f"node {node} began before its parents {early} were accepted"
        made = self._begun[node, attempt] = Execution(member, node, attempt)
        self.executions.append(made)
        return made

    # What is stored

    def commit(self, transaction: Transaction, revision: int) -> None:
        """Take in a commit that took effect."""
        puts = {
            write.key: Record(write.key, write.value, revision, revision)
            for write in transaction.writes
            if isinstance(write, Put) and write.key.startswith(self.keys.root)
        }
        gone = [write.key for write in transaction.writes if isinstance(write, Delete)]
        for key, record in puts.items():
            if key == self.keys.epoch:
                self._take_over(decode(EpochRecord, record), puts)
            elif key.startswith(self.keys.dones):
                done = self._dones[key] = decode(DoneRecord, record)
                assert done.epoch == self.epoch, f"{key} is of epoch {done.epoch}, not {self.epoch}"
            elif key == self.keys.run:
                self.state = decode(RunRecord, record).state
            elif key == self.keys.snap_head:
                self.snapped = decode(SnapshotHead, record).seq
                assert self.snapped <= self.seq, "a snapshot is ahead of the log"
        settled = [self._dones.pop(key) for key in gone if key in self._dones]
        for key, record in puts.items():
            if key.startswith(self.keys.logs):
                self._append(key, decode(LogBatch, record), settled, puts)
        for key in gone:
            if key.startswith(self.keys.logs):
                seq = int(key.rsplit("/", 1)[1])
                assert seq <= self.snapped, f"log record {seq} was cut before it was in a snapshot"

    def _take_over(self, record: EpochRecord, puts: dict[str, Record]) -> None:
        assert record.epoch > self.epoch, f"epoch {record.epoch} after {self.epoch}"
        self.epoch, self.leader = record.epoch, record.leader
        self.epochs += 1
        first = decode(LogBatch, puts[self.keys.log(self.seq + 1)]).t[0]
        assert isinstance(first, Epoch), "a takeover is the first word of its epoch"
        assert first.epoch == record.epoch

    def _append(
        self, key: str, batch: LogBatch, settled: list[DoneRecord], puts: dict[str, Record]
    ) -> None:
        assert key == self.keys.log(self.seq + 1), f"{key} follows log record {self.seq}"
        self.seq += 1
        assert batch.epoch == self.epoch, f"epoch {batch.epoch} appends under {self.epoch}"
        said = {
            ((done.worker_id, done.incarnation, done.token), f.node, f.attempt, f.ok, done.epoch)
            for done in settled
            for f in done.finishes
        }
        results: dict[int, bytes] = {}
        if (record := puts.get(self.keys.result(self.seq))) is not None:
            found = decode(ResultBatch, record).results
            results = {node: bytes(result) for node, result in found.items()}
        handed = {t.node for t in batch.t if isinstance(t, Succeeded) and t.result}
        assert handed == set(results), "a success that has a result comes with it"
        for transition in batch.t:
            self._apply(transition, batch, said)

    def _apply(
        self,
        transition: Transition,
        batch: LogBatch,
        said: set[_Said],
    ) -> None:
        match transition:
            case Claimed(node, attempt, worker):
                self._claim(node, attempt, batch.workers[worker])
            case Succeeded(node, attempt):
                self._settle(node, attempt, said, ok=True)
                self.accepted[node] = (attempt, self.epoch)
            case Failed(node, attempt):
                self._settle(node, attempt, said, ok=False)
                self._set_back.add((node, attempt))
            case Lost(node, attempt):
                life = self.lost[node, attempt] = self._end(node, attempt).life
                self.bereft.add(life[:2])
                self._set_back.add((node, attempt))
            case Revoked(node, attempt):
                self._end(node, attempt)
                self._set_back.add((node, attempt))
            case Adopted(node, attempt, from_epoch):
                held = self._claims[node]
                assert (held.attempt, held.epoch) == (attempt, from_epoch)
                assert from_epoch < self.epoch
                held.epoch = self.epoch
            case Cancelled():
                self._set_back.update((n, held.attempt) for n, held in self._claims.items())
                self._claims.clear()
            case Refused():
                self.refused += 1
            case Ended():
                assert not self._claims, f"the run ended over claims {list(self._claims)}"
            case Epoch() | Retried() | Resumed():
                pass

    def _claim(self, node: int, attempt: int, life: _Life) -> None:
        assert node not in self.accepted, f"node {node} is claimed after its success"
        assert node not in self._claims, f"node {node} is claimed twice"
        assert (node, attempt) not in self._owners, f"attempt {attempt} of node {node} comes again"
        parents = self.plan.graph.parents_of(node)
        assert all(p in self.accepted for p in parents), f"node {node} is claimed too early"
        self._claims[node] = _Held(attempt, self.epoch, life)
        self._owners[node, attempt] = life

    def _settle(self, node: int, attempt: int, said: set[_Said], *, ok: bool) -> None:
        """Check a finish against its claim: both under the present epoch, of one life."""
        assert node not in self.accepted, f"node {node} is accepted twice"
        held = self._end(node, attempt)
        assert held.epoch == self.epoch, f"node {node} is accepted on a claim of {held.epoch}"
        # Without a record: only from the worker in the leader's own process.
        is_said = (held.life, node, attempt, ok, self.epoch) in said
        assert is_said or held.life[0] == self.leader, f"nobody said that {node} is finished"
        began = self._begun.get((node, attempt))
        assert began is not None, f"node {node} is accepted and never ran"
        assert began.is_over, f"node {node} is accepted and still runs"

    def _end(self, node: int, attempt: int) -> _Held:
        held = self._claims.pop(node, None)
        assert held is not None, f"attempt {attempt} of node {node} ends, and was not claimed"
        assert held.attempt == attempt, f"attempt {attempt} of node {node} ends, not {held}"
        return held

    # At the end

    def check_end(self, killed: Collection[Who], *, is_rerun: bool = False) -> None:
        """Judge a run that is over: nothing lost, nothing twice, no more work than was due.

        Args:
            killed: Who died on the way.
            is_rerun: A new leader starts again what runs.
        """
        assert self.state == "success", f"the run is {self.state!r}"
        assert len(self.accepted) == len(self.plan.graph), "a task is lost"
        assert not self._claims, f"claims are left: {self._claims}"
        for (node, attempt), life in self.lost.items():
            assert is_rerun or life[:2] in killed, (
                f"attempt {attempt} of node {node} is lost with no death"
            )
        for run in self.executions:
            if (run.node, run.attempt) not in self._set_back:
                assert self.accepted[run.node][0] == run.attempt, f"{run} came to nothing"

    def check_left(self, records: Collection[Record], gone: Collection[Who]) -> None:
        """Judge what lies in the store when all have left, those of `gone` without a word."""
        logs: list[int] = []
        for record in records:
            key = record.key
            assert not key.startswith(self.keys.dones), f"left behind: {key}"
            if key.startswith(f"{self.keys.root}assign/"):
                found = decode(AssignRecord, record)
                # A follower that leads now has its claims by hand: what an earlier leader
                # wrote for it stays, and its epoch says that it counts no more.
                is_old = found.epoch < self.epoch
                assert is_old or not found.claims, f"left behind in {key}: {found.claims}"
            elif key.startswith(self.keys.workers):
                worker = decode(WorkerRecord, record)
                assert (worker.worker_id, worker.incarnation) in gone, f"left behind: {key}"
            elif key.startswith(self.keys.logs):
                logs.append(int(key.rsplit("/", 1)[1]))
        assert logs == list(range(self.seq + 1 - len(logs), self.seq + 1)), f"gaps: {logs}"
        assert self.seq - len(logs) <= self.snapped, "the log was cut beyond its snapshot"
