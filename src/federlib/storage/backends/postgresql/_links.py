"""The connections of one open store: a few for reading, one kept for leases, one that listens."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Container
from contextlib import suppress
from typing import TypeVar

import psycopg

from federlib.errors import FederlibError, Unavailable
from federlib.storage.backends.postgresql._errors import Severed
from federlib.storage.backends.postgresql._link import Link

__all__ = ["Hearing", "Links", "Listener"]

_T = TypeVar("_T")
_MAX_IDLE = 2
_AGAIN_S = (0.1, 2.0)
_ASK_EVERY_S = 15.0


class Links:
    """Opens connections and lends them to requests, a bounded number at once. Thread-safe.

    Args:
        where: How errors call the store.
        open_link: Connects.
        most: How many may be lent at once.
        patience_s: How long a request waits for one to come back; seconds.
    """

    def __init__(
        self, where: str, open_link: Callable[[], Link], *, most: int, patience_s: float
    ) -> None:
        self._where = where
        self._open = open_link
        self._most = most
        self._patience_s = patience_s
        self._free = threading.BoundedSemaphore(most)
        self._mutex = threading.Lock()
        self._idle: list[Link] = []
        self._is_closed = False

    def use(self, request: Callable[[Link], _T]) -> _T:
        """Answer a request that changes nothing; a connection that ended is replaced once.

        Raises:
            psycopg.Error: The server refused it.
            Unavailable: The server is away, or all connections are lent.
        """
        if not self._free.acquire(timeout=self._patience_s):
            raise Unavailable(
                self._where,
                f"all {self._most} connections were in use for {self._patience_s:g} s",
                hint="raise ?connections=",
            )
        try:
            link = self._take()
            if link is not None:
                try:
                    return self._ask(link, request)
                except Severed:
                    # It lay idle, and died of it.
                    pass
            try:
                return self._ask(self._open(), request)
            except Severed as error:
                raise Unavailable(self._where, str(error)) from error
        finally:
            self._free.release()

    def _ask(self, link: Link, request: Callable[[Link], _T]) -> _T:
        is_sound = False
        try:
            answer = request(link)
            is_sound = True
            return answer
        except psycopg.Error:
            is_sound = True
            raise
        finally:
            self._give_back(link, is_sound=is_sound)

    def _take(self) -> Link | None:
        while True:
            with self._mutex:
                if not self._idle:
                    return None
                link = self._idle.pop()
            if link.is_usable():
                return link
            link.close()

    def _give_back(self, link: Link, *, is_sound: bool) -> None:
        with self._mutex:
            if is_sound and not self._is_closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(link)
                return
        link.close()

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        with self._mutex:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()


class Hearing:
    """One interest in a channel.

    Attributes:
        channel: Which.
        heard: Called in the listening thread on every notice, and whenever some may have
            been missed; must not block.
    """

    def __init__(self, channel: str, heard: Callable[[], None]) -> None:
        self.channel = channel
        self.heard = heard


class Listener:
    """A thread that LISTENs, on a connection of its own. Thread-safe.

    It starts with the first interest. A connection that is lost is opened anew, with growing
    pauses; whoever listens is called then, too.
    """

    def __init__(self, open_link: Callable[[], Link]) -> None:
        self._open = open_link
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._hearings: dict[str, list[Hearing]] = {}
        self._listening: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._rope: socket.socket | None = None

    def add(self, channel: str, heard: Callable[[], None]) -> Hearing:
        """Be told of a channel from about now on; look once yourself after it is called first."""
        hearing = Hearing(channel, heard)
        with self._mutex:
            self._hearings.setdefault(channel, []).append(hearing)
            if self._thread is None and not self._is_closed:
                bell, self._rope = socket.socketpair()
                bell.settimeout(0)
                self._rope.settimeout(0)
                self._thread = threading.Thread(
                    target=self._serve, args=(bell,), name="federlib-listen", daemon=True
                )
                self._thread.start()
        self._pull()
        return hearing

    def drop(self, hearing: Hearing) -> None:
        """Be told no more."""
        with self._mutex:
            others = self._hearings.get(hearing.channel, [])
            if hearing in others:
                others.remove(hearing)
            if not others:
                self._hearings.pop(hearing.channel, None)
        self._pull()

    def close(self, patience_s: float) -> None:
        """End the thread and its connection."""
        if os.getpid() != self._pid:
            return
        with self._mutex:
            self._is_closed = True
            thread = self._thread
        self._pull()
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience_s)

    def _pull(self) -> None:
        with self._mutex, suppress(OSError):
            # Full is fine: it rings already.
            if self._rope is not None:
                self._rope.send(b".")

    def _serve(self, bell: socket.socket) -> None:
        try:
            self._follow(bell)
        finally:
            with self._mutex:
                rope, self._rope = self._rope, None
            bell.close()
            if rope is not None:
                rope.close()

    def _follow(self, bell: socket.socket) -> None:
        pause_s = _AGAIN_S[0]
        while not self._is_closed:
            link: Link | None = None
            try:
                link = self._open()
                self._listening = set()
                self._catch_up(link)
                self._tell(None)
                pause_s = _AGAIN_S[0]
                while not self._is_closed:
                    self._listen(link, bell)
            except (Severed, psycopg.Error, FederlibError, OSError):
                # Whoever reads the store hears why.
                _rest(bell, pause_s)
                pause_s = min(2 * pause_s, _AGAIN_S[1])
            finally:
                if link is not None:
                    link.close()

    def _listen(self, link: Link, bell: socket.socket) -> None:
        poll = select.poll()
        poll.register(link.socket, select.POLLIN)
        poll.register(bell, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(_ASK_EVERY_S * 1_000)]
        if bell.fileno() in ready:
            _hush(bell)
            self._catch_up(link)
        if link.socket in ready:
            channels = link.notices()
            if not channels and not link.is_usable():
                raise Severed("the listening connection ended")
            self._tell(channels)
        if not ready:
            # A peer that vanished without a word is noticed by asking.
            link.ask("SELECT 1")

    def _catch_up(self, link: Link) -> None:
        """LISTEN to what is wanted by now, and to nothing else."""
        with self._mutex:
            wanted = set(self._hearings)
        new = wanted - self._listening
        for channel in sorted(self._listening - wanted):
            link.ask(f'UNLISTEN "{channel}"')
        for channel in sorted(new):
            link.ask(f'LISTEN "{channel}"')
        self._listening = wanted
        if new:
            # What happened before the server heard of our interest.
            self._tell(new)

    def _tell(self, channels: Container[str] | None) -> None:
        with self._mutex:
            hearings = [
                hearing
                for channel, those in self._hearings.items()
                if channels is None or channel in channels
                for hearing in those
            ]
        for hearing in hearings:
            hearing.heard()


def _hush(bell: socket.socket) -> None:
    with suppress(BlockingIOError):
        while bell.recv(4_096):
            pass


def _rest(bell: socket.socket, seconds: float) -> None:
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    poll.poll(seconds * 1_000)
    _hush(bell)
