"""A queue from whose middle nodes may leave.

A node that leaves keeps its place, which is stepped over when its turn comes: so joining and
leaving cost O(1), and so does the first of the line, on the average. A node may join again
while an old place of its is still there; the oldest places are those to step over.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

__all__ = ["Line"]

_MAX_STALE = 64
"""Places without use before the list is made anew; then at least half of it is of no use."""


class Line:
    """Nodes in line, first in, first out.

    Attributes:
        places: Whoever joins appends itself here; what stands before is not to be touched.
    """

    __slots__ = ("_head", "_skips", "_stale", "places")

    def __init__(self, nodes: Iterable[int]) -> None:
        self.places: list[int] = list(nodes)
        # The first `_head` places are used up.
        self._head = 0
        # A node that left keeps its place: so many places of it to step over.
        self._skips: dict[int, int] = {}
        self._stale = 0

    def __len__(self) -> int:
        return len(self.places) - self._head - self._stale

    def nodes(self) -> list[int]:
        """List the nodes in line, the first one first. O(n)."""
        if not self._skips:
            return self.places[self._head :]
        skips = dict(self._skips)
        found: list[int] = []
        for node in islice(self.places, self._head, None):
            if skips.get(node):
                skips[node] -= 1
            else:
                found.append(node)
        return found

    def first(self) -> int | None:
        """Return the first in line, or None if there is none."""
        while self._head < len(self.places):
            node = self.places[self._head]
            if not self._skips or not self._stepped_over(node):
                return node
            self._use_up(1)
        return None

    def take(self, limit: int) -> list[int]:
        """Remove and return up to `limit` nodes, the first ones."""
        if not self._head and not self._skips and limit >= len(self.places):
            taken, self.places = self.places, []
            return taken
        if not self._skips:
            taken = self.places[self._head : self._head + limit]
            self._use_up(len(taken))
            return taken
        taken = []
        while len(taken) < limit and (node := self.first()) is not None:
            taken.append(node)
            self._use_up(1)
        return taken

    def leave(self, node: int) -> None:
        """Remove a node that is in line, wherever it stands."""
        if self.places[self._head] == node and node not in self._skips:
            self._use_up(1)
            return
        self._skips[node] = self._skips.get(node, 0) + 1
        self._stale += 1
        if self._stale > _MAX_STALE and 2 * self._stale > len(self.places) - self._head:
            self.places, self._head = self.nodes(), 0
            self._skips.clear()
            self._stale = 0

    def _use_up(self, places: int) -> None:
        self._head += places
        if self._head > _MAX_STALE and 2 * self._head > len(self.places):
            del self.places[: self._head]
            self._head = 0

    def _stepped_over(self, node: int) -> bool:
        places = self._skips.get(node, 0)
        if not places:
            return False
        self._stale -= 1
        if places > 1:
            self._skips[node] = places - 1
        else:
            del self._skips[node]
        return True
