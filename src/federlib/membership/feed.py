"""Events of a server, for one reader that may be slow."""

from __future__ import annotations

from collections import deque
from typing import Self, TypeAlias

import anyio
import anyio.lowlevel
import msgspec

from federlib.membership.effects import Event

__all__ = ["EventFeed", "EventsMissed", "ServerEvent"]

_EVENTS = 1_024
"""Events that one reader may be behind."""


class EventsMissed(msgspec.Struct, frozen=True):
    """A reader of events was too slow: look at `members` again.

    Attributes:
        count: How many it did not get.
    """

    count: int


ServerEvent: TypeAlias = Event | EventsMissed


class EventFeed:
    """Events for one reader."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._missed = 0
        self._has_ended = False
        self._news = anyio.Event()

    def put(self, event: Event) -> None:
        """Add one, or count it as missed; never waits."""
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
