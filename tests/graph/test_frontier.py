from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from federlib.errors import Conflict, InvalidInput
from federlib.graph import NODE_STATES, Frontier, Graph, NodeState
from graph.naive_frontier import NaiveFrontier

DIAMOND = Graph.build({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})


@st.composite
def acyclic(draw: st.DrawFn, most: int = 9) -> Graph:
    """Draw a graph; the order of its nodes need not be topological."""
    n = draw(st.integers(0, most))
    rank = draw(st.permutations(range(n)))
    above = [[other for other in range(n) if rank[other] < rank[node]] for node in range(n)]
    return Graph.build(
        (f"n{node}", [f"n{p}" for p in draw(st.lists(st.sampled_from(row), max_size=4))])
        if (row := above[node])
        else (f"n{node}", [])
        for node in range(n)
    )


def twin_of(graph: Graph) -> NaiveFrontier:
    return NaiveFrontier({node: graph.parents_of(node) for node in range(len(graph))})


def test_the_states_are_those_of_the_plan() -> None:
    assert get_args(NodeState) == NODE_STATES
    assert NODE_STATES == ("pending", "ready", "running", "success", "failed", "blocked")


def test_children_become_ready_when_their_last_parent_is_done() -> None:
    frontier = Frontier(DIAMOND)
    assert frontier.take(9) == [0]
    assert frontier.done(0) == [1, 2]
    assert frontier.take(2) == [1, 2]
    assert frontier.done(2) == []
    assert frontier.done(1) == [3]
    assert frontier.ready == [3]


def test_ready_nodes_are_taken_first_in_first_out() -> None:
    frontier = Frontier(Graph.build({"x": [], "y": [], "x2": ["x"], "y2": ["y"], "y1": ["y"]}))
    assert frontier.take(2) == [0, 1]
    frontier.done(1)
    frontier.done(0)
    assert frontier.ready == [3, 4, 2]
    assert [frontier.take(1), frontier.take(1), frontier.take(1)] == [[3], [4], [2]]


def test_what_one_event_releases_is_queued_in_rising_order() -> None:
    graph = Graph.build(
        {"x": [], "y": [], "x2": ["x"], "y2": ["y"], "y1": ["y"], "both": ["x", "y"]}
    )
    frontier = Frontier(graph)
    frontier.take(2)
    assert frontier.done_many([1, 0]) == [2, 3, 4, 5]
    assert frontier.ready == [2, 3, 4, 5]
    assert frontier.done_many([]) == []


def test_nodes_that_are_done_may_come_from_any_iterable() -> None:
    frontier = Frontier(DIAMOND)
    frontier.take(1)
    assert frontier.done_many({0}) == [1, 2]
    assert frontier.done_many(iter(frontier.take(2))) == [3]


@pytest.mark.parametrize(
    ("nodes", "error"),
    [
        pytest.param([0, 1, 1], Conflict, id="named twice"),
        pytest.param([1, 2, 3, 4], Conflict, id="ready"),
        pytest.param([0, 5], Conflict, id="pending"),
        pytest.param([0, 1, -3], InvalidInput, id="negative, and running if counted from the end"),
        pytest.param([-6, 1], InvalidInput, id="negative and first"),
        pytest.param([-7, 1], InvalidInput, id="below every position"),
        pytest.param([0, 1, 6], InvalidInput, id="too large"),
        pytest.param([0, 10**30], InvalidInput, id="far too large"),
        pytest.param([0, None], InvalidInput, id="none"),
        pytest.param(["0", 1], InvalidInput, id="text"),
    ],
)
def test_of_several_nodes_all_are_done_or_none(nodes: list[Any], error: type[Exception]) -> None:
    graph = Graph.build({"a": [], "b": [], "c": [], "d": [], "e": [], "f": ["a", "b"]})
    frontier = Frontier(graph)
    frontier.take(4)
    frontier.requeue(2)
    before = (frontier.codes(), frontier.ready, frontier.is_over)
    with pytest.raises(error):
        frontier.done_many(nodes)
    assert (frontier.codes(), frontier.ready, frontier.is_over) == before
    assert frontier.done_many([1, 3, 0]) == [5]


