"""Connections to real servers that are reset or half-closed while they are used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
import attrs
import pytest

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.skewclock import SystemClock
from federlib.storage import (
    Absent,
    AtRevision,
    Batch,
    Committed,
    Put,
    RecordStore,
    Resync,
    Subscription,
    Transaction,
    open_store,
)
from federlib.testing._store_hooks import read_all
from federlib.testing.chaos.proxy import FaultProxy
from federlib.testing.history import Recorder, StoreModel, linearizability
from federlib.testing.servers import EtcdCluster, PostgresServer, etcd_server
from storage.etcd_lab import new_url as new_etcd_url
from storage.postgres_lab import new_url as new_postgres_url

pytestmark = pytest.mark.anyio
_T = TypeVar("_T")
_LIMIT_S = 60.0
_EACH = 15
BREAKS = ("reset", "answers", "requests")


@attrs.frozen
class Engine:
    """One server, how to write a store's URL by way of another port, and who restarts it."""

    port: int
    url: str
    by: Callable[[int], str]
    tend: Callable[[], object] = lambda: None


@pytest.fixture(scope="module")
def three_members() -> Iterator[EtcdCluster]:
    with etcd_server(members=3) as cluster:
        yield cluster


@pytest.fixture(params=["postgresql", "etcd"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "etcd":
        cluster: EtcdCluster = request.getfixturevalue("three_members")
        cluster.start()
        member = cluster.members[0]
        url = new_etcd_url(cluster)
        # etcd before 3.5.7 may crash when a client is cut off while it reads (issues 14110 and
        # 14891); whoever runs it has it restarted.
        return Engine(
            member.port,
            url,
            lambda port: url.replace(",".join(cluster.endpoints), f"127.0.0.1:{port}"),
            cluster.start,
        )
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = new_postgres_url(server)
    return Engine(server.port, url, lambda port: url.replace(f":{server.port}/", f":{port}/"))


@asynccontextmanager
async def by_proxy(engine: Engine) -> AsyncIterator[tuple[FaultProxy, RecordStore]]:
    async with (
        FaultProxy("127.0.0.1", engine.port, draw=lambda: 0.5) as proxy,
        opened(engine.by(proxy.port)) as store,
        anyio.create_task_group() as tasks,
    ):

        async def tend() -> None:
            while True:
                await anyio.to_thread.run_sync(engine.tend)
                await anyio.sleep(0.1)

        tasks.start_soon(tend)
        yield proxy, store
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RecordStore]:
    store = await open_store(url, clock=SystemClock())
    try:
        yield store
    finally:
        await store.aclose()


async def break_(proxy: FaultProxy, how: str) -> None:
    if how == "reset":
        proxy.reset()
    else:
        await proxy.half_close("answers" if how == "answers" else "requests")


async def surely(verb: Callable[[], Awaitable[_T]]) -> _T:
    """Ask until there is an answer; a member that crashed is missed for a moment."""
    while True:
        try:
            return await verb()
        except (Unavailable, OutcomeUnknown):
            await anyio.sleep(0.05)


async def add_one(store: RecordStore, name: str, *, has_id: bool) -> str:
    """Count one up and leave a note of it; return what is known of it."""
    try:
        found = await store.get("counter")
    except Unavailable:
        return "nothing"
    check = Absent("counter") if found is None else AtRevision("counter", found.revision)
    value = b"%d" % (1 if found is None else int(found.value) + 1)
    writes = (Put("counter", value), Put(f"note/{name}", b""))
    change = Transaction(writes, (check,), name if has_id else None)
    while True:
        try:
            done = await store.commit(change)
        except Unavailable:
            return "nothing"
        except OutcomeUnknown:
            if has_id:
                continue
            return "unknown"
        return "committed" if isinstance(done, Committed) else "nothing"


@pytest.mark.parametrize("has_id", [True, False])
@pytest.mark.parametrize("how", BREAKS)
async def test_what_is_said_of_a_commit_is_true(engine: Engine, how: str, *, has_id: bool) -> None:
    recorder = Recorder(SystemClock().boot_ns)
    told: dict[str, str] = {}
    broken = 0
    async with opened(engine.url) as other:
        async with by_proxy(engine) as (proxy, one):
            running = 3

            async def work(lane: int, store: RecordStore) -> None:
                nonlocal running
                recorded = recorder.store(store, f"w{lane}")
                done = i = 0
                while done < _EACH:
                    i += 1
                    word = told[f"{lane}-{i}"] = await add_one(
                        recorded, f"{lane}-{i}", has_id=has_id
                    )
                    done += word == "committed"
                running -= 1

            with anyio.fail_after(_LIMIT_S):
                async with anyio.create_task_group() as tasks:
                    for lane, store in enumerate((one, one, other)):
                        tasks.start_soon(work, lane, store)
                    while running:
                        await anyio.sleep(0.01)
                        await break_(proxy, how)
                        broken += 1
                        await anyio.sleep(0.04)
        notes = {record.key for record in await surely(lambda: read_all(other, "note/"))}
        counter = await surely(lambda: recorder.store(other, "end").get("counter"))
    assert broken
    assert counter is not None
    assert int(counter.value) == len(notes)
    for name, word in told.items():
        assert word == "unknown" or (f"note/{name}" in notes) == (word == "committed"), (name, word)
    if has_id:
        assert "unknown" not in told.values()
    verdict = linearizability.check(recorder.history(), StoreModel())
    assert verdict.is_linearizable, verdict


async def hear(changes: Subscription, heard: list[int], revision: int) -> None:
    """Note each batch, until everything up to the revision is told."""
    while True:
        try:
            item = await anext(changes)
        except Unavailable:
            continue
        assert not isinstance(item, Resync)
        if isinstance(item, Batch):
            heard.append(item.revision)
        if item.revision >= revision:
            return


@pytest.mark.parametrize("how", BREAKS)
async def test_a_watcher_misses_nothing_and_hears_nothing_twice(engine: Engine, how: str) -> None:
    async with opened(engine.url) as writer, by_proxy(engine) as (proxy, listener):
        start = await writer.commit(Transaction((Put("a", b""),)))
        assert isinstance(start, Committed)
        revisions: list[int] = []
        heard: list[int] = []
        with anyio.fail_after(_LIMIT_S):
            async with listener.watch("", after=start.revision) as changes:
                for i in range(10):
                    change = Transaction((Put("a", b"%d" % i),), id=f"w{i}")
                    done = await surely(partial(writer.commit, change))
                    assert isinstance(done, Committed)
                    revisions.append(done.revision)
                    await break_(proxy, how)
                    if i % 3 == 0:
                        await hear(changes, heard, revisions[-1])
                await hear(changes, heard, revisions[-1])
    assert heard == revisions
