"""Playing schedules in the simulator, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs

from federlib.testing.chaos.objectives import MAX_RTO_S, less_outages, slo
from federlib.testing.chaos.picture import picture_of
from federlib.testing.chaos.plan import Plan
from federlib.testing.chaos.records import FaultCount, Note, Result
from federlib.testing.chaos.targets import is_of_all
from federlib.testing.sim import Fleet, Played, Schedule, shrink
from federlib.testing.sim.explore import play_in
from federlib.testing.sim.faults import KINDS
from federlib.testing.sim.shrinking import breaks_again

__all__ = ["Seed", "Simulated", "result_of", "run_simulated"]

_SPLIT_BRAIN = frozenset({"stale_epochs_are_refused", "marks_rise", "tokens_rise"})
_TWICE = frozenset({"applied_at_most_once"})
_MS = 1_000_000


@attrs.frozen(kw_only=True)
class Seed:
    """What became of one seed.

    Attributes:
        played: What the simulator says.
        notes: What happened, as lines of a ledger.
        rto_s: The longest time without a leader, while one could be; seconds.
    """

    played: Played
    notes: tuple[Note, ...]
    rto_s: float


@attrs.frozen(kw_only=True)
class Simulated:
    """What became of the seeds of a plan.

    Attributes:
        seeds: Each, in order; they end with the first that broke something.
        shown: The one that is worth looking at: what broke something, else the slowest.
        shrunk: The faults that are enough to break it; None where nothing broke.
    """

    seeds: tuple[Played, ...]
    shown: Seed
    shrunk: Schedule | None


def run_simulated(
    plan: Plan, tell: Callable[[str], object], check: Callable[[], object] = lambda: None
) -> Simulated:
    """Play all seeds of a plan, until one breaks something; that one's faults are shrunk.

    Args:
        plan: What is played.
        tell: Hears in words how far it is.
        check: Asked before each play; it raises if all is to end.
    """
    found: list[Played] = []
    shown: Seed | None = None
    for number in range(plan.seed, plan.seed + plan.seeds):
        check()
        seed = _play(plan, number, plan.schedule)
        found.append(seed.played)
        if seed.played.violations:
            tell(f"seed {number} breaks something; looking for the fewest faults that do")
            shrunk = _shrunk(plan, seed.played, check)
            return Simulated(seeds=tuple(found), shown=seed, shrunk=shrunk)
        if shown is None or seed.rto_s > shown.rto_s:
            shown = seed
    assert shown is not None
    return Simulated(seeds=tuple(found), shown=shown, shrunk=None)


def _play(plan: Plan, number: int, schedule: Schedule | None) -> Seed:
    """Do as `play` does, and keep what happened."""
    safety_s = max(1, round(plan.seconds))
    with Fleet(number, plan.terms, keep_trace=True, has_witness=True) as fleet:
        played = play_in(fleet, schedule, safety_s=safety_s)
        notes = tuple(_notes(fleet.sim.trace.events))
    return Seed(played=played, notes=notes, rto_s=_rto_s(notes, played.schedule))


def _rto_s(notes: Sequence[Note], schedule: Schedule) -> float:
    """Measure the longest time without a leader, less that of faults that strike the whole fleet.

    Messages are datagrams here, and nobody sends a lost one again: under such faults there may
    be no way to lead.
    """
    outages = [
        (fault.at_ms * _MS, (fault.at_ms + fault.for_ms) * _MS)
        for fault in schedule.faults
        if is_of_all(fault.kind)
    ]
    spans = picture_of(notes, (), (), began_ns=0).leaderless
    return max(
        (
            less_outages(round(span.begin_s * 1e9), round(span.end_s * 1e9), outages) / 1e9
            for span in spans
        ),
        default=0.0,
    )


def _shrunk(plan: Plan, played: Played, check: Callable[[], object]) -> Schedule:
    def again(schedule: Schedule) -> tuple[str, ...]:
        check()
        return _play(plan, played.seed, schedule).played.violations

    return shrink(played.schedule, breaks_again(played.violations, again))


def result_of(plan: Plan, simulated: Simulated) -> Result:
    """Measure the objectives over all seeds."""
    played = simulated.seeds
    broken = Counter(v.partition(":")[0] for one in played for v in one.violations)
    planned = Counter(fault.kind for one in played for fault in one.schedule.faults)
    begun = Counter[str]()
    for one in played:
        begun.update(one.begun)
    return Result(
        target=plan.target,
        seed=plan.seed,
        slo=(
            slo("failover_rto_s", limit=MAX_RTO_S, measured=round(simulated.shown.rto_s, 3)),
            slo(
                "split_brain_commands_accepted",
                limit=0,
                measured=sum(broken[name] for name in _SPLIT_BRAIN),
            ),
            slo("duplicate_side_effects", limit=0, measured=sum(broken[name] for name in _TWICE)),
        ),
        faults={
            kind: FaultCount(
                planned=planned[kind],
                carried_out=begun[kind],
                missed=max(0, planned[kind] - begun[kind]),
            )
            for kind in KINDS
        },
        histories_checked=sum(one.operations > 0 for one in played),
        violations=sum(broken.values()),
    )


def _notes(events: Iterable[tuple[int | str, ...]]) -> list[Note]:
    found: list[Note] = []
    for instant, kind, *words in events:
        at_ns = int(instant)
        match (kind, *words):
            case ("granted", str(who), int(epoch)):
                found.append(Note(at_ns=at_ns, who=who, what="leads", epoch=epoch))
            case ("lost", str(who), int(epoch)):
                found.append(Note(at_ns=at_ns, who=who, what="lost", epoch=epoch))
            case ("kill", str(who), _):
                found.append(Note(at_ns=at_ns, who=who, what="killed"))
            case ("start", str(who), _):
                found.append(Note(at_ns=at_ns, who=who, what="ready"))
            case ("issued", str(name), int(epoch)):
                found.append(Note(at_ns=at_ns, who="", what="issued", id=name, epoch=epoch))
            case ("refused", str(who), int(epoch)):
                found.append(Note(at_ns=at_ns, who=who, what="refused", epoch=epoch))
            case ("applied", str(name), int(epoch), str(who)):
                found.append(Note(at_ns=at_ns, who=who, what="acted", id=name, epoch=epoch))
            case ("heal",):
                found.append(Note(at_ns=at_ns, who="", what="healed"))
            case _:
                pass
    return found
