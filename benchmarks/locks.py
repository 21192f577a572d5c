"""Leases and locks on servers, and the raw limits: `python -m benchmarks.locks NAME URL FOLDER`.

Such a process opens its client once. Told ``cycles SECONDS`` it acquires and releases for so
long, and answers how long each cycle took; told ``count NUMBER`` it makes so many. Told
``contend BEGIN END`` it does so between two instants of the monotonic clock, and each time it
holds the lease it makes a file that must not be there and removes it: the witness.

What is said about the peers is read from their sources:

- tooz on PostgreSQL: an advisory lock of a connection that is opened for each cycle.
- tooz on etcd: a lease is granted, a key put if it is absent, and deleted; three requests.
- aetcd: the same by gRPC.
- mithril-locks on PostgreSQL: a counter and a row with owner and expiry, in transactions.
- psycopg: `pg_advisory_lock` and `pg_advisory_unlock` on one connection; nothing is written.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import attrs

import federlib
from benchmarks import raw_servers
from benchmarks.cycles import FLOCK, LEASE
from benchmarks.machine import version_of
from benchmarks.table import Traits
from benchmarks.talks import listen, tell
from federlib.identity import IdentityStore

__all__ = ["LOCKS", "Lock", "Witness"]

NAME = "bench"
_TTL_S = 15

Body = Callable[[], object]
Opened = AbstractContextManager[Callable[[Body], object]]
OpenedAsync = AbstractAsyncContextManager[Callable[[Body], Awaitable[object]]]


@attrs.frozen
class Lock:
    """One way to acquire and release.

    Attributes:
        client: The interface, in words.
        traits: What it promises; None for a raw limit.
        open: Opens it for threads.
        open_async: Or for a loop.
        package: Whose it is, if not ours.
        cycle: What one cycle is, in the engine's words.
    """

    client: str
    traits: Traits | None
    open: Callable[[str, Path], Opened] | None = None
    open_async: Callable[[str, Path], OpenedAsync] | None = None
    package: str = ""
    cycle: str = ""

    @property
    def title(self) -> str:
        """The interface, with the version of what is not ours."""
        if not self.package:
            return self.client
        return f"{self.client} {version_of(self.package) or ''}".strip()

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""
        if self.package and version_of(self.package) is None:
            return f"{self.package} is not installed here"
        return None


@contextmanager
def _blocking(url: str, place: Path) -> Iterator[Callable[[Body], object]]:
    blocking = importlib.import_module("federlib.blocking")
    with blocking.connect(url, identity=IdentityStore(place / "identities")) as fed:

        def cycle(body: Body) -> None:
            with fed.hold(NAME):
                body()

        yield cycle


@asynccontextmanager
async def _async(url: str, place: Path) -> AsyncIterator[Callable[[Body], Awaitable[object]]]:
    identity = IdentityStore(place / "identities")
    async with federlib.connect(url, identity=identity) as fed:

        async def cycle(body: Body) -> None:
            async with fed.hold(NAME):
                body()

        yield cycle


def _tooz_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "postgresql":
        return f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}"
    # It knows one endpoint.
    return f"etcd3+http://{parts.netloc.split(',')[0]}?timeout=10"


@contextmanager
def _tooz(url: str, _place: Path) -> Iterator[Callable[[Body], object]]:
    coordination = importlib.import_module("tooz.coordination")
    member = coordination.get_coordinator(_tooz_url(url), f"member-{os.getpid()}".encode())
    member.start()
    lock = member.get_lock(NAME.encode())

    def cycle(body: Body) -> None:
        with lock:
            body()

    try:
        yield cycle
    finally:
        member.stop()


@asynccontextmanager
async def _aetcd(url: str, _place: Path) -> AsyncIterator[Callable[[Body], Awaitable[object]]]:
    host, _, port = urlsplit(url).netloc.split(",")[0].partition(":")
    async with importlib.import_module("aetcd").Client(host=host, port=int(port)) as client:

        async def cycle(body: Body) -> None:
            lock = client.lock(NAME.encode(), ttl=_TTL_S)
            # Its `async with` enters the block after ten seconds, with the lock or without.
            while not await lock.acquire():
                pass
            body()
            await lock.release()

        yield cycle


@contextmanager
def _mithril(url: str, _place: Path) -> Iterator[Callable[[Body], object]]:
    logging = importlib.import_module("logging")
    structlog = importlib.import_module("structlog")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    mithril = importlib.import_module("mithril")
    backends = importlib.import_module("mithril.backends")
    create_engine = importlib.import_module("sqlalchemy").create_engine
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    backend = backends.PostgresBackend(engine)

    def cycle(body: Body) -> None:
        with mithril.Lock(NAME, backend=backend, ttl=_TTL_S):
            body()

    try:
        yield cycle
    finally:
        engine.dispose()


@contextmanager
def _advisory(url: str, _place: Path) -> Iterator[Callable[[Body], object]]:
    psycopg = importlib.import_module("psycopg")
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        cursor = connection.cursor(binary=True)

        def cycle(body: Body) -> None:
            cursor.execute("SELECT pg_advisory_lock(1)")
            body()
            cursor.execute("SELECT pg_advisory_unlock(1)")

        yield cycle


_TTL_ONLY = Traits(durable=True, fenced=False, ttl=True)

LOCKS: dict[str, Lock] = {
    "federlib-blocking": Lock("federlib, blocking", LEASE, _blocking),
    "federlib-async": Lock("federlib, async", LEASE, None, _async),
    "tooz-postgresql": Lock(
        "tooz postgresql", FLOCK, _tooz, package="tooz", cycle="connect, advisory lock, unlock"
    ),
    "mithril-postgresql": Lock(
        "mithril-locks postgresql", LEASE, _mithril, package="mithril-locks"
    ),
    "advisory": Lock(
        "psycopg advisory lock", FLOCK, _advisory, package="psycopg", cycle="two round trips"
    ),
    "tooz-etcd": Lock(
        "tooz etcd3gw", _TTL_ONLY, _tooz, package="tooz", cycle="grant, put if absent, delete"
    ),
    "aetcd": Lock(
        "aetcd",
        _TTL_ONLY,
        None,
        _aetcd,
        package="aetcd",
        cycle="gRPC: grant, put if absent, delete",
    ),
    "raw-commit": Lock(
        "psycopg",
        None,
        raw_servers.one_commit,
        cycle="one prepared autocommit statement: UPDATE of the counter row in a CTE, "
        "INSERT … ON CONFLICT DO UPDATE of a row; one round trip",
    ),
    "raw-transaction": Lock(
        "psycopg",
        None,
        raw_servers.one_transaction,
        cycle="BEGIN, UPDATE of the counter row, UPDATE of a row, COMMIT; four round trips",
    ),
    "raw-etcd": Lock(
        "httpx transport",
        None,
        raw_servers.etcd_pair,
        cycle="two requests to the JSON gateway through the HTTP transport that federlib uses: "
        "put if absent with a lease that is reused, delete",
    ),
}


class Witness:
    """Sees two holders at once: each makes a file that must not be there, and removes it."""

    def __init__(self, place: Path) -> None:
        self._path = place / "witness"
        self.overlaps = 0

    def __call__(self) -> None:
        """Make the file and remove it; count what must not be."""
        try:
            file = os.open(self._path, os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            self.overlaps += 1
            return
        os.close(file)
        try:
            self._path.unlink()
        except FileNotFoundError:
            self.overlaps += 1


class _Job:
    """What one line asks for, and its answer."""

    def __init__(self, line: str, place: Path) -> None:
        verb, *numbers = line.split()
        self._begin, self._end, self._most = 0.0, float("inf"), sys.maxsize
        self.body: Body = _nothing
        match verb, numbers:
            case "cycles", [seconds]:
                self._end = time.monotonic() + float(seconds)
            case "count", [number]:
                self._most = int(number)
            case "contend", [begin, end]:
                self._begin, self._end = float(begin), float(end)
                self.body = self._witness = Witness(place)
            case _:
                sys.exit(__doc__)
        self._took: list[float] = []
        self._first = self._last = 0.0

    def goes_on(self) -> bool:
        now = time.monotonic()
        while now < self._begin:
            time.sleep(min(0.002, self._begin - now))
            now = time.monotonic()
        if not self._first:
            self._first = self._last = now
        return now < self._end and len(self._took) < self._most

    def took(self, seconds: float) -> None:
        now = time.monotonic()
        # What ends after the end does not count: a fair engine is not judged by its last turn.
        if self.body is _nothing or now < self._end:
            self._took.append(seconds)
            self._last = now

    def answer(self) -> str:
        took = sorted(self._took) or [0.0]
        witness = getattr(self, "_witness", None)
        return json.dumps(
            {
                "cycles": len(self._took),
                "seconds": self._last - self._first,
                "p50_ms": took[len(took) // 2] * 1e3,
                "p99_ms": took[min(len(took) - 1, len(took) * 99 // 100)] * 1e3,
                "overlaps": 0 if witness is None else witness.overlaps,
            }
        )


def _nothing() -> None:
    pass


def _run(opened: Opened, place: Path) -> None:
    with opened as cycle:
        tell("ready")
        while (line := listen(sys.stdin.readline)) is not None:
            job = _Job(line, place)
            while job.goes_on():
                began = time.perf_counter()
                cycle(job.body)
                job.took(time.perf_counter() - began)
            tell(job.answer())


async def _run_async(opened: OpenedAsync, place: Path) -> None:
    async with opened as cycle:
        tell("ready")
        # In a thread, so that what the client does in the background goes on.
        while (line := await anyio.to_thread.run_sync(listen, sys.stdin.readline)) is not None:
            job = _Job(line, place)
            while job.goes_on():
                began = time.perf_counter()
                await cycle(job.body)
                job.took(time.perf_counter() - began)
            tell(job.answer())


def main(name: str, url: str, place: Path) -> None:
    """Open, and do what is told."""
    lock = LOCKS[name]
    if lock.open is not None:
        _run(lock.open(url, place), place)
    elif lock.open_async is not None:
        anyio.run(_run_async, lock.open_async(url, place), place)


if __name__ == "__main__":
    _, _name, _url, _folder = sys.argv
    main(_name, _url, Path(_folder))
