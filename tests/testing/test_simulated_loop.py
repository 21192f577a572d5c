"""Code written for anyio, in a simulated process: it does what it does on real event loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from federlib._tasks import open_task_group
from federlib.storage import Put, Transaction
from federlib.testing.sim import (
    SECOND_NS,
    Network,
    Node,
    SimulatedClock,
    SimulatedStore,
    Simulation,
    on_loop,
)
from federlib.testing.virtual_time import run_virtually

Facts = list[object]
Scenario = Callable[[Facts], Awaitable[None]]


async def sleeps_and_limits(facts: Facts) -> None:
    began_s = anyio.current_time()
    with anyio.move_on_after(1.5) as limit:
        await anyio.sleep(5)
        facts.append("slept on")
    facts.append((limit.cancelled_caught, round(anyio.current_time() - began_s, 6)))
    with anyio.move_on_after(2) as limit:
        await anyio.sleep(1)
    facts.append((limit.cancelled_caught, round(anyio.current_time() - began_s, 6)))
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await anyio.sleep(1)
    with anyio.CancelScope(deadline=anyio.current_time() + 9) as limit:
        limit.deadline = anyio.current_time() + 1
        await anyio.sleep_forever()
    facts.append(round(anyio.current_time() - began_s, 6))


async def shields(facts: Facts) -> None:
    began_s = anyio.current_time()
    with anyio.move_on_after(1) as outer:
        with anyio.CancelScope(shield=True) as inner:
            await anyio.sleep(3)
            facts.append(("shielded", round(anyio.current_time() - began_s, 6)))
            inner.shield = False
            await anyio.sleep(3)
            facts.append("no shield")
        facts.append("not here")
    facts.append((outer.cancelled_caught, inner.cancelled_caught))


async def nested_scopes(facts: Facts) -> None:
    with anyio.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            inner.cancel()
            outer.cancel()
            facts.append(anyio.current_effective_deadline())
            await anyio.lowlevel.checkpoint()
            facts.append("not here")
        facts.append("nor here")
    facts.append((outer.cancelled_caught, inner.cancelled_caught))
    facts.append(anyio.current_effective_deadline() > anyio.current_time())


async def what_is_cancelled_stays_cancelled(facts: Facts) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        for _ in range(2):
            try:
                await anyio.sleep(1)
            except anyio.get_cancelled_exc_class():
                facts.append("again")
        await anyio.lowlevel.checkpoint_if_cancelled()
        facts.append("not here")
    await anyio.lowlevel.checkpoint_if_cancelled()
    facts.append(scope.cancelled_caught)


async def groups_end_together(facts: Facts) -> None:
    async def beat(every_s: float) -> None:
        try:
            while True:
                await anyio.sleep(every_s)
                facts.append(every_s)
        finally:
            with anyio.move_on_after(1, shield=True) as limit:
                await anyio.sleep(3)
            facts.append(("bye", limit.cancelled_caught))

    async with anyio.create_task_group() as group:
        group.start_soon(beat, 1)
        group.start_soon(beat, 0.7)
        await anyio.sleep(2.5)
        group.cancel_scope.cancel()
    facts.append("over")


async def errors_leave_their_group(facts: Facts) -> None:
    async def fail() -> None:
        await anyio.sleep(1)
        raise ValueError("mine")

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            facts.append("stopped")

    try:
        async with open_task_group() as group:
            group.start_soon(fail)
            group.start_soon(wait)
            await anyio.sleep(10)
            facts.append("not here")
    except ValueError as error:
        facts.append(str(error))
    with pytest.raises(BaseExceptionGroup) as raised:
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(0.1)
            raise KeyError("body")
    facts.append([type(error).__name__ for error in raised.value.exceptions])


async def a_group_in_a_cancelled_scope_is_left(facts: Facts) -> None:
    async def wait() -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(1) as limit:
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
        facts.append("not here")
    facts.append((limit.cancelled_caught, group.cancel_scope.cancelled_caught))


async def events_wake_all(facts: Facts) -> None:
    event = anyio.Event()

    async def wait() -> None:
        await event.wait()
        facts.append("woken")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
        await anyio.sleep(1)
        facts.append(event.is_set())
        event.set()
    await event.wait()
    facts.append(event.is_set())


async def tasks_have_contexts_of_their_own(facts: Facts) -> None:
    name: ContextVar[str] = ContextVar("name")
    name.set("outer")

    async def change() -> None:
        facts.append(name.get())
        name.set("inner")
        await anyio.sleep(1)
        facts.append(name.get())

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        await anyio.sleep(0.5)
        facts.append(name.get())


SCENARIOS: tuple[Scenario, ...] = (
    sleeps_and_limits,
    shields,
    nested_scopes,
    what_is_cancelled_stays_cancelled,
    groups_end_together,
    errors_leave_their_group,
    a_group_in_a_cancelled_scope_is_left,
    events_wake_all,
    tasks_have_contexts_of_their_own,
)


def simulated(scenario: Scenario, seed: int) -> Facts:
    facts: Facts = []

    async def live(_node: Node) -> None:
        await scenario(facts)
        facts.append("end")

    with Simulation(seed) as sim:
        Node(sim, "n1", on_loop(live), SimulatedClock(sim, "m")).start()
        sim.run(until_ns=60 * SECOND_NS)
    return facts


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_program_does_in_the_simulator_what_it_does_on_trio(scenario: Scenario) -> None:
    async def work() -> Facts:
        facts: Facts = []
        await scenario(facts)
        return [*facts, "end"]

    expected = run_virtually(work, "trio", seed=1)
    for seed in range(5):
        assert simulated(scenario, seed) == expected


def test_what_a_killed_process_says_in_its_last_blocks_changes_nothing() -> None:
    facts: Facts = []

    async def live(node: Node) -> None:
        mine = store.client(node)

        async def stay() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                facts.append("dying")
                with anyio.CancelScope(shield=True):
                    await mine.commit(Transaction((Put("last/words", b"1"),)))
                facts.append("not here")

        async with anyio.create_task_group() as group:
            group.start_soon(stay)
            await stay()

    with Simulation(1) as sim:
        store = SimulatedStore(sim, Network(sim))
        node = Node(sim, "n1", on_loop(live), SimulatedClock(sim, "m"))
        node.start()
        sim.after(SECOND_NS, lambda _: node.kill(), None)
        sim.run(until_ns=60 * SECOND_NS)
        assert facts == ["dying", "dying"]
        assert store.look("last/words") is None


def test_an_error_that_leaves_a_program_ends_the_simulation() -> None:
    async def live(_node: Node) -> None:
        await anyio.sleep(1)
        raise KeyError("mine")

    with Simulation(1) as sim:
        Node(sim, "n1", on_loop(live), SimulatedClock(sim, "m")).start()
        with pytest.raises(KeyError, match="mine"):
            sim.run(until_ns=60 * SECOND_NS)


def test_a_loop_is_found_only_while_its_process_runs() -> None:
    async def live(_node: Node) -> None:
        await anyio.sleep(1)

    with Simulation(1) as sim:
        Node(sim, "n1", on_loop(live), SimulatedClock(sim, "m")).start()
        sim.run(until_ns=SECOND_NS // 2)
        with pytest.raises(anyio.NoEventLoopError):
            anyio.current_time()


def test_a_process_waits_by_its_own_clock() -> None:
    facts: Facts = []

    async def live(_node: Node) -> None:
        await anyio.sleep(10)
        facts.append(sim.now_ns)

    with Simulation(1) as sim:
        clock = SimulatedClock(sim, "m", drift_ppm=-500_000)
        Node(sim, "n1", on_loop(live), clock).start()
        sim.run(until_ns=60 * SECOND_NS)
    assert facts == [20 * SECOND_NS]
