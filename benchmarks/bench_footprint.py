"""What federlib costs while it does nothing: its import, idle watchers, a held lease."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import attrs

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
    bare: list[_Start] = []
    ours: list[_Start] = []
    for _ in range(rounds):
        bare.append(_start("pass"))
        ours.append(_start("import federlib"))
    pairs = list(zip(bare, ours, strict=True))
    over = statistics.median(our.wall_ms - their.wall_ms for their, our in pairs)
    cpu = statistics.median(our.cpu_ms - their.cpu_ms for their, our in pairs)
    return Row(
        "import federlib, over bare Python",
        round(over, 2),
        "ms",
        f"bare Python, {statistics.median(one.wall_ms for one in bare):.1f} ms",
        round(statistics.median(our.wall_ms / their.wall_ms for their, our in pairs), 3),
        _IMPORT_BAR_MS,
        bar_on="value",
        client="a fresh process",
        note=f"median of {rounds} pairs, {cpu:.1f} ms of it on the processor; "
        "the ratio is of whole processes",
    )


@attrs.frozen
class _Start:
    """What a process took from its start to its end."""

    wall_ms: float
    cpu_ms: float


def _start(statement: str) -> _Start:
    before, began = _children_s(), time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment())
    return _Start((time.perf_counter() - began) * 1e3, (_children_s() - before) * 1e3)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
