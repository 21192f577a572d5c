"""The threads of one open store: those that commit, a few that read, one kept for leases.

A pool for any function would do; `anyio.to_thread` is one. It goes through a limiter, a
context and two turns of the event loop for each call, and for a commit that takes a fifth
of a millisecond that is half as much again. Here a job goes into a queue, and its end comes
back as one call in the event loop that asked.

Threads start when they are needed, serve any number of event loops, and end with the store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar, cast

import anyio
import anyio.lowlevel

from federlib.errors import Fenced, Unavailable

__all__ = ["Crew", "schedule", "scheduler"]

_READERS = 4
_T = TypeVar("_T")
_Job = Callable[[], None]
Schedule = Callable[[_Job], object]


def scheduler() -> Schedule:
    """Return what has a function called in this event loop, from any thread, at once.

    `anyio.from_thread.run_sync` waits until the loop has run the function. One thread
    serves several loops, and one that is busy must not hold up the others, nor may one
    that has ended hold the thread for ever.
    """
    loop = anyio.lowlevel.current_token().native_token
    name = "run_sync_soon" if hasattr(loop, "run_sync_soon") else "call_soon_threadsafe"
    return cast("Schedule", getattr(loop, name))


def schedule(soon: Schedule, call: _Job) -> None:
    """Have `call` called in a loop that may have ended and left its question behind."""
    try:
        soon(call)
    except RuntimeError:
        return


class _Lane:
    """A queue, and up to `size` threads that serve it."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._mutex = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._is_closed = False

    def put(self, job: _Job) -> bool:
        """Have a job done; False if this lane is closed."""
        with self._mutex:
            if self._is_closed:
                return False
            if self._idle:
                self._idle -= 1
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
            self._jobs.put(job)
            return True

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            # Let go of it: while this thread waits for the next one nobody else can.
            del job
            with self._mutex:
                self._idle += 1

    def close(self) -> None:
        """Take no more jobs; what is queued is still done."""
        with self._mutex:
            self._is_closed = True
            for _ in range(self._threads):
                self._jobs.put(None)


class Crew:
    """Does the blocking work of one store.

    Args:
        where: How errors call the store.
        committers: How many threads commit.
    """

    def __init__(self, where: str, *, committers: int = 1) -> None:
        self._where = where
        self._pid = os.getpid()
        self._commits = _Lane("federlib-commit", committers)
        self._reads = _Lane("federlib-read", _READERS)
        self._leases = _Lane("federlib-lease", 1)

    def commit(self, job: _Job) -> None:
        """Have a commit done; it begins after those that came before it. The job must not raise.

        Raises:
            Unavailable: The store was closed.
            Fenced: This process is a fork of the one that opened the store.
        """
        self._put(self._commits, job)

    def _put(self, lane: _Lane, job: _Job) -> None:
        if os.getpid() != self._pid:
            # The threads stayed behind in the parent: nobody would ever come.
            raise Fenced(self._where, reason="it was opened before this process was forked")
        if not lane.put(job):
            raise Unavailable(self._where, "it was closed by this process")

    async def read(self, verb: Callable[[], _T], *, is_lease: bool = False) -> _T:
        """Have something read; cancelled, nobody waits for it any more.

        Args:
            verb: Called in a thread.
            is_lease: Do not wait behind other reads.
        Raises:
            Unavailable: The store was closed.
            Fenced: This process is a fork of the one that opened the store.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        done, soon = anyio.Event(), scheduler()
        values: list[_T] = []
        errors: list[BaseException] = []

        def job() -> None:
            try:
                values.append(verb())
            except BaseException as error:
                errors.append(error)
            schedule(soon, done.set)

        self._put(self._leases if is_lease else self._reads, job)
        await done.wait()
        if errors:
            raise errors.pop()
        return values[0]

    def close(self) -> None:
        """Take no more work; threads end when theirs is done."""
        for lane in (self._commits, self._reads, self._leases):
            lane.close()
