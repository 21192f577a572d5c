"""Connections that only read, kept for the next reader."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["ReaderPool"]

_MAX_IDLE = 4


class ReaderPool:
    """Lends a connection inside a read transaction, which is one snapshot. Thread-safe."""

    def __init__(self, open_reader: Callable[[], sqlite3.Connection]) -> None:
        self._open_reader = open_reader
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; one that failed is closed, not lent again.

        Raises:
            sqlite3.Error: SQLite refuses.
        """
        connection = self._take()
        is_sound = False
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")
            is_sound = True
        finally:
            self._give_back(connection, is_sound=is_sound)

    def _take(self) -> sqlite3.Connection:
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        return self._open_reader()

    def _give_back(self, connection: sqlite3.Connection, *, is_sound: bool) -> None:
        with self._mutex:
            if is_sound and not self._is_closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        with self._mutex:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
