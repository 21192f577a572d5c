"""Claims on PostgreSQL, from one worker to eight: one by one, and 64 in a commit.

Two things are called a claim. A commit that puts a record where there must be none: what a
worker does that claims a job by itself. And a task of a run, which the leader of `fed.dag`
hands out and settles: those tasks do nothing, and are counted from `dag.work` to its return.

The limit is a serialised durable commit: one counter row, which every commit bumps, and one
row, in one round trip, by as many workers. `FOR UPDATE SKIP LOCKED` stands beside: without
a counter row its commits share their syncs, and are in no order that a watcher could follow.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs

from benchmarks.children import (
    answer,
    answers,
    program,
    scratch,
    started,
    wait_until_ready,
)
from benchmarks.engines import Engine, postgresql, with_schema
from benchmarks.graphs import Parents, layered
from benchmarks.server_claims import fill_jobs
from benchmarks.table import Row
from benchmarks.talks import Talker

_BATCH = 64
_WIDTH = 2_000
"""Of a layer: more than eight workers take in at once."""

_RATIO_BAR, _RATE_BAR = 0.7, 10_000.0
_WARM_S = 0.1
_LATE_S = 30.0
_KINDS = (
    ("raw", 1),
    ("federlib", 1),
    ("skip", 1),
    ("raw", _BATCH),
    ("federlib", _BATCH),
    ("skip", _BATCH),
)
_TITLES = {
    "raw": "raw commits of counter row and row",
    "skip": "raw FOR UPDATE SKIP LOCKED",
    "federlib": "claims by store.commit",
}
_CLIENTS = {"raw": "psycopg", "skip": "psycopg", "federlib": "federlib, blocking"}


@attrs.frozen
class _Size:
    """How much is measured."""

    workers: tuple[int, ...]
    seconds: float
    rounds: int
    few: int
    many: int


_FULL = _Size((1, 2, 4, 8), 0.6, 3, 800, 12_000)
_QUICK = _Size((1, 2), 0.1, 1, 60, 600)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure in turns, worker count by worker count."""
    size = _QUICK if quick else _FULL
    with postgresql() as engine, scratch() as place:
        for workers in size.workers:
            fill_jobs(engine.url)
            yield from _Crew(engine, place, workers, size).rows()


class _Crew:
    """So many workers, their rounds, and runs of a DAG between rounds of the limit."""

    def __init__(self, engine: Engine, place: Path, workers: int, size: _Size) -> None:
        self._engine = engine
        self._place = place
        self._workers = workers
        self._size = size
        self._talkers: list[Talker] = []
        self._rates: dict[tuple[str, int], list[float]] = {kind: [] for kind in _KINDS}
        self._p99: dict[tuple[str, int], list[float]] = {kind: [] for kind in _KINDS}

    def rows(self) -> Iterator[Row]:
        command = program("server_claims", with_schema(self._engine, "claims"), self._place)
        with ExitStack() as stack:
            for _ in range(self._workers):
                self._talkers.append(stack.enter_context(Talker(command)))
            for talker in self._talkers:
                talker.hear()
            for kind in _KINDS:
                self._window(kind)  # prepares statements, fills caches
            for _ in range(self._size.rounds):
                for kind in _KINDS:
                    rate, p99 = self._window(kind)
                    self._rates[kind].append(rate)
                    self._p99[kind].append(p99)
            for kind in _KINDS:
                yield self._claims(*kind)
            yield self._run(self._size.few, 1)
            yield self._run(self._size.many, _BATCH)

    def _window(self, kind: tuple[str, int]) -> tuple[float, float]:
        """Let all claim for a while; the rate of all, and the worst p99 of a commit in ms."""
        begin = time.monotonic() + _WARM_S
        for talker in self._talkers:
            talker.say(f"{kind[0]} {kind[1]} {begin} {begin + self._size.seconds}")
        found = [json.loads(talker.hear(self._size.seconds + _LATE_S)) for talker in self._talkers]
        rate = sum(one["claims"] for one in found) / self._size.seconds
        return rate, max(one["p99_ms"] for one in found)

    def _claims(self, kind: str, batch: int) -> Row:
        rates, limit = self._rates[kind, batch], self._rates["raw", batch]
        ratios = [ours / raw for ours, raw in zip(rates, limit, strict=True) if raw]
        is_ours = kind == "federlib"
        row = self._row(f"{_TITLES[kind]}{_how(batch)}", batch, bars=is_ours)
        return attrs.evolve(
            row,
            value=round(statistics.median(rates)),
            peer="" if kind == "raw" else self._limit(statistics.median(limit), batch),
            ratio=None if kind == "raw" or not ratios else round(statistics.median(ratios), 3),
            client=_CLIENTS[kind],
            note=f"median of {len(rates)} rounds of {self._size.seconds:g} s; p99 of a commit "
            f"{statistics.median(self._p99[kind, batch]):.1f} ms",
        )

    def _row(self, name: str, batch: int, *, bars: bool) -> Row:
        bar = _RATIO_BAR if batch == 1 else _RATE_BAR
        return Row(
            f"{name}, {_many(self._workers)}, {self._engine.title}",
            None,
            "/s",
            "",
            None,
            bar if bars else None,
            higher_is_better=True,
            bar_on="ratio" if batch == 1 else "value",
            processes=self._workers,
            batch=batch,
            fsync=self._engine.fsync,
        )

    def _limit(self, rate: float, batch: int) -> str:
        return f"{_TITLES['raw']}{_how(batch)}, {rate:,.0f}/s"

    def _run(self, tasks: int, slots: int) -> Row:
        row = attrs.evolve(
            self._row(f"tasks of a run, claimed and settled{_how(slots)}", slots, bars=True),
            client="federlib, async, tasks in its loop",
        )
        try:
            before, _ = self._window(("raw", 1))
            syncs = self._engine.syncs()
            seconds = self._drained(layered(tasks, width=_WIDTH, edges_each=2), slots)
            syncs = self._engine.syncs() - syncs
            after, _ = self._window(("raw", 1))
        except Exception as error:
            return attrs.evolve(row, note=f"it failed: {type(error).__name__}: {error}")
        rate, limit = tasks / seconds, (before + after) / 2
        return attrs.evolve(
            row,
            value=round(rate),
            peer=self._limit(limit, 1),
            ratio=round(rate / limit, 3) if limit else None,
            fsyncs_per_cycle=round(syncs / tasks, 3),
            evidence=f"{self._engine.source}, set-up included",
            note=f"{tasks:,} tasks, {slots} slot{'s' if slots > 1 else ''} each worker; one run, "
            "the limit measured before and after it",
        )

    def _drained(self, graph: Parents, slots: int) -> float:
        """Let all work on a run that was submitted before; seconds from the start to the end."""
        url = with_schema(self._engine, f"run_{self._workers}_{slots}")
        with scratch() as place:
            path = place / "graph.json"
            path.write_text(json.dumps(graph), encoding="utf-8")
            if self._workers == 1:
                return answer(program("runs", "whole", url, place, slots, path))["work_s"]
            answer(program("runs", "submit", url, place, slots, path))
            command = program("runs", "work", url, place, slots)
            with started([command] * self._workers) as children:
                wait_until_ready(place, children)
                began = time.monotonic()
                (place / "go").touch()
                found = answers(children, timeout_s=60.0)
        return max(one["ended_at"] for one in found) - began


def _many(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _how(batch: int) -> str:
    return ", one by one" if batch == 1 else f", batches of {batch}"
