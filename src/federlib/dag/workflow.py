"""Workflows: tasks and who waits for whom, read from a file and compared with one another.

Source: design §5, dag; HA plan §4.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import msgspec

from federlib._json import repeated_keys
from federlib.dag._document import MAX_FILE_BYTES, MAX_YAML_BYTES, Format, decode, read_file
from federlib.dag._shapes import MAX_NAME, is_own_shape, read_document
from federlib.dag.task import MAX_SECONDS, TASK_FIELDS, TaskSpec, read_task
from federlib.errors import InvalidInput
from federlib.graph import Graph, Problems, find_problems
from federlib.graph.problems import show

__all__ = [
    "DEFAULT_CRITICAL_PATH_S",
    "MAX_DIFF_LINES",
    "MAX_FILE_BYTES",
    "MAX_NAME",
    "MAX_YAML_BYTES",
    "TASK_FIELDS",
    "TaskSpec",
    "Workflow",
    "check_workflow",
    "default_time_scale",
    "load_workflow",
    "plan_diff",
    "plan_hash",
]

DEFAULT_CRITICAL_PATH_S = 20.0
"""How long the critical path of recorded work takes where no scale is given; seconds."""

MAX_DIFF_LINES = 50


@attrs.frozen
class Workflow:
    """Tasks in the order of their file; a task may stand before those it needs.

    Attributes:
        name: For people; not part of the plan.
        tasks: With unique ids.
        time_scale: By how much recorded runtimes were multiplied; None where the tasks say
            themselves what they do.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    time_scale: float | None = None

    def graph(self) -> Graph:
        """Build the graph; node numbers are positions in `tasks`.

        Raises:
            InvalidInput: It is not acyclic, or a task that is needed is missing.
        """
        return Graph.build((task.id, task.needs) for task in self.tasks)

    def critical_path_s(self) -> float:
        """Return the longest path of sleeps, in seconds; other work counts nothing."""
        return self.graph().critical_path([task.sleep_s or 0.0 for task in self.tasks])[0]


def load_workflow(
    source: str | Path | bytes,
    *,
    time_scale: float | None = None,
    name: str | None = None,
    form: Format | None = None,
) -> Workflow:
    """Read a workflow from a file or from bytes: JSON or YAML, plain or gzip'd.

    Shapes: our own, WfCommons instances (1.0 to 1.6), and the recorded shape
    `{name, source, tasks: [{id, name, runtime_s, parents}]}`. Recorded runtimes become
    `sleep_s`, scaled; a runtime that is null counts 0.

    Args:
        source: A path, or the bytes themselves.
        time_scale: Factor for recorded runtimes, 0 or more; None makes their critical path
            `DEFAULT_CRITICAL_PATH_S`. Tasks of our own shape are never scaled.
        name: In place of the name in the file.
        form: `json` or `yaml`; None goes by the file's name, else by its first character.
    Raises:
        InvalidInput: With every problem of the file in `problems`: task, field, and why.
        MissingExtra: It is YAML, and the extra `cli` is not installed.
    """
    if time_scale is not None and not 0 <= time_scale <= MAX_SECONDS:
        raise InvalidInput("time_scale", expected="a finite factor, 0 or more", found=time_scale)
    if isinstance(source, bytes):
        data, by_name, where, stem = source, None, "workflow", "workflow"
    else:
        path = Path(source)
        data, by_name = read_file(path)
        where, stem = f"workflow {path.name}", path.name.split(".")[0] or "workflow"
    document, text = decode(data, form or by_name)
    problems = Problems()
    # A decoder keeps the last of two equal keys: a task, or a field of one, would be gone.
    if text is not None and is_own_shape(document):
        for key in repeated_keys(text, "workflow"):
            problems.add(f"the key {show(key)} is used twice in one object")
    draft = read_document(document, problems)
    _find_graph_problems(draft.entries, problems)
    if problems:
        raise problems.error(where, expected="a workflow")
    workflow = Workflow(name or draft.name or stem, tuple(draft.tasks))
    return _scaled(workflow, time_scale) if draft.is_recorded else workflow


def _find_graph_problems(entries: list[tuple[str, list[str]]], problems: Problems) -> None:
    try:
        Graph.build(entries)
    except InvalidInput:
        ids, rows = [entry[0] for entry in entries], [entry[1] for entry in entries]
        find_problems(ids, rows, problems)


