from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dag.documents import EXAMPLE, assert_sound, load, load_yaml
from federlib.dag.workflow import (
    load_workflow,
)
from federlib.errors import InvalidInput, MissingExtra


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
        pytest.param("tasks: {a: {args: [2020-12-24]}}", "of type date", id="a date"),
        pytest.param("tasks: {a: {args: [!!binary aGk=]}}", "of type bytes", id="bytes"),
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
