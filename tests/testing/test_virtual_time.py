"""Loops whose time is not ours: hours in milliseconds, and the same course again."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from federlib.errors import InvalidInput, MissingExtra
from federlib.lease import StoreLeaseBackend, hold
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import LoopClock, VirtualTime, run_virtually, stall, virtual_backend
from federlib.testing.sim import SimulatedClock
from federlib.testing.virtual_time import Backend

NS = 10**9


def test_an_hour_takes_no_time(virtual_time: VirtualTime) -> None:
    async def main() -> float:
        began_s = anyio.current_time()
        for _ in range(36):
            await anyio.sleep(100)
        return anyio.current_time() - began_s

    began_s = time.monotonic()
    assert virtual_time.run(main, limit_s=4_000) == 3_600
    assert time.monotonic() - began_s < 60


def test_it_returns_and_raises_what_the_program_does(virtual_time: VirtualTime) -> None:
    async def fall() -> int:
        raise LookupError("of its own")

    with pytest.raises(LookupError, match="of its own"):
        virtual_time.run(fall)


def test_time_limits_and_sleepers_wake_in_the_order_of_their_times(
    virtual_time: VirtualTime,
) -> None:
    async def main() -> list[float]:
        woken: list[float] = []

        async def sleep(seconds: float) -> None:
            await anyio.sleep(seconds)
            woken.append(anyio.current_time() - began_s)

        began_s = anyio.current_time()
        with anyio.move_on_after(20):
            async with anyio.create_task_group() as group:
                for seconds in (30.0, 7.0, 0.001, 19.999, 7.5):
                    group.start_soon(sleep, seconds)
        return [*woken, anyio.current_time() - began_s]

    assert virtual_time.run(main) == pytest.approx([0.001, 7, 7.5, 19.999, 20], abs=1e-9)


def test_whoever_waits_for_a_clock_to_show_an_instant_gets_there(virtual_time: VirtualTime) -> None:
    async def main() -> int:
        clock, turns = LoopClock(), 0
        # A third of a second is no whole number of nanoseconds.
        for part in range(1, 200):
            end_ns = clock.boot_ns() + NS // 3 * part + 1
            while (left_ns := end_ns - clock.boot_ns()) > 0:
                turns += 1
                await anyio.sleep(left_ns / NS)
        return turns

    assert virtual_time.run(main, limit_s=10_000) < 400


def test_a_limit_between_two_nanoseconds_is_reached(virtual_time: VirtualTime) -> None:
    async def main() -> int:
        ended = 0
        for part in range(1, 300):
            with anyio.move_on_after(1 / (3 * part)) as limit:
                await anyio.sleep_forever()
            ended += limit.cancelled_caught
        return ended

    assert virtual_time.run(main) == 299


@pytest.mark.parametrize("limit_s", [0.5, 3_600])
def test_what_waits_for_ever_ends_at_the_limit(virtual_time: VirtualTime, limit_s: float) -> None:
    ended_s: list[float] = []

    async def main() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended_s.append(anyio.current_time())

    with pytest.raises(TimeoutError, match=rf"not over after {limit_s:g} s of virtual time"):
        virtual_time.run(main, limit_s=limit_s)
    assert ended_s == [pytest.approx(limit_s)]


def test_a_stalled_loop_wakes_everybody_late(virtual_time: VirtualTime) -> None:
    async def main() -> list[float]:
        woken: list[float] = []

        async def sleep(seconds: float) -> None:
            await anyio.sleep(seconds)
            woken.append(anyio.current_time() - began_s)

        began_s = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(sleep, 1)
            group.start_soon(sleep, 5)
            await anyio.wait_all_tasks_blocked()
            stall(4)
            assert anyio.current_time() - began_s == 4
        return woken

    assert virtual_time.run(main) == [4, 5]


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan, "1"])
def test_a_time_that_cannot_pass_is_refused(virtual_time: VirtualTime, seconds: float) -> None:
    async def main() -> None:
        stall(seconds)

    with pytest.raises(InvalidInput, match="seconds"):
        virtual_time.run(main)


def test_only_a_loop_of_virtual_time_can_be_stalled(virtual_time: VirtualTime) -> None:
    async def main() -> None:
        stall(1)

    with pytest.raises(InvalidInput, match="event loop"):
        stall(1)
    with pytest.raises(InvalidInput, match="event loop"):
        anyio.run(main, backend=virtual_time.backend)


def test_a_loop_still_closes_its_threads(virtual_time: VirtualTime) -> None:
    # Nothing is promised of them, but a loop that used one must come to its end.
    async def main() -> int:
        return await anyio.to_thread.run_sync(lambda: 7, abandon_on_cancel=False)

    assert virtual_time.run(main, limit_s=math.inf) == 7


@pytest.mark.parametrize("limit_s", [0, -1, math.nan, "1"])
def test_a_limit_that_cannot_be_is_refused(limit_s: float) -> None:
    async def main() -> None:
        pass

    with pytest.raises(InvalidInput, match="limit_s"):
        run_virtually(main, limit_s=limit_s)


def test_another_backend_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'curio'"):
        virtual_backend("curio")  # type: ignore[arg-type]  # the point of the test


def test_without_trio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio.testing", None)
    with pytest.raises(MissingExtra, match=r"federlib\[testing\]"):
        virtual_backend("trio")


# The order of what is ready.


async def race() -> str:
    """Let six tasks write down their names at the same instants."""
    order: list[str] = []

    async def run(name: str) -> None:
        for _ in range(5):
            await anyio.sleep(1)
            order.append(name)

    async with anyio.create_task_group() as group:
        for name in "abcdef":
            group.start_soon(run, name)
    return "".join(order)


def test_the_same_seed_takes_the_same_course(virtual_time: VirtualTime) -> None:
    assert virtual_time.run(race) == virtual_time.run(race)


def test_another_seed_has_trio_take_another_course() -> None:
    assert len({run_virtually(race, "trio", seed=seed) for seed in range(5)}) > 1


def test_what_trio_does_by_chance_afterwards_is_left_to_chance() -> None:
    run_virtually(race, "trio", seed=1)
    # Trio's own stream goes on where it was: a seed here decides nothing elsewhere.
    assert len({anyio.run(quick_race, backend="trio") for _ in range(20)}) > 1


async def quick_race() -> str:
    order: list[str] = []

    async def run(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        order.append(name)

    async with anyio.create_task_group() as group:
        for name in "abcdef":
            group.start_soon(run, name)
    return "".join(order)


def test_a_trio_that_takes_no_seed_is_told_of_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import trio._core

    monkeypatch.delattr(trio._core, "_run")
    monkeypatch.setitem(sys.modules, "trio._core._run", None)

    async def main() -> float:
        return anyio.current_time()

    with pytest.warns(UserWarning, match="this trio takes no order"):
        assert run_virtually(main, "trio", seed=1) == 0


def test_an_anyio_that_takes_no_order_is_told_of_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> float:
        return anyio.current_time()

    anyio.run(main)  # anyio itself has loaded it by then
    monkeypatch.setitem(sys.modules, "anyio._backends._asyncio", None)
    with pytest.warns(UserWarning, match="this anyio takes no order"):
        assert run_virtually(main) == 0


async def cancel_siblings() -> tuple[int, ...]:
    """Let twenty tasks hear of the end of their group; note the order."""
    heard: list[int] = []
    litter: list[bytearray] = []

    async def wait(number: int) -> None:
        # So that no two runs have them at the same addresses.
        litter.append(bytearray(random.randrange(10, 3_000)))
        try:
            if number % 2:
                await anyio.sleep_forever()
            with anyio.CancelScope():
                await anyio.sleep_forever()
        finally:
            heard.append(number)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(wait, number)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    return tuple(heard)


def test_siblings_are_cancelled_in_the_same_order_wherever_they_lie(
    virtual_time: VirtualTime,
) -> None:
    assert len({virtual_time.run(cancel_siblings) for _ in range(10)}) == 1


def test_a_loop_beside_it_in_another_thread_is_left_alone() -> None:
    async def cancel_often() -> int:
        done = 0
        while done < 30:
            await cancel_siblings_quickly()
            done += 1
        return done

    with ThreadPoolExecutor(1) as pool:
        for _ in range(5):
            beside = pool.submit(anyio.run, cancel_often)
            assert run_virtually(cancel_siblings) == run_virtually(cancel_siblings)
            assert beside.result(30) == 30


async def cancel_siblings_quickly() -> None:
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(anyio.sleep_forever)
        await anyio.sleep(0.001)
        group.cancel_scope.cancel()


# Clocks.


def test_the_loops_time_is_a_clock(virtual_time: VirtualTime) -> None:
    clock = LoopClock()

    async def main() -> tuple[int, int, int]:
        boot_ns, mono_ns, wall_ns = clock.boot_ns(), clock.monotonic_ns(), clock.wall_ns()
        await anyio.sleep(2.5)
        return (
            clock.boot_ns() - boot_ns,
            clock.monotonic_ns() - mono_ns,
            clock.wall_ns() - wall_ns,
        )

    for _ in range(2):  # one clock for several runs
        assert virtual_time.run(main) == (2_500_000_000,) * 3


def test_a_clock_may_be_wrong_about_the_loops_time(virtual_time: VirtualTime) -> None:
    async def main() -> tuple[int, int, int]:
        fast = SimulatedClock(LoopClock(), "fast", drift_ppm=100_000)
        right, ahead = (
            SimulatedClock(LoopClock(), name, offset_ns=by_ns)
            for name, by_ns in (("right", 0), ("ahead", 7 * NS))
        )
        assert ahead.wall_ns() - right.wall_ns() == 7 * NS
        fast_ns, ahead_ns, wall_ns = fast.boot_ns(), ahead.boot_ns(), fast.wall_ns()
        await anyio.sleep(10)
        fast.step_wall(-NS)
        return fast.boot_ns() - fast_ns, ahead.boot_ns() - ahead_ns, fast.wall_ns() - wall_ns

    assert virtual_time.run(main) == (11 * NS, 10 * NS, 10 * NS)


def test_a_shell_runs_for_an_hour(virtual_time: VirtualTime) -> None:
    async def main() -> float:
        clock: Clock = LoopClock()
        backend = StoreLeaseBackend(MemoryStore(clock), clock, SkewTolerance())
        async with hold(backend, "job", holder_id="ada", clock=clock, ttl_s=30) as lease:
            await anyio.sleep(3_599)
            assert lease.remaining_s() >= 17
        return anyio.current_time()

    assert virtual_time.run(main) == pytest.approx(3_599, abs=1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_serves_anyios_own_runner(backend: Backend) -> None:
    name, options = virtual_backend(backend)

    async def main() -> float:
        await anyio.sleep(500)
        return anyio.current_time()

    work: Callable[[], Awaitable[float]] = main
    assert anyio.run(work, backend=name, backend_options=options) == pytest.approx(500)
