"""A cluster of etcd that fails: members killed, no quorum, restarts; and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import anyio
import anyio.to_thread
import pytest

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.skewclock import SystemClock
from federlib.storage import (
    Absent,
    AtRevision,
    Batch,
    Committed,
    Conflicted,
    Put,
    RecordStore,
    Transaction,
)
from federlib.testing._store_hooks import catch_up, put, read_all
from federlib.testing.history import Recorder, StoreModel, linearizability
from federlib.testing.servers import EtcdCluster, etcd_server
from storage.etcd_lab import ask, compact, new_prefix, new_url, opened

pytestmark = pytest.mark.anyio

PATIENCE_S = 180


@pytest.fixture(scope="module")
def trio_of_members() -> Iterator[EtcdCluster]:
    with etcd_server(members=3) as cluster:
        yield cluster


@pytest.fixture
def cluster(trio_of_members: EtcdCluster) -> Iterator[EtcdCluster]:
    yield trio_of_members
    trio_of_members.start()


async def in_thread(work: Callable[[], object]) -> None:
    """For what ends and starts servers, which takes its time."""
    await anyio.to_thread.run_sync(work)


async def increment_surely(store: RecordStore, name: str) -> None:
    """Add one to a counter, with an id: again and again until it is known to have happened."""
    for attempt in range(10_000):
        try:
            record = await store.get("counter")
            check = Absent("counter") if record is None else AtRevision("counter", record.revision)
            value = b"%d" % (1 if record is None else int(record.value) + 1)
            transaction = Transaction((Put("counter", value),), (check,), f"{name}/{attempt}")
        except Unavailable:
            await anyio.sleep(0.05)
            continue
        while True:
            try:
                done = await store.commit(transaction)
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(0.05)
                continue
            break
        if isinstance(done, Committed):
            return


async def test_with_ids_every_commit_takes_effect_once_though_the_leader_is_killed(
    cluster: EtcdCluster,
) -> None:
    recorder = Recorder(SystemClock().boot_ns)
    url, done = new_url(cluster), Counter[str]()
    with anyio.fail_after(PATIENCE_S):
        async with opened(url) as one, opened(url) as other:
            is_over = anyio.Event()

            async def work(name: str, store: RecordStore) -> None:
                while not is_over.is_set():
                    await increment_surely(store, f"{name}/{done[name]}")
                    done[name] += 1

            async with anyio.create_task_group() as tasks:
                for i, store in enumerate((one, other, one, other)):
                    tasks.start_soon(work, f"w{i}", recorder.store(store, f"w{i}"))
                for _ in range(2):
                    await anyio.sleep(0.5)
                    await in_thread(lambda: cluster.leader().kill())
                    before = done.total()
                    while done.total() < before + 20:
                        await anyio.sleep(0.05)
                    await in_thread(cluster.start)
                is_over.set()
            record = await recorder.store(one, "end").get("counter")
    assert record is not None
    assert int(record.value) == done.total() >= 40
    verdict = linearizability.check(recorder.history(), StoreModel())
    assert verdict.is_linearizable, verdict


async def test_without_ids_none_takes_effect_twice_and_none_that_did_is_said_not_to_have(
    cluster: EtcdCluster,
) -> None:
    prefix = new_prefix()
    told: dict[str, str] = {}
    recorder = Recorder(SystemClock().boot_ns)
    with anyio.fail_after(PATIENCE_S):
        async with opened(f"{cluster.url}?prefix={prefix}") as store:
            is_over = anyio.Event()

            async def work(lane: int) -> None:
                recorded, i = recorder.store(store, f"w{lane}"), 0
                while not is_over.is_set():
                    key, i = f"n/{lane}/{i:05}", i + 1
                    try:
                        done = await recorded.commit(Transaction((Put(key, key.encode()),)))
                        assert isinstance(done, Committed)
                        told[key] = "committed"
                    except OutcomeUnknown:
                        told[key] = "unknown"
                    except Unavailable:
                        told[key] = "nothing"
                        await anyio.sleep(0.02)

            async with anyio.create_task_group() as tasks:
                for lane in range(8):
                    tasks.start_soon(work, lane)
                await anyio.sleep(0.5)
                await in_thread(lambda: cluster.leader().kill())
                before = Counter(told.values())["committed"]
                while Counter(told.values())["committed"] < before + 50:
                    await anyio.sleep(0.05)
                is_over.set()
            await in_thread(cluster.start)
            found = {record.key for record in await read_all(store, "n/")}
    for key, word in told.items():
        assert word == "unknown" or (key in found) == (word == "committed"), (key, word)
    answer = ask(
        cluster,
        "/v3/kv/range",
        {"key": f"{prefix}k/n/".encode(), "range_end": f"{prefix}k/n0".encode(), "keys_only": True},
    )
    kvs = answer["kvs"]
    assert isinstance(kvs, list)
    # A key's version counts its puts.
    assert {kv["version"] for kv in kvs} == {"1"}
    verdict = linearizability.check(recorder.history(), StoreModel())
    assert verdict.is_linearizable, verdict


async def test_without_a_quorum_it_says_so_in_time_and_comes_back_by_itself(
    cluster: EtcdCluster,
) -> None:
    async with opened(new_url(cluster)) as store:
        start = await put(store, "a")
        async with store.watch("", after=start) as changes:
            await catch_up(changes, start)
            for member in cluster.members[:2]:
                await in_thread(member.kill)
            errors: list[str] = []

            async def fail(call: Callable[[], Awaitable[object]]) -> None:
                try:
                    await call()
                except (Unavailable, OutcomeUnknown) as error:
                    errors.append(type(error).__name__)

            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                for writes, name in ((Put("b", b""), None), (Put("c", b""), "c")):
                    transaction = Transaction((writes,), id=name)
                    tasks.start_soon(fail, partial(store.commit, transaction))
                tasks.start_soon(fail, partial(store.get, "a"))
            assert len(errors) == 3
            assert anyio.current_time() - began < 5 + 4
            await in_thread(cluster.start)
            done = await store.commit(Transaction((Put("c", b""),), id="c"))
            assert isinstance(done, Committed)
            seen: list[str] = []
            with anyio.fail_after(PATIENCE_S):
                while "c" not in seen:
                    try:
                        item = await anext(changes)
                    except Unavailable:
                        continue
                    if isinstance(item, Batch):
                        seen += [event.key for event in item.events]
            assert seen.count("c") == 1


async def test_a_watcher_goes_on_at_another_member(cluster: EtcdCluster) -> None:
    async with opened(new_url(cluster)) as listener, opened(new_url(cluster)) as writer:
        del writer
        start = await put(listener, "a")
        async with listener.watch("", after=start) as changes:
            answered: list[int] = []
            told: list[Batch] = []
            for member in (*cluster.members, cluster.members[0]):
                await in_thread(member.kill)
                for i in range(5):
                    while True:
                        try:
                            # With an id it is answered, whoever leads.
                            name = f"{member.name}{len(answered)}{i}"
                            done = await listener.commit(Transaction((Put("b", b""),), id=name))
                        except (Unavailable, OutcomeUnknown):
                            continue
                        break
                    assert isinstance(done, Committed)
                    answered.append(done.revision)
                told += await catch_up(changes, answered[-1])
                await in_thread(cluster.start)
    assert [batch.revision for batch in told] == answered


async def test_a_member_that_is_stopped_holds_up_nobody_for_long(cluster: EtcdCluster) -> None:
    async with opened(new_url(cluster)) as store:
        await put(store, "a")
        follower = next(member for member in cluster.members if not member.is_leader())
        # The one that is asked first.
        first = cluster.members.index(follower)
        store._engine.client._first = first
        follower.pause()
        try:
            began = anyio.current_time()
            assert await store.get("a") is not None
            assert isinstance(await store.commit(Transaction((Put("b", b""),), id="b")), Committed)
            assert anyio.current_time() - began < 5
        finally:
            follower.resume()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_one_member_that_restarts_is_found_again(etcd_server: EtcdCluster, how: str) -> None:
    (member,) = etcd_server.members
    async with opened(new_url(etcd_server)) as store:
        start = await put(store, "a", b"1")
        async with store.watch("", after=start) as changes:
            await catch_up(changes, start)
            await in_thread(member.kill if how == "kill" else member.stop)
            began = anyio.current_time()
            with pytest.raises(Unavailable):
                await store.commit(Transaction((Put("a", b"2"),)))
            with pytest.raises(Unavailable):
                await store.get("a")
            assert anyio.current_time() - began < 5
            member.start()
            # At once, and on connections that are new.
            last = await put(store, "a", b"3")
            seen: list[int] = []
            with anyio.fail_after(PATIENCE_S):
                while not seen:
                    try:
                        item = await anext(changes)
                    except Unavailable:
                        continue
                    if isinstance(item, Batch):
                        seen.append(item.revision)
        assert seen == [last]


async def test_concurrent_clients_are_linearizable_while_history_is_compacted(
    etcd_server: EtcdCluster,
) -> None:
    recorder = Recorder(SystemClock().boot_ns)
    url = new_url(etcd_server)
    async with opened(url) as one, opened(url) as other:

        async def work(name: str, store: RecordStore) -> None:
            for i in range(60):
                key = f"x/{i % 3}"
                record = await store.get(key)
                check = Absent(key) if record is None else AtRevision(key, record.revision)
                writes = (Put(key, f"{name}/{i}".encode()), Put(f"y/{i % 2}", name.encode()))
                done = await store.commit(
                    Transaction(writes, (check,), f"{name}/{i}" if i % 2 else None)
                )
                assert isinstance(done, Committed | Conflicted)

        async with anyio.create_task_group() as tasks:
            for i in range(6):
                store = recorder.store((one, other)[i % 2], f"w{i}")
                tasks.start_soon(work, f"w{i}", store)
            await in_thread(partial(compact, etcd_server))
    verdict = linearizability.check(recorder.history(), StoreModel())
    assert verdict.is_linearizable, verdict
