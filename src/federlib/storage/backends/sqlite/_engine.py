"""The synchronous engine of the SQLite driver: connections, the ticket, and what can go wrong.

It blocks, so the async driver calls it in threads, and a blocking caller may use it as it
is. One connection writes; a few others read beside it. Nothing here knows an event loop.

Hazards: SQLite's locks belong to the process. After a fork the child must not use what the
parent opened, so every verb raises `Fenced` there; nor may it open the same file anew: its
SQLite believes that it holds what the parent holds, and the kernel knows of none of it.
And the database file is never opened and closed by other means while it is in use, because
closing any handle of it would drop the process's locks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack
from weakref import WeakSet

from federlib.errors import CorruptRecord, FederlibError, Fenced
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends._blocking.committing import CommittingEngine, Outcome
from federlib.storage.backends._embedded.filesystem import (
    create_private_file,
    make_private_directory,
    translate_os_error,
)
from federlib.storage.backends._embedded.ticket import Ticket
from federlib.storage.backends.sqlite import _format as layout
from federlib.storage.backends.sqlite import _rows as rows
from federlib.storage.backends.sqlite._check import find_problems
from federlib.storage.backends.sqlite._errors import primary_code, translate, translate_commit
from federlib.storage.backends.sqlite._feed import SqliteFeed
from federlib.storage.backends.sqlite._log import LogRoom
from federlib.storage.backends.sqlite._readers import ReaderPool
from federlib.storage.protocol import (
    Batch,
    Committed,
    NotSeen,
    Page,
    Record,
    StoreProblem,
)

__all__ = ["SqliteEngine"]

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

_PATIENCE_S = 0.5
_PATIENCE_AFTER_STALL_S = 0.02
# An abandoned attempt is noticed between two slices; together they last five seconds.
_SHORT_BUSY_TIMEOUT = "PRAGMA busy_timeout = 250"
_BUSY_SLICES = 20
_OPENING_PATIENCE_S = 5.0
_FORKED = (
    "it was open when this process was forked, and SQLite's locks fail in such a child: fork "
    "before it is opened, close it before the fork, or start a new interpreter (spawn)"
)
_POISONED = {"SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_NOMEM", "SQLITE_CANTOPEN"}


class SqliteEngine(CommittingEngine):
    """One open store. Thread-safe; every verb blocks.

    Attributes:
        where: How errors call this store.
        path: The database, absolute and resolved.
    """

    def __init__(self, path: Path, *, new_store_id: str) -> None:
        """Open the store at an absolute, resolved path; make it if there is none.

        Missing directories are made; `new_store_id` is the id that a new store gets.

        Raises:
            Unavailable: It cannot be reached or made; see also its subclasses.
            CorruptRecord: What lies there is not a store that this version reads.
            Fenced: This process is a fork of one that had the same file open.
            InvalidInput: The path cannot be a file.
        """
        super().__init__(f"sqlite store {path}")
        self.path = path
        self._place = str(path)
        self._log_room = LogRoom(path)
        self._readers = ReaderPool(self.open_reader)
        self._file: tuple[int, int] | None = None
        self._patience_s = _PATIENCE_S
        with self._translating():
            make_private_directory(path.parent)
            layout.inspect_header(path, self.where)
            self._ticket = Ticket(path)
            try:
                self._writer: sqlite3.Connection | None = self._open_first(new_store_id)
            except BaseException:
                self._ticket.close()
                raise
        _open_engines.add(self)

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._meta.store_id

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self.explain(error) from error
        except OSError as error:
            raise translate_os_error(error, self.where) from error

    def explain(self, error: sqlite3.Error) -> FederlibError:
        """Say in our words why a statement failed; nothing has happened."""
        if self._file is not None:
            try:
                # Whatever SQLite says of a file that is gone, that it is gone is the reason.
                self.check_usable()
            except FederlibError as reason:
                return reason
        return translate(error, self.where)

    def _open_first(self, new_store_id: str) -> sqlite3.Connection:
        # Without the ticket it would be as safe, but rivals would wake in no order.
        has_ticket = self._ticket.take(_OPENING_PATIENCE_S)
        try:
            layout.inspect_header(self.path, self.where)
            create_private_file(self.path)
            if _identify(self._place) in _inherited:
                raise Fenced(self.where, reason=_FORKED)
            if not os.access(self.path, os.R_OK | os.W_OK):
                raise PermissionError(13, "no permission to read and write", str(self.path))
            connection = layout.connect(self.path)
            try:
                layout.initialise(connection, self.path, self.where, new_store_id)
                self._meta_bytes, self._meta = layout.read_meta(connection, self.where)
                self._file = _identify(self._place)
                rows.read_revision(connection)
                connection.execute(_SHORT_BUSY_TIMEOUT)
            except BaseException:
                connection.close()
                raise
            return connection
        finally:
            if has_ticket:
                self._ticket.release()

    def check_usable(self) -> None:
        """Raise unless this process opened the store, and the file is still the same.

        Raises:
            Fenced: This process is a fork of the one that opened it.
            Unavailable: It was closed.
            CorruptRecord: The file was deleted or replaced.
        """
        self._check_open()
        try:
            found = _identify(self._place)
        except FileNotFoundError:
            raise self._other_file("no file: it was deleted") from None
        except OSError as error:
            raise translate_os_error(error, self.where) from error
        if found != self._file:
            raise self._other_file("another file: it was replaced")

    def _other_file(self, found: str) -> CorruptRecord:
        return CorruptRecord(
            self.where,
            expected="the file that was opened",
            found=found,
            hint="close the store and open it again",
        )

    def get(self, key: str) -> Record | None:
        """Read one record."""
        return self._read(rows.read_record, key)

    def scan(self, prefix: str, after: str | None, limit: int) -> Page:
        """Read one page, as one snapshot."""
        return self._read(rows.read_page, prefix, after, limit)

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Look for a receipt."""
        return self._read(rows.read_outcome, transaction_id)

    def read_revision(self) -> int:
        """Read the store's revision."""
        return self._read(rows.read_revision)

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Read commits after a revision; None where history no longer has them."""
        return self._read(rows.read_changes, after, limit)

    def open_reader(self) -> sqlite3.Connection:
        """Open a connection that only reads; the caller closes it.

        Raises:
            sqlite3.Error: It cannot be opened.
        """
        connection = layout.connect(self.path, query_only=True)
        try:
            self.check_usable()
        except BaseException:
            connection.close()
            raise
        return connection

    def open_feed(self, _wake: Callable[[], None]) -> SqliteFeed:
        """Open what a watching thread asks; the caller closes it."""
        with self._translating():
            return SqliteFeed(self.open_reader(), self.explain)

    def check(self) -> Sequence[StoreProblem]:
        """Read everything that is stored, and return what is wrong; repairs nothing."""
        return self._read(find_problems)

    def _read(self, query: Callable[[sqlite3.Connection, Unpack[_Args]], _T], *args: *_Args) -> _T:
        self.check_usable()
        # Not `_translating`: a generator's context manager costs as much as a statement.
        try:
            return self._readers.read(query, *args)
        except sqlite3.Error as error:
            raise self.explain(error) from error
        except OSError as error:
            raise translate_os_error(error, self.where) from error

    def _commit_in_turn(self, attempt: Attempt) -> Outcome:
        try:
            has_ticket = self._take_ticket(attempt)
            try:
                return self._transact(attempt)
            finally:
                if has_ticket:
                    self._ticket.release()
        except sqlite3.Error as error:
            raise self.explain(error) from error
        except OSError as error:
            raise translate_os_error(error, self.where) from error

    def _take_ticket(self, attempt: Attempt) -> bool:
        has_ticket = self._ticket.take(self._patience_s)
        if attempt.is_abandoned:
            if has_ticket:
                self._ticket.release()
            raise self._gave_up()
        # Whoever holds the ticket may be stopped, and SQLite's lock is enough to be safe:
        # go without it, and do not wait that long again before the line moves.
        self._patience_s = _PATIENCE_S if has_ticket else _PATIENCE_AFTER_STALL_S
        return has_ticket

    def _transact(self, attempt: Attempt) -> Outcome:
        connection = self._writer_connection()
        is_sent = False
        try:
            self._begin(connection, attempt)
            head = self._check_identity(connection)
            draft = rows.Draft(connection, attempt.transaction)
            outcome = draft.decide()
            if outcome is not None:
                return outcome, None
            batch = draft.append(head=head, now_ns=attempt.now_ns)
            self._log_room.prepare()
            if not attempt.send():
                raise self._gave_up()
            is_sent = True
            connection.execute("COMMIT")
            return Committed(batch.revision), batch
        except sqlite3.Error as error:
            if primary_code(error) in _POISONED:
                # After a failed write or fsync nobody knows what the kernel kept of it.
                self._drop_writer()
            if is_sent:
                raise translate_commit(
                    error, self.where, transaction_id=attempt.transaction.id
                ) from error
            raise
        finally:
            self._roll_back()

    def _begin(self, connection: sqlite3.Connection, attempt: Attempt) -> None:
        if connection.in_transaction:
            # Ctrl-C struck the commit before this one.
            connection.execute("ROLLBACK")
        for remaining in reversed(range(_BUSY_SLICES)):
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if primary_code(error) != "SQLITE_BUSY" or not remaining:
                    raise
            if attempt.is_abandoned:
                raise self._gave_up()

    def _check_identity(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Raise unless this is the store that was opened; return where its log ends."""
        self.check_usable()
        found, *head = rows.read_meta_and_head(connection)
        if found != self._meta_bytes:
            _, meta = layout.read_meta(connection, self.where)
            raise CorruptRecord(
                f"{self.where}, meta/store", expected=f"store {self.store_id}", found=meta.store_id
            )
        return head[0], head[1]

    def _writer_connection(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = layout.connect(self.path)
            self._writer.execute(_SHORT_BUSY_TIMEOUT)
        return self._writer

    def _roll_back(self) -> None:
        if self._writer is None or not self._writer.in_transaction:
            return
        try:
            self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop_writer()

    def _drop_writer(self) -> None:
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None

    def close(self, patience_s: float) -> None:
        """Let go of everything; what is busy is let go of when it is done.

        Args:
            patience_s: How long to wait for a commit on its way; seconds.
        """
        if os.getpid() != self._pid or self._is_closed:
            return
        self._is_closed = True
        self._readers.close()
        self._shut(patience_s)

    def _let_go(self) -> None:
        self._drop_writer()
        self._ticket.close()
        _open_engines.discard(self)

    def note_inherited(self) -> None:
        """In a forked child: remember the file for as long as the child lives."""
        if self._file is not None:
            _inherited.add(self._file)


_open_engines: WeakSet[SqliteEngine] = WeakSet()
_inherited: set[tuple[int, int]] = set()


def _remember_in_child() -> None:
    for engine in list(_open_engines):
        engine.note_inherited()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_in_child)


def _identify(place: str) -> tuple[int, int]:
    # Not `Path.stat`, which takes twice as long, at every read and commit.
    found = os.stat(place)  # noqa: PTH116
    return found.st_dev, found.st_ino
