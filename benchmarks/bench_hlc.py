"""What the bounds of a hybrid logical clock cost.

The peer is the least that can be called one: two integers under a lock, without a limit of
any kind. Both read the same `SystemClock`; each ratio is the median of alternating rounds.
Ours has every bound on: the largest offset, overflow, steps back, and a stored bound, which
is renewed in each round as a keeper would.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import repeat

from benchmarks.table import Row
from federlib.skewclock import Clock, HybridLogicalClock, SystemClock

_BAR = 1.3
# Short rounds: whatever else the machine does then falls on both sides alike.
_ROUNDS, _CALLS = 1_001, 500


class NaivePair:
    """The algorithm of Kulkarni et al. 2014 as it is first written down."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._l = 0
        self._c = 0

    def now(self) -> tuple[int, int]:
        """Return the next pair."""
        with self._lock:
            physical = self._clock.wall_ns()
            if physical > self._l:
                self._l, self._c = physical, 0
            else:
                self._c += 1
            return self._l, self._c

    def observe(self, remote: tuple[int, int]) -> tuple[int, int]:
        """Take in a pair, and return the one of its receipt."""
        l_remote, c_remote = remote
        with self._lock:
            physical, before = self._clock.wall_ns(), self._l
            self._l = max(before, l_remote, physical)
            if self._l == before == l_remote:
                self._c = max(self._c, c_remote) + 1
            elif self._l == before:
                self._c += 1
            elif self._l == l_remote:
                self._c = c_remote + 1
            else:
                self._c = 0
            return self._l, self._c


class _Shelf:
    """Keeps a bound in memory: the disk has no part in a reading."""

    bound_ns: int | None = None

    def load(self) -> int | None:
        return self.bound_ns

    def save(self, bound_ns: int) -> None:
        self.bound_ns = bound_ns


class _Leaping:
    """A wall clock that is a new millisecond at each reading."""

    clock_id = "leaping/boot-1/"

    def __init__(self) -> None:
        self._now = time.time_ns()

    def wall_ns(self) -> int:
        self._now += 1_500_000
        return self._now

    monotonic_ns = boot_ns = wall_ns


def _bounded(clock: Clock) -> HybridLogicalClock:
    # A bound far ahead, as a reading finds it: it costs the same near and far.
    return HybridLogicalClock(clock, max_offset_s=3_600, bound=_Shelf(), bound_ahead_s=3_600)


def _ns_per_call(step: Callable[[], object], calls: int) -> float:
    began = time.perf_counter_ns()
    for _ in repeat(None, calls):
        step()
    return (time.perf_counter_ns() - began) / calls


def _row(
    name: str,
    naive: Callable[[], object],
    ours: Callable[[], object],
    *,
    renew: Callable[[], object],
    quick: bool,
    bar: float | None = _BAR,
    note: str = "",
) -> Row:
    rounds, calls = (101 if quick else _ROUNDS), _CALLS
    ratios: list[float] = []
    times: list[float] = []
    gc.collect()
    gc.disable()  # What another benchmark left behind is collected in nobody's round.
    try:
        for _ in range(rounds):
            renew()
            theirs = _ns_per_call(naive, calls)
            times.append(_ns_per_call(ours, calls))
            ratios.append(times[-1] / theirs)
    finally:
        gc.enable()
    return Row(
        name,
        round(statistics.median(times), 1),
        "ns",
        "a naive pair of ints under a lock",
        round(statistics.median(ratios), 3),
        bar=bar,
        evidence=f"median of {rounds} alternating rounds of {calls:,} calls",
        note=note,
    )


def rows(*, quick: bool = False) -> list[Row]:
    """Measure readings, receipts, and messages to and fro."""
    clock = SystemClock()
    pair, other = NaivePair(clock), NaivePair(clock)
    hlc, peer = _bounded(clock), _bounded(clock)

    def renew() -> None:
        hlc.renew_bound()
        peer.renew_bound()

    measured = partial(_row, renew=renew, quick=quick)
    old, stamp = pair.now(), hlc.now()
    leaping, bounded = NaivePair(_Leaping()), _bounded(_Leaping())
    return [
        measured("hlc now, all bounds on", pair.now, hlc.now),
        measured(
            "hlc observe, all bounds on", lambda: pair.observe(old), lambda: hlc.observe(stamp)
        ),
        measured(
            "hlc message to and fro, all bounds on",
            lambda: pair.observe(other.observe(pair.now())),
            lambda: hlc.observe(peer.observe(hlc.now())),
            note="one reading and two receipts, each by the other clock",
        ),
        _row(
            "hlc now, a new millisecond at each call",
            leaping.now,
            bounded.now,
            renew=bounded.renew_bound,
            quick=quick,
            bar=None,
            note="at most a thousand times a second; the wall clock here is a counter",
        ),
    ]


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name:42} {row.value:>8} {row.unit}  {row.ratio}x")
