"""The contract of stores that outlive a client, and of stores with several."""

from __future__ import annotations

import anyio

from federlib.storage import META_KEY, Absent, Committed, Conflicted, Delete, Put, Transaction
from federlib.testing._store_commits import increment
from federlib.testing._store_hooks import StoreHooks, catch_up, commit, put, read_all
from federlib.testing._store_watch import wake_latency_s
from federlib.testing.clocks import ManualClock

__all__ = ["StoreSharing"]


class StoreSharing(StoreHooks):
    """What `durable` and `shared` mean; a declared lack is checked to be declared."""

    async def test_a_durable_store_keeps_everything(self, clock: ManualClock) -> None:
        """A commit survives every client: records, lives, revision, receipts, identity."""
        async with self.open_store(clock) as store:
            if not store.capabilities.durable:
                assert "durable" in self.lacks
                return
            done = Committed(await commit(store, Put("a", b"1"), Put("b", b""), id="t"))
            await put(store, "a", b"2")
            await store.commit(Transaction((Delete("b"),)))
            before, name = await store.scan(""), store.store_id
            await store.aclose()
            async with self.reopen(store, clock) as again:
                assert again.store_id == name
                assert await again.scan("") == before
                assert await again.outcome("t") == done
                create = Transaction((Put("a", b"1"), Put("b", b"")), id="t")
                assert await again.commit(create) == done
                assert await put(again, "c") > before.revision

    async def test_a_durable_store_keeps_its_history(self, clock: ManualClock) -> None:
        """A watcher that comes back goes on where it was."""
        async with self.open_store(clock) as store:
            if not store.capabilities.durable:
                assert "durable" in self.lacks
                return
            first = await put(store, "a")
            second = await put(store, "a")
            await store.aclose()
            async with (
                self.reopen(store, clock) as again,
                again.watch("a", after=first) as changes,
            ):
                assert [b.revision for b in await catch_up(changes, second)] == [second]

    async def test_clients_share_records_and_receipts(self, clock: ManualClock) -> None:
        """Several processes may use it at once; what one was answered, the other reads."""
        async with self.open_store(clock) as store:
            if not store.capabilities.shared:
                assert "shared" in self.lacks
                return
            async with self.second_client(store, clock) as other:
                assert other.store_id == store.store_id
                assert await other.get(META_KEY) == await store.get(META_KEY)
                for i in range(10):
                    writer, reader = (store, other) if i % 2 else (other, store)
                    await put(writer, "a", b"%d" % i)
                    assert await reader.get("a") == await writer.get("a")
                create = Transaction((Put("b", b""),), (Absent("b"),), "t")
                done = await store.commit(create)
                assert await other.outcome("t") == done
                assert await other.commit(create) == done
                lost = await other.commit(Transaction((Put("b", b""),), (Absent("b"),)))
                assert isinstance(lost, Conflicted)

    async def test_increments_of_two_clients_lose_nothing(self, clock: ManualClock) -> None:
        """Commits of several clients are linearizable together."""
        async with self.open_store(clock) as store:
            if not store.capabilities.shared:
                assert "shared" in self.lacks
                return
            async with self.second_client(store, clock) as other:
                async with anyio.create_task_group() as tasks:
                    for client in (store, other) * 10:
                        tasks.start_soon(increment, client, "counter")
                record = await other.get("counter")
                assert record is not None
                assert record.value == b"20"

    async def test_a_client_hears_of_the_others_commits(self, clock: ManualClock) -> None:
        """A watcher in another process hears of a commit within `wake_latency_s`."""
        async with self.open_store(clock) as store:
            if not store.capabilities.shared:
                assert "shared" in self.lacks
                return
            async with self.second_client(store, clock) as other:
                heard_s = await wake_latency_s(other, store)
                assert heard_s <= store.capabilities.wake_latency_s + 0.25
                assert await read_all(other, "wake") == await read_all(store, "wake")