def test_a_failure_blocks_what_is_below_and_the_rest_goes_on() -> None:
    frontier = Frontier(Graph.build({"a": [], "b": ["a"], "c": ["b"], "x": [], "y": ["x", "c"]}))
    frontier.take(2)
    assert sorted(frontier.fail(0)) == [1, 2, 4]
    assert frontier.done(3) == []
    assert frontier.is_over
    assert not frontier.is_complete
    assert frontier.counts() == {
        "pending": 0, "ready": 0, "running": 0, "success": 1, "failed": 1, "blocked": 3,
    }  # fmt: skip


def test_a_retry_frees_only_what_no_other_failure_blocks() -> None:
    frontier = Frontier(Graph.build({"a": [], "b": [], "c": ["a"], "d": ["a", "b"], "e": ["d"]}))
    frontier.take(2)
    frontier.fail(0)
    assert frontier.fail(1) == []
    assert frontier.retry(0) == [2]
    assert [frontier.state(node) for node in (3, 4)] == ["blocked", "blocked"]
    assert sorted(frontier.retry(1)) == [3, 4]
    assert frontier.ready == [0, 1]


def test_a_deferred_node_waits_for_requeue() -> None:
    frontier = Frontier(DIAMOND)
    frontier.take(1)
    frontier.defer(0)
    assert (frontier.state(0), frontier.ready, frontier.is_over) == ("pending", [], False)
    assert frontier.is_deferred(0)
    frontier.requeue(0)
    assert frontier.take(1) == [0]


def test_a_lost_claim_goes_back_to_the_end_of_the_line() -> None:
    frontier = Frontier(Graph.build({"a": [], "b": [], "c": []}))
    frontier.take(1)
    frontier.requeue(0)
    assert frontier.ready == [1, 2, 0]


def test_any_ready_node_can_be_claimed_and_the_others_keep_their_order() -> None:
    frontier = Frontier(Graph.build({"a": [], "b": [], "c": [], "d": []}))
    frontier.claim(2)
    frontier.claim(0)
    assert frontier.ready == [1, 3]
    frontier.requeue(2)
    assert frontier.take(9) == [1, 3, 2]


def test_peeking_steps_over_what_was_claimed_again_and_again() -> None:
    frontier = Frontier(Graph.build({"first": [], "other": [], "last": []}))
    for _ in range(3):
        frontier.claim(1)
        frontier.requeue(1)
    assert [frontier.peek(), *frontier.take(1)] == [0, 0]
    assert [frontier.peek(), *frontier.take(1)] == [2, 2]
    assert [frontier.peek(), *frontier.take(1)] == [1, 1]
    assert frontier.peek() is None


def test_places_left_behind_by_claims_do_not_pile_up() -> None:
    frontier = Frontier(Graph.build({"first": [], "other": []}))
    for _ in range(10_000):
        frontier.claim(1)
        frontier.requeue(1)
    assert len(frontier._line.places) < 200
    assert frontier.ready == [0, 1]


def test_a_frontier_without_nodes_is_over_and_complete() -> None:
    frontier = Frontier(Graph.build({}))
    assert (frontier.is_over, frontier.is_complete, frontier.take(5)) == (True, True, [])


ILLEGAL: list[tuple[str, Callable[[Frontier], object]]] = [
    ("done of a pending node", lambda f: f.done(3)),
    ("done of a ready node", lambda f: f.done(1)),
    ("done twice", lambda f: f.done(0)),
    ("fail of a ready node", lambda f: f.fail(1)),
    ("fail after success", lambda f: f.fail(0)),
    ("retry of what has not failed", lambda f: f.retry(0)),
    ("claim of a running node", lambda f: f.claim(2)),
    ("claim of a pending node", lambda f: f.claim(3)),
    ("defer of a ready node", lambda f: f.defer(1)),
    ("requeue of a ready node", lambda f: f.requeue(1)),
    ("requeue of a node with open parents", lambda f: f.requeue(3)),
]


