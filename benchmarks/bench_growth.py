"""Do commits and claims get slower as a store grows? PostgreSQL, 10^3 to 10^6 records.

The store is filled past its driver, by one statement into its table of records, and vacuumed.
A commit writes over one of those records; a claim puts a new one where there must be none.
Ratios are to the smallest store of the same run, each side first divided by a raw commit of
the same turns: what else the disk does must not look like growth.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import cast

import attrs

from benchmarks import raw_servers
from benchmarks.children import program, scratch
from benchmarks.engines import Engine, postgresql, with_schema
from benchmarks.table import Row
from benchmarks.talks import Talker

_SCHEMA = "growth"
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_WHAT = {"update": "commit", "federlib": "claim"}
_TURNS = 5
_WARM_S = 0.1

# Of revision 1, as the record that a new store begins with; keys as `grown_key` makes them.
_FILL = f"""
INSERT INTO {_SCHEMA}.record (key, value, revision, created)
SELECT 'grown/' || lpad(i::text, 8, '0'), decode(repeat('78', 100), 'hex'), 1, 1
FROM generate_series(%s::bigint, %s::bigint) i"""  # noqa: S608 (a name of ours)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Fill, measure, and fill further."""
    sizes, seconds = (_SIZES[:2], 0.1) if quick else (_SIZES, 0.4)
    first: dict[str, float] = {}
    with postgresql() as engine, scratch() as place:
        raw_servers.prepare(engine.url)
        command = program("server_claims", with_schema(engine, _SCHEMA), place)
        with Talker(command) as talker:
            talker.hear()
            filled = 0
            for size in sizes:
                _fill(engine, filled, size)
                filled = size
                for kind in ("raw", *_WHAT):
                    _ask(talker, kind, _WARM_S, size)
                found = _median(talker, ("raw", *_WHAT), seconds, size)
                for kind, what in _WHAT.items():
                    p50, p99, rate = found[kind]
                    raw_p50, *_ = found["raw"]
                    in_raw = p50 / max(1e-9, raw_p50)
                    before = first.setdefault(kind, in_raw)
                    yield attrs.evolve(
                        _row(engine, f"{what} in a store of {size:,} records"),
                        value=round(p50, 3),
                        ratio=None if size == sizes[0] else round(in_raw / before, 2),
                        peer="" if size == sizes[0] else f"{sizes[0]:,} records",
                        note=f"p99 {p99:.2f} ms, {rate:,.0f}/s; {in_raw:.2f}x the median of a raw "
                        f"commit of counter row and row in the same turns, {raw_p50:.2f} ms",
                    )


def _median(
    talker: Talker, kinds: Sequence[str], seconds: float, size: int
) -> dict[str, tuple[float, float, float]]:
    """Let each kind work in turns; medians of p50 and p99 in ms, and of the rate."""
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for _ in range(_TURNS):
        for kind in kinds:
            one = _ask(talker, kind, seconds, size)
            found[kind].append((one["p50_ms"], one["p99_ms"], one["claims"] / seconds))
    return {
        kind: cast("tuple[float, float, float]", tuple(map(median, zip(*all_of_it, strict=True))))
        for kind, all_of_it in found.items()
    }


def _row(engine: Engine, name: str) -> Row:
    return Row(
        f"{name}, median, {engine.title}",
        None,
        "ms",
        "",
        None,
        client="federlib, blocking",
        batch=1,
        fsync=engine.fsync,
    )


def _ask(talker: Talker, kind: str, seconds: float, grown: int) -> dict[str, float]:
    begin = time.monotonic() + _WARM_S
    talker.say(f"{kind} 1 {begin} {begin + seconds} {grown}")
    found: dict[str, float] = json.loads(talker.hear(seconds + 30.0))
    return found


def _fill(engine: Engine, filled: int, size: int) -> None:
    psycopg = importlib.import_module("psycopg")
    with psycopg.connect(engine.url, autocommit=True) as connection:
        connection.execute(_FILL, (filled + 1, size))
        # What the server does about that by itself would fall into the measurement.
        connection.execute(f"VACUUM ANALYZE {_SCHEMA}.record")
        connection.execute("CHECKPOINT")
