"""Real shells on an event loop of virtual time, in the simulator's world.

    played = play_shells(seed=7, schedule=PRESETS["gc_pause"], backend="trio")
    assert not played.violations

The second level of the simulator. What the first drives by hand runs here on asyncio or trio:
`hold`, `Elector`, run loops, leaders and workers of runs, cancellation and time limits. Store,
network, clocks, faults, audits and ledger are those of `federlib.testing.sim`. `ShellSite` is
for your own.

Does not promise: the simulator's speed; a seed takes some tenths of a second. A process that
is stopped or slow is so towards the others: its tasks share one loop with theirs.
"""

from federlib.testing.shells.fleet import SMALL, ShellFleet
from federlib.testing.shells.kernel import LoopSimulation
from federlib.testing.shells.play import play_shells
from federlib.testing.shells.process import Process, ProcessClock, ShellProgram
from federlib.testing.shells.site import ShellSite
from federlib.testing.shells.store import LoopStore
from federlib.testing.shells.workflow import ShellWorkflowFleet, play_shell_workflow

__all__ = [
    "SMALL",
    "LoopSimulation",
    "LoopStore",
    "Process",
    "ProcessClock",
    "ShellFleet",
    "ShellProgram",
    "ShellSite",
    "ShellWorkflowFleet",
    "play_shell_workflow",
    "play_shells",
]
