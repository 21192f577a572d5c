"""A lock that exactly one process holds, and that the kernel frees when it dies.

`flock` belongs to the open file, not to the process: it excludes two claims inside one
process too, but a forked child would share it and keep it alive. So the child closes its
copy at once, which leaves the parent's lock as it is. (`lockf` has the opposite faults:
closing any descriptor of the file drops it.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from pathlib import Path

from federlib.errors import Unavailable
from federlib.identity._files import FILES

__all__ = ["ProcessLock", "holder_of"]

_PID = re.compile(rb"[1-9][0-9]{0,9}\n")
_ATTEMPTS = 10

# What a fork must close, process-wide because `fork` is. Keyed by descriptor: a lock that
# nobody refers to any more is still held, so a weak set would forget it.
_open_here: set[int] = set()
_guard = threading.RLock()


def _close_inherited() -> None:
    for descriptor in _open_here:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open_here.clear()
    _guard.release()


# The guard keeps a fork out of the moment between opening a file and noting it.
os.register_at_fork(
    before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_close_inherited
)


class ProcessLock:
    """One held lock; made by `attempt` only."""

    __slots__ = ("_descriptor", "_path", "_pid")

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._pid = os.getpid()

    @classmethod
    def attempt(cls, path: Path) -> ProcessLock | None:
        """Take the lock at `path` without waiting; None where another holds it."""
        for _ in range(_ATTEMPTS):
            lock = cls(path, _open_noted(path))
            try:
                if not lock._lock():
                    lock.release()
                    return None
                if lock.is_in_place():
                    return lock
            except BaseException:
                lock.release()
                raise
            # Somebody removed or replaced the file after we opened it: lock the new one.
            lock.release()
        raise Unavailable(f"identity file {path}", "it is replaced again and again")

    def _lock(self) -> bool:
        with FILES.translated(self._path):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def is_in_place(self) -> bool:
        """Say whether this process still holds the file that rivals would try to lock."""
        if self._descriptor < 0 or self._pid != os.getpid():
            return False
        try:
            ours, theirs = os.fstat(self._descriptor), os.lstat(self._path)
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)

    def is_marked(self) -> bool:
        """Say whether `mark` was ever called on this file."""
        with FILES.translated(self._path):
            return os.fstat(self._descriptor).st_size > 0

    def mark(self) -> None:
        """Write this process's id into the file, for people and for `holder`."""
        text = f"{self._pid}\n".encode()
        with FILES.translated(self._path):
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))

    def release(self) -> None:
        """Free the lock; a second call, or one in a forked child, does nothing."""
        if self._pid != os.getpid():
            return
        with _guard:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor < 0:
                return
            _open_here.discard(descriptor)
            # Closing frees it, unless a child that has not yet called exec holds a copy.
            try:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)


def _open_noted(path: Path) -> int:
    with _guard, FILES.translated(path):
        descriptor = FILES.open_regular(path, os.O_RDWR | os.O_CREAT)
        _open_here.add(descriptor)
    return descriptor


def holder_of(path: Path) -> int | None:
    """Return the process id that the holder wrote, or None where none can be read."""
    try:
        descriptor = FILES.open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file, FILES.translated(path):
        text = file.read(32)
    return int(text) if _PID.fullmatch(text) else None
