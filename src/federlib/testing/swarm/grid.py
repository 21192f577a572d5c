"""The grid on which failure detectors are compared: loss, starved members, one crash.

A run lasts 120 s; at 60 s one healthy member crashes. Counted are, over the whole run, deaths
that somebody declared of a member that was up, and suspicions likewise; the time from the
crash to the first verdict; and what was sent.

Source: research membership-routing §4; the grid that another library has published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

import attrs

from federlib.membership.config import SwimConfig
from federlib.testing.swarm.network import Links
from federlib.testing.swarm.world import Swarm
from federlib.vivaldi import VivaldiCoordinate, encode_coordinate

__all__ = ["COORDINATE", "Cell", "Run", "Summary", "play", "summarise"]

CRASH_S = 60.0
END_S = 120.0

COORDINATE = encode_coordinate(
    VivaldiCoordinate(position=(0.0,) * 4, height=0.0, error=1.0), now_s=0.0
)
"""One of four dimensions."""

SETTLED_S = 20.0
"""Bytes are counted from here on: joining is over."""


@attrs.frozen
class Cell:
    """One cell of the grid.

    Attributes:
        size: Members.
        starved: Of these, how many read late.
        loss: Share of datagrams lost.
    """

    size: int
    starved: int
    loss: float


@attrs.frozen
class Run:
    """What came of one run.

    Attributes:
        seed: It replays the run.
        detected_s: From the crash to the first verdict; None where there was none.
        everywhere_s: From the crash until every member that was up held it to be dead.
        false_deaths: Verdicts against members that were up.
        false_suspicions: Accusations against members that were up.
        bytes_a_node_s: Payload sent by a member a second.
        packets_a_node_s: Packets sent by a member a second.
    """

    seed: int
    detected_s: float | None
    everywhere_s: float | None
    false_deaths: int
    false_suspicions: int
    bytes_a_node_s: float
    packets_a_node_s: float


@attrs.frozen
class Summary:
    """What came of all runs of a cell.

    Attributes:
        runs: How many.
        with_false_death: In how many somebody declared a member dead that was up.
        false_deaths: On average.
        false_suspicions: On average.
        p50_s: Of detection.
        p99_s: Of detection.
        bytes_a_node_s: On average.
        packets_a_node_s: On average.
    """

    runs: int
    with_false_death: int
    false_deaths: float
    false_suspicions: float
    p50_s: float
    p99_s: float
    bytes_a_node_s: float
    packets_a_node_s: float


def play(cell: Cell, *, seed: int, config: SwimConfig | None = None) -> Run:
    """Play one run. Starved are the first members, the last one crashes."""
    swarm = Swarm(
        cell.size,
        seed=seed,
        config=config,
        links=Links(loss=cell.loss),
        # Not those by which the others join.
        starved=range(3, 3 + cell.starved),
        coordinate=COORDINATE,
    )
    victim = cell.size - 1
    swarm.start()
    swarm.run(SETTLED_S)
    before = attrs.evolve(swarm.traffic)
    swarm.at(CRASH_S, lambda: swarm.crash(victim))
    swarm.run(END_S)
    told = [each for each in swarm.deaths(victim) if not each.was_up]
    knowing = {each.observer for each in told}
    after = swarm.traffic
    node_s = cell.size * (END_S - SETTLED_S)
    packets = after.datagrams + after.streams - before.datagrams - before.streams
    return Run(
        seed=seed,
        detected_s=told[0].at_s - CRASH_S if told else None,
        everywhere_s=told[-1].at_s - CRASH_S if len(knowing) == cell.size - 1 else None,
        false_deaths=len(swarm.false_deaths()),
        false_suspicions=len(swarm.false_suspicions()),
        bytes_a_node_s=(after.payload_bytes - before.payload_bytes) / node_s,
        packets_a_node_s=packets / node_s,
    )


def summarise(runs: Iterable[Run]) -> Summary:
    """Take the runs of a cell together; an undetected crash counts as the whole rest of it."""
    found = tuple(runs)
    many = len(found)
    late_s = END_S - CRASH_S
    times = sorted(late_s if run.detected_s is None else run.detected_s for run in found)
    return Summary(
        runs=many,
        with_false_death=sum(run.false_deaths > 0 for run in found),
        false_deaths=sum(run.false_deaths for run in found) / many,
        false_suspicions=sum(run.false_suspicions for run in found) / many,
        p50_s=median(times),
        p99_s=_high(times, 0.99),
        bytes_a_node_s=sum(run.bytes_a_node_s for run in found) / many,
        packets_a_node_s=sum(run.packets_a_node_s for run in found) / many,
    )


def _high(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]
