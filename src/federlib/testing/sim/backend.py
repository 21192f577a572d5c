"""Code written for an event loop, in a simulated process: anyio's calls, answered in virtual time.

    async def live(node: Node) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            await anyio.sleep(3)
            group.cancel_scope.cancel()

    Node(sim, "n1", on_loop(live), clock)

Lease and fencing are driven through their pace. A run of tasks is more: its leader, its worker,
the election and the keeper of each lease are tasks that cancel one another. So the shells run
as they are, and what is simulated is what anyio asks of a loop: sleep, cancel scopes, task
groups, events and checkpoints. Whatever else is asked raises `AttributeError`.

Cancellation is as under trio: level-triggered, delivered where a task waits. Tasks that are
ready at one instant go on in an order that the seed draws.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Protocol, Self, cast

from anyio._core._eventloop import loaded_backends
from anyio.abc import AsyncBackend

from federlib.errors import MissingExtra
from federlib.testing.disk import ProcessEnded
from federlib.testing.sim.kernel import SECOND_NS
from federlib.testing.sim.node import Node, Program
from federlib.testing.sim.tasks import Alarm, Future, Task

__all__ = ["on_loop"]

_NAME = "federlib_simulation"

_Work = Coroutine[object, None, object]


class Cancelled(BaseException):
    """What a task hears that waits in a cancelled scope."""


class _Name(Protocol):
    """How anyio finds out whose loop runs in a thread."""

    name: str | None


def _find_name() -> _Name:
    try:
        # Where it is missing, anyio knows no loop but asyncio's.
        from sniffio import thread_local
    except ModuleNotFoundError as error:  # pragma: no cover (trio brings it)
        raise MissingExtra("testing", needed_for="event loops in the simulator") from error
    return thread_local


class _Here(threading.local):
    strand: _Strand | None = None


_here = _Here()


def _current() -> _Strand:
    strand = _here.strand
    assert strand is not None, "outside a simulated process"
    return strand


class _Strand:
    """One task of a loop.

    Attributes:
        loop: Whose.
        scope: The innermost that it is in.
        task: What drives it.
        is_deaf: It waits for its children, whatever is cancelled.
    """

    def __init__(
        self, loop: _Loop, begin: Callable[[], Awaitable[object]], scope: _Scope | None
    ) -> None:
        self.loop = loop
        self.scope = scope
        self.task: Task | None = None
        self.is_deaf = False
        self._begin = begin
        self._context = copy_context()

    @property
    def is_cancelled(self) -> bool:
        return self.scope is not None and not self.is_deaf and self.scope.is_cancelled

    def __await__(self) -> Generator[Future[object], None, None]:
        work = cast("_Work", self._context.run(self._begin))
        call: Callable[[], object] = partial(work.send, None)
        while True:
            try:
                future = cast("Future[object]", self._step(call))
            except StopIteration:
                return
            call = partial(work.send, None)
            while not future.is_set:
                if self.is_cancelled:
                    call = partial(work.throw, Cancelled())
                    break
                try:
                    yield future
                except BaseException as thrown:
                    call = partial(work.throw, thrown)
                    break

    def _step(self, call: Callable[[], object]) -> object:
        outer, _here.strand = _here.strand, self
        naming = self.loop.naming
        name, naming.name = naming.name, _NAME
        try:
            return self._context.run(call)
        finally:
            _here.strand, naming.name = outer, name


class _Loop:
    """The tasks of one life of a process."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.naming = _find_name()
        # In order: a set of tasks would be gone through in the order of their addresses.
        self._strands: dict[_Strand, None] = {}

    async def main(self, work: Callable[[Node], Awaitable[object]]) -> None:
        strand = _Strand(self, partial(work, self.node), None)
        strand.task = self.node.running
        await self._live(strand)

    def spawn(self, name: str, begin: Callable[[], Awaitable[object]], group: _Group) -> None:
        strand = _Strand(self, begin, group.cancel_scope)
        strand.task = self.node.spawn(name, self._live_in(group, strand))

    async def _live(self, strand: _Strand) -> None:
        self._strands[strand] = None
        try:
            await strand
        finally:
            del self._strands[strand]

    async def _live_in(self, group: _Group, strand: _Strand) -> None:
        error: BaseException | None = None
        try:
            await self._live(strand)
        except ProcessEnded:
            raise
        except Cancelled:
            pass
        except BaseException as raised:
            error = raised
        group.leave(error)

    def stir(self) -> None:
        """Wake whoever waits in a cancelled scope."""
        for strand in self._strands:
            if strand.is_cancelled and strand.task is not None:
                strand.task.wake()

    def now_s(self) -> float:
        return self.node.clock.boot_ns() / SECOND_NS


