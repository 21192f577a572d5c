"""How federlib's graph compares with `graphlib.TopologicalSorter` and with rustworkx.

All get the same dict of parents. *Ingest* is everything up to the first ready node, every
check included. *Drain* then asks for the ready nodes and finishes them, until none is left:
all that are ready at once (`take` and `done_many` against `get_ready` and `done(*nodes)`),
or each by itself (`done(node)` on both sides). graphlib hands out ids, federlib and
rustworkx numbers: with those, the ids are looked up as well, and counted in.

Each round measures ours and the peers in turns, in one process for each graph, in CPU time,
with the garbage collector on and freshly run; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from benchmarks.children import Answer, answer, program
from benchmarks.table import Row

_MAX_BYTES = 120.0
_MAX_CLIFF = 2.0
_DRAIN_BAR = 0.8


@attrs.frozen
class _Case:
    """A graph to measure.

    Attributes:
        name: In `benchmarks.graphs`.
        rounds: How often.
        ingest_bar: None where there are no bars.
        is_big: Takes a minute: measured in batches only, and never in a rehearsal.
    """

    name: str
    rounds: int
    ingest_bar: float | None = None
    is_big: bool = False


_CASES = (
    _Case("montage-dss-15d", 51, 0.5),
    _Case("debian12-install", 7, 0.5),
    _Case("layered 10^4", 21, 0.5),
    _Case("layered 10^5", 7, 0.5),
    _Case("layered 10^6", 3, 0.75, is_big=True),
    _Case("chain 10^5", 5),
    _Case("hub of 21,788 children", 11),
    _Case("100 joins of 1,000", 11),
)
_LEVEL, _CLIFFS = "layered 10^5", ("hub of 21,788 children", "100 joins of 1,000")


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure every graph, then compare the hub and the joins with the layers."""
    ours_ns: dict[str, float] = {}
    for case in _CASES:
        if quick and case.is_big:
            continue
        rounds = 1 if quick else case.rounds
        batches = ["batches"] if case.is_big else []
        found = answer(program("drains", case.name, rounds, *batches), timeout_s=600)
        if not found:
            yield _missing(case)
            continue
        yield from _times(case, rounds, found)
        yield _memory(case, found)
        ours_ms = found["ingest, federlib, ms"] + found["drain, federlib, ms"]
        ours_ns[case.name] = ours_ms * 1e6 / (found["nodes"] + found["edges"])
    for name in _CLIFFS:
        yield _cliff(name, ours_ns)


def _missing(case: _Case) -> Row:
    note = "the shared data are not there"
    return Row(f"ingest {case.name}", None, "ms", "graphlib", None, case.ingest_bar, note=note)


def _times(case: _Case, rounds: int, found: Answer) -> Iterator[Row]:
    for verb in ("ingest", "drain", "drain one by one"):
        for peer in ("graphlib", "rustworkx"):
            if f"{verb}, {peer}, ms" in found:
                yield Row(
                    f"{verb} {case.name}",
                    round(found[f"{verb}, federlib, ms"], 2),
                    "ms",
                    f"{peer}, {found[f'{verb}, {peer}, ms']:,.2f} ms",
                    round(found[f"{verb}, {peer}, ratio"], 3),
                    _bar(case, verb) if peer == "graphlib" else None,
                    note=f"{found['nodes']:,} nodes, median of {rounds} rounds, CPU time",
                )


def _bar(case: _Case, verb: str) -> float | None:
    """Return the bar against graphlib; that of the drain is about batches."""
    if case.ingest_bar is None:
        return None
    return {"ingest": case.ingest_bar, "drain": _DRAIN_BAR}.get(verb)


def _memory(case: _Case, found: Answer) -> Row:
    theirs = found.get("memory, graphlib")
    return Row(
        f"memory of a node, {case.name}",
        round(found["memory, federlib"], 1),
        "bytes",
        f"graphlib, {theirs:,.0f} bytes" if theirs else "not measured",
        round(found["memory, federlib"] / theirs, 3) if theirs else None,
        None if case.ingest_bar is None else _MAX_BYTES,
        bar_on="value",
        note="tracemalloc: graph and frontier beside the ids, the most at any time of the drain",
    )


def _cliff(name: str, ours_ns: dict[str, float]) -> Row:
    """Compare what a node or an edge costs here with what it costs in layers."""
    return Row(
        f"a node or edge, {name}",
        round(ours_ns[name], 1),
        "ns",
        f"{_LEVEL}, {ours_ns[_LEVEL]:.0f} ns",
        round(ours_ns[name] / ours_ns[_LEVEL], 3),
        _MAX_CLIFF,
        note="ingest and drain together",
    )
