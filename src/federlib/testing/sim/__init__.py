"""The deterministic simulator: many nodes, one thread, virtual time, everything from a seed.

    played = play(seed=7)
    assert not played.violations, shrunk(played).schedule

`play` has a fleet of processes elect a leader, issue commands and act on them while whatever
can go wrong does, then heals everything and asks that it goes on. The processes run federlib's
own coroutines. `Simulation`, `Node`, `Network` and `SimulatedStore` are there for programs of
your own.

Does not promise: to find what depends on real threads, files or sockets. It does not run
asyncio's or trio's loop either: for that there is virtual time of the loop itself.
"""

from federlib.testing.sim.backend import on_loop
from federlib.testing.sim.clock import SimulatedClock
from federlib.testing.sim.drawing import draw_schedule, draw_terms
from federlib.testing.sim.explore import Played, explore, play, shrunk
from federlib.testing.sim.faults import KINDS, Fault, Kind
from federlib.testing.sim.fleet import Fleet, Terms
from federlib.testing.sim.kernel import SECOND_NS, Simulation, Trace
from federlib.testing.sim.ledger import Ledger
from federlib.testing.sim.network import Delay, Link, Network, Spread, Table
from federlib.testing.sim.node import Node, Program
from federlib.testing.sim.play_workflow import WorkflowPlayed, play_workflow, shrunk_workflow
from federlib.testing.sim.presets import PRESETS, preset
from federlib.testing.sim.schedule import Schedule
from federlib.testing.sim.schedule_text import read_schedule
from federlib.testing.sim.shrinking import shrink
from federlib.testing.sim.store import SimulatedStore, StoreClient, StoreFaults
from federlib.testing.sim.tasks import Future, SimulatedPace
from federlib.testing.sim.troubles import Troubles
from federlib.testing.sim.workflow import WorkflowFleet, WorkflowTerms
from federlib.testing.sim.world import World

__all__ = [
    "KINDS",
    "PRESETS",
    "SECOND_NS",
    "Delay",
    "Fault",
    "Fleet",
    "Future",
    "Kind",
    "Ledger",
    "Link",
    "Network",
    "Node",
    "Played",
    "Program",
    "Schedule",
    "SimulatedClock",
    "SimulatedPace",
    "SimulatedStore",
    "Simulation",
    "Spread",
    "StoreClient",
    "StoreFaults",
    "Table",
    "Terms",
    "Trace",
    "Troubles",
    "WorkflowFleet",
    "WorkflowPlayed",
    "WorkflowTerms",
    "World",
    "draw_schedule",
    "draw_terms",
    "explore",
    "on_loop",
    "play",
    "play_workflow",
    "preset",
    "read_schedule",
    "shrink",
    "shrunk",
    "shrunk_workflow",
]
