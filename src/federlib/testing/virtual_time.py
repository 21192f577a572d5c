"""Event loops whose time passes only while everybody waits, and then at once.

    async def main() -> None:
        clock = LoopClock()
        backend = StoreLeaseBackend(MemoryStore(clock), clock, SkewTolerance())
        async with hold(backend, "job", holder_id="ada", clock=clock, ttl_s=30):
            await anyio.sleep(1_800)        # half an hour of renewals, in milliseconds

    run_virtually(main)
    run_virtually(main, "trio", seed=7)

What `anyio.sleep`, time limits and the loop's own timers wait for is the loop's time, so a
program needs no change to run here. Two runs with the same seed take the same course.

Does not promise: anything for programs that wait for threads, sockets or processes. The loop
does not see them, takes everybody for idle, and lets time pass.
Hazards: a program that always has something to do never lets time pass.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 (one of the two loops is made here)
import math
import selectors
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import anyio
import attrs

from federlib.errors import InvalidInput, MissingExtra
from federlib.testing._loop_order import NumberedTask, scopes_in_order, trio_by_seed
from federlib.testing.sim.clock import EPOCH_NS

if TYPE_CHECKING:
    from trio.testing import MockClock

__all__ = ["Backend", "LoopClock", "VirtualTime", "run_virtually", "stall", "virtual_backend"]

Backend = Literal["asyncio", "trio"]
"""An event loop."""

_T = TypeVar("_T")
_NS = 1_000_000_000
_BOOTED_NS = 3_600 * _NS
_HOUR_S = 3_600.0
_ROUNDING_NS = 0.001


class _Jump(selectors.DefaultSelector):
    """Looks for what is ready; where a loop would sleep, it moves the time."""

    # An integer, or the errors of a million jumps would add up.
    now_ns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # Nothing but a file can wake it, as at its end, when it waits for its threads.
            return super().select()
        ready = super().select(0)
        if not ready:
            self.now_ns += _whole_ns(timeout)
        return ready


def _whole_ns(seconds: float) -> int:
    """Return whole nanoseconds: the next above, unless only a rounding lies between."""
    return max(seconds > 0, math.ceil(seconds * _NS - _ROUNDING_NS))


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)
        self.set_task_factory(NumberedTask.factory())

    @property
    def _clock_resolution(self) -> float:
        # The least there is. A timer that is called before its time looks at the clock, asks
        # to be called again, and as no time has passed it is: for ever.
        return math.ulp(self.time())

    @_clock_resolution.setter
    def _clock_resolution(self, _resolution: float) -> None:
        """Keep it: asyncio would set that of the system's clock."""

    def time(self) -> float:
        return self.jump.now_ns / _NS


@attrs.frozen
class LoopClock:
    """The running loop's time as a `Clock`, and true time for a `SimulatedClock`.

    Reads whatever loop runs, so one object serves many runs. Processes that share it have
    right clocks on one host; give each `SimulatedClock(LoopClock(), "host-1", drift_ppm=50)`
    to have them on hosts of their own, with clocks that are wrong.

    Attributes:
        clock_id: As `Clock.clock_id`.
    """

    clock_id: str = "virtual/boot-1/"

    @property
    def now_ns(self) -> int:
        """The loop's time; nanoseconds."""
        return round(anyio.current_time() * _NS)

    def boot_ns(self) -> int:
        """Read the boot clock: the machine has been up for an hour when the loop starts."""
        # Loops may start anywhere, at 0 too; a boot clock is past its first hour.
        return self.now_ns + _BOOTED_NS

    def monotonic_ns(self) -> int:
        """Read the monotonic clock: the machine never sleeps, so it is the boot clock."""
        return self.boot_ns()

    def wall_ns(self) -> int:
        """Read the wall clock."""
        return EPOCH_NS + self.boot_ns()


