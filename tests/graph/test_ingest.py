from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.graph import (
    MAX_ID_BYTES,
    MAX_PROBLEMS,
    Graph,
    Problems,
    find_problems,
    is_legal_id,
)

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def problems_of(build: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        build()
    return caught.value.problems


def problems(parents: Any, *, report_repeats: bool = False) -> tuple[str, ...]:
    return problems_of(lambda: Graph.build(parents, report_repeats=report_repeats))


@st.composite
def any_parents(draw: st.DrawFn) -> dict[str, list[str]]:
    """Draw a graph that may have cycles and self loops, but no missing parent."""
    n = draw(st.integers(0, 12))
    names = [f"n{i}" for i in range(n)]
    one = st.lists(st.sampled_from(names), max_size=4) if names else st.just([])
    return {name: draw(one) for name in draw(st.permutations(names))}


def is_acyclic(parents: Mapping[str, Iterable[str]]) -> bool:
    """Peel off nodes without parents until none is left; the slow and plain way."""
    left = {node: set(row) for node, row in parents.items()}
    while free := [node for node, row in left.items() if not row]:
        left = {node: row.difference(free) for node, row in left.items() if row}
    return not left


def test_nodes_are_numbered_in_the_order_of_the_input() -> None:
    graph = Graph.build({"late": ["early"], "early": []})
    assert graph.ids == ("late", "early")
    assert [graph.index(node_id) for node_id in graph.ids] == [0, 1]
    assert list(graph.order) == [1, 0]
    assert (len(graph), graph.edges) == (2, 1)


def test_parents_and_children_are_known_both_ways() -> None:
    graph = Graph.build(DIAMOND)
    assert [graph.parents_of(node) for node in range(4)] == [(), (0,), (0,), (1, 2)]
    assert [graph.children_of(node) for node in range(4)] == [(1, 2), (3,), (3,), ()]


def test_a_graph_without_nodes_is_legal() -> None:
    graph = Graph.build({})
    assert (len(graph), graph.edges, graph.depth) == (0, 0, 0)
    assert graph.critical_path([]) == (0.0, ())
    assert list(graph.order) == []


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: Graph.build({"a": (), "b": ("a",)}), id="mapping of tuples"),
        pytest.param(lambda: Graph.build({"a": iter(()), "b": iter("a")}), id="one-shot iterators"),
        pytest.param(lambda: Graph.build([("a", []), ("b", ["a"])]), id="pairs"),
        pytest.param(lambda: Graph.build(iter([("a", []), ("b", {"a"})])), id="iterator of pairs"),
    ],
)
def test_any_iterable_shape_will_do(build: Callable[[], Graph]) -> None:
    graph = build()
    assert (graph.ids, graph.parents_of(1)) == (("a", "b"), (0,))


def test_a_set_of_parents_comes_in_the_same_order_in_every_process() -> None:
    names = [f"parent-{i}" for i in range(20)]
    graph = Graph.build([*((name, []) for name in reversed(names)), ("child", set(names))])
    assert [graph.ids[p] for p in graph.parents_of(20)] == sorted(names)


def test_a_repeated_parent_counts_once() -> None:
    graph = Graph.build({"a": [], "b": ["a", "a"], "c": ["b", "a", "b"]})
    assert (graph.parents_of(1), graph.parents_of(2), graph.edges) == ((0,), (1, 0), 3)


def test_a_repeated_parent_is_a_problem_where_the_caller_asks() -> None:
    found = problems({"a": [], "b": ["a", "a"]}, report_repeats=True)
    assert found == ("'b': names its parent 'a' twice",)


def test_neighbouring_parents_with_one_child_are_not_taken_for_a_repeat() -> None:
    graph = Graph.build({"a": [], "b": [], "c": ["a", "b"]}, report_repeats=True)
    assert graph.parents_of(2) == (0, 1)


def test_every_problem_is_reported_at_once() -> None:
    pairs: list[tuple[Any, Any]] = [
        ("", []),
        ("twin", []),
        ("twin", []),
        ("self", ["self"]),
        ("lost", ["nobody"]),
        ("text", "twin"),
        ("none", None),
        ("odd", [3]),
        (7, []),
        ("x", ["z"]),
        ("y", ["x"]),
        ("z", ["y"]),
    ]
    assert problems(pairs) == (
        "node 1: the id '' is empty",
        "node 9: the id 7 is not text",
        "'twin': the id is used 2 times",
        "'self': names itself as a parent",
        "'lost': its parent 'nobody' does not exist",
        "'text': its parents are 'twin', not a list of ids",
        "'none': its parents are None, not a list of ids",
        "'odd': a parent is 3, not the id of a node",
        "cycle: x -> y -> z -> x",
    )


