"""A worker that claims jobs as fast as it can: `python -m benchmarks.claims KIND FOLDER SEED`.

It draws a job by chance, and claims it in one durable commit which checks that nobody else
has it. KIND is `federlib`, or `raw`: SQLite alone, whose busy handler decides who is next.
It makes `ready-…`, waits for `go`, which has the two instants between which claims count,
and prints how many it got. With a fourth argument it makes so many claims, and waits for
nobody: for the counter of syncs.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
import time
from pathlib import Path
from random import Random

import anyio

import federlib
from benchmarks.fsyncs import mark
from federlib.identity import IdentityStore
from federlib.storage import Absent, Committed, Put, Transaction

_JOBS = 1_000_000
"""So many that two workers seldom want the same: it is the turn at the store that counts."""

_BUSY_TIMEOUT_S = 60.0


class _Window:
    """Between the two instants of `go`, or until so many claims."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        self._folder = folder
        self._limit = limit
        self._bounds = (0.0, math.inf)
        self.claimed = 0
        self.taken = 0

    def ready(self) -> None:
        (self._folder / f"ready-{os.getpid()}").touch()

    def wait(self) -> None:
        """Wait for `go`; it blocks, for nobody shares this process."""
        go = self._folder / "go"
        while self._limit is None and not go.exists():
            time.sleep(0.005)
        if self._limit is None:
            begin, end = json.loads(go.read_text(encoding="utf-8"))
            self._bounds = (begin, end)
        mark()

    @property
    def is_open(self) -> bool:
        return self.claimed != self._limit and time.monotonic() < self._bounds[1]

    def count(self, *, got: bool) -> None:
        mark()
        if self._bounds[0] <= time.monotonic() < self._bounds[1]:
            self.claimed += got
            self.taken += not got


async def _federlib(folder: Path, seed: int, window: _Window) -> None:
    draw = Random(seed)
    url = f"sqlite:///{folder}/fleet.db"
    async with federlib.connect(url, identity=IdentityStore(folder / "identities")) as fed:
        me = (await fed.identity()).worker_id.encode()
        window.ready()
        window.wait()
        while window.is_open:
            key = f"bench/claim/{draw.randrange(_JOBS)}"
            answer = await fed.store.commit(Transaction((Put(key, me),), (Absent(key),)))
            window.count(got=isinstance(answer, Committed))


def _raw(folder: Path, seed: int, window: _Window) -> None:
    draw = Random(seed)
    base = sqlite3.connect(folder / "raw.db", timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    _use_wal(base)
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE IF NOT EXISTS claim (job INTEGER PRIMARY KEY, worker INTEGER)")
    window.ready()
    window.wait()
    while window.is_open:
        base.execute("BEGIN IMMEDIATE")
        done = base.execute(
            "INSERT OR IGNORE INTO claim VALUES (?, ?)", (draw.randrange(_JOBS), seed)
        )
        base.execute("COMMIT")
        window.count(got=done.rowcount == 1)
    base.close()


def _use_wal(base: sqlite3.Connection) -> None:
    """Change the journal of a base that others open at the same time."""
    end_s = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            base.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # The busy handler is not asked here: SQLite refuses at once.
            if time.monotonic() > end_s:
                raise
            time.sleep(0.01)
        else:
            return


def main(kind: str, folder: Path, seed: int, limit: int | None) -> None:
    """Claim, and print."""
    window = _Window(folder, limit)
    if kind == "raw":
        _raw(folder, seed, window)
    else:
        anyio.run(_federlib, folder, seed, window)
    print(json.dumps({"claimed": window.claimed, "taken": window.taken}))


if __name__ == "__main__":
    _, _kind, _folder, _seed, *_limit = sys.argv
    main(_kind, Path(_folder), int(_seed), int(_limit[0]) if _limit else None)
