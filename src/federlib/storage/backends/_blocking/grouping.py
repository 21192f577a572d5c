"""Group commit: what several callers of one process want goes to the server at once.

Whoever comes first takes along those that are expected behind it; each has an outcome of its
own. While a group is on its way the next one gathers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence

from federlib.errors import FederlibError, OutcomeUnknown
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends._blocking.committing import CommittingEngine, Outcome
from federlib.storage.protocol import Put

__all__ = ["GroupingEngine"]

_MAX_GROUP = 64
_MAX_GROUP_BYTES = 4 * 1024 * 1024


class GroupingEngine(CommittingEngine):
    """An engine that sends several transactions in one request. Thread-safe."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self._expected: deque[Attempt] = deque()

    @abstractmethod
    def _commit_group(self, group: Sequence[Attempt]) -> Sequence[Outcome | FederlibError]:
        """Commit attempts that were sent, in their order; nobody else does meanwhile.

        Returns:
            What became of each; where one error is everybody's, it may be raised instead.
        """

    @abstractmethod
    def _prepare(self) -> None:
        """Do what can fail before anything is sent, for example connect."""

    def expect(self, attempt: Attempt) -> None:
        """Take this one along with the next that is committed."""
        self._expected.append(attempt)

    def run(self, attempt: Attempt) -> None:
        """Commit, and leave the answer or the error in the attempt. Never raises."""
        if not attempt.has_answer:
            super().run(attempt)

    def _commit_in_turn(self, attempt: Attempt) -> Outcome:
        if attempt.has_answer:
            # Another one took it along while it stood in line.
            return attempt.answer(), None
        self._prepare()
        # Whoever leads may have gone meanwhile; the others are still there.
        own: Outcome | FederlibError = self._gave_up()
        group: list[Attempt] = []
        try:
            for one in self._gather(attempt):
                group.append(one)
                if not one.send():
                    group.pop()
            for one, outcome in zip(group, self._answers(group), strict=True):
                if one is attempt:
                    own = outcome
                else:
                    one.finish(outcome if isinstance(outcome, FederlibError) else outcome[0])
        finally:
            # Ctrl-C struck the one who led. Nobody may send for those again.
            for one in group:
                if one is not attempt and not one.has_answer:
                    one.finish(_unheard(one))
        if isinstance(own, FederlibError):
            raise own
        return own[0], None

    def _answers(self, group: Sequence[Attempt]) -> Sequence[Outcome | FederlibError]:
        if not group:
            return ()
        try:
            outcomes = self._commit_group(group)
        except FederlibError as error:
            return [error] * len(group)
        # In the order of their revisions: so nobody need read what was committed here.
        for outcome in outcomes:
            if not isinstance(outcome, FederlibError) and outcome[1] is not None:
                self._hear(outcome[1])
        return outcomes

    def _gather(self, attempt: Attempt) -> list[Attempt]:
        group, size = [attempt], _size(attempt)
        while self._expected and len(group) < _MAX_GROUP:
            one = self._expected[0]
            if one is not attempt and not one.has_answer and not one.is_over:
                size += _size(one)
                if size > _MAX_GROUP_BYTES:
                    break
                if not one.is_abandoned:
                    group.append(one)
            self._expected.popleft()
        return group


def _unheard(attempt: Attempt) -> OutcomeUnknown:
    return OutcomeUnknown(
        "commit",
        transaction_id=attempt.transaction.id,
        reason="the thread that sent it was interrupted",
    )


def _size(attempt: Attempt) -> int:
    return sum(len(write.value) for write in attempt.transaction.writes if isinstance(write, Put))
