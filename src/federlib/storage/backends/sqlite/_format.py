"""The layout of a store in an SQLite file: how it is made, recognised and refused.

A new store comes into being in one transaction of a rollback journal, which also writes
the two numbers in the file's header by which we know our own. So a crash leaves either an
empty file (or a journal that SQLite rolls back to one), which the next opening makes new,
or a whole store. Only then is the file switched to a write-ahead log.

What is not ours is looked at through an immutable connection, which takes no lock, rolls
back no journal and writes nothing beside the file.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

import msgspec

from federlib.errors import CorruptRecord, Unavailable
from federlib.storage.backends.sqlite._errors import primary_code
from federlib.storage.backends.sqlite._rows import record_creation
from federlib.storage.protocol import META_KEY, StoreMeta

__all__ = ["APPLICATION_ID", "FORMAT", "connect", "initialise", "inspect_header", "read_meta"]

APPLICATION_ID = 0x46454452
"""'FEDR', in the header of the file."""

FORMAT = 1
"""The layout that this version reads and writes; `user_version` in the header."""

_MIN_PAGE_BYTES = 512
_FULL_CHECK_BYTES = 4 * 1024 * 1024
_BUSY_TIMEOUT_S = 5.0

_TABLES = (
    # Not WITHOUT ROWID, as older stores have it: the values would lie in the tree in which keys
    # are sought, and a search reads each record that it passes whole, a plan's 256 KiB too.
    """CREATE TABLE records (
        key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL,
        revision INTEGER NOT NULL, created INTEGER NOT NULL)""",
    # `total_bytes` adds up all payloads so far, so that trimming never reads them.
    """CREATE TABLE changes (
        revision INTEGER PRIMARY KEY, total_bytes INTEGER NOT NULL, payload BLOB NOT NULL)""",
    """CREATE TABLE receipts (
        seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, revision INTEGER NOT NULL,
        digest BLOB NOT NULL, at_ns INTEGER NOT NULL)""",
)


def connect(path: Path, *, query_only: bool = False) -> sqlite3.Connection:
    """Open an existing file; SQLite writes nothing to it before the first statement.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA trusted_schema = OFF")
        # A free page is wiped only where that costs no extra write.
        connection.execute("PRAGMA secure_delete = FAST")
        if query_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def inspect_header(path: Path, where: str) -> None:
    """Raise unless the file is empty or says that it is a store of a format that we read.

    Raises:
        CorruptRecord: It is something else, or newer.
    """
    # The log first: it is never there before the database is more than empty.
    has_log = _size(path.with_name(f"{path.name}-wal")) > 0
    size = _size(path)
    if size == 0:
        if has_log:
            raise CorruptRecord(
                where,
                expected="the database that its write-ahead log belongs to",
                found="an empty or missing file beside a log with content",
                hint="restore the database file, or remove the -wal file to begin anew",
            )
        return
    if size < _MIN_PAGE_BYTES:
        raise CorruptRecord(
            where, expected="a federlib store", found=f"a file of only {size} bytes"
        )
    application_id, user_version = _read_header(path, where)
    if application_id != APPLICATION_ID:
        raise CorruptRecord(
            where, expected="a federlib store", found="an SQLite database of another program"
        )
    if user_version > FORMAT:
        raise _newer(where, user_version)


def _read_header(path: Path, where: str) -> tuple[int, int]:
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True)
    try:
        # Else SQLite refuses a header that promises more pages than the main file has,
        # and while a checkpoint is running that is no sign of damage.
        connection.execute("PRAGMA writable_schema = ON")
        return _pragma(connection, "application_id"), _pragma(connection, "user_version")
    except sqlite3.DatabaseError as error:
        if primary_code(error) not in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
            raise
        raise CorruptRecord(
            where, expected="a federlib store", found=f"a file that SQLite cannot read: {error}"
        ) from error
    finally:
        connection.close()


def _newer(where: str, found: int) -> CorruptRecord:
    return CorruptRecord(
        where,
        expected=f"format {FORMAT} or older",
        found=f"format {found}, written by a newer version of federlib",
        hint="upgrade federlib",
    )


def initialise(connection: sqlite3.Connection, path: Path, where: str, store_id: str) -> None:
    """Make an empty file a store; leave a store as it is. Safe against rivals and kills.

    Raises:
        CorruptRecord: The file is damaged.
        Unavailable: The file system cannot hold a write-ahead log.
        sqlite3.Error: SQLite refuses.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _pragma(connection, "application_id") == 0 and _count_tables(connection) == 0:
            _create(connection, store_id)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    mode = _text_pragma(connection, "journal_mode = WAL")
    if mode != "wal":
        raise Unavailable(where, f"SQLite keeps journal mode {mode!r} here instead of WAL")
    # Without a limit the log keeps the size of its busiest hour.
    connection.execute("PRAGMA journal_size_limit = 16777216")
    _check_tables(connection, where)
    _check_pages(connection, path, where)


def _check_tables(connection: sqlite3.Connection, where: str) -> None:
    found = {
        str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE sql > ''")
    }
    if not found >= {"records", "changes", "receipts"}:
        raise CorruptRecord(
            where,
            expected="the tables records, changes and receipts",
            found=", ".join(sorted(found)) or "no table",
            hint="restore a backup",
        )


def _create(connection: sqlite3.Connection, store_id: str) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    record_creation(connection, META_KEY, msgspec.json.encode(StoreMeta(store_id, FORMAT)))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _check_pages(connection: sqlite3.Connection, path: Path, where: str) -> None:
    page_bytes = _pragma(connection, "page_size")
    tail = _size(path) % page_bytes
    if tail and _size(path.with_name(f"{path.name}-wal")) == 0:
        raise CorruptRecord(
            where, expected=f"whole pages of {page_bytes} bytes", found=f"{tail} bytes over"
        )
    if _pragma(connection, "page_count") * page_bytes > _FULL_CHECK_BYTES:
        return
    verdict = _text_pragma(connection, "quick_check(1)")
    if verdict != "ok":
        raise CorruptRecord(
            where, expected="an intact database", found=verdict, hint="restore a backup"
        )


def read_meta(connection: sqlite3.Connection, where: str) -> tuple[bytes, StoreMeta]:
    """Read the record that names the store, as stored and decoded.

    Raises:
        CorruptRecord: It is missing, torn, foreign or newer.
        sqlite3.Error: SQLite refuses.
    """
    row: tuple[bytes] | None = connection.execute(
        "SELECT value FROM records WHERE key = ?", (META_KEY,)
    ).fetchone()
    if row is None:
        raise CorruptRecord(f"{where}, {META_KEY}", expected="a record", found="nothing")
    try:
        meta = msgspec.json.decode(row[0], type=StoreMeta)
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError) as error:
        raise CorruptRecord(
            f"{where}, {META_KEY}", expected="store_id and format", found=str(error)
        ) from error
    if meta.format > FORMAT:
        raise _newer(f"{where}, {META_KEY}", meta.format)
    return row[0], meta


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _text_pragma(connection: sqlite3.Connection, name: str) -> str:
    return str(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _count_tables(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
