"""What a file store does beside its commits: states, old segments, record files.

None of it changes what the store holds, so it may fail, stop or be killed anywhere, and the
next one goes on. One process does it at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from federlib.storage.backends.file._journal_files import LOG, STATE, file_name, list_numbered
from federlib.storage.backends.file._memory import Memory
from federlib.storage.backends.file._record_files import RecordFiles
from federlib.storage.backends.file._states import State, write_state
from federlib.storage.backends.file._turn import Turn
from federlib.storage.disk import Disk

__all__ = ["Tidier"]


class Tidier:
    """Tidies one store.

    Attributes:
        trouble: Why the last run failed; None if it did not.
    """

    def __init__(self, disk: Disk, turn: Turn, memory: Memory, mutex: Lock) -> None:
        """`mutex` guards the memory."""
        self.trouble: OSError | None = None
        self._disk = disk
        self._turn = turn
        self._memory = memory
        self._mutex = mutex
        self._files = RecordFiles(disk)

    def follows(self) -> bool:
        """Say whether there are record files at all."""
        try:
            return self._files.revision() > 0
        except OSError:
            return False

    def run(self, *, files: int, is_stopped: Callable[[], bool]) -> None:
        """Do what is due, unless another process is at it. Never raises for the disk's sake.

        Args:
            files: So many record files are written at most.
            is_stopped: Asked again and again; True ends the run early.
        """
        try:
            if not self._turn.take_records():
                return
            try:
                self._make_state()
                if not is_stopped():
                    self._write_records(files, is_stopped)
                self.trouble = None
            finally:
                self._turn.release_records()
        except OSError as error:
            self.trouble = error

    def _make_state(self) -> None:
        known = list_numbered(self._disk, STATE)
        with self._mutex:
            journal, table = self._memory.loaded.journal, self._memory.loaded.table
            if known:
                # Another process may have made it.
                journal.note_state(known[-1], journal.state_bytes)
            if not self._memory.is_state_due():
                return
            state = State(table.revision, table.records(), table.receipts())
        size = write_state(self._disk, self._memory.loaded.store_id, state)
        with self._mutex:
            first = self._memory.note_state(state.revision, size)
        # Only now that the state lasts; of these removals a crash may undo any.
        for suffix, needed in ((LOG, first), (STATE, state.revision)):
            for revision in list_numbered(self._disk, suffix):
                if revision < needed:
                    with suppress(FileNotFoundError):
                        self._disk.remove(file_name(revision, suffix))

    def _write_records(self, files: int, is_stopped: Callable[[], bool]) -> None:
        with self._mutex:
            if not self._memory.is_sound:
                return
            table = self._memory.loaded.table
            records, revision = table.records(), table.revision
        self._files.follow(records, revision, limit=files, is_stopped=is_stopped)
