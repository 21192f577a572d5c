"""`Runs`: runs of DAGs, verb by verb, with plain functions as handlers.

Source: design §5, dag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial

import anyio
import anyio.to_thread

from federlib import dag, lease
from federlib._parts import Parts
from federlib.blocking._caller import Caller
from federlib.blocking._loop import Loop
from federlib.dag import Policy, ProgressRecord, Run, RunRecord, RunState, TaskRun, Workflow
from federlib.dag.records import WorkerRecord
from federlib.federation import Federation
from federlib.leadership import LeaderState
from federlib.lease import LeaseState

__all__ = ["Handler", "Runs"]

Handler = Callable[[TaskRun], object]
"""Does a task, as a plain function in a thread; what it returns reaches the task's children.

Any exception means that the attempt failed. It is never interrupted: of a claim that is
revoked the result is refused.
"""


class Runs:
    """Runs of DAGs on one store. Thread-safe.

    The verbs, arguments and errors of `federlib.dag.Runs`.
    """

    def __init__(self, parts: Parts, *, caller: Caller, loop: Loop) -> None:
        """Wrap parts whose store answers in the calling thread; `loop` runs workers."""
        self._parts = parts
        self._caller = caller
        self._loop = loop

    @property
    def _runs(self) -> dag.Runs:
        # One a call: what it keeps of a run is not made for several threads.
        return self._parts.runs(_never_held)

    def submit(
        self,
        tasks: Workflow | Mapping[str, Iterable[str]],
        *,
        run_id: str | None = None,
        policy: Policy | None = None,
    ) -> Run:
        """Make a run durable; nothing starts until somebody works on it."""
        return self._caller.call(self._runs.submit, tasks, run_id=run_id, policy=policy)

    def work(
        self,
        run: Run | str,
        handler: Handler,
        *,
        slots: int = 4,
        on_role: Callable[[LeaderState], None] | None = None,
    ) -> RunRecord:
        """Take part in a run until it ends: lead it or not, and do tasks in threads.

        Closing the federation from another thread ends it with `Unavailable`, Ctrl-C as
        usual; tasks that run then are not waited for here, but by their threads.

        Args:
            run: Which.
            handler: Does one task; a plain function, called in up to `slots` threads at once.
            slots: How many tasks to do at once, 1 to 1,000.
            on_role: Hears of every change of our role, in a thread of federlib's: be quick.
        Returns:
            The run's last record: how it ended, and when.
        """

        async def work(fed: Federation) -> RunRecord:
            limiter = anyio.CapacityLimiter(max(1, slots))

            async def do(task: TaskRun) -> object:
                return await anyio.to_thread.run_sync(partial(handler, task), limiter=limiter)

            return await fed.dag.work(run, do, slots=slots, on_role=on_role)

        return self._loop.run(work)

    def is_asked(self, run: Run | str) -> bool:
        """Say whether a request to cancel or resume a run waits for its leader."""
        return self._caller.call(self._runs.is_asked, run)

    def cancel(self, run: Run | str, *, by: str = "") -> None:
        """Ask whoever leads the run to stop it."""
        self._caller.call(self._runs.cancel, run, by=by)

    def resume(self, run: Run | str, *, by: str = "", retry_failed: bool = False) -> None:
        """Let an ended run go on from its frontier, once somebody works on it."""
        self._caller.call(self._runs.resume, run, by=by, retry_failed=retry_failed)

    def inspect(self, run: Run | str) -> RunState:
        """Fold a run's log: every state, claim, reign and accepted finish."""
        return self._caller.call(self._runs.inspect, run)

    def record(self, run: Run | str) -> RunRecord | None:
        """Read a run's record, or None if there is no such run."""
        return self._caller.call(self._runs.record, run)

    def progress(self, run: Run | str) -> ProgressRecord | None:
        """Read the leader's view of a run, at most a second or so old; None before the first."""
        return self._caller.call(self._runs.progress, run)

    def leader(self, run: Run | str) -> LeaseState:
        """Tell who leads a run, by its lease."""
        return self._caller.call(self._runs.leader, run)

    def workers(self, run: Run | str) -> list[WorkerRecord]:
        """List the workers that have joined a run; some may have died since."""
        return self._caller.call(self._runs.workers, run)

    def list(self) -> list[RunRecord]:
        """List all runs, in order of their ids."""
        return self._caller.call(self._runs.list)


def _never_held(name: str) -> AbstractAsyncContextManager[lease.HeldLease]:
    raise AssertionError(f"{name} is held by workers alone")
