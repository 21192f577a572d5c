"""Playing seeds of `WorkflowFleet`: faults, then all is healed, and then every run must end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import attrs

from federlib._pace import run_now
from federlib.dag.runlog import RunLog
from federlib.errors import CorruptRecord
from federlib.storage import Page, Record
from federlib.testing.sim.drawing import given_or_drawn
from federlib.testing.sim.run_audit import Ending, RunAudit
from federlib.testing.sim.schedule import SAFETY_S, Schedule
from federlib.testing.sim.shrinking import breaks_again, shrink
from federlib.testing.sim.store import StoreClient
from federlib.testing.sim.workflow import WorkflowFleet, WorkflowTerms

__all__ = [
    "WorkflowPlayed",
    "conclude_workflow",
    "play_workflow",
    "settle_workflow",
    "shrunk_workflow",
]


@attrs.frozen(kw_only=True)
class WorkflowPlayed:
    """What became of one seed.

    Attributes:
        seed: The seed.
        schedule: The faults that were played.
        violations: What must not be and was, in words.
        digest: Hash of the trace.
        events: How many ran.
        commits: How many the store has seen.
        runs: How many runs there were.
        reigns: How many leaders they had, together.
        succeeded: How many tasks succeeded.
        called: How many times the body of a task was called.
        lost: How many attempts were lost.
        refused: How many finishes were refused.
        begun: How often each kind of fault has begun.
    """

    seed: int
    schedule: Schedule
    violations: tuple[str, ...]
    digest: str
    events: int
    commits: int
    runs: int
    reigns: int
    succeeded: int
    called: int
    lost: int
    refused: int
    begun: Mapping[str, int]


def play_workflow(
    seed: int,
    schedule: Schedule | None = None,
    *,
    terms: WorkflowTerms | None = None,
    safety_s: int = SAFETY_S,
) -> WorkflowPlayed:
    """Play one seed to its end.

    Args:
        seed: Everything follows from it.
        schedule: The faults; by default drawn from the seed.
        terms: What the fleet is like.
        safety_s: How long faults may last; then they are healed, and the run that is at work
            must end.
    Raises:
        InvalidInput: An argument is of another type, or out of range.
    """
    with WorkflowFleet(seed, terms) as fleet:
        schedule = given_or_drawn(schedule, fleet.sim, safety_s)
        schedule.arm(fleet)
        fleet.run(safety_s)
        settle_workflow(fleet)
        return conclude_workflow(fleet, schedule)


def settle_workflow(fleet: WorkflowFleet) -> None:
    """Heal a fleet, and give the run that is at work the time to end."""
    fleet.heal()
    for _ in range(fleet.terms.patience_s):
        if fleet.finished == len(fleet.flows) or fleet.violations:
            break
        fleet.run(1)


def conclude_workflow(fleet: WorkflowFleet, schedule: Schedule) -> WorkflowPlayed:
    """Judge the runs of a fleet at the end, and say what became of it.

    Args:
        fleet: Healed long enough ago.
        schedule: What it was played with.
    """
    for audit in fleet.audits.values():
        _judge(fleet, audit, is_calm=not schedule.faults)
    books = [audit.book for audit in fleet.audits.values()]
    return WorkflowPlayed(
        seed=fleet.sim.seed,
        schedule=schedule,
        violations=tuple(fleet.violations),
        digest=fleet.sim.trace.digest,
        events=fleet.sim.ran,
        commits=fleet.store.commits,
        runs=len(books),
        reigns=sum(book.reigns for book in books),
        succeeded=sum(len(book.accepted) for book in books),
        called=sum(len(book.effects) for book in books),
        lost=sum(len(book.lost) for book in books),
        refused=sum(book.refused for book in books),
        begun=dict(fleet.troubles.begun),
    )


def shrunk_workflow(
    played: WorkflowPlayed, *, terms: WorkflowTerms | None = None, safety_s: int = SAFETY_S
) -> WorkflowPlayed:
    """Play a seed that broke something with as few faults as still break the same.

    Args:
        played: What broke.
        terms: As it was played with.
        safety_s: The same.
    """
    again = partial(play_workflow, played.seed, terms=terms, safety_s=safety_s)
    is_broken = breaks_again(played.violations, lambda schedule: again(schedule).violations)
    return again(shrink(played.schedule, is_broken))


class _Looking(StoreClient):
    """The store as whoever judges sees it: at once, and untouched by faults."""

    async def get(self, key: str) -> Record | None:
        return self._store.look(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        return self._store.look_through(prefix, after, limit)


def _judge(fleet: WorkflowFleet, audit: RunAudit, *, is_calm: bool) -> None:
    book = audit.book
    run_id = book.keys.run_id
    flow = fleet.flows[int(run_id[1:]) - 1]
    log = RunLog(_Looking(fleet.store, next(iter(fleet.nodes.values()))), run_id)
    try:
        folded, _ = run_now(log.fold())
    except CorruptRecord as error:
        fleet.accuse("the_log_replays", f"run {run_id}: {error}")
        return
    leader = fleet.members.get(book.leader)
    log_of_leader = None if leader is None else leader.logs.get(run_id)
    lived = None if log_of_leader is None else log_of_leader.lived
    if lived is not None and lived.epoch != book.epoch:
        lived = None
    audit.end(Ending(book=book, folded=folded, lived=lived, is_calm=is_calm and not flow.requests))
