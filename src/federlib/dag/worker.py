"""A worker of a run: takes claims, runs tasks, presents what came of them. Shell around `claims`."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import anyio
import attrs
import msgspec
from anyio.abc import TaskGroup

from federlib._tasks import open_task_group
from federlib.dag.claims import Acknowledged, ClaimBook, Effect, Present, Start, Stop
from federlib.dag.plan import Plan
from federlib.dag.records import (
    MAX_RESULT_BYTES,
    AssignRecord,
    Claim,
    DoneRecord,
    Finish,
    RunRecord,
    WorkerRecord,
    decode,
    encode,
)
from federlib.dag.runlog import RunLog, commit_surely
from federlib.dag.workflow import TaskSpec
from federlib.errors import InvalidInput, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease import HeldLease
from federlib.skewclock import Clock
from federlib.storage import (
    AtRevision,
    Batch,
    Conflicted,
    Delete,
    Put,
    Record,
    RecordStore,
    Resync,
    Transaction,
)
from federlib.telemetry import SILENT, Telemetry

__all__ = ["Handler", "RunWorker", "TaskFailed", "TaskRun"]

_MAX_DONE_BYTES = 256 * 1024
_MAX_DONE = 256
_MAX_REASON = 300


class TaskFailed(Exception):  # noqa: N818 (reads as what happened)
    """Raise it from a handler to fail an attempt with a reason in your own words."""


@attrs.frozen
class TaskRun:
    """One attempt at a task, as its handler sees it.

    Attributes:
        run_id: The run.
        task: The task as it was submitted.
        attempt: From 1.
        epoch: The epoch under which it was claimed.
        inputs: Results of its parents by task id, where they had one.
    """

    run_id: str
    task: TaskSpec
    attempt: int
    epoch: int
    inputs: dict[str, object]

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.task.id

    @property
    def idempotency_key(self) -> str:
        """The same at every attempt: hand it to whatever has effects outside the store."""
        return f"{self.run_id}:{self.task.id}"


Handler = Callable[[TaskRun], Awaitable[object]]
"""Does a task; what it returns, as JSON of at most 64 KiB, reaches the task's children.

