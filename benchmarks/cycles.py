"""What a lease cycle is measured with: federlib's clients, the peers, and the raw limits.

Each client takes a folder, makes so many cycles in it, and calls `mark` before the first and
after each. As a program, `python -m benchmarks.cycles NAME FOLDER CYCLES`, it is what the
counter of syncs watches.

What is said about the peers is read from their sources and seen in traces of them:

- filelock, and tooz's file driver over fasteners: `flock` on an open file. Nothing is
  written, so nothing is durable; the kernel lets go when the holder dies; no number.
- sherlock's file lock: a JSON file with owner and expiry, written without a sync and judged
  by the wall clock; the owner is a random id, which fences nothing.
- mithril-locks: a counter and a lease, both kept; on files each change is temp, fsync,
  rename, fsync of the folder; on SQLite one WAL transaction, synchronous FULL by default.
"""

from __future__ import annotations

import importlib
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import attrs

import federlib
from benchmarks.fsyncs import mark
from benchmarks.machine import version_of
from benchmarks.table import Traits
from federlib.identity import IdentityStore

__all__ = ["CLIENTS", "Client", "raw_append", "raw_reserved", "raw_sqlite"]

Mark = Callable[[], object]
Run = Callable[[Path, int, Mark], float]

_TTL_S = 15
_ENTRY = b"x" * 511 + b"\n"
"""As long as the journal's entry for a change of a lease, about."""

_COMMITS_OF_A_WAL = 1_500
"""More than its 1,000 pages hold, after which SQLite begins it anew."""

LEASE = Traits(durable=True, fenced=True, ttl=True)
FLOCK = Traits(durable=False, fenced=False, ttl=False)


@attrs.frozen
class Client:
    """One way to acquire and release.

    Attributes:
        run: Makes the cycles; seconds that they took.
        client: The interface, in words.
        fsync: What happens to each change before it counts.
        traits: What the lease or lock promises.
        package: Whose it is, if not ours.
        limit: The raw limit that it stands beside.
    """

    run: Run
    client: str
    fsync: str
    traits: Traits
    package: str = ""
    limit: str = "raw-append"

    @property
    def title(self) -> str:
        """The interface, with the version of what is not ours."""
        return (
            f"{self.client} {version_of(self.package) or ''}".strip()
            if self.package
            else self.client
        )

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""
        if self.package and version_of(self.package) is None:
            return f"{self.package} is not installed here"
        return None


def _timed(cycle: Callable[[], object], cycles: int, mark: Mark) -> float:
    cycle()  # opens what is opened once
    mark()
    began = time.perf_counter()
    for _ in range(cycles):
        cycle()
        mark()
    return time.perf_counter() - began


def raw_sqlite(place: Path, cycles: int, mark: Mark, *, is_grown: bool = False) -> float:
    """Commit one row at a time: BEGIN IMMEDIATE, UPDATE, COMMIT, WAL, synchronous FULL.

    In a new base each commit lengthens the WAL. With `is_grown` it is as long as it gets,
    and is written over from its beginning, as in a base that has been in use for a while.
    """
    base = sqlite3.connect(place / "raw.db", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v INTEGER)")
    base.execute("INSERT OR REPLACE INTO t VALUES (1, 0)")

    def commit() -> None:
        base.execute("BEGIN IMMEDIATE")
        base.execute("UPDATE t SET v = v + 1 WHERE k = 1")
        base.execute("COMMIT")

    if is_grown:
        base.execute("PRAGMA synchronous=OFF")
        for _ in range(_COMMITS_OF_A_WAL):
            commit()
        base.execute("PRAGMA synchronous=FULL")
    try:
        return _timed(commit, cycles, mark)
    finally:
        base.close()


