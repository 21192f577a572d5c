"""What an engine that commits one at a time does around it: who is next, and the end."""

from __future__ import annotations

from abc import abstractmethod

from federlib.storage.backends._blocking.commit_line import Attempt, CommitLine
from federlib.storage.backends._blocking.opened import OpenedEngine
from federlib.storage.protocol import Batch, Committed, Conflicted

__all__ = ["CommittingEngine", "Outcome"]

Outcome = tuple[Committed | Conflicted, Batch | None]
"""The answer, and what was written; nothing if this very call wrote nothing."""


class CommittingEngine(OpenedEngine):
    """One open store that lets one commit in at a time. Thread-safe; every verb blocks.

    Attributes:
        where: How errors call this store.
        committers: More than one would only wait for each other.
    """

    committers: int = 1

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self._line = CommitLine()

    @abstractmethod
    def check_usable(self) -> None:
        """Raise unless this process opened the store, and it is still the same."""

    @abstractmethod
    def _commit_in_turn(self, attempt: Attempt) -> Outcome:
        """Commit; nobody else in this process does meanwhile. Raises `FederlibError`."""

    @abstractmethod
    def _let_go(self) -> None:
        """Let go of what commits need; nobody commits any more. Called once."""

    def commit(self, attempt: Attempt) -> Committed | Conflicted:
        """Commit the transaction of an attempt, unless it is abandoned on the way.

        Raises:
            Unavailable: Nothing was sent; see also its subclasses.
            OutcomeUnknown: It was sent, and the answer was an error that may be too late.
            CorruptRecord: The store is no longer the one that was opened.
            InvalidInput: The id was used for another transaction.
        """
        self._check_open()
        try:
            if not self._line.enter(attempt):
                self.check_usable()
                raise self._gave_up()
            try:
                outcome, batch = self._commit_in_turn(attempt)
            finally:
                self._line.leave()
                if self._is_closed:
                    self._shut(0.0)
        finally:
            # Also where Ctrl-C struck between our place in line and the block that ends it.
            attempt.is_over = True
        if batch is not None:
            self._hear(batch)
        return outcome

    def _shut(self, patience_s: float) -> None:
        """Let nobody commit any more; what is busy is let go of when it is done."""
        if self._line.shut(patience_s):
            self._let_go()
