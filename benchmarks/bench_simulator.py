"""How fast the simulator is: events, seeds of a failover, and a thousand processes for an hour.

The limit is a bare heap of seeded events in the same run: what no simulator in this language
passes. The peer is trio's `MockClock`, whose events are wake-ups of sleeping tasks. All three
are timed as processor time of one process; the seeds of the failover run on all processors and
are timed by the clock on the wall.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from multiprocessing import get_context

import trio
import trio.testing

from benchmarks.table import Row
from federlib.testing.sim import SECOND_NS, Fleet, Node, Simulation, Terms, play, preset

_ROUNDS = 5
_EVENTS_BAR = 200_000
_SEEDS_BAR_S = 300.0
_HOUR_BAR_S = 60.0
_HEAP_EVENTS = 200_000
_LEASE_ONLY = Terms(command_every_s=0, consumers=0)
_SAFETY_S = 41  # And 19 more until it must have recovered.

_GROUP = 5
# In an hour, clocks that nothing sets right drift apart by more than the grace in the queue.
_HOUR = Terms(
    nodes=_GROUP,
    ttl_s=120,
    command_every_s=60,
    consumers=1,
    resign_percent=0,
    offset_ms=100,
    drift_ppm=10,
)
_QUIET_NS = 10 * SECOND_NS
_KILL_EVERY_S = 36


def _bare_heap() -> float:
    """Events per second of a heap and seeded draws, with nothing that happens in them."""
    queue: list[tuple[int, int, Callable[[int], None]]] = []
    draw, number = random.Random(1).random, 0

    def event(now_ns: int) -> None:
        nonlocal number
        number += 1
        heappush(queue, (now_ns + int(draw() * 1_000_000), number, event))

    for _ in range(100):
        event(0)
    began = time.process_time()
    for _ in range(_HEAP_EVENTS):
        now_ns, _, call = heappop(queue)
        call(now_ns)
    return _HEAP_EVENTS / (time.process_time() - began)


def _mock_clock(seconds: int) -> float:
    """Wake-ups per second of 100 tasks that sleep under trio's MockClock."""

    async def beat() -> None:
        for _ in range(seconds):
            await trio.sleep(1)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(beat)

    began = time.process_time()
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return 100 * seconds / (time.process_time() - began)


def _world(terms: Terms | None, seeds: int) -> float:
    """Events per second of seeds of a leader that is killed three times."""
    events = 0
    began = time.process_time()
    for seed in range(seeds):
        events += _failover(seed, terms)
    return events / (time.process_time() - began)


def _failover(seed: int, terms: Terms | None = None) -> int:
    played = play(seed, preset("leader_kill"), terms=terms, safety_s=_SAFETY_S)
    if played.violations:
        raise RuntimeError(f"seed {seed}: {played.violations}")
    return played.events


def _calm() -> None:
    """What is there already is no garbage: collections look at the new only."""
    gc.collect()
    gc.freeze()


def _event_rows(*, quick: bool) -> list[Row]:
    seeds = 3 if quick else 20
    _calm()
    measured: dict[str, list[float]] = {}
    ways: dict[str, Callable[[], float]] = {
        "heap": _bare_heap,
        "trio": lambda: _mock_clock(20 if quick else 200),
        "lease": lambda: _world(_LEASE_ONLY, seeds),
        "all": lambda: _world(None, seeds),
    }
    for _ in range(2 if quick else _ROUNDS):
        for name, way in ways.items():
            measured.setdefault(name, []).append(way())
    rate = {name: statistics.median(rates) for name, rates in measured.items()}
    heap = f"a bare heap of seeded events ({rate['heap']:,.0f}/s)"
    mock = f"trio {trio.__version__} MockClock ({rate['trio']:,.0f} wake-ups/s)"
    lease = "five processes, one election, leader killed three times"

    def row(name: str, of: str, peer: str, to: str, bar: float | None, note: str) -> Row:
        return Row(
            name,
            round(rate[of]),
            "events/s",
            peer,
            round(rate[of] / rate[to], 2),
            bar=bar,
            higher_is_better=True,
            bar_on="value",
            note=note,
        )

    return [
        row("lease and election", "lease", heap, "heap", _EVENTS_BAR, lease),
        row("lease and election", "lease", mock, "trio", None, lease),
        row("with commands", "all", heap, "heap", None, f"{lease}; commands are issued, acted on"),
    ]


def _lease_failover(seed: int) -> int:
    return _failover(seed, _LEASE_ONLY)


def _seeds_row(seeds: int, way: Callable[[int], int], *, bar: float | None, note: str) -> Row:
    workers = len(os.sched_getaffinity(0))
    with get_context("spawn").Pool(workers, initializer=_calm) as pool:
        pool.map(way, range(workers))  # Everything is imported by now.
        began = time.perf_counter()
        events = sum(pool.imap_unordered(way, range(seeds), chunksize=10))
        took = time.perf_counter() - began
    return Row(
        f"{seeds:,} seeds of a five-node failover",
        round(took, 1),
        "s",
        "none",
        None,
        bar=bar,
        bar_on="value",
        processes=workers,
        note=f"ttl 2 s, 60 virtual seconds, three leaders killed each; {note}; "
        f"{events:,} events; no violation",
    )


def _hour_row(*, quick: bool) -> Row:
    nodes, seconds = (100, 360) if quick else (1_000, 3_600)
    _calm()
    began = time.process_time()
    with Simulation(1) as sim:
        fleets = [Fleet(1, _HOUR, sim=sim) for _ in range(nodes // _GROUP)]
        for fleet in fleets:
            fleet.store.quiet_ns = _QUIET_NS
        _kill_now_and_then(sim, fleets)
        sim.run(until_ns=seconds * SECOND_NS)
    took = time.process_time() - began
    wrong = [violation for fleet in fleets for violation in fleet.violations]
    if wrong:
        raise RuntimeError(f"{wrong[:3]}")
    reigns = sum(len(fleet.ledger.reigns) for fleet in fleets)
    return Row(
        f"{nodes:,} processes for {seconds:,} virtual seconds",
        round(took, 1),
        "s",
        "none",
        None,
        bar=_HOUR_BAR_S,
        bar_on="value",
        note=f"{len(fleets)} elections of {_GROUP} in one simulation, ttl {_HOUR.ttl_s:g} s, a "
        f"leader killed every {_KILL_EVERY_S} s; {sim.ran:,} events, {reigns} reigns",
    )


def _kill_now_and_then(sim: Simulation, fleets: list[Fleet]) -> None:
    rng = sim.rng("kills")

    def kill(_nothing: object) -> None:
        fleet = rng.choice(fleets)
        leader = fleet.leader
        if leader is not None and leader.is_up:
            # So that its old place in line counts as that of a process that is not well.
            fleet.strike(leader.name)
            leader.kill()
            sim.after(20 * SECOND_NS, start, (fleet, leader))
        sim.after(_KILL_EVERY_S * SECOND_NS, kill, None)

    def start(killed: tuple[Fleet, Node]) -> None:
        fleet, node = killed
        node.start()
        fleet.mend(node.name)

    sim.after(SECOND_NS, kill, None)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure events, an hour and seeds."""
    seeds = 60 if quick else 10_000
    yield from _event_rows(quick=quick)
    yield _hour_row(quick=quick)
    yield _seeds_row(seeds, _lease_failover, bar=_SEEDS_BAR_S, note="lease and election")
    yield _seeds_row(seeds // 10, _failover, bar=None, note="with commands")
