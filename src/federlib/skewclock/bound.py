"""The bound that a hybrid logical clock keeps over restarts, and a file that holds it.

Source: design §3, skewclock.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from federlib._files import PrivateFiles
from federlib.errors import CorruptRecord, InvalidInput

__all__ = ["BoundStore", "FileBound"]

_FILES = PrivateFiles(
    kind="clock bound file",
    root="directory of the clock bound",
    way_out="let this user write there",
)
_FORMAT = 1
_MAX_BYTES = 256


class BoundStore(Protocol):
    """Where one clock's bound is kept. Both calls may block."""

    def load(self) -> int | None:
        """Return the stored bound; Unix nanoseconds, or None where there was never one.

        Raises:
            CorruptRecord: What is stored cannot be trusted.
            Unavailable: It cannot be read.
        """
        ...

    def save(self, bound_ns: int) -> None:
        """Store the bound; once this returns, it survives a crash of the machine.

        Raises:
            Unavailable: It cannot be written; what was stored before is still there.
        """
        ...


class _Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    bound_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    v: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)] = _FORMAT


class FileBound:
    """A bound in a file of its own, mode 0600; its directory is made on first use.

    Two clocks must not share a file: nothing notices, and one may issue again what it had
    issued before.

    Args:
        path: The file. A relative one is taken from the present working directory, once.
    Raises:
        InvalidInput: It cannot be a path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _check_path(path)

    def load(self) -> int | None:
        """Read the bound; see `BoundStore.load`."""
        content = _FILES.read(self._path, _MAX_BYTES)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=_Bound).bound_ns
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorruptRecord(
                str(self._path),
                expected=f"the bound of a clock ({error})",
                found=content,
                hint="remove it if this host's clock was never set back",
            ) from error

    def save(self, bound_ns: int) -> None:
        """Write the bound, whole or not at all; see `BoundStore.save`."""
        _FILES.ensure_directory(self._path.parent)
        with _FILES.translated(self._path):
            _FILES.replace(self._path, msgspec.json.encode(_Bound(bound_ns=bound_ns)))


def _check_path(path: object) -> Path:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InvalidInput("path", expected="a path without NUL", found=path)
    return Path(text).absolute()
