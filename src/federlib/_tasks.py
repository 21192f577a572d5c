"""Task groups and scopes whose errors come out as themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup

__all__ = ["leave_scope", "open_task_group"]


@asynccontextmanager
async def open_task_group() -> AsyncGenerator[TaskGroup, None]:
    """Open an anyio task group that raises the first error of its tasks unwrapped.

    Callers of a library catch `LeaseLost`, not a group that holds one. Later errors, which
    as a rule follow from the first, are attached to it as notes.
    """
    try:
        async with anyio.create_task_group() as group:
            yield group
    except BaseExceptionGroup as errors:
        first, *others = _leaves(errors)
        for other in others:
            first.add_note(f"also: {other!r}")
        raise first from first.__cause__


def leave_scope(scope: CancelScope, error: BaseException | None) -> BaseException | None:
    """Leave a scope that was entered by hand; return what is still to be raised."""
    kind, traceback = (None, None) if error is None else (type(error), error.__traceback__)
    try:
        return None if scope.__exit__(kind, error, traceback) else error
    except BaseException as rest:
        # Trio takes its Cancelled out of a group and raises what is left of it.
        return rest


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in errors.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