def check_workflow(workflow: Workflow) -> Graph:
    """Check a workflow that was put together in a program, and return its graph.

    Raises:
        InvalidInput: With every problem in `problems`, as for one from a file.
    """
    problems = Problems()
    for task in workflow.tasks:
        fields = msgspec.structs.asdict(task)
        fields.pop("id")
        read_task(task.id, fields, problems)
    if problems:
        raise problems.error("workflow", expected="a workflow")
    return workflow.graph()


def default_time_scale(workflow: Workflow) -> float:
    """Return the factor that makes the critical path `DEFAULT_CRITICAL_PATH_S` long.

    1.0 where nothing on it takes any time.
    """
    length = workflow.critical_path_s()
    scale = DEFAULT_CRITICAL_PATH_S / length if length > 0 else 1.0
    return scale if math.isfinite(scale) else 1.0


def _scaled(workflow: Workflow, time_scale: float | None) -> Workflow:
    scale = default_time_scale(workflow) if time_scale is None else float(time_scale)
    tasks = tuple(
        # Microseconds are enough, and keep the plan short.
        msgspec.structs.replace(
            task, sleep_s=round(min((task.sleep_s or 0.0) * scale, MAX_SECONDS), 6)
        )
        for task in workflow.tasks
    )
    return attrs.evolve(workflow, tasks=tasks, time_scale=scale)


def plan_hash(workflow: Workflow) -> str:
    """Name a plan: SHA-256 over its tasks' canonical JSON, in hexadecimal.

    The order of the tasks, of what each needs and of keys makes no difference, nor does the
    workflow's name; every field of every task does.
    """
    digest = hashlib.sha256(b"federlib plan 1\n")
    for task in sorted(map(_canonical, workflow.tasks), key=lambda task: task.id):
        digest.update(msgspec.json.encode(task, order="deterministic") + b"\n")
    return digest.hexdigest()


def _canonical(task: TaskSpec) -> TaskSpec:
    return msgspec.structs.replace(task, needs=tuple(sorted(set(task.needs))))


def plan_diff(old: Workflow, new: Workflow) -> list[str]:
    """Say how a plan differs from an older one, in at most `MAX_DIFF_LINES` lines.

    `- id` was removed, `+ id` added, `~ id: field: old -> new` changed, in the order of ids.
    Of `env` only names are shown. No lines means the same `plan_hash`.
    """
    lines = list(_differences(_by_id(old), _by_id(new)))
    if len(lines) > MAX_DIFF_LINES:
        left = len(lines) - MAX_DIFF_LINES + 1
        lines[MAX_DIFF_LINES - 1 :] = [f"… and {left} more"]
    return lines


def _by_id(workflow: Workflow) -> dict[str, TaskSpec]:
    return {task.id: _canonical(task) for task in workflow.tasks}


def _differences(old: Mapping[str, TaskSpec], new: Mapping[str, TaskSpec]) -> Iterator[str]:
    for task_id in sorted(old.keys() | new.keys()):
        if task_id not in new:
            yield f"- {show(task_id)}"
        elif task_id not in old:
            yield f"+ {show(task_id)}"
        else:
            before = msgspec.structs.asdict(old[task_id])
            after = msgspec.structs.asdict(new[task_id])
            for field in TASK_FIELDS:
                if before[field] != after[field]:
                    change = _change(field, before[field], after[field])
                    yield f"~ {show(task_id)}: {field}: {change}"


def _change(field: str, before: object, after: object) -> str:
    if field == "env":
        assert isinstance(before, dict)
        assert isinstance(after, dict)
        names = before.keys() | after.keys()
        changed = sorted(name for name in names if before.get(name) != after.get(name))
        return f"{', '.join(map(show, changed))} changed"
    if field == "needs":
        assert isinstance(before, tuple)
        assert isinstance(after, tuple)
        gone = [f"-{show(name)}" for name in before if name not in set(after)]
        came = [f"+{show(name)}" for name in after if name not in set(before)]
        text = " ".join(gone + came)
        return text if len(text) <= 200 else text[:200] + "…"
    if field == "args":
        return "changed"
    return f"{show(before)} -> {show(after)}"
