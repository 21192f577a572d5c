"""Claims jobs on PostgreSQL as fast as it can: `python -m benchmarks.server_claims URL FOLDER`.

Told ``KIND BATCH BEGIN END`` it claims between two instants of the monotonic clock, and
answers how many it got and how long each commit took. Kinds:

- ``federlib``: `store.commit` that puts a record a job, and checks that nobody has it.
- ``raw``: the counter row and a row a job, in one prepared autocommit statement.
- ``skip``: `SELECT … FOR UPDATE SKIP LOCKED` under an UPDATE, on a table that was filled
  before; no counter row, so its commits are in no order, and share their syncs.
- ``update``: `store.commit` that writes over a record of those that were there before; how
  many they are is the fifth word.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import federlib.blocking
from benchmarks import raw_servers
from benchmarks.talks import listen, tell
from federlib.identity import IdentityStore
from federlib.storage import Absent, Committed, Put, Transaction

__all__ = ["FILLED", "fill_jobs", "grown_key"]

_JOBS = 10**15
"""So many that two workers never want the same: it is the commit that counts."""

FILLED = 600_000
_VALUE = b"x" * 100

_RAW_BATCH = """
WITH c AS (UPDATE raw.counter SET n = n + 1 RETURNING n)
INSERT INTO raw.row AS r SELECT k, %s::bytea, c.n FROM c, unnest(%s::bigint[]) AS k
ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = excluded.n"""

_SKIP = """
UPDATE raw.job SET worker = %s::bigint WHERE id IN (
    SELECT id FROM raw.job WHERE worker IS NULL ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING id"""

_FILL = f"""
DROP TABLE IF EXISTS raw.job;
CREATE TABLE raw.job (id bigint PRIMARY KEY, worker bigint);
INSERT INTO raw.job SELECT i, NULL FROM generate_series(1, {FILLED}) i;
CREATE INDEX job_free ON raw.job (id) WHERE worker IS NULL;
"""  # noqa: S608 (a number of ours)

Commit = Callable[[], int]


def fill_jobs(url: str) -> None:
    """Make the table that ``skip`` claims from, anew."""
    raw_servers.prepare(url)
    psycopg = importlib.import_module("psycopg")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FILL, prepare=False)
        connection.execute("VACUUM ANALYZE raw.job")


def grown_key(number: int) -> str:
    """Name a record of those that were there before."""
    return f"grown/{number:08}"


class _Claimer:
    """The connections of one worker, and its ways to claim."""

    def __init__(self, url: str, fed: federlib.blocking.Federation) -> None:
        psycopg = importlib.import_module("psycopg")
        raw = url.partition("?")[0]
        self._fed = fed
        self._me = fed.identity().worker_id.encode()
        self._draw = Random(self._me)
        self._connection = psycopg.connect(raw, autocommit=True, prepare_threshold=0)
        self._cursor = self._connection.cursor(binary=True)

    def way(self, kind: str, batch: int, grown: int) -> Commit:
        ways: dict[str, Commit] = {
            "federlib": lambda: self._federlib(batch),
            "raw": lambda: self._raw(batch),
            "skip": lambda: self._skip(batch),
            "update": lambda: self._update(grown),
        }
        return ways[kind]

    def _federlib(self, batch: int) -> int:
        keys = sorted(f"bench/claim/{self._draw.randrange(_JOBS)}" for _ in range(batch))
        answer = self._fed.store.commit(
            Transaction(tuple(Put(key, self._me) for key in keys), tuple(map(Absent, keys)))
        )
        return batch if isinstance(answer, Committed) else 0

    def _update(self, grown: int) -> int:
        key = grown_key(self._draw.randrange(1, grown + 1))
        answer = self._fed.store.commit(Transaction((Put(key, _VALUE),)))
        return int(isinstance(answer, Committed))

    def _raw(self, batch: int) -> int:
        if batch == 1:
            self._cursor.execute(raw_servers.COMMIT, (self._draw.randrange(_JOBS), self._me))
        else:
            keys = [self._draw.randrange(_JOBS) for _ in range(batch)]
            self._cursor.execute(_RAW_BATCH, (self._me, keys))
        return batch

    def _skip(self, batch: int) -> int:
        self._cursor.execute(_SKIP, (1, batch))
        got = len(self._cursor.fetchall())
        if got == 0:
            raise RuntimeError(f"all {FILLED:,} jobs are claimed: fill the table with more")
        return got


def _work(commit: Commit, begin: float, end: float) -> str:
    claims, took = 0, []
    while (now := time.monotonic()) < begin:
        time.sleep(min(0.002, begin - now))
    while (before := time.monotonic()) < end:
        got = commit()
        after = time.monotonic()
        if after < end:
            claims += got
            took.append(after - before)
    took.sort()
    middle, late = (took[len(took) * part // 100] if took else 0.0 for part in (50, 99))
    return json.dumps({"claims": claims, "p50_ms": middle * 1e3, "p99_ms": late * 1e3})


def main(url: str, place: Path) -> None:
    """Open, and do what is told."""
    with federlib.blocking.connect(url, identity=IdentityStore(place / "identities")) as fed:
        claimer = _Claimer(url, fed)
        tell("ready")
        while (line := listen(sys.stdin.readline)) is not None:
            kind, batch, begin, end, *grown = line.split()
            way = claimer.way(kind, int(batch), int(grown[0]) if grown else 0)
            tell(_work(way, float(begin), float(end)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
