"""How a wait passes: on an event loop, or in the thread that waits.

What waits in the lease and fencing packages is written once, as coroutines. On an event
loop they suspend. A blocking caller runs the very same coroutines on a store that answers
in the calling thread; a `ThreadPace` then does their waiting, and `run_now` finds that not
one of them ever suspended.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Protocol, Self, TypeVar

import anyio
import anyio.to_thread

from federlib.errors import FederlibError

__all__ = ["LOOP", "Bell", "Limit", "Pace", "ThreadPace", "run_now"]

_LONGEST_S = 3_600.0
"""Longer waits are made of several: no operating system's limit is met."""

_T = TypeVar("_T")


def run_now(coroutine: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine that never suspends to its end, in the calling thread."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    coroutine.close()
    raise AssertionError(f"{coroutine!r} wants an event loop")


class Bell:
    """Wakes one waiting thread; rung before, it does not let it sleep at all.

    A plain lock underneath: `threading.Event` is Python code, and Ctrl-C between two of its
    instructions can leave its own lock taken, so that whoever rings hangs for ever.
    """

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake the waiter, now or when it next waits; from any thread, never blocking."""
        try:
            self._silence.release()
        except RuntimeError:
            # It is ringing already.
            return

    def wait(self, seconds: float) -> bool:
        """Block until it rings, at most so long; say whether it rang."""
        return self._silence.acquire(timeout=min(seconds, _LONGEST_S))


class Limit(Protocol):
    """A bounded stretch of waiting."""

    @property
    def cancelled_caught(self) -> bool:
        """Whether the time ran out and the rest was skipped."""
        ...


class Pace(Protocol):
    """What a coroutine of ours waits with."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def limit(
        self, seconds: float | None, *, shield: bool = False
    ) -> AbstractContextManager[Limit]:
        """Skip the rest of the block after `seconds`; with `shield` no outer limit counts."""
        ...

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run what blocks where it may block; once begun it is not cancelled."""
        ...

    def lock(self) -> AbstractAsyncContextManager[object]:
        """Make a lock that is waited for in the same way."""
        ...


class LoopPace:
    """Waits on the event loop."""

    async def sleep(self, seconds: float) -> None:
        """Wait; others run meanwhile."""
        await anyio.sleep(seconds)

    def limit(
        self, seconds: float | None, *, shield: bool = False
    ) -> AbstractContextManager[Limit]:
        """Skip the rest of the block after `seconds`."""
        return anyio.move_on_after(seconds, shield=shield)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run it in a thread, and not in the host's default pool."""
        return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))

    def lock(self) -> AbstractAsyncContextManager[object]:
        """Make a lock of tasks."""
        return anyio.Lock()


LOOP: Pace = LoopPace()
"""Of whatever event loop runs; holds no state."""


class _Elapsed(BaseException):
    """A limit is over. Not an `Exception`, so that nothing but the limit catches it."""


class ThreadPace:
    """Waits in the calling thread; any number of threads may use it at once.

    `close` ends every wait, in whichever thread, with its error.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._mutex = threading.Lock()
        self._awaited: set[Bell] = set()
        self._error: FederlibError | None = None

    def begin(self) -> None:
        """Forget the limits of this thread: Ctrl-C may have left one behind."""
        self._local.until_s = None

    def now_s(self) -> float:
        """Tell the time that waits are measured in; seconds."""
        return _now_s()

    def left_s(self) -> float | None:
        """Say how long this thread may still wait; None for as long as it likes."""
        until_s = self._until_s()
        return None if until_s is None else max(0.0, until_s - _now_s())

    def _until_s(self) -> float | None:
        until_s: float | None = getattr(self._local, "until_s", None)
        return until_s

    def check(self) -> None:
        """Return while this thread may go on waiting.

        Raises:
            FederlibError: As it was closed with.
        """
        if self._error is not None:
            raise self._error
        if self.left_s() == 0.0:
            raise _Elapsed

    def limit(
        self, seconds: float | None, *, shield: bool = False
    ) -> AbstractContextManager[Limit]:
        """Skip the rest of the block after `seconds`; noticed wherever it waits."""
        return _ThreadLimit(self._local, seconds, shield=shield)

    async def sleep(self, seconds: float) -> None:
        """Block the thread."""
        self.wait(Bell(), seconds)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run it here."""
        return work()

    def lock(self) -> AbstractAsyncContextManager[object]:
        """Make a lock of threads."""
        return _ThreadLock()

    def wait(self, bell: Bell, seconds: float | None) -> bool:
        """Block until the bell rings, at most so long; say whether it rang.

        Raises:
            FederlibError: As it was closed with.
        """
        end_s = None if seconds is None else _now_s() + max(0.0, seconds)
        with self._mutex:
            self._awaited.add(bell)
        try:
            while True:
                self.check()
                ends_s = [end for end in (end_s, self._until_s()) if end is not None]
                rang = bell.wait(max(0.0, min(ends_s, default=math.inf) - _now_s()))
                self.check()
                if rang or (end_s is not None and _now_s() >= end_s):
                    return rang
        finally:
            with self._mutex:
                self._awaited.discard(bell)

    def close(self, error: FederlibError) -> None:
        """End every wait of now and later with `error`."""
        with self._mutex:
            self._error = error
            awaited = list(self._awaited)
        for bell in awaited:
            bell.ring()


class _ThreadLock:
    """A lock of threads that is entered like one of tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


class _ThreadLimit:
    """One limit of one thread."""

    def __init__(self, local: threading.local, seconds: float | None, *, shield: bool) -> None:
        self.cancelled_caught = False
        self._local = local
        self._until_s = None if seconds is None else _now_s() + seconds
        self._shield = shield
        self._outer_s: float | None = None

    def __enter__(self) -> Self:
        outer_s: float | None = getattr(self._local, "until_s", None)
        self._outer_s = outer_s
        if self._shield or outer_s is None:
            self._local.until_s = self._until_s
        elif self._until_s is not None:
            self._local.until_s = min(outer_s, self._until_s)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        self._local.until_s = self._outer_s
        if not isinstance(error, _Elapsed):
            return False
        # The outermost limit that is over catches it, as with cancel scopes.
        is_outers = not self._shield and self._outer_s is not None and self._outer_s <= _now_s()
        is_mine = self._until_s is not None and self._until_s <= _now_s()
        self.cancelled_caught = is_mine and not is_outers
        return self.cancelled_caught


def _now_s() -> float:
    return time.monotonic()  # noqa: TID251 (a wait measures itself, as an event loop would)
