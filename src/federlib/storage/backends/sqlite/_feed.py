"""What the watching thread of an SQLite store asks, on a connection of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from federlib.errors import FederlibError
from federlib.storage.backends._embedded import MAX_PAUSE_S
from federlib.storage.backends.sqlite._rows import read_changes, read_revision
from federlib.storage.protocol import Batch

__all__ = ["SqliteFeed"]


class SqliteFeed:
    """`PRAGMA data_version` says in microseconds whether another connection committed."""

    max_pause_s: float = MAX_PAUSE_S

    def __init__(
        self, connection: sqlite3.Connection, explain: Callable[[sqlite3.Error], FederlibError]
    ) -> None:
        """Take over a connection that only reads; `explain` puts its errors in our words."""
        self._connection = connection
        self._explain = explain
        self._seen = -1

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def has_news(self) -> bool:
        """Say whether anybody committed since the last call."""
        try:
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self._explain(error) from error
        if version == self._seen:
            return False
        self._seen = version
        return True

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Read commits after a revision; None where history no longer has them."""
        with self._translating():
            return read_changes(self._connection, after, limit)

    def read_revision(self) -> int:
        """Read the store's revision."""
        with self._translating():
            return read_revision(self._connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
