"""The embedded default: a store in one SQLite file, shared by the processes of one machine.

    store = await open_store("sqlite:///fleet.db")

`sqlite:///fleet.db` is relative to the working directory, `sqlite:////var/lib/fleet.db` is
absolute; `%20` and the like are decoded. The one option is `?allow_network_fs=1`.

Beside the database lie SQLite's own `-wal` and `-shm` and two empty lock files, `.turn`
and `.main`. Copy a store with SQLite's backup, never the one file alone.

Does not promise: several hosts, or safety on a disk that lies about fsync.
Hazards: a process that is stopped inside its commit holds up all other writers.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell draws the id of a new store)
from pathlib import Path

from federlib.skewclock import Clock
from federlib.storage.backends._blocking.opening import open_in_thread
from federlib.storage.backends._blocking.store import EngineStore
from federlib.storage.backends._embedded.url import FileUrl, locate, parse_file_url
from federlib.storage.backends.sqlite._engine import SqliteEngine
from federlib.storage.protocol import Capabilities
from federlib.telemetry import Telemetry

__all__ = ["SqliteStore", "open_engine", "open_store", "parse_url"]

CAPABILITIES = Capabilities(
    durable=True,
    shared=True,
    multi_host=False,
    server_clock=False,
    push_watch=False,
    wake_latency_s=0.1,
)


def parse_url(url: str) -> FileUrl:
    """Read `sqlite:///relative`, `sqlite:////absolute` and the options.

    Raises:
        InvalidInput: Anything else.
    """
    return parse_file_url(url, "sqlite", what="file")


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> SqliteStore:
    """Open, and on first use create, the store that a `sqlite://` URL names.

    Raises:
        InvalidInput: The URL is malformed, its path cannot be a file, or it lies on a
            network file system.
        Unavailable: The store cannot be reached or created (`StoreDenied`, `StoreFull`).
        CorruptRecord: What lies there is not a store of a format that this version reads.
    """
    engine = await open_in_thread(lambda: open_engine(url))
    telemetry.log("debug", "store_opened", store=engine.where, store_id=engine.store_id)
    return SqliteStore(engine, CAPABILITIES, clock, telemetry)


def open_engine(url: str) -> SqliteEngine:
    """Open the engine alone, for a caller that may block; raises as `open_store`."""
    path = locate(parse_url(url), "sqlite")
    return SqliteEngine(path, new_store_id=secrets.token_hex(16))


class SqliteStore(EngineStore[SqliteEngine]):
    """A `RecordStore` in one SQLite file. Any number of event loops may share it."""

    @property
    def path(self) -> Path:
        """The database, absolute and resolved."""
        return self._engine.path
