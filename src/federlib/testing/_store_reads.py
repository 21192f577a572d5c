"""The contract of `get`, `scan`, capabilities, identity and closing."""

from __future__ import annotations

from itertools import pairwise

import anyio
import attrs
import msgspec
import pytest

from federlib.errors import InvalidInput, Unavailable
from federlib.storage import (
    META_KEY,
    Capabilities,
    Committed,
    Delete,
    Put,
    Record,
    RecordStore,
    ServerClock,
    StoreMeta,
    Transaction,
)
from federlib.storage.limits import MAX_PAGE_BYTES, MAX_VALUE_BYTES
from federlib.testing._store_hooks import StoreHooks, commit, put, read_all, read_pages
from federlib.testing.clocks import ManualClock

__all__ = ["HOSTILE_KEYS", "ILLEGAL_KEYS", "ILLEGAL_PREFIXES", "StoreReads"]

# In byte order of their UTF-8, which is neither UTF-16's (U+FFFF, U+10000) nor any people's.
HOSTILE_KEYS = (
    " ", "%", "%2F", "%2e%2e/x", "'; DROP TABLE records; --", "*", "-rf", "...", "..a", ".a",
    "0", "10", "2", "A", "CON", "[a-z]?", "\\..\\x", "_", "a", "a b/c", "a!", "a%", "a/b", "a0",
    "aB", "a_", "ab", "b", "meta/store2", "meta/storm", "~", "\u00a0", "ß", "é",
    "שלום/日本語", "\u2028", "日本", "\ud7ff", "\ue000", "\uffff", "\U00010000", "😀",
    "😀/x", "\U0010ffff",
)  # fmt: skip

ILLEGAL_KEYS = (
    "", "/", "a/", "/a", "a//b", ".", "..", "../x", "a/../b", "a/.", "./a", "a\0b", "a\nb",
    "\x7f", "a\x85b", "e\u0301", "\ud800", "k" * 513, "é" * 257, "x" * 10_000,
)  # fmt: skip

ILLEGAL_PREFIXES = ("a\0", "\n", "e\u0301", "\udfff", "k" * 513)