@pytest.mark.parametrize("event", [row[1] for row in ILLEGAL], ids=[row[0] for row in ILLEGAL])
def test_an_illegal_event_changes_nothing(event: Callable[[Frontier], object]) -> None:
    frontier = Frontier(DIAMOND)
    frontier.take(1)
    frontier.done(0)
    frontier.claim(2)
    before = (frontier.codes(), frontier.ready, frontier.is_over)
    with pytest.raises(Conflict, match=r"node [0-3]"):
        event(frontier)
    assert (frontier.codes(), frontier.ready, frontier.is_over) == before


@pytest.mark.parametrize("node", [-1, 4, 10**30, None, "a"])
@pytest.mark.parametrize("verb", ["done", "fail", "retry", "claim", "defer", "requeue", "state"])
def test_a_number_that_names_no_node_is_refused(verb: str, node: Any) -> None:
    frontier = Frontier(DIAMOND)
    with pytest.raises(InvalidInput):
        getattr(frontier, verb)(node)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Frontier(DIAMOND).take(-1)


def test_a_frontier_is_restored_from_sets_of_nodes() -> None:
    graph = Graph.build({"a": [], "b": ["a"], "c": ["a"], "d": ["b"], "e": ["c"], "f": ["a"]})
    frontier = Frontier.restore(graph, done=[0], failed=[1], running=[2], deferred=[5])
    assert [frontier.state(node) for node in range(6)] == [
        "success", "failed", "running", "blocked", "pending", "pending",
    ]  # fmt: skip
    assert frontier.is_deferred(5)
    assert not frontier.is_over
    assert frontier.done(2) == [4]


@pytest.mark.parametrize(
    "named",
    [
        pytest.param({"done": [3]}, id="done before its parents"),
        pytest.param({"failed": [1]}, id="failed before its parents"),
        pytest.param({"running": [1]}, id="running before its parents"),
        pytest.param({"deferred": [1]}, id="deferred before its parents"),
        pytest.param({"done": [0], "failed": [0]}, id="two states"),
        pytest.param({"done": [0, 0]}, id="twice"),
    ],
)
def test_an_impossible_past_is_not_restored(named: dict[str, list[int]]) -> None:
    with pytest.raises(Conflict):
        Frontier.restore(DIAMOND, **named)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_hub_and_a_join_of_thousands_are_drained(at_once: bool) -> None:
    fan = [f"n{i}" for i in range(20_000)]
    graph = Graph.build({"hub": [], **{name: ["hub"] for name in fan}, "end": fan})
    frontier = Frontier(graph)
    order = []
    while nodes := frontier.take(1_000):
        if at_once:
            frontier.done_many(nodes)
        else:
            for node in nodes:
                frontier.done(node)
        order += nodes
    assert order == list(range(20_002))
    assert frontier.is_complete


def test_the_failure_of_a_long_chain_does_not_recurse() -> None:
    n = 100_000
    graph = Graph.build((f"n{i}", [f"n{i - 1}"] if i else []) for i in range(n))
    frontier = Frontier(graph)
    frontier.take(1)
    assert len(frontier.fail(0)) == n - 1
    assert len(frontier.retry(0)) == n - 1


@settings(max_examples=150, deadline=None)
@given(acyclic(), st.data())
def test_a_restored_frontier_goes_on_like_the_first(graph: Graph, data: st.DataObject) -> None:
    frontier = Frontier(graph)
    for _ in range(data.draw(st.integers(0, 12))):
        running = frontier.nodes_in("running")
        if data.draw(st.booleans()) and running:
            node = data.draw(st.sampled_from(running))
            getattr(frontier, data.draw(st.sampled_from(["done", "fail", "defer"])))(node)
        else:
            frontier.take(data.draw(st.integers(0, 3)))
    again = Frontier.restore(
        graph,
        done=frontier.nodes_in("success"),
        failed=frontier.nodes_in("failed"),
        running=frontier.nodes_in("running"),
        deferred=filter(frontier.is_deferred, range(len(graph))),
    )
    assert again.codes() == frontier.codes()
    assert again.is_over == frontier.is_over
    for node in frontier.nodes_in("failed"):
        assert set(frontier.retry(node)) == set(again.retry(node))
    for node in frontier.nodes_in("running"):
        assert frontier.done(node) == again.done(node)
    assert again.codes() == frontier.codes()
    assert sorted(again.ready) == sorted(frontier.ready)


