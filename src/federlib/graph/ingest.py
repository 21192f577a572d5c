"""A checked graph in compact arrays.

Edges come sorted by child; a counting sort turns them to sorted by parent, and a walk (Kahn
1962) orders the nodes and so proves that there is no cycle, unless the input already names
every parent before its children. Only when something stumbles does `find_problems` look for
the words. Nothing recurses: a chain of a million is fine. Why the lists are as they are:
docs/decisions/0012-graph-layout.md.

Source: design §5, dag.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, chain, islice
from operator import itemgetter
from typing import Final

from federlib.errors import InvalidInput
from federlib.graph.problems import (
    MAX_ID_BYTES,
    Parents,
    Problems,
    as_rows,
    find_problems,
    is_legal_id,
)

__all__ = ["Graph"]


class Graph:
    """An acyclic graph whose nodes are the numbers 0 to n - 1, in the order of the input.

    Make one with `build`; it never changes and may be shared between threads.

    Attributes:
        ids: The id of each node.
        order: Every node once, parents before children: the order of the input if that
            will do, else that of a first-in first-out walk.
        child_starts: Where each node's children begin in `child_nodes`; n + 1 numbers.
        child_nodes: The children of node 0 in rising order, then those of node 1, ….
        parent_nodes: The parents of node 0 in the order of the input, then those of node 1, ….
    """

    __slots__ = (
        "_index",
        "_parent_counts",
        "_parent_starts",
        "child_nodes",
        "child_starts",
        "ids",
        "order",
        "parent_nodes",
    )

    def __init__(
        self,
        index: dict[str, int],
        edges: _Edges,
        order: Sequence[int],
    ) -> None:
        """Take what `build` has checked; not for anybody else."""
        self.ids: Final = tuple(index)
        self.order: Final = order
        self.child_starts: Final = edges.child_starts
        self.child_nodes: Final = edges.child_nodes
        self.parent_nodes: Final = edges.parents
        self._parent_counts: Final = edges.parent_counts
        # Not everybody asks for these. An index takes more memory than all the rest.
        self._parent_starts: Sequence[int] | None = None
        self._index: dict[str, int] | None = None

    @classmethod
    def build(
        cls,
        parents: Mapping[str, Iterable[str]] | Iterable[tuple[str, Iterable[str]]],
        *,
        report_repeats: bool = False,
    ) -> Graph:
        """Check a graph and number its nodes.

        Args:
            parents: Each node's id with its parents' ids; every parent is a node too, in
                any order. Pairs may come from any iterable; an id twice is then a problem.
                None at all is a legal graph.
            report_repeats: Make a parent named twice a problem; otherwise it counts once.
        Raises:
            InvalidInput: With every problem in `problems`, at most fifty lines and a count.
        Source: design §5, dag.
        """
        ids, rows = as_rows(parents)
        try:
            return cls._from_rows(ids, rows, report_repeats=report_repeats)
        except _Stumbled:
            problems = Problems()
            find_problems(ids, rows, problems, report_repeats=report_repeats)
            raise problems.error("parents", expected="an acyclic graph") from None

    @classmethod
    def _from_rows(
        cls, ids: Sequence[object], rows: Sequence[Parents], *, report_repeats: bool
    ) -> Graph:
        index = _index(ids)
        try:
            edges = _Edges(index, rows)  # type: ignore[arg-type]  # the TypeError is the test
            if edges.has_repeats:
                if report_repeats:
                    raise _Stumbled
                edges = _Edges(index, [list(dict.fromkeys(row)) for row in rows])  # type: ignore[arg-type]  # were lists
        except (KeyError, TypeError) as error:
            raise _Stumbled from error
        return cls(index, edges, edges.order())

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Graph({len(self.ids)} nodes, {len(self.child_nodes)} edges)"

    @property
    def edges(self) -> int:
        """How many edges there are, each once."""
        return len(self.child_nodes)

    @property
    def parent_starts(self) -> Sequence[int]:
        """Where each node's parents begin in `parent_nodes`; n + 1 numbers. O(n) once."""
        if self._parent_starts is None:
            self._parent_starts = array("I", accumulate(self._parent_counts, initial=0))
        return self._parent_starts

    def index(self, node_id: str) -> int:
        """Return the number of a node.

        The first call makes a dict of all ids, which stays: O(n) once.

        Raises:
            InvalidInput: No node has this id.
        """
        if self._index is None:
            self._index = dict(zip(self.ids, range(len(self.ids)), strict=True))
        try:
            return self._index[node_id]
        except (KeyError, TypeError):
            raise InvalidInput("node_id", expected="the id of a node", found=node_id) from None

    def check_node(self, node: int) -> int:
        """Return `node` if it is the number of a node.

        Raises:
            InvalidInput: It is not.
        """
        try:
            if 0 <= node < len(self.ids):
                return node
        except TypeError:
            pass
        expected = f"a node number below {len(self.ids)}"
        raise InvalidInput("node", expected=expected, found=node)

    def parents_of(self, node: int) -> tuple[int, ...]:
        """Return the parents of a node, each once, in the order of the input."""
        self.check_node(node)
        starts = self.parent_starts
        return tuple(self.parent_nodes[starts[node] : starts[node + 1]])

    def children_of(self, node: int) -> tuple[int, ...]:
        """Return the children of a node, in rising order."""
        self.check_node(node)
        return self.child_nodes[self.child_starts[node] : self.child_starts[node + 1]]

    def parent_counts(self) -> list[int]:
        """Return how many parents each node has, as a new list."""
        return self._parent_counts.copy()

    def levels(self) -> list[int]:
        """Return the level of each node: 0 without parents, else 1 + its highest parent's."""
        level = [0] * len(self.ids)
        for node in self.order:
            below = level[node] + 1
            for child in self.child_nodes[self.child_starts[node] : self.child_starts[node + 1]]:
                level[child] = max(level[child], below)
        return level

    @property
    def depth(self) -> int:
        """How many levels there are; 0 for a graph without nodes."""
        return max(self.levels(), default=-1) + 1

    def critical_path(self, weights: Sequence[float]) -> tuple[float, tuple[int, ...]]:
        """Find the path with the largest sum of weights.

        Args:
            weights: One for each node, finite and not negative; any unit.
        Returns:
            The sum, in that unit, and the path from a node without parents to one without
            children; of several such paths the same one each time. `(0.0, ())` for no nodes.
        Raises:
            InvalidInput: A weight is missing, negative, infinite or not a number.
        """
        if len(weights) != len(self.ids):
            raise InvalidInput("weights", expected=f"{len(self.ids)} of them", found=len(weights))
        bad = next((w for w in weights if not (math.isfinite(w) and w >= 0)), None)
        if bad is not None:
            raise InvalidInput("weights", expected="finite and not negative", found=bad)
        if not self.ids:
            return 0.0, ()
        before = [0.0] * len(self.ids)
        via = [-1] * len(self.ids)
        for node in self.order:
            finish = before[node] + weights[node]
            for child in self.child_nodes[self.child_starts[node] : self.child_starts[node + 1]]:
                if via[child] < 0 or finish > before[child]:
                    before[child] = finish
                    via[child] = node
        leaves = (node for node in self.order if not self._has_children(node))
        last = max(leaves, key=lambda node: before[node] + weights[node])
        return before[last] + weights[last], _path_to(last, via)

    def _has_children(self, node: int) -> bool:
        return self.child_starts[node] < self.child_starts[node + 1]


