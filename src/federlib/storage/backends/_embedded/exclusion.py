"""Proof that a lock really excludes: two processes on the very file system, and a kill.

A lock that excludes nobody is worse than none, and nothing but a trial tells: some file
systems take every request for a lock and keep none. So a child process takes the lock; it
must be refused to us; then the child is killed, and it must be given to us.

The child runs `python -m` this module. It ends when its standard input does: with us.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell: a name that nobody else has)
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import anyio
import anyio.abc
import anyio.to_thread

from federlib.storage.backends._embedded.filesystem import make_private_directory
from federlib.storage.backends._embedded.lock_file import DirectoryLock, LockFile

__all__ = ["HOLDER", "Lock", "LockKind", "NoProof", "find_gap", "open_lock", "prove_exclusion"]

LockKind = Literal["file", "directory", "sqlite"]

HOLDER = (sys.executable, "-P", "-m", "federlib.storage.backends._embedded.exclusion")
"""The command that takes a lock and holds it; kind and path are added."""

_PATIENCE_S = 10.0
_LOOKS, _LOOK_EVERY_S = 100, 0.02
_TAKEN = b"taken\n"


class Lock(Protocol):
    """A lock, as far as it is tried."""

    def try_take(self) -> bool:
        """Take it if it is free now."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class NoProof(Exception):  # noqa: N818 (what it is)
    """The trial could not be made; says why.

    Attributes:
        is_of_place: The place does not let us; otherwise it is the second process.
    """

    def __init__(self, reason: str, *, is_of_place: bool = True) -> None:
        super().__init__(reason)
        self.is_of_place = is_of_place


class _SqliteLock:
    """SQLite's own lock of writers, in a database with a write-ahead log."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            self._connection.close()
            raise NoProof(f"SQLite cannot keep a write-ahead log here (mode {mode})")

    def try_take(self) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return False
            raise
        return True

    def close(self) -> None:
        self._connection.close()


def open_lock(kind: LockKind, directory: Path) -> Lock:
    """Open, and make if need be, a lock of one kind in a directory.

    Raises:
        OSError, sqlite3.Error: It cannot be made.
        NoProof: It cannot be made as the driver would.
    """
    match kind:
        case "file":
            return LockFile(directory / "lock")
        case "directory":
            make_private_directory(directory / "locked")
            return DirectoryLock(directory / "locked")
        case "sqlite":
            return _SqliteLock(directory / "probe.db")


async def prove_exclusion(
    place: Path,
    kinds: tuple[LockKind, ...],
    *,
    open_lock: Callable[[LockKind, Path], Lock] = open_lock,
    holder: tuple[str, ...] = HOLDER,
) -> str | None:
    """Return how locks fail to exclude on the file system of a directory; None if they do not.

    Makes a directory of its own there, and removes it.

    Args:
        place: An existing directory.
        kinds: Which locks are tried.
        open_lock: Opens our side of each.
        holder: The command of the other side.
    Raises:
        NoProof: The trial could not be made.
    """
    directory = place / f".federlib-doctor-{secrets.token_hex(6)}"
    try:
        await anyio.to_thread.run_sync(directory.mkdir, 0o700)
    except OSError as error:
        raise NoProof(f"no directory can be made in {place}: {error.strerror}") from error
    try:
        for kind in kinds:
            gap = await find_gap(
                kind, partial(open_lock, kind, directory), (*holder, kind, str(directory))
            )
            if gap is not None:
                return gap
        return None
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(shutil.rmtree, directory, ignore_errors=True))


async def find_gap(
    kind: LockKind, open_ours: Callable[[], Lock], holder: tuple[str, ...]
) -> str | None:
    """Try one lock against one other process."""
    try:
        ours = await anyio.to_thread.run_sync(open_ours)
    except (OSError, sqlite3.Error) as error:
        raise NoProof(f"no lock of kind {kind} can be made: {error}") from error
    try:
        return await _try_against(kind, ours, holder)
    except (OSError, sqlite3.Error) as error:
        raise NoProof(f"a lock of kind {kind} fails: {error}") from error
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(ours.close)


async def _try_against(kind: LockKind, ours: Lock, holder: tuple[str, ...]) -> str | None:
    async with await anyio.open_process(holder, stderr=subprocess.PIPE) as child:
        try:
            await _wait_until_taken(child)
            if await anyio.to_thread.run_sync(ours.try_take):
                return f"two processes hold one lock of kind {kind} at once"
        finally:
            if child.returncode is None:
                child.kill()
            with anyio.CancelScope(shield=True):
                await child.wait()
    for _ in range(_LOOKS):
        if await anyio.to_thread.run_sync(ours.try_take):
            return None
        await anyio.sleep(_LOOK_EVERY_S)
    wait_s = _LOOKS * _LOOK_EVERY_S
    return f"a lock of kind {kind} is still held {wait_s:g} s after its holder was killed"


async def _wait_until_taken(child: anyio.abc.Process) -> None:
    assert child.stdout is not None
    assert child.stderr is not None
    said = b""
    try:
        with anyio.fail_after(_PATIENCE_S):
            while not said.endswith(b"\n"):
                said += await child.stdout.receive()
    except TimeoutError:
        reason = f"a second process did not start within {_PATIENCE_S:g} s"
        raise NoProof(reason, is_of_place=False) from None
    except anyio.EndOfStream:
        pass
    if said != _TAKEN:
        why = b""
        try:
            with anyio.move_on_after(1):
                why = await child.stderr.receive()
        except anyio.EndOfStream:
            pass
        last = why.decode(errors="replace").strip().splitlines()[-1:]
        reason = f"a second process could not take it: {(last or ['it ended'])[0]}"
        raise NoProof(reason, is_of_place=False)


def _hold(kind: LockKind, directory: Path) -> None:
    """Take a lock, say so, and hold it until standard input ends; in the child."""
    lock = open_lock(kind, directory)
    if not lock.try_take():
        sys.exit("it is not free")
    sys.stdout.buffer.write(_TAKEN)
    sys.stdout.buffer.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    match sys.argv[1]:
        case "file" | "directory" | "sqlite" as name:
            _hold(name, Path(sys.argv[2]))
        case other:
            sys.exit(f"no such kind: {other}")
