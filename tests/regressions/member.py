"""A process of its own: `python member.py VERB BACKEND URL DIRECTORY [ARGUMENT]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from federlib import connect
from federlib.dag import TaskRun


def say(text: str) -> None:
    # One write a line, straight to the pipe: what was said before a SIGKILL is not lost.
    os.write(1, f"{text}\n".encode())


async def work(url: str, directory: Path, argument: str) -> None:
    """Take part in the run `r`; the ledger gets a line for each task that begins.

    A task whose id ends on `-held` waits for the file `go`.
    """
    ledger = os.open(directory / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def do(task: TaskRun) -> object:
        os.write(ledger, f"{task.task_id} {task.attempt} {os.getpid()}\n".encode())
        while task.task_id.endswith("-held") and not (directory / "go").exists():
            await anyio.sleep(0.01)
        return task.attempt

    ttl_s, slots = argument.split(",")
    async with connect(url, ttl_s=float(ttl_s)) as fed:
        await fed.identity()
        say("ready")
        say((await fed.dag.work("r", do, slots=int(slots))).state)


VERBS: dict[str, Callable[[str, Path, str], Awaitable[None]]] = {
    verb.__name__: verb for verb in (work,)
}

if __name__ == "__main__":
    _, name, backend, url, directory, *rest = sys.argv
    anyio.run(VERBS[name], url, Path(directory), rest[0] if rest else "", backend=backend)
