"""Durable runs with tasks that do nothing: what the coordination alone costs.

The graph is debian12-install, 63,337 tasks with a hub of 21,788 children; where the shared
data are missing, random layers of the same size. One process submits and works in its own
event loop; 2 and 4 processes are printed beside. The limit is a loop that only appends: two
rows a task, in one fully synced transaction for each batch, no graph, no leases.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import anyio
import attrs

import federlib
from benchmarks.children import (
    Answer,
    ChildError,
    answer,
    answers,
    last_words,
    program,
    scratch,
    started,
    wait_until_ready,
)
from benchmarks.fsyncs import Evidence, count
from benchmarks.graphs import Parents, layered, recorded
from benchmarks.runs import DEATH_TTL_S, RUN_ID
from benchmarks.table import Row
from federlib.identity import IdentityStore

_NAME = "debian12-install"
_BATCH = 64
_BARS = {_BATCH: 30_000.0, 1: 2_500.0}
_RESUME_BAR_S = 0.5
_PATIENCE_S = 300.0
_BUDGET_S = 20.0
"""On a machine that is busy with others no row starts another round after this."""


def _raw_sqlite(place: Path, tasks: int, batch: int) -> float:
    """Append two rows a task to a log; seconds."""
    base = sqlite3.connect(place / "raw.db", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, node INTEGER, what INTEGER)")
    began = time.perf_counter()
    for first in range(0, tasks, batch):
        nodes = range(first, min(first + batch, tasks))
        base.execute("BEGIN IMMEDIATE")
        base.executemany(
            "INSERT INTO log (node, what) VALUES (?, ?)",
            [(node, what) for node in nodes for what in (1, 2)],
        )
        base.execute("COMMIT")
    took = time.perf_counter() - began
    base.close()
    return took


def _raw_append(place: Path, tasks: int, batch: int) -> float:
    """Append two lines a task to a file, and sync its data; seconds."""
    log = os.open(place / "raw.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    began = time.perf_counter()
    for first in range(0, tasks, batch):
        nodes = range(first, min(first + batch, tasks))
        os.write(log, b"".join(b"%d %d\n" % (node, what) for node in nodes for what in (1, 2)))
        os.fdatasync(log)
    took = time.perf_counter() - began
    os.close(log)
    return took


@attrs.frozen
class _Driver:
    """A store under the run, and the limit that it stands beside."""

    title: str
    url: str
    fsync: str
    raw: Callable[[Path, int, int], float]
    limit: str


_DRIVERS = (
    _Driver("SQLite", "sqlite:///{}/fleet.db", "WAL, FULL", _raw_sqlite, "raw SQLite log, FULL"),
    _Driver(
        "file", "file:///{}/fleet", "append + fdatasync", _raw_append, "raw append + fdatasync"
    ),
)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure both drivers; in turns with the limit, the median of the rounds."""
    title, graph = _graph(quick=quick)
    few = _first(graph, 200 if quick else 8_000)
    rounds = 1 if quick else 3
    for driver in _DRIVERS:
        bench = _Bench(driver, f"durable run, {title}, {driver.title}")
        yield bench.alone(graph, _BATCH, rounds)
        yield bench.alone(few, 1, rounds)
        yield bench.resumed(graph, rounds)
        for processes in () if quick else (2, 4):
            yield bench.together(graph, processes)


def _graph(*, quick: bool) -> tuple[str, Parents]:
    if quick:
        return "600 tasks in layers", layered(600, width=30, edges_each=3)
    found = recorded(_NAME)
    if found is not None:
        return _NAME, found
    return f"63,337 tasks in layers ({_NAME} is not here)", layered(63_337, width=600, edges_each=3)


def _first(graph: Parents, size: int) -> Parents:
    """Return so many tasks of a graph, each with all its parents."""
    order = list(TopologicalSorter(graph).static_order())[:size]
    return {task: graph[task] for task in order}


Rates = tuple[list[float], list[float]]


