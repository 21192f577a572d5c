"""`Evidence`: all that is known of a run when it is over, as a value."""

from __future__ import annotations

import attrs

from federlib.testing.chaos.records import FaultCount, Note, Strike
from federlib.testing.history import History

__all__ = ["Evidence", "Fate", "Judged"]


@attrs.frozen(kw_only=True)
class Fate:
    """What the store says of one command.

    Attributes:
        id: Which.
        epoch: Under which it was issued.
        issued: The revision at which it got in.
        started: The revision at which somebody began to act on it; None if nobody did.
        ended: The revision of its outcome; None without one.
        status: Of its outcome; None without one.
    """

    id: str
    epoch: int
    issued: int
    started: int | None = None
    ended: int | None = None
    status: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether it was let in: one that was not is kept by the same commit as its refusal."""
        return self.issued != self.ended


@attrs.frozen(kw_only=True)
class Evidence:
    """What one run on a real store has left.

    Attributes:
        target: What was broken.
        seed: What chance came from.
        ttl_s: Of the leader's lease; seconds.
        began_ns: When there was a first leader; nanoseconds of the true boot clock.
        ended_ns: When nothing new was begun any more.
        notes: The ledger, in order.
        strikes: The faults that were carried out.
        faults: Their counts by kind.
        fates: Every command in the store.
        history: What the processes asked of their store, and of their leases.
        lives: How many lives of processes have left a history.
        has_true_clocks: No clock was made wrong.
        has_new_store: Nothing was in the store before.
        problems: What the harness itself saw, each begins with the name of what must hold.
    """

    target: str
    seed: int
    ttl_s: float
    began_ns: int
    ended_ns: int
    notes: tuple[Note, ...]
    strikes: tuple[Strike, ...]
    faults: dict[str, FaultCount]
    fates: tuple[Fate, ...]
    history: History
    lives: int
    has_true_clocks: bool
    has_new_store: bool
    problems: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Judged:
    """What was found, beside the objectives.

    Attributes:
        violations: What must not be and was; each begins with the name of what must hold.
        undecided: What could not be checked to its end, in words.
        histories_checked: Of how many lives the history was checked.
    """

    violations: tuple[str, ...]
    undecided: tuple[str, ...]
    histories_checked: int
