"""Directed acyclic graphs: checked once, then walked by integers.

    graph = Graph.build({"a": [], "b": ["a"], "c": ["a"]})
    frontier = Frontier(graph)
    for node in frontier.take(1):               # [0], which is graph.ids[0] == "a"
        frontier.done(node)                     # [1, 2]: b and c are ready now

Everything here is pure: no clock, no files, no randomness. Each event costs O(own edges).

Does not promise: an order of ready nodes that looks at run times, or thread safety: a
`Frontier` belongs to one task. A `Graph` never changes after `build`, so it may be shared.
Hazards: node numbers are positions in the input. The same plan in another order has other
numbers; what is stored with numbers must be read back with the order it was written in.
"""

from __future__ import annotations

from federlib.graph.frontier import NODE_STATES, Frontier, NodeState
from federlib.graph.ingest import Graph
from federlib.graph.problems import (
    MAX_ID_BYTES,
    MAX_PROBLEMS,
    Problems,
    find_problems,
    is_legal_id,
)

__all__ = [
    "MAX_ID_BYTES",
    "MAX_PROBLEMS",
    "NODE_STATES",
    "Frontier",
    "Graph",
    "NodeState",
    "Problems",
    "find_problems",
    "is_legal_id",
]
