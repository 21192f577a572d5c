"""The threads of a store: who waits for whom, and what is left when somebody goes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import anyio
import pytest

from federlib.errors import Fenced, Unavailable
from federlib.storage.backends._blocking.crew import Crew

pytestmark = pytest.mark.anyio


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew("store s")
    yield made
    made.close()


async def test_what_is_read_or_raised_comes_back(crew: Crew) -> None:
    assert await crew.read(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await crew.read(lambda: 1 // 0)


async def test_leases_are_read_while_every_other_reader_hangs(crew: Crew) -> None:
    free = threading.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(crew.read, free.wait)
        with anyio.fail_after(10):
            assert await crew.read(lambda: "lease", is_lease=True) == "lease"
            with anyio.move_on_after(0.05) as others:
                await crew.read(lambda: "other")
            assert others.cancelled_caught
        free.set()


async def test_commits_are_done_one_by_one_in_their_order(crew: Crew) -> None:
    done: list[int] = []
    inside: list[int] = []

    def commit(number: int) -> None:
        inside.append(number)
        assert len(inside) == 1
        done.append(number)
        inside.remove(number)

    for number in range(200):
        crew.commit(lambda number=number: commit(number))  # type: ignore[misc]
    with anyio.fail_after(10):
        while len(done) < 200:
            await anyio.sleep(0.001)
    assert done == list(range(200))


async def test_one_who_is_cancelled_waits_for_no_thread(crew: Crew) -> None:
    free, done = threading.Event(), threading.Event()

    def verb() -> None:
        free.wait(10)
        done.set()

    with anyio.move_on_after(0.02) as scope:
        await crew.read(verb)
    assert scope.cancelled_caught
    assert not done.is_set()
    free.set()
    assert await crew.read(lambda: done.wait(10))


async def test_one_who_is_cancelled_before_it_asks_asks_nothing(crew: Crew) -> None:
    asked: list[int] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await crew.read(lambda: asked.append(1))
    assert scope.cancelled_caught
    assert asked == []


async def test_few_threads_are_started_and_they_end_with_the_store(crew: Crew) -> None:
    before = threading.active_count()
    for _ in range(50):
        await crew.read(lambda: None)
    # Those that have just answered may not be counted as idle yet, on a busy machine.
    assert threading.active_count() <= before + 10
    crew.close()
    with anyio.fail_after(10):
        while threading.active_count() > before:
            await anyio.sleep(0.001)
    with pytest.raises(Unavailable, match="closed"):
        await crew.read(lambda: None)


def test_a_loop_that_has_ended_does_not_hold_up_the_threads(crew: Crew) -> None:
    free = threading.Event()

    async def ask_and_go() -> None:
        with anyio.move_on_after(0.01):
            await crew.read(lambda: free.wait(10), is_lease=True)

    async def ask() -> int:
        return await crew.read(lambda: 7, is_lease=True)

    anyio.run(ask_and_go)
    free.set()
    assert anyio.run(ask) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_is_refused_at_once_and_does_not_wait_for_threads_that_stayed_behind() -> None:
    crew = Crew("store s")

    async def ask() -> None:
        await crew.read(lambda: None)

    anyio.run(ask)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            anyio.run(ask)
        except Fenced:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    crew.close()
