"""Making a schedule smaller, as long as it still breaks what it broke."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from federlib.testing.sim.faults import Fault
from federlib.testing.sim.schedule import Schedule

__all__ = ["breaks_again", "shrink"]


def shrink(schedule: Schedule, is_broken: Callable[[Schedule], bool]) -> Schedule:
    """Make a schedule smaller as long as it still breaks what it broke.

    First faults go, the most at a time that can; then what is left gets shorter. The result
    is minimal in that no single fault of it can be left out.

    Args:
        schedule: Breaks something.
        is_broken: Plays a schedule, under the same seed, and says whether it does.
    Source: Zeller and Hildebrandt 2002, Simplifying and isolating failure-inducing input.
    """
    faults = list(schedule.faults)
    size = len(faults)
    while size:
        start = 0
        while start < len(faults):
            fewer = faults[:start] + faults[start + size :]
            if is_broken(_with(schedule, fewer)):
                faults = fewer
            else:
                start += size
        size //= 2
    for place, fault in enumerate(faults):
        for smaller in _smaller(fault):
            trial = [*faults[:place], smaller, *faults[place + 1 :]]
            if is_broken(_with(schedule, trial)):
                faults = trial
    return _with(schedule, faults)


def breaks_again(
    violations: Sequence[str], play: Callable[[Schedule], Sequence[str]]
) -> Callable[[Schedule], bool]:
    """Return what says of a schedule whether it breaks one of the same invariants.

    Args:
        violations: What was broken, each with the name of its invariant before a colon.
        play: Plays a schedule, and returns what it broke.
    """
    broken = {violation.partition(":")[0] for violation in violations}
    return lambda schedule: any(
        violation.partition(":")[0] in broken for violation in play(schedule)
    )


def _with(schedule: Schedule, faults: Iterable[Fault]) -> Schedule:
    return msgspec.structs.replace(schedule, faults=tuple(faults))


def _smaller(fault: Fault) -> list[Fault]:
    """List shorter and weaker ones, from much to little."""
    return [
        msgspec.structs.replace(fault, for_ms=max(1, fault.for_ms * share // 8))
        for share in (1, 2, 4)
        if fault.for_ms > 1
    ]
