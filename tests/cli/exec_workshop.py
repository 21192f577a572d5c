"""What the tests of the task executor share: specs, and a look at real processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import attrs
import psutil

from federlib.cli.exec import Call, Exec

__all__ = ["Workshop", "is_alive", "until"]


@attrs.frozen
class Workshop:
    """A directory to work in, and a short way to write a spec."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "logs" / "task.log"

    def spec(
        self,
        command: tuple[str, ...] | str | Call,
        *,
        log_path: Path | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float | None = None,
        grace_s: float = 5.0,
        inputs: bytes = b"{}",
        result_path: Path | None = None,
        log_cap_bytes: int = 10 << 20,
    ) -> Exec:
        return Exec(
            command=command,
            cwd=cwd or self.root,
            env={**os.environ, "HERE": str(self.root), **(env or {})},
            log_path=log_path or self.log,
            timeout_s=timeout_s,
            grace_s=grace_s,
            inputs=inputs,
            result_path=result_path,
            log_cap_bytes=log_cap_bytes,
        )

    def text(self) -> str:
        return self.log.read_text()

    async def pid(self, name: str) -> int:
        """Wait for a process to write down its own id, and read it."""
        path = self.root / name
        await until(lambda: path.exists() and path.read_text().endswith("\n"))
        return int(path.read_text())


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool], *, within_s: float = 8.0) -> None:
    """Poll for something that another process does, and that no event tells."""
    with anyio.fail_after(within_s):
        while not condition():
            await anyio.sleep(0.01)
