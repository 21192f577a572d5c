"""What a node keeps of its peers: the last coordinate, and a filter of the last round trips.

Source: Ledlie et al., NSDI 2007 (latency filters, coordinate memory).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, sqrt

from federlib.vivaldi.config import VivaldiConfig
from federlib.vivaldi.coordinate import VivaldiCoordinate

__all__ = ["Peer", "Peers"]

_JITTER_RATE = 0.1
_DEVIATION_TO_SIGMA = sqrt(3.141592653589793 / 2)
_MEASURED_SAMPLES = 2
"""One sample may be an outlier; of two the lower one is taken."""
_PRUNE_EVERY = 64


class Peer:
    """One peer.

    Attributes:
        name: Its name.
        coordinate: Where it last said it lies.
        heard_s: When; on the system's clock.
        window: The last round trips, the oldest first; milliseconds.
        filtered_ms: Their lower median.
        serial: The number of the last sample of any peer: higher is newer.
    """

    __slots__ = (
        "_jitter_ms",
        "_own_s",
        "_sampled_s",
        "coordinate",
        "filtered_ms",
        "heard_s",
        "name",
        "serial",
        "window",
    )

    def __init__(self, name: str, coordinate: VivaldiCoordinate, heard_s: float) -> None:
        self.name: str = name
        self.coordinate: VivaldiCoordinate = coordinate
        self.heard_s: float = heard_s
        self.window: tuple[float, ...] = ()
        self.filtered_ms: float = 0.0
        self.serial: int = 0
        self._jitter_ms = 0.0
        self._sampled_s = self._own_s = -inf

    def sample(self, rtt_ms: float, now_s: float, config: VivaldiConfig, *, is_own: bool) -> float:
        """Take in a round trip, and return the filtered one."""
        if now_s - self._sampled_s > config.filter_max_age_s:
            self.window = ()
        self._sampled_s = now_s
        if is_own:
            self._own_s = now_s
        window = self.window
        if window:
            self._jitter_ms += _JITTER_RATE * (abs(rtt_ms - self.filtered_ms) - self._jitter_ms)
        self.window = window = (*window, rtt_ms)[-config.filter_samples :]
        # The lower one of two: round trips err upwards.
        self.filtered_ms = found = sorted(window)[(len(window) - 1) // 2]
        return found

    def is_measured(self, now_s: float, config: VivaldiConfig) -> bool:
        """Say whether the filter alone is a fair estimate, an own measurement among it."""
        return (
            config.direct_first
            and len(self.window) >= _MEASURED_SAMPLES
            and now_s - self._own_s <= config.filter_max_age_s
        )

    def sigma_ms(self, config: VivaldiConfig) -> float:
        """Return the standard deviation of single round trips; milliseconds."""
        found = _DEVIATION_TO_SIGMA * self._jitter_ms
        return min(max(found, config.sigma_min_ms), config.sigma_max_ms)


class Peers:
    """All peers of a node, bounded by number and by silence.

    Args:
        config: Gives both bounds.
    """

    def __init__(self, config: VivaldiConfig) -> None:
        self._config = config
        # In the order in which they were heard of, so that the most silent is the first.
        self._known: dict[str, Peer] = {}
        self._recent: list[Peer] = []
        self._serial = 0
        self.forgotten: int = 0

    def heard(self, name: str, coordinate: VivaldiCoordinate, now_s: float) -> Peer:
        """Take in what a peer says of itself together with a measurement."""
        found = self._known.pop(name, None)
        if found is None:
            found = self._new(name, coordinate, now_s)
        else:
            if now_s - found.heard_s > self._config.coord_ttl_s:
                self.forgotten += 1
                self._erase(found)
                found = Peer(name, coordinate, now_s)
            found.coordinate = coordinate
            found.heard_s = now_s
        self._known[name] = found
        if not self._serial % _PRUNE_EVERY:
            self._prune(now_s)
        # A ring: what was heard longest ago is overwritten.
        recent, at = self._recent, self._serial % self._config.replay_memory
        if at < len(recent):
            recent[at] = found
        else:
            recent.append(found)
        self._serial += 1
        found.serial = self._serial
        return found

    def remember(self, name: str, coordinate: VivaldiCoordinate, now_s: float) -> bool:
        """Take in a coordinate by hearsay, if it is news."""
        told_s = min(now_s, coordinate.updated_at)
        if now_s - told_s > self._config.coord_ttl_s:
            return False
        found = self.find(name, now_s)
        if found is None:
            found = self._new(name, coordinate, told_s)
        elif told_s <= found.heard_s:
            return False
        else:
            del self._known[name]
            found.coordinate = coordinate
            found.heard_s = told_s
        self._known[name] = found
        return True

    def _new(self, name: str, coordinate: VivaldiCoordinate, now_s: float) -> Peer:
        while len(self._known) >= self._config.max_peers:
            self.forget(next(iter(self._known)))
        return Peer(name, coordinate, now_s)

    def find(self, name: str, now_s: float) -> Peer | None:
        """Return a peer that was not silent for longer than `coord_ttl_s`."""
        found = self._known.get(name)
        if found is not None and now_s - found.heard_s > self._config.coord_ttl_s:
            self.forget(name)
            return None
        return found

    def _prune(self, now_s: float) -> None:
        while self._known:
            name, found = next(iter(self._known.items()))
            if now_s - found.heard_s <= self._config.coord_ttl_s:
                return
            self.forget(name)

    def names(self, now_s: float) -> tuple[str, ...]:
        """Name those that are not forgotten, in order."""
        return tuple(sorted(name for name in tuple(self._known) if self.find(name, now_s)))

    def forget(self, name: str) -> bool:
        """Forget one; return whether it was known."""
        found = self._known.pop(name, None)
        if found is None:
            return False
        self.forgotten += 1
        self._erase(found)
        return True

    def _erase(self, peer: Peer) -> None:
        """Take it out of what is replayed."""
        self._recent = [each for each in self._recent if each is not peer]

    def recent(
        self, count: int, but: Peer, draw: Callable[[], float]
    ) -> Iterator[tuple[VivaldiCoordinate, float]]:
        """Draw from the last samples; of each two drawn, the one heard later.

        Args:
            count: How many to draw; those of `but` are left out.
            but: Who has just been learned from.
            draw: Gives numbers from 0 to below 1.
        """
        recent = self._recent
        size = len(recent)
        for _ in range(count):
            found, other = recent[int(draw() * size)], recent[int(draw() * size)]
            if other.serial > found.serial:
                found = other
            if found is not but:
                yield found.coordinate, found.filtered_ms
