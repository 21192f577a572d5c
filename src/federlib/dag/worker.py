"""A worker of a run: takes claims, runs tasks, presents what came of them.

Shell around `claims`.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing

import anyio
import attrs
import msgspec
from anyio.abc import TaskGroup

from federlib._json import encode_json
from federlib._tasks import open_task_group
from federlib.dag.claims import ClaimBook, Effect, Present, Start, Stop
from federlib.dag.executor import Executor
from federlib.dag.handler import Handler, TaskFailed, TaskRun, describe
from federlib.dag.handover import Handout, Handover
from federlib.dag.patience import (
    await_record,
    commit_surely,
    follow_changes,
    follow_key,
    read_surely,
)
from federlib.dag.plan import Plan
from federlib.dag.records import (
    MAX_FINISHES,
    MAX_RESULT_BYTES,
    NO_RESULT,
    AssignRecord,
    Claim,
    DoneRecord,
    Finish,
    RunRecord,
    WorkerRecord,
    decode,
    encode,
)
from federlib.dag.runlog import RunLog, transaction_id
from federlib.dag.task import TaskSpec
from federlib.errors import Fenced, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease import HeldLease
from federlib.skewclock import Clock
from federlib.storage import (
    Absent,
    AtRevision,
    Committed,
    Conflicted,
    Delete,
    Put,
    Record,
    RecordStore,
    Transaction,
)
from federlib.telemetry import SILENT, Telemetry

__all__ = ["RunWorker"]

_MAX_DONE_BYTES = 256 * 1024
_MAX_REASON = 300


Hold = Callable[[str], AbstractAsyncContextManager[HeldLease]]


@attrs.frozen(kw_only=True)
class RunWorker:
    """Works on one run until it ends.

    Attributes:
        log: The run's records.
        hold: Holds the lease that says this worker lives.
        worker_id: Who we are; no two live processes share it.
        incarnation: Which life of that identity this is.
        slots: How many tasks to take at once.
        handler: Does them.
        clock: Measures how long they take.
        handover: Where a leader in this process is met.
        telemetry: Where it is told.
    """

    log: RunLog
    hold: Hold
    worker_id: str
    incarnation: int
    slots: int
    handler: Handler
    clock: Clock
    handover: Handover = attrs.field(factory=Handover)
    telemetry: Telemetry = SILENT

    async def run(self, *, after: int = 0) -> RunRecord:
        """Work until the run ends; return its last record.

        A lost lease ends all running tasks; the worker then comes back with empty hands.

        Args:
            after: Do not take the run's record of this revision for its end: somebody has
                asked to resume it.
        """
        plan = await self.log.plan()
        name = self.log.keys.worker_lease(self.worker_id, self.incarnation)
        while True:
            try:
                async with self.hold(name) as lease:
                    return await self._serve(plan, lease, after)
            except LeaseLost as lost:
                self.tell("worker_lease_lost", reason=lost.reason, token=lost.token)
            except (Unavailable, OutcomeUnknown) as error:
                self.tell("store_unavailable", reason=str(error))
                await anyio.sleep(0.5)

    async def _serve(self, plan: Plan, lease: HeldLease, after: int) -> RunRecord:
        life = _Life(self, plan, lease)
        try:
            async with open_task_group() as group:
                ended = await life.run(group, after)
                group.cancel_scope.cancel()
        finally:
            self.handover.leave()
            # Only now that no task of ours runs any more may others have our claims.
            with anyio.move_on_after(2, shield=True):
                await life.leave()
        return ended

    def tell(self, event: str, **fields: str | int) -> None:
        """Log a warning about this worker."""
        self.telemetry.log(
            "warning", event, run_id=self.log.run_id, worker_id=self.worker_id, **fields
        )


class _Life:
    """One life of a worker, under one lease."""

    def __init__(self, worker: RunWorker, plan: Plan, lease: HeldLease) -> None:
        self.log = worker.log
        self.worker_id = worker.worker_id
        self.incarnation = worker.incarnation
        self.slots = worker.slots
        self.handler = worker.handler
        self.clock = worker.clock
        self.handover = worker.handover
        self.tell = worker.tell
        self.plan = plan
        self.lease = lease
        self.book = ClaimBook()
        self.outbox: list[Present] = []
        self.wake = anyio.Event()
        self.written = 0
        self.registered = 0
        self.executor: Executor

    async def run(self, group: TaskGroup, after: int) -> RunRecord:
        self.executor = Executor(
            group,
            perform=self._execute,
            failed=self._failed_late,
            clock_ns=self.clock.monotonic_ns,
        )
        keys = self.log.keys
        life = (self.worker_id, self.incarnation, self.lease.token)
        self.handover.enter(life, self._take)
        await self._register_surely()
        group.start_soon(self._stay_registered)
        group.start_soon(self._present_all)
        group.start_soon(self._follow_claims)
        return await _await_end(self.log.store, keys.run, after)

    async def _register(self) -> None:
        """Write our record.

        Raises:
            Fenced: A later incarnation of this worker is there.
            CorruptRecord: What lies there is no worker's record; it is left as it is.
        """
        mine = WorkerRecord(
            worker_id=self.worker_id,
            incarnation=self.incarnation,
            slots=self.slots,
            token=self.lease.token,
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        key = self.log.keys.worker(self.worker_id)
        while True:
            found = await self.log.store.get(key)
            there = decode(WorkerRecord, found) if found is not None else None
            if found is not None and there == mine:
                self.registered = found.revision
                return
            if there is not None and there.incarnation > self.incarnation:
                raise Fenced(
                    f"worker {self.worker_id} (incarnation {self.incarnation})",
                    reason=f"its incarnation {there.incarnation} works on this run",
                )
            self.lease.check()
            check = Absent(key) if found is None else AtRevision(key, found.revision)
            done = await self.log.store.commit(Transaction((Put(key, encode(mine)),), (check,)))
            if isinstance(done, Committed):
                self.registered = done.revision
                return

    async def _stay_registered(self) -> None:
        """Come back if a leader that misjudged our lease has struck us off."""
        key = self.log.keys.worker(self.worker_id)
        async with aclosing(follow_changes(self.log.store, key, self.registered)) as changes:
            async for record in changes:
                if record is None:
                    await self._register_surely()

    async def _register_surely(self) -> None:
        while True:
            try:
                await self._register()
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(0.2)
            else:
                return

    async def leave(self) -> None:
        """Take our record away, if it is still ours."""
        if not self.registered:
            return
        key = self.log.keys.worker(self.worker_id)
        try:
            await self.log.store.commit(
                Transaction((Delete(key),), (AtRevision(key, self.registered),))
            )
        except (Unavailable, OutcomeUnknown):
            return  # The lease runs out and says the same.

    async def _follow_claims(self) -> None:
        key = self.log.keys.assign(self.worker_id)
        life = (self.incarnation, self.lease.token)
        async with aclosing(follow_key(self.log.store, key)) as records:
            async for record in records:
                assigned = decode(AssignRecord, record)
                if (assigned.incarnation, assigned.token) == life:
                    self._perform(self.book.assign(assigned))

    def _take(self, told: AssignRecord | Handout) -> None:
        if isinstance(told, Handout):
            self._perform(self.book.hand(told))
        else:
            self._perform(self.book.assign(told))

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            # Not a match: two of these come with each task, and a pattern takes longer. Of
            # what is acknowledged nothing is left to do.
            if isinstance(effect, Start):
                self.executor.start(effect.claim)
            elif isinstance(effect, Present):
                if not self.handover.present(effect.finish, effect.epoch):
                    self.outbox.append(effect)
                    self.wake.set()
            elif isinstance(effect, Stop):
                node, attempt = effect.node, effect.attempt
                self.tell("claim_revoked", task_id=self.plan.ids[node], attempt=attempt)
                self.executor.stop(node, attempt)

    def _failed_late(self, claim: Claim, error: Exception) -> None:
        # A handler that fails while it is being stopped: there is nobody to tell.
        self.tell("revoked_task_failed", task_id=self.plan.ids[claim.node], reason=repr(error))

    async def _execute(self, claim: Claim) -> bool:
        """Do one claim; False if its handler has cancelled the task that it ran in."""
        spec = self.plan.spec(claim.node)
        began_ns = self.clock.monotonic_ns()
        is_cancelled = False
        try:
            result = await self._call(claim, spec)
        except (Exception, anyio.get_cancelled_exc_class()) as error:
            is_cancelled = not isinstance(error, Exception)
            if is_cancelled and _is_being_cancelled():
                raise
            reason = describe(error)[:_MAX_REASON]
            finish = Finish(node=claim.node, attempt=claim.attempt, ok=False, reason=reason)
        else:
            took_ms = (self.clock.monotonic_ns() - began_ns) // 1_000_000
            finish = Finish(
                node=claim.node, attempt=claim.attempt, ok=True, result=result, ms=took_ms
            )
        self._perform(self.book.finish(finish))
        return not is_cancelled

    async def _call(self, claim: Claim, spec: TaskSpec) -> msgspec.Raw:
        inputs = await self._inputs(claim) if claim.inputs else {}
        task = TaskRun(self.log.run_id, spec, claim.attempt, claim.epoch, inputs)
        if spec.timeout_s is None:
            value = await self.handler(task)
        else:
            with anyio.move_on_after(spec.timeout_s) as limit:
                value = await self.handler(task)
            if limit.cancelled_caught:
                raise TaskFailed(f"timed out after {spec.timeout_s:g} s")
        return NO_RESULT if value is None else _encode_result(value)

    async def _inputs(self, claim: Claim) -> dict[str, object]:
        parents = self.plan.graph.parents_of(claim.node)
        # A store that is away for a while is no fault of the task.
        found = await read_surely(
            lambda: self.log.results(claim.inputs, scan=claim.scan, of=frozenset(parents))
        )
        return {
            self.plan.ids[parent]: msgspec.json.decode(found[parent])
            for parent in parents
            if parent in found
        }

    # Presenting

    async def _present_all(self) -> None:
        while True:
            if not self.outbox:
                self.wake = anyio.Event()
                await self.wake.wait()
            batch = self._next_batch()
            current = await read_surely(self.log.epoch)
            if current is None or current[0].epoch != batch[0].epoch:
                self._refused(batch)
                continue
            await self._write_done(batch, current[1])

    def _next_batch(self) -> list[Present]:
        epoch, size = self.outbox[0].epoch, 0
        batch: list[Present] = []
        while self.outbox and len(batch) < MAX_FINISHES and self.outbox[0].epoch == epoch:
            size += len(self.outbox[0].finish.result) + _MAX_REASON
            if batch and size > _MAX_DONE_BYTES:
                break
            batch.append(self.outbox.pop(0))
        return batch

    async def _write_done(self, batch: list[Present], epoch_revision: int) -> None:
        self.lease.check()
        self.written += 1
        keys = self.log.keys
        key = keys.done(self.worker_id, self.incarnation, self.lease.token, self.written)
        done = DoneRecord(
            worker_id=self.worker_id,
            incarnation=self.incarnation,
            token=self.lease.token,
            epoch=batch[0].epoch,
            finishes=tuple(present.finish for present in batch),
        )
        result = await commit_surely(
            self.log.store,
            Transaction(
                (Put(key, encode(done)),),
                (AtRevision(keys.epoch, epoch_revision),),
                id=transaction_id("done", key),
            ),
        )
        if isinstance(result, Conflicted):
            self._refused(batch)

    def _refused(self, batch: list[Present]) -> None:
        epoch = batch[0].epoch
        self.tell("finish_refused", epoch=epoch, finishes=len(batch))
        self._perform(self.book.refused(epoch))


async def _await_end(store: RecordStore, key: str, after: int) -> RunRecord:
    def is_end(record: Record) -> bool:
        return decode(RunRecord, record).state != "running" and record.revision > after

    return decode(RunRecord, await await_record(store, key, is_end))


def _is_being_cancelled() -> bool:
    """Say whether a scope around us was cancelled; if not, a handler cancelled itself."""
    return anyio.current_effective_deadline() == -math.inf


def _encode_result(value: object) -> msgspec.Raw:
    return msgspec.Raw(encode_json(value, field="result", max_bytes=MAX_RESULT_BYTES))
