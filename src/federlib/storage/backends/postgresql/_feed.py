"""What the watching thread of a PostgreSQL store asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from federlib.storage.backends.postgresql._link import now_s
from federlib.storage.backends.postgresql._links import Listener
from federlib.storage.protocol import Batch

__all__ = ["PostgresFeed"]


class PostgresFeed:
    """Woken by a notice after each commit; a notice that got lost costs `max_pause_s`.

    Attributes:
        read_revision: The engine's.
        read_changes: The engine's.
        max_pause_s: How long to sleep between two looks, at most; seconds.
    """

    max_pause_s: float = 1.0

    def __init__(
        self,
        listener: Listener,
        channel: str,
        wake: Callable[[], None],
        read_revision: Callable[[], int],
        read_changes: Callable[[int, int], Sequence[Batch] | None],
    ) -> None:
        self.read_revision: Callable[[], int] = read_revision
        self.read_changes: Callable[[int, int], Sequence[Batch] | None] = read_changes
        self._listener = listener
        self._wake = wake
        self._is_told = True
        self._look_at_s = 0.0
        self._hearing = listener.add(channel, self._hear)

    def _hear(self) -> None:
        self._is_told = True
        self._wake()

    def has_news(self) -> bool:
        """Say whether we were told of a commit, or heard nothing for so long that we look."""
        now = now_s()
        if not self._is_told and now < self._look_at_s:
            return False
        self._is_told, self._look_at_s = False, now + self.max_pause_s
        return True

    def close(self) -> None:
        """Listen no more."""
        self._listener.drop(self._hearing)
