"""Commits of one process: who is next, and whether it can still be called off.

An `Attempt` is shared by the caller, who may lose patience or be cancelled, and the thread
that works on it. Under one mutex exactly one of two things happens first: the thread sends
it, or the caller abandons it. So 'nothing was sent' is never a guess.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from federlib._pace import Bell
from federlib.storage.protocol import Committed, Conflicted, Transaction

__all__ = ["Attempt", "CommitLine"]

_LOOK_AGAIN_S = 0.1


class Attempt:
    """One commit on its way.

    Attributes:
        transaction: What is to be committed.
        now_ns: Wall clock when it was asked for; Unix nanoseconds.
        is_over: Nobody works on it any more, however its thread came out of it.
    """

    def __init__(
        self,
        transaction: Transaction,
        *,
        now_ns: int,
        is_late: Callable[[], bool] | None = None,
    ) -> None:
        """Prepare a commit.

        Args:
            transaction: What is to be committed.
            now_ns: The wall clock; Unix nanoseconds.
            is_late: Says whether a caller who waits in its own thread has lost patience.
        """
        self.transaction = transaction
        self.now_ns = now_ns
        self.is_over = False
        self._is_late = is_late
        self._mutex = threading.Lock()
        self._state: Literal["waiting", "sent", "abandoned"] = "waiting"
        self._finished = Bell()
        self._result: Committed | Conflicted | BaseException | None = None

    @property
    def is_abandoned(self) -> bool:
        """The caller is gone: the thread must give up."""
        if self._is_late is not None and self._is_late():
            self.abandon()
        return self._state == "abandoned"

    def send(self) -> bool:
        """Say, in the thread, that COMMIT comes next; False if it was abandoned."""
        return self._move_to("sent")

    def abandon(self) -> bool:
        """Call it off; False if it was sent already and may take effect."""
        return self._move_to("abandoned")

    def _move_to(self, state: Literal["sent", "abandoned"]) -> bool:
        with self._mutex:
            if self._state == "waiting":
                self._state = state
            return self._state == state

    def finish(self, result: Committed | Conflicted | BaseException) -> None:
        """Leave the answer, or the error, for the caller."""
        self._result = result
        self._finished.ring()

    def wait(self, timeout_s: float) -> bool:
        """Block until there is an answer; False if there is none in time. For one waiter."""
        return self.has_answer or self._finished.wait(timeout_s)

    @property
    def has_answer(self) -> bool:
        """The thread is done with it."""
        return self._result is not None

    def answer(self) -> Committed | Conflicted:
        """Return the answer, or raise the error."""
        result = self._result
        assert result is not None
        if isinstance(result, BaseException):
            raise result
        return result


class CommitLine:
    """Lets one attempt in at a time, first come, first served.

    Ctrl-C may strike between any two instructions of a thread that commits, even between
    its turn and the block that would give it back. So the line asks nobody to leave who is
    `is_over`: it goes on without them.
    """

    def __init__(self) -> None:
        # The lock itself, not the condition, is what `with` takes: Ctrl-C inside the
        # condition's own Python code would leave it taken for ever.
        self._mutex = threading.Lock()
        self._changed = threading.Condition(self._mutex)
        self._waiting: deque[Attempt] = deque()
        self._inside: Attempt | None = None
        self._is_shut = False
        self._is_cleared = False

    def enter(self, attempt: Attempt) -> bool:
        """Wait for our turn; False if the attempt is abandoned or the line shut before."""
        with self._mutex:
            if not self._waiting and not self._is_busy and not self._is_shut:
                self._inside = attempt
                return True
            self._waiting.append(attempt)
            while self._is_busy or self._first() is not attempt:
                if attempt.is_abandoned or self._is_shut:
                    self._waiting.remove(attempt)
                    self._changed.notify_all()
                    return False
                self._changed.wait(_LOOK_AGAIN_S)
            self._inside = attempt
            self._waiting.popleft()
            return True

    @property
    def _is_busy(self) -> bool:
        return self._inside is not None and not self._inside.is_over

    def _first(self) -> Attempt:
        while self._waiting[0].is_over:
            self._waiting.popleft()
        return self._waiting[0]

    def leave(self) -> None:
        """Let the next one in."""
        with self._mutex:
            self._inside = None
            if self._waiting or self._is_shut:
                self._changed.notify_all()

    def shut(self, patience_s: float) -> bool:
        """Let nobody in any more; True for the one caller who is first to find it empty."""
        with self._mutex:
            self._is_shut = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_cleared or not self._is_busy, patience_s)
            if self._is_cleared or self._is_busy:
                return False
            self._is_cleared = True
            self._changed.notify_all()
            return True
