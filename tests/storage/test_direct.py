"""An embedded store that answers in the calling thread keeps the same contract."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest

from federlib._pace import ThreadPace, run_now
from federlib.errors import Unavailable
from federlib.skewclock import Clock, SystemClock
from federlib.storage import (
    Batch,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Put,
    Record,
    RecordStore,
    Resync,
    Subscription,
    Transaction,
)
from federlib.storage.backends.sqlite import open_store
from federlib.storage.direct import Embedded
from federlib.telemetry import SILENT
from federlib.testing._store_commits import StoreCommits
from federlib.testing._store_reads import StoreReads
from storage.test_sqlite_commit import locked_by_another_program

T = TypeVar("T")


@asynccontextmanager
async def opened(
    path: Path, clock: Clock, pace: ThreadPace | None = None
) -> AsyncIterator[RecordStore]:
    store = await open_store(f"sqlite:///{path}", clock, SILENT)
    assert isinstance(store, Embedded)
    direct = store.direct(pace or ThreadPace())
    try:
        yield direct
    finally:
        await direct.aclose()


class InThreads:
    """Asks a direct store in threads, as its users do; so the contract's tasks go on meanwhile."""

    def __init__(self, direct: RecordStore) -> None:
        self._direct = direct
        self.capabilities = direct.capabilities
        self.store_id = direct.store_id

    async def get(self, key: str) -> Record | None:
        return await in_thread(lambda: self._direct.get(key))

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        return await in_thread(lambda: self._direct.scan(prefix, after=after, limit=limit))

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        return await in_thread(lambda: self._direct.commit(transaction))

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        return await in_thread(lambda: self._direct.outcome(transaction_id))

    def watch(self, prefix: str, *, after: int) -> AbstractAsyncContextManager[Subscription]:
        return self._direct.watch(prefix, after=after)

    async def aclose(self) -> None:
        await in_thread(self._direct.aclose)


async def in_thread(verb: Callable[[], Coroutine[object, object, T]]) -> T:
    return await anyio.to_thread.run_sync(lambda: run_now(verb()))


class TestDirectStore(StoreReads, StoreCommits):
    """The contract but for its watches, whose waits cannot be cancelled here."""

    lacks = frozenset({"multi_host", "server_clock", "push_watch"})

    @pytest.fixture(autouse=True)
    def _places(self, tmp_path: Path) -> None:
        self.places = (tmp_path / f"s{number}.db" for number in itertools.count())

    @asynccontextmanager
    async def open_store(self, clock: Clock) -> AsyncIterator[RecordStore]:
        async with opened(next(self.places), clock) as direct:
            yield InThreads(direct)


def test_a_watch_gives_the_log_then_what_comes_then_resyncs(tmp_path: Path) -> None:
    async def follow(store: RecordStore) -> list[int]:
        revisions: list[int] = []
        async with store.watch("k/", after=1) as changes:
            writer = threading.Timer(0.1, lambda: [run_now(write(store, n)) for n in range(5, 10)])
            writer.start()
            async for item in changes:
                if isinstance(item, Batch):
                    revisions.append(item.revision)
                if len(revisions) == 10:
                    break
            writer.join()
        async with store.watch("k/", after=999) as changes:
            assert isinstance(await anext(changes), Resync)
        return revisions

    async def write(store: RecordStore, number: int) -> None:
        await store.commit(Transaction((Put(f"k/{number}", b"x"), Put("other", b"x"))))

    async def main() -> None:
        async with opened(tmp_path / "s.db", SystemClock()) as store:
            for number in range(5):
                await write(store, number)
            assert await follow(store) == list(range(2, 12))

    anyio.run(main)


@pytest.mark.anyio
async def test_a_commit_gives_up_when_its_caller_has_no_more_time(tmp_path: Path) -> None:
    pace = ThreadPace()
    async with opened(tmp_path / "s.db", SystemClock(), pace) as store:
        put = Transaction((Put("a", b"x"),), id="one")
        with locked_by_another_program(tmp_path / "s.db"):
            began = time.monotonic()
            with pace.limit(0.3) as limit:
                await store.commit(put)
            assert limit.cancelled_caught
            assert time.monotonic() - began < 3
        assert await store.commit(put) == Committed(2)


@pytest.mark.anyio
async def test_after_closing_every_verb_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "s.db", SystemClock()) as store:
        pass
    with pytest.raises(Unavailable, match="closed"):
        await store.get("a")
    with pytest.raises(Unavailable, match="closed"):
        await store.commit(Transaction((Put("a", b"x"),)))
    with pytest.raises(Unavailable, match="closed"):
        async with store.watch("a", after=0):
            pytest.fail("entered")
