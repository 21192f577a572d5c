"""`ShellSite`: processes of one event loop, around the simulator's network and store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self

from anyio.abc import TaskGroup

from federlib._tasks import open_task_group
from federlib.errors import InvalidInput
from federlib.storage import Batch
from federlib.testing.shells.kernel import LoopSimulation
from federlib.testing.shells.process import Process, ProcessClock, ShellProgram
from federlib.testing.shells.store import LoopStore
from federlib.testing.sim.site import Site

__all__ = ["ShellSite", "draw_clock", "go"]


@asynccontextmanager
async def go(sim: LoopSimulation) -> AsyncIterator[TaskGroup]:
    """Have a simulation go on while the body runs; what belongs to the group ends with it.

    An error of a process that lives comes out of it, unwrapped.
    """
    async with open_task_group() as group:
        group.start_soon(sim.drive)
        try:
            yield group
        finally:
            sim.close()
            group.cancel_scope.cancel()


def draw_clock(sim: LoopSimulation, name: str, *, offset_ms: int, drift_ppm: int) -> ProcessClock:
    """Give a machine clocks that are wrong by up to so much."""
    draw, offset_ns = sim.rng("clocks").randrange, offset_ms * 1_000_000
    return ProcessClock(
        sim,
        f"machine-{name}",
        offset_ns=draw(-offset_ns, offset_ns + 1),
        drift_ppm=draw(-drift_ppm, drift_ppm + 1),
    )


class ShellSite(Site):
    """A world of processes that run your own shells; any schedule of faults can be armed in it.

        async def work(process: Process) -> None:
            store = site.client(process)
            ...                                       # connect(store), hold(…), your own loop

        async with ShellSite(seed=7) as site:
            for name in ("ada", "ben"):
                site.add(name, work)
            PRESETS["gc_pause"].arm(site)
            await anyio.sleep(60)

    Enter it in a loop of `run_virtually`. Leaving it ends every process. An error that comes
    out of a living process's program comes out of the `async with`.

    Args:
        seed: Of network, store, clocks and faults; an integer.
        hear: Told of each commit as it is made.
        keep_trace: Keep the events of the trace, not only their hash.
    """

    def __init__(
        self,
        seed: int,
        *,
        hear: Callable[[Batch], object] = lambda _: None,
        keep_trace: bool = False,
    ) -> None:
        self._loop_sim = LoopSimulation(seed, keep_trace=keep_trace)
        super().__init__(self._loop_sim, hear)
        self._going: AbstractAsyncContextManager[TaskGroup] | None = None
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._going = go(self._loop_sim)
        self._group = await self._going.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._going is not None
        return await self._going.__aexit__(kind, error, traceback)

    @property
    def leader(self) -> Process | None:
        """Whom faults for `leader` strike; nobody, unless a subclass knows."""
        return None

    def replay_stale(self) -> bool:
        """Have something issued again in the name of a reign that is over; here nothing is."""
        return False

    def add(
        self, name: str, program: ShellProgram, *, offset_ms: int = 0, drift_ppm: int = 0
    ) -> Process:
        """Start a process; its clocks are wrong by up to so much.

        Args:
            name: Who it is; no two have one.
            program: What it does, each time it is started.
            offset_ms: How far its wall clock may be ahead or behind; milliseconds.
            drift_ppm: How much too fast or too slow its clocks may run; parts per million.
        Raises:
            InvalidInput: There is one of that name, or the site was not entered.
        """
        if self._group is None:
            raise InvalidInput("site", expected="one that was entered", found=self)
        if name in self.nodes:
            raise InvalidInput("name", expected="one that no other has", found=name)
        clock = draw_clock(self._loop_sim, name, offset_ms=offset_ms, drift_ppm=drift_ppm)
        process = Process(self._loop_sim, name, program, clock, group=self._group)
        self.nodes[name] = process
        process.start()
        return process

    def client(self, process: Process) -> LoopStore:
        """Return the store as the present life of a process sees it."""
        return LoopStore(self.store, process)
