"""The disk, as the `file://` driver sees it: a directory tree of regular files.

The protocol has exactly the promises that a crash of the machine leaves standing, so that
`federlib.testing` can run the driver on a simulated disk which keeps those and no others.

Does not promise: locks (an engine gets them separately), or order between two files.
Hazards: a disk that lies about fsync loses commits that were confirmed.

Source: design §7.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Protocol

__all__ = ["Disk", "DiskFile", "SystemDisk"]


class DiskFile(Protocol):
    """One open file. Every verb may raise `OSError`."""

    def append(self, data: bytes) -> None:
        """Write at the end.

        After an error any part of it may be there. In a crash before `sync` any part of
        it may be lost, in any order; what was synced before stays.
        """
        ...

    def reserve(self, size: int) -> None:
        """Lengthen the file with zeros up to `size` bytes, which then have their space.

        Writing into space that is there already is what makes a commit fast: its `sync`
        need not also store a new size. After an error a part may be there.
        """
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Write over bytes that are there; never beyond the end of the file.

        After an error any part of it may be there. In a crash before `sync` any part of
        it may be lost, in any order; bytes that are written over as they were stay so.
        """
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end of the file."""
        ...

    def size(self) -> int:
        """Return the size in bytes; not for every commit, whose `sync` it can make slower.

        Raises:
            FileNotFoundError: The file was removed, or another was put in its place; where
                that can be told.
        """
        ...

    def sync(self) -> None:
        """Make data and size last: both survive the loss of power from here on.

        After an error nobody knows what lasts, and a second try may succeed without
        having written anything: close the file, open it again and read it.
        """
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes; lasts after `sync`."""
        ...

    def close(self) -> None:
        """Let go of the file; syncs nothing. A second call does nothing."""
        ...


class Disk(Protocol):
    """A directory tree. Paths are relative to its root, with `/`; `""` is the root.

    What a call does to names (a new file, `rename`, `remove`) lasts only after
    `sync_directory` of the directory that holds the name: until then a crash may undo it,
    and of several such calls any subset.
    """

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        """Open a regular file for reading and appending, never through a symbolic link.

        Args:
            path: The file.
            create: Make it, empty and 0600, if it is not there.
        Raises:
            FileNotFoundError: It is not there.
            OSError: It is something else than a file, or cannot be opened.
        """
        ...

    def list(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted.

        Raises:
            FileNotFoundError: There is no such directory.
        """
        ...

    def make_directory(self, path: str) -> None:
        """Make one directory, 0700; one that is there stays as it is."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in place of what has that name: the old or the new."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file.

        Raises:
            FileNotFoundError: It is not there.
        """
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory last."""
        ...


class SystemDisk:
    """A directory of the operating system."""

    def __init__(self, root: Path) -> None:
        """Use the directory at an absolute path, which need not exist yet."""
        self._root = root

    def _path(self, path: str) -> Path:
        return self._root / path if path else self._root

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        """Open a regular file for reading and appending."""
        # Not blocking: opening a pipe would wait for somebody at its other end.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(self._path(path), flags | (os.O_CREAT if create else 0), 0o600)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "not a regular file", str(self._path(path)))
        return _SystemFile(handle)

    def list(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted."""
        return sorted(path.name for path in self._path(directory).iterdir())

    def make_directory(self, path: str) -> None:
        """Make one directory, 0700."""
        self._path(path).mkdir(mode=0o700, exist_ok=True)

    def rename(self, source: str, target: str) -> None:
        """Give a file another name."""
        self._path(source).replace(self._path(target))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._path(path).unlink()

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory last."""
        handle = os.open(self._path(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class _SystemFile:
    """One open file of the operating system."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def append(self, data: bytes) -> None:
        """Write at the end."""
        self.write(os.fstat(self._handle).st_size, data)

    def reserve(self, size: int) -> None:
        """Lengthen the file with zeros."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._handle, 0, size)
        elif os.fstat(self._handle).st_size < size:  # pragma: no cover (macOS)
            os.ftruncate(self._handle, size)

    def write(self, offset: int, data: bytes) -> None:
        """Write over bytes that are there."""
        written = os.pwrite(self._handle, data, offset)
        while written < len(data):
            written += os.pwrite(self._handle, memoryview(data)[written:], offset + written)

    def read(self, offset: int, size: int) -> bytes:
        """Read at an offset."""
        data = os.pread(self._handle, size, offset)
        while len(data) < size:
            more = os.pread(self._handle, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def size(self) -> int:
        """Return the size in bytes."""
        found = os.fstat(self._handle)
        if not found.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file was removed")
        return found.st_size

    def sync(self) -> None:
        """Make data and size last."""
        os.fdatasync(self._handle)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self._handle, size)

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)
