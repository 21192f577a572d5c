"""Coroutines in virtual time: what waits, what runs out, and what dies in the middle.

There is no event loop. A coroutine of a simulated process is driven by hand: it awaits a
`Future`, or sleeps, and is resumed by an event. So the very coroutines of the lease and
fencing packages, which wait only for their store and their pace, run here as they are, some
thirty times faster than under a loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from federlib._pace import Limit
from federlib.testing.disk import ProcessEnded
from federlib.testing.sim.clock import SimulatedClock
from federlib.testing.sim.kernel import SECOND_NS, Simulation

__all__ = ["Alarm", "Future", "Host", "SimulatedPace", "Sleeper", "Task"]

_T = TypeVar("_T")
_Program = Coroutine["Future[object]", None, object]


class Host(Protocol):
    """Where tasks live: a simulated process."""

    @property
    def clock(self) -> SimulatedClock:
        """By which its tasks sleep."""
        ...

    @property
    def sim(self) -> Simulation:
        """Whose time it lives in."""
        ...

    @property
    def life(self) -> int:
        """Counts its starts."""
        ...

    @property
    def is_prompt(self) -> bool:
        """It is up, not stopped and not slow: what comes is done at once."""
        ...

    def can_take(self, event: tuple[int, Callable[[_T], object], _T]) -> bool:
        """Say whether it does something now; if not, it does it later, or never."""
        ...

    @property
    def running(self) -> Task | None:
        """The task that is being driven right now."""
        ...

    @running.setter
    def running(self, task: Task | None) -> None: ...

    def later(self, delay_ns: int, call: Callable[[_T], object], argument: _T) -> None:
        """Call it after true time has passed, unless this life of the process is over by then."""
        ...

    def ended(self, task: Task, error: BaseException | None) -> None:
        """Hear of the end of a task."""
        ...


class Sleeper(Protocol):
    """Who waits for a future: a `Task`, or what wakes a task of an event loop."""

    def wake(self) -> None:
        """Have it go on."""
        ...


class Future(Generic[_T]):
    """What one task waits for, and what somebody else will say.

    Attributes:
        is_set: Whether it has been said.
        waiting: Who waits for it; None where nobody does.
    """

    __slots__ = ("_error", "_value", "is_set", "waiting")

    def __init__(self) -> None:
        self.is_set: bool = False
        self._value: _T
        self._error: BaseException | None = None
        self.waiting: Sleeper | list[Sleeper] | None = None

    def set(self, value: _T) -> None:
        """Say it; what comes second is not heard."""
        if self.is_set:
            return
        self.is_set = True
        self._value = value
        waiting = self.waiting
        if waiting.__class__ is Task:
            waiting.wake()
        elif waiting is not None:
            self._wake_all()

    def fail(self, error: BaseException) -> None:
        """Raise it in whoever waits; what comes second is not heard."""
        if not self.is_set:
            self.is_set = True
            self._error = error
            self._wake_all()

    def _wake_all(self) -> None:
        waiting = self.waiting
        if waiting is not None:
            for sleeper in waiting if isinstance(waiting, list) else (waiting,):
                sleeper.wake()

    def __await__(self) -> Generator[Future[_T], None, _T]:
        while not self.is_set:
            yield self
        if self._error is not None:
            raise self._error
        return self._value

    def tell(self, sleeper: Sleeper) -> None:
        """Have somebody woken when it is said."""
        waiting = self.waiting
        if waiting is None:
            self.waiting = sleeper
        elif isinstance(waiting, list):
            waiting.append(sleeper)
        else:
            self.waiting = [waiting, sleeper]

    def forget(self, sleeper: Sleeper) -> None:
        """Have it not woken: it waits no more."""
        waiting = self.waiting
        if waiting is sleeper:
            self.waiting = None
        elif isinstance(waiting, list):
            waiting.remove(sleeper)


class _Elapsed(BaseException):
    """A limit is over. Not an `Exception`, so that nothing but its limit catches it."""

    def __init__(self, limit: _Limit) -> None:
        super().__init__()
        self.limit: _Limit = limit


class Task:
    """One coroutine of a simulated process.

    Attributes:
        name: For people.
        is_over: It has returned, raised or died.
        is_limited: A limit of it may be over.
    """

    __slots__ = (
        "_coroutine",
        "_host",
        "_limits",
        "_round",
        "_send",
        "_soon",
        "_waits_for",
        "is_limited",
        "is_over",
        "name",
    )

    def __init__(self, host: Host, name: str, coroutine: _Program) -> None:
        self.name: str = name
        self.is_over: bool = False
        self._host = host
        self.is_limited: bool = False
        self._coroutine = coroutine
        self._send = coroutine.send
        self._soon = host.sim.soon
        self._limits: list[_Limit] = []
        # Which of its waits it is in: an alarm of an earlier one wakes nobody.
        self._round = 0
        self._waits_for: Future[object] | None = None

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"

    def wake(self) -> None:
        """Have it begin, or go on, if it still waits where it waits now."""
        self._soon((self._go_on, self._round))

    def _go_on(self, turn: int) -> None:
        if self._host.is_prompt or self._can_take(turn):
            self._take_turn(turn)

    def _can_take(self, turn: int) -> bool:
        # What it waits for no more takes nobody's time.
        if turn != self._round or self.is_over:
            return False
        host = self._host
        return host.can_take((host.life, self._take_turn, turn))

    def _take_turn(self, turn: int) -> None:
        """Go on now: its process has the time."""
        if turn != self._round or self.is_over:
            return
        self._round = turn + 1
        waited = self._waits_for
        if waited is not None and not waited.is_set:
            # Else what is set later would wake it, and when what holds it is thrown away is
            # another matter in each Python.
            waited.forget(self)
        host = self._host
        host.running = self
        try:
            future = self._resume() if self.is_limited else self._send(None)
        except StopIteration:
            self._end(None)
        except BaseException as raised:
            self._end(raised)
        else:
            if self.is_limited and self._due() is not None:
                # A limit ran out while it was busy: it waits for nothing more.
                self._waits_for = None
                self.wake()
            else:
                self._waits_for = future
                if future.waiting is None:
                    future.waiting = self
                else:
                    future.tell(self)
        finally:
            host.running = None

    def _resume(self) -> Future[object]:
        """Go on behind the block whose time is over, if there is one."""
        error = self._due()
        return self._send(None) if error is None else self._coroutine.throw(error)

    def _end(self, error: BaseException | None) -> None:
        self.is_over = True
        self._host.ended(self, error)

    def kill(self) -> None:
        """End it where it waits: nothing that it awaits from here on will answer."""
        if self.is_over:
            return
        self.is_over = True
        self._host.running = self
        try:
            for _ in range(_LAST_WORDS):
                _ = self._coroutine.throw(ProcessEnded("the process was killed"))
        except BaseException:
            return
        finally:
            self._host.running = None
        raise AssertionError(f"{self!r} would not die")

    def _due(self) -> BaseException | None:
        """Return what ends the innermost block that must be left, if there is one."""
        due: _Limit | None = None
        for limit in self._limits:
            if limit.is_shield:
                due = None
            if due is None and limit.is_due:
                due = limit
        return None if due is None else _Elapsed(due)

    def push(self, limit: _Limit) -> None:
        """Enter a block of limited time."""
        self._limits.append(limit)

    def pop(self, limit: _Limit) -> None:
        """Leave it."""
        assert self._limits.pop() is limit
        if self.is_limited:
            self.is_limited = any(outer.is_due for outer in self._limits)


_LAST_WORDS = 100
"""How many times a dying coroutine may await in its `finally` blocks before it is a defect."""


class _Limit:
    """Skips the rest of its block once its time is over."""

    __slots__ = (
        "_alarm",
        "_host",
        "_seconds",
        "_task",
        "cancelled_caught",
        "is_due",
        "is_shield",
    )

    def __init__(self, task: Task, host: Host, seconds: float | None, *, shield: bool) -> None:
        self.cancelled_caught: bool = False
        self.is_due: bool = False
        self.is_shield: bool = shield
        self._task = task
        self._host = host
        self._seconds = seconds
        self._alarm: Alarm | None = None

    def __enter__(self) -> Self:
        self._task.push(self)
        if self._seconds is not None:
            self._alarm = Alarm(self._host, self._seconds, self._expire)
        return self

    def _expire(self) -> None:
        self.is_due = self._task.is_limited = True
        self._task.wake()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if self._alarm is not None:
            self._alarm.is_off = True
        self._task.pop(self)
        if isinstance(error, _Elapsed) and error.limit is self:
            self.cancelled_caught = True
            return True
        return False


class Alarm:
    """Rings once the clock of a process has counted so many seconds, whatever it does meanwhile."""

    __slots__ = ("_due_ns", "_host", "_life", "_ring", "_turn", "is_off")

    def __init__(self, host: Host, seconds: float, ring: Callable[[], object]) -> None:
        self.is_off: bool = False
        self._host = host
        self._life = host.life
        self._ring = ring
        self._turn = 0
        clock, passing_ns = host.clock, math.ceil(seconds * SECOND_NS)
        self._due_ns = clock.boot_ns() + passing_ns
        self._arm(clock.takes(passing_ns))

    def _arm(self, left_ns: int) -> None:
        if left_ns > SECOND_NS:
            # Its clock may be slower or quicker by then; within a second that is not much.
            self._host.clock.follow(self)
            self._host.later(left_ns, self._end_long, self._turn)
        else:
            self._host.later(left_ns, self._end, None)

    def adjust(self) -> None:
        """Ring at another time: the rate of the clock has changed."""
        self._turn += 1
        clock = self._host.clock
        clock.unfollow(self)
        if not self.is_off and self._life == self._host.life:
            self._arm(clock.until(self._due_ns))

    def _end_long(self, turn: int) -> None:
        if turn == self._turn:
            self._host.clock.unfollow(self)
            self._end(None)

    def _end(self, _nothing: object) -> None:
        if self.is_off:
            return
        left_ns = self._host.clock.until(self._due_ns)
        if left_ns:
            self._arm(left_ns)
        else:
            self._ring()


class SimulatedPace:
    """The pace of one simulated process: it waits in virtual time, by that process's clock."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def sleep(self, seconds: float) -> None:
        """Wait; others run meanwhile."""
        bell: Future[None] = Future()
        Alarm(self._host, max(0.0, seconds), partial(bell.set, None))
        await bell

    def limit(
        self, seconds: float | None, *, shield: bool = False
    ) -> AbstractContextManager[Limit]:
        """Skip the rest of the block after `seconds`; with `shield` no outer limit counts."""
        task = self._host.running
        assert task is not None, "outside a simulated process"
        return _Limit(task, self._host, seconds, shield=shield)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run it here: nothing blocks."""
        return work()

    def lock(self) -> AbstractAsyncContextManager[object]:
        """Make a lock of tasks."""
        return _Lock()


class _Lock:
    """One task at a time, first come, first served."""

    def __init__(self) -> None:
        self._is_taken = False
        self._line: list[Future[None]] = []

    async def __aenter__(self) -> None:
        if self._is_taken or self._line:
            turn: Future[None] = Future()
            self._line.append(turn)
            try:
                await turn
            except BaseException:
                if turn.is_set:
                    self._pass_on()
                else:
                    self._line.remove(turn)
                raise
        self._is_taken = True

    async def __aexit__(self, *_error: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        self._is_taken = False
        if self._line:
            self._is_taken = True
            self._line.pop(0).set(None)
