"""What processes that share a file store must know of one another, beside its files.

Whose turn it is to write, and up to which revision what was written is durable: a commit
that lies in the journal and is not yet synced must not be seen by anybody.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["Alone", "Turn"]


class Turn(Protocol):
    """The ways in which processes on one store meet. Thread-safe but for `take`.

    Attributes:
        names_version: As of the last `check`; another one says that a file of the journal
            may have been made, removed or replaced. Not for what happens within some
            milliseconds of the making of a segment.
    """

    names_version: int

    def take(self, patience_s: float) -> bool:
        """Wait for the turn to write; False if it did not come in time.

        After False the place in the line is kept. One thread at a time.

        Raises:
            OSError: The locks fail.
        """
        ...

    def release(self) -> None:
        """End the turn; the end of the process ends it, too."""
        ...

    def published(self) -> int | None:
        """Return the last revision that is durable; None where nobody has said, or it is torn.

        What it says before the first `publish` since the machine's start means nothing.
        """
        ...

    def publish(self, revision: int) -> None:
        """Say that everything up to a revision is durable; only in one's turn."""
        ...

    def take_records(self) -> bool:
        """Take the right to write states and record files; False if somebody has it."""
        ...

    def release_records(self) -> None:
        """Give that right back."""
        ...

    def check(self) -> str | None:
        """Say what is there instead of the store that was opened; None if it still is."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Alone:
    """For a store that one engine of one process uses, such as on a simulated disk."""

    def __init__(self) -> None:
        self.names_version = 0
        self._published: int | None = None
        self._records = threading.Lock()

    def take(self, patience_s: float) -> bool:  # noqa: ARG002 (nobody to wait for)
        """Always our turn."""
        return True

    def release(self) -> None:
        """Nobody waits."""

    def published(self) -> int | None:
        """Return what was published last."""
        return self._published

    def publish(self, revision: int) -> None:
        """Remember it."""
        self._published = revision

    def take_records(self) -> bool:
        """Take the right, from another thread of ours."""
        return self._records.acquire(blocking=False)

    def release_records(self) -> None:
        """Give it back."""
        self._records.release()

    def check(self) -> str | None:
        """Nobody else is there to replace the store."""
        return None

    def close(self) -> None:
        """Nothing is open."""
