"""Room in the write-ahead log, made before it is needed.

A commit's fsync has more to do while the log grows: the file system must also journal the
file's new size. Where it overwrites what is there, the same fsync takes about half as long.
SQLite comes to that by itself, after its first checkpoint, for it then begins the log anew
and keeps the file. A process that commits often takes the log there at once, by zeros
behind its end, where SQLite looks for no frames: every frame is chained to those before it
by salt and checksum.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["LOG_BYTES", "LogRoom"]

LOG_BYTES = 32 + 1_000 * (24 + 4_096)
"""What SQLite fills before it makes a checkpoint: a header, and 1,000 pages with theirs."""

_COMMITS_BEFORE = 64
"""A process that commits less often than this does not earn the few milliseconds back."""


class LogRoom:
    """The log beside one database; used by whoever holds SQLite's write lock, and only then."""

    def __init__(self, path: Path) -> None:
        self._path = f"{path}-wal"
        self._commits = 0

    def prepare(self) -> None:
        """Count a commit, and at the 64th make room; a disk that has none is no error."""
        self._commits += 1
        if self._commits == _COMMITS_BEFORE:
            with suppress(OSError):
                self._extend()

    def _extend(self) -> None:
        # The log carries none of SQLite's locks, so closing another handle of it drops none.
        handle = os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            size = os.fstat(handle).st_size
            # Written, not reserved: reserved space is journaled again when it is filled.
            # The commit that follows syncs it.
            if 0 < size < LOG_BYTES:
                os.lseek(handle, size, os.SEEK_SET)
                os.write(handle, bytes(LOG_BYTES - size))
        finally:
            os.close(handle)
