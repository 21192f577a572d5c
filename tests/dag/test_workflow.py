from __future__ import annotations

import time
from typing import Any

import pytest

from dag.documents import load
from data_sets import workflow_file
from federlib.dag.workflow import (
    DEFAULT_CRITICAL_PATH_S,
    MAX_DIFF_LINES,
    TaskSpec,
    Workflow,
    check_workflow,
    default_time_scale,
    load_workflow,
    plan_diff,
    plan_hash,
)
from federlib.errors import InvalidInput
from federlib.graph import Frontier, Graph

# name, tasks, edges, depth, widest level, most parents, most children, sum s, critical path s
SHARED = [
    ("montage-dss-15d", 2122, 6114, 8, 1890, 630, 36, 78088, 989),
    ("epigenomics-ilmn-6seq-50k", 1695, 2108, 9, 420, 75, 75, 26060, 1084),
    ("seismology-1100p", 1101, 1100, 2, 1100, 1100, 1, 585, 5.4),
    ("bwa-large", 1004, 4000, 3, 1000, 1000, 1000, 13277, 1656),
    ("1000genome-22ch-250k", 902, 1166, 3, 572, 25, 14, 53410, 314),
    ("cycles-10l-1c-9p", 661, 970, 4, 320, 16, 2, 13695, 546),
    ("nfcore-atacseq", 265, 593, 17, 32, 123, 24, 7800, 936),
    ("srasearch-50a", 104, 152, 4, 51, 25, 50, 65894, 2833),
    ("debian12-install", 63337, 256523, 37, 7590, 332, 21788, None, None),
]


@pytest.mark.parametrize("row", SHARED, ids=[row[0] for row in SHARED])
def test_a_shared_workflow_has_the_numbers_of_its_table(row: tuple[Any, ...]) -> None:
    name, tasks, edges, depth, widest, most_parents, most_children, total, critical = row
    workflow = load_workflow(workflow_file(name), time_scale=1.0)
    graph = workflow.graph()
    levels = graph.levels()
    nodes = range(len(graph))
    assert workflow.name == name
    assert (len(graph), graph.edges, graph.depth) == (tasks, edges, depth)
    assert max(levels.count(level) for level in range(depth)) == widest
    assert max(len(graph.parents_of(node)) for node in nodes) == most_parents
    assert max(len(graph.children_of(node)) for node in nodes) == most_children
    if total is not None:
        assert sum(task.sleep_s or 0 for task in workflow.tasks) == pytest.approx(total, abs=0.5)
        assert workflow.critical_path_s() == pytest.approx(critical, abs=0.5)


def test_the_largest_shared_workflow_is_ingested_in_seconds() -> None:
    workflow = load_workflow(workflow_file("debian12-install"), time_scale=0)
    pairs = [(task.id, task.needs) for task in workflow.tasks]
    start = time.process_time()
    frontier = Frontier(Graph.build(pairs))
    # A fifth of a second is usual; this only catches a cliff.
    assert time.process_time() - start < 5
    assert len(frontier) == 63337


def test_recorded_work_takes_twenty_seconds_along_its_critical_path_by_default() -> None:
    path = workflow_file("montage-dss-15d")
    workflow = load_workflow(path)
    assert workflow.critical_path_s() == pytest.approx(DEFAULT_CRITICAL_PATH_S, abs=1e-3)
    assert workflow.time_scale == default_time_scale(load_workflow(path, time_scale=1))


def test_a_shared_workflow_drains_to_the_end() -> None:
    frontier = Frontier(load_workflow(workflow_file("nfcore-atacseq")).graph())
    while nodes := frontier.take(10):
        for node in nodes:
            frontier.done(node)
    assert frontier.is_complete


def test_a_workflow_without_tasks_is_legal() -> None:
    documents: tuple[object, ...] = ({"tasks": []}, {"tasks": {}})
    for document in documents:
        workflow = load(document)
        assert workflow.tasks == ()
        assert workflow.critical_path_s() == 0.0
    recorded = load({"name": "none", "source": "here", "tasks": []})
    assert recorded.time_scale == 1.0


def test_the_same_plan_in_another_order_has_the_same_hash() -> None:
    one = load(
        {
            "name": "x",
            "tasks": {"a": {}, "b": {}, "c": {"needs": ["a", "b"], "env": {"P": "1", "Q": "2"}}},
        }
    )
    two = load(
        {
            "name": "y",
            "tasks": {"c": {"env": {"Q": "2", "P": "1"}, "needs": ["b", "a"]}, "b": {}, "a": {}},
        }
    )
    assert plan_hash(one) == plan_hash(two)
    assert plan_diff(one, two) == []
    assert len(plan_hash(one)) == 64


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("needs", ["b"], "~ 'a': needs: +'b'"),
        ("run", "true", "~ 'a': run: None -> 'true'"),
        ("call", "m:f", "~ 'a': call: None -> 'm:f'"),
        ("sleep_s", 0, "~ 'a': sleep_s: None -> 0.0"),
        ("args", [1], "~ 'a': args: changed"),
        ("cwd", "/", "~ 'a': cwd: None -> '/'"),
        ("env", {"K": "v"}, "~ 'a': env: 'K' changed"),
        ("retries", 1, "~ 'a': retries: 0 -> 1"),
        ("timeout_s", 1, "~ 'a': timeout_s: None -> 1.0"),
    ],
)
def test_every_field_counts_in_the_hash_and_shows_in_the_diff(
    field: str, value: object, line: str
) -> None:
    old = load({"tasks": {"a": {}, "b": {}}})
    new = load({"tasks": {"a": {field: value}, "b": {}}})
    assert plan_hash(old) != plan_hash(new)
    assert plan_diff(old, new) == [line]


def test_a_diff_names_what_came_and_went_and_stays_short() -> None:
    old = load({"tasks": {"a": {}, "b": {}}})
    new = load({"tasks": {"b": {}, "c": {}}})
    assert plan_diff(old, new) == ["- 'a'", "+ 'c'"]
    many = plan_diff(old, load({"tasks": {f"n{i}": {} for i in range(500)}}))
    assert len(many) == MAX_DIFF_LINES
    assert many[-1] == "… and 453 more"


def test_a_workflow_made_in_a_program_is_checked_the_same_way() -> None:
    good = Workflow("w", (TaskSpec(id="a"), TaskSpec(id="b", needs=("a",), run="true")))
    assert check_workflow(good).children_of(0) == (1,)
    bad = Workflow("w", (TaskSpec(id="a", retries=-1), TaskSpec(id="b", run="x", sleep_s=1.0)))
    with pytest.raises(InvalidInput) as caught:
        check_workflow(bad)
    assert len(caught.value.problems) == 2
    with pytest.raises(InvalidInput, match="nobody"):
        check_workflow(Workflow("w", (TaskSpec(id="a", needs=("nobody",)),)))


def test_a_chain_of_a_hundred_thousand_loads() -> None:
    chain = {f"n{i}": [f"n{i - 1}"] if i else [] for i in range(100_000)}
    assert load({"tasks": chain}).graph().depth == 100_000
