"""A lease cycle against the disk: acquire and release are two durable commits.

One process, one lease, nobody else wants it. The limits are one raw commit of SQLite and
one raw append with fdatasync, in a new folder as ours; each round takes every client in turn.
A base whose WAL has grown, and a file whose space is reserved, are quicker: they stand beside.
Beside them stand the peers, with what each of them promises: a lock that writes nothing is
quicker, and is something else.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.children import program, scratch
from benchmarks.cycles import CLIENTS, Client
from benchmarks.fsyncs import Evidence, count
from benchmarks.table import Row

_LIMITS = {
    "raw-sqlite": "one raw SQLite commit",
    "raw-sqlite-grown": "one raw SQLite commit into a grown WAL",
    "raw-append": "one raw append + fdatasync",
    "raw-reserved": "one raw write into reserved space + fdatasync",
}
_QUICKER = {"raw-sqlite": "raw-sqlite-grown", "raw-append": "raw-reserved"}
_BARS = {"sqlite-async": 0.22, "sqlite-blocking": 0.4, "file-blocking": 0.45}
"""Two commits a cycle: without any work around them the ratio would be 0.5."""


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure in turns; the median of the rounds' ratios."""
    # Enough that what happens once in a new store is a small part of it.
    cycles, rounds, watched = (20, 2, 5) if quick else (400, 9, 50)
    failures: dict[str, str] = {}
    rates = _measure(cycles, rounds, failures)
    for name, client in CLIENTS.items():
        reason = client.missing or failures.get(name)
        if reason is not None:
            yield _row(name, client, None, None, Evidence(None, ""), reason)
            continue
        evidence = _evidence(name, watched)
        against = rates[client.limit]
        ratios = [ours / theirs for ours, theirs in zip(rates[name], against, strict=True)]
        value, ratio = statistics.median(rates[name]), statistics.median(ratios)
        note = _beside(name, client, rates)
        yield _row(name, client, value, None if client.limit == name else ratio, evidence, note)


def _beside(name: str, client: Client, rates: dict[str, list[float]]) -> str:
    """Tell the ratio to the quicker limit too: that of a store in use for a while."""
    quicker = _QUICKER.get(client.limit)
    if quicker is None or name in _LIMITS or not client.traits.durable:
        return ""
    pairs = zip(rates[name], rates[quicker], strict=True)
    return f"{statistics.median(a / b for a, b in pairs):.3f}x {_LIMITS[quicker]}"


def _measure(cycles: int, rounds: int, failures: dict[str, str]) -> dict[str, list[float]]:
    """Return the rates of each client, round by round; one that fails is out and says why."""
    rates: dict[str, list[float]] = {name: [] for name in CLIENTS}
    # The limits come first: whatever disturbs the start of a round disturbs what we divide by.
    order = [*_LIMITS, *(name for name in CLIENTS if name not in _LIMITS)]
    for _ in range(rounds):
        for name in order:
            if name in failures or CLIENTS[name].missing:
                continue
            with scratch() as place:
                try:
                    took = CLIENTS[name].run(place, cycles, lambda: None)
                except Exception as error:
                    failures[name] = f"it failed: {type(error).__name__}: {error}"
                else:
                    rates[name].append(cycles / took)
    return rates


def _evidence(name: str, cycles: int) -> Evidence:
    with scratch() as place:
        return count(program("cycles", name, place, cycles), cycles=cycles)


def _row(
    name: str,
    client: Client,
    value: float | None,
    ratio: float | None,
    evidence: Evidence,
    note: str,
) -> Row:
    is_limit = name in _LIMITS
    return Row(
        _LIMITS[name] if is_limit else f"lease cycle, {client.client}",
        None if value is None else round(value, 1),
        "/s",
        "" if client.limit == name else _LIMITS[client.limit],
        None if ratio is None else round(ratio, 3),
        _BARS.get(name),
        higher_is_better=True,
        client=client.title,
        batch=1,
        fsync=client.fsync,
        fsyncs_per_cycle=evidence.per_cycle,
        evidence=evidence.source,
        traits=None if is_limit else client.traits,
        note=note,
    )
