"""Simulated fleets in which a restart helps, or only seems to: for the causal gate.

Each node's latency is a base, its load times a slope (bent upwards: queues), whatever a leak
adds, and noise that remembers. An alarm goes up where latency is high, and then the machines
with the alarm are restarted.

* `confounded`: a customer's traffic lies on some of the machines and goes away by itself soon
  after the alarm. Load drives alarm and latency; the restart does nothing.
* `causal`: a leak has grown on them, and the restart clears it. There is such traffic too.
"""

from __future__ import annotations

import math
import random
from typing import Literal

import attrs

from federlib.causal import ExpectedEffect, Hypothesis, Watched

Kind = Literal["confounded", "causal"]

BEFORE, AFTER = 90, 60
"""Samples of ten seconds: a quarter of an hour, and ten minutes."""
AT_LEAST_MS = 5.0

GRAPH: dict[str, tuple[str, ...]] = {
    "load": (),
    "alarm": ("load", "latency_before"),
    "latency_before": ("load",),
    "restart": ("alarm",),
    "memory": ("restart",),
    "latency": ("load", "memory"),
}


@attrs.frozen
class Episode:
    """One restart: what was seen on the restarted machines and on the others."""

    treated: Watched
    control: Watched

    def without_load(self) -> tuple[Watched, Watched]:
        """Return what somebody sees who does not look at the load."""
        return Watched(self.treated.outcome), Watched(self.control.outcome)


def hypothesis(
    *, adjustment: tuple[str, ...] = ("load",), is_load_known: bool = True
) -> Hypothesis:
    """State why a restart should help; carelessly, if so asked."""
    graph = GRAPH
    if not is_load_known:
        graph = {
            node: tuple(cause for cause in causes if cause != "load")
            for node, causes in GRAPH.items()
            if node != "load"
        }
        adjustment = ()
    return Hypothesis(
        hypothesis_id="restart-clears-leak",
        action="restart_many",
        treatment="restart",
        outcome="latency",
        mechanism="memory that leaks slows each request; a restart gives it back",
        through=("memory",),
        graph=graph,
        confounders=("load",) if is_load_known else (),
        adjustment=adjustment,
        expected=ExpectedEffect(
            direction="decrease", at_least=AT_LEAST_MS, unit="ms", within_s=600
        ),
        rollback="none needed: a restarted process serves as before",
    )


def episode(kind: Kind, seed: int, *, blur: float = 1.0) -> Episode:
    """Simulate one restart; the same each time for a seed.

    Args:
        kind: What the restart does.
        seed: Draws all the rest.
        blur: By how much a node's load is measured wrongly, each sample anew; the load of
            a node is about 100.
    """
    rng = random.Random(f"{kind} {seed}")
    samples = BEFORE + AFTER
    wave = _wave(rng, samples)
    # Traffic of one customer, above all on the machines that will be restarted.
    bump = _bump(rng, samples, kind)
    leak = _leak(rng, samples) if kind == "causal" else [0.0] * samples
    treated = [_node(rng, wave, bump, leak, blur) for _ in range(rng.randint(3, 8))]
    spilled = [0.1 * each for each in bump]
    control = [_node(rng, wave, spilled, [0.0] * samples, blur) for _ in range(rng.randint(4, 12))]
    return Episode(_group(treated), _group(control))


Node = tuple[list[float], list[float]]


def _node(
    rng: random.Random, wave: list[float], bump: list[float], leak: list[float], blur: float
) -> Node:
    share, slope, base = rng.uniform(0.8, 1.2), rng.uniform(0.35, 0.45), rng.uniform(20, 30)
    jitter = _remembering(rng, len(wave), 0.7, 4.0)
    noise = _remembering(rng, len(wave), rng.uniform(0.3, 0.7), 4.0)
    load = [share * (w + b) + j for w, b, j in zip(wave, bump, jitter, strict=True)]
    latency = [
        base + slope * one + 0.0005 * one * one + more + n
        for one, more, n in zip(load, leak, noise, strict=True)
    ]
    # What is measured of load is not quite what queues: it is sampled, too.
    return latency, [one + rng.gauss(0, blur) for one in load]


def _group(nodes: list[Node]) -> Watched:
    latencies, loads = zip(*nodes, strict=True)
    return Watched(_mean(latencies), {"load": _mean(loads)})


def _mean(rows: tuple[list[float], ...]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


def _wave(rng: random.Random, samples: int) -> list[float]:
    turn, size, period = rng.uniform(0, 2 * math.pi), rng.uniform(5, 25), rng.uniform(1, 4)
    slow = _remembering(rng, samples, 0.95, 6.0)
    return [
        100 + size * math.sin(turn + 2 * math.pi * k / (period * samples)) + s
        for k, s in enumerate(slow)
    ]


def _bump(rng: random.Random, samples: int, kind: Kind) -> list[float]:
    """Return extra load that comes before the alarm, and goes."""
    size = rng.uniform(25, 70)
    begins = rng.uniform(20, 70)
    if kind == "confounded":
        # Alarms come at the top, so it goes soon after.
        ends = BEFORE + rng.uniform(-5, 20)
    else:
        ends = rng.uniform(begins + 20, samples + 60)
        size *= rng.choice((0.0, 0.5, 1.0))
    rise, fall = rng.uniform(1, 8), rng.uniform(1, 10)
    wobble = _remembering(rng, samples, 0.8, 0.15)
    return [
        size * (1 + w) / (1 + math.exp((begins - k) / rise)) / (1 + math.exp((k - ends) / fall))
        for k, w in enumerate(wobble)
    ]


def _leak(rng: random.Random, samples: int) -> list[float]:
    """Return what a leak adds: it grows, and ends with the restart."""
    size, grown = rng.uniform(15, 40), rng.uniform(0.0, 0.6)
    return [
        size * (1 - grown * (BEFORE - k) / BEFORE) if k < BEFORE else 0.0 for k in range(samples)
    ]


def _remembering(rng: random.Random, samples: int, keeps: float, spread: float) -> list[float]:
    """Return noise of which each sample keeps a share of the one before."""
    fresh = spread * math.sqrt(1 - keeps * keeps)
    found = [rng.gauss(0, spread)]
    while len(found) < samples:
        found.append(keeps * found[-1] + rng.gauss(0, fresh))
    return found
