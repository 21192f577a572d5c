"""Schedules: faults that are written down, drawn from a seed, or left after shrinking.

    schedule = Schedule(faults=(Fault(at_ms=10_000, kind="kill", who="leader", for_ms=3_000),))
    with Fleet(seed=7) as fleet:
        schedule.arm(fleet)
        fleet.run(seconds=60)

A schedule is a value. `leader` and the like mean whoever it is when the fault begins.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import msgspec

from federlib.errors import InvalidInput
from federlib.testing.sim.acts import begin
from federlib.testing.sim.faults import Fault
from federlib.testing.sim.world import World

__all__ = ["MAX_FAULTS", "Schedule", "read_schedule"]

MAX_FAULTS = 10_000
"""Of a schedule."""

_MS = 1_000_000


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults, each with its time.

    Attributes:
        v: Version of this format.
        name: For people.
        faults: In any order.
    """

    v: Literal[1] = 1
    name: str = ""
    faults: tuple[Fault, ...] = ()

    def arm(self, world: World) -> None:
        """Have all of them happen in a world, from its present on, until it is healed."""
        now_ms = world.sim.now_ns // _MS
        act = partial(begin, world)
        for fault in self.faults:
            world.sim.after(max(0, fault.at_ms - now_ms) * _MS, act, fault)

    def to_json(self) -> str:
        """Return it as JSON, as `read_schedule` takes it."""
        return msgspec.json.encode(self).decode()


def read_schedule(text: str | bytes) -> Schedule:
    """Read a schedule from JSON.

    Raises:
        InvalidInput: It is none; says where and why.
    """
    try:
        schedule = msgspec.json.decode(text, type=Schedule)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            "fault schedule", expected=f"a schedule ({error})", found=text
        ) from error
    if len(schedule.faults) > MAX_FAULTS:
        raise InvalidInput("faults", expected=f"at most {MAX_FAULTS}", found=len(schedule.faults))
    return schedule
