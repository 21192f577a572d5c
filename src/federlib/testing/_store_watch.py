"""The contract of `watch`."""

from __future__ import annotations

import anyio
import pytest

from federlib.errors import FederlibError, InvalidInput, Unavailable
from federlib.storage import (
    META_KEY,
    Absent,
    Batch,
    Committed,
    Delete,
    Event,
    Progress,
    Put,
    Record,
    RecordStore,
    Resync,
    Transaction,
    WatchItem,
)
from federlib.storage.protocol import MAX_BEHIND
from federlib.testing._store_hooks import (
    StoreHooks,
    catch_up,
    commit,
    next_item,
    put,
    put_many,
    read_all,
)
from federlib.testing._store_reads import ILLEGAL_PREFIXES
from federlib.testing.clocks import ManualClock

__all__ = ["StoreWatch", "wake_latency_s"]


async def _head(store: RecordStore) -> int:
    return (await store.scan("zz")).revision


class StoreWatch(StoreHooks):
    """What a watcher may rely on."""

    async def test_batches_are_whole_transactions_in_order_each_once(
        self, clock: ManualClock
    ) -> None:
        """Whole transactions in revision order, each once; events in order of their keys."""
        async with self.open_store(clock) as store:
            start = await _head(store)
            first = await commit(store, Put("w/b", b"1"), Put("w/a", b"2"))
            async with store.watch("w/", after=start) as changes:
                second = await put(store, "w/b", b"3")
                batches = await catch_up(changes, second)
            assert batches == [
                Batch(first, (
                    Event("w/a", Record("w/a", b"2", first, first)),
                    Event("w/b", Record("w/b", b"1", first, first)),
                )),
                Batch(second, (Event("w/b", Record("w/b", b"3", second, first)),)),
            ]  # fmt: skip

    async def test_a_watch_begins_behind_its_revision(self, clock: ManualClock) -> None:
        """Subscribe to transactions *after* the revision."""
        async with self.open_store(clock) as store:
            await put(store, "a")
            second = await put(store, "a")
            third = await put(store, "a")
            async with store.watch("a", after=second) as changes:
                assert [batch.revision for batch in await catch_up(changes, third)] == [third]
            async with store.watch("", after=0) as changes:
                batches = await catch_up(changes, third)
            assert [event.key for b in batches for event in b.events] == [META_KEY, "a", "a", "a"]

    async def test_a_delete_is_an_event(self, clock: ManualClock) -> None:
        """Deletes are events; deleting what is absent is allowed and makes none."""
        async with self.open_store(clock) as store:
            start = await put(store, "a")
            none = await store.commit(Transaction((Delete("b"),)))
            gone = await store.commit(Transaction((Delete("a"), Delete("b"))))
            assert isinstance(none, Committed)
            assert isinstance(gone, Committed)
            async with store.watch("", after=start) as changes:
                batches = await catch_up(changes, gone.revision)
            assert batches == [Batch(gone.revision, (Event("a", None),))]

    async def test_only_what_lies_under_the_prefix_is_told(self, clock: ManualClock) -> None:
        """Filtered to `prefix`, any beginning of a key and no pattern; no empty batches."""
        async with self.open_store(clock) as store:
            start = await _head(store)
            await put(store, "b")
            mixed = await commit(store, Put("a%1", b""), Put("a_1", b""), Put("ab", b""))
            await store.commit(Transaction((), (Absent("zz"),)))
            last = await put(store, "a%2")
            async with store.watch("a%", after=start) as changes:
                batches = await catch_up(changes, last)
            told = [(batch.revision, [e.key for e in batch.events]) for batch in batches]
            assert told == [(mixed, ["a%1"]), (last, ["a%2"])]

    async def test_a_key_that_the_prefix_only_begins_with_is_not_under_it(
        self, clock: ManualClock
    ) -> None:
        """`a` does not lie under `a/`."""
        async with self.open_store(clock) as store:
            start = await _head(store)
            last = await commit(store, Put("a", b""), Put("a/1", b""), Put("a0", b""))
            async with store.watch("a/", after=start) as changes:
                (batch,) = await catch_up(changes, last)
            assert [event.key for event in batch.events] == ["a/1"]

    @pytest.mark.parametrize("prefix", ILLEGAL_PREFIXES)
    async def test_an_illegal_prefix_is_not_watched(self, clock: ManualClock, prefix: str) -> None:
        """No legal key starts with it."""
        async with self.open_store(clock) as store:
            with pytest.raises(InvalidInput):
                async with store.watch(prefix, after=0):
                    pass

    async def test_a_negative_revision_is_not_watched(self, clock: ManualClock) -> None:
        """A revision is 0 or more."""
        async with self.open_store(clock) as store:
            with pytest.raises(InvalidInput):
                async with store.watch("", after=-1):
                    pass

    async def test_progress_comes_once_the_watcher_has_everything(self, clock: ManualClock) -> None:
        """`Progress(revision)`: nothing under the prefix is missing up to there."""
        async with self.open_store(clock) as store:
            revision = await put(store, "a")
            async with store.watch("a", after=revision) as changes:
                assert await next_item(changes) == Progress(revision)
                waits_s: list[float] = []
                for _ in range(3):
                    revision = await put(store, "a")
                    batch = await next_item(changes)
                    assert isinstance(batch, Batch)
                    assert batch.revision == revision
                    began = anyio.current_time()
                    assert await next_item(changes) == Progress(revision)
                    waits_s.append(anyio.current_time() - began)
                # At once, not with the next second of silence; the best, on a busy machine.
                assert min(waits_s) < 0.5

    async def test_progress_comes_about_every_second_of_silence(self, clock: ManualClock) -> None:
        """`Progress` again about every second of silence, and it takes in foreign commits."""
        async with self.open_store(clock) as store:
            start = await _head(store)
            async with store.watch("a", after=start) as changes:
                assert await next_item(changes) == Progress(start)
                foreign = await put(store, "b")
                began = anyio.current_time()
                item = await next_item(changes)
                while item.revision < foreign:
                    item = await next_item(changes)
                assert item == Progress(foreign)
                assert await next_item(changes) == Progress(foreign)
                assert 0.5 <= anyio.current_time() - began <= 8

    async def test_a_watcher_that_waits_is_woken(self, clock: ManualClock) -> None:
        """A watcher hears of a commit within `wake_latency_s`."""
        async with self.open_store(clock) as store:
            heard = await wake_latency_s(store, store)
            assert heard <= store.capabilities.wake_latency_s + 0.25

    async def test_a_cancelled_wait_loses_nothing(self, clock: ManualClock) -> None:
        """`anext` may be cancelled at any time; nothing is lost, the next call goes on."""
        async with self.open_store(clock) as store:
            seen: list[WatchItem] = []
            async with store.watch("a/", after=await _head(store)) as changes:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(put_many, store, [f"a/{i}" for i in range(40)])
                    for i in range(60):
                        with anyio.move_on_after(i % 5 * 0.000_5):
                            seen.append(await anext(changes))
                seen += await catch_up(changes, await _head(store))
            keys = [e.key for item in seen if isinstance(item, Batch) for e in item.events]
            assert sorted(keys) == sorted(f"a/{i}" for i in range(40))
            revisions = [item.revision for item in seen if isinstance(item, Batch)]
            assert revisions == sorted(set(revisions))

    async def test_two_watchers_do_not_share_a_stream(self, clock: ManualClock) -> None:
        """Each subscription tells everything."""
        async with self.open_store(clock) as store:
            start = await _head(store)
            async with store.watch("a", after=start) as one, store.watch("", after=start) as other:
                last = await put(store, "a")
                assert await catch_up(one, last) == await catch_up(other, last) != []

    async def test_a_watcher_up_to_1000_behind_misses_nothing(self, clock: ManualClock) -> None:
        """`Resync` only when the consumer fell *more* than `MAX_BEHIND` batches behind."""
        async with self.open_store(clock) as store:
            start = await _head(store)
            async with store.watch("a/", after=start) as changes:
                assert await next_item(changes) == Progress(start)
                await put_many(store, [f"a/{i}" for i in range(MAX_BEHIND)])
                batches = await catch_up(changes, start + MAX_BEHIND)
            assert [b.revision for b in batches] == [start + 1 + i for i in range(MAX_BEHIND)]

    async def test_a_watcher_far_behind_is_told_to_scan_again(self, clock: ManualClock) -> None:
        """`Resync`: changes were missed; the subscription goes on after its revision."""
        async with self.open_store(clock) as store:
            start = await _head(store)
            async with store.watch("a/", after=start) as changes:
                assert await next_item(changes) == Progress(start)
                await put_many(store, [f"a/{i % 9}" for i in range(MAX_BEHIND + 50)])
                item = await next_item(changes)
                before: list[int] = []
                while not isinstance(item, Resync):
                    assert isinstance(item, Batch)
                    before.append(item.revision)
                    item = await next_item(changes)
                assert before == list(range(start + 1, start + 1 + len(before)))
                assert len(before) <= MAX_BEHIND
                assert start < item.revision <= await _head(store)
                last = await put(store, "a/last")
                after = await catch_up(changes, last)
                assert [b.revision for b in after] == list(range(item.revision + 1, last + 1))

    async def test_a_watch_of_forgotten_history_begins_with_a_resync(
        self, clock: ManualClock
    ) -> None:
        """`Resync` when the history after `after` is gone."""
        async with self.open_store(clock) as store:
            old = await put(store, "a")
            await self.outgrow_history(store)
            async with store.watch("a", after=old) as changes:
                item = await next_item(changes)
                assert isinstance(item, Resync)
                assert item.revision > old
                last = await put(store, "a")
                batches = await catch_up(changes, last)
                assert [batch.revision for batch in batches] == [last]

    async def test_scanning_then_watching_converges(self, clock: ManualClock) -> None:
        """Scan all pages, then watch after the *first* page's revision, and you converge."""
        async with self.open_store(clock) as store:
            for i in range(12):
                await put(store, f"m/{i}", b"old")

            async def write(lane: int) -> None:
                for i in range(15):
                    key = f"m/{(lane * 5 + i) % 17}"
                    await put(store, key, b"%d %d" % (lane, i))
                    if i % 4 == 3:
                        await store.commit(Transaction((Delete(key),)))

            async with anyio.create_task_group() as tasks:
                for lane in range(3):
                    tasks.start_soon(write, lane)
                first = page = await store.scan("m/", limit=3)
                mirror = {record.key: record for record in page.records}
                while page.next is not None:
                    page = await store.scan("m/", after=page.next, limit=3)
                    mirror.update((record.key, record) for record in page.records)
            async with store.watch("m/", after=first.revision) as changes:
                for batch in await catch_up(changes, await _head(store)):
                    for event in batch.events:
                        if event.record is None:
                            mirror.pop(event.key, None)
                        else:
                            mirror[event.key] = event.record
            assert sorted(mirror.values(), key=lambda r: r.key) == await read_all(store, "m/")

    async def test_a_watcher_of_a_closed_store_is_told(self, clock: ManualClock) -> None:
        """Unavailable: the store cannot be read."""
        async with self.open_store(clock) as store:
            errors: list[FederlibError] = []

            async def listen() -> None:
                async with store.watch("a", after=start) as changes:
                    await catch_up(changes, start)
                    is_open.set()
                    try:
                        while True:
                            await next_item(changes)
                    except Unavailable as error:
                        errors.append(error)

            start, is_open = await _head(store), anyio.Event()
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(listen)
                    # Opening may wait for a thread, which would look like listening.
                    await is_open.wait()
                    await anyio.wait_all_tasks_blocked()
                    await store.aclose()
            assert len(errors) == 1


async def wake_latency_s(listener: RecordStore, writer: RecordStore) -> float:
    """Measure from the answer to the news, the best of five: a busy machine is no fault."""
    best = float("inf")
    start = await _head(listener)
    async with listener.watch("wake", after=start) as changes:
        await catch_up(changes, start)
        for _ in range(5):
            revision, answered_at = 0, 0.0

            async def write() -> None:
                nonlocal revision, answered_at
                # Or the listener may find the news before it ever waits.
                await anyio.wait_all_tasks_blocked()
                revision = await put(writer, "wake")
                answered_at = anyio.current_time()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                while not isinstance(await next_item(changes), Batch):
                    pass
                heard_at = anyio.current_time()
            best = min(best, heard_at - answered_at)
    return best
