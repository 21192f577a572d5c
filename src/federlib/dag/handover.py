"""Between a leader and the worker in the same process: claims and finishes without the store.

The log is the truth about claims wherever their worker is; `assign` and `done` records only
carry them there and back. A worker beside the leader needs neither: it hears of its claims
once the log has them, and its finishes go into the next append. So one commit carries the
finish of one task and the claim of the next.

Nothing rests on it. When the reign ends, what was handed over and not appended is gone, the
claims are in the log under the old epoch, and the next leader adopts them like any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from federlib.dag.records import AssignRecord, Claim, Finish
from federlib.dag.runstate import Life

__all__ = ["Handout", "Handover"]


@attrs.frozen
class Handout:
    """What one append changed for the worker beside the leader.

    Attributes:
        epoch: Of the leader.
        claims: New ones.
        settled: `(node, attempt)` of finishes that were accepted or refused.
    """

    epoch: int
    claims: tuple[Claim, ...]
    settled: tuple[tuple[int, int], ...]


class Handover:
    """The meeting place of one leader and one worker of the same run; either may be away.

    Attributes:
        finishes: What the worker has said and the leader has not taken yet.
    """

    def __init__(self) -> None:
        self.finishes: deque[Finish] = deque()
        self._life: Life | None = None
        self._take: Callable[[AssignRecord | Handout], None] | None = None
        self._epoch = 0
        self._wake: Callable[[], None] | None = None

    @property
    def life(self) -> Life | None:
        """Which worker is here."""
        return self._life

    def enter(self, life: Life, take: Callable[[AssignRecord | Handout], None]) -> None:
        """Be the worker: `take` hears of claims that are in the log."""
        self._life, self._take = life, take
        self.finishes.clear()

    def leave(self) -> None:
        """Be the worker no more."""
        self._life = self._take = None
        self.finishes.clear()

    def open(self, epoch: int, wake: Callable[[], None]) -> None:
        """Be the leader: `wake` is called when there are finishes."""
        self._epoch, self._wake = epoch, wake
        self.finishes.clear()

    def close(self) -> None:
        """Be the leader no more."""
        self._epoch, self._wake = 0, None
        self.finishes.clear()

    def give(self, handout: AssignRecord | Handout, life: Life | None) -> None:
        """Tell the worker of its claims; of no effect if that life of it has left.

        An append may take longer than a life: what was drafted for the one before is not for
        the worker that is here by then.
        """
        if self._take is not None and life == self._life:
            self._take(handout)

    def present(self, finish: Finish, epoch: int) -> bool:
        """Tell the leader of a finish; False if no leader of that epoch is here."""
        if self._wake is None or epoch != self._epoch:
            return False
        is_first = not self.finishes
        self.finishes.append(finish)
        if is_first:
            # The leader leaves none behind, so of the others it has heard by this one.
            self._wake()
        return True
