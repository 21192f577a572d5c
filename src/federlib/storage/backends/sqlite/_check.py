"""Verify a store in an SQLite file: its pages, its rows, and the rows against one another."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice

from federlib.storage.backends._embedded.verify import MAX_PROBLEMS, Verifier
from federlib.storage.backends.sqlite._errors import DamagedRow
from federlib.storage.backends.sqlite._rows import read_changes
from federlib.storage.protocol import Record, StoreProblem

__all__ = ["find_problems"]


def find_problems(connection: sqlite3.Connection) -> list[StoreProblem]:
    """Return what is wrong; the caller holds a snapshot."""
    return list(islice(_walk(connection), MAX_PROBLEMS))


def _walk(connection: sqlite3.Connection) -> Iterator[StoreProblem]:
    try:
        for (verdict,) in connection.execute("PRAGMA integrity_check"):
            if verdict != "ok":
                yield StoreProblem("database", "intact pages and indices", str(verdict))
        first, head = connection.execute(
            "SELECT min(revision), max(revision) FROM changes"
        ).fetchone()
        if type(first) is not int or type(head) is not int:
            yield StoreProblem("table changes", "at least one row", "none")
            return
        verifier = Verifier(first=first, head=head)
        yield from _check_changes(connection, verifier, first, head)
        yield from _check_records(connection, verifier)
        yield from _check_receipts(connection, head)
    except sqlite3.Error as error:
        yield StoreProblem("database", "tables that can be read to their end", str(error))


def _check_changes(
    connection: sqlite3.Connection, verifier: Verifier, first: int, head: int
) -> Iterator[StoreProblem]:
    for revision in range(first, head + 1):
        try:
            batches = read_changes(connection, revision - 1, 1)
        except DamagedRow as error:
            yield StoreProblem(error.what, error.expected, error.found)
            continue
        if not batches:
            yield StoreProblem(f"change {revision}", "a row", "none")
            continue
        yield from verifier.change(batches[0])


def _check_records(connection: sqlite3.Connection, verifier: Verifier) -> Iterator[StoreProblem]:
    for key, value, revision, created in connection.execute(
        "SELECT key, value, revision, created FROM records ORDER BY key"
    ):
        fields = (type(key), type(value), type(revision), type(created))
        if fields == (str, bytes, int, int):
            yield from verifier.record(Record(key, value, revision, created))
        else:
            names = ", ".join(field.__name__ for field in fields)
            yield StoreProblem(f"record {key}", "str, bytes, int, int", names)
    yield from verifier.missing()


def _check_receipts(connection: sqlite3.Connection, head: int) -> Iterator[StoreProblem]:
    for name, revision, digest in connection.execute("SELECT id, revision, digest FROM receipts"):
        if type(revision) is not int or not 1 < revision <= head:
            yield StoreProblem(f"receipt {name}", f"a revision of 2 to {head}", str(revision))
        if type(digest) is not bytes or len(digest) != 16:
            yield StoreProblem(f"receipt {name}", "a digest of 16 bytes", repr(digest))
