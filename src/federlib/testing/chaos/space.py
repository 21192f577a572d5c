"""`Space`: a disk that is full, as the operating system has it, for one process.

A limit of the kernel on the length of files (RLIMIT_FSIZE) makes every write of the process
fail that would go beyond the first byte, in whatever thread and however deep in a driver. What
the process notes for the harness is let through.
"""

from __future__ import annotations

import os
import resource

__all__ = ["Space"]

_NONE_LEFT = 1


class Space:
    """Whether this process may write; there is one for a process."""

    def __init__(self) -> None:
        self._limits: tuple[int, int] = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._is_full = False

    def fill(self, *, is_full: bool) -> None:
        """Let nothing more be written from now on, or let it be again."""
        self._is_full = is_full
        self._apply(is_full=is_full)

    def write(self, file: int, line: bytes) -> None:
        """Write a line, however full it is."""
        if not self._is_full:
            os.write(file, line)
            return
        # Another thread's write may slip through: so it may where somebody frees a little.
        self._apply(is_full=False)
        try:
            os.write(file, line)
        finally:
            self._apply(is_full=True)

    def _apply(self, *, is_full: bool) -> None:
        soft, hard = self._limits
        resource.setrlimit(resource.RLIMIT_FSIZE, (_NONE_LEFT if is_full else soft, hard))
