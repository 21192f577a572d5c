"""A DAG whose tasks are Python functions, worked on by two members of a fleet."""

from __future__ import annotations

import anyio

import federlib
from federlib.dag import TaskRun
from federlib.identity import IdentityStore

PLAN = {
    "extract": [],
    "count": ["extract"],
    "total": ["extract"],
    "report": ["count", "total"],
}


async def do_task(task: TaskRun) -> object:
    """Do one task; what is returned reaches the tasks that need it."""
    match task.task_id:
        case "extract":
            return [3, 1, 4, 1, 5, 9, 2, 6]
        case "count":
            return len(task.inputs["extract"])  # type: ignore[arg-type]  # JSON of our own
        case "total":
            return sum(task.inputs["extract"])  # type: ignore[arg-type]  # JSON of our own
        case _:
            print(f"{task.inputs['count']} numbers, {task.inputs['total']} in all")
            return None


async def main() -> None:
    """Submit once, work twice: whoever leads, both return when the run has ended."""
    identities = IdentityStore("identities")
    async with (
        federlib.connect("sqlite:///fleet.db", identity=identities) as one,
        federlib.connect("sqlite:///fleet.db", identity=identities) as two,
        anyio.create_task_group() as group,
    ):
        run = await one.dag.submit(PLAN, run_id="numbers")
        group.start_soon(two.dag.work, run, do_task)
        ended = await one.dag.work(run, do_task)
        assert ended.state == "success"


anyio.run(main)
