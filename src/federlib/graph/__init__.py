"""Directed acyclic graphs: checked once, then walked by integers.

    graph = Graph.build({"a": [], "b": ["a"], "c": ["a"]})
    frontier = Frontier(graph)
    for node in frontier.take(1):               # [0], which is graph.ids[0] == "a"
        frontier.done(node)                     # [1, 2]: b and c are ready now

A graph of causes (a node's parents are what acts on it) can be asked what it implies:

    graph = Graph.build({"load": [], "alarm": ["load"], "latency": ["load"]})
    open_backdoor(graph, 1, 2, ()).text(graph)  # "alarm <- load -> latency"
    backdoor_sets(graph, 1, 2)                  # ((0,),): adjust for the load

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
from federlib.graph.separation import (
    Trail,
    ancestors,
    backdoor_sets,
    descendants,
    directed_path,
    is_backdoor_set,
    is_separated,
    open_backdoor,
    open_trail,
)

__all__ = [
    "MAX_ID_BYTES",
    "MAX_PROBLEMS",
    "NODE_STATES",
    "Frontier",
    "Graph",
    "NodeState",
    "Problems",
    "Trail",
    "ancestors",
    "backdoor_sets",
    "descendants",
    "directed_path",
    "find_problems",
    "is_backdoor_set",
    "is_legal_id",
    "is_separated",
    "open_backdoor",
    "open_trail",
]
