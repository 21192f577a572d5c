"""What every open engine is, however it commits: of this process, open, and with one listener."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable

from federlib.errors import Fenced, Unavailable
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.protocol import Batch, Committed, Conflicted

__all__ = ["OpenedEngine"]


def _ignore(_batch: Batch) -> None:
    """Tell nobody."""


class OpenedEngine(ABC):
    """One open store. Thread-safe; every verb blocks.

    Attributes:
        where: How errors call this store.
    """

    def __init__(self, where: str) -> None:
        self.where: str = where
        self._pid = os.getpid()
        self._is_closed = False
        self._hear: Callable[[Batch], None] = _ignore

    @abstractmethod
    def commit(self, attempt: Attempt) -> Committed | Conflicted:
        """Commit the transaction of an attempt, unless it is abandoned on the way."""

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise Fenced(self.where, reason="it was opened before this process was forked")
        if self._is_closed:
            raise Unavailable(self.where, "it was closed by this process")

    def _gave_up(self) -> Unavailable:
        return Unavailable(
            self.where,
            "other writers kept it busy until the caller gave up; nothing was sent",
            hint="retry",
        )

    def listen(self, hear: Callable[[Batch], None]) -> None:
        """Have one listener called with every commit, in the committing thread."""
        self._hear = hear

    def expect(self, attempt: Attempt) -> None:  # noqa: B027 (a default)
        """Prepare nothing: each commit goes alone."""

    def run(self, attempt: Attempt) -> None:
        """Commit, and leave the answer or the error in the attempt. Never raises."""
        try:
            attempt.finish(self.commit(attempt))
        except BaseException as error:
            attempt.finish(error)
