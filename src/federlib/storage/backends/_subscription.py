"""A subscription of an event loop: it waits there, and reads the log in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from federlib.storage.backends._engine import Engine
from federlib.storage.backends._follower import Follower
from federlib.storage.backends._watch import Watcher
from federlib.storage.protocol import WatchItem

__all__ = ["EngineSubscription"]


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
        self._limiter = limiter
        self._news = anyio.Event()
        self._schedule = _scheduler()
        self._follower = Follower(watcher, prefix, after=after, head=head, wake=self._wake)

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
        follower = self._follower
        while True:
            self._news = anyio.Event()
            while (due := follower.log_due()) is not None:
                batches = await anyio.to_thread.run_sync(
                    self._engine.read_changes, *due, abandon_on_cancel=True, limiter=self._limiter
                )
                follower.take_log(batches)
            item = follower.next_item(anyio.current_time())
            if item is not None:
                return item
            with anyio.CancelScope(deadline=follower.quiet_until_s):
                await self._news.wait()

    def close(self) -> None:
        """Tell the watcher to forget this subscription."""
        self._follower.close()


def _scheduler() -> Callable[[Callable[[], None]], object]:
    """Return what has a function called in this event loop, from any thread, at once.

    `anyio.from_thread.run_sync` waits until the loop has run the function. The watcher
    serves several loops, and one that is busy must not hold up the others, nor may one
    that has ended hold the thread for ever.
    """
    loop = anyio.lowlevel.current_token().native_token
    name = "run_sync_soon" if hasattr(loop, "run_sync_soon") else "call_soon_threadsafe"
    return cast("Callable[[Callable[[], None]], object]", getattr(loop, name))
