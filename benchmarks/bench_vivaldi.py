"""What a coordinate costs, and how well it predicts.

Speed: the public update and the public estimate, validated and locked, beside bare CPython
functions that do the same arithmetic with local state: no check, no lock, no peers, no counts.
Each ratio is the median of alternating rounds.

Accuracy: trials on shared measurements, where they are to be had, beside what the coordinates
of serf reached on the same matrix by the same protocol (decision 0021; they are not run here).
"""

from __future__ import annotations

import gc
import gzip
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from math import dist, hypot, sqrt
from pathlib import Path

import attrs

from benchmarks.table import Row
from federlib.vivaldi import (
    DEFAULTS,
    Noise,
    VivaldiConfig,
    VivaldiCoordinate,
    VivaldiCoordinateSystem,
    read_matrix,
    run_trial,
)

_BAR = 2.0
# Short rounds: whatever else the machine does then falls on both sides alike.
_ROUNDS, _CALLS = 2_001, 100
_PEERS = 64
_PREDICTING = attrs.evolve(DEFAULTS, direct_first=False)

Heard = tuple[str, VivaldiCoordinate, float]
Vector = tuple[float, ...]


def _heard(rng: random.Random) -> list[Heard]:
    """Make peers all over a continent, and a round trip to each that fits none too well."""
    return [
        (
            f"node-{k}",
            VivaldiCoordinate(
                position=tuple(rng.gauss(0, 50) for _ in range(4)),
                height=rng.uniform(1, 5),
                error=0.15,
                sample_count=500,
                residual_ms=10.0,
            ),
            rng.uniform(60, 140),
        )
        for k in range(_PEERS)
    ]


class BarePlain:
    """The paper's update, generic in its dimensions, as it is first written down."""

    def __init__(self) -> None:
        self.position: Vector = (1.0, 0.0, 0.0, 0.0)
        self.height = 0.01
        self.error = 1.0

    def update(self, peer: VivaldiCoordinate, rtt_ms: float) -> None:
        """Learn from one measurement."""
        away = [a - b for a, b in zip(self.position, peer.position, strict=True)]
        square = 0.0
        for each in away:
            square += each * each
        length = sqrt(square) + self.height + peer.height
        trust = self.error / (self.error + peer.error)
        wrong = abs(length - rtt_ms) / rtt_ms
        error = wrong * 0.25 * trust + self.error * (1 - 0.25 * trust)
        self.error = min(max(error, 0.001), 1.5)
        part = 0.25 * trust * (rtt_ms - length) / length
        self.position = tuple([a + part * b for a, b in zip(self.position, away, strict=True)])
        self.height = max(self.height + part * (self.height + peer.height), 0.01)


