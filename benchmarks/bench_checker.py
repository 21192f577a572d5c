"""How long it takes to check a history of 10,000 operations.

Ten processes call at the same time, half of the calls go to one of eight keys, and a hundredth
of the answers is lost. The histories are right, or right but for one answer. There is a bar and
no peer: no checker of recorded histories stands alone for Python. The seeds are fixed: every run
checks the same histories.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

import msgspec

from benchmarks.table import Row
from federlib.testing.history import (
    History,
    Register,
    StoreModel,
    linearizability,
    samples,
)

_BAR_S = 10.0
_SEEDS = range(5)


def _register(seed: int, operations: int) -> History:
    return samples.register_history(random.Random(seed).randrange, operations=operations)


def _store(seed: int, operations: int) -> History:
    return samples.store_history(random.Random(seed).randrange, operations=operations)


def _broken(seed: int, operations: int) -> History:
    """Put a value that was never written among the reads of the hot key, near the end."""
    found = list(_register(seed, operations))
    reads = [n for n, one in enumerate(found) if one.verb == "read" and one.outcome == "ok"]
    hot = [n for n in reads if found[n].key == "k0"]
    place = hot[len(hot) * 9 // 10]
    found[place] = msgspec.structs.replace(found[place], result=(-1,))
    return History(found)


def _registers(history: History) -> str:
    return linearizability.check(history, Register()).answer


def _stores(history: History) -> str:
    return linearizability.check(history, StoreModel()).answer


def _row(
    name: str,
    make: Callable[[int, int], History],
    check: Callable[[History], str],
    expected: str,
    *,
    quick: bool,
) -> Row:
    operations = 1_000 if quick else 10_000
    took: list[float] = []
    for seed in _SEEDS:
        history = make(seed, operations)
        began = time.perf_counter()
        answer = check(history)
        took.append(time.perf_counter() - began)
        if answer != expected:
            raise RuntimeError(f"{name}, seed {seed}: {answer}, not {expected}")
    return Row(
        name,
        round(max(took), 3),
        "s",
        "none",
        None,
        bar=_BAR_S,
        bar_on="value",
        evidence=f"the slowest of {len(took)} seeds; median {statistics.median(took):.2f} s",
        note=f"{operations:,} operations, 10 processes, 8 keys, half of the calls on one of them",
    )


def rows(*, quick: bool = False) -> list[Row]:
    """Check registers, a record store, and registers of which one is wrong."""
    row = partial(_row, quick=quick)
    return [
        row("registers, right", _register, _registers, "linearizable"),
        row("registers, one wrong read", _broken, _registers, "violation"),
        row("record store, right", _store, _stores, "linearizable"),
    ]


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name:32} {row.value:>8} {row.unit}")
