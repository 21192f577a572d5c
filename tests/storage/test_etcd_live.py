"""A store in a real etcd, as others meet it: openers, foreign tools, compaction, a fork."""

from __future__ import annotations

import os
import socket
import threading

import anyio
import pytest

from federlib.errors import CorruptRecord, Fenced, InvalidInput, Unavailable
from federlib.storage import (
    META_KEY,
    Absent,
    AtRevision,
    Committed,
    Conflicted,
    Delete,
    NotSeen,
    Put,
    Record,
    Resync,
    Transaction,
)
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends.etcd import open_engine
from federlib.storage.backends.etcd._receipts import Pruner
from federlib.testing import ManualClock
from federlib.testing._store_hooks import catch_up, commit, next_item, put, put_many
from federlib.testing.servers import EtcdCluster
from storage.etcd_lab import ask, compact, delete_op, new_prefix, opened, put_op, write

pytestmark = pytest.mark.anyio


@pytest.fixture
def prefix() -> str:
    return new_prefix()


@pytest.fixture
def url(etcd_server: EtcdCluster, prefix: str) -> str:
    return f"{etcd_server.url}?prefix={prefix}"


async def test_of_many_openers_at_once_one_makes_the_store(url: str) -> None:
    names: list[str] = []

    async def open_it() -> None:
        async with opened(url) as store:
            names.append(store.store_id)
            await put(store, f"a/{len(names)}")

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(open_it)
    assert len(names) == 6
    assert len(set(names)) == 1
    async with opened(url) as store:
        meta = await store.get(META_KEY)
        assert meta is not None
        assert (meta.revision, meta.created) == (1, 1)


async def test_records_without_what_names_them_are_no_empty_place(
    etcd_server: EtcdCluster, url: str, prefix: str
) -> None:
    write(etcd_server, put_op(f"{prefix}k/a", b""))
    with pytest.raises(CorruptRecord, match="choose another"):
        async with opened(url):
            pass


@pytest.mark.parametrize(
    ("meta", "match"),
    [
        (b'{"store_id":"x","format":2}', "upgrade"),
        (b'{"store_id":"x","format":0}', "format 1"),
        (b'{"format":1}', "store_id"),
        (b"\xff", "store_id and format"),
    ],
)
async def test_another_format_is_not_opened(
    etcd_server: EtcdCluster, url: str, prefix: str, meta: bytes, match: str
) -> None:
    write(etcd_server, put_op(f"{prefix}k/{META_KEY}", meta))
    with pytest.raises(CorruptRecord, match=match):
        async with opened(url):
            pass


@pytest.mark.parametrize("how", ["deleted", "another", "made again"])
async def test_a_store_replaced_under_a_client_is_noticed_by_every_verb(
    etcd_server: EtcdCluster, url: str, prefix: str, how: str
) -> None:
    meta = f"{prefix}k/{META_KEY}"
    async with opened(url) as store:
        start = await put(store, "a")
        async with store.watch("", after=start) as changes:
            await next_item(changes)
            record = await store.get(META_KEY)
            assert record is not None
            if how == "another":
                write(etcd_server, put_op(meta, b'{"store_id":"x","format":1}'))
            else:
                write(etcd_server, delete_op(meta))
            if how == "made again":
                write(etcd_server, put_op(meta, record.value))
            with pytest.raises(CorruptRecord, match="as it was opened"):
                while True:
                    await next_item(changes)
        with pytest.raises(CorruptRecord, match="meta/store"):
            await put(store, "a")
        with pytest.raises(CorruptRecord, match="meta/store"):
            await store.get("a")
        with pytest.raises(CorruptRecord, match="meta/store"):
            await store.scan("a")
        with pytest.raises(CorruptRecord, match="meta/store"):
            await store.outcome("a")
        with pytest.raises(CorruptRecord, match="meta/store"):
            await store.check()


async def test_a_watcher_under_whom_history_is_compacted_scans_again(
    etcd_server: EtcdCluster, url: str
) -> None:
    async with opened(url) as store:
        start = await put(store, "a")
        gone = await store.commit(Transaction((Delete("a"), Put("b", b""))))
        assert isinstance(gone, Committed)
        # The server would begin at this very revision, and its deletes are forgotten.
        compact(etcd_server)
        async with store.watch("", after=start) as changes:
            assert isinstance(await next_item(changes), Resync)
            last = await put(store, "c")
            assert [b.revision for b in await catch_up(changes, last)] == [last]


async def test_a_watcher_who_follows_does_not_mind_compaction(
    etcd_server: EtcdCluster, url: str
) -> None:
    async with opened(url) as store:
        start = await put(store, "a")
        async with store.watch("", after=start) as changes:
            await catch_up(changes, start)
            for i in range(5):
                last = await put(store, f"b/{i}")
                assert [b.revision for b in await catch_up(changes, last)] == [last]
                compact(etcd_server)


