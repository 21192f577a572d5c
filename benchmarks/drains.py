"""One graph, ingested and drained: `python -m benchmarks.drains GRAPH ROUNDS [batches]`.

A process of its own: what an earlier graph leaves behind in the allocator slows the next one
down. With `batches`, nothing is drained one by one, and only our memory is counted.
Prints medians; a key is what was done, who did it, and `ms` or the ratio to ours.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from graphlib import TopologicalSorter
from typing import TypeVar

from benchmarks.graphs import GRAPHS, Parents
from federlib.graph import Frontier, Graph

T = TypeVar("T")


def _ingest_ours(parents: Parents) -> Frontier:
    return Frontier(Graph.build(parents))


def _drain_ours(frontier: Frontier) -> None:
    id_of, everything = frontier.graph.ids.__getitem__, len(frontier)
    while nodes := frontier.take(everything):
        list(map(id_of, nodes))
        frontier.done_many(nodes)
    assert frontier.is_complete


def _drain_ours_one_by_one(frontier: Frontier) -> None:
    id_of, everything = frontier.graph.ids.__getitem__, len(frontier)
    while nodes := frontier.take(everything):
        list(map(id_of, nodes))
        for node in nodes:
            frontier.done(node)
    assert frontier.is_complete


def _ingest_graphlib(parents: Parents) -> TopologicalSorter[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter(parents)
    sorter.prepare()
    return sorter


def _drain_graphlib(sorter: TopologicalSorter[str]) -> None:
    while sorter.is_active():
        sorter.done(*sorter.get_ready())


def _drain_graphlib_one_by_one(sorter: TopologicalSorter[str]) -> None:
    while sorter.is_active():
        for node in sorter.get_ready():
            sorter.done(node)


def _ingest_rustworkx(parents: Parents):  # type: ignore[no-untyped-def]  # noqa: ANN202 (it has no types)
    import rustworkx

    graph = rustworkx.PyDiGraph()
    number = dict(zip(parents, graph.add_nodes_from(list(parents)), strict=True))
    graph.add_edges_from_no_data(
        [(number[parent], number[node]) for node, row in parents.items() for parent in row]
    )
    return graph, rustworkx.TopologicalSorter(graph, check_cycle=True)


def _drain_rustworkx(made) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 (it has no types)
    graph, sorter = made
    while sorter.is_active():
        nodes = sorter.get_ready()
        list(map(graph.__getitem__, nodes))
        sorter.done(nodes)


_Turn = tuple[str, str, Callable[[Parents], object], Callable[..., None]]

_TURNS: list[_Turn] = [
    ("drain", "federlib", _ingest_ours, _drain_ours),
    ("drain", "graphlib", _ingest_graphlib, _drain_graphlib),
    ("drain", "rustworkx", _ingest_rustworkx, _drain_rustworkx),
    ("drain one by one", "federlib", _ingest_ours, _drain_ours_one_by_one),
    ("drain one by one", "graphlib", _ingest_graphlib, _drain_graphlib_one_by_one),
]


def measure(parents: Parents, rounds: int, *, batches: bool) -> dict[str, float]:
    """Measure in turns; who goes first changes from round to round."""
    has_rustworkx = importlib.util.find_spec("rustworkx") is not None
    turns = [
        turn
        for turn in _TURNS
        if (turn[1] != "rustworkx" or has_rustworkx) and not (batches and "one" in turn[0])
    ]
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for verb, who, ingest, drain in turns if number % 2 else turns[::-1]:
            made, ingest_ms = _timed(partial(ingest, parents))
            _, drain_ms = _timed(partial(drain, made))
            del made
            if verb == "drain":
                times.setdefault(("ingest", who), []).append(ingest_ms)
            times.setdefault((verb, who), []).append(drain_ms)
    found: dict[str, float] = {}
    for (verb, who), theirs in times.items():
        pairs = zip(times[verb, "federlib"], theirs, strict=True)
        found[f"{verb}, {who}, ms"] = statistics.median(theirs)
        found[f"{verb}, {who}, ratio"] = statistics.median(a / b for a, b in pairs)
    return found


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    gc.collect()
    began = time.process_time()
    made = action()
    return made, (time.process_time() - began) * 1e3


def memory(parents: Parents, *, batches: bool) -> dict[str, float]:
    """Count the bytes a node takes from the first ready one on, at their height."""
    found = {"memory, federlib": _kept_bytes(lambda: _ingest_ours(parents), _drain_without_ids)}
    if not batches:
        found["memory, graphlib"] = _kept_bytes(lambda: _ingest_graphlib(parents), _drain_graphlib)
    return {who: kept / len(parents) for who, kept in found.items()}


def _drain_without_ids(frontier: Frontier) -> None:
    while nodes := frontier.take(len(frontier)):
        frontier.done_many(nodes)


def _kept_bytes(ingest: Callable[[], T], drain: Callable[[T], None]) -> int:
    gc.collect()
    tracemalloc.start()
    made = ingest()
    gc.collect()
    tracemalloc.reset_peak()
    drain(made)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def main(name: str, rounds: int, *, batches: bool) -> None:
    """Measure one graph and print what was found; without its data, nothing was."""
    parents = GRAPHS[name]()
    found: dict[str, float] = {}
    if parents is not None:
        size = {"nodes": len(parents), "edges": sum(map(len, parents.values()))}
        times = measure(parents, rounds, batches=batches)
        found = {**size, **times, **memory(parents, batches=batches)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), batches=sys.argv[3:] == ["batches"])
