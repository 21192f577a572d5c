"""`Member`: one life of a process that takes part in runs: what `connect` makes, without files."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Literal, TypeVar

import anyio

from federlib._tasks import open_task_group
from federlib.dag import Handler, RunRecord, Runs, RunState, TaskFailed, TaskRun
from federlib.dag.handover import Handover
from federlib.dag.inbox import Draft
from federlib.dag.patience import follow_key
from federlib.dag.records import EpochRecord, ProgressRecord, decode
from federlib.dag.runlog import Fold, RunLog, Seat
from federlib.dag.worker import RunWorker
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.leadership import Elector
from federlib.lease import HeldLease, Sessions, StoreLeaseBackend, hold
from federlib.skewclock import HybridLogicalClock, SkewTolerance, Stamps
from federlib.storage import Committed, Conflicted, Transaction
from federlib.testing.sim.flows import Flow
from federlib.testing.sim.node import Node
from federlib.testing.sim.run_audit import Beginning, RunAudit
from federlib.testing.sim.store import StoreClient

if TYPE_CHECKING:
    from federlib.testing.sim.workflow import WorkflowFleet

__all__ = ["Member", "Role", "Sender"]

Role = Literal["leads and works", "leads", "works", "asks"]

_LOOK_S = 0.2
_SNAPSHOTS = (6, 15, 40, 100_000)
_T = TypeVar("_T")


class _SeenLog(RunLog):
    """A run's log that remembers the state of whoever appended to it last.

    Attributes:
        lived: That state. None before the first append, and where what became of the last one
            was never heard: its leader was told first that the run is over.
    """

    lived: RunState | None = None
    _folded: RunState | None = None

    async def fold_whole(self) -> Fold:
        fold = await super().fold_whole()
        self.lived, self._folded = None, fold.state
        return fold

    async def append(
        self,
        seat: Seat,
        draft: Draft,
        *,
        run: RunRecord | None = None,
        progress: ProgressRecord | None = None,
        takeover: tuple[EpochRecord, int | None] | None = None,
    ) -> Committed | Conflicted:
        self.lived = None
        done = await super().append(seat, draft, run=run, progress=progress, takeover=takeover)
        if isinstance(done, Committed):
            self.lived = self._folded
        return done


class Sender(StoreClient):
    """A process's way to the store; what it sends may be sent again in its name."""

    def __init__(self, fleet: WorkflowFleet, node: Node) -> None:
        super().__init__(fleet.store, node)
        self._fleet = fleet

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Note what is sent, and send it."""
        self._fleet.note_sent(transaction)
        return await super().commit(transaction)


class Member:
    """One life of one process.

    Attributes:
        logs: Of the runs in which it takes part, by run id.
    """

    def __init__(self, fleet: WorkflowFleet, node: Node, role: Role) -> None:
        self.logs: dict[str, _SeenLog] = {}
        self._fleet = fleet
        self._node = node
        self._role = role
        self._store = fleet.sender(node)
        self._leases = StoreLeaseBackend(
            self._store, node.clock, SkewTolerance(fleet.terms.tolerance_s)
        )
        self._claims = itertools.count(1)
        self._who = (node.name, node.life)
        rng = fleet.sim.rng(f"member {node.name}")
        self._slots = 1 + rng.randrange(4)
        self._runs = Runs(
            self._store,
            leases=self._leases,
            hold=self._hold,
            identity=self._identify,
            clock=node.clock,
            jitter=lambda: rng.randrange(1_000) / 1_000,
            new_id=fleet.hex_drawer(f"{node.name}/{node.life}"),
            ttl_s=fleet.terms.ttl_s,
            snapshot_every=rng.choice(_SNAPSHOTS),
            stamps=Stamps(HybridLogicalClock(node.clock)),
        )

    def _hold(self, name: str) -> AbstractAsyncContextManager[HeldLease]:
        return hold(
            self._leases,
            name,
            holder_id=self._node.name,
            sessions=Sessions(self._node.life, self._claims),
            clock=self._node.clock,
            ttl_s=self._fleet.terms.ttl_s,
        )

    async def _identify(self) -> tuple[str, int]:
        return self._who

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that this process is told by others."""
        while not is_so():  # noqa: ASYNC110 (it is told by no process)
            await anyio.sleep(_LOOK_S)

    async def _surely(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until there is an answer, as a user would."""
        while True:
            try:
                return await ask()
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(_LOOK_S)

    # As one who asks.

    async def ask(self, number: int) -> None:
        """Submit a run, ask of it what is to be asked, and wait for its end."""
        run_id, flow = self._submitted(number)
        await self._submit(run_id, flow)
        for request in flow.requests:
            await anyio.sleep(request.after_ms / 1_000)
            self._fleet.sim.note("ask", run_id, request.verb)
            if request.verb == "cancel":
                await self._surely(lambda: self._runs.cancel(run_id))
            else:
                retry_failed = request.retry_failed
                await self._surely(
                    lambda retry=retry_failed: self._runs.resume(  # type: ignore[misc] # bound now
                        run_id, retry_failed=retry
                    )
                )
        while await self._goes_on(run_id):  # noqa: ASYNC110 (as a person would)
            await anyio.sleep(_LOOK_S)

    def _submitted(self, number: int) -> tuple[str, Flow]:
        return f"r{number + 1}", self._fleet.flows[number]

    async def _submit(self, run_id: str, flow: Flow) -> None:
        await self._surely(
            lambda: self._runs.submit(flow.workflow, run_id=run_id, policy=flow.policy)
        )

    async def _goes_on(self, run_id: str) -> bool:
        """Say whether a run is not over, or somebody has asked to resume it."""
        # In this order: what was asked and is answered by now, the record shows.
        if await self._surely(lambda: self._runs.is_asked(run_id)):
            return True
        record = await self._surely(lambda: self._runs.record(run_id))
        return record is None or record.state == "running"

    # As one who leads or works.

    async def take_part(self, number: int) -> None:
        """Take part in a run until it is over for good."""
        run_id, flow = self._submitted(number)
        await self._submit(run_id, flow)
        log = self.logs[run_id] = _SeenLog(self._store, run_id)
        self._runs._logs[run_id] = log  # noqa: SLF001 (so that what a leader knows can be seen)
        handler = self._make_handler(self._fleet.audits[run_id], flow)
        while self._fleet.finished <= number:
            try:
                after = await self._find_end(log)
                if after is not None:
                    await self._act(log, handler, after)
            except (Unavailable, OutcomeUnknown):
                pass  # As whoever starts it again would see it.
            except Exception as error:
                self._fleet.accuse("no_process_falls", f"{self._node.name}: {error!r}")
            await anyio.sleep(_LOOK_S)

    async def _find_end(self, log: RunLog) -> int | None:
        """Return which end of the run is not the last, as somebody has asked more; None if it is.

        Read before it is known that there is a request, as `Runs.work` does: so whatever
        answers the request comes later.
        """
        record, revision = await log.run_at()
        if record.state == "running":
            return 0
        if await self._runs.is_asked(log.run_id):
            return revision
        return 0 if (await log.require_run()).state == "running" else None

    async def _act(self, log: RunLog, handler: Handler, after: int) -> None:
        if self._role == "leads and works":
            await self._runs.work(log.run_id, handler, slots=self._slots)
        elif self._role == "leads":
            await self._lead(log, after)
        elif self._role == "works":
            await self._work(log, handler, after)

    async def _lead(self, log: RunLog, after: int) -> None:
        """Lead or wait for the seat until the run ends; do no tasks."""
        seat = Elector(
            log.keys.lease,
            backend=self._leases,
            hold=self._hold,
            holder_id=self._node.name,
            clock=self._node.clock,
        )
        async with open_task_group() as group:
            group.start_soon(self._runs._stand, log, seat, Handover())  # noqa: SLF001 (a part of `work`)
            async with aclosing(follow_key(self._store, log.keys.run)) as records:
                async for record in records:
                    if decode(RunRecord, record).state != "running" and record.revision > after:
                        break
            group.cancel_scope.cancel()

    async def _work(self, log: RunLog, handler: Handler, after: int) -> None:
        """Do tasks until the run ends; never lead."""
        worker = RunWorker(
            log=log,
            hold=self._hold,
            worker_id=self._node.name,
            incarnation=self._node.life,
            slots=self._slots,
            handler=handler,
            clock=self._node.clock,
        )
        await worker.run(after=after)

    def _make_handler(self, audit: RunAudit, flow: Flow) -> Handler:
        read_ns, sim = self._fleet.timer(self._node), self._fleet.sim

        async def handle(task: TaskRun) -> object:
            node = int(task.task_id[1:])
            behaviour = flow.behaviours[node]
            begun = Beginning(
                book=audit.book,
                member=self._who,
                node=node,
                attempt=task.attempt,
                inputs=task.inputs,
                expected=_handed_on(audit, flow, node),
            )
            effect = audit.begin(begun, read_ns())
            sim.note("begin", *self._who, task.run_id, node, task.attempt, task.epoch)
            failures = audit.book.failures.get(node, 0)
            try:
                if failures < behaviour.hangs:
                    await anyio.sleep_forever()
                if behaviour.takes_ms:
                    await anyio.sleep(behaviour.takes_ms / 1_000)
                effect.is_good = failures >= behaviour.hangs + behaviour.fails
                if not effect.is_good:
                    raise TaskFailed("as it was drawn")
                return _given(node, task.attempt) if behaviour.hands_on else None
            finally:
                effect.took_ns = read_ns() - effect.began_ns
                sim.note("end", *self._who, task.run_id, node, task.attempt)

        return handle


def _given(node: int, attempt: int) -> str:
    return f"of t{node}, attempt {attempt}"


def _handed_on(audit: RunAudit, flow: Flow, node: int) -> dict[str, object]:
    """Say what a task must be given: what its parents' accepted attempts handed on."""
    book = audit.book
    return {
        f"t{parent}": _given(parent, book.accepted[parent][0])
        for parent in book.parents[node]
        if flow.behaviours[parent].hands_on and parent in book.accepted
    }