class FrontierMachine(RuleBasedStateMachine):
    """Drive the frontier and its naive twin with the same events; they must agree."""

    @initialize(graph=acyclic())
    def start(self, graph: Graph) -> None:
        self.graph = graph
        self.frontier = Frontier(graph)
        self.twin = twin_of(graph)

    def nodes(self, *states: str) -> list[int]:
        return [n for n in range(len(self.graph)) if self.twin.state(n) in states]

    @rule(limit=st.integers(0, 4))
    def take(self, limit: int) -> None:
        assert self.frontier.take(limit) == self.twin.take(limit)

    @rule()
    def peek(self) -> None:
        assert self.frontier.peek() == (self.twin.queue[0] if self.twin.queue else None)

    @precondition(lambda self: self.nodes("ready"))
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.nodes("ready")))
        self.frontier.claim(node)
        self.twin.claim(node)

    @precondition(lambda self: self.nodes("running"))
    @rule(data=st.data(), verb=st.sampled_from(["done", "done", "fail", "defer", "requeue"]))
    def end_attempt(self, data: st.DataObject, verb: str) -> None:
        node = data.draw(st.sampled_from(self.nodes("running")))
        ours, theirs = getattr(self.frontier, verb)(node), getattr(self.twin, verb)(node)
        if verb == "fail":
            assert (len(ours), set(ours)) == (len(theirs), theirs)
        else:
            assert ours == theirs

    @rule(data=st.data())
    def end_many(self, data: st.DataObject) -> None:
        running = self.nodes("running")
        nodes = data.draw(
            st.lists(st.sampled_from(running), unique=True) if running else st.just([])
        )
        assert self.frontier.done_many(nodes) == self.twin.done_many(nodes)

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def end_too_many(self, data: st.DataObject) -> None:
        nodes = data.draw(st.lists(st.integers(0, len(self.graph) - 1), min_size=2))
        if len(set(nodes)) < len(nodes) or not set(nodes) <= set(self.nodes("running")):
            with pytest.raises(Conflict):
                self.frontier.done_many(nodes)

    @precondition(lambda self: self.nodes("failed"))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.nodes("failed")))
        ours, theirs = self.frontier.retry(node), self.twin.retry(node)
        assert (len(ours), set(ours)) == (len(theirs), theirs)

    @precondition(lambda self: "deferred" in self.twin.happened.values())
    @rule(data=st.data())
    def requeue_deferred(self, data: st.DataObject) -> None:
        deferred = [n for n, what in self.twin.happened.items() if what == "deferred"]
        node = data.draw(st.sampled_from(deferred))
        self.frontier.requeue(node)
        self.twin.requeue(node)

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data(), verb=st.sampled_from(["claim", "done", "fail", "retry", "defer"]))
    def illegal_event(self, data: st.DataObject, verb: str) -> None:
        legal = {"claim": "ready", "retry": "failed"}.get(verb, "running")
        node = data.draw(st.integers(0, len(self.graph) - 1))
        if self.twin.state(node) != legal:
            with pytest.raises(Conflict):
                getattr(self.frontier, verb)(node)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "graph"):
            return
        states = self.twin.states()
        assert [NODE_STATES[code] for code in self.frontier.codes()] == states
        assert self.frontier.ready == self.twin.queue
        assert self.frontier.is_over == self.twin.is_over()
        assert self.frontier.is_complete == (set(states) <= {"success"})
        assert self.frontier.counts() == {state: states.count(state) for state in NODE_STATES}


FrontierMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None
)
TestFrontierAgainstItsTwin = FrontierMachine.TestCase
