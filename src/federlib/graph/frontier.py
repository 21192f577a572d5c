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

from collections import deque
from collections.abc import Iterable
from itertools import compress
from operator import not_
from typing import Final, Literal

from federlib.errors import Conflict, InvalidInput
from federlib.graph.ingest import Graph

__all__ = ["NODE_STATES", "Frontier", "NodeState"]

NodeState = Literal["pending", "ready", "running", "success", "failed", "blocked"]

NODE_STATES: tuple[NodeState, ...] = (
    "pending",
    "ready",
    "running",
    "success",
    "failed",
    "blocked",
)
"""In the order of their codes: `pending` is 0, `blocked` is 5."""

_PENDING, _READY, _RUNNING, _SUCCESS, _FAILED, _BLOCKED = range(6)

_MAX_STALE = 64
"""Left-behind places before the queue is made anew; then at least half of it is stale."""


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
        "_child_nodes",
        "_child_starts",
        "_live",
        "_queue",
        "_skips",
        "_stale",
        "_states",
        "_waiting",
        "graph",
    )

    def __init__(self, graph: Graph) -> None:
        self.graph: Final = graph
        self._child_starts: Final = graph.child_starts
        self._child_nodes: Final = graph.child_nodes
        self._waiting = graph.parent_counts()
        # `not 0` is 1, the code of `ready`; any other count gives 0, `pending`.
        self._states = bytearray(map(not_, self._waiting))
        # Failed or blocked parents of a node; a node is absent while it has none.
        self._blockers: dict[int, int] = {}
        self._queue = deque(compress(range(len(graph)), self._states))
        # A claimed node leaves its place in the queue behind: so many places to step over.
        self._skips: dict[int, int] = {}
        self._stale = 0
        self._live = len(self._queue)

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
        states = self._states
        named = ((_SUCCESS, done), (_FAILED, failed), (_RUNNING, running), (_PENDING, deferred))
        deferred_nodes: set[int] = set()
        seen = bytearray(len(graph))
        for code, nodes in named:
            for node in nodes:
                graph.check_node(node)
                if seen[node]:
                    raise self._illegal(node, "named once")
                seen[node] = 1
                states[node] = code
                if code == _PENDING:
                    deferred_nodes.add(node)
        self._settle(deferred_nodes, seen)
        return self

    def _settle(self, deferred: set[int], named: bytearray) -> None:
        """Derive from the named states everything that follows from them."""
        states, starts, children = self._states, self._child_starts, self._child_nodes
        for node in self.graph.order:
            if states[node] == _SUCCESS:
                for child in children[starts[node] : starts[node + 1]]:
                    self._waiting[child] -= 1
        for node, count in enumerate(self._waiting):
            if count and named[node]:
                raise self._illegal(node, "every parent done")
            if not named[node]:
                states[node] = _PENDING if count else _READY
        for node in self.graph.order:
            if states[node] == _FAILED:
                self._block(node)
        self._queue = deque(node for node, code in enumerate(states) if code == _READY)
        self._live = len(self._queue) + states.count(_RUNNING) + len(deferred)

    def __len__(self) -> int:
        return len(self._states)

    @property
    def ready(self) -> list[int]:
        """The ready nodes, first the one that `take` gives next. O(ready)."""
        skips = dict(self._skips)
        found: list[int] = []
        for node in self._queue:
            if skips.get(node):
                skips[node] -= 1
            else:
                found.append(node)
        return found

    @property
    def is_over(self) -> bool:
        """Nothing is ready, running or deferred: no event but `retry` is left. O(1)."""
        return self._live == 0

    @property
    def is_complete(self) -> bool:
        """Every node succeeded."""
        return self._live == 0 and self._states.count(_SUCCESS) == len(self._states)

    def state(self, node: int) -> NodeState:
        """Return the state of a node.

        Raises:
            InvalidInput: There is no such node.
        """
        return NODE_STATES[self._states[self.graph.check_node(node)]]

    def codes(self) -> bytes:
        """Return every node's state as one byte: its place in `NODE_STATES`."""
        return bytes(self._states)

    def counts(self) -> dict[NodeState, int]:
        """Count the nodes in each state, every state named. O(n), at the speed of memory."""
        return {state: self._states.count(code) for code, state in enumerate(NODE_STATES)}

    def nodes_in(self, state: NodeState) -> list[int]:
        """List the nodes in a state, in rising order. O(n)."""
        code = NODE_STATES.index(state)
        return [node for node, found in enumerate(self._states) if found == code]

    def take(self, limit: int) -> list[int]:
        """Claim up to `limit` ready nodes, first in line first: they are running now.

        Raises:
            InvalidInput: `limit` is negative.
        """
        if limit < 0:
            raise InvalidInput("limit", expected="0 or more", found=limit)
        queue, states, skips = self._queue, self._states, self._skips
        taken: list[int] = []
        if not skips:
            if limit < len(queue):
                taken = [queue.popleft() for _ in range(limit)]
            else:
                taken = list(queue)
                queue.clear()
            for node in taken:
                states[node] = _RUNNING
            return taken
        while queue and len(taken) < limit:
            node = queue.popleft()
            if not self._stepped_over(node):
                states[node] = _RUNNING
                taken.append(node)
        return taken

    def peek(self) -> int | None:
        """Return the node that `take` would give next, or None if none is ready."""
        while self._queue:
            node = self._queue[0]
            if not self._skips or not self._stepped_over(node):
                return node
            self._queue.popleft()
        return None

    def claim(self, node: int) -> None:
        """Claim one ready node, wherever it stands in the queue: it is running now."""
        self._expect(node, _READY)
        self._states[node] = _RUNNING
        if self._queue[0] == node and node not in self._skips:
            self._queue.popleft()
            return
        self._skips[node] = self._skips.get(node, 0) + 1
        self._stale += 1
        if self._stale > _MAX_STALE and 2 * self._stale > len(self._queue):
            self._queue = deque(self.ready)
            self._skips.clear()
            self._stale = 0

    def _stepped_over(self, node: int) -> bool:
        left = self._skips.get(node, 0)
        if not left:
            return False
        self._stale -= 1
        if left > 1:
            self._skips[node] = left - 1
        else:
            del self._skips[node]
        return True

    def done(self, node: int) -> list[int]:
        """Record that a running node succeeded; return the nodes that became ready."""
        states = self._states
        try:
            # The one hot event: `_expect` without its calls.
            legal = node >= 0 and states[node] == _RUNNING
        except (IndexError, TypeError):
            legal = False
        if not legal:
            self._expect(node, _RUNNING)
        states[node] = _SUCCESS
        self._live -= 1
        starts, waiting = self._child_starts, self._waiting
        released: list[int] = []
        for child in self._child_nodes[starts[node] : starts[node + 1]]:
            left = waiting[child] - 1
            waiting[child] = left
            if not left:
                states[child] = _READY
                released.append(child)
        if released:
            self._queue += released
            self._live += len(released)
        return released

    def fail(self, node: int) -> list[int]:
        """Record that a running node failed for good; return the nodes newly blocked.

        Everything below it is blocked; the rest goes on.
        """
        self._expect(node, _RUNNING)
        self._states[node] = _FAILED
        self._live -= 1
        return self._block(node)

    def _block(self, node: int) -> list[int]:
        starts, blockers, states = self._child_starts, self._blockers, self._states
        blocked: list[int] = []
        stack = [node]
        while stack:
            above = stack.pop()
            for child in self._child_nodes[starts[above] : starts[above + 1]]:
                blockers[child] = blockers.get(child, 0) + 1
                if blockers[child] == 1:
                    states[child] = _BLOCKED
                    blocked.append(child)
                    stack.append(child)
        return blocked

    def retry(self, node: int) -> list[int]:
        """Make a failed node ready again; return the nodes that are no longer blocked.

        A descendant stays blocked while another failed node stands above it.
        """
        self._expect(node, _FAILED)
        self._states[node] = _READY
        self._queue.append(node)
        self._live += 1
        starts, blockers, states = self._child_starts, self._blockers, self._states
        freed: list[int] = []
        stack = [node]
        while stack:
            above = stack.pop()
            for child in self._child_nodes[starts[above] : starts[above + 1]]:
                blockers[child] -= 1
                if not blockers[child]:
                    del blockers[child]
                    states[child] = _PENDING
                    freed.append(child)
                    stack.append(child)
        return freed

    def defer(self, node: int) -> None:
        """Put a running node aside (a failed attempt backs off); it is pending until `requeue`."""
        self._expect(node, _RUNNING)
        self._states[node] = _PENDING

    def requeue(self, node: int) -> None:
        """Make a running or deferred node ready again, last in line: its attempt was lost."""
        code = self._states[self.graph.check_node(node)]
        if code != _RUNNING and not (code == _PENDING and self.is_deferred(node)):
            raise self._illegal(node, "running or deferred")
        self._states[node] = _READY
        self._queue.append(node)

    def is_deferred(self, node: int) -> bool:
        """Say whether a node was put aside by `defer`."""
        return self._states[self.graph.check_node(node)] == _PENDING and not self._waiting[node]

    def _expect(self, node: int, code: int) -> None:
        if self._states[self.graph.check_node(node)] != code:
            raise self._illegal(node, NODE_STATES[code])

    def _illegal(self, node: int, expected: str) -> Conflict:
        return Conflict(
            f"node {node} ({self.graph.ids[node]!r:.100})",
            expected=expected,
            actual=NODE_STATES[self._states[node]],
        )
