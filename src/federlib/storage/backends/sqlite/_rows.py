"""The statements of the SQLite driver: each works on one connection, inside a transaction.

Every commit appends one row to `changes`, so the newest row *is* the revision counter, and
the newest row is never trimmed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from federlib.errors import InvalidInput
from federlib.storage.backends._digest import digest_of
from federlib.storage.backends.sqlite._errors import DamagedRow
from federlib.storage.limits import MAX_PAGE_BYTES
from federlib.storage.protocol import (
    AtRevision,
    Batch,
    Committed,
    Conflicted,
    Event,
    Mismatch,
    NotSeen,
    Page,
    Put,
    Record,
    Transaction,
    Write,
)

__all__ = [
    "HISTORY_BYTES",
    "HISTORY_REVISIONS",
    "Draft",
    "read_changes",
    "read_head",
    "read_meta_and_head",
    "read_outcome",
    "read_page",
    "read_record",
    "read_revision",
    "record_creation",
]

HISTORY_REVISIONS = 8_192
HISTORY_BYTES = 64 * 1024 * 1024
"""What is kept, about, for watchers that come late; the bound in bytes is the stronger one."""

RECEIPTS = 100_000
RECEIPT_AGE_NS = 10 * 60 * 1_000_000_000

_TRIM_EVERY_REVISIONS = 256
_TRIM_EVERY_BYTES = 8 * 1024 * 1024
_READ_BYTES = 8 * 1024 * 1024


class _Change(msgspec.Struct, frozen=True, array_like=True):
    """One event as the log keeps it; a delete has no value."""

    key: str
    value: bytes | None
    created: int


_decoder = msgspec.msgpack.Decoder(list[_Change])
_encoder = msgspec.msgpack.Encoder()


def read_revision(connection: sqlite3.Connection) -> int:
    """Read the store's revision."""
    return read_head(connection)[0]


def read_head(connection: sqlite3.Connection) -> tuple[int, int]:
    """Read the store's revision, and how many bytes all payloads so far add up to."""
    row: tuple[int, int] | None = connection.execute(
        "SELECT revision, total_bytes FROM changes ORDER BY revision DESC LIMIT 1"
    ).fetchone()
    if row is None:
        raise _no_change()
    return row


def _no_change() -> DamagedRow:
    return DamagedRow("table changes", expected="at least one row", found="none")


def read_meta_and_head(connection: sqlite3.Connection) -> tuple[bytes | None, int, int]:
    """Read the record that names the store, and what `read_head` reads, in one statement."""
    row: tuple[bytes | None, int, int] | None = connection.execute(
        "SELECT (SELECT value FROM records WHERE key = 'meta/store'), revision, total_bytes "
        "FROM changes ORDER BY revision DESC LIMIT 1"
    ).fetchone()
    if row is None:
        raise _no_change()
    return row


def read_record(connection: sqlite3.Connection, key: str) -> Record | None:
    """Read one record."""
    row: tuple[str, bytes, int, int] | None = connection.execute(
        "SELECT key, value, revision, created FROM records WHERE key = ?", (key,)
    ).fetchone()
    return None if row is None else Record(*row)


def read_page(connection: sqlite3.Connection, prefix: str, after: str | None, limit: int) -> Page:
    """Read one page; the caller holds a read transaction."""
    revision = read_revision(connection)
    is_behind = after is not None and after >= prefix
    rows = connection.execute(
        f"SELECT key, value, revision, created FROM records "  # noqa: S608 (one of two operators)
        f"WHERE key {'>' if is_behind else '>='} ? ORDER BY key LIMIT ?",
        (after if is_behind else prefix, limit + 1),
    )
    records: list[Record] = []
    size = 0
    for row in rows:
        record = Record(*row)
        if not record.key.startswith(prefix):
            break
        size += len(record.value)
        if len(records) == limit or (records and size > MAX_PAGE_BYTES):
            return Page(tuple(records), revision, records[-1].key)
        records.append(record)
    return Page(tuple(records), revision, None)


def read_outcome(connection: sqlite3.Connection, transaction_id: str) -> Committed | NotSeen:
    """Look for the receipt of a transaction."""
    row: tuple[int] | None = connection.execute(
        "SELECT revision FROM receipts WHERE id = ?", (transaction_id,)
    ).fetchone()
    return NotSeen() if row is None else Committed(row[0])


