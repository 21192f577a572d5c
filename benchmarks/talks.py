"""Processes of a measurement that are told what to do, a line at a time, and answer in lines.

A process that stays over all rounds opens what it opens once, and a peer that hangs is killed
without the rest of the run. What a process complains about is kept in a file.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self

from benchmarks.children import ChildError, environment

__all__ = ["Talker", "listen", "tell"]

_GOODBYE_S = 5.0
_LAST_LINES = 3
"""Of a complaint: drivers point at a place in a statement below what they say."""


class Talker:
    """One such process; a context manager that leaves none behind.

    Args:
        command: As `children.program` makes it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._rest = b""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._err = self._stack.enter_context(tempfile.TemporaryFile())
        self._process = subprocess.Popen(
            self._command,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._err,
        )
        return self

    def __exit__(self, *_raised: object) -> None:
        with self._stack:
            self.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def say(self, line: str) -> None:
        """Tell it something.

        Raises:
            ChildError: It is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ChildError(self._complaint()) from error

    def hear(self, timeout_s: float = 60.0) -> str:
        """Return its next line.

        Raises:
            ChildError: It is gone, or says nothing in time.
        """
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        end_s = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([out], [], [], left_s)[0]:
                raise ChildError(f"it said nothing for {timeout_s:g} s; {self._complaint()}")
            heard = os.read(out, 65_536)
            if not heard:
                raise ChildError(self._complaint())
            self._rest += heard
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def kill(self) -> None:
        """Kill it with SIGKILL, if it is still there."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Let it end by itself, which closes what it has open; kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _complaint(self) -> str:
        self._err.seek(0)
        lines = self._err.read().decode(errors="replace").strip().splitlines()
        words = " / ".join(line.strip() for line in lines[-_LAST_LINES:]) or "it said nothing"
        return f"a process ended or hangs: {words}"


def tell(line: str) -> None:
    """Say a line to whoever started this process."""
    print(line, flush=True)


def listen(read: Callable[[], str]) -> str | None:
    """Return the next line that this process is told, or None at the end.

    Args:
        read: For example `sys.stdin.readline`.
    """
    return read().strip() or None
