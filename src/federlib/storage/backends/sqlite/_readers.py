"""Connections that only read, kept for the next reader."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

__all__ = ["ReaderPool"]

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

_MAX_IDLE = 4


class ReaderPool:
    """Lends connections to queries, each on one snapshot. Thread-safe."""

    def __init__(self, open_reader: Callable[[], sqlite3.Connection]) -> None:
        self._open_reader = open_reader
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    def read(self, query: Callable[[sqlite3.Connection, Unpack[_Args]], _T], *args: *_Args) -> _T:
        """Run a query on one snapshot; a connection that failed is closed, not lent again.

        Raises:
            sqlite3.Error: SQLite refuses.
        """
        connection = self._take()
        is_sound = False
        try:
            connection.execute("BEGIN")
            found = query(connection, *args)
            connection.execute("ROLLBACK")
            is_sound = True
            return found
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
