"""Files that survive a crash: written whole, private, and never through a link.

Nothing here follows a symbolic link inside the directory, waits for another process, or
lets an `OSError` out: `translated` turns each into an error that names the path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from federlib.errors import (
    CorruptRecord,
    FederlibError,
    InvalidInput,
    StoreDenied,
    StoreFull,
    Unavailable,
)

__all__ = ["PrivateFiles", "kind_of_file"]

# Never through a link, never hang on a FIFO, never into a child.
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_OURS = {
    errno.ELOOP: "a symbolic link",
    errno.EISDIR: "a directory",
    errno.ENXIO: "a device or socket",
}
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of_file(mode: int) -> str:
    """Say in words what is there instead of a regular file."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


@attrs.frozen
class PrivateFiles:
    """How one package keeps its files, and what its errors call them.

    Attributes:
        kind: What such a file is, for example `identity file`.
        root: What their directory is, for example `identity root`.
        way_out: What to do where the system denies access.
    """

    kind: str
    root: str
    way_out: str

    @contextlib.contextmanager
    def translated(self, path: Path) -> Iterator[None]:
        """Turn what the operating system says about `path` into our errors."""
        try:
            yield
        except OSError as error:
            raise self._translate(path, error) from error

    def _translate(self, path: Path, error: OSError) -> FederlibError:
        reason = error.strerror or str(error)
        what = f"{self.kind} {path}"
        if error.errno in _DENIED:
            return StoreDenied(what, reason, hint=self.way_out)
        if error.errno in _FULL:
            return StoreFull(what, reason, hint="free some space; nothing was overwritten")
        if error.errno in _NOT_OURS:
            return CorruptRecord(
                str(path), expected="a regular file", found=_NOT_OURS[error.errno or 0]
            )
        return Unavailable(what, reason)

    def ensure_directory(self, path: Path) -> None:
        """Create `path` and its missing parents, each with mode 0700 and durable.

        Raises:
            InvalidInput: It, or a parent, is something other than a directory.
            Unavailable: It cannot be created.
        """
        missing = [path]
        try:
            while not os.path.lexists(missing[-1]):
                missing.append(missing[-1].parent)
            anchor = missing.pop()
            if not anchor.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(anchor))
            for directory in reversed(missing):
                # Another process may be creating the same one just now.
                with contextlib.suppress(FileExistsError):
                    directory.mkdir(mode=0o700)
                _sync_directory(directory.parent)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT):
                raise InvalidInput(
                    self.root,
                    expected="a directory, or a path where one can be made",
                    found=str(path),
                ) from error
            raise self._translate(path, error) from error

    def open_regular(self, path: Path, flags: int) -> int:
        """Open a regular file, mode 0600 if it is created; the caller closes the descriptor.

        Raises:
            FileNotFoundError: It does not exist and `flags` do not create it.
            CorruptRecord: It is a link, a directory, a FIFO or the like.
            Unavailable: It cannot be opened.
        """
        try:
            descriptor = os.open(path, flags | _SAFE, 0o600)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._translate(path, error) from error
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise CorruptRecord(str(path), expected="a regular file", found=kind_of_file(mode))
        return descriptor

    def read(self, path: Path, limit_bytes: int) -> bytes | None:
        """Read at most `limit_bytes` + 1 bytes; None where there is no file."""
        try:
            descriptor = self.open_regular(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file, self.translated(path):
            return file.read(limit_bytes + 1)

    def replace(self, path: Path, content: bytes) -> None:
        """Write `path` anew: after a crash it holds the old content or the new, whole.

        One writer at a time: the caller holds the lock.
        """
        with self.replacing(path) as file:
            file.write(content)

    @contextlib.contextmanager
    def replacing(self, path: Path, *, unique: str = "") -> Iterator[BinaryIO]:
        """Write `path` anew, piece by piece; it is replaced when the body ends well.

        Args:
            path: The file.
            unique: Text that no other writer uses; without it, one writer at a time.
        """
        temporary = path.with_name(f".{path.name}.{unique}{'.' if unique else ''}tmp")
        # Left behind by a crash, or put there by somebody as a link: never written through.
        temporary.unlink(missing_ok=True)
        try:
            with _new_file(temporary) as file:
                yield file
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def create_once(self, path: Path, content: bytes, *, unique: str) -> bool:
        """Create `path` whole, unless it exists; say whether it was created here.

        Of several processes that try, exactly one creates it, and none ever waits or sees
        half a file. That takes a hard link: rename would replace the winner's file.

        Args:
            path: The file.
            content: All of it.
            unique: Text that no other caller uses at the same time.
        """
        temporary = path.with_name(f".{path.name}.{unique}.tmp")
        try:
            with _new_file(temporary) as file:
                file.write(content)
            os.link(temporary, path)
            created = True
        except FileExistsError:
            created = False
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        # The loser too: what it goes on to read may not be on the disk yet.
        _sync_directory(path.parent)
        return created


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Create a file; it is on the disk when the body has ended."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        # The umask may have taken bits that we need ourselves.
        os.fchmod(descriptor, 0o600)
        yield file
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
