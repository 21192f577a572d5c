"""One subscription: first the log up to where the watcher was, then the watcher's inbox."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from federlib.errors import FederlibError
from federlib.storage.backends._engine import Engine
from federlib.storage.backends._watch import CHUNK, Watcher, narrow
from federlib.storage.protocol import Batch, Progress, Resync, WatchItem

__all__ = ["EngineSubscription"]

_PROGRESS_EVERY_S = 1.0


class EngineSubscription:
    """An endless stream of `WatchItem`; belongs to the event loop that made it."""

    def __init__(
        self,
        engine: Engine,
        watcher: Watcher,
        prefix: str,
        *,
        after: int,
        head: int,
        limiter: anyio.CapacityLimiter,
    ) -> None:
        self._engine = engine
        self._watcher = watcher
        self._prefix = prefix
        self._limiter = limiter
        self._news = anyio.Event()
        self._schedule = _scheduler()
        self._position = after
        self._ready: deque[Batch] = deque()
        self._owes_progress = True
        self._quiet_until = 0.0
        self._inbox, self._log_end = watcher.subscribe(
            prefix, after=after, head=head, wake=self._wake
        )

    def _wake(self) -> None:
        try:
            self._schedule(self._ring)
        except RuntimeError:
            # The event loop has ended and left its subscription behind.
            return

    def _ring(self) -> None:
        self._news.set()

    def __aiter__(self) -> EngineSubscription:
        return self

    async def __anext__(self) -> WatchItem:
        """Wait for the next item; may be cancelled, nothing is lost."""
        await anyio.lowlevel.checkpoint()
        while True:
            self._news = anyio.Event()
            item = await self._next_now()
            if item is not None:
                return item
            # The deadline is kept between calls: a consumer that cancels and comes back
            # still hears of progress.
            with anyio.CancelScope(deadline=self._quiet_until):
                await self._news.wait()

    async def _next_now(self) -> WatchItem | None:
        if self._position < self._log_end and not self._ready:
            await self._read_log()
        if self._ready:
            return self._ready.popleft()
        try:
            item = self._watcher.take(self._inbox)
        except FederlibError as error:
            # A copy: several subscriptions may raise it, each with its own traceback.
            raise copy.copy(error) from error
        if isinstance(item, Resync):
            self._position = self._log_end = item.revision
            self._owes_progress = True
            return item
        if isinstance(item, Batch):
            self._position, self._owes_progress = item.revision, True
            return item
        self._position = max(self._position, item)
        now = anyio.current_time()
        if not self._owes_progress and now < self._quiet_until:
            return None
        self._owes_progress, self._quiet_until = False, now + _PROGRESS_EVERY_S
        return Progress(self._position)

    async def _read_log(self) -> None:
        """Read on until something under the prefix turns up, or the log's end."""
        while self._position < self._log_end and not self._ready:
            limit = min(CHUNK, self._log_end - self._position)
            batches = await anyio.to_thread.run_sync(
                self._engine.read_changes,
                self._position,
                limit,
                abandon_on_cancel=True,
                limiter=self._limiter,
            )
            if not batches:
                self._watcher.lose(self._inbox)
                self._log_end = self._position
                return
            self._position = batches[-1].revision
            narrowed = (narrow(batch, self._prefix) for batch in batches)
            self._ready.extend(batch for batch in narrowed if batch is not None)

    def close(self) -> None:
        """Tell the watcher to forget this subscription."""
        self._watcher.unsubscribe(self._inbox)


def _scheduler() -> Callable[[Callable[[], None]], object]:
    """Return what has a function called in this event loop, from any thread, at once.

    `anyio.from_thread.run_sync` waits until the loop has run the function. The watcher
    serves several loops, and one that is busy must not hold up the others, nor may one
    that has ended hold the thread for ever.
    """
    loop = anyio.lowlevel.current_token().native_token
    name = "run_sync_soon" if hasattr(loop, "run_sync_soon") else "call_soon_threadsafe"
    return cast("Callable[[Callable[[], None]], object]", getattr(loop, name))