@attrs.frozen
class _Bench:
    """One driver's measurements; one that fails becomes a row that says why."""

    driver: _Driver
    what: str

    def alone(self, graph: Parents, slots: int, rounds: int) -> Row:
        """One process submits and works."""
        how = f"batches of {slots}" if slots > 1 else "one by one"
        row = self._row(f"{self.what}, {how}", "tasks/s", slots, bar=_BARS[slots])
        try:
            found, rates = self._alone(graph, slots, rounds)
            evidence = self._evidence(_first(graph, 20 * slots if slots > 1 else 50), slots)
        except Exception as error:
            return _failed(row, error)
        return attrs.evolve(
            self._rated(row, rates),
            fsyncs_per_cycle=evidence.per_cycle,
            evidence=evidence.source,
            note=f"{len(graph):,} tasks, {len(found)} rounds; submitted before, in "
            f"{_median(found, 'submit_s'):.2f} s; processor {_median(found, 'cpu_s'):.2f} s "
            f"of {_median(found, 'work_s'):.2f} s",
        )

    def _alone(self, graph: Parents, slots: int, rounds: int) -> tuple[list[Answer], Rates]:
        answered: list[Answer] = []
        rates: Rates = ([], [])
        for _ in _within_budget(rounds):
            with scratch() as place:
                rates[1].append(self._limit(len(graph), slots))
                found = answer(self._whole(place, graph, slots), timeout_s=_PATIENCE_S)
                rates[0].append(len(graph) / found["work_s"])
                answered.append(found)
        return answered, rates

    def _limit(self, tasks: int, batch: int) -> float:
        with scratch() as place:
            return tasks / self.driver.raw(place, tasks, batch)

    def _evidence(self, graph: Parents, slots: int) -> Evidence:
        with scratch() as place:
            command = self._whole(place, graph, slots)
            return count(["env", "BENCH_MARKS=1", *command], cycles=len(graph))

    def _whole(self, place: Path, graph: Parents, slots: int) -> list[str]:
        return program("runs", "whole", self._url(place), place, slots, _store(graph, place))

    def together(self, graph: Parents, processes: int) -> Row:
        """Several processes work on what was submitted before."""
        name = f"{self.what}, batches of {_BATCH}, {processes} processes"
        row = self._row(name, "tasks/s", _BATCH, processes=processes)
        try:
            rates, shares = self._together(graph, processes)
        except Exception as error:
            return _failed(row, error)
        return attrs.evolve(self._rated(row, rates), note=f"one round; tasks of each: {shares}")

    def _together(self, graph: Parents, processes: int) -> tuple[Rates, str]:
        with scratch() as place:
            # Three times, for there is only one round: a single loop may meet another's sync.
            limits = [self._limit(len(graph), _BATCH) for _ in range(3)]
            answer(program("runs", "submit", self._url(place), place, _BATCH, _store(graph, place)))
            worker = program("runs", "work", self._url(place), place, _BATCH)
            with started([worker] * processes) as children:
                wait_until_ready(place, children)
                began = time.monotonic()
                (place / "go").touch()
                found = answers(children, timeout_s=_PATIENCE_S)
        took = max(one["ended_at"] for one in found) - began
        shares = ", ".join(f"{one['tasks']:,.0f}" for one in found)
        return ([len(graph) / took], [statistics.median(limits)]), shares

    def resumed(self, graph: Parents, rounds: int) -> Row:
        """The only process is killed at half-way; another goes on."""
        name = f"{self.what}, resumed after kill -9 at half-way, beyond the lease"
        row = self._row(name, "s", _BATCH, bar=_RESUME_BAR_S, higher_is_better=False)
        try:
            deaths = [self._death(graph) for _ in _within_budget(rounds)]
        except Exception as error:
            return _failed(row, error)
        gap = statistics.median(after_death for _, after_death in deaths)
        return attrs.evolve(
            row,
            value=round(statistics.median(after_expiry for after_expiry, _ in deaths), 3),
            peer=f"the ttl, {DEATH_TTL_S:g} s",
            ratio=round(gap / DEATH_TTL_S, 3),
            note=f"first finish accepted {gap:.2f} s after the kill, ratio: of that to the ttl; "
            "value: beyond the last renewal + ttl, in each round "
            + ", ".join(f"{after_expiry:.2f}" for after_expiry, _ in deaths),
        )

    def _death(self, graph: Parents) -> tuple[float, float]:
        """Return how long after the expiry, and after the kill, a finish was accepted; s."""
        with scratch() as place:
            url = self._url(place)
            answer(program("runs", "submit", url, place, _BATCH, _store(graph, place)))
            half = len(graph) // 2
            with started([program("runs", "die", url, place, _BATCH, half)]) as (victim,):
                _, err = victim.communicate(timeout=_PATIENCE_S)
            if not (place / "died").exists():
                raise ChildError(last_words(err))
            with started([program("runs", "resume", url, place, _BATCH)]) as heirs:
                expires_at = anyio.run(_expiry, url, place)
                accepted_at = answers(heirs, timeout_s=_PATIENCE_S)[0]["accepted_at"]
            died_at = float((place / "died").read_text(encoding="utf-8"))
        return accepted_at - expires_at, accepted_at - died_at

    def _url(self, place: Path) -> str:
        return self.driver.url.format(place)

    def _row(
        self,
        name: str,
        unit: str,
        batch: int,
        *,
        processes: int = 1,
        bar: float | None = None,
        higher_is_better: bool = True,
    ) -> Row:
        """Say what is about to be measured."""
        return Row(
            name,
            None,
            unit,
            self.driver.limit,
            None,
            bar,
            higher_is_better=higher_is_better,
            bar_on="value",
            processes=processes,
            client="async, tasks in its loop",
            batch=batch,
            fsync=self.driver.fsync,
        )

    def _rated(self, row: Row, rates: Rates) -> Row:
        ratios = [ours / limit for ours, limit in zip(*rates, strict=True)]
        return attrs.evolve(
            row,
            value=round(statistics.median(rates[0])),
            peer=f"{self.driver.limit}, {statistics.median(rates[1]):,.0f}/s",
            ratio=round(statistics.median(ratios), 3),
        )


def _median(found: list[Answer], name: str) -> float:
    return statistics.median(one[name] for one in found)


def _within_budget(rounds: int) -> Iterator[int]:
    end_s = time.monotonic() + _BUDGET_S
    for number in range(rounds):
        if number == 0 or time.monotonic() < end_s:
            yield number


def _failed(row: Row, error: Exception) -> Row:
    return attrs.evolve(row, note=f"it failed: {type(error).__name__}: {error}")


async def _expiry(url: str, place: Path) -> float:
    """Read when the dead leader's lease runs out; Unix seconds."""
    async with federlib.connect(url, identity=IdentityStore(place / "witness")) as fed:
        lease = (await fed.dag.leader(RUN_ID)).lease
        assert lease is not None
        return lease.expires_at / 1e9


def _store(graph: Parents, place: Path) -> Path:
    path = place / "graph.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path
