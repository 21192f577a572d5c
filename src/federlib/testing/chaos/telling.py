"""From what is known of a run to what is told of it: result, story and picture. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from federlib.testing.chaos.evidence import Evidence
from federlib.testing.chaos.judging import judge
from federlib.testing.chaos.objectives import objectives
from federlib.testing.chaos.page import Story
from federlib.testing.chaos.picture import picture_of, planned_strikes
from federlib.testing.chaos.plan import Plan, people_of
from federlib.testing.chaos.records import Note, Result
from federlib.testing.chaos.report import Bundle
from federlib.testing.chaos.simulated import Simulated, result_of

__all__ = ["tell_real", "tell_simulated"]


def tell_real(plan: Plan, evidence: Evidence) -> Bundle:
    """Judge a run on a real store, and say what is to be told of it."""
    assert plan.schedule is not None
    judged = judge(evidence)
    result = Result(
        target=evidence.target,
        seed=evidence.seed,
        slo=objectives(evidence),
        faults=evidence.faults,
        histories_checked=judged.histories_checked,
        violations=len(judged.violations),
    )
    statuses = Counter(fate.status or "without outcome" for fate in evidence.fates)
    seconds = (evidence.ended_ns - evidence.began_ns) / 1e9
    facts = {
        "seed": str(evidence.seed),
        "processes": str(plan.processes),
        "time to live": f"{plan.ttl_s:g} s",
        "seconds": f"{seconds:.1f}",
        "reigns": str(_count(evidence.notes, "leads")),
        "effects of leaders": str(_count(evidence.notes, "effect")),
        **{f"commands {status}": str(count) for status, count in sorted(statuses.items())},
        "answers lost": str(_count(evidence.notes, "answer_lost")),
        "recorded calls": str(len(evidence.history)),
    }
    story = Story(
        title=f"Chaos on {evidence.target}",
        replay=plan.replay(evidence.seed),
        facts=facts,
        violations=judged.violations,
        remarks=judged.undecided,
        schedule=plan.schedule.to_json(),
    )
    picture = picture_of(
        evidence.notes, evidence.strikes, people_of(plan.processes), began_ns=evidence.began_ns
    )
    return Bundle(
        result=result,
        story=story,
        picture=picture,
        schedule=plan.schedule,
        notes=evidence.notes,
        history=evidence.history,
    )


def tell_simulated(plan: Plan, simulated: Simulated) -> Bundle:
    """Say what is to be told of simulated seeds."""
    shown, notes = simulated.shown.played, simulated.shown.notes
    result = result_of(plan, simulated)
    people = people_of(plan.processes)
    reigns = picture_of(notes, (), people, began_ns=0).reigns
    strikes = planned_strikes(shown.schedule, reigns)
    seeds = len(simulated.seeds)
    story = Story(
        title=f"Chaos in the simulator, {seeds} {'seed' if seeds == 1 else 'seeds'}",
        replay=plan.replay(shown.seed),
        facts=_sums(simulated),
        violations=shown.violations,
        remarks=_remarks(simulated),
        schedule=shown.schedule.to_json(),
        shrunk="" if simulated.shrunk is None else simulated.shrunk.to_json(),
    )
    return Bundle(
        result=result,
        story=story,
        picture=picture_of(notes, strikes, people, began_ns=0),
        schedule=shown.schedule,
        notes=notes,
        history=None,
    )


def _remarks(simulated: Simulated) -> tuple[str, ...]:
    remarks = []
    if len(simulated.seeds) > 1:
        remarks.append(f"The picture shows seed {simulated.shown.played.seed}.")
    undecided = [one for one in simulated.seeds if one.undecided]
    if undecided:
        seeds = ", ".join(str(one.seed) for one in undecided)
        remarks.append(f"Too many answers were lost to check all of the history of: {seeds}.")
    return tuple(remarks)


def _sums(simulated: Simulated) -> Mapping[str, str]:
    played = simulated.seeds
    return {
        "seeds": f"{played[0].seed} to {played[-1].seed}",
        "events": f"{sum(one.events for one in played):,}",
        "commits": f"{sum(one.commits for one in played):,}",
        "reigns": f"{sum(one.reigns for one in played):,}",
        "commands acted on": f"{sum(one.applied for one in played):,}",
        "calls checked": f"{sum(one.operations for one in played):,}",
    }


def _count(notes: Sequence[Note], what: str) -> int:
    return sum(note.what == what for note in notes)
