"""The shapes that a workflow file may have, each turned into tasks.

* our own: `name` and `tasks`, a list of tasks or a mapping of ids to tasks;
* recorded: `name`, `source` and `tasks` with `id`, `name`, `runtime_s` and `parents`;
* WfCommons instances: since WfFormat 1.5 `workflow.specification.tasks` beside
  `workflow.execution.tasks`; before that `workflow.tasks` (or `jobs`), where tasks refer
  to each other by name. They have many more fields, which are not ours to judge.

Every problem of a document is collected; nothing is raised before all of it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from federlib.dag.task import MAX_SECONDS, TaskSpec, read_seconds, read_task
from federlib.graph import Problems
from federlib.graph.problems import show

__all__ = ["MAX_NAME", "Draft", "is_own_shape", "read_document"]

MAX_NAME = 200

_Fields = Mapping[str, object]


@attrs.define
class Draft:
    """What was read of a document so far.

    Attributes:
        name: The workflow's, or an empty text.
        entries: Each task's id and needs, for the check of the graph, bad fields or not.
        tasks: The tasks without problems.
        is_recorded: `sleep_s` is a recorded runtime, to be scaled.
    """

    name: str = ""
    entries: list[tuple[str, list[str]]] = attrs.field(factory=list)
    tasks: list[TaskSpec] = attrs.field(factory=list)
    is_recorded: bool = False


def is_own_shape(document: object) -> bool:
    """Say whether a document has our own shape: the one that people write by hand."""
    return isinstance(document, Mapping) and _reader(document) is _read_own


def read_document(document: object, problems: Problems) -> Draft:
    """Read a document of any shape."""
    draft = Draft()
    if not isinstance(document, Mapping):
        problems.add(f"expected a mapping with 'tasks', found {show(document)}")
        return draft
    name = document.get("name")
    if isinstance(name, str) and name.strip() and len(name) <= MAX_NAME and name.isprintable():
        draft.name = name
    elif name is not None:
        expected = f"expected text of 1 to {MAX_NAME} characters"
        problems.add(f"field name: {expected}, found {show(name)}")
    _reader(document)(document, draft, problems)
    return draft


def _reader(document: _Fields) -> Callable[[_Fields, Draft, Problems], None]:
    if isinstance(document.get("workflow"), Mapping):
        return _read_wfcommons
    tasks = document.get("tasks")
    first = tasks[0] if isinstance(tasks, list) and tasks else None
    if "source" in document or (isinstance(first, Mapping) and "runtime_s" in first):
        return _read_recorded
    return _read_own


def _check_fields(what: str, fields: _Fields, known: Iterable[str], problems: Problems) -> None:
    known = tuple(known)
    for name in fields:
        if name not in known:
            problems.add(f"{what}: unknown field {show(name)}; known: {', '.join(known)}")


def _listed(value: object, what: str, problems: Problems) -> list[tuple[str, _Fields]]:
    """Return the mappings of a list, each with a label such as 'task 3' for what has no id."""
    if not isinstance(value, list):
        problems.add(f"field {what}: expected a list of tasks, found {show(value)}")
        return []
    listed: list[tuple[str, _Fields]] = []
    for number, item in enumerate(value, start=1):
        if isinstance(item, Mapping):
            listed.append((f"task {number}", item))
        else:
            problems.add(f"task {number}: expected a mapping, found {show(item)}")
    return listed


def _id_of(label: str, fields: _Fields, problems: Problems, field: str = "id") -> str | None:
    task_id = fields.get(field)
    if isinstance(task_id, str):
        return task_id
    found = show(task_id) if field in fields else "none"
    problems.add(f"{label}, field {field}: expected text (quote numbers), found {found}")
    return None


def _read_own(document: _Fields, draft: Draft, problems: Problems) -> None:
    _check_fields("workflow", document, ("name", "tasks"), problems)
    tasks = document.get("tasks")
    if "tasks" not in document:
        problems.add("field tasks: expected a list or a mapping of tasks, found none")
    elif isinstance(tasks, Mapping):
        for task_id, value in tasks.items():
            _read_named(task_id, value, draft, problems)
    else:
        for label, fields in _listed(tasks, "tasks", problems):
            task_id = _id_of(label, fields, problems)
            rest = {name: value for name, value in fields.items() if name != "id"}
            _add_own(task_id, rest, draft, problems, label="" if task_id else label)


def _read_named(task_id: object, value: object, draft: Draft, problems: Problems) -> None:
    """Read one task of a mapping: its fields, only its needs, or nothing at all."""
    if not isinstance(task_id, str):
        problems.add(f"task {show(task_id)}: expected an id that is text (quote numbers)")
        return
    if isinstance(value, list):
        value = {"needs": value}
    if not isinstance(value, Mapping | None):
        problems.add(f"task {show(task_id)}: expected a mapping, found {show(value)}")
        return
    fields = dict(value or {})
    again = fields.pop("id", task_id)
    if again != task_id:
        problems.add(f"task {show(task_id)}, field id: expected the same id, found {show(again)}")
    _add_own(task_id, fields, draft, problems)


def _add_own(
    task_id: str | None, fields: _Fields, draft: Draft, problems: Problems, *, label: str = ""
) -> None:
    spec = read_task(task_id or "", fields, problems, label=label)
    if task_id is None:
        return
    needs = fields.get("needs")
    texts = [item for item in needs if isinstance(item, str)] if isinstance(needs, list) else []
    draft.entries.append((task_id, texts))
    if spec is not None:
        draft.tasks.append(spec)


def _read_recorded(document: _Fields, draft: Draft, problems: Problems) -> None:
    draft.is_recorded = True
    _check_fields("workflow", document, ("name", "source", "tasks"), problems)
    for label, fields in _listed(document.get("tasks"), "tasks", problems):
        task_id = _id_of(label, fields, problems)
        if task_id is None:
            continue
        label = f"task {show(task_id)}"
        _check_fields(label, fields, ("id", "name", "runtime_s", "parents"), problems)
        parents = _texts(label, "parents", fields.get("parents"), problems)
        _add_recorded(task_id, parents, "runtime_s", fields, draft, problems)


def _texts(label: str, field: str, value: object, problems: Problems) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    problems.add(f"{label}, field {field}: expected a list of task ids, found {show(value)}")
    return []


def _add_recorded(
    task_id: str, parents: list[str], field: str, timed: _Fields, draft: Draft, problems: Problems
) -> None:
    runtime = timed.get(field)
    seconds = 0.0 if runtime is None else read_seconds(runtime)
    if seconds is None:
        expected = f"expected seconds, 0 to {MAX_SECONDS:g}"
        problems.add(f"task {show(task_id)}, field {field}: {expected}, found {show(runtime)}")
        seconds = 0.0
    draft.entries.append((task_id, parents))
    needs = tuple(dict.fromkeys(parents))
    draft.tasks.append(TaskSpec(id=task_id, needs=needs, sleep_s=seconds))


def _read_wfcommons(document: _Fields, draft: Draft, problems: Problems) -> None:
    draft.is_recorded = True
    workflow = document["workflow"]
    assert isinstance(workflow, Mapping)
    specification, execution = workflow.get("specification"), workflow.get("execution")
    if isinstance(specification, Mapping):
        what = "workflow.specification.tasks"
        listed = _listed(specification.get("tasks"), what, problems)
        runs = execution.get("tasks") if isinstance(execution, Mapping) else None
        timed = {
            str(fields.get("id")): fields
            for _, fields in _listed(runs or [], "workflow.execution.tasks", problems)
        }
        ids = [_id_of(label, fields, problems) for label, fields in listed]
        names = {task_id: task_id for task_id in ids if task_id is not None}
    else:
        key = "tasks" if "tasks" in workflow else "jobs"
        listed = _listed(workflow.get(key), f"workflow.{key}", problems)
        ids = [_old_id(label, fields, problems) for label, fields in listed]
        timed = {
            task_id: fields for task_id, (_, fields) in zip(ids, listed, strict=True) if task_id
        }
        names = _names(ids, listed)
    rows = [(task_id, fields) for task_id, (_, fields) in zip(ids, listed, strict=True) if task_id]
    parents = _wfcommons_parents(rows, names, problems)
    for task_id, _ in rows:
        run = timed.get(task_id, {})
        field = "runtime" if "runtime" in run else "runtimeInSeconds"
        _add_recorded(task_id, list(parents[task_id]), field, run, draft, problems)


def _wfcommons_parents(
    rows: list[tuple[str, _Fields]], names: Mapping[str, str], problems: Problems
) -> dict[str, dict[str, None]]:
    """Collect each task's parents: an edge may be told at either of its ends."""
    parents: dict[str, dict[str, None]] = {task_id: {} for task_id, _ in rows}
    for task_id, fields in rows:
        label = f"task {show(task_id)}"
        for parent in _texts(label, "parents", fields.get("parents"), problems):
            parents[task_id][names.get(parent, parent)] = None
        for child in _texts(label, "children", fields.get("children"), problems):
            known = names.get(child)
            if known is None:
                problems.add(f"{label}: its child {show(child)} does not exist")
            else:
                parents[known][task_id] = None
    return parents


def _old_id(label: str, fields: _Fields, problems: Problems) -> str | None:
    """Name a task of WfFormat 1.4 or older as the format's own migration to 1.5 does."""
    name = _id_of(label, fields, problems, "name")
    number = fields.get("id")
    if name is None or not isinstance(number, str) or number in name:
        return name
    return f"{name}_{number}"


def _names(ids: list[str | None], listed: list[tuple[str, _Fields]]) -> dict[str, str]:
    """Map whatever older instances call a task to its id; what came first wins."""
    names: dict[str, str] = {}
    for task_id, (_, fields) in zip(ids, listed, strict=True):
        for name in (fields.get("name"), fields.get("id"), task_id):
            if isinstance(name, str) and task_id is not None:
                names.setdefault(name, task_id)
    return names
