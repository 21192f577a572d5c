"""`Process`: a simulated process whose program is a coroutine of an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar, cast

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from federlib.testing.disk import ProcessEnded
from federlib.testing.shells.kernel import LoopSimulation
from federlib.testing.sim.clock import SimulatedClock
from federlib.testing.sim.node import Node
from federlib.testing.sim.tasks import Future

__all__ = ["Process", "ProcessClock", "ShellProgram"]

_T = TypeVar("_T")


class ProcessClock(SimulatedClock):
    """The clocks of a machine, as a process sees them that may be stopped."""

    _held_ns: int | None = None

    def boot_ns(self) -> int:
        """Read the boot clock; nobody reads it while the process is stopped."""
        return super().boot_ns() if self._held_ns is None else self._held_ns

    def hold(self) -> None:
        """Show one instant until `release`: who is stopped sees no time pass."""
        if self._held_ns is None:
            self._held_ns = self.boot_ns()

    def release(self) -> None:
        """Show the time that it is."""
        self._held_ns = None

    def drift(self, ppm: int) -> None:
        """Change the rate from now on; see `SimulatedClock.drift`."""
        held_ns, self._held_ns = self._held_ns, None
        super().drift(ppm)
        self._held_ns = held_ns

    def reboot(self) -> None:
        """Begin a new boot; see `SimulatedClock.reboot`."""
        self.release()
        super().reboot()


class _Bell:
    """Wakes a task of the loop when a future of the simulation is set, or its process dies."""

    def __init__(self, future: Future[object]) -> None:
        self.is_dead = False
        self._event = anyio.Event()
        future.tell(self)

    def wake(self) -> None:
        self._event.set()

    def toll(self) -> None:
        self.is_dead = True
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


class Process(Node):
    """One process: what it runs are tasks of the event loop, its store is the simulator's.

    Killed, its tasks are cancelled, and whatever they still ask of its store, in cleanup or
    shielded, raises `ProcessEnded`. Stopped, it neither hears nor is heard, its clocks stand
    still, and then jump. Its tasks do run on meanwhile, but to them no time passes.

    Attributes:
        clock: Of its machine.
        is_stopped: Stopped, and may go on.
    """

    clock: ProcessClock

    def __init__(
        self,
        sim: LoopSimulation,
        name: str,
        program: ShellProgram,
        clock: ProcessClock,
        *,
        group: TaskGroup,
        died: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Make one that is not up; its tasks will belong to `group`."""
        super().__init__(sim, name, _no_program, clock, died=died)
        self._loop_sim = sim
        self._shell = program
        self._outer = group
        self._scope = anyio.CancelScope()
        self._group: TaskGroup | None = None
        self._bells: set[_Bell] = set()
        self._awake = anyio.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped."""
        return self._is_stopped

    def start(self) -> None:
        """Start it, or start it again: a new life of the same identity."""
        assert not self.is_up, f"{self!r} is up"
        self.life: int = self.life + 1
        self.is_up: bool = True
        self.sim.note("start", self.name, self.life)
        self._scope = anyio.CancelScope()
        self._outer.start_soon(self._live, self.life, self._scope)

    @property
    def has_begun(self) -> bool:
        """Whether its program runs."""
        return self._group is not None

    async def _live(self, life: int, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                async with anyio.create_task_group() as group:
                    if self.is_living(life):
                        self._group = group
                        await self._shell(self)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException:
            # What the dead still say is heard by nobody.
            if self.is_living(life):
                raise
        if self.is_living(life):
            self.kill()

    def is_living(self, life: int) -> bool:
        """Say whether that life of it is not over."""
        return self.is_up and self.life == life

    def start_soon(self, work: Callable[[], Coroutine[object, object, object]]) -> None:
        """Have a task of this life run beside its program."""
        assert self._group is not None, f"{self!r} has not begun"
        self._group.start_soon(work)

    def kill(self) -> None:
        """Kill it, as SIGKILL does: nothing of this life has an effect any more."""
        if not self.is_up:
            return
        super().kill()
        self._group = None
        self._scope.cancel()
        self.clock.release()
        self._awake.set()
        for bell in self._bells:
            bell.toll()

    def stop(self) -> None:
        """Stop it, as SIGSTOP does: time goes on without it."""
        super().stop()
        if self._is_stopped and self._awake.is_set():
            self._awake = anyio.Event()
        if self._is_stopped:
            self.clock.hold()

    def go_on(self) -> None:
        """Let it go on: everything that came meanwhile comes now, late."""
        if not self._is_stopped:
            return
        super().go_on()
        self.clock.release()
        self._awake.set()
        self._loop_sim.poke()

    async def ready(self, life: int) -> None:
        """Wait while it is stopped.

        Raises:
            ProcessEnded: That life of it is over.
        """
        while True:
            await checkpoint()
            if not self.is_living(life):
                raise ProcessEnded(f"{self.name}, life {life}, was killed")
            if not self._is_stopped:
                return
            await self._awake.wait()

    async def wait(self, life: int, work: Coroutine[object, None, _T]) -> _T:
        """Do on the loop what waits for futures of the simulation.

        Args:
            life: For which life of the process.
            work: A coroutine that awaits nothing else.
        Raises:
            ProcessEnded: That life of it is over.
        """
        while True:
            try:
                future = work.send(None)
            except StopIteration as done:
                result: _T = done.value
                return result
            finally:
                self._loop_sim.poke()
            try:
                await self._hear(cast("Future[object]", future), life)
            except BaseException as error:
                # Not closed: that would leave an async generator in it half open.
                work.throw(error)
                raise

    async def _hear(self, future: Future[object], life: int) -> None:
        bell = _Bell(future)
        self._bells.add(bell)
        try:
            await bell.wait()
        finally:
            self._bells.discard(bell)
        if bell.is_dead:
            await checkpoint()
            raise ProcessEnded(f"{self.name}, life {life}, was killed")


ShellProgram = Callable[[Process], Awaitable[object]]
"""What a process does from its start, each time it starts; where it returns, the process ends."""


async def _no_program(_node: Node) -> None:
    raise AssertionError("its program runs on the loop")
