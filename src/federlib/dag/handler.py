"""What does a task: the handler, and what it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from federlib.dag.task import TaskSpec

__all__ = ["Handler", "TaskFailed", "TaskRun", "describe"]


class TaskFailed(Exception):  # noqa: N818 (reads as what happened)
    """Raise it from a handler to fail an attempt with a reason in your own words."""


class TaskRun(msgspec.Struct, frozen=True):
    """One attempt at a task, as its handler sees it.

    Attributes:
        run_id: The run.
        task: The task as it was submitted.
        attempt: From 1.
        epoch: The epoch under which it was claimed.
        inputs: Results of its parents by task id, where they had one.
    """

    run_id: str
    task: TaskSpec
    attempt: int
    epoch: int
    inputs: dict[str, object]

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.task.id

    @property
    def idempotency_key(self) -> str:
        """The same at every attempt: hand it to whatever has effects outside the store."""
        return f"{self.run_id}:{self.task.id}"


Handler = Callable[[TaskRun], Awaitable[object]]
"""Does a task; what it returns, as JSON of at most 64 KiB, reaches the task's children.

Any exception means that the attempt failed. It is cancelled when the claim is revoked.
"""


def describe(error: BaseException) -> str:
    """Say in one line what went wrong, in text that can be stored."""
    name = type(error).__name__
    try:
        text = str(error).strip().replace("\n", " ")
    except Exception as worse:
        text = f"its text fails with {type(worse).__name__}"
    text = text.encode("utf-8", "replace").decode()
    if isinstance(error, TaskFailed):
        return text
    return f"{name}: {text}" if text else name
