"""How federlib's graph compares with the standard library's `graphlib.TopologicalSorter`.

Both get the same dict of parents. *Ingest* is everything up to the first ready node, the
check for cycles included; *drain* asks for the ready nodes and finishes each of them, until
none is left. Each number is the median of alternating rounds in one process.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from random import Random
from typing import TypeVar

from benchmarks.table import Row
from federlib.graph import Frontier, Graph

Parents = dict[str, list[str]]
T = TypeVar("T")

DATA = Path(
    os.environ.get("FEDERLIB_DATA") or Path(__file__).resolve().parents[1] / "../shared/data"
)


def layered(nodes: int, *, width: int, edges_each: int, seed: int = 7) -> Parents:
    """Make random layers; each node has `edges_each` parents in the layer above."""
    random = Random(seed)
    parents: Parents = {}
    for node in range(nodes):
        above = (node // width - 1) * width
        names = {f"task-{above + random.randrange(width)}" for _ in range(edges_each)}
        parents[f"task-{node}"] = sorted(names) if above >= 0 else []
    return parents


def hub(children: int) -> Parents:
    """Make one node with this many children."""
    return {"hub": [], **{f"task-{i}": ["hub"] for i in range(children)}}


def join(joins: int, parents_each: int) -> Parents:
    """Make nodes that all wait for the same many parents."""
    names = [f"task-{i}" for i in range(parents_each)]
    return {**{name: [] for name in names}, **{f"join-{i}": names for i in range(joins)}}


def recorded(name: str) -> Parents | None:
    """Read one of the shared workflows, or None where they are not."""
    path = DATA / "workflows" / f"{name}.json.gz"
    if not path.exists():
        return None
    tasks = json.loads(gzip.decompress(path.read_bytes()))["tasks"]
    return {task["id"]: task["parents"] for task in tasks}


def _ingest_theirs(parents: Parents) -> TopologicalSorter[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter(parents)
    sorter.prepare()
    return sorter


def _ingest_ours(parents: Parents) -> Frontier:
    return Frontier(Graph.build(parents))


def _drain_theirs(sorter: TopologicalSorter[str]) -> None:
    while sorter.is_active():
        for node in sorter.get_ready():
            sorter.done(node)


def _drain_ours(frontier: Frontier) -> None:
    everything = len(frontier)
    while nodes := frontier.take(everything):
        for node in nodes:
            frontier.done(node)


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    gc.collect()
    start = time.perf_counter()
    made = action()
    return made, (time.perf_counter() - start) * 1e3


def measure(name: str, parents: Parents, rounds: int) -> dict[str, object]:
    """Measure one graph against graphlib; milliseconds, and ours / theirs."""
    times: dict[str, list[float]] = {"ti": [], "oi": [], "td": [], "od": []}
    for _ in range(rounds):
        theirs, took = _timed(lambda: _ingest_theirs(parents))
        times["ti"].append(took)
        times["td"].append(_timed(partial(_drain_theirs, theirs))[1])
        del theirs
        ours, took = _timed(lambda: _ingest_ours(parents))
        times["oi"].append(took)
        times["od"].append(_timed(partial(_drain_ours, ours))[1])
        assert ours.is_complete
        del ours
    median = {key: statistics.median(values) for key, values in times.items()}
    return {
        "graph": name,
        "nodes": len(parents),
        "edges": sum(map(len, parents.values())),
        "graphlib_ingest_ms": round(median["ti"], 2),
        "ingest_ms": round(median["oi"], 2),
        "ingest_ratio": round(median["oi"] / median["ti"], 2),
        "graphlib_drain_ms": round(median["td"], 2),
        "drain_ms": round(median["od"], 2),
        "drain_ratio": round(median["od"] / median["td"], 2),
        "bytes_per_node": bytes_per_node(parents),
    }


def bytes_per_node(parents: Parents) -> int:
    """Measure what a frontier and its graph keep, beside the ids' own text."""
    gc.collect()
    tracemalloc.start()
    frontier = _ingest_ours(parents)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(kept / max(1, len(frontier)))


def measure_all(*, big: bool = False) -> list[dict[str, object]]:
    """Measure every graph; `big` adds a million nodes and takes minutes."""
    graphs: list[tuple[str, Parents | None, int]] = [
        ("montage-dss-15d", recorded("montage-dss-15d"), 9),
        ("debian12-install", recorded("debian12-install"), 3),
        ("layered 10^4", layered(10_000, width=100, edges_each=3), 7),
        ("layered 10^5", layered(100_000, width=1_000, edges_each=3), 3),
        ("chain 10^5", layered(100_000, width=1, edges_each=1), 3),
        ("hub of 21,788 children", hub(21_788), 5),
        ("100 joins of 1,000", join(100, 1_000), 5),
    ]
    if big:
        graphs.append(("layered 10^6", layered(1_000_000, width=10_000, edges_each=3), 1))
    return [measure(name, parents, n) for name, parents, n in graphs if parents is not None]


def rows() -> list[Row]:
    """Measure ingest and drain as rows of the common table."""
    found: list[Row] = []
    for one in measure_all():
        for verb in ("ingest", "drain"):
            ours, ratio = one[f"{verb}_ms"], one[f"{verb}_ratio"]
            assert isinstance(ours, float)
            assert isinstance(ratio, float)
            found.append(Row(f"{verb} {one['graph']}", ours, "ms", "graphlib", ratio))
    return found


def _print(table: list[dict[str, object]]) -> None:
    print("| " + " | ".join(table[0]) + " |")
    print("|" + "---|" * len(table[0]))
    for row in table:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    _print(measure_all(big="--big" in sys.argv[1:]))
