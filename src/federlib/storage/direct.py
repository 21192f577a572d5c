"""A store that a blocking caller reaches without an event loop and without another thread.

`Embedded` says that a store can be used so; `EngineStore` is what every embedded driver
gives. What comes back is a `RecordStore` like any other, so all that is built on the
protocol runs on it unchanged; only its coroutines never suspend: they block.

Source: design §6, `blocking`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from federlib._pace import ThreadPace
from federlib.storage.protocol import RecordStore

__all__ = ["Embedded"]


@runtime_checkable
class Embedded(Protocol):
    """A store that can also answer in the calling thread (optional)."""

    def direct(self, pace: ThreadPace) -> RecordStore:
        """Return the same store, with verbs that block instead of suspending; thread-safe.

        Args:
            pace: Bounds how long they block.
        """
        ...
