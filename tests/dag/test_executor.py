"""Claims that share runners, and do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from itertools import pairwise

import anyio
import pytest
import trio

from federlib._tasks import open_task_group
from federlib.dag.executor import Executor
from federlib.dag.records import Claim

pytestmark = pytest.mark.anyio

Perform = Callable[[Claim], Awaitable[bool]]
MINE: ContextVar[str] = ContextVar("mine", default="nobody's")


class Hands:
    """An executor, and what came of its claims."""

    def __init__(self, perform: Perform) -> None:
        self.ended: list[int] = []
        self.late: list[tuple[int, str]] = []
        self.now_ns = 0
        self._perform = perform
        self.executor: Executor

    async def perform(self, claim: Claim) -> bool:
        is_clean = await self._perform(claim)
        self.ended.append(claim.node)
        return is_clean

    def failed(self, claim: Claim, error: Exception) -> None:
        self.late.append((claim.node, str(error)))

    def start(self, *nodes: int) -> None:
        for node in nodes:
            self.executor.start(Claim(node, 1, 1))

    async def until(self, *nodes: int) -> None:
        with anyio.fail_after(10):
            while sorted(self.ended) != sorted(nodes):
                await anyio.sleep(0.001)


async def run(perform: Perform, body: Callable[[Hands], Awaitable[None]]) -> Hands:
    hands = Hands(perform)
    async with open_task_group() as group:
        hands.executor = Executor(
            group, perform=hands.perform, failed=hands.failed, clock_ns=lambda: hands.now_ns
        )
        await body(hands)
        group.cancel_scope.cancel()
    return hands


async def test_claims_that_never_wait_are_done_in_their_order() -> None:
    async def quick(claim: Claim) -> bool:
        return True

    async def body(hands: Hands) -> None:
        hands.start(*range(100))
        await hands.until(*range(100))
        assert hands.ended == list(range(100))
        hands.start(7)
        await hands.until(*range(100), 7)

    await run(quick, body)


async def test_claims_that_wait_run_at_the_same_time() -> None:
    running: set[int] = set()
    all_in = anyio.Event()

    async def wait(claim: Claim) -> bool:
        running.add(claim.node)
        if len(running) == 50:
            all_in.set()
        await all_in.wait()
        return True

    async def body(hands: Hands) -> None:
        hands.start(*range(50))
        await hands.until(*range(50))

    await run(wait, body)


async def test_a_claim_that_waits_holds_up_nobody_who_comes_later() -> None:
    free = anyio.Event()

    async def first_waits(claim: Claim) -> bool:
        if claim.node == 0:
            await free.wait()
        return True

    async def body(hands: Hands) -> None:
        for node in range(5):
            hands.start(node)
            await anyio.sleep(0)
        await hands.until(1, 2, 3, 4)
        free.set()
        await hands.until(0, 1, 2, 3, 4)

    await run(first_waits, body)


async def test_a_running_claim_is_stopped_and_the_others_go_on() -> None:
    began: list[int] = []
    free = anyio.Event()

    async def wait(claim: Claim) -> bool:
        began.append(claim.node)
        await free.wait()
        return True

    async def body(hands: Hands) -> None:
        hands.start(0, 1, 2)
        with anyio.fail_after(10):
            while len(began) < 3:
                await anyio.sleep(0.001)
        hands.executor.stop(1, 1)
        hands.executor.stop(9, 1)
        await anyio.sleep(0.01)
        free.set()
        await hands.until(0, 2)
        hands.start(3)
        await hands.until(0, 2, 3)
        assert hands.late == []

    await run(wait, body)


async def test_a_claim_that_is_stopped_before_it_began_never_does() -> None:
    began: list[int] = []

    async def note(claim: Claim) -> bool:
        began.append(claim.node)
        return True

    async def body(hands: Hands) -> None:
        hands.start(0, 1, 2)
        hands.executor.stop(1, 1)
        await hands.until(0, 2)
        assert began == [0, 2]
        # The same node comes again under its next attempt.
        hands.executor.start(Claim(1, 2, 1))
        await hands.until(0, 1, 2)

    await run(note, body)


async def test_what_is_raised_by_a_claim_that_is_being_stopped_is_told() -> None:
    began = anyio.Event()

    async def sulk(claim: Claim) -> bool:
        if claim.node:
            return True
        try:
            began.set()
            await anyio.sleep_forever()
        finally:
            raise ValueError("I will not")

    async def body(hands: Hands) -> None:
        hands.start(0)
        await began.wait()
        hands.executor.stop(0, 1)
        with anyio.fail_after(10):
            while not hands.late:
                await anyio.sleep(0.001)
        assert hands.late == [(0, "I will not")]
        hands.start(1)
        await hands.until(1)

    await run(sulk, body)


async def test_a_context_variable_that_one_claim_sets_is_unknown_to_the_next() -> None:
    seen: list[str] = []

    async def mark(claim: Claim) -> bool:
        seen.append(MINE.get())
        MINE.set(f"of {claim.node}")
        return True

    async def body(hands: Hands) -> None:
        hands.start(*range(5))
        await hands.until(*range(5))

    await run(mark, body)
    assert seen == ["nobody's"] * 5


async def test_a_runner_whose_task_was_cancelled_by_its_claim_is_not_used_again(
    anyio_backend: str,
) -> None:
    tasks: list[object] = []

    async def give_up(claim: Claim) -> bool:
        # The task itself: the number of one that has ended may come again.
        asyncio_task = anyio_backend == "asyncio"
        tasks.append(asyncio.current_task() if asyncio_task else trio.lowlevel.current_task())
        return claim.node != 0

    async def body(hands: Hands) -> None:
        hands.start(0)
        await hands.until(0)
        hands.start(1)
        await hands.until(0, 1)

    await run(give_up, body)
    assert len(set(tasks)) == 2


async def test_claims_that_never_wait_let_others_have_a_turn() -> None:
    turns: list[int] = []

    async def slow(claim: Claim) -> bool:
        hands_of[0].now_ns += 2_000_000
        return True

    hands_of: list[Hands] = []

    async def body(hands: Hands) -> None:
        hands_of.append(hands)
        hands.start(*range(20))
        while len(hands.ended) < 20:
            turns.append(len(hands.ended))
            await anyio.sleep(0)

    await run(slow, body)
    # Three fill the time; a runner that has just been summoned takes one more.
    assert max(b - a for a, b in pairwise(turns)) <= 8


async def test_nothing_is_left_running_when_the_group_ends() -> None:
    ended: list[int] = []

    async def wait(claim: Claim) -> bool:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(claim.node)
        return True

    async def body(hands: Hands) -> None:
        hands.start(0, 1)
        await anyio.sleep(0.01)

    await run(wait, body)
    assert sorted(ended) == [0, 1]
