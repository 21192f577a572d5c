"""Watching a store: one thread per open store asks, everybody hears.

Neither SQLite nor a file can notify another process, but either says in microseconds whether
anybody has committed. A daemon thread asks through a feed of its own: 1 ms after activity,
then more and more rarely down to every 50 ms. A server tells its feed, which wakes the thread;
then it asks rarely, in case that word got lost. It reads each new commit once and hands it to
the inbox of every subscription. What this process commits itself need not be read: the
committing thread hands it out, unless something that was not read yet lies before it.

The committing thread may be struck by Ctrl-C between any two instructions. So the position
moves on last: what was not handed out whole is read, and an inbox that has it takes it once.

An inbox is bounded. History from before the subscription is not put there: the subscriber
reads it from the log at its own pace.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence

from federlib._pace import Bell
from federlib.errors import FederlibError, Unavailable
from federlib.storage.backends._blocking.engine import Engine, Feed
from federlib.storage.protocol import MAX_BEHIND, Batch, Resync

__all__ = ["CHUNK", "Inbox", "Watcher", "narrow"]

CHUNK = 256
"""Commits read from the log at once."""

_MIN_PAUSE_S = 0.001
_PAUSE_GROWTH = 1.5
_STRIDE_S = 0.002
_ANSWER_S = 0.005
"""After a commit of ours the thread does not sleep longer: another process may answer."""
_PAUSE_AFTER_ERROR_S = 0.5
_MAX_BEHIND_BYTES = 64 * 1024 * 1024


def narrow(batch: Batch, prefix: str) -> Batch | None:
    """Keep the events under `prefix`; None if there are none."""
    events = tuple(event for event in batch.events if event.key.startswith(prefix))
    if len(events) == len(batch.events):
        return batch if events else None
    return Batch(batch.revision, events) if events else None


class Inbox:
    """What one subscription has not taken yet. All fields belong to the watcher's mutex.

    Attributes:
        prefix: Only events under it are kept.
        floor: Only commits after this revision are kept.
        batches: In revision order.
        is_lost: Something was missed; nothing is kept until the subscriber knows.
        error: To be raised once the batches are taken.
        wake: Tells the subscriber's event loop, from any thread, without blocking.
    """

    def __init__(self, prefix: str, *, floor: int, is_lost: bool, wake: Callable[[], None]) -> None:
        self.prefix = prefix
        self.floor: int = floor
        self.batches: deque[Batch] = deque()
        self.size_bytes: int = 0
        self.is_lost: bool = is_lost
        self.error: FederlibError | None = None
        self.wake = wake

    def put(self, batch: Batch) -> None:
        """Keep what lies under the prefix, or note that something was missed."""
        newest = self.batches[-1].revision if self.batches else self.floor
        if batch.revision <= newest or self.is_lost:
            return
        narrowed = narrow(batch, self.prefix)
        if narrowed is None:
            return
        self.size_bytes += _size(narrowed)
        self.batches.append(narrowed)
        if len(self.batches) > MAX_BEHIND or self.size_bytes > _MAX_BEHIND_BYTES:
            self.lose()

    def lose(self) -> None:
        """Forget everything: the subscriber must scan again."""
        self.is_lost = True
        self.batches.clear()
        self.size_bytes = 0

    def take(self) -> Batch | None:
        """Take the next batch."""
        if not self.batches:
            return None
        self.floor = self.batches[0].revision
        batch = self.batches.popleft()
        self.size_bytes -= _size(batch)
        return batch


def _size(batch: Batch) -> int:
    return sum(len(event.record.value) for event in batch.events if event.record is not None)


class Watcher:
    """The thread of one open store, and the inboxes that it fills."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._inboxes: list[Inbox] = []
        self._position = 0
        self._nudged = Bell()
        self._stopped = threading.Event()
        self._is_stopping = False
        self._pause_s = _MIN_PAUSE_S
        self._thread: threading.Thread | None = None

    def subscribe(
        self, prefix: str, *, after: int, head: int, wake: Callable[[], None]
    ) -> tuple[Inbox, int]:
        """Add an inbox; returns it and the revision up to which the log must be read.

        The subscriber has everything up to `after`; `head` is the store's revision, read
        just now; `wake` is called from the watcher's thread, and from those that commit, and
        must not block.

        Raises:
            Unavailable: The store is being closed.
        """
        with self._mutex:
            if self._is_stopping:
                raise self._closed()
            if not self._inboxes:
                # Nobody listened, so the thread did not follow; nothing is owed to anyone.
                self._position = max(self._position, head)
            # A revision that the store has not reached is of another history: scan again.
            inbox = Inbox(prefix, floor=max(self._position, after), is_lost=after > head, wake=wake)
            self._inboxes.append(inbox)
            self._start()
            position = self._position
        self._nudged.ring()
        return inbox, position

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="federlib-watch", daemon=True)
            self._thread.start()

    def unsubscribe(self, inbox: Inbox) -> None:
        """Drop an inbox; the thread sleeps when there is none."""
        with self._mutex:
            self._inboxes.remove(inbox)

    def committed(self, batch: Batch) -> None:
        """Tell of a commit of this process, in the thread that made it."""
        if not self._inboxes:
            return
        with self._mutex:
            is_next = batch.revision == self._position + 1
            if is_next:
                self._hand_out((batch,))
        # Somebody may answer from another process: look out for it.
        if not is_next or self._pause_s > _ANSWER_S:
            self._nudged.ring()

    def take(self, inbox: Inbox) -> Batch | Resync | int:
        """Take the next item; an `int` says that there is none up to that revision.

        Raises:
            FederlibError: The store cannot be read.
        """
        with self._mutex:
            if inbox.is_lost:
                inbox.is_lost = False
                inbox.floor = self._position
                return Resync(self._position)
            batch = inbox.take()
            if batch is not None:
                return batch
            if inbox.error is not None:
                error = inbox.error
                # Only 'unavailable' can pass; a store that was closed is said again.
                if isinstance(error, Unavailable) and not self._is_stopping:
                    inbox.error = None
                raise error
            return self._position

    def lose(self, inbox: Inbox) -> None:
        """Note that history which the subscriber needed is gone."""
        with self._mutex:
            inbox.lose()

    def stop(self, patience_s: float) -> None:
        """End the thread and every subscription; a second call does nothing."""
        with self._mutex:
            # Whoever subscribes from now on is refused, so no thread starts behind our back.
            self._is_stopping = True
            thread = self._thread
        self._stopped.set()
        self._nudged.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience_s)
        self._fail(self._closed())

    def _closed(self) -> Unavailable:
        return Unavailable(self._engine.where, "it was closed by this process")

    def _follow(self) -> None:
        feed: Feed | None = None
        while not self._is_stopping:
            try:
                self._engine.check_usable()
                if feed is None:
                    feed = self._engine.open_feed(self._nudged.ring)
                if feed.has_news() and self._catch_up(feed):
                    self._pause_s = _MIN_PAUSE_S
                    # Who commits in a row is followed in strides: a look at each commit
                    # would take the interpreter from the one who commits.
                    self._stopped.wait(_STRIDE_S)
                else:
                    self._pause_s = min(self._pause_s * _PAUSE_GROWTH, feed.max_pause_s)
            except FederlibError as error:
                if feed is not None:
                    feed.close()
                    feed = None
                self._fail(error)
                self._pause_s = _PAUSE_AFTER_ERROR_S
            if self._pause():
                self._pause_s = _STRIDE_S
        if feed is not None:
            feed.close()

    def _pause(self) -> bool:
        return self._nudged.wait(self._pause_s if self._inboxes else math.inf)

    def _catch_up(self, feed: Feed) -> bool:
        """Read what is new; say whether there was anything that nobody had handed out."""
        has_read = False
        while not self._is_stopping:
            position = self._position
            batches = feed.read_changes(position, CHUNK)
            head = feed.read_revision() if batches is None else position
            with self._mutex:
                if self._position != position:
                    continue
                if batches is None:
                    self._skip_to(head)
                elif batches:
                    self._hand_out(batches)
                else:
                    break
                has_read = True
        return has_read

    def _skip_to(self, head: int) -> None:
        self._position = head
        for inbox in self._inboxes:
            inbox.lose()
            inbox.wake()

    def _hand_out(self, batches: Sequence[Batch]) -> None:
        for inbox in self._inboxes:
            for batch in batches:
                inbox.put(batch)
            if inbox.batches or inbox.is_lost:
                inbox.wake()
        self._position = batches[-1].revision

    def _fail(self, error: FederlibError) -> None:
        with self._mutex:
            for inbox in self._inboxes:
                inbox.error = error
                inbox.wake()