async def test_what_others_do_to_the_cluster_leaves_gaps_and_nothing_else(
    etcd_server: EtcdCluster, url: str, prefix: str
) -> None:
    async with opened(url) as store:
        start = await put(store, "a")
        told: list[int] = []
        answered: list[int] = []
        async with store.watch("", after=start) as live:
            await catch_up(live, start)
            for i in range(12):
                # A lease, a neighbour, a receipt that is pruned.
                for key in (f"{prefix}l/x", f"{prefix}s", f"{prefix}r/x", "zzz"):
                    write(etcd_server, put_op(key, b"x"))
                write(etcd_server, delete_op(f"{prefix}r/x"))
                answered.append(await put(store, f"b/{i}"))
            # Some of it from history, the rest as it came: none twice, none left out.
            async with store.watch("", after=start) as late:
                told = [b.revision for b in await catch_up(late, answered[-1])]
            assert [b.revision for b in await catch_up(live, answered[-1])] == answered
        assert told == answered
        assert answered[-1] - answered[0] > 50


async def test_a_key_written_without_a_tick_is_told_with_the_next_commit(
    etcd_server: EtcdCluster, url: str, prefix: str
) -> None:
    async with opened(url) as store:
        start = await put(store, "a")
        async with store.watch("", after=start) as changes:
            await catch_up(changes, start)
            write(etcd_server, put_op(f"{prefix}k/foreign", b"x"))
            record = await store.get("foreign")
            last = await put(store, "b")
            batches = await catch_up(changes, last)
        assert record == Record("foreign", b"x", last - 1, last - 1)
        assert [(b.revision, b.events[0].key) for b in batches] == [
            (last - 1, "foreign"),
            (last, "b"),
        ]


@pytest.mark.parametrize("revision", [0, -1, -(2**63), 2**63 - 1, 2**70, 10**30])
async def test_a_revision_that_cannot_be_is_a_conflict_like_any(url: str, revision: int) -> None:
    async with opened(url) as store:
        base = store._engine.place.base
        for key in ("a", "none"):
            for number in (revision, revision - base):
                done = await store.commit(Transaction((Put(key, b""),), (AtRevision(key, number),)))
                assert isinstance(done, Conflicted)
                assert done.failed[0].expected == number


async def test_a_page_is_one_snapshot_however_many_requests_it_takes(
    etcd_server: EtcdCluster, url: str
) -> None:
    async with opened(url) as store, anyio.create_task_group() as tasks:
        keys = [f"s/{i:03}" for i in range(0, 400, 8)]
        for first in range(0, 400, 50):
            await commit(store, *(Put(f"s/{i:03}", b"0") for i in range(first, first + 50)))
        is_over = False

        async def write_all() -> None:
            for value in range(1, 30):
                await commit(store, *(Put(key, b"%d" % value) for key in keys))
                if value % 5 == 0:
                    compact(etcd_server)

        tasks.start_soon(write_all)
        while not is_over:
            page = await store.scan("s/")
            values = {record.value for record in page.records if record.key in keys}
            assert len(page.records) == 400
            assert len(values) == 1
            is_over = values == {b"29"}


async def test_receipts_go_when_they_are_old_and_many(url: str) -> None:
    clock = ManualClock()
    async with opened(url, clock) as store:
        engine = store._engine
        for i in range(250):
            clock.advance(1)
            await commit(store, Put("a", b""), id=f"t{i}")
        pruner = Pruner(engine.place, engine.client, max_receipts=40)
        # All within ten minutes: none goes.
        assert pruner.prune(clock.wall_ns()) == 0
        clock.advance(600 - 220)
        assert pruner.prune(clock.wall_ns()) == 29
        clock.advance(1_000)
        assert pruner.prune(clock.wall_ns()) == 250 - 29 - 40
        assert pruner.prune(clock.wall_ns()) == 0
        assert await store.outcome("t209") == NotSeen()
        assert isinstance(await store.outcome("t210"), Committed)
        assert await store.check() == []


async def test_pruning_starts_by_itself_and_nobody_waits_for_it(url: str) -> None:
    clock = ManualClock()
    async with opened(url, clock) as store:
        engine = store._engine
        engine._pruner = Pruner(engine.place, engine.client, max_receipts=5, prune_every=20)
        for i in range(25):
            clock.advance(601)
            await commit(store, Put("a", b""), id=f"t{i}")
        engine._pruner.join(10)
        assert await store.outcome("t0") == NotSeen()
        assert isinstance(await store.outcome("t24"), Committed)