class StoreReads(StoreHooks):
    """What a reader may rely on."""

    async def test_it_is_a_record_store_with_capabilities(self, clock: ManualClock) -> None:
        """A driver passes every test or says in its `Capabilities` what it lacks."""
        async with self.open_store(clock) as store:
            assert isinstance(store, RecordStore)
            assert isinstance(store.capabilities, Capabilities)
            flags = attrs.asdict(store.capabilities)
            latency_s = flags.pop("wake_latency_s")
            assert latency_s >= 0
            assert {name for name, has_it in flags.items() if not has_it} == set(self.lacks)

    async def test_the_server_clock_is_there_iff_declared(self, clock: ManualClock) -> None:
        """server_clock: it implements `ServerClock`."""
        async with self.open_store(clock) as store:
            if not store.capabilities.server_clock:
                assert "server_clock" in self.lacks
                assert not isinstance(store, ServerClock)
                return
            assert isinstance(store, ServerClock)
            first = await store.server_now_ns()
            assert first > 1_600_000_000_000_000_000
            assert isinstance(await store.server_now_ns(), int)

    async def test_the_store_id_is_drawn_once_for_each_store(self, clock: ManualClock) -> None:
        """The id drawn when this store was created; two stores never meet."""
        async with self.open_store(clock) as one, self.open_store(clock) as other:
            assert one.store_id
            assert one.store_id != other.store_id
            await put(one, "a")
            assert await other.get("a") is None

    async def test_meta_store_names_the_store(self, clock: ManualClock) -> None:
        """`meta/store` holds a `StoreMeta` as JSON."""
        async with self.open_store(clock) as store:
            record = await store.get(META_KEY)
            assert record is not None
            meta = msgspec.json.decode(record.value, type=StoreMeta)
            assert meta == StoreMeta(store.store_id, 1)
            assert record.created == record.revision

    async def test_what_is_absent_reads_as_none(self, clock: ManualClock) -> None:
        """Read one record, or None."""
        async with self.open_store(clock) as store:
            assert await store.get("a") is None

    @pytest.mark.parametrize(
        "value", [b"", b"\0", bytes(range(256)), b"{}", b"x" * MAX_VALUE_BYTES]
    )
    async def test_any_bytes_come_back_as_they_were(self, clock: ManualClock, value: bytes) -> None:
        """`value`: its bytes."""
        async with self.open_store(clock) as store:
            revision = await put(store, "a", value)
            assert await store.get("a") == Record("a", value, revision, revision)

    async def test_a_read_sees_every_commit_that_was_answered(self, clock: ManualClock) -> None:
        """`get` is linearizable."""
        async with self.open_store(clock) as store:
            for i in range(20):
                revision = await put(store, "a", b"%d" % i)
                record = await store.get("a")
                assert record is not None
                assert (record.value, record.revision) == (b"%d" % i, revision)
                assert (await store.scan("a")).records == (record,)

    async def test_revision_and_created_tell_the_lives_of_a_record(
        self, clock: ManualClock
    ) -> None:
        """A delete ends a life, the next put starts another."""
        async with self.open_store(clock) as store:
            first = await put(store, "a", b"1")
            second = await put(store, "a", b"2")
            assert await store.get("a") == Record("a", b"2", second, first)
            gone = await store.commit(Transaction((Delete("a"),)))
            assert isinstance(gone, Committed)
            assert await store.get("a") is None
            third = await put(store, "a", b"3")
            assert first < second < gone.revision < third
            assert await store.get("a") == Record("a", b"3", third, third)

    @pytest.mark.parametrize("key", ILLEGAL_KEYS)
    async def test_an_illegal_key_is_refused(self, clock: ManualClock, key: str) -> None:
        """InvalidInput: the key breaks the rules of `check_key`."""
        async with self.open_store(clock) as store:
            with pytest.raises(InvalidInput):
                await store.get(key)

    async def test_hostile_keys_are_keys_like_any_other(self, clock: ManualClock) -> None:
        """Records are in byte order of their UTF-8 keys; none is taken for another."""
        assert list(HOSTILE_KEYS) == sorted(HOSTILE_KEYS, key=str.encode)
        async with self.open_store(clock) as store:
            for key in sorted(HOSTILE_KEYS, key=lambda key: key[::-1]):
                await put(store, key, key.encode())
            for key in HOSTILE_KEYS:
                record = await store.get(key)
                assert record is not None
                assert (record.key, record.value) == (key, key.encode())
            keys = [record.key for record in await read_all(store, "", limit=5)]
            assert keys == sorted((*HOSTILE_KEYS, META_KEY), key=str.encode)

    @pytest.mark.parametrize(
        "prefix", ["a", "a%", "a_", "a/", "a b", "%", "[", "é", "😀", "zz", "."]
    )
    async def test_a_prefix_is_any_beginning_of_a_key(
        self, clock: ManualClock, prefix: str
    ) -> None:
        """`prefix`: any beginning of a key, not only whole segments, and no pattern."""
        async with self.open_store(clock) as store:
            await commit(store, *(Put(key, b"") for key in HOSTILE_KEYS))
            keys = [record.key for record in await read_all(store, prefix, limit=2)]
            assert keys == [key for key in HOSTILE_KEYS if key.startswith(prefix)]

    async def test_pages_are_cut_at_the_limit(self, clock: ManualClock) -> None:
        """`next` is the `after` of the next page; None on the last one."""
        async with self.open_store(clock) as store:
            await commit(store, *(Put(f"p/{i}", b"") for i in range(6)))
            pages = await read_pages(store, "p/", limit=4)
            assert [len(page.records) for page in pages] == [4, 2]
            assert [page.next for page in pages] == ["p/3", None]
            exact = await store.scan("p/", limit=6)
            assert (len(exact.records), exact.next) == (6, None)
            empty = await store.scan("q/")
            assert (empty.records, empty.next) == ((), None)

    async def test_after_need_not_exist_nor_lie_under_the_prefix(self, clock: ManualClock) -> None:
        """`after`: start behind this key."""
        async with self.open_store(clock) as store:
            await commit(store, *(Put(f"p/{i}", b"") for i in (1, 2, 4)))
            for after, expected in [
                ("", ["p/1", "p/2", "p/4"]), ("a", ["p/1", "p/2", "p/4"]), ("p/1", ["p/2", "p/4"]),
                ("p/3", ["p/4"]), ("p/4", []), ("q", []), ("p/10", ["p/2", "p/4"]),
            ]:  # fmt: skip
                page = await store.scan("p/", after=after)
                assert [record.key for record in page.records] == expected, after

    async def test_a_page_holds_at_most_8_mib_of_values(self, clock: ManualClock) -> None:
        """A page may end earlier than its limit; then `next` says so."""
        value = b"x" * (MAX_VALUE_BYTES - 64)
        async with self.open_store(clock) as store:
            for i in range(0, 18, 2):
                await commit(store, Put(f"big/{i:02}", value), Put(f"big/{i + 1:02}", value))
            pages = await read_pages(store, "big/")
            assert len(pages) > 1
            for page in pages:
                assert 0 < sum(len(r.value) for r in page.records) <= MAX_PAGE_BYTES
            keys = [record.key for page in pages for record in page.records]
            assert keys == [f"big/{i:02}" for i in range(18)]

    async def test_a_page_holds_up_to_1000_records(self, clock: ManualClock) -> None:
        """`limit`: 1 to 1,000 records."""
        async with self.open_store(clock) as store:
            for i in range(0, 1_001, 50):
                names = range(i, min(i + 50, 1_001))
                await commit(store, *(Put(f"n/{name:04}", b"") for name in names))
            first = await store.scan("n/")
            assert (len(first.records), first.next) == (1_000, "n/0999")
            last = await store.scan("n/", after=first.next)
            assert [record.key for record in last.records] == ["n/1000"]

    @pytest.mark.parametrize("limit", [-1, 0, 1_001, 2**64])
    async def test_another_limit_is_refused(self, clock: ManualClock, limit: int) -> None:
        """`limit`: 1 to 1,000 records."""
        async with self.open_store(clock) as store:
            with pytest.raises(InvalidInput):
                await store.scan("", limit=limit)

    @pytest.mark.parametrize("prefix", ILLEGAL_PREFIXES)
    async def test_an_illegal_prefix_is_refused(self, clock: ManualClock, prefix: str) -> None:
        """No legal key starts with it."""
        async with self.open_store(clock) as store:
            with pytest.raises(InvalidInput):
                await store.scan(prefix)
            with pytest.raises(InvalidInput):
                await store.scan("", after=prefix)

    async def test_a_page_is_a_snapshot_at_its_revision(self, clock: ManualClock) -> None:
        """One page is a snapshot at its `revision`."""
        async with self.open_store(clock) as store, anyio.create_task_group() as tasks:
            answered = [await commit(store, Put("s/a", b"-"), Put("s/z", b"-"))]

            async def write() -> None:
                for i in range(30):
                    value = b"%d" % i
                    answered.append(await commit(store, Put("s/a", value), Put("s/z", value)))

            tasks.start_soon(write)
            pages = []
            while len(answered) < 31:
                known = answered[-1]
                page = await store.scan("s/")
                assert page.revision >= known
                pages.append(page)
            for page in pages:
                one, other = page.records
                assert one.value == other.value
                assert one.revision == other.revision <= page.revision
            assert all(a.revision <= b.revision for a, b in pairwise(pages))

    async def test_closing_twice_does_nothing_more(self, clock: ManualClock) -> None:
        """`aclose`: a second call does nothing; a closed store is unavailable."""
        async with self.open_store(clock) as store:
            await put(store, "a")
            await store.aclose()
            await store.aclose()
            with pytest.raises(Unavailable):
                await store.get("a")
            with pytest.raises(Unavailable):
                await store.scan("a")
            with pytest.raises(Unavailable):
                await store.outcome("a")
            with pytest.raises(Unavailable):
                await store.commit(Transaction((Put("a", b""),)))
