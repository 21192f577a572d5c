"""From a watch's events to whole commits: each ends with its tick."""

from __future__ import annotations

from collections.abc import Iterator

from federlib.storage.backends.etcd._commits import is_same_store, other_store
from federlib.storage.backends.etcd._keys import Place
from federlib.storage.backends.etcd._wire import KeyValue, WatchEvent
from federlib.storage.protocol import Batch, Event

__all__ = ["Assembler", "Gap"]


class Gap(Exception):  # noqa: N818 (never leaves the driver)
    """Ticks are missing: so are commits."""


class Assembler:
    """Puts together what a watch tells in pieces; for one stream, from one revision on.

    Attributes:
        position: Every commit up to this revision was given; the store's own.
    """

    def __init__(self, place: Place, *, after: int) -> None:
        self.position: int = after
        self._place = place
        self._events: list[Event] = []
        self._mod_revision = 0
        self._ticks: int | None = None

    def take(self, events: tuple[WatchEvent, ...]) -> Iterator[Batch]:
        """Take in events; give the commits that are whole with them.

        Raises:
            Gap: The history has a hole.
            CorruptRecord: The store is no longer the one that was opened.
        """
        layout = self._place.layout
        for event in events:
            found = event.kv
            if found.mod_revision != self._mod_revision:
                # Somebody else's tool wrote to our keys, without a tick: tell of it, too.
                yield from self._finish()
                self._mod_revision = found.mod_revision
            if found.key == layout.tick:
                self._count(event)
                yield from self._finish(is_commit=True)
            elif found.key.startswith(layout.users):
                self._events.append(self._read(event))

    def _count(self, event: WatchEvent) -> None:
        if event.type == "DELETE" or self._ticks not in {None, event.kv.version - 1}:
            raise Gap
        self._ticks = event.kv.version

    def _read(self, event: WatchEvent) -> Event:
        place, found = self._place, event.kv
        if found.key == place.layout.meta:
            self._check_meta(event)
        if event.type == "DELETE":
            return Event(place.key(found), None)
        return Event(place.key(found), place.record(found))

    def _check_meta(self, event: WatchEvent) -> None:
        found: tuple[KeyValue, ...] = () if event.type == "DELETE" else (event.kv,)
        if not is_same_store(self._place, found):
            raise other_store(self._place, found)

    def _finish(self, *, is_commit: bool = False) -> Iterator[Batch]:
        revision = self._place.revision(self._mod_revision)
        if (self._events or is_commit) and revision > self.position:
            self._events.sort(key=lambda event: event.key)
            yield Batch(revision, tuple(self._events))
            self.position = revision
        self._events.clear()
