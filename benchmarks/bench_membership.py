"""The failure detector on the grid of loss and starved members, beside SWIM without Lifeguard.

Both arms are this library's core in the simulator, with the same seeds, links and timers; the
peer has no nacks, no local health, no decaying suspicion and tells no suspect first. Published
seeds: each run is `play(Cell(...), seed=n)` with n from 0.

Bytes are payload as the core sends it, with a coordinate of 58 bytes on every ping and ack; a
seal adds its own to each packet, and the note says what 40 bytes of seal make of it.
"""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from statistics import mean

import attrs

from benchmarks.table import Row
from federlib.membership.config import SwimConfig
from federlib.membership.core import SwimCore
from federlib.membership.messages import Gossip, Ping, encode_message, pack
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole
from federlib.testing.swarm import Cell, Links, Run, Summary, Swarm, play, summarise
from federlib.testing.swarm.grid import COORDINATE

_SEEDS = 6
_CELLS = [Cell(50, starved, loss) for starved in (0, 1, 3, 5) for loss in (0.01, 0.03, 0.05)]
_LARGE = [Cell(200, 0, 0.01), Cell(200, 20, 0.05)]
_LARGE_SEEDS = 2
_SEAL = 40
_SIZES = (10, 50, 200, 500)

# One way between four regions: round trips of 10, 100 and 300 ms.
_REGIONS = (
    (0.0, 0.005, 0.05, 0.15),
    (0.005, 0.0, 0.05, 0.15),
    (0.05, 0.05, 0.0, 0.15),
    (0.15, 0.15, 0.15, 0.0),
)
_REGION_RUNS = 12

