"""What federlib is tested with, for your own tests too.

Not imported by anything else in federlib. The contract suites live in modules of their own
(`federlib.testing.store_contract`, `federlib.testing.lease_contract`) because they need pytest,
and so do the strategies (`federlib.testing.strategies`), which need Hypothesis.

Nothing is imported until it is used: pytest loads `federlib.testing.plugin` in every project
that has federlib installed, and the plugin comes through here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from federlib.testing.clocks import ManualClock, SkewedClock
    from federlib.testing.disk import (
        DiskOperation,
        Fault,
        ProcessEnded,
        SimulatedDisk,
        every_choice,
        swarm_choice,
    )

__all__ = [
    "DiskOperation",
    "Fault",
    "ManualClock",
    "ProcessEnded",
    "SimulatedDisk",
    "SkewedClock",
    "every_choice",
    "swarm_choice",
]

_HOMES = {
    "DiskOperation": "federlib.testing.disk",
    "Fault": "federlib.testing.disk",
    "ManualClock": "federlib.testing.clocks",
    "ProcessEnded": "federlib.testing.disk",
    "SimulatedDisk": "federlib.testing.disk",
    "SkewedClock": "federlib.testing.clocks",
    "every_choice": "federlib.testing.disk",
    "swarm_choice": "federlib.testing.disk",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'federlib.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
