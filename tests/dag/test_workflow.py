from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_sets import workflow_file
from federlib.dag.workflow import (
    DEFAULT_CRITICAL_PATH_S,
    MAX_DIFF_LINES,
    TASK_FIELDS,
    TaskSpec,
    Workflow,
    check_workflow,
    default_time_scale,
    load_workflow,
    plan_diff,
    plan_hash,
)
from federlib.errors import InvalidInput, MissingExtra
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

EXAMPLE = """
name: nightly
tasks:
  - id: fetch
    run: curl -fsS https://example.org/data > data
    retries: 3
    timeout_s: 30
  - id: report
    needs: [fetch]
    call: reports.nightly:main
    args: {day: monday, deep: [1, 2.5, null]}
    cwd: /srv
    env: {MODE: fast}
  - id: nap
    sleep_s: 2
  - id: end
    needs: [report, nap]
"""


def load(document: object, **options: Any) -> Workflow:
    return load_workflow(json.dumps(document).encode(), **options)


def load_yaml(text: str) -> Workflow:
    return load_workflow(text.encode(), form="yaml")


def problems(document: object) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        load(document)
    return caught.value.problems


def problem(fields: dict[str, Any]) -> str:
    """Load one bad task and return its one problem."""
    (line,) = problems({"tasks": [{"id": "t", **fields}]})
    return line


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


def test_a_file_is_known_by_its_name_and_may_be_compressed(tmp_path: Path) -> None:
    document = json.dumps({"tasks": {"a": None, "b": ["a"]}}).encode()
    for name, data in {
        "one.json": document,
        "two.JSON.gz": gzip.compress(document),
        "three.yaml": b"tasks: {a: , b: {needs: [a]}}",
        "four.yml.gz": gzip.compress(b"tasks: {a: null, b: [a]}"),
        "five": document,
        "six": b"\xef\xbb\xbf" + document,
        "seven.json.gz": gzip.compress(document[:9]) + gzip.compress(document[9:]) + b"\0\0",
    }.items():
        (tmp_path / name).write_bytes(data)
        workflow = load_workflow(tmp_path / name)
        assert workflow.name == name.split(".")[0]
        assert [(task.id, task.needs) for task in workflow.tasks] == [("a", ()), ("b", ("a",))]


def test_a_mapping_and_a_list_of_tasks_are_the_same_plan() -> None:
    mapping = load({"tasks": {"a": {"run": "true"}, "b": {"needs": ["a", "a"], "retries": 2}}})
    listed = load(
        {
            "name": "x",
            "tasks": [{"id": "a", "run": "true"}, {"id": "b", "needs": ["a"], "retries": 2}],
        }
    )
    assert plan_hash(mapping) == plan_hash(listed)


def test_a_workflow_without_tasks_is_legal() -> None:
    for document in ({"tasks": []}, {"tasks": {}}):
        workflow = load(document)
        assert workflow.tasks == ()
        assert workflow.critical_path_s() == 0.0
    recorded = load({"name": "none", "source": "here", "tasks": []})
    assert recorded.time_scale == 1.0


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


def test_the_value_of_a_variable_is_never_shown() -> None:
    assert "hunter2" not in problem({"env": {"PASSWORD": "hunter2\0"}})
    old = load({"tasks": [{"id": "t", "env": {"PASSWORD": "hunter2", "B": "1"}}]})
    new = load({"tasks": [{"id": "t", "env": {"PASSWORD": "hunter3", "B": "1"}}]})
    assert plan_diff(old, new) == ["~ 't': env: 'PASSWORD' changed"]


def test_deeply_nested_args_are_refused() -> None:
    args: list[object] = []
    for _ in range(100):
        args = [args]
    assert "64 levels" in problem({"args": args})


def test_an_id_in_a_mapping_must_not_contradict_its_key() -> None:
    assert load({"tasks": {"a": {"id": "a"}}}).tasks == (TaskSpec(id="a"),)
    assert problems({"tasks": {"a": {"id": "b"}}}) == (
        "task 'a', field id: expected the same id, found 'b'",
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "mapping", id="empty"),
        pytest.param(b"[]", "mapping", id="a list"),
        pytest.param(b'"tasks"', "mapping", id="a text"),
        pytest.param(b"{}", "field tasks", id="no tasks"),
        pytest.param(b'{"tasks": 5}', "field tasks", id="tasks a number"),
        pytest.param(b'{"tasks": [', "JSON", id="torn JSON"),
        pytest.param(b'{"tasks": [{"id": "a", "retries": NaN}]}', "JSON", id="NaN"),
        pytest.param(b'{"tasks": [{"id": "a", "sleep_s": 1e999}]}', "JSON", id="infinity"),
        pytest.param(b'{"tasks": [{"id": "\xff"}]}', "JSON", id="not UTF-8"),
        pytest.param(b'{"tasks": {"a": {}, "a": {}}}', "'a' is used twice", id="equal keys"),
        pytest.param(b'{"tasks": ' + b"[" * 100_000, "nesting", id="deep JSON"),
        pytest.param(
            b'{"tasks": [{"id": "a", "retries": ' + b"9" * 9_000 + b"}]}", "JSON", id="digits"
        ),
        pytest.param(b"\x1f\x8b\x08nonsense", "gzip", id="false gzip"),
        pytest.param(gzip.compress(b'{"tasks": []}' * 99)[:-9], "torn", id="torn gzip"),
        pytest.param(gzip.compress(b"{}") + b"rest", "gzip", id="gzip with a tail"),
    ],
)
def test_hostile_bytes_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        load_workflow(data)