class _Stumbled(Exception):  # noqa: N818 (never leaves this module)
    """The fast path met something wrong."""


_PRINTABLE = bytes(range(0x20, 0x7F))


_CHUNK = 1_024
"""Nodes that are looked at together: several looks at each are cheap while it is in a cache."""


def _index(ids: Sequence[object]) -> dict[str, int]:
    """Number the ids. One look at many ids joined is much cheaper than one at each."""
    index: dict[str, int] = {}
    try:
        for first in range(0, len(ids), _CHUNK):
            some = ids[first : first + _CHUNK]
            index.update(zip(some, range(first, first + len(some)), strict=True))  # type: ignore[arg-type]  # checked next
            if not _are_legal(some):
                raise _Stumbled
    except TypeError as error:
        raise _Stumbled from error
    if len(index) < len(ids) or "" in index:
        raise _Stumbled
    return index


def _are_legal(ids: Sequence[object]) -> bool:
    joined = "".join(ids)  # type: ignore[arg-type]  # the TypeError is the test
    if joined.isascii() and not joined.encode().translate(None, _PRINTABLE):
        return max(map(len, ids)) <= MAX_ID_BYTES  # type: ignore[arg-type]  # text, as it was joined
    return all(map(is_legal_id, ids))


class _Edges:
    """All edges in flat lists, once sorted by child and once by parent.

    Filled by the interpreter's own loops where possible, and by one plain loop over the
    edges. A list for each node would cost several times as much, most of it in the garbage
    collector. `array("I")` is made from numbers at twice the speed of `array("i")`.
    """

    def __init__(self, index: Mapping[str, int], rows: Sequence[Collection[str]]) -> None:
        counts: list[int] = []
        parents: list[int] = []
        for first in range(0, len(rows), _CHUNK):
            some = rows[first : first + _CHUNK]
            counts += map(len, some)
            ids = tuple(chain.from_iterable(some))
            # One getter of many ids takes two thirds of the time of a `map`.
            parents += itemgetter(*ids)(index) if len(ids) > 1 else map(index.__getitem__, ids)
        self.parent_counts: list[int] = counts
        self.parents: array[int] = array("I", parents)
        child_counts = [0] * len(rows)
        for parent in parents:
            child_counts[parent] += 1
        starts = list(accumulate(child_counts, initial=0))
        self.child_starts: array[int] = array("I", starts)
        self._place(parents, counts, starts)

    def _place(self, parents: list[int], counts: list[int], places: list[int]) -> None:
        """Put each edge where its parent's children stand, by a counting sort.

        Args:
            parents: Of each node in turn.
            counts: How many of them each node has.
            places: Where each parent's children start; used up.
        """
        starts = self.child_starts
        # All stand one to the right until the end: so a place is the last one in use.
        children = [-1] * (len(parents) + 1)
        is_rising, has_repeats = True, False
        rest = iter(parents)
        for node, count in enumerate(counts):
            for parent in islice(rest, count):
                if parent >= node:
                    is_rising = False
                place = places[parent]
                # The first alone may be true of the last child of the parent before.
                if children[place] == node and place > starts[parent]:
                    has_repeats = True
                place += 1
                children[place] = node
                places[parent] = place
        del children[0]
        self.child_nodes: tuple[int, ...] = tuple(children)
        # Where each parent's children end now; that of "node -1" is where those of 0 start.
        places[-1] = 0
        self._ends = places
        self.is_rising: bool = is_rising
        self.has_repeats: bool = has_repeats

    def order(self) -> Sequence[int]:
        """Order the nodes, parents first."""
        if self.is_rising:
            return range(len(self.parent_counts))
        children, ends = self.child_nodes, self._ends
        waiting = self.parent_counts.copy()
        order = [node for node, count in enumerate(waiting) if not count]
        for node in order:
            first, end = ends[node - 1], ends[node]
            if end - first > 1:
                for child in children[first:end]:
                    waiting[child] = left = waiting[child] - 1
                    if not left:
                        order.append(child)
            elif first != end:  # no loop for a single child: half of all parents have one
                child = children[first]
                waiting[child] = left = waiting[child] - 1
                if not left:
                    order.append(child)
        if len(order) < len(waiting):
            raise _Stumbled
        return array("I", order)


def _path_to(last: int, via: Sequence[int]) -> tuple[int, ...]:
    path = [last]
    while via[path[-1]] >= 0:
        path.append(via[path[-1]])
    return tuple(reversed(path))
