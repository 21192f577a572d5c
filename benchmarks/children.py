"""Other processes of a measurement: how they are started, and what they answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "PROJECT",
    "Answer",
    "ChildError",
    "answer",
    "answers",
    "environment",
    "last_words",
    "program",
    "scratch",
    "started",
    "wait_until_ready",
]

PROJECT = Path(__file__).resolve().parents[1]
Answer = dict[str, float]


class ChildError(Exception):
    """A process of a measurement ended badly; its last words are the text."""


def environment() -> dict[str, str]:
    """Return ours, without any setting of a fleet that this shell may belong to."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FEDERLIB_STORE", "OPAL_"))}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH")))),
    }


def program(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of the benchmarks."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def answer(command: Sequence[str], *, timeout_s: float = 120.0) -> Answer:
    """Run one process to its end, and read the JSON that it prints."""
    with started([command]) as (process,):
        return answers([process], timeout_s=timeout_s)[0]


def answers(
    processes: Sequence[subprocess.Popen[bytes]], *, timeout_s: float = 120.0
) -> list[Answer]:
    """Wait for all of them, and read what each prints."""
    end_s = time.monotonic() + timeout_s
    return [_read(process, end_s - time.monotonic()) for process in processes]


def _read(process: subprocess.Popen[bytes], timeout_s: float) -> Answer:
    out, err = process.communicate(timeout=max(0.0, timeout_s))
    if process.returncode != 0:
        raise ChildError(f"a process ended with {process.returncode}: {last_words(err)}")
    found: Answer = json.loads(out)
    return found


def last_words(err: bytes) -> str:
    """Return the last line of what a process complained about."""
    lines = err.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def started(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes; whatever happens, none of them outlives the block."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.extend(map(_start, commands))
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def wait_until_ready(place: Path, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until each has made its file `ready-…`, or one of them has ended."""
    while len(list(place.glob("ready-*"))) < len(processes):
        if any(process.poll() is not None for process in processes):
            return  # its answer will say why
        time.sleep(0.005)


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder for one round; a sync in it should reach a disk."""
    with tempfile.TemporaryDirectory(prefix="federlib-bench-") as folder:
        yield Path(folder)
