"""What the watching thread of a file store asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from federlib.storage.backends._embedded import MAX_PAUSE_S
from federlib.storage.protocol import Batch

__all__ = ["FileFeed"]


@attrs.define
class FileFeed:
    """The engine itself answers: it follows the journal once for the whole process.

    Attributes:
        read_revision: The engine's.
        read_changes: The engine's.
        max_pause_s: How long to sleep between two looks, at most; seconds.
    """

    read_revision: Callable[[], int]
    read_changes: Callable[[int, int], Sequence[Batch] | None]
    max_pause_s: float = MAX_PAUSE_S
    _seen: int = attrs.field(init=False, default=-1)

    def has_news(self) -> bool:
        """Say whether anybody committed since the last call."""
        revision = self.read_revision()
        if revision == self._seen:
            return False
        self._seen = revision
        return True

    def close(self) -> None:
        """Nothing is open."""