class Draft:
    """One transaction on its way in; what was looked up for one step is kept for the next."""

    __slots__ = ("_connection", "_found", "_transaction")

    def __init__(self, connection: sqlite3.Connection, transaction: Transaction) -> None:
        self._connection = connection
        self._transaction = transaction
        self._found: dict[str, tuple[int, int] | None] = {}

    def decide(self) -> Committed | Conflicted | None:
        """Return the outcome of a transaction that writes nothing, or None: append it.

        Raises:
            InvalidInput: Its id was used for another transaction.
        """
        transaction = self._transaction
        if transaction.id is not None:
            earlier = _find_receipt(self._connection, transaction, transaction.id)
            if earlier is not None:
                return earlier
        failed = []
        for check in transaction.checks:
            found = self._find(check.key)
            revision = None if found is None else found[0]
            expected = check.revision if isinstance(check, AtRevision) else None
            if revision != expected:
                failed.append(Mismatch(check.key, expected, revision))
        return Conflicted(tuple(failed)) if failed else None

    def append(self, *, head: tuple[int, int], now_ns: int) -> Batch:
        """Write the transaction, its change row and its receipt; return what it did.

        Args:
            head: As `read_head` gave it in this very transaction of the database.
            now_ns: The wall clock, for the age of the receipt.
        """
        connection, transaction = self._connection, self._transaction
        last, total_bytes = head
        revision = last + 1
        changes: list[_Change] = []
        for write in sorted(transaction.writes, key=_key_of):
            changes += self._apply(write, revision)
        payload = _encoder.encode(changes)
        grown = total_bytes + len(payload)
        connection.execute("INSERT INTO changes VALUES (?, ?, ?)", (revision, grown, payload))
        if transaction.id is not None:
            connection.execute(
                "INSERT INTO receipts (id, revision, digest, at_ns) VALUES (?, ?, ?, ?)",
                (transaction.id, revision, digest_of(transaction), now_ns),
            )
        crosses = grown // _TRIM_EVERY_BYTES > total_bytes // _TRIM_EVERY_BYTES
        if crosses or revision % _TRIM_EVERY_REVISIONS == 0:
            _trim_history(connection, revision, grown)
            _trim_receipts(connection, now_ns)
        return Batch(revision, _events_of(changes, revision))

    def _find(self, key: str) -> tuple[int, int] | None:
        """Look up a record's revision and creation, once."""
        if key in self._found:
            return self._found[key]
        row: tuple[int, int] | None = self._connection.execute(
            "SELECT revision, created FROM records WHERE key = ?", (key,)
        ).fetchone()
        self._found[key] = row
        return row

    def _apply(self, write: Write, revision: int) -> list[_Change]:
        if not isinstance(write, Put):
            gone = self._connection.execute(
                "DELETE FROM records WHERE key = ?", (write.key,)
            ).rowcount
            return [_Change(write.key, None, 0)] if gone else []
        found = self._find(write.key)
        created = revision if found is None else found[1]
        self._connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT (key) "
            "DO UPDATE SET value = excluded.value, revision = excluded.revision",
            (write.key, write.value, revision, created),
        )
        return [_Change(write.key, write.value, created)]


def _key_of(write: Write) -> str:
    return write.key


def _find_receipt(
    connection: sqlite3.Connection, transaction: Transaction, transaction_id: str
) -> Committed | None:
    row: tuple[int, bytes] | None = connection.execute(
        "SELECT revision, digest FROM receipts WHERE id = ?", (transaction_id,)
    ).fetchone()
    if row is None:
        return None
    if row[1] != digest_of(transaction):
        raise InvalidInput(
            "id", expected="the transaction first committed under it", found=transaction_id
        )
    return Committed(row[0])


def record_creation(connection: sqlite3.Connection, key: str, value: bytes) -> None:
    """Write the first record of a new store, at revision 1."""
    connection.execute("INSERT INTO records VALUES (?, ?, 1, 1)", (key, value))
    payload = _encoder.encode([_Change(key, value, 1)])
    connection.execute("INSERT INTO changes VALUES (1, ?, ?)", (len(payload), payload))


def _trim_history(connection: sqlite3.Connection, last: int, total_bytes: int) -> None:
    heaviest = _first_within(connection, last, total_bytes - HISTORY_BYTES)
    keep_from = max(heaviest, last - HISTORY_REVISIONS + 1)
    connection.execute("DELETE FROM changes WHERE revision < ?", (min(keep_from, last),))


def _first_within(connection: sqlite3.Connection, last: int, floor_bytes: int) -> int:
    """Find the oldest revision whose running total lies above `floor_bytes`, by bisection."""
    row: tuple[int] = connection.execute("SELECT min(revision) FROM changes").fetchone()
    low, high = row[0], last
    while low < high:
        middle = (low + high) // 2
        total: tuple[int] = connection.execute(
            "SELECT total_bytes FROM changes WHERE revision = ?", (middle,)
        ).fetchone()
        if total[0] > floor_bytes:
            high = middle
        else:
            low = middle + 1
    return low


def _trim_receipts(connection: sqlite3.Connection, now_ns: int) -> None:
    connection.execute(
        "DELETE FROM receipts WHERE seq <= (SELECT max(seq) FROM receipts) - ? AND at_ns < ?",
        (RECEIPTS, now_ns - RECEIPT_AGE_NS),
    )


def read_changes(connection: sqlite3.Connection, after: int, limit: int) -> Sequence[Batch] | None:
    """Read up to `limit` commits after a revision; None where history no longer has them.

    Raises:
        DamagedRow: A row of the log cannot be decoded.
    """
    rows = connection.execute(
        "SELECT revision, payload FROM changes WHERE revision > ? ORDER BY revision LIMIT ?",
        (after, limit),
    )
    batches: list[Batch] = []
    size = 0
    for revision, payload in rows:
        # Revisions have no gaps, so a first row further on means that some were trimmed.
        if not batches and revision != after + 1:
            return None
        batches.append(Batch(revision, _decode(revision, payload)))
        size += len(payload)
        if size >= _READ_BYTES:
            break
    rows.close()
    return batches


def _decode(revision: int, payload: bytes) -> tuple[Event, ...]:
    try:
        changes = _decoder.decode(payload)
    except (msgspec.DecodeError, TypeError) as error:
        raise DamagedRow(
            f"change {revision}", expected="a list of events", found=str(error)
        ) from error
    return _events_of(changes, revision)


def _events_of(changes: Sequence[_Change], revision: int) -> tuple[Event, ...]:
    return tuple(
        Event(
            change.key,
            None
            if change.value is None
            else Record(change.key, change.value, revision, change.created),
        )
        for change in changes
    )
