"""How a worker runs its tasks: each in a session of its own, killed with the worker.

    async with TaskRunner() as runner:
        result = await runner.run(
            Exec(command="make report", cwd=here, env=env, log_path=log_path(root, "r1", "a", 1))
        )
        print(result.outcome, result.message, result.result)

One guard process per worker (`guard.py`) starts the tasks, pumps their output into capped
logs, and kills whatever is left when a task ends, is stopped, or the worker dies.

Does not promise: a sandbox. A task runs with the rights of its worker, and one that works at
it can hide a process: mark and session gone, while another task runs that might have
started it.
Hazards: see `guard.py`; on other systems than Linux only process groups are killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from federlib.cli.exec.context import TaskContext
    from federlib.cli.exec.logs import TaskLog, list_attempts, log_path, read_log
    from federlib.cli.exec.runner import TaskRunner
    from federlib.cli.exec.spec import Call, Exec, ExecResult, JsonValue, Outcome

__all__ = [
    "Call",
    "Exec",
    "ExecResult",
    "JsonValue",
    "Outcome",
    "TaskContext",
    "TaskLog",
    "TaskRunner",
    "list_attempts",
    "log_path",
    "read_log",
]

_HOMES = {
    "Call": "spec",
    "Exec": "spec",
    "ExecResult": "spec",
    "JsonValue": "spec",
    "Outcome": "spec",
    "TaskContext": "context",
    "TaskLog": "logs",
    "TaskRunner": "runner",
    "list_attempts": "logs",
    "log_path": "logs",
    "read_log": "logs",
}


def __getattr__(name: str) -> object:
    # Each `call:` task imports this package: it must not pay for the runner's libraries.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
