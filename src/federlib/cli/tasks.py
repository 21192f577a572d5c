"""What a worker process of `federlib run` does with a task."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec

from federlib.cli.exec import Call, Exec, TaskRunner, log_path
from federlib.dag import TaskFailed, TaskRun

__all__ = ["Busy", "TaskHandler"]


class Busy:
    """Counts the tasks that a handler has in hand.

    Args:
        handler: Does them.

    Attributes:
        tell: Hears the count whenever it changes.
    """

    def __init__(self, handler: TaskHandler) -> None:
        self._handler = handler
        self._tasks = 0
        self.tell: Callable[[int], None] = lambda _: None

    async def __call__(self, task: TaskRun) -> object:
        """Do one task."""
        self._count(1)
        try:
            return await self._handler(task)
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        self._tasks += step
        self.tell(self._tasks)


class TaskHandler:
    """Runs shell commands and calls in processes of their own; sleeps recorded runtimes.

    Args:
        runner: Starts and kills the processes.
        logs: Root of the task logs.
    """

    def __init__(self, runner: TaskRunner, logs: Path) -> None:
        self._runner = runner
        self._logs = logs

    async def __call__(self, task: TaskRun) -> object:
        """Do one task; what it returns reaches its children."""
        spec = task.task
        if spec.sleep_s is not None:
            await anyio.sleep(spec.sleep_s)
            return None
        command: tuple[str, ...] | Call
        if spec.run is not None:
            command = ("/bin/sh", "-c", spec.run, "sh", *map(str, spec.args or ()))
        elif spec.call is not None:
            command = Call(spec.call, msgspec.json.encode(spec.args))
        else:
            return None
        done = await self._runner.run(
            Exec(
                command=command,
                cwd=Path(spec.cwd or ".").absolute(),
                env=_environment(task),
                log_path=log_path(self._logs, task.run_id, task.task_id, task.attempt),
                inputs=msgspec.json.encode(task.inputs),
            )
        )
        if done.outcome != "success":
            raise TaskFailed(done.message)
        return done.result


def _environment(task: TaskRun) -> dict[str, str]:
    return {
        **os.environ,
        **(task.task.env or {}),
        "FEDERLIB_RUN_ID": task.run_id,
        "FEDERLIB_TASK_ID": task.task_id,
        "FEDERLIB_ATTEMPT": str(task.attempt),
        "FEDERLIB_EPOCH": str(task.epoch),
        "FEDERLIB_IDEMPOTENCY_KEY": task.idempotency_key,
    }
