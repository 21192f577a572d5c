"""Worlds in which a mistake is hunted: each plays one seed, and says what must not have been.

A diff names its world in a line of its own before the change, `Hunted in: watched`; without
one it is `fleet`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

__all__ = ["WORLDS", "World", "breaks", "world_of"]

World = Callable[[int], Sequence[str]]

_LINE = re.compile(r"^Hunted in: (\w+)$", re.MULTILINE)


def fleet(seed: int, *, check_history: bool = False) -> Sequence[str]:
    """An election with commands, on drawn faults and presets in turn: some want just the one."""
    from federlib.testing.sim import PRESETS, Terms, play

    presets = [None, *PRESETS.values()]
    turn, number = divmod(seed, len(presets))
    terms = Terms(nodes=2) if turn % 3 == 2 else None
    played = play(seed, presets[number], terms=terms, check_history=check_history)
    return played.violations


def watched(seed: int) -> Sequence[str]:
    """The same, with every call kept and checked: for stores whose answers are wrong."""
    return fleet(seed, check_history=True)


def disk(seed: int) -> Sequence[str]:
    """A file store on a disk that loses power and is killed at every operation."""
    from federlib.testing import SimulatedDisk
    from proof.disk_sweep import Sweep
    from proof.small_journal import open_small
    from proof.workloads import mixed

    try:
        Sweep(open_small, seed=seed, limit=6, deep_every=10).run(
            SimulatedDisk(), mixed(seed, length=8)
        )
    except AssertionError as error:
        return (f"what_was_confirmed_is_there: {error}",)
    return ()


def runs(seed: int) -> Sequence[str]:
    """Runs of tasks, on drawn faults and, every other time, on a preset."""
    from federlib.testing.sim import PRESETS
    from federlib.testing.sim.play_workflow import play_workflow

    presets = tuple(PRESETS.values())
    turn, is_preset = divmod(seed, 2)
    return play_workflow(seed, presets[turn % len(presets)] if is_preset else None).violations


def held(seed: int) -> Sequence[str]:
    """Runs on a store that holds every tenth request up, now and then longer than a lease lasts.

    What was given up and repeated is carried out after all, and two looks lie far apart.
    """
    from federlib.testing.sim import Fault, Schedule
    from federlib.testing.sim.play_workflow import conclude_workflow, settle_workflow
    from federlib.testing.sim.workflow import WorkflowFleet, WorkflowTerms

    # Drawn faults hold up half of the requests: then repetitions come as late as the first.
    fault = Fault(at_ms=0, kind="store_slow", for_ms=60_000, amount=2_500)
    terms = WorkflowTerms(ttl_s=1.0, tolerance_s=0.5, tasks=6, asked=100)
    with WorkflowFleet(seed, terms) as fleet:
        fleet.store.timeout_ns = 2_000_000_000
        fleet.store.faults.slow_ppm = 100_000
        fleet.store.faults.slow_ns = fault.amount * 1_000_000
        fleet.run(fault.for_ms // 1_000)
        settle_workflow(fleet)
        return conclude_workflow(fleet, Schedule(faults=(fault,))).violations


def shells(seed: int) -> Sequence[str]:
    """Shells on real event loops in virtual time: their tests, and fleets of them, in turn."""
    from proof.shell_drills import drill

    return drill(seed)


WORLDS: dict[str, World] = {
    "fleet": fleet,
    "watched": watched,
    "disk": disk,
    "runs": runs,
    "held": held,
    "shells": shells,
}


def world_of(diff: str) -> str:
    """Name the world in which a diff is to be hunted.

    Raises:
        AssertionError: There is none of that name.
    """
    found = _LINE.search(diff)
    name = found[1] if found is not None else "fleet"
    assert name in WORLDS, f"no world {name!r}; there are {', '.join(WORLDS)}"
    return name


def breaks(diff: str) -> str:
    """Return the sentence that says what a diff breaks."""
    return diff.partition("\n")[0]
