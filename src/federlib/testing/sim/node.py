"""A simulated process: its clock, its tasks, and how it dies, stops and comes back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TypeVar

from federlib.testing.sim.clock import SimulatedClock
from federlib.testing.sim.kernel import Simulation
from federlib.testing.sim.tasks import Future, SimulatedPace, Task

__all__ = ["Node", "Program"]

Program = Callable[["Node"], Coroutine[Future[object], None, object]]
"""What a process does from its start, each time it starts."""

_A = TypeVar("_A")


class Node:
    """One process on one machine. Killed, all its tasks are gone; its identity may come back.

    Attributes:
        sim: Whose time it lives in.
        name: Where it is in the network, and who it is.
        clock: Of its machine.
        pace: How its coroutines wait.
        life: Counts its starts: its incarnation.
        is_up: It runs, or is stopped and may go on.
        is_prompt: It is up, not stopped and not slow: what comes is done at once.
        running: The task that is being driven.
    """

    def __init__(
        self,
        sim: Simulation,
        name: str,
        program: Program,
        clock: SimulatedClock,
        *,
        died: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.name: str = name
        self.clock: SimulatedClock = clock
        self.pace: SimulatedPace = SimulatedPace(self)
        self.life: int = 0
        self.is_up: bool = False
        self.is_prompt: bool = False
        self.running: Task | None = None
        self.sim: Simulation = sim
        self._after = sim.after
        self._program = program
        self._died = died
        self._tasks: list[Task] = []
        self._is_stopped = False
        self._late: list[tuple[Callable[..., object], object]] = []
        self._lag_ns = 0
        self._free_at_ns = 0
        sim.on_close(self.kill)

    def __repr__(self) -> str:
        return f"<Node {self.name!r} life {self.life}>"

    def start(self) -> None:
        """Start it, or start it again: a new life of the same identity."""
        assert not self.is_up, f"{self!r} is up"
        self.life += 1
        self.is_up = True
        self.is_prompt = not self._lag_ns
        self.sim.note("start", self.name, self.life)
        self.spawn("main", self._program(self))

    def spawn(self, name: str, coroutine: Coroutine[Future[object], None, object]) -> Task:
        """Have a task of this life run beside the others."""
        task = Task(self, name, coroutine)
        self._tasks.append(task)
        task.wake()
        return task

    def kill(self) -> None:
        """Kill it, as SIGKILL does: nothing of this life happens any more."""
        if not self.is_up:
            return
        self.sim.note("kill", self.name, self.life)
        self.is_up = self._is_stopped = self.is_prompt = False
        self._late.clear()
        self._died(self.name)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.kill()

    def stop(self) -> None:
        """Stop it, as SIGSTOP or a long collection of garbage does: time goes on without it."""
        if self.is_up and not self._is_stopped:
            self._is_stopped = True
            self.is_prompt = False
            self.sim.note("stop", self.name)

    def go_on(self) -> None:
        """Let it go on: everything that came meanwhile comes now, late."""
        if not self._is_stopped:
            return
        self._is_stopped = False
        self.is_prompt = not self._lag_ns
        self.sim.note("go on", self.name)
        late, self._late = self._late, []
        for call, argument in late:
            self.later(0, call, argument)

    def slow(self, lag_ns: int) -> None:
        """Make everything that it does take so long; 0 for a quick one."""
        self._lag_ns = lag_ns
        self.is_prompt = self.is_up and not self._is_stopped and not lag_ns

    def later(self, delay_ns: int, call: Callable[[_A], object], argument: _A) -> None:
        """Call it after true time has passed, unless this life is over by then."""
        self._after(delay_ns, self.receive, (self.life, call, argument))

    def receive(self, event: tuple[int, Callable[[_A], object], _A]) -> None:
        """Take in what came for one life of this process: `(life, call, argument)`."""
        life, call, argument = event
        if life != self.life or not (self.is_prompt or self.can_take(event)):
            return
        call(argument)

    def can_take(self, event: tuple[int, Callable[[_A], object], _A]) -> bool:
        """Say whether it does something now; if not, it does it later, or never."""
        if not self.is_up:
            return False
        if self._is_stopped:
            self._late.append(event[1:])
            return False
        now = self.sim.now_ns
        if self._free_at_ns > now:
            self._after(self._free_at_ns - now, self.receive, event)
            return False
        self._free_at_ns = now + self._lag_ns
        return True

    def ended(self, task: Task, error: BaseException | None) -> None:
        """Forget a task; an error in it is one of the simulation."""
        self._tasks.remove(task)
        if error is not None:
            raise error
