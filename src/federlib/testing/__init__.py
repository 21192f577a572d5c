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
    from federlib.testing.store_view import StoreView
    from federlib.testing.virtual_time import (
        LoopClock,
        VirtualTime,
        run_virtually,
        stall,
        virtual_backend,
    )

__all__ = [
    "DiskOperation",
    "Fault",
    "LoopClock",
    "ManualClock",
    "ProcessEnded",
    "SimulatedDisk",
    "SkewedClock",
    "StoreView",
    "VirtualTime",
    "every_choice",
    "run_virtually",
    "stall",
    "swarm_choice",
    "virtual_backend",
]

_HOMES = {
    "DiskOperation": "federlib.testing.disk",
    "Fault": "federlib.testing.disk",
    "LoopClock": "federlib.testing.virtual_time",
    "ManualClock": "federlib.testing.clocks",
    "ProcessEnded": "federlib.testing.disk",
    "SimulatedDisk": "federlib.testing.disk",
    "SkewedClock": "federlib.testing.clocks",
    "StoreView": "federlib.testing.store_view",
    "VirtualTime": "federlib.testing.virtual_time",
    "every_choice": "federlib.testing.disk",
    "run_virtually": "federlib.testing.virtual_time",
    "stall": "federlib.testing.virtual_time",
    "swarm_choice": "federlib.testing.disk",
    "virtual_backend": "federlib.testing.virtual_time",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'federlib.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