def test_at_most_fifty_problems_are_spelled_out() -> None:
    found = problems({f"n{i}": ["nobody"] for i in range(120)})
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "… and 70 more"


def test_the_error_survives_copying() -> None:
    with pytest.raises(InvalidInput) as caught:
        Graph.build({"a": ["b"]})
    assert str(copy.copy(caught.value)) == str(caught.value)
    assert "'a': its parent 'b' does not exist" in str(caught.value)


@pytest.mark.parametrize(
    ("node_id", "why"),
    [
        pytest.param("a\x00b", "control character", id="NUL"),
        pytest.param("a\nb", "control character", id="line break"),
        pytest.param("a\x7f", "control character", id="delete"),
        pytest.param("é\x85", "control character", id="next line"),
        pytest.param("é\u2028", "control character", id="line separator"),
        pytest.param("\ud800", "UTF-8", id="lone surrogate"),
        pytest.param("e\u0301", "NFC", id="decomposed"),
        pytest.param("x" * (MAX_ID_BYTES + 1), "longer than 512", id="513 letters"),
        pytest.param("é" * 257, "longer than 512", id="514 bytes"),
        pytest.param("x" * 10_000_000, "longer than 512", id="10 MB"),
        pytest.param(b"a", "not text", id="bytes"),
        pytest.param(None, "not text", id="none"),
        pytest.param(["a"], "not text", id="unhashable"),
    ],
)
def test_hostile_ids_are_refused(node_id: Any, why: str) -> None:
    assert not is_legal_id(node_id)
    (line,) = problems([("good", []), (node_id, [])])
    assert why in line
    assert len(line) < 200


@pytest.mark.parametrize("node_id", ["x" * 512, "é" * 256, "任务/1", "..", "a b", "~", "🙂"])
def test_odd_but_legal_ids_are_kept(node_id: str) -> None:
    assert Graph.build({node_id: [], "next": [node_id]}).ids[0] == node_id


@pytest.mark.parametrize("parents", [5, None, "abc", [1, 2], [("a",)], [("a", [], 1)]])
def test_what_is_no_graph_at_all_is_refused(parents: Any) -> None:
    with pytest.raises(InvalidInput):
        Graph.build(parents)


def test_each_tangle_of_cycles_is_shown_once_by_a_short_cycle() -> None:
    found = problems(
        {
            "a": ["c", "b"],
            "b": ["a"],
            "c": ["b"],
            "p": ["q", "a"],
            "q": ["p"],
            "free": [],
            "below": ["p", "free"],
        }
    )
    assert found == ("cycle: a -> b -> a", "cycle: p -> q -> p")


def test_a_cycle_of_a_hundred_thousand_is_shown_shortened() -> None:
    n = 100_000
    (line,) = problems({f"n{i}": [f"n{(i - 1) % n}"] for i in range(n)})
    assert line.startswith("cycle: n0 -> n1 -> n2")
    assert line.endswith("-> n99999 -> n0")
    assert "more" in line
    assert len(line) < 200


def test_ids_with_spaces_and_arrows_are_quoted_in_a_cycle() -> None:
    (line,) = problems({"a -> b": ["c"], "c": ["a -> b"]})
    assert line == "cycle: 'a -> b' -> c -> 'a -> b'"


@given(any_parents())
def test_a_graph_is_accepted_exactly_when_it_has_no_cycle(parents: dict[str, list[str]]) -> None:
    if is_acyclic(parents):
        graph = Graph.build(parents)
        place = {node: at for at, node in enumerate(graph.order)}
        assert sorted(place) == list(range(len(parents)))
        for node in range(len(graph)):
            assert all(place[p] < place[node] for p in graph.parents_of(node))
            named = dict.fromkeys(parents[graph.ids[node]])
            assert [graph.ids[p] for p in graph.parents_of(node)] == list(named)
            assert all(node in graph.parents_of(child) for child in graph.children_of(node))
            assert list(graph.children_of(node)) == sorted(set(graph.children_of(node)))
    else:
        for line in problems(parents):
            if line.startswith("cycle: "):
                path = line.removeprefix("cycle: ").split(" -> ")
                assert path[0] == path[-1]
                assert len(set(path)) == len(path) - 1 > 1
                assert all(a in parents[b] for a, b in pairwise(path))
            else:
                assert line.endswith("names itself as a parent")


@given(
    st.dictionaries(st.text(max_size=3), st.lists(st.one_of(st.text(max_size=3), st.none()))),
    st.booleans(),
)
def test_any_mapping_is_accepted_or_explained(parents: dict[str, Any], repeats: bool) -> None:
    try:
        graph = Graph.build(parents, report_repeats=repeats)
    except InvalidInput as error:
        found = error.problems
    else:
        found = graph.ids
        assert found == tuple(parents)
        return
    assert found
    assert all("\n" not in line for line in found)


