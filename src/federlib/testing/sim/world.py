"""What a world must have so that faults can strike it: processes, a network, a store.

`Fleet` is one. Another world takes the same schedules when it has these names; mypy says where
it has not. What the faults of its schedule never touch may be left as it is.
"""

from __future__ import annotations

import random  # noqa: TID251 (the type of a stream of chance)
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from federlib.testing.sim.network import Link
from federlib.testing.sim.store import StoreFaults
from federlib.testing.sim.troubles import Troubles

__all__ = ["FaultyClock", "FaultyNetwork", "FaultyProcess", "FaultyStore", "Stage", "World"]

_A = TypeVar("_A")


class Stage(Protocol):
    """Time and chance, as `Simulation` has them."""

    @property
    def now_ns(self) -> int:
        """The present; nanoseconds from the beginning."""
        ...

    def after(self, delay_ns: int, call: Callable[[_A], object], argument: _A) -> None:
        """Call a function with one argument when a time has passed."""
        ...

    def note(self, kind: str, *words: int | str) -> None:
        """Note what happens at the present."""
        ...

    def rng(self, name: str) -> random.Random:
        """Return the stream of chance of one purpose."""
        ...


class FaultyClock(Protocol):
    """The clocks of a machine, as `SimulatedClock` has them."""

    @property
    def drift_ppm(self) -> int:
        """How much too fast they run at present."""
        ...

    def drift(self, ppm: int) -> None:
        """Change their rate; -1,000,000 freezes them."""
        ...

    def step_wall(self, by_ns: int) -> None:
        """Set the wall clock forward or back."""
        ...

    def reboot(self) -> None:
        """Begin a new boot."""
        ...


class FaultyProcess(Protocol):
    """A process, as `Node` is one."""

    @property
    def name(self) -> str:
        """Who it is, and its place in the network."""
        ...

    @property
    def life(self) -> int:
        """Counts its starts."""
        ...

    @property
    def is_up(self) -> bool:
        """It runs, or is stopped and may go on."""
        ...

    @property
    def clock(self) -> FaultyClock:
        """Of its machine."""
        ...

    def start(self) -> None:
        """Start it, or start it again."""
        ...

    def kill(self) -> None:
        """Kill it; nothing where it is not up."""
        ...

    def stop(self) -> None:
        """Stop it, as SIGSTOP does."""
        ...

    def go_on(self) -> None:
        """Let it go on."""
        ...

    def slow(self, lag_ns: int) -> None:
        """Make everything that it does take so long; 0 for a quick one."""
        ...


class FaultyNetwork(Protocol):
    """Links, as `Network` has them."""

    @property
    def default(self) -> Link:
        """What a link is like that nothing else is said of."""
        ...

    def cut(self, sources: Sequence[str], targets: Sequence[str], *, is_cut: bool = True) -> None:
        """Cut the links from some places to others, or mend them."""
        ...


class FaultyStore(Protocol):
    """A store, as `SimulatedStore` is one."""

    @property
    def name(self) -> str:
        """Its place in the network."""
        ...

    @property
    def faults(self) -> StoreFaults:
        """What goes wrong with it."""
        ...


class World(Protocol):
    """What a schedule can be armed in.

    Attributes:
        has_odd_clocks: Set when a clock leaves the bounds that were promised.
    """

    has_odd_clocks: bool

    @property
    def sim(self) -> Stage:
        """Time and chance."""
        ...

    @property
    def nodes(self) -> Mapping[str, FaultyProcess]:
        """Its processes, by name."""
        ...

    @property
    def leader(self) -> FaultyProcess | None:
        """Which of them leads, if one does."""
        ...

    @property
    def network(self) -> FaultyNetwork:
        """Between them and the store."""
        ...

    @property
    def store(self) -> FaultyStore:
        """The store."""
        ...

    @property
    def troubles(self) -> Troubles:
        """What is wrong at present. Whoever heals the world says `troubles.over()`."""
        ...

    def strike(self, name: str) -> None:
        """Note that a fault has struck a process, or with "" all of them."""
        ...

    def mend(self, name: str) -> None:
        """Note that none strikes it any more."""
        ...

    def replay_stale(self) -> bool:
        """Have something issued again in the name of a reign that is over; say if there is one."""
        ...
