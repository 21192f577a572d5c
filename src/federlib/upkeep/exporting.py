"""Export a store to lines of JSON, and import them into an empty one."""

from __future__ import annotations

import os
import secrets  # noqa: TID251 (a shell: the name of a temporary file)
import sqlite3
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
)
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread
import attrs

from federlib._files import PrivateFiles, kind_of_file
from federlib.errors import CorruptRecord, InvalidInput
from federlib.skewclock import Clock, SystemClock
from federlib.storage import Record, RecordStore
from federlib.storage.lines import MAX_LINE_BYTES, ExportHeader, LineReader, LineWriter
from federlib.storage.snapshot import Snapshot, open_snapshot, take_snapshot
from federlib.upkeep.copying import Copied, OnStep, fill_from
from federlib.upkeep.native import note_native_leases

__all__ = ["Exported", "export_store", "import_store"]

_FILES = PrivateFiles(
    kind="export", root="directory of the export", way_out="check its owner and mode"
)
_CHUNK_RECORDS = 256
_CHUNK_BYTES = 1024 * 1024
_MIN_DATABASE_BYTES = 512

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Exported:
    """What was exported.

    Attributes:
        store_id: Of the store.
        revision: At which all of it was read.
        records: How many there were.
    """

    store_id: str
    revision: int
    records: int


async def export_store(
    store: RecordStore,
    to: Path | BinaryIO,
    *,
    clock: Clock | None = None,
    on_step: OnStep = lambda _step, _records: None,
) -> Exported:
    """Write every record of a store, as they are at one revision, as lines of JSON.

    Others may go on writing meanwhile. The last line has a checksum, so that a torn file
    is never taken for a whole one.

    Args:
        store: Nothing is written to it.
        to: A file that is replaced once all is written and on the disk, mode 0600; or an
            open one, that is neither flushed to the disk nor closed.
        clock: Says when; the system's by default.
        on_step: Told of the progress.
    Raises:
        Unavailable: The store cannot be read, or the file not be written.
        CorruptRecord: The store is an unfinished copy; or what is there is no regular file.
        InvalidInput: `to` is no name of a file, or the name of a database.
        OSError: An open file cannot be written.
    """
    limiter = anyio.CapacityLimiter(1)
    target = _replacing(to) if isinstance(to, Path) else nullcontext(to)
    async with (
        take_snapshot(store, on_progress=partial(on_step, "read")) as snapshot,
        _in_thread(target, limiter) as file,
    ):
        clock = clock or SystemClock()
        await note_native_leases(snapshot, store, clock)
        header = ExportHeader(
            store_id=snapshot.store_id, revision=snapshot.revision, at=_utc(clock)
        )
        records = await _write_lines(snapshot, header, file, limiter, on_step)
    return Exported(store_id=snapshot.store_id, revision=snapshot.revision, records=records)


async def _write_lines(
    snapshot: Snapshot,
    header: ExportHeader,
    file: BinaryIO,
    limiter: anyio.CapacityLimiter,
    on_step: OnStep,
) -> int:
    writer = LineWriter()

    def write(records: tuple[Record, ...]) -> None:
        file.write(b"".join(map(writer.record, records)))

    await anyio.to_thread.run_sync(file.write, writer.header(header), limiter=limiter)
    async with aclosing(snapshot.by_key()) as chunks:
        async for chunk in chunks:
            await anyio.to_thread.run_sync(write, chunk, limiter=limiter)
            on_step("written", writer.records)
    await anyio.to_thread.run_sync(file.write, writer.footer(), limiter=limiter)
    await anyio.to_thread.run_sync(file.flush, limiter=limiter)
    return writer.records


async def import_store(
    source: Path | BinaryIO,
    new: RecordStore,
    *,
    floor: int = 0,
    clock: Clock | None = None,
    name: str = "the export",
    on_step: OnStep = lambda _step, _records: None,
) -> Copied:
    """Fill an empty store from an export; leases and the floor as `copy_store` has them.

    All of the export is read and verified before anything is written.

    Args:
        source: An export: a file by its path, or an open one.
        new: Empty; it keeps its own id.
        floor: Raise the floor at least to this: what the old store granted after it was
            exported, nobody here knows.
        clock: The system's by default.
        name: What to call an open file in errors.
        on_step: Told of the progress.
    Raises:
        CorruptRecord: It is not a whole export; names the line.
        Conflict: The store is not empty, or somebody else writes to it.
        InvalidInput: No such file, or the floor is no token.
        Unavailable, OutcomeUnknown: The file cannot be read; the store is away.
    """
    limiter = anyio.CapacityLimiter(1)
    reader = LineReader(str(source) if isinstance(source, Path) else name)
    opened = _reading(source) if isinstance(source, Path) else nullcontext(source)
    async with open_snapshot("") as snapshot:
        async with _in_thread(opened, limiter) as file:
            read = 0
            while chunk := await anyio.to_thread.run_sync(
                partial(_read_lines, file, reader), limiter=limiter
            ):
                records = [record for record in chunk if record is not None]
                await snapshot.add(records)
                read += len(records)
                on_step("read", read)
        header = reader.finish()
        snapshot.store_id, snapshot.revision = header.store_id, header.revision
        return await fill_from(
            snapshot, new, floor=floor, clock=clock or SystemClock(), on_step=on_step
        )


def _read_lines(file: BinaryIO, reader: LineReader) -> list[Record | None]:
    found: list[Record | None] = []
    size = 0
    while len(found) < _CHUNK_RECORDS and size < _CHUNK_BYTES:
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:
            break
        found.append(reader.feed(line))
        size += len(line)
    return found


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    unique = secrets.token_hex(8)
    _check_replaceable(path)
    with _FILES.translated(path), _FILES.replacing(path, unique=unique) as file:
        yield file


def _check_replaceable(path: Path) -> None:
    # A rename takes the place of a device, of a link or of the store itself, and asks nobody.
    if path.name in {"", ".."}:
        raise InvalidInput("export", expected="the name of a file", found=str(path))
    with _FILES.translated(path):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise CorruptRecord(
                str(path), expected="a regular file", found=kind_of_file(found.st_mode)
            )
        if found.st_size >= _MIN_DATABASE_BYTES and _is_database(path):
            raise InvalidInput("export", expected="a file that is no database", found=str(path))


def _is_database(path: Path) -> bool:
    # SQLite looks itself: to close a handle of our own would drop this process's locks on it.
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            # As in the driver: without it, a database with a log may look damaged.
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("PRAGMA application_id")
    except sqlite3.DatabaseError:
        return False
    return True


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        descriptor = _FILES.open_regular(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise InvalidInput("export", expected="a file that exists", found=str(path)) from error
    with os.fdopen(descriptor, "rb") as file, _FILES.translated(path):
        yield file


@asynccontextmanager
async def _in_thread(
    manager: AbstractContextManager[_T], limiter: anyio.CapacityLimiter
) -> AsyncGenerator[_T, None]:
    """Enter and leave a context whose ends touch the disk."""

    async def run(call: Callable[[], object]) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(call, limiter=limiter)

    value = await anyio.to_thread.run_sync(manager.__enter__, limiter=limiter)
    try:
        yield value
    except BaseException as error:
        await run(partial(manager.__exit__, type(error), error, error.__traceback__))
        raise
    await run(partial(manager.__exit__, None, None, None))


def _utc(clock: Clock) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=clock.wall_ns() // 1_000)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
