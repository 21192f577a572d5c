"""Eight processes want one lease all the time: does each get its share, and never two at once?

Each acquires, lets go and asks again at once, between the same two instants. Whoever holds
the lease makes a file that must not be there, and removes it: two holders at once are seen by
it, ours and the peers'. What counts is the most cycles of a process over the fewest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import attrs

from benchmarks.children import ChildError, program, scratch
from benchmarks.engines import Engine, etcd, postgresql
from benchmarks.locks import LOCKS
from benchmarks.table import Row
from benchmarks.talks import Talker

_PROCESSES = 8
_BAR = 1.5
_WARM_S = 0.5
_LATE_S = 40.0
"""How long a process may still wait for its last turn: more than a lease that nobody renews."""

_EMBEDDED = {
    "sqlite": ("sqlite:///{}/fleet.db", "SQLite", "WAL, FULL"),
    "file": ("file:///{}/fleet", "file", "append + fdatasync"),
}
_OURS = ("federlib-blocking", "federlib-async")
_PEERS = {"postgresql": ("tooz-postgresql", "advisory"), "etcd": ("tooz-etcd", "aetcd")}


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure each engine, ours first, then its peers for a shorter time."""
    seconds, of_peers, processes = (0.5, 0.5, 3) if quick else (10.0, 3.0, _PROCESSES)
    # The blocking client everywhere; the other where its way to the engine is another.
    for name in _EMBEDDED:
        with scratch() as place:
            yield _row("federlib-blocking", _embedded(name, place), processes, seconds)
    for name, opened in {"postgresql": postgresql, "etcd": etcd}.items():
        try:
            with opened() as engine:
                for ours in _OURS[:1] if quick else _OURS:
                    yield _row(ours, engine, processes, seconds)
                for peer in _PEERS[name]:
                    yield _row(peer, engine, processes, of_peers)
        except Exception as error:
            note = f"it failed: {type(error).__name__}: {error}"
            yield attrs.evolve(_empty(f"one lease, {name}"), bar=_BAR, note=note)


def _embedded(name: str, place: Path) -> Engine:
    url, title, fsync = _EMBEDDED[name]
    return Engine(name, url.format(place), title, fsync, lambda: 0, "")


def _empty(name: str) -> Row:
    return Row(name, None, "most/fewest", "", None, bar_on="value", processes=_PROCESSES)


def _row(name: str, engine: Engine, processes: int, seconds: float) -> Row:
    lock = LOCKS[name]
    row = attrs.evolve(
        _empty(f"one lease, {lock.client}, {engine.title}"),
        bar=_BAR if name in _OURS else None,
        processes=processes,
        client=lock.title,
        batch=1,
        fsync=engine.fsync,
        traits=lock.traits,
    )
    if lock.missing is not None:
        return attrs.evolve(row, note=lock.missing)
    try:
        with scratch() as place:
            found = _contend([program("locks", name, engine.url, place)] * processes, seconds)
    except Exception as error:
        return attrs.evolve(row, note=f"it failed: {type(error).__name__}: {error}")
    cycles = [int(one["cycles"]) for one in found]
    overlaps = int(sum(one["overlaps"] for one in found))
    fair = max(cycles) / max(1, min(cycles))
    slowest = max(one["p99_ms"] for one in found)
    told = [
        f"{sum(cycles) / seconds:,.0f} cycles/s of all together for {seconds:g} s",
        f"each: {' '.join(map(str, cycles))}",
        f"p99 of the slowest {slowest:,.0f} ms",
        f"two at once: {overlaps} times" if overlaps else "the witness saw never two at once",
    ]
    return attrs.evolve(
        row,
        # Two at once is no mutual exclusion, however fair: not measured is not met.
        value=None if overlaps and row.bar is not None else round(fair, 2),
        note="; ".join(told),
    )


def _contend(commands: list[list[str]], seconds: float) -> list[dict[str, float]]:
    with ExitStack() as stack:
        talkers = [stack.enter_context(Talker(command)) for command in commands]
        for talker in talkers:
            if talker.hear() != "ready":
                raise ChildError("it does not say that it is ready")
        # One after the other, so that what is opened once is open.
        for talker in talkers:
            talker.say("count 1")
            talker.hear()
        begin = time.monotonic() + _WARM_S
        for talker in talkers:
            talker.say(f"contend {begin} {begin + seconds}")
        end_s = begin + seconds + _LATE_S
        return [
            cast("dict[str, float]", json.loads(talker.hear(end_s - time.monotonic())))
            for talker in talkers
        ]
