"""The worlds that are explored: from a seed to what it has covered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from federlib.testing.exploring.coverage import Coverage, Finding
from federlib.testing.sim import PRESETS, Played, Simulation, draw_terms, play
from federlib.testing.sim.play_workflow import play_workflow

__all__ = ["WORLDS", "look", "world_of"]


def _fleet(seed: int) -> Coverage:
    """Five processes, one election, drawn faults."""
    return _of_fleet(seed, play(seed))


def _presets(seed: int) -> Coverage:
    """The same, with the faults that have a name."""
    names = list(PRESETS)
    return _of_fleet(seed, play(seed, PRESETS[names[seed // len(_ROTA) % len(names)]]))


def _sizes(seed: int) -> Coverage:
    """Two to seven processes, with leases and clocks of all kinds."""
    with Simulation(seed) as sim:
        terms = draw_terms(sim.rng("terms"))
    return _of_fleet(seed, play(seed, terms=terms))


def _watched(seed: int) -> Coverage:
    """Five processes whose every call is kept, and checked at the end."""
    return _of_fleet(seed, play(seed, check_history=True))


def _runs(seed: int) -> Coverage:
    """Runs of tasks, with a leader each."""
    played = play_workflow(seed)
    return Coverage(
        begun=dict(played.begun),
        events=played.events,
        commits=played.commits,
        leaders=played.reigns,
        done=played.succeeded,
        violations=int(bool(played.violations)),
        findings=_findings(seed, played.violations),
    )


def _of_fleet(seed: int, played: Played) -> Coverage:
    return Coverage(
        begun=dict(played.begun),
        events=played.events,
        commits=played.commits,
        leaders=played.reigns,
        done=played.applied,
        operations=played.operations,
        histories=int(played.operations > 0),
        undecided=played.undecided,
        failover_ms=round(played.failover_s * 1_000),
        violations=int(bool(played.violations)),
        findings=_findings(seed, played.violations),
    )


def _findings(seed: int, violations: tuple[str, ...]) -> tuple[Finding, ...]:
    if not violations:
        return ()
    replay = f"python -m federlib.testing.exploring --first {seed} --seeds 1"
    return (Finding(seed=seed, world=world_of(seed), violations=violations, replay=replay),)


WORLDS: Mapping[str, Callable[[int], Coverage]] = {
    "fleet": _fleet,
    "presets": _presets,
    "sizes": _sizes,
    "watched": _watched,
    "runs": _runs,
}
"""By name; each plays one seed."""

# Of twenty seeds in a row so many are of each world, whatever the first of them is.
_ROTA = tuple(
    name
    for name, share in {"fleet": 9, "presets": 3, "sizes": 4, "watched": 2, "runs": 2}.items()
    for _ in range(share)
)


def world_of(seed: int) -> str:
    """Say which world a seed is."""
    return _ROTA[seed % len(_ROTA)]


def look(seed: int) -> Coverage:
    """Play one seed; an error of a program in it is a finding too."""
    name = world_of(seed)
    try:
        found = WORLDS[name](seed)
    except Exception as error:
        wrong = (f"{type(error).__name__}: {error}",)
        found = Coverage(violations=1, findings=_findings(seed, wrong))
    return Coverage.sum([found, Coverage(worlds={name: 1})])
