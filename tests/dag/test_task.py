from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dag.documents import EXAMPLE, load, load_yaml, problems
from federlib.dag.workflow import (
    TaskSpec,
    Workflow,
    check_workflow,
    plan_diff,
)
from federlib.errors import InvalidInput


def problem(fields: dict[str, Any]) -> str:
    """Load one bad task and return its one problem."""
    (line,) = problems({"tasks": [{"id": "t", **fields}]})
    return line


def test_a_yaml_workflow_is_read_field_by_field() -> None:
    workflow = load_yaml(EXAMPLE)
    fetch, report, nap, end = workflow.tasks
    assert (workflow.name, workflow.time_scale) == ("nightly", None)
    assert (fetch.kind, fetch.retries, fetch.timeout_s) == ("run", 3, 30.0)
    assert (report.kind, report.needs, report.call) == ("call", ("fetch",), "reports.nightly:main")
    assert report.args == {"day": "monday", "deep": [1, 2.5, None]}
    assert (report.cwd, report.env) == ("/srv", {"MODE": "fast"})
    assert (nap.kind, nap.sleep_s) == ("sleep", 2.0)
    assert (end.kind, end.needs) == ("handler", ("report", "nap"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"retries": -1}, "0 to 1000", id="negative retries"),
        pytest.param({"retries": 1.5}, "whole number", id="broken retries"),
        pytest.param({"retries": True}, "whole number", id="retries true"),
        pytest.param({"retries": 10**40}, "0 to 1000", id="huge retries"),
        pytest.param({"timeout_s": 0}, "above 0", id="no time"),
        pytest.param({"timeout_s": "5"}, "above 0", id="timeout as text"),
        pytest.param({"timeout_s": 10**400}, "above 0", id="timeout beyond floats"),
        pytest.param({"sleep_s": -0.1}, "0 to 1e+09", id="negative sleep"),
        pytest.param({"needs": "a"}, "list of task ids", id="needs as text"),
        pytest.param({"needs": [1]}, "list of task ids", id="needs a number"),
        pytest.param({"run": ["ls"]}, "text of 1", id="run as a list"),
        pytest.param({"run": "  "}, "text of 1", id="empty run"),
        pytest.param({"run": "a\0b"}, "NUL", id="run with NUL"),
        pytest.param({"run": "x" * 70_000}, "65536", id="huge run"),
        pytest.param({"call": "os.system"}, "package.module:function", id="call without colon"),
        pytest.param({"call": "a-b:f"}, "package.module:function", id="call of no name"),
        pytest.param({"call": "m:f()"}, "package.module:function", id="call with brackets"),
        pytest.param({"cwd": ""}, "text of 1", id="empty cwd"),
        pytest.param({"env": {"A=B": "x"}}, "without '='", id="env name with ="),
        pytest.param({"env": {"A": 1}}, "quote numbers", id="env value a number"),
        pytest.param({"env": ["A=B"]}, "names with their values", id="env as a list"),
        pytest.param({"call": "m:f", "args": "x"}, "a list or an object", id="args as text"),
        pytest.param({"args": ["x" * 70_000]}, "65536 bytes", id="huge args"),
        pytest.param({"args": [2**64]}, "64 bits", id="huge number in args"),
        pytest.param({"sleep_s": 1, "args": []}, "none beside sleep_s", id="args beside sleep"),
        pytest.param(
            {"run": "echo", "args": {"a": 1}}, "list of texts", id="named args of a command"
        ),
        pytest.param({"retires": None}, "unknown field 'retires'", id="a typo, even if null"),
    ],
)
def test_a_bad_field_is_named_with_its_task(fields: dict[str, Any], said: str) -> None:
    line = problem(fields)
    assert line.startswith("task 't'")
    assert next(iter(reversed(fields))) in line
    assert said in line
    assert len(line) < 300


def test_deeply_nested_args_are_refused() -> None:
    args: list[object] = []
    for _ in range(100):
        args = [args]
    assert "64 levels" in problem({"args": args})


def test_a_task_survives_json() -> None:
    for task in load_yaml(EXAMPLE).tasks:
        assert msgspec.json.decode(msgspec.json.encode(task), type=TaskSpec) == task
    assert msgspec.json.encode(TaskSpec(id="a")) == b'{"id":"a"}'


@pytest.mark.parametrize(
    ("task", "field"),
    [
        (TaskSpec(id="t", run="\ud800"), "run"),
        (TaskSpec(id="t", run="é" * 40_000), "run"),
        (TaskSpec(id="t", env={"A": "\ud800"}), "env"),
        (TaskSpec(id="t", env={"A": "x" * 70_000}), "env"),
        (TaskSpec(id="t", args=["\ud800"]), "args"),
        (TaskSpec(id="t", args={"when": object()}), "args"),
    ],
)
def test_what_could_not_be_stored_is_refused(task: TaskSpec, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"field {field}: expected") as caught:
        check_workflow(Workflow("w", (task,)))
    assert len(str(caught.value)) < 400


def test_the_value_of_a_variable_is_never_shown() -> None:
    assert "hunter2" not in problem({"env": {"PASSWORD": "hunter2\0"}})
    old = load({"tasks": [{"id": "t", "env": {"PASSWORD": "hunter2", "B": "1"}}]})
    new = load({"tasks": [{"id": "t", "env": {"PASSWORD": "hunter3", "B": "1"}}]})
    assert plan_diff(old, new) == ["~ 't': env: 'PASSWORD' changed"]
