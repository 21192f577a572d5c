"""d-separation and back doors, against networkx and against search by brute force."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain, combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.graph import (
    Graph,
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

QUICK = settings(max_examples=150, deadline=None)


@st.composite
def dags(draw: st.DrawFn, *, most: int = 7) -> Graph:
    count = draw(st.integers(2, most))
    rank = draw(st.permutations(range(count)))
    return Graph.build(
        {
            f"n{node}": [
                f"n{other}"
                for other in range(count)
                if rank[other] < rank[node] and draw(st.booleans())
            ]
            for node in range(count)
        }
    )


@st.composite
def three_sets(draw: st.DrawFn) -> tuple[Graph, set[int], set[int], set[int]]:
    graph = draw(dags())
    places = draw(st.lists(st.integers(0, 3), min_size=len(graph), max_size=len(graph)))
    one, other, given_ = ({n for n, p in enumerate(places) if p == k} for k in range(3))
    if not one or not other:
        one, other, given_ = {0}, {1}, given_ - {0, 1}
    return graph, one, other, given_


def foreign(graph: Graph) -> nx.DiGraph[int]:
    made: nx.DiGraph[int] = nx.DiGraph()
    made.add_nodes_from(range(len(graph)))
    made.add_edges_from((p, n) for n in range(len(graph)) for p in graph.parents_of(n))
    return made


def subsets(nodes: Collection[int]) -> Iterable[tuple[int, ...]]:
    return chain.from_iterable(combinations(sorted(nodes), k) for k in range(len(nodes) + 1))


def is_open(graph: Graph, trail: Trail, given_: Collection[int]) -> bool:
    """Judge one trail by the definition alone."""
    above = ancestors(graph, given_)
    for k in range(1, len(trail.nodes) - 1):
        node, is_collider = trail.nodes[k], trail.forward[k - 1] and not trail.forward[k]
        if (node not in above) if is_collider else (node in given_):
            return False
    return True


def is_path(graph: Graph, trail: Trail) -> bool:
    steps = zip(trail.nodes, trail.nodes[1:], trail.forward, strict=False)
    real = all(
        a in graph.parents_of(b) if ahead else b in graph.parents_of(a) for a, b, ahead in steps
    )
    return real and len(set(trail.nodes)) == len(trail.nodes)


@QUICK
@given(three_sets())
def test_separation_agrees_with_networkx(case: tuple[Graph, set[int], set[int], set[int]]) -> None:
    graph, one, other, given_ = case
    expected = nx.is_d_separator(foreign(graph), one, other, given_)
    assert is_separated(graph, one, other, given_) == expected


@QUICK
@given(three_sets())
def test_the_open_trail_is_a_path_and_open(
    case: tuple[Graph, set[int], set[int], set[int]],
) -> None:
    graph, one, other, given_ = case
    trail = open_trail(graph, one, other, given_)
    if trail is not None:
        assert trail.nodes[0] in one
        assert trail.nodes[-1] in other
        assert is_path(graph, trail)
        assert is_open(graph, trail, given_)


def cut(graph: Graph, treatment: int) -> nx.DiGraph[int]:
    """Take out the arrows that leave the treatment."""
    made = foreign(graph)
    made.remove_edges_from(list(made.out_edges(treatment)))
    return made


@QUICK
@given(three_sets())
def test_the_back_door_criterion_is_separation_without_the_arrows_out_of_the_treatment(
    case: tuple[Graph, set[int], set[int], set[int]],
) -> None:
    graph, _, _, given_ = case
    given_ -= {0, 1}
    below = nx.descendants(foreign(graph), 0)
    expected = below.isdisjoint(given_) and nx.is_d_separator(cut(graph, 0), {0}, {1}, given_)
    assert is_backdoor_set(graph, 0, 1, given_) == expected
    trail = open_backdoor(graph, 0, 1, given_)
    if trail is not None:
        assert is_path(graph, trail)
        assert is_open(graph, trail, given_)
        assert not trail.forward[0]


@settings(max_examples=100, deadline=None)
@given(dags(), st.sets(st.integers(0, 6)))
def test_the_listed_sets_are_all_the_minimal_ones(graph: Graph, allowed: set[int]) -> None:
    usable = {node for node in allowed if node < len(graph)}
    valid = [set(each) for each in subsets(usable - {0, 1}) if is_backdoor_set(graph, 0, 1, each)]
    minimal = [each for each in valid if not any(smaller < each for smaller in valid)]
    listed = backdoor_sets(graph, 0, 1, allowed=usable, limit=1_000)
    assert sorted(map(sorted, minimal)) == sorted(map(list, listed))
    assert [len(each) for each in listed] == sorted(len(each) for each in listed)


@QUICK
@given(dags())
def test_the_walks_up_and_down_agree_with_networkx(graph: Graph) -> None:
    other = foreign(graph)
    assert ancestors(graph, (0,)) == nx.ancestors(other, 0) | {0}
    assert descendants(graph, (0,)) == nx.descendants(other, 0) | {0}
    path = directed_path(graph, 0, 1)
    assert (path is not None) == nx.has_path(other, 0, 1)
    if path is not None:
        assert is_path(graph, path)
        assert all(path.forward)
        assert len(path.nodes) - 1 == nx.shortest_path_length(other, 0, 1)


def named(**parents: list[str]) -> Graph:
    return Graph.build(parents)


CONFOUNDED = named(load=[], alarm=["load"], restart=["alarm"], latency=["load", "restart"])


def test_a_common_cause_shows_as_an_open_back_door() -> None:
    restart, latency = CONFOUNDED.index("restart"), CONFOUNDED.index("latency")
    trail = open_backdoor(CONFOUNDED, restart, latency, ())
    assert trail is not None
    assert trail.text(CONFOUNDED) == "restart <- alarm <- load -> latency"
    found = backdoor_sets(CONFOUNDED, restart, latency)
    assert [[CONFOUNDED.ids[n] for n in each] for each in found] == [["load"], ["alarm"]]


def test_what_cannot_be_measured_is_in_no_set() -> None:
    index = CONFOUNDED.index
    only_load = backdoor_sets(
        CONFOUNDED, index("restart"), index("latency"), allowed=[index("load")]
    )
    assert only_load == ((index("load"),),)
    assert backdoor_sets(CONFOUNDED, index("restart"), index("latency"), allowed=[]) == ()


def test_conditioning_on_a_common_effect_opens_the_trail() -> None:
    # The example of M-bias: nothing needs to be adjusted for, and adjusting for `m` harms.
    graph = named(a=[], b=[], m=["a", "b"], x=["a"], y=["b", "x"])
    x, y, m = graph.index("x"), graph.index("y"), graph.index("m")
    assert backdoor_sets(graph, x, y) == ((),)
    assert not is_backdoor_set(graph, x, y, (m,))
    trail = open_backdoor(graph, x, y, (m,))
    assert trail is not None
    assert trail.text(graph) == "x <- a -> m <- b -> y"


def test_a_direct_cause_of_the_treatment_that_is_the_outcome_cannot_be_adjusted_away() -> None:
    graph = named(y=[], x=["y"])
    assert backdoor_sets(graph, 1, 0) == ()
    assert directed_path(graph, 1, 0) is None


def test_many_minimal_sets_are_bounded() -> None:
    # Two to the thirty of them: a node of each pair.
    parents: dict[str, list[str]] = {"u": []}
    for k in range(30):
        parents |= {f"a{k}": ["u"], f"b{k}": [f"a{k}"]}
    parents |= {"x": ["u"], "y": ["x", *(f"b{k}" for k in range(30))]}
    graph = Graph.build(parents)
    found = backdoor_sets(graph, graph.index("x"), graph.index("y"))
    assert len(found) == 8
    assert found[0] == (graph.index("u"),)


def test_a_long_chain_needs_no_recursion() -> None:
    graph = Graph.build({f"{k}": [f"{k - 1}"] if k else [] for k in range(20_000)})
    assert open_trail(graph, (0,), (19_999,), ()) is not None
    assert is_separated(graph, (0,), (19_999,), (10_000,))


@pytest.mark.parametrize(
    ("one", "other", "given_"),
    [((0,), (0,), ()), ((0,), (1,), (1,)), ((), (1,), ()), ((9,), (1,), ()), ((0,), (1,), (-1,))],
)
def test_sets_that_overlap_or_name_no_node_are_refused(
    one: tuple[int, ...], other: tuple[int, ...], given_: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInput):
        is_separated(CONFOUNDED, one, other, given_)
