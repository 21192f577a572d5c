"""What each of SQLite's errors means, before COMMIT and of COMMIT itself."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from federlib.errors import (
    CorruptRecord,
    FederlibError,
    InvalidInput,
    OutcomeUnknown,
    StoreDenied,
    StoreFull,
    Unavailable,
)
from federlib.storage.backends._embedded.filesystem import translate_os_error
from federlib.storage.backends.sqlite._errors import DamagedRow, translate, translate_commit


def an_error(name: str | None) -> sqlite3.Error:
    error = sqlite3.OperationalError("it did not work")
    if name is not None:
        error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "before", "of_commit"),
    [
        ("SQLITE_FULL", StoreFull, StoreFull),
        ("SQLITE_READONLY", StoreDenied, StoreDenied),
        ("SQLITE_READONLY_DBMOVED", StoreDenied, StoreDenied),
        ("SQLITE_CANTOPEN_ISDIR", StoreDenied, StoreDenied),
        ("SQLITE_PERM", StoreDenied, StoreDenied),
        ("SQLITE_BUSY", Unavailable, Unavailable),
        ("SQLITE_BUSY_RECOVERY", Unavailable, Unavailable),
        ("SQLITE_LOCKED_SHAREDCACHE", Unavailable, Unavailable),
        ("SQLITE_CORRUPT", CorruptRecord, CorruptRecord),
        ("SQLITE_CORRUPT_INDEX", CorruptRecord, CorruptRecord),
        ("SQLITE_NOTADB", CorruptRecord, CorruptRecord),
        ("SQLITE_IOERR_FSYNC", Unavailable, OutcomeUnknown),
        ("SQLITE_IOERR_WRITE", Unavailable, OutcomeUnknown),
        ("SQLITE_NOMEM", Unavailable, OutcomeUnknown),
        ("SQLITE_ERROR", Unavailable, Unavailable),
        (None, Unavailable, Unavailable),
    ],
)
def test_an_error_is_told_by_what_it_means(
    name: str | None, before: type[FederlibError], of_commit: type[FederlibError]
) -> None:
    told = translate(an_error(name), "the store")
    assert type(told) is before
    assert "the store" in str(told)
    assert "it did not work" in str(told)
    assert type(translate_commit(an_error(name), "the store", transaction_id="t")) is of_commit


def test_a_row_that_cannot_be_ours_is_named_with_its_store() -> None:
    told = translate(DamagedRow("change 3", expected="events", found="noise"), "the store")
    assert str(told) == "the store, change 3: expected events, found 'noise'"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, StoreDenied),
        (errno.EROFS, StoreDenied),
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.ENOTDIR, InvalidInput),
        (errno.ENAMETOOLONG, InvalidInput),
        (errno.EIO, Unavailable),
        (errno.EMFILE, Unavailable),
    ],
)
def test_an_error_of_the_system_is_told_by_what_it_means(
    number: int, kind: type[FederlibError]
) -> None:
    assert type(translate_os_error(OSError(number, "no"), "the store")) is kind
