"""A fair ticket across processes: who may begin the next write transaction.

SQLite has no queue for its write lock. A connection that finds it taken sleeps and looks
again, longer each time, so whoever comes back at once finds the lock free before any
sleeper wakes: of four workers committing in a loop, two got nothing. A single file lock
does not help either, because the process that releases it is awake and takes it again.

Hence two stages. `turn` is the turnstile, `main` the room behind it: take `turn`, then
`main`, release `turn`, transact, release `main`. Whoever leaves the room must pass the
turnstile again, and there stands the next one in line, who gives it up only once inside.
On both the kernel queues the waiters (a blocking `flock` is first come, first served).

For SQLite the ticket makes access fair; it does not make it safe: that is SQLite's own lock,
which the transaction takes behind it. So a waiter may give up its patience and go without,
and a process that was stopped while it held the ticket cannot hold up the others for long.
A file store has no other lock: there nobody goes without.

Nor does anybody wait inside `flock` where they could not stop waiting: a contended ticket
is taken by a daemon thread, and the caller waits for that thread with a time limit.
"""

from __future__ import annotations

import threading
from pathlib import Path

from federlib.storage.backends._embedded.lock_file import DirectoryLock, LockFile

__all__ = ["Ticket"]


class _Place:
    """A place in the line, kept by one daemon thread."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.is_wanted = True
        self.error: OSError | None = None


class Ticket:
    """The ticket of one store, as one client of it sees it.

    Used by one thread at a time.
    """

    def __init__(self, path: Path, room: Path | None = None) -> None:
        """Open, and create if need be, the two lock files beside `path`.

        `room` is a directory that is locked instead of the file `.main`.

        Raises:
            OSError: They cannot be made or opened.
        """
        self._turn = LockFile(path.with_name(f"{path.name}.turn"))
        try:
            self._main = (
                LockFile(path.with_name(f"{path.name}.main"))
                if room is None
                else DirectoryLock(room)
            )
        except OSError:
            self._turn.close()
            raise
        self._mutex = threading.Lock()
        self._place: _Place | None = None
        self._is_closed = False

    def take(self, patience_s: float) -> bool:
        """Take the ticket; False if it was not our turn within `patience_s`.

        After False the place in the line is kept: the next call goes on waiting there.

        Raises:
            OSError: The lock files fail.
        """
        place = self._enter_line()
        if place is None:
            return True
        place.arrived.wait(patience_s)
        with self._mutex:
            if place.error is not None:
                self._place = None
                raise place.error
            if place.arrived.is_set():
                self._place = None
                return True
            place.is_wanted = False
            return False

    def _enter_line(self) -> _Place | None:
        with self._mutex:
            if self._place is not None:
                self._place.is_wanted = True
                return self._place
            if self._take_now():
                return None
            self._place = place = _Place()
        threading.Thread(
            target=self._stand_in_line, args=(place,), name="federlib-ticket", daemon=True
        ).start()
        return place

    def _take_now(self) -> bool:
        if not self._turn.try_take():
            return False
        try:
            return self._main.try_take()
        finally:
            self._turn.release()

    def _stand_in_line(self, place: _Place) -> None:
        try:
            self._turn.take()
            try:
                self._main.take()
            finally:
                self._turn.release()
        except OSError as error:
            place.error = error
        with self._mutex:
            if place.is_wanted:
                place.arrived.set()
                return
            # Nobody waits any more: let the next one in.
            self._place = None
            if place.error is None:
                self._main.release()
            if self._is_closed:
                self._close_files()

    def release(self) -> None:
        """Give the ticket back; nothing happens where we have none.

        So it may follow a `take` of which nobody knows how it went, after Ctrl-C.
        """
        with self._mutex:
            place = self._place
            if place is not None:
                # A thread of ours stands in line, and lets go by itself once it is there.
                place.is_wanted = False
                if not place.arrived.is_set():
                    return
                self._place = None
            self._main.release()

    def close(self) -> None:
        """Leave the line and close the files; not while the ticket is held."""
        with self._mutex:
            self._is_closed = True
            # A thread that still stands in line needs the files; it closes them itself.
            if self._place is None:
                self._close_files()

    def _close_files(self) -> None:
        self._turn.close()
        self._main.close()
