"""What the watching thread of an etcd store asks: a stream that another thread collects.

The stream begins where the watching thread is, so the server sends what it has missed, too.
One that breaks is opened anew, at the next endpoint, from the last whole commit.

A peer that dies without a word leaves a stream that is silent for ever, and one that is cut
off from the others goes on without news. So in silence the tick is read every now and then:
a stream that does not bring what the cluster has is given up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from federlib.errors import FederlibError, Unavailable
from federlib.storage.backends.etcd._errors import Compacted, Refusal, Unusable
from federlib.storage.backends.etcd._events import Assembler, Gap
from federlib.storage.backends.etcd._history import Source, follow, open_watch, size_of
from federlib.storage.backends.etcd._transport import LineStream, now_s
from federlib.storage.protocol import Batch

__all__ = ["EtcdFeed"]

_LOOK_EVERY_S = 2.0
_LOOK_PATIENCE_S = 2.0
_MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Beyond it the stream is not read on; etcd keeps what follows."""

_STEADY_S = 1.0
_MAX_BREAKS = 3
"""In a row, of streams that brought nothing and lasted for less than `_STEADY_S`."""

_JOIN_S = 5.0


class _Collector:
    """One stream, and the thread that reads it.

    Attributes:
        position: Every commit up to this revision has come.
        after: Where the stream began.
        endpoint: Who sends it.
        opened_s: When it was opened.
    """

    def __init__(self, source: Source, wake: Callable[[], None], *, after: int) -> None:
        self.after: int = after
        self._source = source
        self._wake = wake
        self._assembler = Assembler(source.place, after=after)
        self._stream: LineStream = open_watch(source, after)
        self.endpoint: int = self._stream.endpoint
        self.opened_s: float = now_s()
        self._mutex = threading.Lock()
        self._room = threading.Condition(self._mutex)
        self._batches: deque[Batch] = deque()
        self._size = 0
        self._is_stopped = False
        self._end: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="federlib-etcd-watch", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """Every commit up to this revision has come."""
        return self._assembler.position

    @property
    def has_something(self) -> bool:
        """There is a commit, or the end."""
        return bool(self._batches) or self._end is not None

    def _read(self) -> None:
        try:
            for message in follow(self._stream, self._source.place.where):
                for batch in self._assembler.take(message.events):
                    self._put(batch)
                if self._batches:
                    self._wake()
        except (Compacted, Gap, Unusable, FederlibError) as error:
            self._end = error
        except Exception as error:
            # A bug of ours must not leave subscribers waiting for ever.
            self._end = Unavailable(self._source.place.where, f"its watch failed: {error!r}")
        finally:
            self._source.client.release(self._stream)
            self._wake()

    def _put(self, batch: Batch) -> None:
        with self._mutex:
            self._room.wait_for(lambda: self._size < _MAX_WAITING_BYTES or self._is_stopped)
            self._batches.append(batch)
            self._size += size_of(batch)

    def take(self, after: int, limit: int) -> list[Batch]:
        """Take what has come after a revision.

        Raises:
            Compacted, Gap, Unusable, FederlibError: Nothing is left, and nothing more comes.
        """
        taken: list[Batch] = []
        with self._mutex:
            while self._batches and len(taken) < limit:
                batch = self._batches.popleft()
                self._size -= size_of(batch)
                if batch.revision > after:
                    taken.append(batch)
            self._room.notify_all()
            if not taken and self._end is not None:
                raise self._end
        return taken

    def stop(self) -> None:
        """End the thread and its connection."""
        with self._mutex:
            self._is_stopped = True
            self._room.notify_all()
        self._stream.abort()
        self._thread.join(_JOIN_S)


class EtcdFeed:
    """Tells the watching thread of commits; see `Feed`."""

    max_pause_s: float = 1.0

    def __init__(self, source: Source, wake: Callable[[], None]) -> None:
        """Prepare; the stream is opened when it is known from where on."""
        self._source = source
        self._wake = wake
        self._collector: _Collector | None = None
        self._breaks = 0
        self._looked_s = now_s()
        self._owed = 0

    def has_news(self) -> bool:
        """Say whether anything has come; in silence, sometimes, ask the cluster itself."""
        collector = self._collector
        if collector is None or collector.has_something:
            return True
        if now_s() - self._looked_s < _LOOK_EVERY_S:
            return False
        owed, self._owed = self._owed, self._source.read_revision(patience_s=_LOOK_PATIENCE_S)
        self._looked_s = now_s()
        if collector.position < owed:
            # It was there at the last look already, and has not come since.
            self._source.client.distrust(collector.endpoint)
            self._drop()
            return True
        return False

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Take commits after a revision as they came; None where history lacks them."""
        collector = self._collector
        if collector is None or after < collector.after:
            collector = self._open(after)
            if self._owed < after:
                # Restored from a backup: what comes next is another history.
                self._drop()
                return None
        try:
            taken = collector.take(after, limit)
        except (Compacted, Gap):
            self._drop()
            return None
        except Refusal as error:
            self._drop()
            if error.is_everywhere:
                raise error.translate(self._source.place.where) from error
            return self._go_on(error, collector)
        except Unusable as error:
            self._drop()
            return self._go_on(error, collector)
        if not taken:
            return taken
        self._breaks = 0
        self._looked_s = now_s()
        is_first = taken[0].revision == collector.after + 1
        if is_first and not self._source.is_kept(collector.after):
            self._drop()
            return None
        return taken

    def _open(self, after: int) -> _Collector:
        self._drop()
        # Whoever answers this knows the cluster; and it is still the store that was opened.
        self._owed = self._source.read_revision()
        self._looked_s = now_s()
        self._collector = _Collector(self._source, self._wake, after=after)
        return self._collector

    def _go_on(self, error: Unusable, collector: _Collector) -> Sequence[Batch]:
        """Have the stream opened anew at the next look, unless that leads nowhere."""
        # One that lasted may well have been ended by a proxy, for it was silent.
        is_quick = now_s() - collector.opened_s < _STEADY_S
        self._breaks = self._breaks + 1 if is_quick else 0
        if self._breaks >= _MAX_BREAKS:
            raise Unavailable(self._source.place.where, error.reason) from error
        self._wake()
        return []

    def _drop(self) -> None:
        collector, self._collector = self._collector, None
        if collector is not None:
            collector.stop()

    def read_revision(self) -> int:
        """Read the store's revision."""
        return self._source.read_revision()

    def close(self) -> None:
        """End the stream and its thread."""
        self._drop()