def test_a_decompression_bomb_is_refused_at_the_limit() -> None:
    bomb = gzip.compress(b" " * (257 * 1024 * 1024), compresslevel=1)
    assert len(bomb) < 2 * 1024 * 1024
    with pytest.raises(InvalidInput, match="at most 268435456 bytes"):
        load_workflow(bomb)


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(LAUGHS, "no aliases, found 'one in line 2'", id="a billion laughs"),
        pytest.param("tasks: &t {a: *t}", "no aliases", id="an endless alias"),
        pytest.param("tasks: " + "[" * 1_000, "64 levels", id="deep flow"),
        pytest.param("tasks: {a: {run: x, run: y}}", "key 'run' is used twice", id="equal keys"),
        pytest.param("tasks: {a: }\ntasks: {}", "line 2: the key 'tasks'", id="equal top keys"),
        pytest.param("tasks: !!python/object/apply:os.system [ls]", "YAML", id="a Python tag"),
        pytest.param("tasks: {a: }\n---\ntasks: {}", "YAML", id="two documents"),
        pytest.param("tasks: [}", "YAML", id="broken"),
        pytest.param("tasks: {a: {args: [2020-13-45]}}", "YAML", id="no such date"),
        pytest.param("tasks: {a: {args: [2020-12-24]}}", "a date", id="a date"),
        pytest.param("tasks: {a: {args: [!!binary aGk=]}}", "a bytes", id="bytes"),
        pytest.param("tasks: {a: {args: [.nan]}}", "nan", id="NaN in args"),
        pytest.param("tasks: {a: {retries: .nan}}", "whole number", id="NaN retries"),
        pytest.param("tasks: {a: {timeout_s: .inf}}", "above 0", id="endless timeout"),
        pytest.param("tasks: {a: {args: {1: x}}}", "key that is not text", id="a number as key"),
        pytest.param("tasks: {1: {run: x}}", "quote numbers", id="a number as id"),
        pytest.param("tasks: {? [a] : {run: x}}", "YAML", id="a list as key"),
        pytest.param("tasks: [{id: no}]", "found False", id="the Norway problem"),
        pytest.param('tasks: {"a\\0": }', "control character", id="NUL in an id"),
        pytest.param("tasks: \x00", "YAML", id="a NUL byte"),
        pytest.param(f"tasks: {{a: {{retries: 0x{'f' * 9_000}}}}}", "64 bits", id="a huge number"),
        pytest.param("x" * (9 * 1024 * 1024), "larger workflows as JSON", id="9 MiB"),
    ],
)
def test_hostile_yaml_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        load_yaml(text)


def test_yaml_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r"federlib\[cli\]"):
        load_yaml(EXAMPLE)
    assert len(load({"tasks": {"a": {}}}).tasks) == 1


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json", "nul\0.json", Path("/dev/zero")):
        with pytest.raises(InvalidInput, match="file"):
            load_workflow(path)


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


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale: float) -> None:
    with pytest.raises(InvalidInput, match="time_scale"):
        load(RECORDED, time_scale=scale)


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


def test_a_task_survives_json() -> None:
    import msgspec

    for task in load_yaml(EXAMPLE).tasks:
        assert msgspec.json.decode(msgspec.json.encode(task), type=TaskSpec) == task
    assert msgspec.json.encode(TaskSpec(id="a")) == b'{"id":"a"}'


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


def assert_sound(workflow: Workflow) -> None:
    assert check_workflow(workflow).ids == tuple(task.id for task in workflow.tasks)
    assert plan_diff(workflow, workflow) == []


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_accepted_or_explained(data: bytes) -> None:
    forms: tuple[Literal["json", "yaml"] | None, ...] = ("json", "yaml", None)
    for form in forms:
        try:
            assert_sound(load_workflow(data, form=form))
        except InvalidInput as error:
            sentence = str(error)
        else:
            continue
        assert sentence.startswith("workflow")
