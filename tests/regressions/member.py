"""A process of its own: `python member.py VERB BACKEND URL DIRECTORY [ARGUMENT]`."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from federlib import connect
from federlib.dag import TaskRun
from federlib.errors import Fenced
from federlib.storage import Put


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


async def report(url: str, directory: Path, _argument: str) -> None:
    """Hold `report`, look, wait to be told, and write: in the store and into `outside.db`."""
    outside = sqlite3.connect(directory / "outside.db")
    async with connect(url, ttl_s=0.5) as fed, fed.hold("report", on_loss="mark") as lease:
        lease.check()
        say(f"checked {lease.token}")
        # Whatever comes between the look and the write: here the process is stopped.
        sys.stdin.readline()
        try:
            await fed.guard("report").transaction(lease.token, (Put("report", b"mine"),))
        except Fenced as refusal:
            say(type(refusal).__name__)
        changed = outside.execute(
            "UPDATE report SET body = 'mine', fence = :token WHERE fence <= :token",
            {"token": lease.token},
        ).rowcount
        outside.commit()
        say(f"changed {changed}, lost {lease.lost}")
    outside.close()


async def fork(url: str, _directory: Path, _argument: str) -> None:
    """Hold `job`, fork, let the child try all that could free it, and go on holding."""
    async with connect(url, ttl_s=5) as fed:
        identity = await fed.identity()
        async with fed.hold("job") as lease:
            child = os.fork()
            if not child:
                try:
                    say(f"child lost {lease.lost}")
                    for check in (lease.check, identity.check):
                        try:
                            check()
                        except Fenced as refusal:
                            say(f"child {type(refusal).__name__}")
                    identity.release()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            lease.check()
            identity.check()
            say(f"parent holds {lease.token}")
            sys.stdin.readline()
            await anyio.sleep(0)
            lease.check()


VERBS: dict[str, Callable[[str, Path, str], Awaitable[None]]] = {
    verb.__name__: verb for verb in (work, report, fork)
}

if __name__ == "__main__":
    _, name, backend, url, directory, *rest = sys.argv
    anyio.run(VERBS[name], url, Path(directory), rest[0] if rest else "", backend=backend)
