"""Playing schedules in the simulator, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import attrs

from federlib.testing.chaos.objectives import MAX_RTO_S, slo
from federlib.testing.chaos.plan import Plan
from federlib.testing.chaos.records import FaultCount, Note, Result, Slo
from federlib.testing.sim import Fleet, Played, Schedule, Terms, play, shrink
from federlib.testing.sim.faults import KINDS

__all__ = ["Simulated", "result_of", "run_simulated", "trace_notes"]

_SPLIT_BRAIN = frozenset({"stale_epochs_are_refused", "marks_rise", "tokens_rise"})
_TWICE = frozenset({"applied_at_most_once"})
_SHOWN_S = 5
"""How much of what comes after the healing is shown."""


@attrs.frozen(kw_only=True)
class Simulated:
    """What became of the seeds of a plan.

    Attributes:
        played: Each seed, in order; they end with the first that broke something.
        shrunk: The faults that are enough to break it; None where nothing broke.
    """

    played: tuple[Played, ...]
    shrunk: Schedule | None

    @property
    def shown(self) -> Played:
        """The seed that is worth looking at: the one that broke something, else the first."""
        return self.played[-1] if self.played[-1].violations else self.played[0]


def run_simulated(plan: Plan, tell: Callable[[str], object]) -> Simulated:
    """Play all seeds of a plan, until one breaks something; that one's faults are shrunk."""
    terms = terms_of(plan)
    found: list[Played] = []
    for seed in range(plan.seed, plan.seed + plan.seeds):
        played = _play(plan, seed, plan.schedule, terms)
        found.append(played)
        if played.violations:
            tell(f"seed {seed} breaks something; looking for the fewest faults that do")
            return Simulated(played=tuple(found), shrunk=_shrunk(plan, played, terms))
    return Simulated(played=tuple(found), shrunk=None)


def terms_of(plan: Plan) -> Terms:
    """Return what the simulated fleet is like."""
    return Terms(nodes=plan.processes, ttl_s=plan.ttl_s, tolerance_s=plan.tolerance_s)


def _play(plan: Plan, seed: int, schedule: Schedule | None, terms: Terms) -> Played:
    return play(seed, schedule, terms=terms, safety_s=max(1, round(plan.seconds)))


def _shrunk(plan: Plan, played: Played, terms: Terms) -> Schedule:
    broken = {violation.partition(":")[0] for violation in played.violations}

    def is_broken(schedule: Schedule) -> bool:
        again = _play(plan, played.seed, schedule, terms)
        return any(violation.partition(":")[0] in broken for violation in again.violations)

    return shrink(played.schedule, is_broken)


def result_of(plan: Plan, simulated: Simulated) -> Result:
    """Measure the objectives over all seeds."""
    played = simulated.played
    broken = Counter(v.partition(":")[0] for one in played for v in one.violations)
    planned = Counter(fault.kind for one in played for fault in one.schedule.faults)
    return Result(
        target=plan.target,
        seed=plan.seed,
        slo=(
            _rto(played),
            slo(
                "split_brain_commands_accepted",
                limit=0,
                measured=sum(broken[name] for name in _SPLIT_BRAIN),
            ),
            slo("duplicate_side_effects", limit=0, measured=sum(broken[name] for name in _TWICE)),
        ),
        faults={
            kind: FaultCount(planned=planned[kind], carried_out=planned[kind]) for kind in KINDS
        },
        histories_checked=len(played),
        violations=sum(broken.values()),
    )


def _rto(played: Iterable[Played]) -> Slo:
    worst_s = max(one.failover_s for one in played)
    return slo("failover_rto_s", limit=MAX_RTO_S, measured=round(worst_s, 3))


def trace_notes(plan: Plan, played: Played) -> tuple[Note, ...]:
    """Play a seed once more, and return what happened as lines of a ledger."""
    with Fleet(played.seed, terms_of(plan), keep_trace=True) as fleet:
        played.schedule.arm(fleet)
        fleet.run(max(1, round(plan.seconds)))
        fleet.heal()
        fleet.run(_SHOWN_S)
        _ = fleet.sim.trace.digest
        return tuple(_notes(fleet.sim.trace.events))


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
