"""A lease cycle against a server: acquire and release, and nobody else wants the lease.

Every client is a process of its own that stays over all rounds; each round lets every client
work for the same short time, one after the other. The limits are what the server does when
all of federlib is taken away: for PostgreSQL one durable serialised commit, of which a cycle
needs two; for etcd the two transactions of a cycle, as one sequence. So on PostgreSQL the
ratio would be 0.5 without any work around the commits, and on etcd 1.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import attrs

from benchmarks.children import program, scratch
from benchmarks.engines import Engine, etcd, postgresql
from benchmarks.locks import LOCKS, Lock
from benchmarks.table import Row
from benchmarks.talks import Talker

_OURS = ("federlib-blocking", "federlib-async")
_COUNTED_AFTER_S = 1.2


@attrs.frozen
class _Set:
    """What is measured on one engine, and what it must reach.

    Attributes:
        open: Starts the engine.
        what: Names it where it does not start.
        limits: Raw limits, by name of their client; the first has the bar.
        peers: The others; the first has the bar.
        bar: Of our ratio to the first limit.
        peer_bar: Of our ratio to the first peer.
        unit_of_limit: What is divided.
    """

    open: Callable[[], AbstractContextManager[Engine]]
    what: str
    limits: dict[str, str]
    peers: tuple[str, ...]
    bar: float
    peer_bar: float
    unit_of_limit: str


_SQL_LIMITS = {
    "raw-commit": "one raw serialised commit",
    "raw-transaction": "one raw serialised transaction with BEGIN and COMMIT",
}
_ETCD_LIMITS = {"raw-etcd": "the same two raw transactions"}
_SETS = (
    _Set(
        postgresql,
        "PostgreSQL",
        _SQL_LIMITS,
        ("tooz-postgresql", "mithril-postgresql", "advisory"),
        0.4,
        4.0,
        "cycles/s to commits/s: a cycle is two commits, so 0.5 is all there is",
    ),
    *(
        _Set(
            partial(etcd, members),
            f"etcd, {members} member{'s' if members > 1 else ''}",
            _ETCD_LIMITS,
            ("tooz-etcd", "aetcd"),
            0.45,
            2.0,
            "cycles/s to sequences of both transactions/s: 1 is all there is",
        )
        for members in (1, 3)
    ),
)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure in turns; the median of the rounds' ratios. An engine that is not here is a row."""
    seconds, rounds, counted = (0.1, 2, 10) if quick else (0.4, 7, 100)
    for one in _SETS[:2] if quick else _SETS:
        try:
            with one.open() as engine, scratch() as place:
                found = _Measured(one, engine, place)
                found.measure(seconds, rounds, counted)
                yield from found.rows()
        except Exception as error:
            note = f"it failed: {type(error).__name__}: {error}"
            name = f"lease cycle, {one.what}"
            yield Row(name, None, "/s", "", None, one.bar, higher_is_better=True, note=note)


