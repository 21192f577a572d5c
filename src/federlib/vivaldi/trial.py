"""A trial of the system on a matrix of round trips: how well its coordinates predict.

Each round, a second of simulated time, every node in turn measures one other: half the time
one of its fixed neighbours, else any. The other hears of it in the next message, so that both
learn. The error of a pair is |estimate - true| / true by the coordinates alone: what is known
from direct measurements, which is better, is left out.

Source: Dabek et al., SIGCOMM 2004 §4 (near and far neighbours).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import dist
from typing import TYPE_CHECKING

import attrs

from federlib._bounds import number
from federlib.errors import InvalidInput
from federlib.vivaldi.config import DEFAULTS, VivaldiConfig
from federlib.vivaldi.coordinate import VivaldiCoordinate, vivaldi_distance
from federlib.vivaldi.matrix import RttMatrix
from federlib.vivaldi.system import VivaldiCoordinateSystem

if TYPE_CHECKING:
    import random  # noqa: TID251  # for its type: the caller draws the seed

__all__ = ["Noise", "Reading", "TrialResult", "run_trial"]

_STEADY_SHARE = 0.8
"""Steps are counted in the last fifth of the rounds."""
_TRACED_PAIRS = 20_000
"""Enough of them for a line in a picture."""


@attrs.frozen(kw_only=True)
class Noise:
    """What is added to the matrix at each measurement.

    Attributes:
        spread: Sigma of a lognormal factor; 0.1 is about ten percent.
        outliers: Share of measurements that take `outlier_factor` times as long.
        outlier_factor: How much longer.
    Raises:
        InvalidInput: `spread` or `outliers` is not within 0 and 1, or the factor not within 0
            and 1,000,000.
    """

    spread: float = attrs.field(default=0.0, validator=number(0, 1))
    outliers: float = attrs.field(default=0.0, validator=number(0, 1))
    outlier_factor: float = attrs.field(default=10.0, validator=number(0, 1e6))

    def of(self, rtt_ms: float, rng: random.Random) -> float:
        """Measure once; milliseconds."""
        if self.spread:
            rtt_ms *= rng.lognormvariate(0.0, self.spread)
        if self.outliers and rng.random() < self.outliers:
            rtt_ms *= self.outlier_factor
        return rtt_ms


@attrs.frozen
class Reading:
    """Errors over all pairs, at one time.

    Attributes:
        samples: Measurements that each node has made.
        median: Of the relative errors.
        p90: Their 90th percentile.
    """

    samples: int
    median: float
    p90: float


@attrs.frozen
class TrialResult:
    """What one trial found.

    Attributes:
        readings: At each number of samples that was asked for.
        trace: The same for a part of the pairs, at the numbers asked for as trace.
        step_ms: How far one update moves a node on the average, in the last fifth.
        ucb_coverage: Share of pairs of which one more measurement lies below the bound.
        rank_loss: Share of the peers that are nearer than the one predicted to be nearest.
        refused: Share of the measurements that taught nothing: longer than `rtt_max_ms`.
    """

    readings: tuple[Reading, ...]
    trace: tuple[Reading, ...]
    step_ms: float
    ucb_coverage: float
    rank_loss: float
    refused: float = 0.0


def run_trial(
    matrix: RttMatrix,
    *,
    samples: Sequence[int],
    rng: random.Random,
    neighbours: int = 32,
    noise: Noise | None = None,
    config: VivaldiConfig = DEFAULTS,
    trace: Sequence[int] = (),
) -> TrialResult:
    """Let a node for each row learn, and read how well they predict.

    Several slices of the matrix follow one another over the length of the trial; errors are
    always against their median.

    Args:
        matrix: The round trips.
        samples: After how many measurements of each node to read; the most ends the trial.
        rng: Draws neighbours, measurements and noise, and a seed for each node.
        neighbours: How many fixed ones each node has.
        noise: None is none.
        config: Of every node.
        trace: After how many to read a part of the pairs.
    Raises:
        InvalidInput: No number of samples, or one below 1; fewer than 0 neighbours; or each
            round trip is longer than `rtt_max_ms`, and all of them would be refused.
    """
    # `type`, because True is an int too.
    if not samples or any(type(each) is not int or each < 1 for each in [*samples, *trace]):
        raise InvalidInput("samples", expected="integers from 1", found=[*samples, *trace])
    if type(neighbours) is not int or neighbours < 0:
        raise InvalidInput("neighbours", expected="an integer from 0", found=neighbours)
    shortest_ms = min(rtt_ms for row in matrix.truth for rtt_ms in row if rtt_ms > 0)
    if shortest_ms > config.rtt_max_ms:
        raise InvalidInput(
            "matrix",
            expected=f"milliseconds, and some of at most {config.rtt_max_ms:g} (rtt_max_ms)",
            found=f"{shortest_ms:g} as the shortest",
        )
    return _Trial(matrix, rng, neighbours, noise or Noise(), config).run(samples, trace)


class _Trial:
    def __init__(
        self,
        matrix: RttMatrix,
        rng: random.Random,
        neighbours: int,
        noise: Noise,
        config: VivaldiConfig,
    ) -> None:
        self._matrix, self._rng, self._noise = matrix, rng, noise
        self._now_s = 0.0
        size = matrix.nodes
        self._names = [f"node-{i}" for i in range(size)]
        kind = type(rng)
        self._systems = [
            VivaldiCoordinateSystem(config, now_s=self._now, rng=kind(rng.getrandbits(64)))
            for _ in range(size)
        ]
        others = [[j for j in range(size) if matrix.truth[i][j] > 0] for i in range(size)]
        self._others = others
        self._neighbours = [
            rng.sample(peers, min(neighbours, len(peers))) or peers for peers in others
        ]
        self._moved_ms, self._moves = 0.0, 0
        self._measured = self._refused = 0

    def _now(self) -> float:
        return self._now_s

    def run(self, samples: Sequence[int], trace: Sequence[int]) -> TrialResult:
        readings: list[Reading] = []
        traced: list[Reading] = []
        rounds, slices = max(samples), self._matrix.slices
        for turn in range(1, rounds + 1):
            self._now_s += 1.0
            rows = slices[(turn - 1) * len(slices) // rounds]
            self._round(rows, is_steady=turn > _STEADY_SHARE * rounds)
            if turn in samples:
                readings.append(self._read(turn, stride=1))
            if turn in trace:
                pairs = self._matrix.nodes**2
                traced.append(self._read(turn, stride=1 + pairs // _TRACED_PAIRS))
        return TrialResult(
            tuple(readings),
            tuple(traced),
            self._moved_ms / self._moves if self._moves else 0.0,
            self._coverage(),
            self._rank_loss(),
            self._refused / self._measured if self._measured else 0.0,
        )

    def _round(self, rows: Sequence[Sequence[float]], *, is_steady: bool) -> None:
        draw, systems, names = self._rng.random, self._systems, self._names
        for i, near in enumerate(self._neighbours):
            peers = near if draw() < 0.5 else self._others[i]
            if not peers:
                continue
            j = peers[int(draw() * len(peers))]
            if rows[i][j] <= 0:
                continue
            rtt_ms = self._noise.of(rows[i][j], self._rng)
            mine, theirs = systems[i], systems[j]
            if is_steady:
                before = mine.get_local_coordinate(), theirs.get_local_coordinate()
            self._measured += 1
            if not mine.update_coordinate(names[j], theirs.get_local_coordinate(), rtt_ms):
                self._refused += 1
            theirs.observe(names[i], mine.get_local_coordinate(), rtt_ms)
            if is_steady:
                self._count(before[0], mine.get_local_coordinate())
                self._count(before[1], theirs.get_local_coordinate())

    def _count(self, before: VivaldiCoordinate, after: VivaldiCoordinate) -> None:
        self._moved_ms += dist(before.position, after.position) + abs(before.height - after.height)
        self._moves += 1

    def _pairs(self) -> Iterator[tuple[int, int, float]]:
        for i, row in enumerate(self._matrix.truth):
            for j, rtt_ms in enumerate(row):
                if rtt_ms > 0:
                    yield i, j, rtt_ms

    def _read(self, samples: int, *, stride: int) -> Reading:
        coords = [system.get_local_coordinate() for system in self._systems]
        errors = sorted(
            abs(vivaldi_distance(coords[i], coords[j]) - rtt_ms) / rtt_ms
            for number, (i, j, rtt_ms) in enumerate(self._pairs())
            if not number % stride
        )
        return Reading(samples, errors[len(errors) // 2], errors[int(len(errors) * 0.9)])

    def _coverage(self) -> float:
        coords = [system.get_local_coordinate() for system in self._systems]
        below = found = 0
        for i, j, rtt_ms in self._pairs():
            measured_ms = self._noise.of(rtt_ms, self._rng)
            below += measured_ms <= self._systems[i].predict(coords[j]).ucb_ms
            found += 1
        return below / found

    def _rank_loss(self) -> float:
        coords = [system.get_local_coordinate() for system in self._systems]
        losses = []
        for i, peers in enumerate(self._others):
            if len(peers) > 1:
                row = self._matrix.truth[i]
                chosen = min(peers, key=lambda j: vivaldi_distance(coords[i], coords[j]))
                nearer = sum(row[j] < row[chosen] for j in peers)
                losses.append(nearer / (len(peers) - 1))
        return sum(losses) / len(losses) if losses else 0.0
