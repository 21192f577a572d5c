"""Commits that are cancelled, wait too long, or hang; and closing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.storage import Absent, Committed, NotSeen, Put, Transaction
from federlib.storage.backends._blocking import store as driver
from federlib.storage.backends.sqlite import SqliteStore
from storage.store_worker import open_url


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_url(f"sqlite:///{path}")
    try:
        yield store
    finally:
        await store.aclose()


@contextmanager
def locked_by_another_program(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


class HangingCommit:
    """Stops the writer's thread in front of SQLite's COMMIT, which has then been sent."""

    def __init__(self, store: SqliteStore) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        writer = store._engine._writer
        assert writer is not None
        writer.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        if statement == "COMMIT":
            self.reached.set()
            self.go_on.wait(20)

    async def wait_until_reached(self) -> None:
        assert await anyio.to_thread.run_sync(
            self.reached.wait, 10, limiter=anyio.CapacityLimiter(1)
        )


@pytest.mark.anyio
async def test_a_commit_cancelled_while_it_waits_has_not_happened(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store:
        with locked_by_another_program(tmp_path / "s.db"):
            with anyio.move_on_after(0.1) as scope:
                await store.commit(Transaction((Put("a", b"lost"),), id="one"))
            assert scope.cancelled_caught
        assert await store.commit(Transaction((Put("a", b"x"),), (Absent("a"),))) == Committed(2)
        assert await store.outcome("one") == NotSeen()


@pytest.mark.anyio
async def test_a_commit_that_waits_too_long_is_unavailable_and_has_not_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "COMMIT_TIMEOUT_S", 0.3)
    async with opened(tmp_path / "s.db") as store:
        with locked_by_another_program(tmp_path / "s.db"), pytest.raises(Unavailable):
            await store.commit(Transaction((Put("a", b"lost"),)))
        assert await store.commit(Transaction((Put("a", b"x"),), (Absent("a"),))) == Committed(2)


@pytest.mark.anyio
async def test_a_commit_cancelled_after_it_was_sent_waits_for_its_answer(tmp_path: Path) -> None:
    answers: list[object] = []
    async with opened(tmp_path / "s.db") as store:
        hanging = HangingCommit(store)

        async def commit(scope: anyio.CancelScope) -> None:
            with scope:
                answers.append(await store.commit(Transaction((Put("a", b"x"),))))
                await anyio.lowlevel.checkpoint()
                answers.append("the cancellation was lost")

        scope = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit, scope)
            await hanging.wait_until_reached()
            scope.cancel()
            await anyio.sleep(0.1)
            assert answers == []
            hanging.go_on.set()
        assert answers == [Committed(2)]
        record = await store.get("a")
        assert record is not None


def test_a_task_that_asyncio_cancels_itself_stays_cancelled_after_the_answer(
    tmp_path: Path,
) -> None:
    """Nobody cancels it a second time, so the commit may not swallow it."""

    async def use() -> None:
        async with opened(tmp_path / "s.db") as store:
            hanging = HangingCommit(store)
            task = asyncio.create_task(store.commit(Transaction((Put("a", b"x"),))))
            await hanging.wait_until_reached()
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
            hanging.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await store.get("a") is not None

    asyncio.run(use())


@pytest.mark.anyio
async def test_a_sent_commit_without_an_answer_is_of_unknown_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "COMMIT_TIMEOUT_S", 0.3)
    async with opened(tmp_path / "s.db") as store:
        hanging = HangingCommit(store)
        transaction = Transaction((Put("a", b"x"),), id="one")
        with pytest.raises(OutcomeUnknown) as caught:
            await store.commit(transaction)
        assert caught.value.transaction_id == "one"
        assert await store.outcome("one") == NotSeen()
        hanging.go_on.set()
        # The retry stands in line behind the first, and finds its receipt.
        assert await store.commit(transaction) == Committed(2)
        assert await store.outcome("one") == Committed(2)


@pytest.mark.anyio
@pytest.mark.parametrize("delay_ms", range(0, 12, 2))
async def test_a_cancelled_commit_is_either_answered_or_has_not_happened(
    tmp_path: Path, delay_ms: int
) -> None:
    async with opened(tmp_path / "s.db") as store:
        for number in range(15):
            answer: object = None
            with anyio.move_on_after((delay_ms + number / 7) / 2_000):
                answer = await store.commit(Transaction((Put(f"a/{number}", b""),)))
            happened = await store.get(f"a/{number}") is not None
            assert happened == isinstance(answer, Committed)


@pytest.mark.anyio
async def test_reads_do_not_wait_behind_commits_that_hang(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, anyio.create_task_group() as tasks:
        with locked_by_another_program(tmp_path / "s.db"):
            for number in range(8):
                tasks.start_soon(store.commit, Transaction((Put(f"a/{number}", b""),)))
            await anyio.sleep(0.1)
            with anyio.fail_after(2):
                assert await store.get("a/1") is None
                assert await store.get("lease/a") is None
    # All eight were served once the lock was free.


@pytest.mark.anyio
async def test_closing_waits_for_a_commit_on_its_way_and_refuses_what_comes_later(
    tmp_path: Path,
) -> None:
    store = await open_url(f"sqlite:///{tmp_path}/s.db")
    hanging = HangingCommit(store)
    answers: list[object] = []

    async def commit() -> None:
        answers.append(await store.commit(Transaction((Put("a", b"x"),))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commit)
        await hanging.wait_until_reached()
        tasks.start_soon(store.aclose)
        await anyio.sleep(0.05)
        with pytest.raises(Unavailable, match="closed"):
            await store.get("a")
        hanging.go_on.set()
    assert answers == [Committed(2)]
    await store.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await store.commit(Transaction((Put("a", b"x"),)))
    # The last one to close leaves no log behind: nothing is open any more.
    assert sorted(os.listdir(tmp_path)) == ["s.db", "s.db.main", "s.db.turn"]


@pytest.mark.anyio
async def test_closing_is_bounded_and_a_hanging_commit_lets_go_of_the_files_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_CLOSE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(driver, "COMMIT_TIMEOUT_S", 0.2)
    store = await open_url(f"sqlite:///{tmp_path}/s.db")
    hanging = HangingCommit(store)
    with pytest.raises(OutcomeUnknown):
        await store.commit(Transaction((Put("a", b"x"),)))
    with anyio.fail_after(3):
        await store.aclose()
    hanging.go_on.set()
    with anyio.fail_after(5):
        while len(os.listdir(tmp_path)) > 3:
            await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_the_wait_for_closing_is_not_cancelled(tmp_path: Path) -> None:
    store = await open_url(f"sqlite:///{tmp_path}/s.db")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.aclose()
    assert sorted(os.listdir(tmp_path)) == ["s.db", "s.db.main", "s.db.turn"]
