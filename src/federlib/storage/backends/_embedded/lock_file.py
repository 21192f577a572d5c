"""One exclusive lock on one file, held by an open file and let go when its process dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from weakref import WeakSet

from federlib.storage.backends._embedded.filesystem import create_private_file

__all__ = ["DirectoryLock", "LockFile"]

if sys.platform == "win32":  # pragma: no cover (Windows)
    import filelock

    class LockFile:
        """Polled, so waiters are served only roughly in order."""

        def __init__(self, path: Path) -> None:
            self._lock = filelock.FileLock(path, thread_local=False)

        def try_take(self) -> bool:
            """Take the lock if it is free now."""
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                return False
            return True

        def take(self) -> None:
            """Wait for the lock."""
            self._lock.acquire(poll_interval=0.002)

        def release(self) -> None:
            """Let go of it."""
            self._lock.release()

        def close(self) -> None:
            """Let go of the file."""
            self._lock.release(force=True)

    class DirectoryLock(LockFile):
        """A lock on a file in a directory."""

        def __init__(self, path: Path) -> None:
            super().__init__(path / ".lock")

else:
    import fcntl

    class LockFile:
        """The kernel keeps its waiters in order."""

        def __init__(self, path: Path) -> None:
            create_private_file(path)
            self._hold(path, os.O_RDWR)

        def _hold(self, path: Path, flags: int) -> None:
            self._handle = os.open(path, flags | os.O_CLOEXEC)
            _open_locks.add(self)

        def try_take(self) -> bool:
            """Take the lock if it is free now."""
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def take(self) -> None:
            """Wait for the lock."""
            fcntl.flock(self._handle, fcntl.LOCK_EX)

        def release(self) -> None:
            """Let go of it."""
            fcntl.flock(self._handle, fcntl.LOCK_UN)

        def close(self) -> None:
            """Let go of the file."""
            _open_locks.discard(self)
            os.close(self._handle)

    class DirectoryLock(LockFile):
        """A lock on a directory itself: nobody deletes it as a stale lock."""

        def __init__(self, path: Path) -> None:
            self._hold(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    _open_locks: WeakSet[LockFile] = WeakSet()

    def _forget_in_child() -> None:
        # A fork shares the lock: it would outlive its holder's death in the child.
        for lock in list(_open_locks):
            os.close(lock._handle)  # noqa: SLF001 (this module's own)
        _open_locks.clear()

    os.register_at_fork(after_in_child=_forget_in_child)
