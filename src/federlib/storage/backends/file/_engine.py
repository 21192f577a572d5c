"""The synchronous engine of the file driver: one journal, and everything else in memory.

A commit is one frame, written behind the journal's end and synced; only then is it published,
and only what is published is ever shown, here or in another process. Each process follows the
journal into a table of its own: a read first asks for the published revision, which costs
microseconds, and reads on where there is news.

It blocks, so the async driver calls it in threads, and a blocking caller may use it as it is.

Hazards: a process that is stopped in its turn holds up all writers; readers go on. A disk that
lies about sync loses commits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from federlib.errors import CorruptRecord, FederlibError, OutcomeUnknown, Unavailable
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends._blocking.committing import CommittingEngine, Outcome
from federlib.storage.backends._digest import digest_of
from federlib.storage.backends._embedded.table import Receipt, Table
from federlib.storage.backends.file._check import find_problems
from federlib.storage.backends.file._errors import translate
from federlib.storage.backends.file._feed import FileFeed
from federlib.storage.backends.file._journal import encode_change
from federlib.storage.backends.file._load import Loaded, Tuning
from federlib.storage.backends.file._memory import Memory
from federlib.storage.backends.file._tidy import Tidier
from federlib.storage.backends.file._turn import Turn
from federlib.storage.disk import Disk
from federlib.storage.protocol import (
    Batch,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    StoreProblem,
)

__all__ = ["FileEngine"]

_PATIENCE_S = 0.25
_TURNS_WAITED_FOR = 20
_CHECK_PATIENCE_S = 10.0
_CLOSING_FILES = 256
"""Record files written at most when a store is closed; more would make closing slow."""


class FileEngine(CommittingEngine):
    """One open store. Thread-safe; every verb blocks.

    Attributes:
        where: How errors call this store.
    """

    def __init__(
        self,
        disk: Disk,
        turn: Turn,
        *,
        where: str,
        new_store_id: str,
        tuning: Tuning | None = None,
        aside: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Open the store on a disk; make it if there is none.

        Args:
            disk: Its root is the store's directory.
            turn: How other processes are met; closed with the engine, or if opening fails.
            where: How errors shall call this store.
            new_store_id: The id that a new store gets.
            tuning: Sizes.
            aside: Does work that no commit waits for; in a thread by default.
        Raises:
            Unavailable: It cannot be reached or made; see also its subclasses.
            CorruptRecord: What lies there is not a store that this version reads.
        """
        super().__init__(where)
        self._disk = disk
        self._turn = turn
        self._tuning = tuning or Tuning()
        self._aside = aside or self._in_thread
        self._has_committed = False
        # Guards the memory, and is not held while a commit is synced.
        self._mutex = threading.Lock()
        self._tidying: threading.Thread | None = None
        self._tidy_mutex = threading.Lock()
        self._is_tidying = False
        try:
            with self._translating():
                self._memory = self._open(new_store_id)
        except BaseException:
            turn.close()
            raise
        self._tidier = Tidier(disk, turn, self._memory, self._mutex)
        self._segment = self._tidied = self._memory.loaded.journal.segments[-1].first
        if not self._tidier.follows():
            self._aside(self._tidy)

    def _open(self, new_store_id: str) -> Memory:
        try:
            self._take_turn(None)
            return Memory(
                self._disk,
                self._turn,
                where=self.where,
                new_store_id=new_store_id,
                tuning=self._tuning,
            )
        finally:
            self._turn.release()

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._memory.loaded.store_id

    @property
    def cut_bytes(self) -> int:
        """How much of torn commits was cut off the journal's end; none had been answered."""
        return self._memory.cut_bytes

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> FederlibError:
        try:
            # Whatever a file says that is gone, that the store is gone is the reason.
            self._check_place()
        except FederlibError as reason:
            return reason
        except OSError:
            pass
        return translate(error, self.where)

    def check_usable(self) -> None:
        """Raise unless this process opened the store, and it is still the same.

        Raises:
            Fenced: This process is a fork of the one that opened it.
            Unavailable: It was closed.
            CorruptRecord: It was deleted or replaced.
        """
        self._check_open()
        with self._translating():
            self._check_place()

    def _check_place(self) -> None:
        found = self._turn.check()
        if found is not None:
            raise CorruptRecord(
                self.where,
                expected="the store that was opened",
                found=found,
                hint="close the store and open it again",
            )

    def get(self, key: str) -> Record | None:
        """Read one record."""
        self._check_open()
        with self._mutex:
            return self._present().get(key)

    def scan(self, prefix: str, after: str | None, limit: int) -> Page:
        """Read one page, as one snapshot."""
        self._check_open()
        with self._mutex:
            return self._present().page(prefix, after, limit)

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Look for a receipt."""
        self._check_open()
        with self._mutex:
            return self._present().outcome(transaction_id)

    def read_revision(self) -> int:
        """Read the store's revision."""
        self._check_open()
        with self._mutex:
            return self._present().revision

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Read commits after a revision; None where history no longer has them."""
        self._check_open()
        with self._mutex, self._translating():
            self._present()
            return self._memory.loaded.journal.read_batches(after, limit)

    def _present(self) -> Table:
        """Return the table as of now; under the mutex, and of use only there."""
        # Anew: it may have been closed while we waited for the mutex.
        self._check_open()
        try:
            self._check_place()
            return self._memory.catch_up().table
        except OSError as error:
            raise self._explain(error) from error

    def open_feed(self, _wake: Callable[[], None]) -> FileFeed:
        """Open what a watching thread asks."""
        return FileFeed(self.read_revision, self.read_changes)

    def commit(self, attempt: Attempt) -> Committed | Conflicted:
        """Commit as every engine does, and tidy up beside it now and then."""
        outcome = super().commit(attempt)
        self._tidy_if_due()
        return outcome

    def _commit_in_turn(self, attempt: Attempt) -> Outcome:
        try:
            with self._translating():
                self._take_turn(attempt)
                return self._transact(attempt)
        finally:
            # Also where Ctrl-C struck in between; a turn that we have not got stays away.
            self._turn.release()

    def _take_turn(self, attempt: Attempt | None) -> None:
        for _ in range(_TURNS_WAITED_FOR):
            has_turn = self._turn.take(_PATIENCE_S)
            if attempt is not None and attempt.is_abandoned:
                raise self._gave_up()
            if has_turn:
                return
        raise Unavailable(
            self.where,
            "another process kept the turn to write; nothing was sent",
            hint="retry; if that does not help, look for a process that is stopped",
        )

    def _transact(self, attempt: Attempt) -> Outcome:
        transaction = attempt.transaction
        digest = b"" if transaction.id is None else digest_of(transaction)
        receipt: Receipt | None = None
        with self._mutex:
            self._check_open()
            self._check_place()
            loaded = self._memory.settle()
            outcome = loaded.table.decide(transaction, digest)
            if outcome is not None:
                return outcome, None
            batch = loaded.table.plan(transaction)
            if transaction.id is not None:
                receipt = Receipt(transaction.id, batch.revision, digest, attempt.now_ns)
            change = loaded.journal.encode(encode_change(batch, receipt))
            self._memory.make_room(len(change))
        if not attempt.send():
            raise self._gave_up()
        self._write(loaded, change, transaction.id)
        try:
            with self._mutex:
                self._memory.take_in(loaded, batch, receipt, len(change))
                self._segment = self._memory.loaded.journal.segments[-1].first
        except OSError as error:
            raise self._unknown(error, transaction.id) from error
        self._has_committed = True
        return Committed(batch.revision), batch

    def _write(self, loaded: Loaded, change: bytes, transaction_id: str | None) -> None:
        try:
            loaded.journal.write(change)
        except OSError as error:
            try:
                loaded.journal.take_back()
            except OSError:
                self._doubt()
                raise self._unknown(error, transaction_id) from error
            raise
        try:
            loaded.journal.sync()
        except OSError as error:
            # A second try could succeed without having written anything.
            self._doubt()
            raise self._unknown(error, transaction_id) from error

    def _doubt(self) -> None:
        with self._mutex:
            self._memory.doubt()

    def _unknown(self, error: OSError, transaction_id: str | None) -> OutcomeUnknown:
        return OutcomeUnknown(
            "commit", transaction_id=transaction_id, reason=error.strerror or str(error)
        )

    def _tidy_if_due(self) -> None:
        if self._is_tidying_due:
            self._aside(self._tidy)

    @property
    def _is_tidying_due(self) -> bool:
        return self._segment != self._tidied and not self._is_closed

    def _tidy(self) -> None:
        self._tidied = self._segment
        self._tidier.run(files=self._tuning.record_files, is_stopped=lambda: self._is_closed)

    def _in_thread(self, work: Callable[[], None]) -> None:
        with self._tidy_mutex:
            if self._is_tidying:
                return
            self._is_tidying = True
            self._tidying = threading.Thread(
                target=self._go_on, args=(work,), name="federlib-tidy", daemon=True
            )
            self._tidying.start()

    def _go_on(self, work: Callable[[], None]) -> None:
        """Work until nothing is due: what came meanwhile may be the last that ever comes."""
        try:
            while self._is_tidying:
                work()
                with self._tidy_mutex:
                    self._is_tidying = self._is_tidying_due
        except BaseException:
            self._is_tidying = False
            raise

    def check(self) -> Sequence[StoreProblem]:
        """Read everything that is stored, and return what is wrong; repairs nothing.

        Raises:
            Unavailable: Another process is busy writing states all the time.
        """
        self.check_usable()
        with self._translating():
            self._take_records()
            try:
                return find_problems(self._disk, self.store_id, self.read_revision())
            finally:
                self._turn.release_records()

    def _take_records(self) -> None:
        wait = threading.Event().wait
        for _ in range(int(_CHECK_PATIENCE_S / 0.05)):
            if self._turn.take_records():
                return
            wait(0.05)
        raise Unavailable(self.where, "another process was writing record files all the time")

    def close(self, patience_s: float) -> None:
        """Let go of everything; what is busy is let go of when it is done.

        Args:
            patience_s: How long to wait for a commit on its way; seconds.
        """
        if os.getpid() != self._pid or self._is_closed:
            return
        self._is_closed = True
        self._shut(patience_s)

    def _let_go(self) -> None:
        tidying = self._tidying
        if tidying is not None and tidying is not threading.current_thread():
            # It looks up before each file, so this does not take long.
            tidying.join()
        if self._has_committed:
            self._tidier.run(files=_CLOSING_FILES, is_stopped=lambda: False)
        with self._mutex:
            self._memory.close()
            self._turn.close()
