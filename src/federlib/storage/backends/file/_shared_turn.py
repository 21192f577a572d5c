"""How the processes on one file store meet: two locked directories and one small file.

Writers lock the directory `journal` behind a fair ticket; whoever writes states and record
files locks `records`. The kernel frees both when their holder dies.

`journal/head` holds the last durable revision. It is written after the sync of each commit
and read before each read; never synced, and worth nothing after the machine has restarted:
who opens the store takes the turn, syncs what it finds and writes it anew.

No file of the journal is asked for its status between commits. Linux from 6.13 on gives a
file that was asked a new time stamp at its next write, to be stored by the next sync, which
then takes half as long again. The directory is asked instead: its time stamp changes with
every name in it.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import threading
import zlib
from pathlib import Path

from federlib.storage.backends._embedded.filesystem import make_private_directory
from federlib.storage.backends._embedded.lock_file import DirectoryLock
from federlib.storage.backends._embedded.ticket import Ticket
from federlib.storage.backends.file._journal_files import DIRECTORY, HEAD

__all__ = ["SharedTurn"]

_HEAD = struct.Struct("<QI")
_TRIES = 8


class SharedTurn:
    """The turn of one store in a directory, as one client of it sees it."""

    def __init__(self, root: Path) -> None:
        """Open, and create if need be, what lies under an absolute, resolved path.

        Raises:
            OSError: It cannot be made or opened.
        """
        self._journal = str(root / DIRECTORY)
        run = root / "run"
        for directory in (root, run, root / DIRECTORY, root / "records"):
            make_private_directory(directory)
        self._ticket = Ticket(run / "writers", room=root / DIRECTORY)
        try:
            self._records = DirectoryLock(root / "records")
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            head = root / DIRECTORY / HEAD
            self._head = os.open(head, flags, 0o600)
            if not stat.S_ISREG(os.fstat(self._head).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(head))
        except OSError:
            self._ticket.close()
            raise
        self._is_writing_records = threading.Lock()
        found = os.stat(self._journal)  # noqa: PTH116 (as below)
        self._identity = (found.st_dev, found.st_ino)
        # Not that of the directory, so that the first check looks closely.
        self.names_version = -1

    def take(self, patience_s: float) -> bool:
        """Wait for the turn to write."""
        return self._ticket.take(patience_s)

    def release(self) -> None:
        """End the turn."""
        self._ticket.release()

    def published(self) -> int | None:
        """Return the last revision that is durable."""
        # Nobody promises that a read and a write of twelve bytes do not cross.
        for _ in range(_TRIES):
            data = os.pread(self._head, _HEAD.size, 0)
            if len(data) == _HEAD.size:
                revision, check = _HEAD.unpack(data)
                if zlib.crc32(data[:8]) == check:
                    return int(revision)
        return None

    def publish(self, revision: int) -> None:
        """Say that everything up to a revision is durable."""
        check = zlib.crc32(revision.to_bytes(8, "little"))
        os.pwrite(self._head, _HEAD.pack(revision, check), 0)

    def take_records(self) -> bool:
        """Take the right to write states and record files."""
        # The lock belongs to the open file, so it would let a second thread in.
        if not self._is_writing_records.acquire(blocking=False):
            return False
        if self._records.try_take():
            return True
        self._is_writing_records.release()
        return False

    def release_records(self) -> None:
        """Give that right back."""
        self._records.release()
        self._is_writing_records.release()

    def check(self) -> str | None:
        """Say what is there instead of the store that was opened."""
        try:
            # Not `Path.stat`, which takes twice as long, at every read and commit.
            found = os.stat(self._journal)  # noqa: PTH116
        except FileNotFoundError:
            return "no journal: it was deleted"
        if (found.st_dev, found.st_ino) != self._identity:
            return "another journal: it was replaced"
        if found.st_mtime_ns != self.names_version:
            # Beside another `head` we would not hear of the others' commits.
            if not os.fstat(self._head).st_nlink:
                return "no file journal/head: it was deleted"
            self.names_version = found.st_mtime_ns
        return None

    def close(self) -> None:
        """Let go of everything."""
        self._ticket.close()
        self._records.close()
        os.close(self._head)
