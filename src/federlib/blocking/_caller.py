"""`Caller`: runs coroutines that never suspend, in the calling thread.

Every verb of a blocking federation goes through here. So this is where a forked child and a
closed federation are refused, before any lock is touched that a fork may have left taken.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import ParamSpec, TypeVar

from federlib._pace import Bell, ThreadPace, run_now
from federlib.errors import Fenced, Unavailable

__all__ = ["Caller"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Caller:
    """Runs verbs while this process and this federation may. Thread-safe.

    Args:
        where: What is closed or fenced, in words.
        pace: How waiting passes.
    """

    def __init__(self, where: str, pace: ThreadPace) -> None:
        self._where = where
        self._pace = pace
        self._pid = os.getpid()
        self._is_closed = False
        self._mutex = threading.Lock()
        self._waiting = 0
        self._left = Bell()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one that connected."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Return if verbs may be used here and now.

        Raises:
            Fenced: This process is a fork of the one that connected.
            Unavailable: The federation was closed.
        """
        if os.getpid() != self._pid:
            raise Fenced(self._where, reason="it was connected before this process was forked")
        if self._is_closed:
            raise self._closed()

    def _closed(self) -> Unavailable:
        return Unavailable(self._where, "it was closed by this process")

    def call(
        self, verb: Callable[_P, Coroutine[object, object, _T]], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a verb to its end."""
        self.check()
        self._pace.begin()
        return run_now(verb(*args, **kwargs))

    def force(
        self, verb: Callable[_P, Coroutine[object, object, _T]], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a verb even while the federation closes."""
        self._pace.begin()
        return run_now(verb(*args, **kwargs))

    def wait(
        self, verb: Callable[_P, Coroutine[object, object, _T]], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a verb that may wait long and must tidy up behind it: closing waits for it."""
        # Before the lock, which a fork may have left taken; and under it, against `close`.
        self.check()
        with self._mutex:
            self.check()
            self._waiting += 1
        try:
            return self.call(verb, *args, **kwargs)
        finally:
            with self._mutex:
                self._waiting -= 1
            if self._is_closed:
                self._left.ring()

    @contextmanager
    def entered(
        self,
        verb: Callable[_P, AbstractAsyncContextManager[_T]],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> Iterator[_T]:
        """Enter an asynchronous context manager, and leave it with the block."""
        self.check()
        manager = verb(*args, **kwargs)
        entered = self.call(lambda: _enter(manager))
        try:
            yield entered
        finally:
            if not self.is_forked:
                self.force(lambda: _leave(manager))

    def iterate(self, items: AsyncIterator[_T]) -> Iterator[_T]:
        """Step through an asynchronous iterator; closed with it, if it can be."""
        try:
            while True:
                try:
                    item = self.call(lambda: _next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if isinstance(items, AsyncGenerator) and not self.is_forked:
                self.force(lambda: _close(items))

    def close(self, patience_s: float) -> None:
        """Refuse verbs from now on, end the waits, and wait until they have tidied up."""
        with self._mutex:
            self._is_closed = True
        self._pace.close(self._closed())
        end_s = self._pace.now_s() + patience_s
        while self._waiting and (rest_s := end_s - self._pace.now_s()) > 0:
            self._left.wait(rest_s)


# `__aenter__` and the like are awaitables, not always coroutines.
async def _enter(manager: AbstractAsyncContextManager[_T]) -> _T:
    return await manager.__aenter__()


async def _leave(manager: AbstractAsyncContextManager[object]) -> None:
    await manager.__aexit__(None, None, None)


async def _next(items: AsyncIterator[_T]) -> _T:
    return await anext(items)


async def _close(items: AsyncGenerator[object, None]) -> None:
    await items.aclose()
