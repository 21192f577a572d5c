"""Schedules: faults that are written down, drawn from a seed, or left after shrinking.

    schedule = Schedule(faults=(Fault(at_ms=10_000, kind="kill", who="leader", for_ms=3_000),))
    with Fleet(seed=7) as fleet:
        schedule.arm(fleet)
        fleet.run(seconds=60)

A schedule is a value. `leader` and the like mean whoever it is when the fault begins.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import msgspec

from federlib.errors import InvalidInput, MissingExtra
from federlib.testing.sim.acts import begin
from federlib.testing.sim.faults import Fault
from federlib.testing.sim.world import World

__all__ = ["MAX_FAULTS", "SAFETY_S", "Schedule"]

MAX_FAULTS = 10_000
"""Of a schedule."""

SAFETY_S = 40
"""How long faults may last where nothing else is said; seconds."""

_LONGEST_NAME = 200
_MS = 1_000_000


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults, each with its time.

    Attributes:
        v: Version of this format.
        name: For people.
        faults: In any order.
    Raises:
        InvalidInput: They are no faults or too many, or the name is no text that can be
            written down.
    """

    v: Literal[1] = 1
    name: str = ""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if type(self.faults) is not tuple or {type(fault) for fault in self.faults} - {Fault}:
            raise InvalidInput("faults", expected="a tuple of faults", found=self.faults)
        if len(self.faults) > MAX_FAULTS:
            raise InvalidInput("faults", expected=f"at most {MAX_FAULTS}", found=len(self.faults))
        is_text = isinstance(self.name, str)
        if not is_text or len(self.name) > _LONGEST_NAME or not self.name.isprintable():
            expected = f"at most {_LONGEST_NAME} printable characters"
            raise InvalidInput("name", expected=expected, found=self.name)

    def arm(self, world: World) -> None:
        """Have all of them happen in a world, from its present on, until it is healed."""
        now_ms = world.sim.now_ns // _MS
        act = partial(begin, world)
        for fault in self.faults:
            world.sim.after(max(0, fault.at_ms - now_ms) * _MS, act, fault)

    def to_json(self) -> str:
        """Return it as JSON, as `read_schedule` takes it."""
        return msgspec.json.encode(self).decode()

    def to_yaml(self) -> str:
        """Return it as YAML, a line for each fault, as `read_schedule` takes it.

        Raises:
            MissingExtra: PyYAML is not installed.
        """
        try:
            import yaml
        except ImportError as error:
            raise MissingExtra("testing", needed_for="a fault schedule in YAML") from error
        plain = msgspec.to_builtins(self)
        text = yaml.safe_dump(
            plain, sort_keys=False, default_flow_style=None, width=math.inf, allow_unicode=True
        )
        return str(text)