@st.composite
def often_faulty(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    """Draw a graph in which any of the faults may be, or none, or several."""
    n = draw(st.integers(0, 8))
    names = [f"n{i}" for i in range(n)]
    pairs = [(name, draw(st.lists(st.sampled_from(names[:i]), max_size=4)) if i else [])
             for i, name in enumerate(names)]  # fmt: skip
    if n and draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2])) if n else 0):
        node_id, row = draw(st.sampled_from(pairs))
        fault = draw(st.sampled_from(["parent", "lost", "twin", "id"]))
        if fault == "parent":
            row.append(draw(st.sampled_from(names)))  # a cycle, a repeat, or quite in order
        elif fault == "lost":
            row.append("nobody")
        else:
            pairs.append((node_id if fault == "twin" else "bad\n", list(row)))
    return pairs


@given(often_faulty(), st.booleans())
def test_the_fast_path_accepts_exactly_what_the_slow_one_finds_no_fault_with(
    pairs: list[tuple[str, list[str]]], repeats: bool
) -> None:
    slow = Problems()
    ids, rows = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    find_problems(ids, rows, slow, report_repeats=repeats)
    if slow:
        assert problems(pairs, report_repeats=repeats) == slow.lines
    else:
        graph = Graph.build(pairs, report_repeats=repeats)
        assert graph.ids == tuple(ids)
        named = [tuple(graph.ids[p] for p in graph.parents_of(n)) for n in range(len(graph))]
        assert named == [tuple(dict.fromkeys(row)) for row in rows]
        assert graph.edges == sum(map(len, named))
        assert graph.parent_counts() == list(map(len, named))
        edges = {(p, n) for n in range(len(graph)) for p in graph.parents_of(n)}
        assert edges == {(n, c) for n in range(len(graph)) for c in graph.children_of(n)}
        place = {node: at for at, node in enumerate(graph.order)}
        assert len(place) == len(graph)
        assert all(place[parent] < place[node] for parent, node in edges)


@given(any_parents().filter(is_acyclic), st.data())
def test_the_critical_path_is_the_longest_of_all_paths(
    parents: dict[str, list[str]], data: st.DataObject
) -> None:
    graph = Graph.build(parents)
    weights = [float(data.draw(st.integers(0, 9))) for _ in parents]

    def longest(node: int) -> float:
        return weights[node] + max(map(longest, graph.parents_of(node)), default=0.0)

    length, path = graph.critical_path(weights)
    assert length == max(map(longest, range(len(graph))), default=0.0)
    assert sum(weights[node] for node in path) == length
    assert all(a in graph.parents_of(b) for a, b in pairwise(path))
    if path:
        assert not graph.parents_of(path[0])
        assert not graph.children_of(path[-1])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_a_weight_that_cannot_be_is_refused(weights: list[float]) -> None:
    with pytest.raises(InvalidInput, match="weights"):
        Graph.build({"a": [], "b": ["a"]}).critical_path(weights)


def test_levels_count_from_the_roots() -> None:
    graph = Graph.build({"d": ["c", "a"], "c": ["b"], "b": ["a"], "a": [], "alone": []})
    assert graph.levels() == [3, 2, 1, 0, 0]
    assert graph.depth == 4


@pytest.mark.parametrize("node", [-1, 4, 10**30, "a", None])
def test_a_number_that_names_no_node_is_refused(node: Any) -> None:
    graph = Graph.build(DIAMOND)
    with pytest.raises(InvalidInput):
        graph.parents_of(node)


@pytest.mark.parametrize("node_id", ["e", "", 0, ["a"]])
def test_an_unknown_id_is_refused(node_id: Any) -> None:
    with pytest.raises(InvalidInput):
        Graph.build(DIAMOND).index(node_id)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_a_hundred_thousand_does_not_recurse(backwards: bool) -> None:
    n = 100_000
    pairs = [(f"n{i}", [f"n{i - 1}"] if i else []) for i in range(n)]
    graph = Graph.build(reversed(pairs) if backwards else pairs)
    assert graph.depth == n
    assert graph.critical_path([1.0] * n)[0] == n


def test_a_hub_and_a_wide_join_have_the_right_edges() -> None:
    fan = [f"n{i}" for i in range(20_000)]
    graph = Graph.build({"end": fan, **{name: ["hub"] for name in fan}, "hub": []})
    assert graph.edges == 40_000
    assert len(graph.children_of(graph.index("hub"))) == len(graph.parents_of(0)) == 20_000


def test_ids_survive_json() -> None:
    graph = Graph.build({"é": [], "b": ["é"]})
    assert json.loads(json.dumps(graph.ids)) == list(graph.ids)
