"""Starts `member.py` in processes of their own, on either event loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs

from fleet import Fleet

__all__ = ["Member", "start"]

SCRIPT = Path(__file__).with_name("member.py")


@attrs.define
class Member:
    """One process; it answers line by line."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def hear(self) -> str:
        """Wait for its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL it; it is gone when this returns."""
        self.process.kill()
        self.process.communicate(timeout=20)

    def wait(self) -> list[str]:
        """Wait for its end, which must be a good one, and return what else it said."""
        out, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, err.decode()
        return out.decode().splitlines()


def start(fleet: Fleet, verb: str, backend: str, argument: str = "") -> Member:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), verb, backend, fleet.url, str(fleet.root), argument],
        cwd=fleet.root, env=fleet.environment(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    fleet.processes.append(process)
    return Member(process)
