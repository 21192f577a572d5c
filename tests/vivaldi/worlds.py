"""Systems on a clock that tests set, and small worlds of round trips."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import attrs

from federlib.vivaldi import (
    DEFAULTS,
    RttMatrix,
    VivaldiConfig,
    VivaldiCoordinate,
    VivaldiCoordinateSystem,
)

Rtt = Callable[[int, int], float]


@attrs.define
class Now:
    """A monotonic clock; seconds."""

    s: float = 1_000.0

    def __call__(self) -> float:
        return self.s


def system(
    now: Now | None = None, config: VivaldiConfig = DEFAULTS, *, seed: int = 1
) -> VivaldiCoordinateSystem:
    return VivaldiCoordinateSystem(config, now_s=now or Now(), rng=random.Random(seed))


def at(
    *position: float,
    height: float = 0.01,
    error: float = 0.2,
    samples: int = 100,
    updated_at: float = 1_000.0,
    residual_ms: float = 5.0,
) -> VivaldiCoordinate:
    return VivaldiCoordinate(
        position=position,
        height=height,
        error=error,
        sample_count=samples,
        updated_at=updated_at,
        residual_ms=residual_ms,
    )


def plane(size: int, *, seed: int = 0, side_ms: float = 100.0) -> RttMatrix:
    """Make nodes in a square, each with an access link; a space in which all pairs fit."""
    rng = random.Random(seed)
    places = [(rng.uniform(0, side_ms), rng.uniform(0, side_ms)) for _ in range(size)]
    links = [rng.uniform(1, 5) for _ in range(size)]
    return matrix(size, lambda i, j: math.dist(places[i], places[j]) + links[i] + links[j])


def globe(size: int, *, seed: int = 0) -> RttMatrix:
    """Make nodes in cities on a sphere, with detours: no space fits."""
    rng = random.Random(seed)

    def point(middle: Sequence[float], spread: float) -> list[float]:
        drawn = [each + rng.gauss(0, spread) for each in middle]
        return [each / math.hypot(*drawn) for each in drawn]

    cities = [point((0, 0, 0), 1) for _ in range(12)]
    places = [point(rng.choice(cities), 0.15) for _ in range(size)]
    links = [rng.expovariate(1 / 4) for _ in range(size)]

    def rtt(i: int, j: int) -> float:
        dot = sum(a * b for a, b in zip(places[i], places[j], strict=True))
        ms = math.acos(max(-1.0, min(1.0, dot))) * 6_371 / 100 * 1.4
        return 0.2 + links[i] + links[j] + ms * math.exp(abs(rng.gauss(0, 0.2)))

    return matrix(size, rtt)


def centres(sizes: Sequence[int], between_ms: float, *, seed: int = 0) -> RttMatrix:
    """Make data centres, `between_ms` apart, about 0.2 ms wide inside."""
    rng = random.Random(seed)
    where = [number for number, size in enumerate(sizes) for _ in range(size)]

    def rtt(i: int, j: int) -> float:
        if where[i] == where[j]:
            return rng.lognormvariate(math.log(0.2), 0.4)
        return between_ms * abs(where[i] - where[j]) + rng.uniform(0.1, 0.4)

    return matrix(len(where), rtt)


def matrix(size: int, rtt: Rtt) -> RttMatrix:
    """Make a symmetric matrix."""
    rows = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i):
            rows[i][j] = rows[j][i] = rtt(i, j)
    return RttMatrix((rows,), rows)


class Fleet:
    """Nodes that measure each other once a second each, both ends learning."""

    def __init__(
        self, rows: Sequence[Sequence[float]], config: VivaldiConfig = DEFAULTS, *, seed: int = 0
    ) -> None:
        self.rows = rows
        self.now = Now(0.0)
        self.rng = random.Random(seed)
        self.nodes = [system(self.now, config, seed=seed * 10_000 + i) for i in range(len(rows))]
        self.names = [f"n{i}" for i in range(len(rows))]

    def coordinate(self, i: int) -> VivaldiCoordinate:
        """Say what a node tells of itself."""
        return self.nodes[i].get_local_coordinate()

    def seconds(self, count: int) -> None:
        """Let each node measure that often."""
        size = len(self.rows)
        for _ in range(count):
            self.now.s += 1
            for i in range(size):
                j = (i + self.rng.randrange(1, size)) % size
                self.nodes[i].update_coordinate(self.names[j], self.coordinate(j), self.rows[i][j])
                self.nodes[j].observe(self.names[i], self.coordinate(i), self.rows[i][j])

    def error(self, pairs: Callable[[int, int], bool] = lambda _i, _j: True) -> float:
        """Return the median relative error of predictions over some pairs."""
        found = sorted(
            abs(self.nodes[i].predict(self.coordinate(j)).rtt_ms - rtt) / rtt
            for i, row in enumerate(self.rows)
            for j, rtt in enumerate(row)
            if rtt and pairs(i, j)
        )
        return found[len(found) // 2]
