"""What SQLite's errors mean in our tree."""

from __future__ import annotations

import sqlite3

from federlib.errors import (
    CorruptRecord,
    FederlibError,
    OutcomeUnknown,
    StoreDenied,
    StoreFull,
    Unavailable,
)

__all__ = ["DamagedRow", "primary_code", "translate", "translate_commit"]

_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_MISMATCH"}
_DENIED = {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"}
_TAKEN = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"}
_UNDECIDED = {"SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_INTERNAL", "SQLITE_ABORT"}


class DamagedRow(sqlite3.DatabaseError):
    """A row of ours that cannot be what we wrote, although SQLite finds nothing wrong."""

    def __init__(self, what: str, *, expected: str, found: str) -> None:
        super().__init__(f"{what}: expected {expected}, found {found}")
        self.what = what
        self.expected = expected
        self.found = found


def primary_code(error: sqlite3.Error) -> str:
    """Name the error without its extension: ``SQLITE_IOERR`` for ``SQLITE_IOERR_FSYNC``."""
    name: str = getattr(error, "sqlite_errorname", None) or "SQLITE_UNKNOWN"
    return "_".join(name.split("_")[:2])


def translate(error: sqlite3.Error, where: str) -> FederlibError:
    """Name the error of a statement that was not COMMIT: nothing has happened."""
    if isinstance(error, DamagedRow):
        return CorruptRecord(f"{where}, {error.what}", expected=error.expected, found=error.found)
    code, reason = primary_code(error), _reason(error)
    if code in _DAMAGED or _lacks_table(error):
        return CorruptRecord(
            where, expected="an intact federlib store", found=reason, hint="restore a backup"
        )
    if code in _DENIED:
        return StoreDenied(where, reason, hint="check the owner and mode of file and directory")
    if code == "SQLITE_FULL":
        return StoreFull(where, reason, hint="free some space and retry")
    if code in _TAKEN:
        return Unavailable(where, reason, hint="another program holds the database's lock")
    return Unavailable(where, reason)


def translate_commit(
    error: sqlite3.Error, where: str, *, transaction_id: str | None
) -> FederlibError:
    """Name the error of COMMIT itself, which may have come too late to stop it.

    A full disk or a busy lock is refused before the commit mark is written. A failed write
    or fsync may leave that mark on disk, where a later recovery finds it.
    """
    if primary_code(error) in _UNDECIDED:
        return OutcomeUnknown("commit", transaction_id=transaction_id, reason=_reason(error))
    return translate(error, where)


def _reason(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", None)
    return f"{error} ({name})" if name else str(error)


def _lacks_table(error: sqlite3.Error) -> bool:
    return primary_code(error) == "SQLITE_ERROR" and str(error).startswith("no such ")
