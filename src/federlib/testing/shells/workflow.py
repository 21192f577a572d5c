"""`ShellWorkflowFleet`: leaders and workers of runs on a real event loop of virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import TaskGroup

from federlib.storage import Committed, Conflicted, RecordStore, Transaction
from federlib.testing.shells.kernel import LoopSimulation
from federlib.testing.shells.process import Process
from federlib.testing.shells.site import draw_clock, go
from federlib.testing.shells.store import LoopStore
from federlib.testing.sim.drawing import given_or_drawn
from federlib.testing.sim.node import Node
from federlib.testing.sim.play_workflow import WorkflowPlayed, conclude_workflow
from federlib.testing.sim.schedule import SAFETY_S, Schedule
from federlib.testing.sim.workflow import WorkflowFleet, WorkflowTerms
from federlib.testing.virtual_time import Backend, run_virtually

__all__ = ["ShellWorkflowFleet", "play_shell_workflow"]


class ShellWorkflowFleet(WorkflowFleet):
    """A `WorkflowFleet` whose processes are tasks of a real event loop; see `open`."""

    def __init__(self, sim: LoopSimulation, group: TaskGroup, terms: WorkflowTerms) -> None:
        self._loop_sim = sim
        self._group = group
        super().__init__(sim.seed, terms, sim=sim)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, seed: int, terms: WorkflowTerms | None = None, *, keep_trace: bool = False
    ) -> AsyncIterator[ShellWorkflowFleet]:
        """Have a fleet while the body runs, in a loop of `run_virtually`.

        Args:
            seed: Everything follows from it; an integer.
            terms: What the fleet is like.
            keep_trace: Keep the events of the trace, not only their hash.
        """
        sim = LoopSimulation(seed, keep_trace=keep_trace)
        async with go(sim) as group:
            yield cls(sim, group, WorkflowTerms() if terms is None else terms)

    def _make_node(self, name: str, work: Callable[[Node], Awaitable[None]]) -> Node:
        terms = self.terms
        clock = draw_clock(
            self._loop_sim, name, offset_ms=terms.offset_ms, drift_ppm=terms.drift_ppm
        )
        return Process(self._loop_sim, name, work, clock, group=self._group)

    def sender(self, node: Node) -> RecordStore:
        """Return the store as a process sees it; what it sends is noted."""
        assert isinstance(node, Process)
        return _LoopSender(self, node)

    def timer(self, node: Node) -> Callable[[], int]:  # noqa: ARG002 (one time serves them all)
        """Return what reads the loop's time: its limits know no clock of a process."""
        return lambda: self.sim.now_ns

    def _send_again(self, node: Node, transaction: Transaction) -> None:
        assert isinstance(node, Process)
        if node.has_begun:
            store = LoopStore(self.store, node)
            node.start_soon(partial(self._replay, store, transaction))


class _LoopSender(LoopStore):
    def __init__(self, fleet: ShellWorkflowFleet, process: Process) -> None:
        super().__init__(fleet.store, process)
        self._fleet = fleet

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.process.is_living(self.life):
            self._fleet.note_sent(transaction)
        return await super().commit(transaction)


def play_shell_workflow(
    seed: int,
    schedule: Schedule | None = None,
    *,
    backend: Backend = "asyncio",
    terms: WorkflowTerms | None = None,
    safety_s: int = SAFETY_S,
) -> WorkflowPlayed:
    """Play one seed of runs to its end on a real loop, as `play_workflow` does in the simulator.

    Args:
        seed: Everything follows from it.
        schedule: The faults; by default drawn from the seed.
        backend: On which event loop.
        terms: What the fleet is like.
        safety_s: How long faults may last; then they are healed, and the run that is at work
            must end.
    Raises:
        InvalidInput: An argument is of another type, or out of range.
    """

    async def main() -> WorkflowPlayed:
        async with ShellWorkflowFleet.open(seed, terms) as fleet:
            faults = given_or_drawn(schedule, fleet.sim, safety_s)
            faults.arm(fleet)
            await anyio.sleep(safety_s)
            fleet.heal()
            for _ in range(fleet.terms.patience_s):
                if fleet.finished == len(fleet.flows) or fleet.violations:
                    break
                await anyio.sleep(1)
            return conclude_workflow(fleet, faults)

    return run_virtually(main, backend, seed=seed)