class _Scope:
    """A cancel scope; see `anyio.CancelScope`."""

    def __init__(self, loop: _Loop, deadline_s: float, *, shield: bool) -> None:
        self.cancel_called: bool = False
        self.cancelled_caught: bool = False
        self._loop = loop
        self._deadline_s = deadline_s
        self._shield = shield
        self._strand: _Strand | None = None
        self._outer: _Scope | None = None
        self._alarm: Alarm | None = None

    @property
    def deadline(self) -> float:
        return self._deadline_s

    @deadline.setter
    def deadline(self, value: float) -> None:
        self._deadline_s = value
        self._arm()

    @property
    def shield(self) -> bool:
        return self._shield

    @shield.setter
    def shield(self, value: bool) -> None:
        self._shield = value
        self._loop.stir()

    @property
    def is_cancelled(self) -> bool:
        """Whether what waits in it is to stop: by itself or by one around it."""
        return self.cancel_called or self._hears_cancelled

    @property
    def _hears_cancelled(self) -> bool:
        outer = self._outer
        return outer is not None and not self._shield and outer.is_cancelled

    def effective_deadline(self) -> float:
        if self.cancel_called:
            return -math.inf
        outer = self._outer
        if outer is None or self._shield:
            return self._deadline_s
        return min(self._deadline_s, outer.effective_deadline())

    def cancel(self, reason: str | None = None) -> None:
        del reason
        if not self.cancel_called:
            self.cancel_called = True
            self._loop.stir()

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.is_off = True
        if self._strand is None or self._deadline_s == math.inf or self.cancel_called:
            return
        left_s = self._deadline_s - self._loop.now_s()
        if left_s > 0:
            self._alarm = Alarm(self._loop.node, left_s, self.cancel)
        else:
            self.cancel()

    def __enter__(self) -> Self:
        self._strand = strand = _current()
        self._outer, strand.scope = strand.scope, self
        self._arm()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        strand = self._strand
        assert strand is not None
        assert strand.scope is self or isinstance(error, ProcessEnded), "scopes end inside out"
        if self._alarm is not None:
            self._alarm.is_off = True
        strand.scope = self._outer
        # The outermost of those that were cancelled catches it.
        is_mine = isinstance(error, Cancelled) and self.cancel_called
        self.cancelled_caught = is_mine and not self._hears_cancelled
        return self.cancelled_caught


class _Group:
    """A task group; see `anyio.abc.TaskGroup`."""

    def __init__(self, loop: _Loop) -> None:
        self.cancel_scope: _Scope = _Scope(loop, math.inf, shield=False)
        self._loop = loop
        self._errors: list[BaseException] = []
        self._inside = 0
        self._over: Future[object] = Future()

    def start_soon(
        self,
        func: Callable[..., Awaitable[object]],
        *args: object,
        name: object = None,
    ) -> None:
        self._inside += 1
        label = getattr(func, "__qualname__", "task") if name is None else str(name)
        self._loop.spawn(label, partial(func, *args), self)

    def leave(self, error: BaseException | None) -> None:
        """Hear of the end of a task."""
        self._inside -= 1
        if error is not None:
            self._errors.append(error)
            self.cancel_scope.cancel()
        if not self._inside:
            self._over.set(None)

    async def __aenter__(self) -> Self:
        self.cancel_scope.__enter__()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        scope = self.cancel_scope
        if isinstance(error, ProcessEnded):
            return False
        if error is not None:
            scope.cancel()
            if not isinstance(error, Cancelled):
                self._errors.append(error)
        await self._wait()
        left = Cancelled() if error is None and scope.is_cancelled else error
        is_caught = scope.__exit__(None, left, None)
        if self._errors:
            raise BaseExceptionGroup("unhandled errors in a TaskGroup", self._errors) from None
        if left is not None and left is not error and not is_caught:
            raise left
        return is_caught

    async def _wait(self) -> None:
        strand = _current()
        strand.is_deaf = True
        try:
            while self._inside:
                self._over = Future()
                await self._over
        finally:
            strand.is_deaf = False


class _Event:
    """See `anyio.Event`."""

    def __init__(self) -> None:
        self._said: Future[None] = Future()

    def set(self) -> None:
        self._said.set(None)

    def is_set(self) -> bool:
        return self._said.is_set

    async def wait(self) -> None:
        if self._said.is_set:
            await _Backend.checkpoint()
        else:
            await self._said


class _Backend:
    """What anyio asks of a loop, as far as it is simulated."""

    @classmethod
    def current_time(cls) -> float:
        return _current().loop.now_s()

    @classmethod
    def cancelled_exception_class(cls) -> type[BaseException]:
        return Cancelled

    @classmethod
    async def checkpoint(cls) -> None:
        turn: Future[object] = Future()
        _current().loop.node.later(0, turn.set, None)
        await turn

    @classmethod
    async def checkpoint_if_cancelled(cls) -> None:
        if _current().is_cancelled:
            await cls.checkpoint()

    @classmethod
    async def cancel_shielded_checkpoint(cls) -> None:
        with cls.create_cancel_scope(shield=True):
            await cls.checkpoint()

    @classmethod
    async def sleep(cls, delay: float) -> None:
        bell: Future[None] = Future()
        if delay == math.inf:
            await bell
        alarm = Alarm(_current().loop.node, delay, partial(bell.set, None))
        try:
            await bell
        finally:
            alarm.is_off = True

    @classmethod
    def create_cancel_scope(cls, *, deadline: float = math.inf, shield: bool = False) -> _Scope:
        return _Scope(_current().loop, deadline, shield=shield)

    @classmethod
    def current_effective_deadline(cls) -> float:
        scope = _current().scope
        return math.inf if scope is None else scope.effective_deadline()

    @classmethod
    def create_task_group(cls) -> _Group:
        return _Group(_current().loop)

    @classmethod
    def create_event(cls) -> _Event:
        return _Event()


# anyio has no other place to name a loop that is not its own.
loaded_backends[_NAME] = cast("type[AsyncBackend]", _Backend)


def on_loop(work: Callable[[Node], Awaitable[object]]) -> Program:
    """Make a program of code that is written for anyio.

    Args:
        work: What the process does from its start; an error that leaves it ends the simulation.
    """

    def program(node: Node) -> Coroutine[Future[object], None, object]:
        return _Loop(node).main(work)

    return program
