"""The deterministic simulator: many nodes, one thread, virtual time, everything from a seed."""

from federlib.testing.sim.clock import SimulatedClock
from federlib.testing.sim.kernel import SECOND_NS, Simulation, Trace
from federlib.testing.sim.network import Delay, Link, Network, Spread, Table
from federlib.testing.sim.node import Node, Program
from federlib.testing.sim.store import SimulatedStore, StoreClient, StoreFaults
from federlib.testing.sim.tasks import Future, SimulatedPace

__all__ = [
    "SECOND_NS",
    "Delay",
    "Future",
    "Link",
    "Network",
    "Node",
    "Program",
    "SimulatedClock",
    "SimulatedPace",
    "SimulatedStore",
    "Simulation",
    "Spread",
    "StoreClient",
    "StoreFaults",
    "Table",
    "Trace",
]
