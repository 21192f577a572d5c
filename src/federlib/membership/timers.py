"""What is due when: a heap of calls, none of which is ever taken back.

Whoever is called looks whether it still matters. That is cheaper than to search the heap, and
a deadline that moved is simply set again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Timers"]

Call = Callable[[int, float], None]


class Timers:
    """Calls and their instants; seconds on the caller's monotonic clock."""

    __slots__ = ("_heap", "_made")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Call, int]] = []
        self._made = 0

    def at(self, due_s: float, call: Call, number: int = 0) -> None:
        """Have ``call(number, now_s)`` made at this instant, or soon after it."""
        self._made += 1
        heapq.heappush(self._heap, (due_s, self._made, call, number))

    @property
    def next_s(self) -> float | None:
        """When the next call is due; None where there is none."""
        return self._heap[0][0] if self._heap else None

    def run(self, now_s: float) -> None:
        """Make all calls that are due, in the order of their instants."""
        heap = self._heap
        while heap and heap[0][0] <= now_s:
            _, _, call, number = heapq.heappop(heap)
            call(number, now_s)
