"""A subscription of an event loop: it waits there, and reads the log in threads."""

from __future__ import annotations

from functools import partial

import anyio
import anyio.lowlevel

from federlib.storage.backends._blocking.crew import Crew, schedule, scheduler
from federlib.storage.backends._blocking.engine import Engine
from federlib.storage.backends._blocking.follower import Follower
from federlib.storage.backends._blocking.watch import Watcher
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
        crew: Crew,
        is_lease: bool,
    ) -> None:
        self._engine = engine
        self._crew = crew
        self._is_lease = is_lease
        self._news = anyio.Event()
        self._soon = scheduler()
        self._follower = Follower(watcher, prefix, after=after, head=head, wake=self._wake)

    def _wake(self) -> None:
        schedule(self._soon, self._ring)

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
                read = partial(self._engine.read_changes, *due)
                follower.take_log(await self._crew.read(read, is_lease=self._is_lease))
            item = follower.next_item(anyio.current_time())
            if item is not None:
                return item
            with anyio.CancelScope(deadline=follower.quiet_until_s):
                await self._news.wait()

    def close(self) -> None:
        """Tell the watcher to forget this subscription."""
        self._follower.close()
