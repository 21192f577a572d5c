"""Event loops whose time passes only while everybody waits, and then at once.

A run of minutes takes milliseconds, and two runs with the same seed take the same course.
For programs that wait for nothing but each other and time: no threads, no sockets.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import anyio
import attrs
import trio
import trio.testing
from trio._core import _run as trios

from federlib.skewclock import Clock

__all__ = ["AheadClock", "Backend", "LoopClock", "run_virtually"]

Backend = Literal["asyncio", "trio"]

_T = TypeVar("_T")
_EPOCH_NS = 1_700_000_000 * 10**9


class _Jump(selectors.DefaultSelector):
    """Looks for what is ready; where a loop would sleep, it moves the clock."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing can come"
            self.now_s += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        # Far below a nanosecond: whoever is woken early by less than its clock can show would
        # wait again for an instant that never comes.
        self._clock_resolution = 1e-10

    def time(self) -> float:
        return self._jump.now_s


@attrs.frozen
class LoopClock:
    """The loop's time as a `Clock`, shared by all processes of one host."""

    clock_id: str = "virtual/boot-1/"

    def boot_ns(self) -> int:
        # Loops may start anywhere, at 0 too; a boot clock is past its first hour.
        return round((anyio.current_time() + 3_600) * 1e9)

    def monotonic_ns(self) -> int:
        return self.boot_ns()

    def wall_ns(self) -> int:
        return _EPOCH_NS + self.boot_ns()


@attrs.frozen
class AheadClock:
    """A host's clock, as a process sees it for which more time has passed."""

    base: Clock
    ahead_s: float

    @property
    def clock_id(self) -> str:
        return self.base.clock_id

    def boot_ns(self) -> int:
        return self.base.boot_ns() + round(self.ahead_s * 1e9)

    def monotonic_ns(self) -> int:
        return self.base.monotonic_ns() + round(self.ahead_s * 1e9)

    def wall_ns(self) -> int:
        return self.base.wall_ns() + round(self.ahead_s * 1e9)


def run_virtually(work: Callable[[], Awaitable[_T]], backend: Backend, *, seed: int) -> _T:
    """Run `work` on a loop of its own whose time is not ours.

    Args:
        work: The program.
        backend: On which loop.
        seed: For trio, which runs what is ready in an order left to chance.
    """
    if backend == "asyncio":
        return anyio.run(work, backend="asyncio", backend_options={"loop_factory": _Loop})
    clock = trio.testing.MockClock(autojump_threshold=0)
    with _trio_by_seed(seed):
        return anyio.run(work, backend="trio", backend_options={"clock": clock})


@contextmanager
def _trio_by_seed(seed: int) -> Iterator[None]:
    """Have trio shuffle what is ready by a seed, as it lets Hypothesis do."""
    state = trios._r.getstate()
    was = trios._ALLOW_DETERMINISTIC_SCHEDULING
    trios._r.seed(seed)
    trios._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    try:
        yield
    finally:
        trios._r.setstate(state)
        trios._ALLOW_DETERMINISTIC_SCHEDULING = was  # type: ignore[misc]
