"""What federlib is tested with, for your own tests too.

Not imported by anything else in federlib. The contract suites live in modules of their own
(`federlib.testing.store_contract`, `federlib.testing.lease_contract`) because they need pytest.
"""

from __future__ import annotations

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
