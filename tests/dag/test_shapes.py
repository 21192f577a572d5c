from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dag.documents import assert_sound, load, problems
from federlib.dag.workflow import (
    TASK_FIELDS,
    TaskSpec,
    plan_hash,
)
from federlib.errors import InvalidInput

RECORDED = {
    "name": "r",
    "source": "s",
    "tasks": [
        {"id": "b", "name": "B", "runtime_s": 6, "parents": ["a"]},
        {"id": "a", "name": "A", "runtime_s": 4.0, "parents": []},
        {"id": "c", "name": "C", "runtime_s": None, "parents": ["a"]},
    ],
}


def test_recorded_runtimes_become_sleeps() -> None:
    workflow = load(RECORDED)
    assert workflow.time_scale == 2.0
    assert [(task.id, task.sleep_s) for task in workflow.tasks] == [("b", 12), ("a", 8), ("c", 0)]
    assert [task.sleep_s for task in load(RECORDED, time_scale=0).tasks] == [0, 0, 0]


def test_own_tasks_are_not_scaled() -> None:
    assert load({"tasks": {"a": {"sleep_s": 3}}}, time_scale=5).tasks[0].sleep_s == 3.0


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale: float) -> None:
    with pytest.raises(InvalidInput, match="time_scale"):
        load(RECORDED, time_scale=scale)


def test_a_bad_record_is_reported_with_its_field() -> None:
    bad = {
        "source": "s",
        "tasks": [
            {"id": "a", "runtime_s": -1, "parents": ["x"]},
            {"id": "b", "runtime_s": "fast", "parents": "a", "extra": 1},
        ],
    }
    assert problems(bad) == (
        "task 'a', field runtime_s: expected seconds, 0 to 1e+09, found -1",
        "task 'b': unknown field 'extra'; known: id, name, runtime_s, parents",
        "task 'b', field parents: expected a list of task ids, found 'a'",
        "task 'b', field runtime_s: expected seconds, 0 to 1e+09, found 'fast'",
        "'a': its parent 'x' does not exist",
    )


NEW_INSTANCE = {
    "name": "wf",
    "schemaVersion": "1.5",
    "author": {"name": "x"},
    "workflow": {
        "specification": {
            "tasks": [
                {
                    "name": "A",
                    "id": "A_1",
                    "parents": [],
                    "children": ["B_2", "C_3"],
                    "inputFiles": [],
                },
                {"name": "B", "id": "B_2", "parents": ["A_1"], "children": [], "outputFiles": []},
                {"name": "B", "id": "C_3", "parents": [], "children": []},
            ],
            "files": [],
        },
        "execution": {
            "makespanInSeconds": 5,
            "tasks": [
                {"id": "B_2", "runtimeInSeconds": 3.5, "command": {"program": "b"}},
                {"id": "A_1", "runtimeInSeconds": 1.5, "coreCount": 2},
            ],
        },
    },
}


OLD_INSTANCE = {
    "name": "wf",
    "schemaVersion": "1.4",
    "wms": {"name": "pegasus"},
    "workflow": {
        "makespanInSeconds": 5,
        "tasks": [
            {"name": "A_1", "id": "1", "parents": [], "runtimeInSeconds": 1.5, "cores": 1},
            {"name": "B", "id": "2", "parents": ["A_1"], "runtimeInSeconds": 3.5},
            {"name": "C_3", "parents": ["A_1"], "children": []},
        ],
    },
}


@pytest.mark.parametrize("document", [NEW_INSTANCE, OLD_INSTANCE], ids=["1.5", "1.4"])
def test_a_wfcommons_instance_is_read(document: object) -> None:
    workflow = load(document, time_scale=1.0)
    assert [(task.id, task.needs, task.sleep_s) for task in workflow.tasks] == [
        ("A_1", (), 1.5),
        ("B_2", ("A_1",), 3.5),
        ("C_3", ("A_1",), 0.0),
    ]
    assert (workflow.name, workflow.critical_path_s()) == ("wf", 5.0)


