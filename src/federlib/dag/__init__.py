"""DAGs that survive their leader: data in a store, one leader at a time, any number of workers.

    run = await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r1")
    ended = await fed.dag.work(run, handler=do_task)
    print(ended.state)

The promise about effects, in three sentences. One finish is accepted per claim
`(task, attempt, epoch)`. Effects written in the same store transaction happen exactly once.
For everything else there is an idempotency key, the same on every attempt of a task.

Does not promise: that a task runs once. A worker can die after its effect and before its
finish; then the task runs again.
Hazards: a handler that blocks the event loop stops the renewal of its worker's lease.
"""

from __future__ import annotations

from federlib.dag.handler import Handler, TaskFailed, TaskRun
from federlib.dag.records import ProgressRecord, RunRecord
from federlib.dag.runs import Policy, Run, Runs
from federlib.dag.runstate import Running, RunState
from federlib.dag.workflow import (
    TaskSpec,
    Workflow,
    default_time_scale,
    load_workflow,
    plan_diff,
    plan_hash,
)

__all__ = [
    "Handler",
    "Policy",
    "ProgressRecord",
    "Run",
    "RunRecord",
    "RunState",
    "Running",
    "Runs",
    "TaskFailed",
    "TaskRun",
    "TaskSpec",
    "Workflow",
    "default_time_scale",
    "load_workflow",
    "plan_diff",
    "plan_hash",
]
