"""Watching: old history from the log, new from the inbox, and what happens to the slow."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from federlib._pace import ThreadPace, run_now
from federlib.errors import Unavailable
from federlib.storage import (
    Batch,
    Delete,
    Event,
    Progress,
    Put,
    Resync,
    Subscription,
    Transaction,
)
from federlib.storage.backends.sqlite import SqliteStore
from federlib.storage.protocol import MAX_BEHIND
from storage.store_worker import open_url

Item = TypeVar("Item", Batch, Progress, Resync)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_url(f"sqlite:///{path}")
    try:
        yield store
    finally:
        await store.aclose()


async def put(store: SqliteStore, key: str, value: bytes = b"") -> None:
    await store.commit(Transaction((Put(key, value),)))


async def take(subscription: Subscription, kind: type[Item]) -> Item:
    """Take the next item of one kind; others but `Progress` may not come before it."""
    with anyio.fail_after(10):
        while True:
            item = await anext(subscription)
            if isinstance(item, kind):
                return item
            assert isinstance(item, Progress), item


@pytest.mark.anyio
async def test_old_history_and_new_commits_come_once_each_and_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store:
        for number in range(600):
            await put(store, f"{'a' if number % 3 else 'b'}/{number}")
        async with store.watch("a/", after=1) as subscription:
            seen = [(await take(subscription, Batch)).revision for _ in range(100)]
            for number in range(600, 700):
                await put(store, f"a/{number}")
            seen += [(await take(subscription, Batch)).revision for _ in range(400)]
        expected = [n + 2 for n in range(600) if n % 3] + list(range(602, 702))
        assert seen == expected


@pytest.mark.anyio
async def test_a_whole_transaction_is_one_batch_cut_to_the_prefix(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, store.watch("a/", after=1) as subscription:
        writes = (Put("b", b""), Put("a/2", b"two"), Put("a/1", b"one"), Delete("a/3"))
        await store.commit(Transaction(writes))
        batch = await take(subscription, Batch)
        assert [event.key for event in batch.events] == ["a/1", "a/2"]
        await store.commit(Transaction((Delete("a/1"), Put("b", b"only"))))
        assert (await take(subscription, Batch)).events == (Event("a/1", None),)


@pytest.mark.anyio
async def test_progress_follows_the_last_batch_and_every_second_of_silence(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, store.watch("a/", after=1) as subscription:
        assert await anext(subscription) == Progress(1)
        await put(store, "other")
        begin = anyio.current_time()
        assert await take(subscription, Progress) == Progress(2)
        assert 0.5 < anyio.current_time() - begin < 1.5
        await put(store, "a/1")
        assert (await take(subscription, Batch)).revision == 3
        assert await anext(subscription) == Progress(3)


@pytest.mark.anyio
async def test_ctrl_c_while_a_commit_is_handed_out_takes_it_from_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, store.watch("", after=1) as other:
        direct, here, struck = store.direct(ThreadPace()), threading.get_ident(), False

        def strike() -> None:
            nonlocal struck
            if threading.get_ident() == here and not struck:
                struck = True
                raise KeyboardInterrupt

        inboxes = [store._watcher.subscribe("", after=1, head=1, wake=strike)[0]]
        # Behind it: whoever comes first has it already when Ctrl-C strikes.
        async with store.watch("", after=1) as behind:
            last = 1
            while not struck:
                # The watching thread may be quicker; then it is another commit's turn.
                with suppress(KeyboardInterrupt):
                    run_now(direct.commit(Transaction((Put("a", b""),))))
                last += 1
            for subscription in (other, behind):
                seen = [(await take(subscription, Batch)).revision for _ in range(2, last + 1)]
                assert seen == list(range(2, last + 1))
                assert isinstance(await anext(subscription), Progress)
        assert [batch.revision for batch in inboxes[0].batches] == list(range(2, last + 1))


@pytest.mark.anyio
async def test_a_consumer_that_falls_too_far_behind_must_scan_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, store.watch("", after=1) as subscription:
        for _ in range(MAX_BEHIND + 5):
            await put(store, "a")
        # The watcher hears of the last commit soon, but not at once.
        while store._watcher._position < MAX_BEHIND + 6:
            await anyio.sleep(0.005)
        assert await anext(subscription) == Resync(MAX_BEHIND + 6)
        await put(store, "a")
        assert (await take(subscription, Batch)).revision == MAX_BEHIND + 7


@pytest.mark.anyio
async def test_history_that_was_trimmed_must_be_scanned_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with opened(path) as store:
        for _ in range(10):
            await put(store, "a")
        with sqlite3.connect(path) as other:
            other.execute("DELETE FROM changes WHERE revision < 5")
        other.close()
        async with store.watch("", after=3) as subscription:
            assert await anext(subscription) == Resync(11)
            await put(store, "a")
            assert (await take(subscription, Batch)).revision == 12
        async with store.watch("", after=4) as subscription:
            assert (await take(subscription, Batch)).revision == 5


@pytest.mark.anyio
async def test_a_watcher_that_slept_while_its_history_was_trimmed_must_scan_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.db"
    async with opened(path) as store, store.watch("", after=1) as subscription:
        await take(subscription, Progress)
        with sqlite3.connect(path) as other:
            other.execute("UPDATE changes SET revision = 500")
        other.close()
        assert await take(subscription, Resync) == Resync(500)
        await put(store, "a")
        assert (await take(subscription, Batch)).revision == 501


@pytest.mark.anyio
async def test_a_revision_the_store_has_not_reached_is_of_another_history(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, store.watch("", after=99) as subscription:
        assert await anext(subscription) == Resync(1)
        await put(store, "a")
        assert (await take(subscription, Batch)).revision == 2


@pytest.mark.anyio
async def test_an_outage_is_told_and_the_stream_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, store.watch("", after=1) as subscription:
        await take(subscription, Progress)
        store._watcher._fail(Unavailable("the store", "a disk took a break"))
        with pytest.raises(Unavailable, match="a disk took a break"):
            await anext(subscription)
        await put(store, "a")
        assert (await take(subscription, Batch)).revision == 2


@pytest.mark.anyio
async def test_a_cancelled_wait_loses_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db") as store, store.watch("", after=1) as subscription:
        seen: list[int] = []
        for number in range(60):
            await put(store, f"a/{number}")
            with anyio.move_on_after(number / 20_000):
                item = await anext(subscription)
                if isinstance(item, Batch):
                    seen.append(item.revision)
        while len(seen) < 60:
            seen.append((await take(subscription, Batch)).revision)
        assert seen == list(range(2, 62))


@pytest.mark.anyio
async def test_closing_ends_the_subscriptions_and_the_thread(tmp_path: Path) -> None:
    store = await open_url(f"sqlite:///{tmp_path}/s.db")
    async with store.watch("", after=1) as subscription:
        await take(subscription, Progress)
        thread = store._watcher._thread
        assert thread is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.aclose)
            with pytest.raises(Unavailable, match="closed"), anyio.fail_after(5):
                while True:
                    await anext(subscription)
        thread.join(5)
        assert not thread.is_alive()
        with pytest.raises(Unavailable, match="closed"):
            await anext(subscription)


def test_a_subscription_left_behind_by_its_event_loop_holds_up_nobody(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    store = anyio.run(open_url, url)
    left = store.watch("", after=1)
    anyio.run(left.__aenter__, backend="asyncio")

    async def use() -> None:
        async with store.watch("", after=1) as subscription:
            await put(store, "a")
            assert (await take(subscription, Batch)).revision == 2
        await store.aclose()

    anyio.run(use, backend="trio")
    assert not any(t.name == "federlib-watch" for t in threading.enumerate())


def test_watching_an_idle_store_costs_less_than_one_percent_of_a_core(tmp_path: Path) -> None:
    async def idle() -> float:
        async with (
            opened(tmp_path / "s.db") as store,
            store.watch("a/", after=1) as first,
            store.watch("b/", after=1) as second,
        ):
            await take(first, Progress)
            await take(second, Progress)
            await anyio.sleep(0.3)
            begin = time.process_time()
            await anyio.sleep(3)
            return (time.process_time() - begin) / 3

    assert anyio.run(idle) < 0.01