def raw_append(place: Path, cycles: int, mark: Mark) -> float:
    """Append one entry at a time to a growing file, and sync its data."""
    log = os.open(place / "raw.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append() -> None:
        os.write(log, _ENTRY)
        os.fdatasync(log)

    try:
        return _timed(append, cycles, mark)
    finally:
        os.close(log)


def raw_reserved(place: Path, cycles: int, mark: Mark) -> float:
    """The same into space that was reserved before: its size need not be stored each time."""
    log = os.open(place / "raw.log", os.O_WRONLY | os.O_CREAT, 0o600)
    os.posix_fallocate(log, 0, (cycles + 1) * len(_ENTRY))
    offsets = count(step=len(_ENTRY))

    def write() -> None:
        os.pwrite(log, _ENTRY, next(offsets))
        os.fdatasync(log)

    try:
        return _timed(write, cycles, mark)
    finally:
        os.close(log)


def _url(scheme: str, place: Path) -> str:
    return f"{scheme}:///{place}/fleet{'.db' if scheme == 'sqlite' else ''}"


def _async(scheme: str, place: Path, cycles: int, mark: Mark) -> float:
    """Hold and let go, as a user of the async interface would."""

    async def run() -> float:
        identity = IdentityStore(place / "identities")
        async with federlib.connect(_url(scheme, place), identity=identity) as fed:
            async with fed.hold("bench"):
                pass
            mark()
            began = time.perf_counter()
            for _ in range(cycles):
                async with fed.hold("bench"):
                    pass
                mark()
            return time.perf_counter() - began

    return anyio.run(run)


def _blocking(scheme: str, place: Path, cycles: int, mark: Mark) -> float:
    """Hold and let go, as a thread without an event loop would."""
    blocking = importlib.import_module("federlib.blocking")
    identity = IdentityStore(place / "identities")
    with blocking.connect(_url(scheme, place), identity=identity) as fed:

        def cycle() -> None:
            with fed.hold("bench"):
                pass

        return _timed(cycle, cycles, mark)


def _filelock(place: Path, cycles: int, mark: Mark) -> float:
    lock = importlib.import_module("filelock").FileLock(place / "bench.lock")

    def cycle() -> None:
        with lock:
            pass

    return _timed(cycle, cycles, mark)


def _tooz(place: Path, cycles: int, mark: Mark) -> float:
    coordination = importlib.import_module("tooz.coordination")
    member = coordination.get_coordinator(f"file://{place}/tooz", b"bench")
    member.start()
    lock = member.get_lock(b"bench")

    def cycle() -> None:
        with lock:
            pass

    try:
        return _timed(cycle, cycles, mark)
    finally:
        member.stop()


def _sherlock(place: Path, cycles: int, mark: Mark) -> float:
    sherlock = importlib.import_module("sherlock")
    lock = sherlock.FileLock("bench", client=place / "sherlock", expire=_TTL_S, timeout=10)

    def cycle() -> None:
        with lock:
            pass

    return _timed(cycle, cycles, mark)


def _mithril(backend: object, cycles: int, mark: Mark) -> float:
    lock = importlib.import_module("mithril").Lock
    # Printed at each step by default; a service sets a level, and so do we.
    structlog = importlib.import_module("structlog")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    def cycle() -> None:
        with lock("bench", backend=backend, ttl=_TTL_S):
            pass

    try:
        return _timed(cycle, cycles, mark)
    finally:
        structlog.reset_defaults()


def _mithril_file(place: Path, cycles: int, mark: Mark) -> float:
    backends = importlib.import_module("mithril.backends")
    return _mithril(backends.FileBackend(place / "mithril"), cycles, mark)


def _mithril_sqlite(place: Path, cycles: int, mark: Mark) -> float:
    backends = importlib.import_module("mithril.backends")
    with _engine(f"sqlite:///{place}/mithril.db") as engine:
        return _mithril(backends.SQLiteBackend(engine), cycles, mark)


@contextmanager
def _engine(url: str) -> Iterator[object]:
    engine = importlib.import_module("sqlalchemy").create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


_FULL, _DATASYNC = "WAL, FULL", "append + fdatasync"

CLIENTS: dict[str, Client] = {
    "sqlite-async": Client(
        partial(_async, "sqlite"), "federlib sqlite, async", _FULL, LEASE, limit="raw-sqlite"
    ),
    "sqlite-blocking": Client(
        partial(_blocking, "sqlite"), "federlib sqlite, blocking", _FULL, LEASE, limit="raw-sqlite"
    ),
    "file-async": Client(partial(_async, "file"), "federlib file, async", _DATASYNC, LEASE),
    "file-blocking": Client(
        partial(_blocking, "file"), "federlib file, blocking", _DATASYNC, LEASE
    ),
    "mithril-sqlite": Client(
        _mithril_sqlite, "mithril-locks sqlite", _FULL, LEASE, "mithril-locks", limit="raw-sqlite"
    ),
    "mithril-file": Client(
        _mithril_file, "mithril-locks file", "temp, fsync, rename, fsync", LEASE, "mithril-locks"
    ),
    "sherlock-file": Client(
        _sherlock, "sherlock file", "none", attrs.evolve(FLOCK, ttl=True), "sherlock"
    ),
    "tooz-file": Client(_tooz, "tooz file", "none", FLOCK, "tooz"),
    "filelock": Client(_filelock, "filelock", "none", FLOCK, "filelock"),
    "raw-sqlite": Client(
        raw_sqlite, "sqlite3", _FULL, attrs.evolve(FLOCK, durable=True), limit="raw-sqlite"
    ),
    "raw-sqlite-grown": Client(
        partial(raw_sqlite, is_grown=True),
        "sqlite3",
        _FULL,
        attrs.evolve(FLOCK, durable=True),
        limit="raw-sqlite",
    ),
    "raw-append": Client(raw_append, "os.write", _DATASYNC, attrs.evolve(FLOCK, durable=True)),
    "raw-reserved": Client(
        raw_reserved, "os.pwrite", "fdatasync", attrs.evolve(FLOCK, durable=True)
    ),
}

if __name__ == "__main__":
    _, _name, _folder, _cycles = sys.argv
    CLIENTS[_name].run(Path(_folder), int(_cycles), mark)
