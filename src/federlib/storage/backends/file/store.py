"""A store in plain files of one directory, shared by the processes of one machine.

    store = await open_store("file:///fleet")

For places without SQLite, and for looking at what is stored with plain tools. `file:///fleet`
is relative to the working directory, `file:////var/lib/fleet` is absolute; `%20` and the like
are decoded. The one option is `?allow_network_fs=1`.

    journal/   what counts: segments of commits, and states that let old segments go
    records/   each record in a file of its own, brought up to date from time to time
    run/       how processes meet; worth nothing once none of them lives

Each process keeps all records in memory; made for up to 100,000 of them.

Does not promise: several hosts, or safety on a disk that lies about fsync.
Hazards: a process that is stopped inside its commit holds up all other writers.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell draws the id of a new store)
import sys

from federlib.errors import CorruptRecord, InvalidInput
from federlib.skewclock import Clock
from federlib.storage.backends._blocking.opening import open_in_thread
from federlib.storage.backends._blocking.store import EngineStore
from federlib.storage.backends._embedded.filesystem import translate_os_error
from federlib.storage.backends._embedded.url import FileUrl, locate, parse_file_url
from federlib.storage.backends.file._engine import FileEngine
from federlib.storage.backends.file._errors import translate
from federlib.storage.backends.file._load import find_foreign
from federlib.storage.backends.file._shared_turn import SharedTurn
from federlib.storage.disk import SystemDisk
from federlib.storage.protocol import Capabilities
from federlib.telemetry import Telemetry

__all__ = ["FileStore", "open_engine", "open_store", "parse_url"]

CAPABILITIES = Capabilities(
    durable=True,
    shared=True,
    multi_host=False,
    server_clock=False,
    push_watch=False,
    wake_latency_s=0.1,
)


def parse_url(url: str) -> FileUrl:
    """Read `file:///relative`, `file:////absolute` and the options.

    Raises:
        InvalidInput: Anything else.
    """
    return parse_file_url(url, "file", what="directory")


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> FileStore:
    """Open, and on first use create, the store that a `file://` URL names.

    Raises:
        InvalidInput: The URL is malformed, its path cannot be a directory, or it lies on a
            network file system.
        Unavailable: The store cannot be reached or created (`StoreDenied`, `StoreFull`).
        CorruptRecord: What lies there is not a store of a format that this version reads.
    """
    engine = await open_in_thread(lambda: open_engine(url))
    telemetry.log("debug", "store_opened", store=engine.where, store_id=engine.store_id)
    if engine.cut_bytes:
        telemetry.log(
            "warning", "store_torn_commit_cut", store=engine.where, bytes=engine.cut_bytes
        )
    return FileStore(engine, CAPABILITIES, clock, telemetry)


def open_engine(url: str) -> FileEngine:
    """Open the engine alone, for a caller that may block; raises as `open_store`."""
    path = locate(parse_url(url), "file")
    where = f"file store {path}"
    if sys.platform == "win32":  # pragma: no cover (Windows)
        raise InvalidInput("store URL", expected="sqlite:// on Windows", found="file://")
    disk = SystemDisk(path)
    try:
        foreign = find_foreign(disk)
    except NotADirectoryError as error:
        raise InvalidInput("store URL", expected="the path of a directory", found=where) from error
    except OSError as error:
        raise translate_os_error(error, where) from error
    if foreign is not None:
        raise CorruptRecord(where, expected="a federlib store or an empty directory", found=foreign)
    try:
        turn = SharedTurn(path)
    except OSError as error:
        raise translate(error, where) from error
    return FileEngine(disk, turn, where=where, new_store_id=secrets.token_hex(16))


class FileStore(EngineStore[FileEngine]):
    """A `RecordStore` in a directory. Any number of event loops may share it."""
