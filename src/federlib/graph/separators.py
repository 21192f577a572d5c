"""Minimal separators of two nodes in an undirected graph, one after the other.

Source: Shen and Liang 1997, "Efficient enumeration of all minimal separators in a graph":
from the separator nearest to one end, each further one comes by taking a node of a known
one over to that end's side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

__all__ = ["minimal_separators"]

Near = Mapping[int, Collection[int]]


def minimal_separators(near: Near, one: int, other: int, *, most: int) -> list[tuple[int, ...]]:
    """List minimal separators, each in rising order, those near `one` first.

    Args:
        near: The neighbours of each node; symmetric.
        one: One end.
        other: The other end.
        most: Stop after so many.
    Returns:
        The empty one alone where the ends lie apart, and none where they touch.
    """
    if other in near[one]:
        return []
    first = _separator(near, {one}, other)
    found = {first}
    waiting = deque([first])
    while waiting and len(found) < most:
        known = waiting.popleft()
        side = _side(near, one, known)
        for node in known:
            if other in near[node]:
                continue
            further = _separator(near, side | {node}, other)
            if further not in found and len(found) < most:
                found.add(further)
                waiting.append(further)
    return sorted(found, key=lambda each: (len(each), each))


def _separator(near: Near, side: set[int], other: int) -> tuple[int, ...]:
    """Return what of the rim of `side` can be reached from the other end."""
    rim = {node for member in side for node in near[member]} - side
    beyond = _side(near, other, rim)
    return tuple(sorted(node for node in rim if not beyond.isdisjoint(near[node])))


def _side(near: Near, start: int, barred: Collection[int]) -> set[int]:
    """Return what can be reached from `start` without passing a barred node."""
    walls = set(barred)
    found = {start}
    waiting = [start]
    while waiting:
        for node in near[waiting.pop()]:
            if node not in walls and node not in found:
                found.add(node)
                waiting.append(node)
    return found
