"""Evidence that a durable cycle had its syncs: a counter outside the process says so.

A program under the counter calls `mark` between its cycles, and nothing else there. Under
strace the marks and the syncs come in one order, so each cycle's are counted by themselves.
Without strace the flushes of the disk are counted, which is for all cycles together and for
whoever else uses that disk. Without either there is no evidence, and the row says so.

Does not prove: that the disk keeps what it was asked to flush.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import attrs

from benchmarks.children import environment, scratch

__all__ = ["Evidence", "between_marks", "count", "mark"]

_SYNCS = ("fsync", "fdatasync", "sync_file_range", "msync")
_MARK = "getsid"
_CALL = re.compile(r"^\d+ +(\w+)\(")
_FLUSHES = 18  # of a line of /proc/diskstats, since Linux 5.5


@attrs.frozen
class Evidence:
    """What a counter saw.

    Attributes:
        per_cycle: Syncs a cycle, on the average; None where nothing could be counted.
        source: How it was counted.
    """

    per_cycle: float | None
    source: str


def mark() -> None:
    """Leave a trace between two cycles: a system call that nothing else makes here."""
    os.getsid(0)


def count(command: Sequence[str], *, cycles: int, timeout_s: float = 120.0) -> Evidence:
    """Run a program of so many cycles under the counter.

    Args:
        command: Calls `mark` before its first cycle and after each.
        cycles: How many it makes.
        timeout_s: After this it is killed; seconds.
    """
    try:
        return _count(command, cycles, timeout_s)
    except (OSError, subprocess.SubprocessError) as error:
        return Evidence(None, f"no evidence: {type(error).__name__} under the counter")


def _count(command: Sequence[str], cycles: int, timeout_s: float) -> Evidence:
    strace = shutil.which("strace")
    found = _traced(strace, command, timeout_s) if strace is not None else []
    if found:
        return Evidence(round(sum(found) / len(found), 3), _words(found))
    return _flushed(command, cycles, timeout_s)


def _traced(strace: str, command: Sequence[str], timeout_s: float) -> list[int]:
    """Count the syncs between each two marks; empty where nothing may be traced."""
    with scratch() as place:
        log = place / "calls"
        calls = ",".join((*_SYNCS, _MARK))
        done = _run([strace, "-f", "-e", f"trace={calls}", "-o", str(log), *command], timeout_s)
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if f"{_MARK}(" not in text:
        return []  # not allowed to trace, or the program never came so far: it is run again
    done.check_returncode()
    return between_marks(text)


def between_marks(text: str) -> list[int]:
    """Return how many syncs a trace has between each two marks."""
    found: list[int] = []
    for line in text.splitlines():
        made = _CALL.match(line)  # a call that ends later has a second line, without "("
        name = made[1] if made else ""
        if name == _MARK:
            found.append(0)
        elif name in _SYNCS and found:
            found[-1] += 1
    return found[:-1]


def _words(found: list[int]) -> str:
    said = f"strace of {len(found)}: at least {min(found)} in each"
    if min(found) or not any(found):
        return said
    between = [len(list(run)) for synced, run in groupby(found, bool) if not synced]
    return f"strace of {len(found)}: at most {max(between) + 1} from one sync to the next"


def _flushed(command: Sequence[str], cycles: int, timeout_s: float) -> Evidence:
    before = _flushes(Path(tempfile.gettempdir()))
    if before is None:
        return Evidence(None, "no evidence available: neither strace nor the disk's counters")
    _run(command, timeout_s).check_returncode()
    after = _flushes(Path(tempfile.gettempdir())) or before
    source = f"flushes of the whole disk during {cycles} cycles, set-up and others included"
    return Evidence(round((after - before) / cycles, 2), source)


def _flushes(place: Path) -> int | None:
    device = place.stat().st_dev
    try:
        lines = Path("/proc/diskstats").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) > _FLUSHES and (int(fields[0]), int(fields[1])) == _numbers(device):
            return int(fields[_FLUSHES])
    return None


def _numbers(device: int) -> tuple[int, int]:
    return os.major(device), os.minor(device)


def _run(command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=timeout_s,
    )
