"""A swarm of membership cores in simulated time, and the grid that they are measured on.

    swarm = Swarm(50, seed=7, links=Links(loss=0.01), starved=range(3, 8))
    swarm.start()
    swarm.at(60.0, lambda: swarm.crash(49))
    swarm.run(120.0)
    assert swarm.false_deaths() == []

One seed replays all of it. Two minutes of fifty members take some seconds.

*Does not promise*: that a real network is like this one. Delays are drawn evenly and packets
are lost one by one; real ones come in bursts.
"""

from __future__ import annotations

from federlib.testing.swarm.grid import Cell, Run, Summary, play, summarise
from federlib.testing.swarm.network import Links
from federlib.testing.swarm.world import Seen, Swarm, Traffic

__all__ = ["Cell", "Links", "Run", "Seen", "Summary", "Swarm", "Traffic", "play", "summarise"]