_ARMS = {"Lifeguard": SwimConfig(), "SWIM": SwimConfig.plain_swim()}


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Play the grid, the regions and the blocked loops."""
    cells = [(Cell(12, 1, 0.05), 1)] if quick else [(cell, _SEEDS) for cell in _CELLS]
    if not quick:
        cells += [(cell, _LARGE_SEEDS) for cell in _LARGE]
    processes = min(2, os.cpu_count() or 1)
    starved: dict[str, list[Run]] = {arm: [] for arm in _ARMS}
    of_fifty: dict[str, list[Run]] = {arm: [] for arm in _ARMS}
    with get_context("spawn").Pool(processes) as pool:
        for cell, seeds in cells:
            jobs = [(cell, arm, seed) for seed in range(seeds) for arm in _ARMS]
            runs = dict(zip(jobs, pool.map(_play, jobs, chunksize=1), strict=True))
            found = {arm: [run for job, run in runs.items() if job[1] == arm] for arm in _ARMS}
            for arm, each in found.items():
                starved[arm] += each if cell.starved else []
                of_fifty[arm] += each if cell.size == cells[0][0].size else []
            yield from _of_cell(cell, {arm: summarise(each) for arm, each in found.items()})
        yield _of_starved({arm: summarise(each) for arm, each in starved.items()})
        yield _of_all({arm: summarise(each) for arm, each in of_fifty.items()})
        for size in (10,) if quick else _SIZES:
            yield from _of_size(size, pool.map(_grown, [(size, seed) for seed in range(2)]))
        yield from map(_of_table, pool.map(_table, (100,) if quick else (100, 1_000, 10_000)))
        yield from _of_regions(pool.map(_far_and_near, range(2 if quick else _REGION_RUNS)))
        size = 10 if quick else 50
        wrong = pool.map(partial(_blocked, size), range(2 if quick else _REGION_RUNS))
        yield Row(
            f"healthy members declared dead, loop blocked 5 s on 10 % of {size}",
            sum(healthy for healthy, _ in wrong),
            "members",
            "",
            None,
            0,
            bar_on="value",
            note=f"in {len(wrong)} runs; blocked members declared dead: "
            f"{sum(blocked for _, blocked in wrong)}",
        )


@attrs.frozen
class _Grown:
    detected_s: float
    bytes_a_node_s: float


def _grown(job: tuple[int, int]) -> _Grown:
    """Let a group of a size run quietly, then crash one member."""
    size, seed = job
    swarm = Swarm(size, seed=seed, links=Links(loss=0.01), coordinate=COORDINATE)
    swarm.start()
    swarm.run(20.0)
    before = swarm.traffic.payload_bytes
    swarm.run(50.0)
    sent = swarm.traffic.payload_bytes - before
    swarm.crash(size - 1)
    swarm.run(80.0)
    return _Grown(swarm.deaths(size - 1)[0].at_s - 50.0, sent / size / 30)


def _of_size(size: int, found: list[_Grown]) -> Iterator[Row]:
    detected_s = mean(each.detected_s for each in found)
    yield Row(
        f"detection among {size:,}",
        round(detected_s, 2),
        "s",
        "",
        None,
        note=f"mean of {len(found)} runs, 1 % loss; a quiet member sends "
        f"{mean(each.bytes_a_node_s for each in found):.0f} B/s of payload",
    )


def _table(members: int) -> tuple[int, float, float]:
    """Return members, bytes for each in one core, and what one packet costs it; microseconds."""
    rng = random.Random(members)
    tracemalloc.start()
    core = SwimCore(NodeId("me", 1), "me:1", PeerRole.MANAGER, rng=rng)
    core.start(0.0)
    for number in range(members):
        said = pack(encode_message(Gossip(NodeId(f"n{number}", 1), 0)))
        core.handle(said, f"10.0.0.1:{number}", PeerRole.MANAGER, 0.0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    asked = pack(encode_message(Ping(7, "me", NodeId("n1", 1), 0, COORDINATE)))
    now_s = 0.0
    while (wake_s := core.next_wake_s) is not None and wake_s < 20.0:
        now_s = wake_s
        core.tick(wake_s)
    times = 20_000
    began = time.process_time()
    for _ in range(times):
        core.handle(asked, "10.0.0.1:1", PeerRole.MANAGER, now_s)
    return members, kept / members, (time.process_time() - began) / times * 1e6


def _of_table(found: tuple[int, float, float]) -> Row:
    members, each_bytes, packet_us = found
    return Row(
        f"memory of a member, each of {members:,}",
        round(each_bytes),
        "B",
        "",
        None,
        note=f"one core; a ping that it answers costs {packet_us:.0f} µs of processor time",
    )


def _play(job: tuple[Cell, str, int]) -> Run:
    cell, arm, seed = job
    return play(cell, seed=seed, config=_ARMS[arm])


def _of_cell(cell: Cell, arms: dict[str, Summary]) -> Iterator[Row]:
    ours, theirs = arms["Lifeguard"], arms["SWIM"]
    where = f"{cell.size} members, {cell.starved} starved, {cell.loss:.0%} loss"
    yield Row(
        f"p50 of detection, later than SWIM: {where}",
        round(ours.p50_s - theirs.p50_s, 2),
        "s",
        "SWIM",
        round(ours.p50_s / theirs.p50_s, 2),
        note=f"{ours.runs} runs each; p50 {ours.p50_s:.2f} and {theirs.p50_s:.2f} s, p99 "
        f"{ours.p99_s:.2f} and {theirs.p99_s:.2f} s; runs with a false death "
        f"{ours.with_false_death} and {theirs.with_false_death}; false deaths a run "
        f"{ours.false_deaths:.2f} and {theirs.false_deaths:.2f}, false suspicions "
        f"{ours.false_suspicions:.0f} and {theirs.false_suspicions:.0f}",
    )
    is_quiet = cell.size == 50 and not cell.starved
    sealed = ours.bytes_a_node_s + _SEAL * ours.packets_a_node_s
    yield Row(
        f"sent by a member: {where}",
        round(ours.bytes_a_node_s),
        "B/s",
        "SWIM",
        round(ours.bytes_a_node_s / theirs.bytes_a_node_s, 2),
        300 if is_quiet else None,
        bar_on="value",
        note=f"payload, of {ours.packets_a_node_s:.1f} packets/s; {sealed:.0f} B/s with "
        f"{_SEAL} bytes of seal each",
    )


def _of_starved(arms: dict[str, Summary]) -> Row:
    ours, theirs = arms["Lifeguard"], arms["SWIM"]
    share = ours.with_false_death / ours.runs
    of_theirs = theirs.with_false_death / theirs.runs
    return Row(
        "runs with a false death, all starved cells",
        round(100 * share, 1),
        "%",
        "SWIM",
        round(share / of_theirs, 3) if of_theirs else None,
        3.0,
        bar_on="value",
        note=f"{ours.with_false_death} of {ours.runs} and {theirs.with_false_death} of "
        f"{theirs.runs}; false deaths a run {ours.false_deaths:.2f} and "
        f"{theirs.false_deaths:.2f}",
    )


def _of_all(arms: dict[str, Summary]) -> Row:
    """Judge the median over all cells: that of six runs scatters by half a second."""
    ours, theirs = arms["Lifeguard"], arms["SWIM"]
    return Row(
        "p50 of detection, later than SWIM: all cells of the smaller size",
        round(ours.p50_s - theirs.p50_s, 2),
        "s",
        "SWIM",
        round(ours.p50_s / theirs.p50_s, 2),
        0.5,
        bar_on="value",
        note=f"{ours.runs} runs each; p50 {ours.p50_s:.2f} and {theirs.p50_s:.2f} s, p99 "
        f"{ours.p99_s:.2f} and {theirs.p99_s:.2f} s",
    )


@attrs.frozen
class _Regional:
    far_s: float
    near_s: float
    wrong: int


def _far_and_near(seed: int) -> _Regional:
    """Crash a member 300 ms away from most, and one 10 ms away from as many as can be."""
    links = Links(loss=0.01, regions=_REGIONS)
    swarm = Swarm(40, seed=seed, links=links, knows_distances=True)
    swarm.start()
    swarm.run(30.0)
    near, far = 36 + seed % 2, 39
    swarm.crash(near)
    swarm.crash(far)
    swarm.run(90.0)
    found = [swarm.deaths(each)[0].at_s - 30.0 for each in (far, near)]
    return _Regional(found[0], found[1], len(swarm.false_deaths()))


def _of_regions(found: list[_Regional]) -> Iterator[Row]:
    far_s, near_s = mean(each.far_s for each in found), mean(each.near_s for each in found)
    yield Row(
        "a peer 300 ms away is detected later than one 10 ms away",
        round(far_s - near_s, 2),
        "s",
        "a peer 10 ms away",
        round(far_s / near_s, 2),
        1.0,
        bar_on="value",
        note=f"means of {len(found)} runs of 40 members in four regions, 1 % loss: "
        f"{far_s:.2f} and {near_s:.2f} s",
    )
    yield Row(
        "false deaths between regions",
        sum(each.wrong for each in found),
        "members",
        "",
        None,
        0,
        bar_on="value",
        note=f"in {len(found)} runs, within regions included",
    )


def _blocked(size: int, seed: int) -> tuple[int, int]:
    """Block the loops of a tenth; return healthy and blocked members that were declared dead."""
    swarm = Swarm(size, seed=seed, links=Links(loss=0.01))
    swarm.start()
    swarm.run(20.0)
    blocked = range(3, 3 + size // 10)
    for number in blocked:
        swarm.block(number, 5.0)
    swarm.run(60.0)
    names = [each.event.node.name for each in swarm.false_deaths()]
    late = sum(name in {f"n{number}" for number in blocked} for name in names)
    return len(names) - late, late
