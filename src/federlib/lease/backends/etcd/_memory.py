"""What a process remembers of earlier answers: guesses and observations, never the truth."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

import attrs

from federlib.lease.backends.etcd._picture import Picture

__all__ = ["Memory", "Seen"]

_SIZE = 4_096
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Memory(Generic[_Key, _Value]):
    """The few thousand things that were remembered last. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._kept: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        """Return what is remembered, or None."""
        return self._kept.get(key)

    def __contains__(self, key: _Key) -> bool:
        return key in self._kept

    def __setitem__(self, key: _Key, value: _Value) -> None:
        with self._mutex:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > _SIZE:
                self._kept.popitem(last=False)

    def pop(self, key: _Key) -> None:
        """Forget it."""
        with self._mutex:
            self._kept.pop(key, None)


@attrs.frozen
class Seen:
    """Since when a name has been as it is.

    Attributes:
        revision: etcd's, when that was seen.
        held_revision: When its holder last wrote; 0: it was free.
        boot_ns: When that was first seen; the boot clock of this process.
    """

    revision: int
    held_revision: int
    boot_ns: int

    def is_still(self, found: Picture) -> bool:
        """Say whether nothing happened to the name since."""
        if found.held_revision:
            return self.held_revision == found.held_revision
        # Whoever takes it and gives it back writes the grant.
        return not self.held_revision and found.grant_revision <= self.revision
