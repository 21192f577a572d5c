"""What a driver is at heart: synchronous, thread-safe, blocking.

`EngineStore` makes a `RecordStore` of an engine by calling it in threads; a blocking caller
uses the engine as it is. Arguments are legal already: whoever calls has checked them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.protocol import (
    Batch,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    StoreProblem,
)

__all__ = ["Engine", "Feed"]


class Feed(Protocol):
    """What one watching thread asks; used by that thread alone.

    Every verb raises `FederlibError` where the store cannot be read; the feed is then of
    no more use but to be closed.

    Attributes:
        max_pause_s: How long the thread may sleep between two looks while it is not woken;
            seconds.
    """

    max_pause_s: float

    def has_news(self) -> bool:
        """Say, in microseconds, whether anybody committed since the last call.

        True on the first call; it may be true without need, never false by mistake.
        """
        ...

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Read commits after a revision; None where history no longer has them."""
        ...

    def read_revision(self) -> int:
        """Read the store's revision."""
        ...

    def close(self) -> None:
        """Let go of what it opened."""
        ...


class Engine(Protocol):
    """One open store. Thread-safe; every verb blocks and raises `FederlibError` only.

    Attributes:
        where: How errors call this store.
        committers: How many threads may commit at once.
    """

    where: str
    committers: int

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        ...

    def get(self, key: str) -> Record | None:
        """Read one record; linearizable."""
        ...

    def scan(self, prefix: str, after: str | None, limit: int) -> Page:
        """Read one page, as one snapshot."""
        ...

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Look for a receipt."""
        ...

    def read_revision(self) -> int:
        """Read the store's revision."""
        ...

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Read up to `limit` commits after a revision; None where history lacks them."""
        ...

    def open_feed(self, wake: Callable[[], None]) -> Feed:
        """Open what a watching thread asks; the caller closes it.

        Args:
            wake: An engine that is told of commits calls it, from any thread, to have the
                watching thread look at once.
        """
        ...

    def listen(self, hear: Callable[[Batch], None]) -> None:
        """Have one listener called with every commit that takes effect, in its own thread.

        Of commits by several threads it may hear the later one first.
        """
        ...

    def expect(self, attempt: Attempt) -> None:
        """Hear that `run` will be called with this attempt, from another thread, and soon.

        An engine that commits several at once takes those along that it expects.
        """
        ...

    def run(self, attempt: Attempt) -> None:
        """Commit, and leave the answer or the error in the attempt. Never raises."""
        ...

    def commit(self, attempt: Attempt) -> Committed | Conflicted:
        """Commit the transaction of an attempt, unless it is abandoned on the way.

        Raises:
            Unavailable: Nothing was sent; see also its subclasses.
            OutcomeUnknown: It was sent, and the answer was an error that may be too late.
            CorruptRecord: The store is no longer the one that was opened.
            InvalidInput: The id was used for another transaction.
        """
        ...

    def check_usable(self) -> None:
        """Raise unless this process opened the store, and it is still the same.

        Raises:
            Fenced: This process is a fork of the one that opened it.
            Unavailable: It was closed.
            CorruptRecord: It was deleted or replaced.
        """
        ...

    def check(self) -> Sequence[StoreProblem]:
        """Read everything that is stored, and return what is wrong; repairs nothing."""
        ...

    def close(self, patience_s: float) -> None:
        """Let go of everything; what is busy is let go of when it is done.

        Args:
            patience_s: How long to wait for a commit on its way; seconds.
        """
        ...
