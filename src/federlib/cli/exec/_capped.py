"""The log of a task, capped; standard library only."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["Log"]


class Log:
    """A task's log: the head of its output, then a line that counts what was dropped."""

    def __init__(self, path: str, cap: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._fd = os.open(path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise OSError(errno.EINVAL, "not a regular file")
        os.fchmod(self._fd, 0o600)
        self._cap = cap
        self.size = 0
        self.dropped = 0
        self.trouble = ""

    def take(self, chunk: bytes) -> None:
        """Write what fits, count the rest. A write that fails ends the log, not the task."""
        room = 0 if self.trouble else min(len(chunk), self._cap - self.size)
        written = self._write(chunk[:room]) if room else 0
        self.size += written
        self.dropped += len(chunk) - written

    def _write(self, data: bytes) -> int:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            self.trouble = error.strerror or str(error)
        return written

    def close(self) -> None:
        """Add the last line, where bytes were dropped; the file stays within its cap."""
        if self.dropped:
            total, keep, line = self.size + self.dropped, self.size, b""
            for _ in range(3):  # the line tells a number that its own length changes
                why = self.trouble or f"capped at {self._cap} bytes"
                line = f"\n[federlib] log {why}: {total - keep} bytes dropped\n".encode()[
                    : self._cap
                ]
                keep = min(self.size, self._cap - len(line))
            try:
                os.ftruncate(self._fd, keep)
                os.lseek(self._fd, keep, os.SEEK_SET)
                self.size, self.dropped = keep, total - keep
                self.size += self._write(line)
            except OSError as error:
                self.trouble = self.trouble or error.strerror or str(error)
        os.close(self._fd)
