"""Waiting in the calling thread: limits that nest, bells that are not missed, an end to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import anyio
import pytest

from federlib._pace import LOOP, Bell, ThreadPace, run_now
from federlib.errors import Unavailable


async def slept(pace: ThreadPace, seconds: float) -> str:
    await pace.sleep(seconds)
    return "slept"


def test_a_coroutine_that_never_suspends_runs_to_its_end() -> None:
    assert run_now(slept(ThreadPace(), 0)) == "slept"


def test_one_that_wants_an_event_loop_is_our_bug() -> None:
    class Suspends:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def suspend() -> None:
        await Suspends()

    with pytest.raises(AssertionError, match="event loop"):
        run_now(suspend())


def test_a_limit_skips_the_rest_of_its_block() -> None:
    pace = ThreadPace()
    began = time.monotonic()
    with pace.limit(0.1) as limit:
        run_now(slept(pace, 30))
        pytest.fail("it slept")
    assert limit.cancelled_caught
    assert 0.1 <= time.monotonic() - began < 5
    assert pace.left_s() is None


def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    pace = ThreadPace()
    with pace.limit(30) as limit:
        assert run_now(slept(pace, 0.01)) == "slept"
    assert not limit.cancelled_caught


def test_the_outer_limit_ends_the_inner_block_too() -> None:
    pace = ThreadPace()
    with pace.limit(0.05) as outer:
        with pace.limit(30) as inner:
            run_now(slept(pace, 30))
        pytest.fail("it went on")
    assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False)


def test_the_inner_limit_ends_only_the_inner_block() -> None:
    pace = ThreadPace()
    with pace.limit(30) as outer:
        with pace.limit(0.05) as inner:
            run_now(slept(pace, 30))
        assert run_now(slept(pace, 0.01)) == "slept"
    assert (outer.cancelled_caught, inner.cancelled_caught) == (False, True)


def test_a_shield_keeps_the_outer_limit_out() -> None:
    pace = ThreadPace()
    with pace.limit(0.01) as outer:
        time.sleep(0.05)
        with pace.limit(30, shield=True):
            assert run_now(slept(pace, 0.01)) == "slept"
        run_now(slept(pace, 30))
        pytest.fail("it slept")
    assert outer.cancelled_caught


def test_an_error_of_the_block_passes_a_limit() -> None:
    pace = ThreadPace()
    with pytest.raises(KeyError), pace.limit(30):
        raise KeyError("mine")
    assert pace.left_s() is None


def test_limits_belong_to_their_thread() -> None:
    pace = ThreadPace()
    seen: list[float | None] = []
    with pace.limit(30):
        thread = threading.Thread(target=lambda: seen.append(pace.left_s()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_bell_rung_before_is_heard() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(10)
    assert not bell.wait(0.01)


def test_a_wait_ends_when_the_bell_rings() -> None:
    pace, bell = ThreadPace(), Bell()
    threading.Timer(0.05, bell.ring).start()
    began = time.monotonic()
    assert pace.wait(bell, 30)
    assert time.monotonic() - began < 5
    assert not pace.wait(bell, 0.01)


def test_closing_ends_every_wait_of_every_thread() -> None:
    pace = ThreadPace()
    ended: list[str] = []

    def sleep() -> None:
        try:
            run_now(slept(pace, 60))
        except Unavailable as error:
            ended.append(error.reason)

    threads = [threading.Thread(target=sleep) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)  # some are asleep by now; whoever is not must not fall asleep
    pace.close(Unavailable("it", "closed"))
    for thread in threads:
        thread.join(10)
    assert ended == ["closed"] * 3
    with pytest.raises(Unavailable):
        pace.check()


def test_a_lock_of_threads_lets_one_in() -> None:
    lock = ThreadPace().lock()
    inside: list[int] = []

    async def work() -> None:
        async with lock:
            inside.append(1)
            time.sleep(0.01)
            assert len(inside) == 1
            inside.pop()

    threads = [threading.Thread(target=lambda: run_now(work())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert inside == []


@pytest.mark.anyio
async def test_on_an_event_loop_the_same_words_mean_the_same() -> None:
    with LOOP.limit(0.05) as limit:
        await LOOP.sleep(30)
    assert limit.cancelled_caught
    assert await LOOP.run(lambda: threading.current_thread() is threading.main_thread()) is False
    async with LOOP.lock():
        await anyio.lowlevel.checkpoint()