class BareDefault:
    """The arithmetic of the default policy, with a filter for each peer, and nothing else."""

    def __init__(self) -> None:
        self.position: Vector = (1.0, 0.0, 0.0, 0.0)
        self.height, self.error, self.residual = 0.01, 1.0, 50.0
        self.usual, self.widening, self.samples = 50.0, 1.0, 2_000
        self.windows: dict[str, Vector] = {}

    def update(self, name: str, peer: VivaldiCoordinate, rtt_ms: float) -> None:
        """Learn from one measurement."""
        self.windows[name] = window = (*self.windows.get(name, ()), rtt_ms)[-3:]
        filtered = sorted(window)[(len(window) - 1) // 2]
        gap = dist(self.position, peer.position)
        length = gap + self.height + peer.height
        residual = filtered - length
        size = abs(residual)
        trust = self.error / (self.error + peer.error)
        error = self.error + 0.25 * trust * (min(size / filtered, 1.5) - self.error)
        self.error = max(error, 0.001)
        usual = self.usual
        limit = 2.5 * max(usual, 0.03 * filtered)
        usual *= 1.43 if size > 2.5 * usual else 1.2 if size > usual else 0.914
        self.usual = min(max(usual, 0.5), 10_000.0)
        if size > limit:
            residual *= (limit / size) ** 3
            size = abs(residual)
        spread = self.residual * self.residual + peer.residual_ms * peer.residual_ms
        sigma = min(max(self.widening * 0.886 * sqrt(spread), 5.0), 500.0)
        covered = rtt_ms <= length + 2.0 * sigma
        self.widening = min(max(self.widening * (1.0 + 0.1 * (0.975 - covered)), 0.5), 4.0)
        self.samples += 1
        gain = max(0.125, 0.25 * 50 / self.samples)
        part = gain * min(trust, 0.5) * residual / length
        moved = [a + part * (a - b) for a, b in zip(self.position, peer.position, strict=True)]
        if not self.samples % 16:
            keep = 1.0 - 16 * hypot(*moved) / (1_000.0 * 150.0 * 150.0)
            moved = [a * keep for a in moved]
        self.position = tuple(moved)
        self.height = max(self.height + part * (self.height + peer.height), 0.01)
        self.residual += 0.1 * (size - self.residual)

    def estimate(self, peer: VivaldiCoordinate) -> float:
        """Predict."""
        square = 0.0
        for a, b in zip(self.position, peer.position, strict=True):
            square += (a - b) * (a - b)
        return sqrt(square) + self.height + peer.height


def _compare(
    name: str,
    bare: Callable[[Sequence[Heard]], object],
    ours: Callable[[Sequence[Heard]], object],
    *,
    quick: bool,
    peer: str,
    bar: float | None = _BAR,
    note: str = "",
) -> Row:
    rounds = 201 if quick else _ROUNDS
    rng = random.Random(1)
    peers = _heard(rng)
    turns = [rng.choice(peers) for _ in range(_CALLS)]
    ratios, times = [], []
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            theirs = _ns_per_call(bare, turns)
            times.append(_ns_per_call(ours, turns))
            ratios.append(times[-1] / theirs)
    finally:
        gc.enable()
    return Row(
        name,
        round(statistics.median(times), 1),
        "ns",
        peer,
        round(statistics.median(ratios), 3),
        bar=bar,
        evidence=f"median of {rounds} alternating rounds of {_CALLS} calls",
        note=note,
    )


def _ns_per_call(step: Callable[[Sequence[Heard]], object], turns: Sequence[Heard]) -> float:
    began = time.perf_counter_ns()
    step(turns)
    return (time.perf_counter_ns() - began) / len(turns)


def _warm(config: VivaldiConfig) -> VivaldiCoordinateSystem:
    """Give a node that has measured a thousand times."""
    node = VivaldiCoordinateSystem(config, now_s=time.monotonic, rng=random.Random(2))
    rng = random.Random(1)
    peers = _heard(rng)
    for _ in range(1_000):
        node.update_coordinate(*rng.choice(peers))
    return node


def _speed(*, quick: bool) -> Iterator[Row]:
    plain, bare_plain = _warm(VivaldiConfig.plain()), BarePlain()
    node, bare = _warm(DEFAULTS), BareDefault()
    predicting = _warm(_PREDICTING)

    def bare_updates(turns: Sequence[Heard]) -> None:
        for name, coord, rtt_ms in turns:
            bare.update(name, coord, rtt_ms)

    def updates(turns: Sequence[Heard]) -> None:
        for name, coord, rtt_ms in turns:
            node.update_coordinate(name, coord, rtt_ms)

    def bare_plain_updates(turns: Sequence[Heard]) -> None:
        for _, coord, rtt_ms in turns:
            bare_plain.update(coord, rtt_ms)

    def plain_updates(turns: Sequence[Heard]) -> None:
        for name, coord, rtt_ms in turns:
            plain.update_coordinate(name, coord, rtt_ms)

    def bare_estimates(turns: Sequence[Heard]) -> None:
        for _, coord, _ in turns:
            bare.estimate(coord)

    def estimates(turns: Sequence[Heard]) -> None:
        for name, _, _ in turns:
            predicting.estimate_rtt(name)

    def direct_estimates(turns: Sequence[Heard]) -> None:
        for name, _, _ in turns:
            node.estimate_rtt(name)

    same = "a bare function of the same arithmetic"
    yield _compare("vivaldi update", bare_updates, updates, quick=quick, peer=same)
    yield _compare(
        "vivaldi update, plain policy", bare_plain_updates, plain_updates, quick=quick,
        peer="the paper's update, bare",
    )  # fmt: skip
    yield _compare(
        "vivaldi update beside the plain one", bare_plain_updates, updates, quick=quick,
        peer="the paper's update, bare", bar=None,
        note="more arithmetic: what the filter, the gate and the bounds cost",
    )  # fmt: skip
    yield _compare(
        "vivaldi estimate, from coordinates", bare_estimates, estimates, quick=quick, peer=same
    )
    yield _compare(
        "vivaldi estimate, from measurements", bare_estimates, direct_estimates, quick=quick,
        peer="a bare estimate from coordinates",
    )  # fmt: skip


# Samples a node, and what serf's own code reached there: median, p90 (None: no bar for it),
# then how much of that is ours to have.
_CLEAN = ((20, 0.309, None, 0.5), (50, 0.187, 1.31, 0.55), (500, 0.076, None, 1.0))
_NOISY = ((500, 0.199, None, 0.7),)


def _accuracy() -> Iterator[Row]:
    root = os.environ.get("FEDERLIB_DATA")
    data = Path(root) if root else Path(__file__).resolve().parents[2] / "shared" / "data"
    path = data / "latency" / "planetlab490_median.csv.gz"
    if not path.is_file():
        return
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        matrix = read_matrix(lines)
    noisy = Noise(spread=0.1, outliers=0.02)
    for kind, noise, bars in (("", None, _CLEAN), (", noise", noisy, _NOISY)):
        found = run_trial(
            matrix, samples=[bar[0] for bar in bars], rng=random.Random(0), noise=noise
        )
        for reading, (samples, median, p90, share) in zip(found.readings, bars, strict=True):
            named = f"vivaldi error after {samples} samples{kind}"
            for what, value, theirs in (
                ("median", reading.median, median),
                ("p90", reading.p90, p90),
            ):
                if theirs is not None:
                    yield Row(
                        f"{named}, {what}", round(value, 4), "relative", "serf, as measured before",
                        round(value / theirs, 3), bar=share, evidence="one seed, 490 nodes",
                    )  # fmt: skip
        yield Row(
            f"vivaldi step{kind}", round(found.step_ms, 3), "ms", "serf, as measured before",
            round(found.step_ms / (6.7 if noise else 1.55), 3), bar=1.0,
            evidence="mean of one update, samples 401 to 500; serf's from 901 to 1000",
        )  # fmt: skip


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure speed, and accuracy where the data are."""
    yield from _speed(quick=quick)
    if not quick:
        yield from _accuracy()


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name:42} {row.value:>8} {row.unit}  {row.ratio}x  {row.verdict}")
