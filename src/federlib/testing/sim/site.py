"""`Site`: simulated processes, the network between them, and their one store; ill and healed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from federlib.storage import Batch
from federlib.testing.sim.clock import SimulatedClock
from federlib.testing.sim.kernel import SECOND_NS, Simulation
from federlib.testing.sim.network import Link, Network
from federlib.testing.sim.node import Node
from federlib.testing.sim.store import SimulatedStore, StoreFaults
from federlib.testing.sim.troubles import Troubles

__all__ = ["Site"]

_NEVER_NS = 2**62
_RECOVERY_NS = 8 * SECOND_NS


class Site:
    """What a world of processes stands on.

    Attributes:
        sim: The kernel.
        network: Between the nodes and the store.
        store: The one that they share.
        nodes: By name.
        has_odd_clocks: A clock has left the bounds that were promised.
        troubles: What is wrong with it at present.
        is_healed: No more faults come.
    """

    def __init__(self, sim: Simulation, hear: Callable[[Batch], object]) -> None:
        """Make one without processes; `hear` is told of each commit as it is made."""
        self.sim: Simulation = sim
        self.network: Network = Network(sim)
        self.store: SimulatedStore = SimulatedStore(sim, self.network, hear=hear)
        self.nodes: dict[str, Node] = {}
        self.has_odd_clocks: bool = False
        self.troubles: Troubles = Troubles()
        self.is_healed: bool = False
        self._ill_until_ns: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.sim.close()

    def draw_clock(self, name: str, *, offset_ms: int, drift_ppm: int) -> SimulatedClock:
        """Give a machine clocks that are wrong by up to so much."""
        draw = self.sim.rng("clocks").randrange
        offset_ns = offset_ms * 1_000_000
        return SimulatedClock(
            self.sim,
            f"machine-{name}",
            offset_ns=draw(-offset_ns, offset_ns + 1),
            drift_ppm=draw(-drift_ppm, drift_ppm + 1),
        )

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        self.sim.run(until_ns=self.sim.now_ns + round(seconds * SECOND_NS))

    def strike(self, name: str) -> None:
        """Note that a fault has struck a process, or with "" all of them."""
        self._ill_until_ns[name] = _NEVER_NS

    def mend(self, name: str) -> None:
        """Note that it is over; what it left behind is given some seconds."""
        self._ill_until_ns[name] = self.sim.now_ns + _RECOVERY_NS

    def is_well(self, name: str) -> bool:
        """Say whether a process has run for a while, and nothing hinders it."""
        node, ill = self.nodes.get(name), self._ill_until_ns
        if node is None or not node.is_up or self.has_odd_clocks:
            return False
        return max(ill.get(name, 0), ill.get("", 0)) < self.sim.now_ns

    def heal(self) -> None:
        """End all faults: links, store, clocks' rates, and every process is up and quick."""
        self.is_healed = True
        self.troubles.over()
        self.network.default = Link()
        self.network.heal()
        self.store.faults = StoreFaults()
        for node in self.nodes.values():
            node.go_on()
            node.slow(0)
            node.clock.drift(0)
            if not node.is_up:
                node.start()
        for name in ("", *self.nodes):
            self.mend(name)
        self.sim.note("heal")

    def hex_drawer(self, name: str) -> Callable[[], str]:
        """Return what draws random hex digits for one process."""
        rng = self.sim.rng(f"hex {name}")
        return lambda: f"{rng.getrandbits(64):016x}"
