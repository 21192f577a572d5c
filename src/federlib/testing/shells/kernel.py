"""`LoopSimulation`: the simulator's kernel on the time of an event loop."""

from __future__ import annotations

import math

import anyio

from federlib.errors import InvalidInput
from federlib.testing.sim.kernel import SECOND_NS, Simulation

__all__ = ["LoopSimulation"]


class LoopSimulation(Simulation):
    """Events of a simulation, each at its instant of the running loop's time.

    `drive` runs them. Network and store are the simulator's own; only the processes are tasks
    of the loop.
    """

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        """Begin at instant 0, which is the loop's present.

        Raises:
            InvalidInput: The seed is not an integer.
        """
        self._origin_s = anyio.current_time()
        self._wanted_ns: float = -math.inf
        self._news = anyio.Event()
        super().__init__(seed, keep_trace=keep_trace)

    @property
    def now_ns(self) -> int:
        """The present; nanoseconds from the beginning."""
        return round((anyio.current_time() - self._origin_s) * SECOND_NS)

    @now_ns.setter
    def now_ns(self, _value: int) -> None:
        # The kernel would move it with each event; here it moves by itself.
        return

    def run(self, until_ns: int | None = None, *, max_events: int | None = None) -> None:
        """Run what is due.

        Raises:
            InvalidInput: To wait for the future is for whoever runs on the loop.
        """
        now_ns = self.now_ns
        if until_ns is not None and until_ns > now_ns:
            raise InvalidInput("until_ns", expected=f"{now_ns} at most", found=until_ns)
        super().run(now_ns, max_events=max_events)

    async def drive(self) -> None:
        """Run each event at its instant, until cancelled."""
        while True:
            self.run()
            self._news = anyio.Event()
            self._wanted_ns = self._next_ns()
            with anyio.move_on_after((self._wanted_ns - self.now_ns) / SECOND_NS):
                await self._news.wait()

    def poke(self) -> None:
        """Look at the queue again: there may be an event that is due sooner."""
        if self._next_ns() < self._wanted_ns:
            self._wanted_ns = -math.inf
            self._news.set()

    def _next_ns(self) -> float:
        return self._instants[0] if self._instants else math.inf
