"""Events of a server, for readers that may be slow.

A feed brings what changed. What only says that work goes on, many times a second in a large
group, would push that out of its places, and comes to those who ask for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Self, TypeAlias

import anyio
import anyio.lowlevel
import msgspec

from federlib.membership.confirmation import AskPeer
from federlib.membership.effects import Event, PeerMeasured

__all__ = ["EventFeed", "EventsMissed", "Feeds", "ServerEvent"]

_EVENTS = 1_024
"""Events that one reader may be behind."""


class EventsMissed(msgspec.Struct, frozen=True):
    """A reader of events was too slow: look at `members` again.

    Attributes:
        count: How many it did not get.
    """

    count: int


ServerEvent: TypeAlias = Event | EventsMissed
"""What a server tells whoever listens."""


class EventFeed:
    """Events for one reader.

    Args:
        detailed: Whether it brings `PeerMeasured` and `AskPeer` too.
    """

    def __init__(self, *, detailed: bool = False) -> None:
        self._is_detailed = detailed
        self._waiting: deque[Event] = deque()
        self._missed = 0
        self._has_ended = False
        self._news = anyio.Event()

    def put(self, event: Event) -> None:
        """Add one, or count it as missed; never waits."""
        if isinstance(event, PeerMeasured | AskPeer) and not self._is_detailed:
            return
        if self._missed or len(self._waiting) >= _EVENTS:
            self._missed += 1
        else:
            self._waiting.append(event)
        self._news.set()

    def end(self) -> None:
        """Let the reader end when it has read what is there."""
        self._has_ended = True
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerEvent:
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._waiting:
                return self._waiting.popleft()
            if self._missed:
                missed, self._missed = self._missed, 0
                return EventsMissed(missed)
            if self._has_ended:
                raise StopAsyncIteration
            self._news = anyio.Event()
            await self._news.wait()


class Feeds:
    """The feeds of one server."""

    def __init__(self) -> None:
        self._feeds: set[EventFeed] = set()

    @contextmanager
    def open(self, *, detailed: bool) -> Generator[EventFeed, None, None]:
        """Feed one more reader from now on."""
        feed = EventFeed(detailed=detailed)
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)

    def put(self, event: Event) -> None:
        """Add one to all of them."""
        for feed in self._feeds:
            feed.put(event)

    def end(self) -> None:
        """Let every reader end when it has read what is there."""
        for feed in self._feeds:
            feed.end()
