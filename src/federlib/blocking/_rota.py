"""`Rota`: what is due when; pure, a heap that forgets."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Rota"]

_Item = TypeVar("_Item", bound=Hashable)

_SLACK = 64
"""Entries that may lie about for nothing before they are swept out."""


class Rota(Generic[_Item]):
    """Items by the instant at which they are due. Each is in it at most once."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, _Item]] = []
        self._current: dict[_Item, int] = {}
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._current)

    def put(self, item: _Item, due_ns: int) -> None:
        """Put an item in, or move it."""
        self._drawn += 1
        self._current[item] = self._drawn
        heapq.heappush(self._entries, (due_ns, self._drawn, item))
        self._sweep()

    def drop(self, item: _Item) -> None:
        """Take an item out, if it is in."""
        self._current.pop(item, None)
        self._sweep()

    def take_due(self, now_ns: int) -> list[tuple[_Item, int]]:
        """Take out whatever is due, earliest first, each with the instant at which it was."""
        due: list[tuple[_Item, int]] = []
        while (first := self.next_ns()) is not None and first <= now_ns:
            due_ns, _, item = heapq.heappop(self._entries)
            del self._current[item]
            due.append((item, due_ns))
        return due

    def next_ns(self) -> int | None:
        """Say when the next item is due; None if there is none."""
        while self._entries and self._current.get(self._entries[0][2]) != self._entries[0][1]:
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else None

    def _sweep(self) -> None:
        # Whoever comes and goes quickly leaves its entry behind until it would be due.
        if len(self._entries) > 2 * len(self._current) + _SLACK:
            self._entries = [e for e in self._entries if self._current.get(e[2]) == e[1]]
            heapq.heapify(self._entries)