Any exception means that the attempt failed. It is cancelled when the claim is revoked.
"""

Hold = Callable[[str], AbstractAsyncContextManager[HeldLease]]


class RunWorker:
    """Works on one run until it ends.

    Args:
        log: The run's records.
        hold: Holds the lease that says this worker lives.
        worker_id: Who we are; no two live processes share it.
        incarnation: Which life of that identity this is.
        slots: How many tasks to take at once.
        handler: Does them.
        clock: Measures how long they take.
        telemetry: Where it is told.
    """

    def __init__(
        self,
        log: RunLog,
        *,
        hold: Hold,
        worker_id: str,
        incarnation: int,
        slots: int,
        handler: Handler,
        clock: Clock,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._log = log
        self._hold = hold
        self._worker_id = worker_id
        self._incarnation = incarnation
        self._slots = slots
        self._handler = handler
        self._clock = clock
        self._telemetry = telemetry

    async def run(self, *, after: int = 0) -> RunRecord:
        """Work until the run ends; return its last record.

        A lost lease ends all running tasks; the worker then comes back with empty hands.

        Args:
            after: Do not take the run's record of this revision for its end: somebody has
                asked to resume it.
        """
        plan = await self._log.plan()
        name = self._log.keys.worker_lease(self._worker_id, self._incarnation)
        while True:
            try:
                async with self._hold(name) as lease:
                    return await self._serve(plan, lease, after)
            except LeaseLost as lost:
                self._tell("worker_lease_lost", reason=lost.reason, token=lost.token)
            except (Unavailable, OutcomeUnknown) as error:
                self._tell("store_unavailable", reason=str(error))
                await anyio.sleep(0.5)

    async def _serve(self, plan: Plan, lease: HeldLease, after: int) -> RunRecord:
        life = _Life(self, plan, lease)
        try:
            async with open_task_group() as group:
                ended = await life.run(group, after)
                group.cancel_scope.cancel()
        finally:
            # Only now that no task of ours runs any more may others have our claims.
            with anyio.move_on_after(2, shield=True):
                await life.leave()
        return ended

    def _tell(self, event: str, **fields: str | int) -> None:
        self._telemetry.log(
            "warning", event, run_id=self._log.run_id, worker_id=self._worker_id, **fields
        )


class _Life:
    """One life of a worker, under one lease."""

    def __init__(self, worker: RunWorker, plan: Plan, lease: HeldLease) -> None:
        self.log = worker._log  # noqa: SLF001 (one class in two parts)
        self.worker_id = worker._worker_id  # noqa: SLF001
        self.incarnation = worker._incarnation  # noqa: SLF001
        self.slots = worker._slots  # noqa: SLF001
        self.handler = worker._handler  # noqa: SLF001
        self.clock = worker._clock  # noqa: SLF001
        self.tell = worker._tell  # noqa: SLF001
        self.plan = plan
        self.lease = lease
        self.book = ClaimBook()
        self.scopes: dict[tuple[int, int], anyio.CancelScope] = {}
        self.outbox: list[Present] = []
        self.wake = anyio.Event()
        self.written = 0
        self.group: TaskGroup

    async def run(self, group: TaskGroup, after: int) -> RunRecord:
        self.group = group
        keys = self.log.keys
        await self._register()
        group.start_soon(self._present_all)
        group.start_soon(self._follow_claims)
        return await _await_end(self.log.store, keys.run, after)

    async def _register(self) -> None:
        record = WorkerRecord(
            worker_id=self.worker_id,
            incarnation=self.incarnation,
            slots=self.slots,
            token=self.lease.token,
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        key = self.log.keys.worker(self.worker_id)
        await self.log.store.commit(Transaction((Put(key, encode(record)),)))

    async def leave(self) -> None:
        """Take our record away: the leader then gives our claims to others."""
        try:
            await self.log.store.commit(
                Transaction((Delete(self.log.keys.worker(self.worker_id)),))
            )
        except (Unavailable, OutcomeUnknown):
            return  # The lease runs out and says the same.

    async def _follow_claims(self) -> None:
        key = self.log.keys.assign(self.worker_id)
        async for record in follow_key(self.log.store, key):
            assigned = decode(AssignRecord, record)
            if assigned.incarnation == self.incarnation:
                self._perform(self.book.assign(assigned))

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Start(claim):
                    self.group.start_soon(self._execute, claim)
                case Stop(node, attempt):
                    self.tell("claim_revoked", task_id=self.plan.ids[node], attempt=attempt)
                    scope = self.scopes.get((node, attempt))
                    if scope is not None:
                        scope.cancel()
                case Present():
                    self.outbox.append(effect)
                    self.wake.set()
                case Acknowledged():
                    pass

    async def _execute(self, claim: Claim) -> None:
        key = (claim.node, claim.attempt)
        with anyio.CancelScope() as scope:
            self.scopes[key] = scope
            try:
                finish = await self._attempt(claim)
            finally:
                del self.scopes[key]
            self._perform(self.book.finish(finish))

    async def _attempt(self, claim: Claim) -> Finish:
        spec = self.plan.spec(claim.node)
        began_ns = self.clock.monotonic_ns()
        try:
            task = TaskRun(
                self.log.run_id, spec, claim.attempt, claim.epoch, await self._inputs(claim)
            )
            with anyio.fail_after(spec.timeout_s):
                value = await self.handler(task)
            result = _encode_result(value)
        except Exception as error:
            timed_out = isinstance(error, TimeoutError) and spec.timeout_s is not None
            reason = f"timed out after {spec.timeout_s:g} s" if timed_out else describe(error)
            return Finish(
                node=claim.node, attempt=claim.attempt, ok=False, reason=reason[:_MAX_REASON]
            )
        took_ms = (self.clock.monotonic_ns() - began_ns) // 1_000_000
        return Finish(node=claim.node, attempt=claim.attempt, ok=True, result=result, ms=took_ms)

    async def _inputs(self, claim: Claim) -> dict[str, object]:
        if not claim.inputs:
            return {}
        found = await self.log.results(claim.inputs, scan=claim.scan)
        parents = self.plan.graph.parents_of(claim.node)
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
            current = await self.log.epoch()
            if current is None or current[0].epoch != batch[0].epoch:
                self._refused(batch)
                continue
            await self._write_done(batch, current[1])

    def _next_batch(self) -> list[Present]:
        epoch, size = self.outbox[0].epoch, 0
        batch: list[Present] = []
        while self.outbox and len(batch) < _MAX_DONE and self.outbox[0].epoch == epoch:
            size += len(self.outbox[0].finish.result) + _MAX_REASON
            if batch and size > _MAX_DONE_BYTES:
                break
            batch.append(self.outbox.pop(0))
        return batch

    async def _write_done(self, batch: list[Present], epoch_revision: int) -> None:
        self.lease.check()
        self.written += 1
        keys = self.log.keys
        key = keys.done(self.worker_id, self.lease.token, self.written)
        done = DoneRecord(
            worker_id=self.worker_id,
            incarnation=self.incarnation,
            epoch=batch[0].epoch,
            finishes=tuple(present.finish for present in batch),
        )
        result = await commit_surely(
            self.log.store,
            Transaction(
                (Put(key, encode(done)),),
                (AtRevision(keys.epoch, epoch_revision),),
                id=f"done {self.worker_id} {self.incarnation} {self.lease.token} {self.written}",
            ),
        )
        if isinstance(result, Conflicted):
            self._refused(batch)

    def _refused(self, batch: list[Present]) -> None:
        epoch = batch[0].epoch
        self.tell("finish_refused", epoch=epoch, finishes=len(batch))
        self._perform(self.book.refused(epoch))


async def follow_key(store: RecordStore, key: str) -> AsyncGenerator[Record, None]:
    """Yield a record as it is now, if it is there, and after each change of it."""
    page = await store.scan(key, limit=1)
    if page.records and page.records[0].key == key:
        yield page.records[0]
    async with store.watch(key, after=page.revision) as changes:
        while True:
            try:
                item = await anext(changes)
            except Unavailable:
                await anyio.sleep(0.2)
                continue
            if isinstance(item, Resync):
                record = await store.get(key)
                if record is not None:
                    yield record
            elif isinstance(item, Batch):
                for event in item.events:
                    if event.key == key and event.record is not None:
                        yield event.record


async def _await_end(store: RecordStore, key: str, after: int) -> RunRecord:
    async with aclosing(follow_key(store, key)) as records:
        async for record in records:
            run = decode(RunRecord, record)
            if run.state != "running" and record.revision > after:
                return run
    raise AssertionError("a watch does not end")


def _encode_result(value: object) -> msgspec.Raw:
    encoded = msgspec.json.encode(value)
    if len(encoded) > MAX_RESULT_BYTES:
        raise InvalidInput(
            "result", expected=f"at most {MAX_RESULT_BYTES} bytes of JSON", found=len(encoded)
        )
    return msgspec.Raw(encoded)


def describe(error: BaseException) -> str:
    """Say in one line what went wrong."""
    if isinstance(error, TaskFailed):
        return str(error)
    text = str(error).strip().replace("\n", " ")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