def test_a_first_generation_instance_is_read() -> None:
    jobs = [{"name": "a", "runtime": 2}, {"name": "b", "runtime": 3, "parents": ["a"]}]
    workflow = load({"schemaVersion": "1.0", "workflow": {"jobs": jobs}}, time_scale=1)
    assert workflow.critical_path_s() == 5.0


def test_problems_of_an_instance_name_its_tasks() -> None:
    bad = json.loads(json.dumps(NEW_INSTANCE))
    bad["workflow"]["specification"]["tasks"][1] |= {"parents": ["nobody"], "children": ["none"]}
    bad["workflow"]["execution"]["tasks"][0]["runtimeInSeconds"] = "long"
    assert problems(bad) == (
        "task 'B_2': its child 'none' does not exist",
        "task 'B_2', field runtimeInSeconds: expected seconds, 0 to 1e+09, found 'long'",
        "'B_2': its parent 'nobody' does not exist",
    )
    assert len(problems({"workflow": {}})) == 1
    assert len(problems({"workflow": {"specification": {"tasks": 3}, "execution": []}})) == 1


def test_a_mapping_and_a_list_of_tasks_are_the_same_plan() -> None:
    mapping = load({"tasks": {"a": {"run": "true"}, "b": {"needs": ["a", "a"], "retries": 2}}})
    listed = load(
        {
            "name": "x",
            "tasks": [{"id": "a", "run": "true"}, {"id": "b", "needs": ["a"], "retries": 2}],
        }
    )
    assert plan_hash(mapping) == plan_hash(listed)


def test_an_id_in_a_mapping_must_not_contradict_its_key() -> None:
    assert load({"tasks": {"a": {"id": "a"}}}).tasks == (TaskSpec(id="a"),)
    assert problems({"tasks": {"a": {"id": "b"}}}) == (
        "task 'a', field id: expected the same id, found 'b'",
    )


def test_a_task_of_a_mapping_must_be_a_mapping_a_list_or_nothing() -> None:
    assert problems({"tasks": {"a": "true"}}) == ("task 'a': expected a mapping, found 'true'",)


def test_every_problem_of_a_file_is_reported_at_once() -> None:
    found = problems(
        {
            "name": "",
            "owner": "me",
            "tasks": [
                {"id": "a", "retires": 3, "timeout_s": -1},
                {"id": "b", "run": "x", "call": "m:f", "needs": ["nobody"]},
                {"id": "c", "needs": ["d"]},
                {"id": "d", "needs": ["c", "d"]},
                {"id": 5},
                {"needs": []},
                "task",
                {"id": "a"},
            ],
        }
    )
    assert found == (
        "field name: expected text of 1 to 200 characters, found ''",
        "workflow: unknown field 'owner'; known: name, tasks",
        "task 7: expected a mapping, found 'task'",
        f"task 'a': unknown field 'retires'; known: {', '.join(TASK_FIELDS)}",
        "task 'a', field timeout_s: expected seconds above 0, at most 1e+09, found -1",
        "task 'b': expected one of run, call and sleep_s, found run, call",
        "task 5, field id: expected text (quote numbers), found 5",
        "task 6, field id: expected text (quote numbers), found none",
        "'a': the id is used 2 times",
        "'b': its parent 'nobody' does not exist",
        "'d': names itself as a parent",
        "cycle: c -> d -> c",
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


TASK = st.dictionaries(
    st.sampled_from(
        ["id", "needs", "run", "call", "args", "env", "retries", "sleep_s", "parents", "runtime_s"]
    ),
    st.sampled_from(["a", "b", ["a"], [], 1, None, {"A": "b"}]) | JSON,
    max_size=4,
)


DOCUMENT = JSON | st.fixed_dictionaries(
    {"tasks": st.lists(TASK, max_size=4) | st.dictionaries(st.sampled_from("ab"), TASK) | JSON},
    optional={
        "name": JSON,
        "source": JSON,
        "workflow": st.fixed_dictionaries({"tasks": JSON}) | JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(DOCUMENT)
def test_any_document_is_accepted_or_explained(document: object) -> None:
    try:
        workflow = load(document)
    except InvalidInput as error:
        found = error.problems
    else:
        found = ()
        assert_sound(workflow)
    assert len(found) <= 51
    assert all("\n" not in line for line in found)
