"""Drawing schedules of faults from a seed."""

from __future__ import annotations

import random  # noqa: TID251 (the type of a stream of the simulation)
from collections.abc import Sequence

import attrs

from federlib.errors import InvalidInput
from federlib.testing.sim.faults import KINDS, MAX_MS, Fault, Kind
from federlib.testing.sim.fleet import Terms
from federlib.testing.sim.kernel import Simulation
from federlib.testing.sim.schedule import MAX_FAULTS, Schedule

__all__ = ["DRAWN", "RANGES", "Range", "draw_schedule", "draw_terms", "given_or_drawn"]

DRAWN = "drawn"
"""The name of a schedule that was drawn."""


@attrs.frozen
class Range:
    """Between which bounds a kind of fault is drawn, both included.

    Attributes:
        who: Each as likely as the others.
        for_ms: How long; milliseconds.
        amount: As in `Fault`.
    """

    who: tuple[str, ...]
    for_ms: tuple[int, int]
    amount: tuple[int, int] = (0, 0)


_ANYBODY = ("leader", "leader", "follower", "any")
RANGES: dict[Kind, Range] = {
    "kill": Range(_ANYBODY, (100, 8_000)),
    "stop": Range(_ANYBODY, (100, 10_000)),
    "slow": Range(_ANYBODY, (500, 5_000), (100, 20_000)),
    "clock_step": Range(_ANYBODY, (0, 10_000), (-30_000, 30_000)),
    "clock_drift": Range(_ANYBODY, (1_000, 10_000), (-500_000, 1_000_000)),
    "clock_freeze": Range(_ANYBODY, (500, 5_000)),
    "reboot": Range(_ANYBODY, (500, 5_000)),
    "isolate": Range(_ANYBODY, (500, 10_000)),
    "deafen": Range(_ANYBODY, (500, 10_000)),
    "mute": Range(_ANYBODY, (500, 10_000)),
    "lose": Range(("",), (1_000, 10_000), (10_000, 300_000)),
    "repeat": Range(("",), (1_000, 10_000), (10_000, 300_000)),
    "delay": Range(("",), (1_000, 10_000), (5, 1_500)),
    "narrow": Range(("",), (500, 5_000), (5_000, 100_000)),
    "store_down": Range(("",), (500, 6_000)),
    "store_full": Range(("",), (500, 6_000)),
    "store_slow": Range(("",), (500, 10_000), (50, 9_000)),
    "store_refuses": Range(("",), (500, 10_000), (50_000, 900_000)),
    "lost_answers": Range(("",), (500, 10_000), (50_000, 600_000)),
    "replay": Range(("",), (0, 0)),
}


def draw_schedule(
    rng: random.Random, *, until_ms: int, most: int = 8, kinds: Sequence[Kind] = KINDS
) -> Schedule:
    """Draw some faults; which kinds there are at all is drawn first.

    So a seed has many of few kinds rather than few of all, which finds more.

    Args:
        rng: Where chance comes from.
        until_ms: No fault lasts longer than this; milliseconds.
        most: How many at most.
        kinds: Of which.
    Raises:
        InvalidInput: There is no time, no fault or no kind to draw from.
    Source: Groce et al. 2012, Swarm testing.
    """
    for name, value, largest in (("until_ms", until_ms, MAX_MS), ("most", most, MAX_FAULTS)):
        if type(value) is not int or not 0 < value <= largest:
            raise InvalidInput(name, expected=f"an integer, 1 to {largest}", found=value)
    if not kinds or set(kinds) - set(KINDS):
        raise InvalidInput("kinds", expected=f"some of {', '.join(KINDS)}", found=kinds)
    some = rng.sample(kinds, 1 + rng.randrange(len(kinds)))
    faults: list[Fault] = []
    for _ in range(1 + rng.randrange(most)):
        kind = rng.choice(some)
        bounds = RANGES[kind]
        at_ms = rng.randrange(until_ms)
        low, high = bounds.for_ms
        for_ms = min(low + rng.randrange(high - low + 1), until_ms - at_ms)
        least, largest = bounds.amount
        faults.append(
            Fault(
                at_ms=at_ms,
                kind=kind,
                who=rng.choice(bounds.who),
                for_ms=max(1, for_ms),
                amount=least + rng.randrange(largest - least + 1),
            )
        )
    return Schedule(name=DRAWN, faults=tuple(sorted(faults, key=lambda fault: fault.at_ms)))


def given_or_drawn(given: Schedule | None, sim: Simulation, safety_s: int) -> Schedule:
    """Return the schedule that a seed is played with: drawn from it unless one is given.

    Args:
        given: What is given.
        sim: Of that seed.
        safety_s: No fault that is drawn lasts longer than this; seconds.
    Raises:
        InvalidInput: What is given is no schedule, or there is no time.
    """
    if type(safety_s) is not int or not 0 < safety_s <= MAX_MS // 1_000:
        expected = f"an integer, 1 to {MAX_MS // 1_000}"
        raise InvalidInput("safety_s", expected=expected, found=safety_s)
    if given is not None:
        if not isinstance(given, Schedule):
            raise InvalidInput("schedule", expected="a Schedule, or None", found=given)
        return given
    return draw_schedule(sim.rng("schedule"), until_ms=safety_s * 1_000)


def draw_terms(rng: random.Random) -> Terms:
    """Draw what a fleet is like: two to seven processes, with clocks that keep to their bounds."""
    nodes = rng.randrange(2, 8)
    return Terms(
        nodes=nodes,
        ttl_s=rng.choice((1.0, 2.0, 3.0, 5.0)),
        tolerance_s=rng.choice((0.5, 1.0, 2.0)),
        command_every_s=rng.choice((0.25, 0.5, 1.0)),
        act_s=rng.choice((0.0, 0.1, 0.5)),
        resign_percent=rng.randrange(11),
        consumers=1 + rng.randrange(nodes),
        # Two of them are at most twice as far from one another: within the least tolerance.
        offset_ms=rng.randrange(201),
        drift_ppm=rng.randrange(201),
    )
