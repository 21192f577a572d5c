"""Workflows drawn from a seed: what is to be done, how each task behaves, what people ask.

Source: design §5, dag; HA plan §4.
"""

from __future__ import annotations

import random  # noqa: TID251 (the type of a stream of the simulation)
from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from federlib.dag import Policy, TaskSpec, Workflow

__all__ = ["Behaviour", "Flow", "Request", "draw_flow"]

_Parents = list[tuple[int, ...]]

_SHARE = 100
_TIMEOUTS_S = (0.4, 1.0, 2.5)
_DURATIONS_MS = (0, 0, 0, 20, 150, 400, 900)
_FOR_GOOD = 1_000


@attrs.frozen(kw_only=True)
class Behaviour:
    """What happens when a task is done.

    Attributes:
        takes_ms: How long it takes; 0 never waits.
        hangs: How often it hangs at first, until it is timed out.
        fails: How often it fails after that, before it succeeds.
        hands_on: It gives something to its children.
    """

    takes_ms: int
    hangs: int = 0
    fails: int = 0
    hands_on: bool = True


@attrs.frozen
class Request:
    """What somebody asks of a run.

    Attributes:
        after_ms: How long after the one before, or after submission.
        verb: What.
        retry_failed: Of `resume`: failed tasks have a fresh start.
    """

    after_ms: int
    verb: Literal["cancel", "resume"]
    retry_failed: bool = False


@attrs.frozen(kw_only=True)
class Flow:
    """A workflow and everything that is drawn for it.

    Attributes:
        shape: Of its graph.
        workflow: The tasks; a task's place is its number.
        behaviours: By number.
        policy: Of its run.
        requests: In order.
    """

    shape: str
    workflow: Workflow
    behaviours: tuple[Behaviour, ...]
    policy: Policy
    requests: tuple[Request, ...]


def draw_flow(rng: random.Random, *, most: int = 20, asked: int = 40) -> Flow:
    """Draw a workflow, and what is asked of its run.

    Args:
        rng: Where chance comes from.
        most: Tasks at most, 6 or more.
        asked: Of how many runs in a hundred somebody asks anything.
    """
    shape = rng.choice(list(_SHAPES))
    parents = _SHAPES[shape](rng, 4 + rng.randrange(most - 4))
    specs: list[TaskSpec] = []
    behaviours: list[Behaviour] = []
    for number, above in enumerate(parents):
        behaviour, retries, timeout_s = _draw_behaviour(rng)
        behaviours.append(behaviour)
        specs.append(
            TaskSpec(
                id=f"t{number}",
                needs=tuple(f"t{parent}" for parent in above),
                retries=retries,
                timeout_s=timeout_s,
            )
        )
    return Flow(
        shape=shape,
        workflow=Workflow(shape, tuple(specs)),
        behaviours=tuple(behaviours),
        policy=Policy(
            on_failover="rerun" if rng.randrange(5) == 0 else "adopt",
            max_lost=rng.choice((0, 1, 16, 16, 16, 16)),
            backoff_s=rng.choice((0.0, 0.1, 0.4)),
            backoff_max_s=1.0,
        ),
        requests=_draw_requests(rng, asked),
    )


def _draw_behaviour(rng: random.Random) -> tuple[Behaviour, int, float | None]:
    retries, lot = rng.randrange(3), rng.randrange(_SHARE)
    takes_ms, hands_on = rng.choice(_DURATIONS_MS), rng.randrange(3) > 0
    behaviour = Behaviour(takes_ms=takes_ms, hands_on=hands_on)
    timeout_s = rng.choice(_TIMEOUTS_S) if rng.randrange(4) == 0 else None
    if timeout_s is not None and takes_ms >= timeout_s * 1_000:
        takes_ms = 0
        behaviour = attrs.evolve(behaviour, takes_ms=0)
    if lot < 15 and retries:
        return attrs.evolve(behaviour, fails=1 + rng.randrange(retries)), retries, timeout_s
    if lot < 25 and timeout_s is not None:
        hangs = 1 + rng.randrange(retries + 1)
        return attrs.evolve(behaviour, hangs=hangs), retries, timeout_s
    if lot < 29:
        return attrs.evolve(behaviour, fails=_FOR_GOOD), retries, timeout_s
    return behaviour, retries, timeout_s


def _draw_requests(rng: random.Random, asked: int) -> tuple[Request, ...]:
    lot = rng.randrange(_SHARE) - (_SHARE - asked)
    if lot < 0:
        return ()
    at_ms, later_ms = 50 + rng.randrange(4_000), 50 + rng.randrange(4_000)
    if 8 * lot < asked:
        return (Request(at_ms, "cancel"),)
    if 8 * lot < 3 * asked:
        return (Request(8_000 + at_ms, "resume", retry_failed=True),)
    resume = Request(later_ms, "resume", retry_failed=rng.randrange(2) == 0)
    return (Request(at_ms, "cancel"), resume)


# Shapes: the parents of each task, by number.


def _chain(_rng: random.Random, size: int) -> _Parents:
    return [(number - 1,) if number else () for number in range(size)]


def _fan(_rng: random.Random, size: int) -> _Parents:
    """One, many beside one another, and one that waits for all of them."""
    wide = size - 2
    return [(), *((0,) for _ in range(wide)), tuple(range(1, wide + 1))]


def _diamonds(_rng: random.Random, size: int) -> _Parents:
    parents: _Parents = [()]
    while len(parents) + 3 <= size:
        top = len(parents) - 1
        parents += [(top,), (top,), (top + 1, top + 2)]
    return parents


def _layers(rng: random.Random, size: int) -> _Parents:
    parents: _Parents = []
    above: list[int] = []
    while len(parents) < size:
        wide = min(1 + rng.randrange(5), size - len(parents))
        layer = list(range(len(parents), len(parents) + wide))
        for _ in layer:
            some = rng.sample(above, min(len(above), 1 + rng.randrange(3)))
            parents.append(tuple(sorted(some)))
        above = layer
    return parents


def _random(rng: random.Random, size: int) -> _Parents:
    """Draw each task's parents among all before it; some have none."""
    return [
        tuple(sorted(rng.sample(range(number), min(number, rng.randrange(4)))))
        for number in range(size)
    ]


_SHAPES: Mapping[str, Callable[[random.Random, int], _Parents]] = {
    "chain": _chain,
    "fan": _fan,
    "diamonds": _diamonds,
    "layers": _layers,
    "random": _random,
}
