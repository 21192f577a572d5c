"""The files of a store's journal: what they are called, and how they begin."""

from __future__ import annotations

from federlib.errors import CorruptRecord
from federlib.storage.backends.file import _journal as frames
from federlib.storage.disk import Disk, DiskFile

__all__ = [
    "DIRECTORY",
    "HEAD",
    "LOG",
    "PLEA",
    "STATE",
    "check_beginning",
    "file_name",
    "is_own_name",
    "list_numbered",
    "read_store_id",
    "temporary_name",
]

DIRECTORY = "journal"
LOG = ".log"
STATE = ".state"
HEAD = "head"
"""What processes that share a store keep there; see `_shared_turn`."""

PLEA = "restore a backup"
"""What to do about damage."""

_TEMPORARY = "new"
_DIGITS = 20


def temporary_name(suffix: str) -> str:
    """Name a file of the journal that is still being written."""
    return f"{DIRECTORY}/{_TEMPORARY}{suffix}"


def file_name(revision: int, suffix: str) -> str:
    """Name a file of the journal."""
    return f"{DIRECTORY}/{revision:0{_DIGITS}}{suffix}"


def list_numbered(disk: Disk, suffix: str) -> list[int]:
    """List the revisions of which there is a file, in order."""
    return [int(name[:_DIGITS]) for name in disk.list(DIRECTORY) if _is_numbered(name, suffix)]


def _is_numbered(name: str, suffix: str) -> bool:
    number = name.removesuffix(suffix)
    return (
        number + suffix == name
        and len(number) == _DIGITS
        and number.isascii()
        and number.isdecimal()
    )


def is_own_name(name: str) -> bool:
    """Say whether a file of this name in the journal's directory is ours."""
    return name == HEAD or any(
        _is_numbered(name, suffix) or name == _TEMPORARY + suffix for suffix in (LOG, STATE)
    )


def read_store_id(file: DiskFile, what: str) -> str:
    """Return which store a file of the journal is of.

    Raises:
        CorruptRecord: It is none of ours, damaged, or of a newer format.
    """
    found = frames.read_beginning(file.read(0, frames.MAX_BEGINNING_BYTES))
    if isinstance(found, str):
        return found
    if found is None:
        raise CorruptRecord(
            what, expected="a file of a federlib store", found="something else", hint=PLEA
        )
    raise CorruptRecord(
        what,
        expected=f"format {frames.FORMAT} or older",
        found=f"format {found}, written by a newer version of federlib",
        hint="upgrade federlib",
    )


def check_beginning(file: DiskFile, beginning: bytes, what: str) -> None:
    """Raise unless a file of the journal begins as it must.

    Raises:
        CorruptRecord: It is of another store, none of ours, or damaged.
    """
    if file.read(0, len(beginning)) != beginning:
        raise CorruptRecord(
            what,
            expected="the beginning of a file of this store",
            found=f"that of store {read_store_id(file, what)}",
            hint=PLEA,
        )
