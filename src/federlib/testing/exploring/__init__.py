"""Exploring: many seeds of several simulated worlds, on all cores, and what they have covered.

    $ python -m federlib.testing.exploring --seeds 2000
    $ python -m federlib.testing.exploring --seeds 1000000 --state soak.json --seconds 3600

Each seed is one world with its faults; which world it is follows from the seed. Without
`--first` the seeds are fresh ones, so no two runs explore the same. One that finds something
tells its seed and the command that plays it again.

Does not promise: that what was not found is not there.
"""

from federlib.testing.exploring.coverage import Coverage, Finding
from federlib.testing.exploring.running import Exploration
from federlib.testing.exploring.worlds import WORLDS, look, world_of

__all__ = ["WORLDS", "Coverage", "Exploration", "Finding", "look", "world_of"]
