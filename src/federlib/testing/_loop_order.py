"""One order for what an event loop leaves to chance, or to where things lie in memory.

Neither loop offers this. What is used here of anyio and trio is not public: where it is missing,
a warning says that a failure may not come again, and programs run as before.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 (its tasks are numbered)
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

__all__ = ["NumberedTask", "scopes_in_order", "trio_by_seed"]

_T = TypeVar("_T")


class NumberedTask(asyncio.Task[_T]):
    """A task whose place in a set is that of its number, not of its address."""

    def __init__(self, number: int, coroutine: object, **options: Any) -> None:  # noqa: ANN401 (asyncio's)
        # Before asyncio's own: that puts it into a set.
        self._number = number
        super().__init__(coroutine, **options)  # type: ignore[arg-type]  # as it came from asyncio

    def __hash__(self) -> int:
        return self._number

    @staticmethod
    def factory() -> Callable[..., NumberedTask[Any]]:
        """Return what makes the tasks of one loop."""
        numbers = count()

        def make(
            loop: asyncio.AbstractEventLoop,
            coroutine: Coroutine[Any, Any, _T] | Generator[Any, None, _T],
            **options: Any,  # noqa: ANN401 (asyncio's)
        ) -> NumberedTask[_T]:
            return NumberedTask(next(numbers), coroutine, loop=loop, **options)

        return make


@contextmanager
def scopes_in_order(loop_kind: type[asyncio.AbstractEventLoop]) -> Iterator[None]:
    """Have anyio cancel siblings on asyncio in the order in which they were made.

    It keeps scopes in sets, and cancels them in the order of their addresses.

    Args:
        loop_kind: On loops of this class; others, in other threads, are left alone.
    """
    try:
        from anyio._backends._asyncio import CancelScope
    except ImportError:
        _warn("anyio", stacklevel=4)
        yield
        return
    numbers: dict[int, int] = {}
    draw, make = count(), CancelScope.__init__

    def init(scope: CancelScope, *args: Any, **options: Any) -> None:  # noqa: ANN401 (anyio's)
        # An address may have been that of another before.
        numbers.pop(id(scope), None)
        if isinstance(asyncio._get_running_loop(), loop_kind):  # noqa: SLF001 (raises for nobody)
            numbers[id(scope)] = next(draw)
        make(scope, *args, **options)

    def number(scope: CancelScope) -> int:
        found = numbers.get(id(scope))
        return object.__hash__(scope) if found is None else found

    _patch(CancelScope, init, number)
    try:
        yield
    finally:
        _patch(CancelScope, make, object.__hash__)


def _patch(kind: type, init: object, number: object) -> None:
    kind.__init__ = init  # type: ignore[misc]  # for as long as the loop runs
    kind.__hash__ = number  # type: ignore[assignment]  # as above


@contextmanager
def trio_by_seed(seed: int) -> Iterator[None]:
    """Have trio shuffle what is ready by a seed."""
    try:
        # Trio has this for Hypothesis alone.
        from trio._core import _run as trios

        stream, was = trios._r, trios._ALLOW_DETERMINISTIC_SCHEDULING  # noqa: SLF001 (as above)
    except (ImportError, AttributeError):
        _warn("trio", stacklevel=4)
        yield
        return
    state = stream.getstate()
    stream.seed(seed)
    trios._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001 (as above)
    try:
        yield
    finally:
        stream.setstate(state)
        trios._ALLOW_DETERMINISTIC_SCHEDULING = was  # type: ignore[misc]  # noqa: SLF001 (as above)


def _warn(whose: str, *, stacklevel: int) -> None:
    warnings.warn(
        f"this {whose} takes no order: a failure may not come again", stacklevel=stacklevel
    )
