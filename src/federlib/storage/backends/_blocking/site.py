"""Where blocking work is done and waited for: in threads beside a loop, or in the caller's own.

What is written against `Site` runs on a store of an event loop and on the same store for
one that may block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio
import anyio.lowlevel

from federlib._pace import Bell, ThreadPace
from federlib.storage.backends._blocking.crew import Crew, schedule, scheduler

__all__ = ["Alarm", "LoopSite", "Site", "ThreadSite"]

_T = TypeVar("_T")


class Alarm(Protocol):
    """Wakes one who waits; rung before, it does not let it sleep at all."""

    def ring(self) -> None:
        """Wake the waiter, now or when it next waits; from any thread, never blocking."""
        ...

    async def wait(self, seconds: float) -> bool:
        """Wait until it rings, at most so long; say whether it rang."""
        ...


class Site(Protocol):
    """Where the blocking work of leases is done."""

    async def call(self, verb: Callable[[], _T]) -> _T:
        """Run what blocks."""
        ...

    def alarm(self) -> Alarm:
        """Make an alarm for the one who runs here."""
        ...


class LoopSite:
    """On an event loop: verbs run in the thread that a store keeps for leases."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    async def call(self, verb: Callable[[], _T]) -> _T:
        """Run it in a thread; cancelled, nobody waits for it any more."""
        return await self._crew.read(verb, is_lease=True)

    def alarm(self) -> Alarm:
        """Make an alarm of the running event loop."""
        return _LoopAlarm()


class _LoopAlarm:
    def __init__(self) -> None:
        self._rung = anyio.Event()
        self._soon = scheduler()

    def ring(self) -> None:
        schedule(self._soon, self._set)

    def _set(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds if seconds < math.inf else None):
            await self._rung.wait()
        rang = self._rung.is_set()
        if rang:
            self._rung = anyio.Event()
        return rang


class ThreadSite:
    """In the calling thread: verbs block it, and so does waiting."""

    def __init__(self, pace: ThreadPace) -> None:
        self._pace = pace

    async def call(self, verb: Callable[[], _T]) -> _T:
        """Run it here."""
        return verb()

    def alarm(self) -> Alarm:
        """Make an alarm of threads."""
        return _ThreadAlarm(self._pace)


class _ThreadAlarm:
    def __init__(self, pace: ThreadPace) -> None:
        self._pace = pace
        self._bell = Bell()

    def ring(self) -> None:
        self._bell.ring()

    async def wait(self, seconds: float) -> bool:
        return self._pace.wait(self._bell, seconds if seconds < math.inf else None)
