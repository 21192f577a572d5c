"""One watch for all who wait or watch in this process, and the thread that reads it.

Each one that waits is kept in mind as it stood when it last asked: who was ahead of it, and
whether the lease was held. What happened since, the stream tells. So a release wakes
whoever is next, and nobody else asks anything.

It is a hint. Who waits asks again every now and then, whatever the stream says, and one that
was told nothing of what it then finds has the stream opened anew, at another endpoint.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import attrs

from federlib.errors import FederlibError
from federlib.lease.backends.etcd._claim import Standing
from federlib.lease.backends.etcd._records import Keys, Names
from federlib.lease.backends.etcd._verbs import GRACE_NS
from federlib.skewclock import Clock
from federlib.storage.backends._blocking.site import Alarm
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._engine import EtcdEngine
from federlib.storage.backends.etcd._errors import Compacted
from federlib.storage.backends.etcd._history import follow
from federlib.storage.backends.etcd._transport import LineStream, now_s

__all__ = ["Stream", "Turn"]

_MAX_LOG = 4_096
_MIN_PAUSE_S, _MAX_PAUSE_S = 0.05, 2.0
_IDLE_S = 10.0
_JOIN_S = 5.0


@attrs.frozen
class _Event:
    key: bytes
    revision: int
    is_delete: bool


class Turn:
    """One that waits for its turn or, without a standing, for whatever happens to a name.

    Attributes:
        keys: Of the name.
        alarm: Rung when there is news for it.
    """

    def __init__(self, keys: Keys, alarm: Alarm) -> None:
        self.keys: Keys = keys
        self.alarm: Alarm = alarm
        self.is_due: bool = False
        self.since: int = 0
        self._ahead: frozenset[bytes] | None = None
        self._free_since: int | None = None

    def stand(self, standing: Standing) -> None:
        """Hear how it stood when it last asked."""
        self.is_due = False
        self.since = standing.revision
        self._ahead = standing.ahead
        self._free_since = standing.free_since_boot_ns

    def differs(self, standing: Standing) -> bool:
        """Say whether an answer shows what no event has told."""
        is_free = standing.free_since_boot_ns is not None
        return self._ahead != standing.ahead or (is_free and self._free_since is None)

    def take_due_ns(self, now_boot_ns: int) -> int | None:
        """Say in how many nanoseconds it should ask; None where only news can tell.

        Told that it is due, it is not told so again before there is more news.
        """
        if self.is_due:
            self.is_due = False
            self._free_since = None
            return 0
        if self._free_since is None or self._ahead is None:
            return None
        left_ns = self._free_since + len(self._ahead) * GRACE_NS - now_boot_ns
        if left_ns <= 0:
            self._free_since = None
            return 0
        return left_ns

    def hear(self, event: _Event, boot_ns: int) -> None:
        """Take in one event of its name."""
        if event.revision <= self.since:
            return
        if self._ahead is None:
            self.miss()
            return
        was_free = self._free_since is not None
        if event.key == self.keys.held:
            self._free_since = boot_ns if event.is_delete else None
        elif event.is_delete:
            self._ahead -= {event.key}
        if self._free_since is not None:
            if not self._ahead:
                self.miss()
            elif not was_free:
                # It is to look how long those ahead may take.
                self.alarm.ring()

    def miss(self) -> None:
        """Be due: it is its turn, or that cannot be known."""
        self.is_due = True
        self.alarm.ring()


class Stream:
    """The watch of one process; opened when somebody needs it, closed when nobody does.

    Args:
        engine: Of the store.
        names: The keys of its leases.
        clock: Of this process.
        saw_free: Called when a name that is waited for becomes free.
    """

    def __init__(
        self,
        engine: EtcdEngine,
        names: Names,
        clock: Clock,
        saw_free: Callable[[Keys, int], None],
    ) -> None:
        self._engine = engine
        self._names = names
        self._clock = clock
        self._saw_free = saw_free
        self._mutex = threading.Lock()
        self._turns: dict[bytes, list[Turn]] = {}
        self._log: deque[_Event] = deque()
        self._known_from = 0
        self._position = 0
        self._open: LineStream | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._idle_since_s = 0.0

    def add(self, keys: Keys, alarm: Alarm, standing: Standing | None) -> Turn:
        """Tell one of what happens to a name, from where it stood on."""
        turn = Turn(keys, alarm)
        with self._mutex:
            self._turns.setdefault(keys.now, []).append(turn)
            if self._thread is None and not self._closed.is_set():
                self._log.clear()
                self._known_from = self._position = 0 if standing is None else standing.revision
                self._thread = threading.Thread(
                    target=self._run, name="federlib-etcd-turns", daemon=True
                )
                self._thread.start()
            if standing is None:
                # Of what happened until the stream is open it is told then.
                turn.since = self._position
        if standing is not None:
            self.stand(turn, standing)
        return turn

    def stand(self, turn: Turn, standing: Standing) -> None:
        """Hear how one stood when it last asked; what is known to have happened since counts."""
        with self._mutex:
            turn.stand(standing)
            if turn.since < self._known_from:
                turn.miss()
            boot_ns = self._clock.boot_ns()
            for event in self._log:
                if event.key.startswith(turn.keys.now):
                    turn.hear(event, boot_ns)

    def drop(self, turn: Turn) -> None:
        """Tell it no more."""
        with self._mutex:
            turns = self._turns.get(turn.keys.now, [])
            if turn in turns:
                turns.remove(turn)
            if not turns:
                self._turns.pop(turn.keys.now, None)
            if not self._turns:
                self._idle_since_s = now_s()

    @property
    def position(self) -> int:
        """Everything up to this revision of etcd was told."""
        return self._position

    def suspect(self) -> None:
        """Hear that it did not tell what it should have."""
        with self._mutex:
            stream = self._open
        if stream is not None:
            self._engine.client.distrust(stream.endpoint)
            stream.abort()

    def close(self) -> None:
        """End the thread and its connection."""
        self._closed.set()
        with self._mutex:
            stream, thread = self._open, self._thread
        if stream is not None:
            stream.abort()
        if thread is not None:
            thread.join(_JOIN_S)

    def _run(self) -> None:
        pause_s = _MIN_PAUSE_S
        while not self._ends():
            opened_s = now_s()
            try:
                self._follow()
            except Compacted:
                self._position = 0
            except Exception:
                # Whatever it is, a bug of ours too: who waits asks again all the same.
                pause_s = _MIN_PAUSE_S if now_s() - opened_s > _MAX_PAUSE_S else pause_s
                self._closed.wait(pause_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _ends(self) -> bool:
        """Say whether nobody has needed it for a while; then another thread may begin."""
        with self._mutex:
            is_idle = not self._turns and now_s() - self._idle_since_s > _IDLE_S
            if is_idle or self._closed.is_set() or not self._is_usable():
                self._thread = None
                return True
            return False

    def _is_usable(self) -> bool:
        try:
            self._engine.check_usable()
        except FederlibError:
            return False
        return True

    def _follow(self) -> None:
        """Read one stream until it breaks, or nobody needs it."""
        client, start = self._engine.client, self._position + 1 if self._position else 0
        body = wire.watch(self._names.now, self._names.end, start_revision=start)
        stream = client.stream(wire.WATCH, body)
        try:
            with self._mutex:
                self._open = stream
            if self._closed.is_set():
                return
            for message in follow(stream, self._engine.where):
                if message.created and not start:
                    self._begin(message.header.revision)
                self._take(message.events)
                if not self._turns and now_s() - self._idle_since_s > _IDLE_S:
                    return
        finally:
            with self._mutex:
                self._open = None
            client.release(stream)

    def _begin(self, revision: int) -> None:
        """Know everything from a revision on, and nothing of what was before."""
        with self._mutex:
            self._log.clear()
            self._known_from = self._position = revision
            for turn in self._every():
                if turn.since < revision:
                    turn.miss()

    def _every(self) -> list[Turn]:
        return [turn for turns in self._turns.values() for turn in turns]

    def _take(self, events: Sequence[wire.WatchEvent]) -> None:
        with self._mutex:
            boot_ns = self._clock.boot_ns()
            for one in events:
                found = one.kv
                event = _Event(found.key, found.mod_revision, one.type == "DELETE")
                self._position = event.revision
                self._log.append(event)
                if len(self._log) > _MAX_LOG:
                    self._known_from = self._log.popleft().revision
                self._tell(event, boot_ns)

    def _tell(self, event: _Event, boot_ns: int) -> None:
        # No name has a slash in it, as a key: `name/held`, `name/wait/holder`.
        end = event.key.find(b"/", len(self._names.now)) + 1
        turns = self._turns.get(event.key[:end])
        if not turns:
            return
        if event.is_delete and event.key == turns[0].keys.held:
            self._saw_free(turns[0].keys, event.revision)
        for turn in turns:
            turn.hear(event, boot_ns)