class _Measured:
    """The rounds of one engine."""

    def __init__(self, what: _Set, engine: Engine, place: Path) -> None:
        self._set = what
        self._engine = engine
        self._place = place
        # The limits come first: whatever disturbs the start of a round disturbs what we divide by.
        self._names = (*what.limits, *_OURS, *what.peers)
        self._why: dict[str, str] = {}
        self._rates: dict[str, list[float]] = {name: [] for name in self._names}
        self._p50: dict[str, list[float]] = {name: [] for name in self._names}
        self._p99: dict[str, list[float]] = {name: [] for name in self._names}
        self._syncs: dict[str, float] = {}

    def measure(self, seconds: float, rounds: int, counted: int) -> None:
        with ExitStack() as stack:
            talkers = {
                name: stack.enter_context(self._talker(name))
                for name in self._names
                if LOCKS[name].missing is None
            }
            for name in self._names:
                if (missing := LOCKS[name].missing) is not None:
                    self._why[name] = missing
                else:
                    self._ask(name, talkers[name], None)
            for _ in range(rounds):
                for name in self._names:
                    if name not in self._why:
                        self._ask(name, talkers[name], seconds)
            self._count(talkers, counted)

    def _talker(self, name: str) -> Talker:
        return Talker(program("locks", name, self._engine.url, self._place))

    def _ask(self, name: str, talker: Talker, seconds: float | None) -> None:
        """Let one work for a while; None lets it start, with one cycle that opens the rest."""
        try:
            if seconds is None:
                talker.hear()
                talker.say("count 5")
                talker.hear()
                return
            talker.say(f"cycles {seconds}")
            found = json.loads(talker.hear(seconds + 30.0))
        except Exception as error:
            self._why[name] = f"it failed: {type(error).__name__}: {error}"
            return
        self._rates[name].append(found["cycles"] / max(1e-9, found["seconds"]))
        self._p50[name].append(found["p50_ms"])
        self._p99[name].append(found["p99_ms"])

    def _count(self, talkers: dict[str, Talker], cycles: int) -> None:
        """Let the server count the syncs of so many cycles of each; it ends them."""
        going = [name for name in talkers if name not in self._why]
        # PostgreSQL's counters are told a second after the last time, at the earliest, and
        # when a connection ends: first all that the rounds have left over.
        time.sleep(_COUNTED_AFTER_S)
        for name in going:
            talkers[name].say("count 1")
            talkers[name].hear()
        for name in going:
            try:
                before = self._engine.syncs()
                talkers[name].say(f"count {cycles}")
                talkers[name].hear()
                talkers[name].end()
                self._syncs[name] = round((self._engine.syncs() - before) / cycles, 2)
            except Exception as error:
                print(f"    no count of syncs, {name}: {error}", file=sys.stderr)

    def rows(self) -> Iterator[Row]:
        limit, *other_limits = self._set.limits
        for name in _OURS:
            others = "; ".join(
                f"{self._ratio(name, other):.3g}x {self._set.limits[other]}"
                for other in other_limits
                if self._ratio(name, other) is not None
            )
            note = "; ".join(filter(None, (self._set.unit_of_limit, others)))
            yield self._row(name, limit, bar=self._set.bar, note=note)
            first, *rest = self._set.peers
            yield self._row(name, first, bar=self._set.peer_bar)
            for peer in rest:
                yield self._row(name, peer)
        for name in (*self._set.peers, *self._set.limits):
            yield self._row(name, None if name == limit else limit, note=LOCKS[name].cycle)

    def _ratio(self, name: str, other: str) -> float | None:
        pairs = zip(self._rates[name], self._rates[other], strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return round(statistics.median(ratios), 3) if ratios else None

    def _row(
        self, name: str, other: str | None, *, bar: float | None = None, note: str = ""
    ) -> Row:
        lock, why = LOCKS[name], self._why.get(name)
        rates = self._rates[name]
        if why is None and rates:
            p50, p99 = statistics.median(self._p50[name]), statistics.median(self._p99[name])
            note = "; ".join(filter(None, (f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", note)))
        missing = None if other is None else self._why.get(other)
        if missing is not None:
            note = f"{note}; nothing to divide by: {LOCKS[other or ''].client}: {missing}"
            bar = None if "not installed" in missing else bar
        syncs = self._syncs.get(name)
        return Row(
            f"{self._what(name, lock)}, {self._engine.title}",
            round(statistics.median(rates), 1) if rates and why is None else None,
            "/s",
            "" if other is None else self._peer(other),
            None if other is None or why is not None else self._ratio(name, other),
            bar,
            higher_is_better=True,
            client=lock.title,
            batch=1,
            fsync=self._engine.fsync,
            fsyncs_per_cycle=syncs,
            evidence="" if syncs is None else self._engine.source,
            traits=lock.traits,
            note=why or note,
        )

    def _peer(self, name: str) -> str:
        known = self._set.limits.get(name, LOCKS[name].title)
        rates = self._rates[name]
        return f"{known}, {statistics.median(rates):,.0f}/s" if rates else known

    def _what(self, name: str, lock: Lock) -> str:
        return self._set.limits.get(name) or f"lease cycle, {lock.client}"
