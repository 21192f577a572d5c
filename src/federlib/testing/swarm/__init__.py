"""A swarm of membership cores in simulated time, and the grid that they are measured on."""

from federlib.testing.swarm.grid import Cell, Run, Summary, play, summarise
from federlib.testing.swarm.network import Links
from federlib.testing.swarm.world import Seen, Swarm, Traffic

__all__ = ["Cell", "Links", "Run", "Seen", "Summary", "Swarm", "Traffic", "play", "summarise"]