def run_virtually(
    work: Callable[[], Awaitable[_T]],
    backend: Backend = "asyncio",
    *,
    seed: int = 0,
    limit_s: float = _HOUR_S,
) -> _T:
    """Run `work` on a loop of its own whose time is not ours.

    Args:
        work: The program.
        backend: On which loop.
        seed: For trio, which runs what is ready in an order left to chance. asyncio has an
            order of its own, the same each time.
        limit_s: How much of the loop's time it may take; seconds. When everybody waits for
            what never comes, this is how it ends.
    Returns:
        What `work` returns.
    Raises:
        TimeoutError: It was not over in time.
        InvalidInput: No such backend, or a limit that is not a number above 0.
        MissingExtra: Trio is not installed.
    """
    if type(limit_s) not in {int, float} or not 0 < limit_s <= math.inf:
        raise InvalidInput("limit_s", expected="seconds, more than 0", found=limit_s)

    async def limited() -> _T:
        with anyio.move_on_after(limit_s):
            return await work()
        raise TimeoutError(f"not over after {limit_s:g} s of virtual time")

    name, options = virtual_backend(backend)
    with trio_by_seed(seed) if name == "trio" else scopes_in_order(_VirtualLoop):
        return anyio.run(limited, backend=name, backend_options=options)


@attrs.frozen
class VirtualTime:
    """`run_virtually` with its backend and seed at hand, as the fixture `virtual_time` gives it.

    Attributes:
        backend: On which loop.
        seed: For trio's order, and for whatever chance the test needs.
    """

    backend: Backend = "asyncio"
    seed: int = 0

    def run(self, work: Callable[[], Awaitable[_T]], *, limit_s: float = _HOUR_S) -> _T:
        """Run a program; see `run_virtually`."""
        return run_virtually(work, self.backend, seed=self.seed, limit_s=limit_s)


def virtual_backend(backend: Backend = "asyncio") -> tuple[Backend, dict[str, object]]:
    """Return a backend's name and options for `anyio.run`, or for a fixture `anyio_backend`.

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return virtual_backend(request.param)

    Every async test of anyio's plugin then runs in virtual time. Its order is not that of a
    seed, and may differ from run to run.

    Raises:
        InvalidInput: No such backend.
        MissingExtra: Trio is not installed.
    """
    if backend == "asyncio":
        return backend, {"loop_factory": _VirtualLoop}
    if backend == "trio":
        return backend, {"clock": _mock_clock()}
    raise InvalidInput("backend", expected=" or ".join(get_args(Backend)), found=backend)


def stall(seconds: float) -> None:
    """Let time pass while nobody runs, as when a callback blocks the loop.

    Whatever is due by then comes late, once the caller awaits something.

    Args:
        seconds: How long; 0 or more.
    Raises:
        InvalidInput: A time that cannot pass, or a loop that was not made here.
    """
    if type(seconds) not in {int, float} or not 0 <= seconds < math.inf:
        raise InvalidInput("seconds", expected="0 or more", found=seconds)
    _find_jump()(seconds)


def _find_jump() -> Callable[[float], object]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _find_trio_jump()
    if not isinstance(loop, _VirtualLoop):
        raise InvalidInput("event loop", expected="one of run_virtually", found=loop)
    jump = loop.jump

    def move(seconds: float) -> None:
        jump.now_ns += round(seconds * _NS)

    return move


def _find_trio_jump() -> Callable[[float], object]:
    try:
        import trio.testing

        clock = trio.lowlevel.current_clock()
    except (ImportError, RuntimeError):
        clock = None
    else:
        if isinstance(clock, trio.testing.MockClock):
            return clock.jump
    raise InvalidInput("event loop", expected="one of run_virtually", found=clock)


def _mock_clock() -> MockClock:
    try:
        from trio.testing import MockClock
    except ImportError as error:
        raise MissingExtra("testing", needed_for="virtual time on trio") from error
    return MockClock(autojump_threshold=0)
