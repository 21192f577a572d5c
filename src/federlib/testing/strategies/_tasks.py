"""Tasks and workflows, and how they are submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import msgspec
from hypothesis import strategies as st

from federlib.dag import Policy, Run, TaskRun, TaskSpec, Workflow
from federlib.dag.keys import RunKeys
from federlib.dag.plan import split_plan
from federlib.dag.records import PlanChunk, PlanTask
from federlib.dag.task import MAX_RETRIES, MAX_SECONDS
from federlib.dag.workflow import MAX_NAME
from federlib.errors import InvalidInput
from federlib.graph import MAX_ID_BYTES
from federlib.testing.strategies._plain import (
    any_text,
    booleans,
    counts,
    json_values,
    plain_text,
    seconds,
    tokens,
)

__all__ = [
    "STRATEGIES",
    "illegal_task_ids",
    "illegal_workflows",
    "policies",
    "run_ids",
    "task_ids",
    "workflows",
]

_TEN_YEARS_S = 10 * 365 * 86_400.0


def task_ids() -> st.SearchStrategy[str]:
    """Generate legal ids of tasks, some of them as long as one may be."""
    return plain_text(max_bytes=MAX_ID_BYTES, min_size=1)


def illegal_task_ids() -> st.SearchStrategy[str]:
    """Generate text that no task may have as its id."""
    bad = st.sampled_from(("\n", "\x00", "\u2028", "\u2029", "e\u0301", "\ud800"))
    spoilt = st.builds(lambda a, c, b: f"{a}x{c}x{b}", task_ids(), bad, st.just("") | task_ids())
    too_long = st.integers(MAX_ID_BYTES + 1, 2 * MAX_ID_BYTES).map(lambda size: "t" * size)
    return spoilt | too_long | st.just("")


def _is_run_id(text: str) -> bool:
    try:
        RunKeys(text)
    except InvalidInput:
        return False
    return True


def run_ids() -> st.SearchStrategy[str]:
    """Generate legal names of runs."""
    return plain_text(max_bytes=96, min_size=1).filter(_is_run_id)


# Not blank, and without NUL.
_commands = st.builds(
    lambda word, rest: word + rest,
    st.sampled_from(("true", "echo", "python -c")),
    any_text(max_size=40).map(lambda text: text.replace("\0", "")),
)
_identifiers = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
_calls = st.builds(
    lambda names, function: f"{'.'.join(names)}:{function}",
    st.lists(_identifiers, min_size=1, max_size=3),
    _identifiers,
)
_variables = st.dictionaries(
    any_text(min_size=1, max_size=10).filter(lambda name: not {"=", "\0"} & set(name)),
    any_text(max_size=10).filter(lambda text: "\0" not in text),
    max_size=3,
)
_texts = st.lists(any_text(max_size=10), max_size=3)
_arguments: st.SearchStrategy[object] = st.lists(json_values(), max_size=3) | st.dictionaries(
    any_text(max_size=10), json_values(), max_size=3
)


@st.composite
def _work(draw: st.DrawFn) -> dict[str, object]:
    """Draw what a task does, with arguments that go with it."""
    kind = draw(st.sampled_from(("run", "call", "sleep_s", "handler")))
    if kind == "run":
        return {"run": draw(_commands), "args": draw(st.none() | _texts)}
    if kind == "call":
        return {"call": draw(_calls), "args": draw(st.none() | _arguments)}
    if kind == "sleep_s":
        return {"sleep_s": draw(seconds(0, MAX_SECONDS))}
    return {"args": draw(st.none() | _arguments)}


@st.composite
def _tasks(
    draw: st.DrawFn, task_id: str | None = None, needs: Sequence[str] | None = None
) -> TaskSpec:
    task_id = draw(task_ids()) if task_id is None else task_id
    if needs is None:
        others = task_ids().filter(lambda other: other != task_id)
        needs = draw(st.lists(others, unique=True, max_size=3))
    fields = {
        "id": task_id,
        "needs": tuple(needs),
        "cwd": draw(st.none() | st.just("work") | st.just("/")),
        "env": draw(_variables),
        "retries": draw(st.integers(0, MAX_RETRIES)),
        "timeout_s": draw(st.none() | seconds(0.001, MAX_SECONDS)),
        **draw(_work()),
    }
    return msgspec.convert(fields, TaskSpec)


_names = any_text(min_size=1, max_size=MAX_NAME).filter(
    lambda name: bool(name.strip()) and name.isprintable()
)


def workflows(*, min_tasks: int = 1, max_tasks: int = 6) -> st.SearchStrategy[Workflow]:
    """Generate acyclic workflows; a task may stand before those that it needs.

    Args:
        min_tasks: At least; 0 gives the empty one, too.
        max_tasks: At most.
    """
    return _workflows(min_tasks, max_tasks)


@st.composite
def _workflows(draw: st.DrawFn, min_tasks: int, max_tasks: int) -> Workflow:
    ids = draw(st.lists(task_ids(), unique=True, min_size=min_tasks, max_size=max_tasks))
    tasks = []
    for place, task_id in enumerate(ids):
        # Whatever stands behind nothing that it needs can be on no cycle.
        before = ids[:place]
        needs = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        tasks.append(draw(_tasks(task_id, needs)))
    scale = draw(st.none() | seconds(0, MAX_SECONDS))
    return Workflow(draw(_names), tuple(draw(st.permutations(tasks))), scale)


@st.composite
def illegal_workflows(draw: st.DrawFn) -> Workflow:
    """Generate workflows that are refused: a cycle, a task missing, an id twice, a bad field."""
    good = draw(workflows(min_tasks=2))
    first, *rest = good.tasks
    fault = draw(st.sampled_from(("cycle", "missing", "twice", "field", "id")))
    if fault == "cycle":
        other, *rest = rest
        first = msgspec.structs.replace(first, needs=(other.id,))
        rest = [msgspec.structs.replace(other, needs=(first.id,)), *rest]
    elif fault == "missing":
        absent = draw(task_ids().filter(lambda name: all(name != t.id for t in good.tasks)))
        first = msgspec.structs.replace(first, needs=(*first.needs, absent))
    elif fault == "twice":
        rest = [*rest, first]
    elif fault == "field":
        first = msgspec.structs.replace(first, retries=draw(st.sampled_from((-1, 10**6))))
    else:
        rest = [*rest, TaskSpec(id=draw(illegal_task_ids()))]
    return attrs.evolve(good, tasks=(first, *rest))


@st.composite
def _task_runs(draw: st.DrawFn) -> TaskRun:
    task = draw(_tasks())
    inputs = {parent: value for parent in task.needs if (value := draw(json_values())) is not None}
    return TaskRun(draw(run_ids()), task, draw(counts(1, 1_000)), draw(tokens()), inputs)


_chunks = st.builds(
    lambda chunks, place: chunks[place % len(chunks)],
    workflows().map(split_plan),
    st.integers(0, 9),
)

policies = st.builds(
    Policy,
    on_failover=st.sampled_from(("adopt", "rerun")),
    max_lost=counts(0, 2**31 - 1),
    backoff_s=seconds(0, _TEN_YEARS_S),
    backoff_max_s=seconds(0, _TEN_YEARS_S),
)

STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    PlanChunk: _chunks,
    PlanTask: st.builds(
        lambda chunk, place: chunk.tasks[place % len(chunk.tasks)], _chunks, st.integers(0, 9)
    ),
    Policy: policies,
    Run: st.builds(Run, run_ids(), booleans),
    TaskRun: _task_runs(),
    TaskSpec: _tasks(),
    Workflow: workflows(),
}