async def test_a_sound_store_has_no_problems_and_a_damaged_one_names_them(
    etcd_server: EtcdCluster, url: str, prefix: str
) -> None:
    async with opened(url) as store:
        await put_many(store, [f"a/{i}" for i in range(150)])
        await commit(store, Put("a", b""), id="t")
        assert await store.check() == []
        write(
            etcd_server,
            put_op(f"{prefix}k/a//b", b""),
            put_op(f"{prefix}k/big", b"x" * (512 * 1024 + 1)),
            put_op(f"{prefix}r/t", b"torn"),
            put_op(f"{prefix}r/u", b'["AAAA",1]'),
        )
        ask(etcd_server, "/v3/kv/put", {"key": f"{prefix}k/z".encode() + b"\xff", "value": b""})
        lease = ask(etcd_server, "/v3/lease/grant", {"TTL": "600"})["ID"]
        body = {"key": f"{prefix}k/leased".encode(), "value": b"", "lease": lease}
        ask(etcd_server, "/v3/kv/put", body)
        await put(store, "last")
        problems = await store.check()
        named = "\n".join(f"{one.what}: {one.expected}, {one.found}" for one in problems)
        for words in ("a//b", "record big", "receipt t", "receipt u", "xff", "record leased"):
            assert words in named, named
        assert "record a/1" not in named


def test_a_fork_is_fenced_and_does_its_parent_no_harm(url: str) -> None:
    engine = open_engine(url)
    read, written = os.pipe()
    child = os.fork()
    if not child:
        try:
            for verb in (
                lambda: engine.get("a"),
                engine.read_revision,
                lambda: engine.commit(Attempt(Transaction((Put("a", b""),)), now_ns=0)),
                lambda: engine.open_feed(lambda: None),
            ):
                try:
                    verb()
                except Fenced:
                    os.write(written, b"f")
            engine.close(1)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"ffff"
    os.close(read)
    os.close(written)
    assert engine.get("a") is None
    engine.close(1)


async def test_closing_ends_threads_and_connections_at_once(url: str) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    async with opened(url) as store:
        start = await put(store, "a")
        async with store.watch("", after=start) as changes:
            await catch_up(changes, start)
            began = anyio.current_time()
            await store.aclose()
            assert anyio.current_time() - began < 2
            with pytest.raises(Unavailable):
                while True:
                    await next_item(changes)
    left = [t.name for t in threading.enumerate() if t.ident not in before]
    assert [name for name in left if name.startswith("federlib-etcd")] == []


async def test_a_stream_that_dies_without_a_word_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federlib.storage.backends.etcd._feed._LOOK_EVERY_S", 0.2)
    async with opened(url) as listener, opened(url) as writer:
        start = await put(writer, "a")
        async with listener.watch("", after=start) as changes:
            await catch_up(changes, await put(writer, "a"))
            (stream,) = listener._engine.client._streams
            plug = stream._response.extensions["network_stream"].get_extra_info("socket")
            assert isinstance(plug, socket.socket)
            # What comes goes nowhere: the reading thread waits on another file.
            silent, other = socket.socketpair()
            os.dup2(silent.fileno(), plug.fileno())
            # The first may still come: it is being waited for.
            first, last = await put(writer, "b"), await put(writer, "b")
            assert [b.revision for b in await catch_up(changes, last)] == [first, last]
            silent.close()
            other.close()


async def test_an_id_is_not_read_as_a_path(url: str) -> None:
    async with opened(url) as store:
        for name in ("../t", "a/b", "..", "t", "é" * 128, "%2F"):
            done = await commit(store, Put("a", b""), id=name)
            assert await store.outcome(name) == Committed(done)
        with pytest.raises(InvalidInput):
            await store.commit(Transaction((Put("a", b"2"),), (Absent("b"),), id="../t"))
        assert await store.check() == []


async def test_a_stream_that_is_cut_again_and_again_in_silence_is_nothing_to_tell_of(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federlib.storage.backends.etcd._feed._STEADY_S", 0.0)
    async with opened(url) as store:
        start = await put(store, "a")
        async with store.watch("", after=start) as changes:
            await catch_up(changes, await put(store, "a"))
            cut: list[object] = []
            with anyio.fail_after(20):
                while len(cut) < 6:
                    for stream in store._engine.client._streams.copy():
                        if stream not in cut:
                            stream.abort()
                            cut.append(stream)
                    await anyio.sleep(0.02)
            last = await put(store, "b")
            assert [b.revision for b in await catch_up(changes, last)] == [last]


async def test_a_revision_that_went_back_is_another_history(url: str) -> None:
    engine = await anyio.to_thread.run_sync(open_engine, url)
    try:
        head = engine.read_revision()
        # As a backup leaves it: somebody has read further than the store has got.
        assert engine.read_changes(head, 10) == []
        assert engine.read_changes(head + 1, 10) is None
        feed = engine.open_feed(lambda: None)
        try:
            assert feed.read_changes(head + 1, 10) is None
            assert feed.read_changes(head, 10) == []
        finally:
            feed.close()
    finally:
        engine.close(1.0)
