"""d-separation and the back-door criterion, on a graph of causes: parents are causes.

A trail between two nodes is open under a set of given nodes if each collider on it (two
arrows meet head to head) is given or has a descendant that is, and no other node on it is
given. Two nodes are d-separated if no trail between them is open. All walks here are over
pairs of a node and how it was entered, so each costs O(nodes + edges).

Source: Pearl, Causality, 2nd ed., definitions 1.2.3 (d-separation) and 3.3.1 (back-door);
Shachter 1998 (Bayes ball) for the walk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator

import attrs

from federlib.errors import InvalidInput
from federlib.graph.ingest import Graph
from federlib.graph.separators import minimal_separators

__all__ = [
    "Trail",
    "ancestors",
    "backdoor_sets",
    "descendants",
    "directed_path",
    "is_backdoor_set",
    "is_separated",
    "open_backdoor",
    "open_trail",
]

_MOST_SETS = 64
"""Minimal sets looked at before the smallest are chosen; a graph may have exponentially many."""


@attrs.frozen
class Trail:
    """A path along edges, whichever way they point.

    Attributes:
        nodes: Node numbers from one end to the other, each once.
        forward: For each step, whether its edge points along it; one fewer than nodes.
    """

    nodes: tuple[int, ...]
    forward: tuple[bool, ...]

    def text(self, graph: Graph) -> str:
        """Return it as people write it: ``alarm <- load -> latency``."""
        parts = [graph.ids[self.nodes[0]]]
        for node, is_forward in zip(self.nodes[1:], self.forward, strict=True):
            parts += ["->" if is_forward else "<-", graph.ids[node]]
        return " ".join(parts)


def ancestors(graph: Graph, nodes: Iterable[int]) -> frozenset[int]:
    """Return everything from which an arrow leads, over any number of steps, and `nodes`.

    Raises:
        InvalidInput: One is not the number of a node.
    """
    return _closure(graph, nodes, upwards=True)


def descendants(graph: Graph, nodes: Iterable[int]) -> frozenset[int]:
    """Return everything to which an arrow leads, over any number of steps, and `nodes`.

    Raises:
        InvalidInput: One is not the number of a node.
    """
    return _closure(graph, nodes, upwards=False)


def directed_path(graph: Graph, start: int, end: int) -> Trail | None:
    """Return a shortest path of arrows from `start` to `end`; None where there is none.

    Raises:
        InvalidInput: One is not the number of a node.
    """
    graph.check_node(start)
    graph.check_node(end)
    via: dict[int, int] = {start: start}
    waiting = deque([start])
    while waiting and end not in via:
        node = waiting.popleft()
        for child in graph.children_of(node):
            if child not in via:
                via[child] = node
                waiting.append(child)
    if end not in via:
        return None
    path = [end]
    while path[-1] != start:
        path.append(via[path[-1]])
    return Trail(tuple(reversed(path)), (True,) * (len(path) - 1))


def is_separated(
    graph: Graph, one: Collection[int], other: Collection[int], given: Collection[int]
) -> bool:
    """Say whether every trail between two sets of nodes is blocked by a third.

    Raises:
        InvalidInput: The sets share a node, one of the first two is empty, or one names
            what is not a node.
    """
    return open_trail(graph, one, other, given) is None


def open_trail(
    graph: Graph, one: Collection[int], other: Collection[int], given: Collection[int]
) -> Trail | None:
    """Return a shortest trail that `given` leaves open; None where the sets are separated.

    Raises:
        InvalidInput: As `is_separated`.
    """
    _check_disjoint(graph, one, other, given)
    return _open(graph, one, other, given, backdoor_only=False)


def open_backdoor(
    graph: Graph, treatment: int, outcome: int, given: Collection[int]
) -> Trail | None:
    """Return a shortest open trail that begins with an arrow *into* the treatment.

    Such a trail makes the two move together although neither does anything to the other.

    Raises:
        InvalidInput: The nodes overlap, or one is not a node.
    """
    _check_disjoint(graph, (treatment,), (outcome,), given)
    return _open(graph, (treatment,), (outcome,), given, backdoor_only=True)


def is_backdoor_set(graph: Graph, treatment: int, outcome: int, given: Collection[int]) -> bool:
    """Say whether adjusting for `given` identifies the effect, by the back-door criterion.

    Raises:
        InvalidInput: The nodes overlap, or one is not a node.
    Source: Pearl, Causality, definition 3.3.1.
    """
    trail = open_backdoor(graph, treatment, outcome, given)
    return trail is None and descendants(graph, (treatment,)).isdisjoint(given)


def backdoor_sets(
    graph: Graph,
    treatment: int,
    outcome: int,
    *,
    allowed: Collection[int] | None = None,
    limit: int = 8,
) -> tuple[tuple[int, ...], ...]:
    """List minimal sets that satisfy the back-door criterion: the smallest first.

    None of them can lose a node. `((),)` says that nothing needs to be adjusted for.

    Args:
        graph: Of causes.
        treatment: What is done.
        outcome: What it should change.
        allowed: What can be measured; by default everything.
        limit: How many at most. Beyond 64 minimal sets the smallest of those found.
    Returns:
        Each set in rising order; none at all where no allowed set will do.
    Raises:
        InvalidInput: The nodes overlap, or one is not a node.
    """
    _check_disjoint(graph, (treatment,), (outcome,), ())
    usable = set(range(len(graph)) if allowed is None else map(graph.check_node, allowed))
    usable -= descendants(graph, (treatment,)) | {outcome}
    # Without the arrows out of the treatment, what blocks all trails blocks the back doors;
    # and a minimal set lies among the ancestors of the two, where it is a plain separator
    # once parents of a common child are joined.
    kept = ancestors(graph, (treatment,)) | _ancestors_avoiding(graph, outcome, treatment)
    joined: dict[int, set[int]] = {node: set() for node in kept}
    for node in kept:
        parents = [parent for parent in graph.parents_of(node) if parent in kept]
        if node != treatment:
            parents = [parent for parent in parents if parent != treatment]
        family = [node, *parents]
        for member in family:
            joined[member].update(family)
    for node, near in joined.items():
        near.discard(node)
    for node in kept - usable - {treatment, outcome}:
        _pass_by(joined, node)
    found = minimal_separators(joined, treatment, outcome, most=_MOST_SETS)
    return tuple(sorted(found, key=lambda each: (len(each), each))[:limit])


def _pass_by(joined: dict[int, set[int]], node: int) -> None:
    """Take out a node that no set may contain: its neighbours see each other through it."""
    near = joined.pop(node)
    for member in near:
        joined[member] |= near
        joined[member] -= {member, node}


def _ancestors_avoiding(graph: Graph, node: int, avoided: int) -> frozenset[int]:
    """Return the ancestors of a node in the graph without the arrows out of `avoided`."""
    found = {node}
    waiting = [node]
    while waiting:
        for parent in graph.parents_of(waiting.pop()):
            if parent != avoided and parent not in found:
                found.add(parent)
                waiting.append(parent)
    return frozenset(found)


def _closure(graph: Graph, nodes: Iterable[int], *, upwards: bool) -> frozenset[int]:
    found = {graph.check_node(node) for node in nodes}
    waiting = list(found)
    step = graph.parents_of if upwards else graph.children_of
    while waiting:
        for near in step(waiting.pop()):
            if near not in found:
                found.add(near)
                waiting.append(near)
    return frozenset(found)


def _check_disjoint(
    graph: Graph, one: Collection[int], other: Collection[int], given: Collection[int]
) -> None:
    for field, nodes in (("one", one), ("other", other), ("given", given)):
        for node in nodes:
            graph.check_node(node)
        if not nodes and field != "given":
            raise InvalidInput(field, expected="at least one node", found=nodes)
    sets = (set(one), set(other), set(given))
    shared = (sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2])
    if shared:
        names = sorted(graph.ids[node] for node in shared)
        raise InvalidInput("nodes", expected="three sets that share none", found=names)


State = tuple[int, bool]
"""A node, and whether it was entered along its edge, that is from a parent."""


def _open(
    graph: Graph,
    one: Collection[int],
    other: Collection[int],
    given: Collection[int],
    *,
    backdoor_only: bool,
) -> Trail | None:
    # A shortest open walk never meets a node twice: where it did, it could be cut short
    # there and would still be open. So what comes back is a path.
    blocked, opening, goal = set(given), ancestors(graph, given), set(other)
    via: dict[State, State | None] = {}
    waiting: deque[State] = deque()
    barred = set(one) if backdoor_only else set()
    for node in sorted(set(one)):
        # As if entered from a child: then both directions are open, if it is not given.
        via[node, False] = None
        waiting.append((node, False))
    while waiting:
        state = waiting.popleft()
        if state[0] in goal:
            return _trail(state, via)
        for following in _steps(graph, state, blocked, opening):
            is_first = via[state] is None
            leaves_forward = backdoor_only and is_first and following[1]
            if following not in via and following[0] not in barred and not leaves_forward:
                via[following] = state
                waiting.append(following)
    return None


def _steps(
    graph: Graph, state: State, blocked: Collection[int], opening: Collection[int]
) -> Iterator[State]:
    node, from_parent = state
    if node not in blocked:
        yield from ((child, True) for child in graph.children_of(node))
    if node in opening if from_parent else node not in blocked:
        yield from ((parent, False) for parent in graph.parents_of(node))


def _trail(last: State, via: dict[State, State | None]) -> Trail:
    states = [last]
    while (before := via[states[-1]]) is not None:
        states.append(before)
    states.reverse()
    return Trail(tuple(node for node, _ in states), tuple(down for _, down in states[1:]))
