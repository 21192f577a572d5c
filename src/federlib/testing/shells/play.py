"""Playing seeds on an event loop: faults, then all is healed, and then it must go on."""

from __future__ import annotations

import anyio

from federlib.testing.shells.fleet import SMALL, ShellFleet
from federlib.testing.sim.drawing import given_or_drawn
from federlib.testing.sim.explore import Played, conclude, patience_s
from federlib.testing.sim.fleet import Terms
from federlib.testing.sim.schedule import SAFETY_S, Schedule
from federlib.testing.virtual_time import Backend, run_virtually

__all__ = ["play_shells"]


def play_shells(
    seed: int,
    schedule: Schedule | None = None,
    *,
    backend: Backend = "asyncio",
    terms: Terms = SMALL,
    safety_s: int = SAFETY_S,
) -> Played:
    """Play one seed to its end with real shells, as `federlib.testing.sim.play` does.

    Args:
        seed: Everything follows from it.
        schedule: The faults; by default drawn from the seed.
        backend: On which event loop.
        terms: What the fleet is like.
        safety_s: How long faults may last; then they are healed.
    Raises:
        InvalidInput: An argument is of another type, or out of range.
    """

    async def main() -> Played:
        async with ShellFleet(seed, terms) as fleet:
            faults = given_or_drawn(schedule, fleet.sim, safety_s)
            faults.arm(fleet)
            await anyio.sleep(safety_s)
            fleet.heal()
            healed_ns, done = fleet.sim.now_ns, len(fleet.ledger.calls)
            await anyio.sleep(patience_s(terms))
            return conclude(fleet, faults, healed_ns=healed_ns, done=done)

    return run_virtually(main, backend, seed=seed)
