"""Eight processes claim jobs on one SQLite store: does each get its share?

Each claim is one durable commit with a check, made as often as a process can. The peer is
SQLite alone, with its busy handler, in alternating rounds. What counts is the process that
got least, in the worst of the rounds.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import attrs

from benchmarks.children import answers, program, scratch, started, wait_until_ready
from benchmarks.fsyncs import Evidence, count
from benchmarks.table import Row

_PROCESSES = 8
_BAR = 0.5
_WARM_S = 0.5


@attrs.frozen
class _Round:
    """The claims of each process in one round, in so many seconds."""

    claims: list[int]
    seconds: float

    @property
    def least(self) -> float:
        """The smallest share, in parts of the fair one."""
        return min(self.claims) * len(self.claims) / max(1, sum(self.claims))

    @property
    def rate(self) -> float:
        return sum(self.claims) / self.seconds


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure in turns: shares, then the rate of all together."""
    seconds, rounds = (0.5, 1) if quick else (4.0, 3)
    ours: list[_Round] = []
    raw: list[_Round] = []
    for _ in range(rounds):
        raw.append(_round("raw", seconds))
        ours.append(_round("federlib", seconds))
    least, their_least = min(one.least for one in ours), min(one.least for one in raw)
    evidence = _evidence(5 if quick else 50)
    peer = "raw SQLite, busy handler"
    yield Row(
        "least share of eight processes, durable claims",
        round(least, 3),
        "of the fair share",
        f"{peer}, {their_least:.3f}",
        round(least / their_least, 2) if their_least else None,
        _BAR,
        higher_is_better=True,
        bar_on="value",
        fsyncs_per_cycle=evidence.per_cycle,
        evidence=evidence.source,
        note=f"worst of {rounds} rounds; claims in it: {_list(ours)}; raw: {_list(raw)}",
        processes=_PROCESSES,
        client="async",
        batch=1,
        fsync="WAL, FULL",
    )
    rate = statistics.median(one.rate for one in ours)
    ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, raw, strict=True))
    limit = statistics.median(one.rate for one in raw)
    yield Row(
        "claims of all eight together",
        round(rate),
        "/s",
        f"{peer}, {limit:,.0f}/s",
        round(ratio, 3),
        higher_is_better=True,
        processes=_PROCESSES,
        client="async",
        batch=1,
        fsync="WAL, FULL",
    )


def _round(kind: str, seconds: float) -> _Round:
    with scratch() as place:
        commands = [program("claims", kind, place, seed) for seed in range(_PROCESSES)]
        with started(commands) as children:
            wait_until_ready(place, children)
            begin = time.monotonic() + _WARM_S
            draft = place / "going"
            draft.write_text(json.dumps([begin, begin + seconds]), encoding="utf-8")
            draft.rename(place / "go")
            found = answers(children, timeout_s=seconds + 90)
    return _Round([int(one["claimed"]) for one in found], seconds)


def _evidence(claims: int) -> Evidence:
    """Watch one worker of the eight."""
    with scratch() as place:
        return count(program("claims", "federlib", place, 0, claims), cycles=claims)


def _list(rounds: list[_Round]) -> str:
    worst = min(rounds, key=lambda one: one.least)
    return " ".join(map(str, worst.claims))
