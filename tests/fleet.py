"""A directory in which `federlib` processes run, and a way to talk to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import attrs
import msgspec
import psutil

from federlib import Federation, connect
from federlib.dag.records import decode
from federlib.dag.runstate import RunState
from federlib.dag.transitions import Epoch, LogBatch, Lost, Succeeded
from federlib.identity import IdentityStore
from federlib.storage.scanning import scan_all

__all__ = ["Done", "Fleet", "History", "alive", "all_gone", "read_history", "until"]

T = TypeVar("T")
_LIMIT_S = 180.0


@attrs.frozen
class Done:
    """How a command went."""

    code: int
    out: str
    err: str


@attrs.define
class Fleet:
    """One directory with its store; every process works in it."""

    root: Path
    env: dict[str, str] = attrs.field(factory=dict)
    processes: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.root}/.federlib/store.db"

    def start(self, *arguments: str, log: str = "out.log") -> subprocess.Popen[bytes]:
        """Start a command in the background; its output goes to a file."""
        with (self.root / log).open("ab") as file:
            process = subprocess.Popen(
                command(*arguments),
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def call(self, *arguments: str, timeout_s: float = _LIMIT_S) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            command(*arguments),
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def run(self, workflow: str, *options: str, timeout_s: float = _LIMIT_S) -> Done:
        """`federlib run` with a short ttl."""
        return self.call("run", workflow, "--ttl", "1", *options, timeout_s=timeout_s)

    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FEDERLIB_", "OPAL_"))
        }
        return {**kept, "COLUMNS": "200", **self.env}

    def write(self, name: str, tasks: list[dict[str, object]]) -> str:
        """Write a workflow in JSON."""
        (self.root / name).write_bytes(msgspec.json.encode({"tasks": tasks}))
        return name

    def text(self, name: str) -> str:
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def lines(self, name: str) -> list[str]:
        return self.text(name).splitlines()

    def json(self, name: str) -> dict[str, object]:
        return msgspec.json.decode((self.root / name).read_bytes(), type=dict[str, object])

    def ask(self, question: Callable[[Federation], Awaitable[T]]) -> T:
        """Look into the store from this process."""

        async def look() -> T:
            identities = IdentityStore(self.root / "runtime/identities")
            async with connect(self.url, identity=identities) as fed:
                return await question(fed)

        return anyio.run(look)

    def history(self, run_id: str) -> History:
        return self.ask(lambda fed: read_history(fed, run_id))

    @contextmanager
    def closing(self) -> Iterator[Fleet]:
        """Leave no process behind, whatever happens."""
        try:
            yield self
        finally:
            for process in self.processes:
                family = descendants(process.pid)
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                process.wait(10)
                for member in family:
                    if alive(member):
                        os.kill(member, signal.SIGKILL)


def command(*arguments: str) -> list[str]:
    # -P: like the installed script, it does not import from the working directory.
    return [sys.executable, "-P", "-m", "federlib.cli", *arguments]


def until(fact: Callable[[], T | None], *, limit_s: float = 60.0, what: str = "it") -> T:
    """Wait until a fact about other processes is true, and return it."""
    end_s = time.monotonic() + limit_s
    while True:
        found = fact()
        if found:
            return found
        assert time.monotonic() < end_s, f"{what} did not happen within {limit_s:g} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_gone(pids: set[int]) -> bool:
    return not any(map(alive, pids))


def descendants(pid: int) -> set[int]:
    """Return a process's children and theirs: for a run its workers, guards and tasks."""
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


@attrs.define
class History:
    """What the log of a run says, transition by transition.

    Attributes:
        state: Folded to the end.
        accepted: Task and attempt of each accepted success, in order.
        lost: Task and owner (`worker, incarnation`) of each lost attempt.
        leaders: Worker by epoch.
        stale: Accepted successes whose claim was not of the epoch that reigned. Must be none.
    """

    state: RunState
    accepted: list[tuple[str, int]] = attrs.field(factory=list)
    lost: list[tuple[str, tuple[str, int]]] = attrs.field(factory=list)
    leaders: dict[int, str] = attrs.field(factory=dict)
    stale: list[str] = attrs.field(factory=list)


async def read_history(fed: Federation, run_id: str) -> History:
    final = await fed.dag.inspect(run_id)
    state = RunState(final.plan, final.record)
    history = History(final)
    ids = final.plan.ids
    async for record in scan_all(fed.store, f"dag/{run_id}/log/"):
        batch = decode(LogBatch, record)
        seq = int(record.key.rpartition("/")[2])
        if batch.epoch != state.epoch and not isinstance(batch.t[0], Epoch):
            history.stale.append(f"log {seq} is of epoch {batch.epoch} under {state.epoch}")
        for transition in batch.t:
            match transition:
                case Epoch(epoch, leader):
                    history.leaders[epoch] = leader
                case Succeeded(node, attempt):
                    history.accepted.append((ids[node], attempt))
                    if state.claims[node].epoch != state.epoch:
                        history.stale.append(ids[node])
                case Lost(node):
                    owner = state.claims[node]
                    history.lost.append((ids[node], owner.life[:2]))
                case _:
                    pass
            state.apply(transition, seq=seq, at_ns=batch.at_ns, workers=batch.workers)
    return history
