"""`Runs`: submit, work on, watch and steer runs. The member `dag` of a federation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Literal

import anyio
import attrs

from federlib._prefixes import DAG_PREFIX
from federlib._tasks import open_task_group
from federlib.dag.handler import Handler
from federlib.dag.handover import Handover
from federlib.dag.leader import RunLeader
from federlib.dag.patience import await_record, read_surely
from federlib.dag.plan import Plan, split_plan
from federlib.dag.records import (
    MAX_SLOTS,
    AskRecord,
    ProgressRecord,
    RunRecord,
    WorkerRecord,
    decode,
    encode,
)
from federlib.dag.runlog import SNAPSHOT_EVERY, RunLog
from federlib.dag.runstate import RunState
from federlib.dag.worker import Hold, RunWorker
from federlib.dag.workflow import TaskSpec, Workflow, check_workflow, plan_diff, plan_hash
from federlib.errors import Fenced, InvalidInput, OutcomeUnknown, PlanMismatch, Unavailable
from federlib.leadership import Elector, LeaderState
from federlib.lease import LeaseBackend, LeaseState
from federlib.skewclock import UNSTAMPED, Clock, Stamps
from federlib.storage import Absent, Put, Record, RecordStore, Transaction
from federlib.storage.scanning import scan_all
from federlib.telemetry import SILENT, Telemetry

__all__ = ["Policy", "Run", "Runs"]

_KEPT_LOGS = 64
_MAX_PAUSE_S = 10 * 365 * 86_400.0


def _check_count(_policy: object, field: attrs.Attribute[int], value: int) -> None:
    if type(value) is not int or not 0 <= value < 2**31:
        raise InvalidInput(field.name, expected="a whole number, 0 or more", found=value)


def _check_pause(_policy: object, field: attrs.Attribute[float], value: float) -> None:
    # NaN compares false with everything, and so is refused here.
    if not 0 <= value <= _MAX_PAUSE_S:
        raise InvalidInput(field.name, expected="seconds, 0 to ten years", found=value)


def _check_failover(_policy: object, field: attrs.Attribute[str], value: str) -> None:
    if value not in {"adopt", "rerun"}:
        raise InvalidInput(field.name, expected="'adopt' or 'rerun'", found=value)


@attrs.frozen(kw_only=True)
class Policy:
    """How a run treats failure; kept with the run.

    Attributes:
        on_failover: `adopt` lets a living worker go on with its claim under a new leader;
            `rerun` starts every running task again.
        max_lost: How often a task may be lost with its worker before it counts as failed.
        backoff_s: Pause before the first retry; doubles each time, less up to half of it
            by jitter; seconds.
        backoff_max_s: The longest such pause; seconds.
    Raises:
        InvalidInput: A value is out of range.
    """

    on_failover: Literal["adopt", "rerun"] = attrs.field(default="adopt", validator=_check_failover)
    max_lost: int = attrs.field(default=16, validator=_check_count)
    backoff_s: float = attrs.field(default=0.5, validator=_check_pause)
    backoff_max_s: float = attrs.field(default=60.0, validator=_check_pause)


@attrs.frozen
class Run:
    """A submitted run.

    Attributes:
        run_id: Its name.
        created: True if this call submitted it, False if it was there with the same plan.
    """

    run_id: str
    created: bool


class Runs:
    """Runs of DAGs on one store.

    Args:
        store: Where the runs are.
        leases: Says who leads and which workers live.
        hold: Holds a lease for as long as the body runs.
        identity: Gives our worker id and incarnation when first needed.
        clock: Wall clock for retry times and for people.
        jitter: Draws from [0, 1).
        new_id: Draws a fresh, sortable id.
        ttl_s: Of the leases; seconds.
        snapshot_every: Transitions of a run's log between snapshots.
        stamps: Stamp the logs.
        telemetry: Where it is told.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        leases: LeaseBackend,
        hold: Hold,
        identity: Callable[[], Awaitable[tuple[str, int]]],
        clock: Clock,
        jitter: Callable[[], float],
        new_id: Callable[[], str],
        ttl_s: float,
        snapshot_every: int = SNAPSHOT_EVERY,
        stamps: Stamps = UNSTAMPED,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._store = store
        self._leases = leases
        self._hold = hold
        self._identity = identity
        self._clock = clock
        self._jitter = jitter
        self._new_id = new_id
        self._ttl_s = ttl_s
        self._snapshot_every = snapshot_every
        self._stamps = stamps
        self._telemetry = telemetry
        self._logs: dict[str, RunLog] = {}

    async def submit(
        self,
        tasks: Workflow | Mapping[str, Iterable[str]],
        *,
        run_id: str | None = None,
        policy: Policy | None = None,
    ) -> Run:
        """Make a run durable; nothing starts until somebody works on it.

        Submitting the same plan again under the same id gives the run that is there.

        Args:
            tasks: A workflow, or each task's id with its parents' ids.
            run_id: Its name, at most 96 bytes; drawn if not given.
            policy: How it treats failure.
        Raises:
            InvalidInput: The graph has a cycle, a missing parent, a double id, …: every
                problem at once.
            PlanMismatch: The id is taken by another plan; with the differences.
        """
        workflow = tasks if isinstance(tasks, Workflow) else _as_workflow(tasks)
        run_id = self._new_id() if run_id is None else run_id
        log = self._log(run_id)
        graph = check_workflow(workflow)
        chunks = split_plan(workflow, graph)
        policy = policy or Policy()
        record = RunRecord(
            run_id=run_id,
            name=workflow.name,
            plan_hash=plan_hash(workflow),
            chunks=len(chunks),
            tasks=len(workflow.tasks),
            submitted_ns=self._clock.wall_ns(),
            on_failover=policy.on_failover,
            max_lost=policy.max_lost,
            backoff_s=policy.backoff_s,
            backoff_max_s=policy.backoff_max_s,
        )
        if await log.run() is None and await log.submit(record, chunks):
            log.keep_plan(Plan(graph, [row.spec for chunk in chunks for row in chunk.tasks]))
            return Run(run_id, created=True)
        found = await log.require_run()
        if found.plan_hash != record.plan_hash:
            stored = (await log.plan()).workflow(found.name)
            raise PlanMismatch(
                f"run {run_id!r}",
                expected=f"plan {record.plan_hash[:12]}",
                actual=f"plan {found.plan_hash[:12]}",
                differences=plan_diff(stored, workflow),
            )
        return Run(run_id, created=False)

    async def work(
        self,
        run: Run | str,
        handler: Handler,
        *,
        slots: int = 4,
        on_role: Callable[[LeaderState], None] | None = None,
    ) -> RunRecord:
        """Take part in a run until it ends: lead it or not, and do tasks.

        Args:
            run: Which.
            handler: Does one task; see `Handler`.
            slots: How many tasks to do at once, 1 to 1,000.
            on_role: Hears of every change of our role in the run's election.
        Returns:
            The run's last record: how it ended, and when.
        Raises:
            InvalidInput: No such run, or a wrong number of slots.
            CorruptRecord: The run's records cannot be trusted.
        """
        if type(slots) is not int or not 1 <= slots <= MAX_SLOTS:
            raise InvalidInput("slots", expected=f"1 to {MAX_SLOTS}", found=slots)
        log = self._log(_run_id(run))
        record, after = await log.run_at()
        if record.state == "running":
            after = 0
        elif not await self.is_asked(run):
            # A request may have been answered between the two looks.
            again = await log.require_run()
            if again.state != "running":
                return again
            after = 0
        await log.plan()
        worker_id, incarnation = await self._identity()
        seat = Elector(
            log.keys.lease,
            backend=self._leases,
            hold=self._hold,
            holder_id=worker_id,
            clock=self._clock,
            telemetry=self._telemetry,
        )
        handover = Handover()
        worker = RunWorker(
            log=log,
            hold=self._hold,
            worker_id=worker_id,
            incarnation=incarnation,
            slots=slots,
            handler=handler,
            clock=self._clock,
            handover=handover,
            telemetry=self._telemetry,
        )
        async with open_task_group() as group:
            group.start_soon(self._stand, log, seat, handover)
            if on_role is not None:
                group.start_soon(_tell_roles, seat, on_role)
            ended = await worker.run(after=after)
            group.cancel_scope.cancel()
        return ended

    async def _stand(self, log: RunLog, seat: Elector, handover: Handover) -> None:
        """Take part in the election for as long as the run needs a leader.

        A leader sees its run end before the worker beside it does. If somebody else resumes
        the run between the two, the worker goes on: then the run needs us again.
        """
        while True:
            async with open_task_group() as group:
                group.start_soon(seat.run)
                await self._lead(log, seat, handover)
                # A seat without anybody to lead would keep the lease from all others.
                group.cancel_scope.cancel()
            await self._wait_until_running(log)

    async def _wait_until_running(self, log: RunLog) -> None:
        def is_running(record: Record) -> bool:
            return decode(RunRecord, record).state == "running"

        await read_surely(lambda: await_record(self._store, log.keys.run, is_running))

    async def _lead(self, log: RunLog, seat: Elector, handover: Handover) -> None:
        leader = RunLeader(
            log=log,
            leases=self._leases,
            leader_id=seat.holder_id,
            clock=self._clock,
            jitter=self._jitter,
            inspect_s=min(2.0, self._ttl_s / 8),
            handover=handover,
            snapshot_every=self._snapshot_every,
            stamps=self._stamps,
            telemetry=self._telemetry,
        )

        async def reign(epoch: int) -> None:
            try:
                await leader.lead(epoch, seat.check)
            except (Fenced, Unavailable, OutcomeUnknown) as error:
                event = "leader_fenced" if isinstance(error, Fenced) else "store_unavailable"
                self._telemetry.log(
                    "warning", event, run_id=log.run_id, epoch=epoch, reason=str(error)
                )
                # Whoever fenced us holds a higher token, and without the store nobody leads:
                # stand in line again.
                seat.resign()
                await anyio.sleep_forever()

        await seat.lead(reign)

    async def is_asked(self, run: Run | str) -> bool:
        """Say whether a request to cancel or resume a run waits for its leader."""
        page = await self._store.scan(self._log(_run_id(run)).keys.asks, limit=1)
        return bool(page.records)

    async def cancel(self, run: Run | str, *, by: str = "") -> None:
        """Ask whoever leads the run to stop it; running tasks are killed."""
        await self._ask(_run_id(run), AskRecord(verb="cancel", by=by, at_ns=self._clock.wall_ns()))

    async def resume(self, run: Run | str, *, by: str = "", retry_failed: bool = False) -> None:
        """Let an ended run go on from its frontier, once somebody works on it.

        Args:
            run: Which.
            by: Who asks, for the log.
            retry_failed: Give failed tasks a fresh start.
        """
        ask = AskRecord(
            verb="resume", by=by, at_ns=self._clock.wall_ns(), retry_failed=retry_failed
        )
        await self._ask(_run_id(run), ask)

    async def _ask(self, run_id: str, ask: AskRecord) -> None:
        log = self._log(run_id)
        await log.require_run()
        key = log.keys.ask(self._new_id())
        await self._store.commit(Transaction((Put(key, encode(ask)),), (Absent(key),)))

    async def inspect(self, run: Run | str) -> RunState:
        """Fold a run's log: every state, claim, reign and accepted finish."""
        state, _ = await self._log(_run_id(run)).fold()
        return state

    async def record(self, run: Run | str) -> RunRecord | None:
        """Read a run's record, or None if there is no such run."""
        return await self._log(_run_id(run)).run()

    async def progress(self, run: Run | str) -> ProgressRecord | None:
        """Read the leader's view of a run, at most a second or so old; None before the first."""
        record = await self._store.get(self._log(_run_id(run)).keys.progress)
        return decode(ProgressRecord, record) if record is not None else None

    async def leader(self, run: Run | str) -> LeaseState:
        """Tell who leads a run, by its lease."""
        return await self._leases.inspect(self._log(_run_id(run)).keys.lease)

    async def workers(self, run: Run | str) -> list[WorkerRecord]:
        """List the workers that have joined a run; some may have died since."""
        prefix = self._log(_run_id(run)).keys.workers
        async with aclosing(scan_all(self._store, prefix)) as records:
            return [decode(WorkerRecord, record) async for record in records]

    async def list(self) -> list[RunRecord]:
        """List all runs, in order of their ids."""
        found: list[RunRecord] = []
        after = ""
        # One run at a time: skipping over its thousands of records is one seek.
        while True:
            page = await self._store.scan(DAG_PREFIX, after=after, limit=1)
            if not page.records:
                return found
            root = "/".join(page.records[0].key.split("/")[:2])
            record = await self._store.get(f"{root}/run")
            if record is not None:
                found.append(decode(RunRecord, record))
            after = f"{root}0"  # '0' is the byte after '/'

    def _log(self, run_id: str) -> RunLog:
        log = self._logs.get(run_id)
        if log is None:
            log = self._logs[run_id] = RunLog(self._store, run_id)
            # Each keeps its plan: a process that works for years must not keep them all.
            while len(self._logs) > _KEPT_LOGS:
                del self._logs[next(iter(self._logs))]
        return log


def _run_id(run: Run | str) -> str:
    return run.run_id if isinstance(run, Run) else run


def _as_workflow(tasks: Mapping[str, Iterable[str]]) -> Workflow:
    if not isinstance(tasks, Mapping):
        expected = "a Workflow, or a mapping from each task's id to its parents' ids"
        raise InvalidInput("tasks", expected=expected, found=tasks)
    specs = tuple(_as_task(name, needs) for name, needs in tasks.items())
    return Workflow(name="", tasks=specs)


def _as_task(name: str, needs: Iterable[str]) -> TaskSpec:
    # A text is an iterable of texts too: `{"load": "extract"}` is one parent in no brackets.
    if isinstance(needs, str) or not isinstance(needs, Iterable):
        raise InvalidInput(f"parents of task {name!r}", expected="a list of ids", found=needs)
    parents = tuple(needs)
    for text in (name, *parents):
        if not isinstance(text, str):
            raise InvalidInput("id of a task", expected="text", found=text)
    return TaskSpec(id=name, needs=parents)


async def _tell_roles(seat: Elector, tell: Callable[[LeaderState], None]) -> None:
    async for state in seat.changes():
        tell(state)
