"""History and receipts are trimmed, within their bounds and never beyond."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from federlib.storage.backends.sqlite._format import _create
from federlib.storage.backends.sqlite._rows import (
    HISTORY_BYTES,
    HISTORY_REVISIONS,
    RECEIPT_AGE_NS,
    RECEIPTS,
    Draft,
    read_changes,
    read_head,
    read_outcome,
    read_record,
    read_revision,
)
from federlib.storage.protocol import (
    Absent,
    Committed,
    Delete,
    NotSeen,
    Put,
    Record,
    Transaction,
)

SLACK = 256


def append(connection: sqlite3.Connection, transaction: Transaction, *, now_ns: int) -> int:
    batch = Draft(connection, transaction).append(head=read_head(connection), now_ns=now_ns)
    return batch.revision


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _create(connection, "store-1")
    connection.execute("BEGIN")
    yield connection
    connection.close()


def count_changes(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM changes").fetchone()[0])


def test_history_keeps_about_eight_thousand_revisions(connection: sqlite3.Connection) -> None:
    small = Transaction((Put("a", b"x"),))
    for _ in range(HISTORY_REVISIONS + 1_000):
        append(connection, small, now_ns=0)
    assert HISTORY_REVISIONS <= count_changes(connection) <= HISTORY_REVISIONS + SLACK
    last = read_revision(connection)
    assert last == HISTORY_REVISIONS + 1_001
    assert read_changes(connection, 1, 10) is None
    recent = read_changes(connection, last - 5, 10)
    assert recent is not None
    assert [batch.revision for batch in recent] == list(range(last - 4, last + 1))
    assert read_changes(connection, last, 10) == []


def test_history_keeps_about_64_mib_however_few_revisions_that_is(
    connection: sqlite3.Connection,
) -> None:
    large = Transaction((Put("a", bytes(512 * 1024)), Put("b", bytes(500 * 1024))))
    for _ in range(100):
        append(connection, large, now_ns=0)
    kept = count_changes(connection)
    payload = connection.execute("SELECT sum(length(payload)) FROM changes").fetchone()[0]
    assert HISTORY_BYTES * 0.9 < payload < HISTORY_BYTES + 10 * 1024 * 1024
    assert 60 < kept < 80
    # A page of changes is bounded in bytes, too, and is never empty for that.
    chunk = read_changes(connection, read_revision(connection) - 30, 256)
    assert chunk is not None
    assert 0 < len(chunk) < 12


def test_a_commit_without_writes_takes_a_revision_and_an_empty_row(
    connection: sqlite3.Connection,
) -> None:
    assert append(connection, Transaction(), now_ns=0) == 2
    assert append(connection, Transaction((Delete("none"),)), now_ns=0) == 3
    batches = read_changes(connection, 1, 10)
    assert batches is not None
    assert [batch.events for batch in batches] == [(), ()]


def test_a_receipt_goes_only_when_it_is_old_and_one_of_too_many(
    connection: sqlite3.Connection,
) -> None:
    def fill(start: int, stop: int, at_ns: int) -> None:
        connection.executemany(
            "INSERT INTO receipts (id, revision, digest, at_ns) VALUES (?, 1, x'', ?)",
            ((f"id-{number}", at_ns) for number in range(start, stop)),
        )

    def trim(now_ns: int) -> None:
        for _ in range(SLACK):
            append(connection, Transaction(), now_ns=now_ns)

    fill(0, RECEIPTS, at_ns=0)
    trim(RECEIPT_AGE_NS * 100)
    assert read_outcome(connection, "id-0") == Committed(1)  # old, but not too many
    fill(RECEIPTS, RECEIPTS + 10, at_ns=RECEIPT_AGE_NS)
    trim(RECEIPT_AGE_NS)
    assert read_outcome(connection, "id-0") == Committed(1)  # too many, but not old
    trim(RECEIPT_AGE_NS + 1)
    assert read_outcome(connection, "id-9") == NotSeen()
    assert read_outcome(connection, "id-10") == Committed(1)


def test_a_key_is_sought_past_long_values_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with _closing(path) as connection:
        _create(connection, "store-1")
        long = tuple(Put(f"plan/{number}", b"\xee" * 250_000) for number in range(4))
        append(connection, Transaction(long), now_ns=0)
    _break_long_values(path, b"\xee")
    with _closing(path) as connection:
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            read_record(connection, "plan/0")
        change = Transaction((Put("plan/0~", b"x"),), (Absent("plan/2~"),))
        assert Draft(connection, change).decide() is None
        assert append(connection, change, now_ns=0) == 3
        assert read_record(connection, "plan/0~") == Record("plan/0~", b"x", 3, 3)


def _closing(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def _break_long_values(path: Path, filler: bytes) -> None:
    """Have every page that only continues a value lead nowhere: whoever follows it fails."""
    data = bytearray(path.read_bytes())
    pages = [start for start in range(0, len(data), 4096) if data[start + 4] == filler[0]]
    assert len(pages) > 200
    for start in pages:
        data[start : start + 4] = b"\xff" * 4
    path.write_bytes(data)
