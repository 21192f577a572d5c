"""Opening an engine where blocking is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

__all__ = ["open_in_thread"]

_T = TypeVar("_T")


async def open_in_thread(open_engine: Callable[[], _T]) -> _T:
    """Open an engine in a thread of its own.

    Shielded: an engine that nobody takes over would keep its files and connections open.
    """
    with anyio.CancelScope(shield=True):
        engine = await anyio.to_thread.run_sync(open_engine, limiter=anyio.CapacityLimiter(1))
    return engine  # noqa: RET504 (mypy: a scope may swallow what is raised)
