"""What federlib costs while it does nothing: its import, idle watchers, a held lease."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.children import ChildError, answers, environment, program, scratch, started
from benchmarks.idle import WATCHERS
from benchmarks.table import Row

_IMPORT_BAR_MS = 50.0
_IDLE_BAR = 0.01

_IDLE = (
    ("async", "sqlite", "WAL, FULL"),
    ("async", "file", "append + fdatasync"),
    ("blocking", "sqlite", "WAL, FULL"),
    ("blocking", "file", "append + fdatasync"),
)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure the import in turns with bare Python; then the idle processes side by side."""
    yield _import(3 if quick else 25)
    yield from _idle(1.0 if quick else 20.0)


def _import(rounds: int) -> Row:
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(rounds):
        bare.append(_start_ms("pass"))
        ours.append(_start_ms("import federlib"))
    over = statistics.median(b - a for a, b in zip(bare, ours, strict=True))
    ratio = statistics.median(b / a for a, b in zip(bare, ours, strict=True))
    return Row(
        "import federlib, over bare Python",
        round(over, 2),
        "ms",
        f"bare Python, {statistics.median(bare):.1f} ms",
        round(ratio, 3),
        _IMPORT_BAR_MS,
        bar_on="value",
        client="a fresh process",
        note=f"median of {rounds} pairs; the ratio is of whole processes",
    )


def _start_ms(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment())
    return (time.perf_counter() - began) * 1e3


def _idle(seconds: float) -> Iterator[Row]:
    with scratch() as place:
        commands = []
        for kind, driver, _ in _IDLE:
            folder = place / f"{kind}-{driver}"
            folder.mkdir()
            url = f"{driver}:///{folder}/fleet"
            commands.append(program("idle", kind, url, folder, seconds))
        # Side by side: they do next to nothing, and it is this machine's core all the same.
        with started(commands) as children:
            for (kind, driver, fsync), child in zip(_IDLE, children, strict=True):
                share, note = None, f"CPU time over {seconds:g} s, all threads; 1 is a whole core"
                try:
                    share = answers([child], timeout_s=seconds + 60)[0]["share"]
                except (ChildError, subprocess.TimeoutExpired) as error:
                    note = f"it failed: {error}"
                watchers = f"{WATCHERS} idle watchers and " if kind == "async" else ""
                yield Row(
                    f"{watchers}a held lease, {driver}, {kind}",
                    None if share is None else round(share * 100, 3),
                    "% of a core",
                    "one core",
                    None if share is None else round(share, 5),
                    _IDLE_BAR,
                    client=kind,
                    fsync=fsync,
                    note=note,
                )
