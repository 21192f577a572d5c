"""Which nodes may run now: incremental, exact, and pure.

    pending --last parent done--> ready --take, claim--> running --done--> success
       ^                            ^                     |  |  '--fail--> failed
       |                            '------requeue--------'  '--defer--> pending (deferred)
       '--retry of every failed ancestor-- blocked <--fail of an ancestor-- pending

A deferred node is pending without an open parent: it waits for `requeue` (a back-off).
A failed node becomes ready again by `retry`. `success` is final.

Source: HA plan §4 (node states), design §5, dag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import repeat
from operator import length_hint
from typing import Final, Literal

from federlib.errors import Conflict, InvalidInput
from federlib.graph.ingest import Graph
from federlib.graph.line import Line

__all__ = ["NODE_STATES", "Frontier", "NodeState"]

NodeState = Literal["pending", "ready", "running", "success", "failed", "blocked"]
"""Where a node is on its way; `blocked` is behind one that failed."""

NODE_STATES: tuple[NodeState, ...] = (
    "pending",
    "ready",
    "running",
    "success",
    "failed",
    "blocked",
)
"""In the order of their codes: `pending` is 0, `blocked` is 5."""

# What a frontier knows of a node is one number: while above 0, how many of its parents are
# not done. A blocked node is one of those, and has an entry in `_blockers`.
_READY, _RUNNING, _SUCCESS, _FAILED, _DEFERRED = 0, -1, -2, -3, -4

_STATES: Final[dict[int, NodeState]] = {
    _READY: "ready",
    _RUNNING: "running",
    _SUCCESS: "success",
    _FAILED: "failed",
    _DEFERRED: "pending",
}
_CODES: Final = {number: NODE_STATES.index(state) for number, state in _STATES.items()}


class Frontier:
    """The states of a graph's nodes, moved by events.

    Every event costs O(own edges), `fail` and `retry` O(edges of the nodes that change).
    An event that is illegal in the present state raises `Conflict`, a number that names no
    node `InvalidInput`; neither changes anything. Ready nodes stand in a queue, first in,
    first out; those released by one event join it in rising order. So the order depends on
    the events alone.

    Attributes:
        graph: The graph.
    """

    __slots__ = (
        "_blockers",
        "_busy",
        "_child_nodes",
        "_child_starts",
        "_left",
        "_line",
        "graph",
    )

    def __init__(self, graph: Graph) -> None:
        self.graph: Final = graph
        self._child_starts: Final = graph.child_starts
        self._child_nodes: Final = graph.child_nodes
        self._left = graph.parent_counts()
        # Failed or blocked parents of a node; a node is absent while it has none.
        self._blockers: dict[int, int] = {}
        self._line = Line(node for node, left in enumerate(self._left) if not left)
        # Running or deferred.
        self._busy = 0

    @classmethod
    def restore(
        cls,
        graph: Graph,
        *,
        done: Iterable[int] = (),
        failed: Iterable[int] = (),
        running: Iterable[int] = (),
        deferred: Iterable[int] = (),
    ) -> Frontier:
        """Rebuild a frontier from what is known of its nodes, in one pass.

        Whatever is not named is ready, blocked or pending, as the graph says; ready nodes
        are queued in rising order.

        Raises:
            Conflict: A node is named under two states, or has a parent that is not done.
            InvalidInput: A number names no node.
        """
        self = cls(graph)
        given = ((_SUCCESS, done), (_FAILED, failed), (_RUNNING, running), (_DEFERRED, deferred))
        named: dict[int, int] = {}
        for number, nodes in given:
            for node in nodes:
                if graph.check_node(node) in named:
                    raise self._illegal(node, "named once")
                named[node] = number
        self._settle(named)
        return self

    def _settle(self, named: dict[int, int]) -> None:
        """Derive from the named states everything that follows from them."""
        left = self._left
        succeeded = [node for node, number in named.items() if number == _SUCCESS]
        self._release(succeeded, [node + 1 for node in succeeded])
        for node, number in named.items():
            if left[node]:
                raise self._illegal(node, "every parent done")
            left[node] = number
        for node, number in named.items():
            if number == _FAILED:
                self._block(node)
            elif number != _SUCCESS:
                self._busy += 1
        self._line = Line(node for node, number in enumerate(left) if not number)

    def __len__(self) -> int:
        return len(self._left)

    @property
    def ready(self) -> list[int]:
        """The ready nodes, first the one that `take` gives next. O(ready)."""
        return self._line.nodes()

    @property
    def is_over(self) -> bool:
        """Nothing is ready, running or deferred: no event but `retry` is left. O(1)."""
        return not self._busy and not len(self._line)

    @property
    def is_complete(self) -> bool:
        """Every node succeeded. O(n) once it is over, else O(1)."""
        return self.is_over and self._left.count(_SUCCESS) == len(self._left)

    def state(self, node: int) -> NodeState:
        """Return the state of a node.

        Raises:
            InvalidInput: There is no such node.
        """
        state = _STATES.get(self._left[self.graph.check_node(node)])
        return state or ("blocked" if node in self._blockers else "pending")

    def codes(self) -> bytes:
        """Return every node's state as one byte: its place in `NODE_STATES`. O(n)."""
        # Any other number is that of open parents, and `pending` has the code 0.
        codes = bytearray(map(_CODES.get, self._left, repeat(0)))
        blocked = NODE_STATES.index("blocked")
        for node in self._blockers:
            codes[node] = blocked
        return bytes(codes)

    def counts(self) -> dict[NodeState, int]:
        """Count the nodes in each state, every state named. O(n)."""
        counts = dict.fromkeys(NODE_STATES, 0)
        for number, count in Counter(self._left).items():
            counts[_STATES.get(number, "pending")] += count
        # They count as pending so far, for they have open parents.
        counts["blocked"] = len(self._blockers)
        counts["pending"] -= len(self._blockers)
        return counts

    def nodes_in(self, state: NodeState) -> list[int]:
        """List the nodes in a state, in rising order. O(n)."""
        code = NODE_STATES.index(state)
        return [node for node, found in enumerate(self.codes()) if found == code]

    def take(self, limit: int) -> list[int]:
        """Claim up to `limit` ready nodes, first in line first: they are running now.

        Raises:
            InvalidInput: `limit` is negative.
        """
        if limit < 0:
            raise InvalidInput("limit", expected="0 or more", found=limit)
        left = self._left
        taken = self._line.take(limit)
        for node in taken:
            left[node] = _RUNNING
        self._busy += len(taken)
        return taken

    def peek(self) -> int | None:
        """Return the node that `take` would give next, or None if none is ready."""
        return self._line.first()

    def claim(self, node: int) -> None:
        """Claim one ready node, wherever it stands in the queue: it is running now."""
        self._expect(node, _READY)
        self._left[node] = _RUNNING
        self._busy += 1
        self._line.leave(node)

    def done(self, node: int) -> list[int]:
        """Record that a running node succeeded; return the nodes that became ready."""
        left = self._left
        try:
            # The one hot event: `_expect` without its calls.
            if left[node] != _RUNNING or node < 0:
                self._expect(node, _RUNNING)
        except (IndexError, TypeError):
            self.graph.check_node(node)
            raise
        left[node] = _SUCCESS
        self._busy -= 1
        first, end = self._child_starts[node], self._child_starts[node + 1]
        if end - first < 2:  # most nodes of recorded workflows; a loop costs more than its round
            if first == end:
                return []
            child = self._child_nodes[first]
            left[child] = still = left[child] - 1
            if still:
                return []
            self._line.places.append(child)
            return [child]
        released: list[int] = []
        for child in self._child_nodes[first:end]:
            left[child] = still = left[child] - 1
            if not still:
                released.append(child)
        self._line.places += released
        return released

    def done_many(self, nodes: Iterable[int]) -> list[int]:
        """Record that running nodes succeeded, as one event: all of them, or none.

        Faster than `done` for each, most of all where `nodes` holds rows of neighbours in
        rising order, as `take` gives them. The states are the same; only the nodes that
        became ready are queued in rising order, whichever of `nodes` released them.

        Returns:
            The nodes that became ready, in rising order.
        Raises:
            Conflict: One of them is not running, or is named twice.
            InvalidInput: A number names no node.
        """
        nodes = nodes if isinstance(nodes, list) else list(nodes)
        if len(nodes) == 1:
            return self.done(nodes[0])
        released = self._release(*self._succeed(nodes))
        released.sort()
        self._busy -= len(nodes)
        self._line.places += released
        return released

    def _succeed(self, nodes: list[int]) -> tuple[list[int], list[int]]:
        """Mark running nodes, all or none; return where their runs of neighbours begin and end."""
        left = self._left
        firsts: list[int] = []
        ends: list[int] = []
        end = -len(left) - 1  # which no node can be: it is out of range
        rest = iter(nodes)
        try:
            for node in rest:
                if left[node] != _RUNNING:
                    break
                if node != end:
                    if node < 0:
                        break
                    firsts.append(node)
                    ends.append(end)
                left[node] = _SUCCESS
                end = node + 1
            else:
                ends.append(end)
                return firsts, ends[1:]
        except (IndexError, TypeError):
            pass
        marked = len(nodes) - length_hint(rest) - 1
        for other in nodes[:marked]:
            left[other] = _RUNNING
        self._expect(node, _RUNNING)
        raise self._illegal(node, "named once")

    def _release(self, firsts: list[int], ends: list[int]) -> list[int]:
        """Take an open parent from each child of these runs of nodes; return what has none left."""
        left, starts, children = self._left, self._child_starts, self._child_nodes
        released: list[int] = []
        for first, end in zip(firsts, ends, strict=True):
            for child in children[starts[first] : starts[end]]:
                left[child] = still = left[child] - 1
                if not still:
                    released.append(child)
        return released

    def fail(self, node: int) -> list[int]:
        """Record that a running node failed for good; return the nodes newly blocked.

        Everything below it is blocked; the rest goes on.
        """
        self._expect(node, _RUNNING)
        self._left[node] = _FAILED
        self._busy -= 1
        return self._block(node)

    def _block(self, node: int) -> list[int]:
        starts, blockers = self._child_starts, self._blockers
        blocked: list[int] = []
        stack = [node]
        while stack:
            above = stack.pop()
            for child in self._child_nodes[starts[above] : starts[above + 1]]:
                blockers[child] = blockers.get(child, 0) + 1
                if blockers[child] == 1:
                    blocked.append(child)
                    stack.append(child)
        return blocked

    def retry(self, node: int) -> list[int]:
        """Make a failed node ready again; return the nodes that are no longer blocked.

        A descendant stays blocked while another failed node stands above it.
        """
        self._expect(node, _FAILED)
        self._left[node] = _READY
        self._line.places.append(node)
        starts, blockers = self._child_starts, self._blockers
        freed: list[int] = []
        stack = [node]
        while stack:
            above = stack.pop()
            for child in self._child_nodes[starts[above] : starts[above + 1]]:
                blockers[child] -= 1
                if not blockers[child]:
                    del blockers[child]
                    freed.append(child)
                    stack.append(child)
        return freed

    def defer(self, node: int) -> None:
        """Put a running node aside (a failed attempt backs off); it is pending until `requeue`."""
        self._expect(node, _RUNNING)
        self._left[node] = _DEFERRED

    def requeue(self, node: int) -> None:
        """Make a running or deferred node ready again, last in line: its attempt was lost."""
        if self._left[self.graph.check_node(node)] not in (_RUNNING, _DEFERRED):
            raise self._illegal(node, "running or deferred")
        self._left[node] = _READY
        self._busy -= 1
        self._line.places.append(node)

    def is_deferred(self, node: int) -> bool:
        """Say whether a node was put aside by `defer`."""
        return self._left[self.graph.check_node(node)] == _DEFERRED

    def _expect(self, node: int, number: int) -> None:
        try:
            if self._left[node] == number and node >= 0:
                return
        except (IndexError, TypeError):
            pass
        self.graph.check_node(node)
        raise self._illegal(node, _STATES[number])

    def _illegal(self, node: int, expected: str) -> Conflict:
        return Conflict(
            f"node {node} ({self.graph.ids[node]!r:.100})",
            expected=expected,
            actual=self.state(node),
        )
