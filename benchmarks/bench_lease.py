"""A lease cycle against the disk: acquire and release are two durable commits.

One process, one task, no contention, SQLite WAL with synchronous FULL on both sides. The
peer is one raw `BEGIN IMMEDIATE; UPDATE; COMMIT` in the same directory, in the same run.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import anyio

import federlib
from benchmarks.table import Row
from federlib.identity import IdentityStore

_CYCLES = 300
_ROUNDS = 5


def _raw_commits_per_s(place: Path) -> float:
    """Commit one row at a time, fully synced."""
    base = sqlite3.connect(place / "raw.db", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v INTEGER)")
    base.execute("INSERT OR REPLACE INTO t VALUES (1, 0)")
    began = time.perf_counter()
    for number in range(_CYCLES):
        base.execute("BEGIN IMMEDIATE")
        base.execute("UPDATE t SET v = ? WHERE k = 1", (number,))
        base.execute("COMMIT")
    took = time.perf_counter() - began
    base.close()
    return _CYCLES / took


async def _cycles_per_s(place: Path) -> float:
    """Hold and let go, as a user would."""
    async with federlib.connect(
        f"sqlite:///{place}/fleet.db", identity=IdentityStore(place / "identities")
    ) as fed:
        async with fed.hold("warm"):
            pass
        began = time.perf_counter()
        for _ in range(_CYCLES):
            async with fed.hold("bench"):
                pass
        return _CYCLES / (time.perf_counter() - began)


def rows() -> list[Row]:
    """Measure in turns; the median of the rounds' ratios."""
    ratios: list[float] = []
    rates: list[float] = []
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory(prefix="federlib-bench-") as scratch:
            raw = _raw_commits_per_s(Path(scratch))
            ours = anyio.run(_cycles_per_s, Path(scratch))
            rates.append(ours)
            ratios.append(ours / raw)
    return [
        Row(
            "hold cycle, 2 commits, 1 process, async, FULL",
            round(statistics.median(rates), 1),
            "/s",
            "one raw SQLite commit, FULL",
            round(statistics.median(ratios), 3),
            higher_is_better=True,
        )
    ]
