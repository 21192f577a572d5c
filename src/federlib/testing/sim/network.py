"""A network that delays, loses, repeats, reorders and cuts; one direction at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import attrs

from federlib.errors import InvalidInput
from federlib.testing.sim.kernel import SECOND_NS, Simulation

__all__ = ["Delay", "Link", "Network", "Spread", "Table"]

_MILLION = 1_000_000
_A = TypeVar("_A")


class Delay(Protocol):
    """How long a message is on its way."""

    def draw(self, below: Callable[[int], int]) -> int:
        """Return nanoseconds; `below(n)` draws an integer from 0 up to n."""
        ...


def _check_order(_instance: object, _attribute: object, value: tuple[int, int]) -> None:
    low, high = value
    if not 0 <= low <= high:
        raise InvalidInput("delay", expected="0 <= low <= high", found=value)


@attrs.frozen
class Spread:
    """Evenly between two bounds; nanoseconds, both included."""

    bounds_ns: tuple[int, int] = attrs.field(validator=_check_order)
    low_ns: int = attrs.field(init=False, repr=False, eq=False)
    width_ns: int = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        low, high = self.bounds_ns
        object.__setattr__(self, "low_ns", low)
        object.__setattr__(self, "width_ns", high - low + 1)

    def draw(self, below: Callable[[int], int]) -> int:
        """Draw one."""
        return self.low_ns + below(self.width_ns)


@attrs.frozen
class Table:
    """As measured: one of these; nanoseconds, more of what comes more often."""

    samples_ns: Sequence[int]

    def draw(self, below: Callable[[int], int]) -> int:
        """Draw one."""
        return self.samples_ns[below(len(self.samples_ns))]


_LAN = Spread((100_000, 900_000))


@attrs.define
class Link:
    """One direction between two places, as it is now.

    Attributes:
        delay: Of each message; drawn anew for each, so that messages overtake.
        loss_ppm: Messages lost; parts per million.
        repeat_ppm: Messages that arrive twice; parts per million.
        bytes_per_s: What it carries; None for no bound. Messages wait in line for it.
    """

    delay: Delay = _LAN
    loss_ppm: int = 0
    repeat_ppm: int = 0
    bytes_per_s: int | None = None
    free_at_ns: int = 0


class Network:
    """All links of a simulation; what was not set is as `default`.

    Attributes:
        default: What a link that was never touched is like.
        sent: Messages that left.
        lost: Messages that never arrived.
    """

    def __init__(self, sim: Simulation, default: Link | None = None) -> None:
        self.default: Link = default or Link()
        self.sent: int = 0
        self.lost: int = 0
        self._sim = sim
        self._after = sim.after
        self._links: dict[tuple[str, str], Link] = {}
        # Not a field of the link: a link that is cut still follows `default`.
        self._cuts: set[tuple[str, str]] = set()
        self._below = sim.below("network")
        self._random = sim.rng("network").random

    def link(self, source: str, target: str) -> Link:
        """Return the link from one place to another; change it as you like."""
        found = self._links.get((source, target))
        if found is None:
            found = self._links[source, target] = attrs.evolve(self.default)
        return found

    def cut(self, sources: Sequence[str], targets: Sequence[str], *, is_cut: bool = True) -> None:
        """Cut the links from some places to others, or mend them; one direction only."""
        for source in sources:
            for target in targets:
                if source != target:
                    (self._cuts.add if is_cut else self._cuts.discard)((source, target))

    def part(self, some: Sequence[str], others: Sequence[str], *, is_cut: bool = True) -> None:
        """Cut both directions between two groups, or mend them."""
        self.cut(some, others, is_cut=is_cut)
        self.cut(others, some, is_cut=is_cut)

    def heal(self) -> None:
        """Mend every link: back to `default`."""
        self._links.clear()
        self._cuts.clear()

    def send(
        self,
        source: str,
        target: str,
        arrive: Callable[[_A], object],
        message: _A,
        *,
        size: int = 200,
    ) -> bool:
        """Send a message: `arrive` is called with it once, later; or never, or twice.

        Returns:
            Whether it will arrive: for who simulates a transport that finds that out.
        """
        self.sent += 1
        # Mostly, no link differs from the others, and none is cut.
        links, cuts, link = self._links, self._cuts, self.default
        if links:
            link = links.get((source, target), link)
        is_lost = link.loss_ppm and self._below(_MILLION) < link.loss_ppm
        if is_lost or (cuts and (source, target) in cuts):
            self.lost += 1
            return False
        delay = link.delay
        if delay.__class__ is Spread:
            # By far the most frequent; as `draw`, without two calls.
            delay_ns = delay.low_ns + int(self._random() * delay.width_ns)
        else:
            delay_ns = delay.draw(self._below)
        if link.bytes_per_s is not None:
            now = self._sim.now_ns
            link.free_at_ns = max(now, link.free_at_ns) + size * SECOND_NS // link.bytes_per_s
            delay_ns += link.free_at_ns - now
        self._after(delay_ns, arrive, message)
        if link.repeat_ppm and self._below(_MILLION) < link.repeat_ppm:
            self._sim.after(delay_ns + link.delay.draw(self._below), arrive, message)
        return True
