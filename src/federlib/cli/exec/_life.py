"""One life of the guard process, seen from the worker."""

from __future__ import annotations

import json
import os
import secrets  # noqa: TID251 (a shell draws the mark of its tasks)
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
from anyio.abc import SocketStream

from federlib.cli.exec import guard as guard_program
from federlib.cli.exec._kin import kill_marked
from federlib.cli.exec._verdict import Report
from federlib.errors import Unavailable

__all__ = ["MARK_ENV", "GuardGone", "GuardLife"]

MARK_ENV = "FEDERLIB_TASK_MARK"
FRAME_MAX_BYTES = 8 << 20
READY_LIMIT_S = 30.0
SEND_LIMIT_S = 10.0
# The guard gives up on an unkillable process after 5 s; later than this it is stuck itself.
STOP_LIMIT_S = 10.0
CLOSE_LIMIT_S = 15.0
_PASSED_ON = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", MARK_ENV)

T = TypeVar("T")


class GuardGone(Exception):  # noqa: N818 (not an error: the caller goes on with another guard)
    """This guard can take no more tasks; nothing was started."""


class _Frame(msgspec.Struct, frozen=True):
    ev: str
    id: int = -1
    pid: int = 0
    why: str = ""


class _Pending:
    __slots__ = ("done", "pid", "report")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.pid = 0
        self.report: Report | None = None


class GuardLife:
    """A running guard: tasks go in, reports come out, until it is closed or dies.

    Attributes:
        scratch: A private directory of this life; removed at its end.
        token: Prefix of the marks of its tasks.
        is_gone: True once it takes no more tasks.
        why: What is known of its death.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], stream: SocketStream, scratch: Path, token: str
    ) -> None:
        self.scratch = scratch
        self.token = token
        self.is_gone = False
        self.why = ""
        self._process = process
        self._stream = stream
        self._sending = anyio.Lock()
        self._pending: dict[int, _Pending] = {}
        self._ready = anyio.Event()
        self._over = anyio.Event()
        self._limiter = anyio.CapacityLimiter(1)

    @property
    def pid(self) -> int:
        """The process id of the guard."""
        return self._process.pid

    @classmethod
    async def start(cls) -> GuardLife:
        """Start a guard; `serve` must then run until its end.

        Raises:
            Unavailable: It cannot be started.
        """
        near, far = socket.socketpair()
        outer = os.environ.get(MARK_ENV, "")
        token = f"{outer}/{secrets.token_hex(8)}".lstrip("/")
        try:
            with far:
                scratch, process = await anyio.to_thread.run_sync(_launch, far)
        except OSError as error:
            near.close()
            raise Unavailable("the task guard", str(error)) from error
        return cls(process, await SocketStream.from_socket(near), scratch, token)

    async def wait_ready(self) -> None:
        """Wait until it serves.

        Raises:
            Unavailable: It does not.
        """
        with anyio.move_on_after(READY_LIMIT_S):
            await self._ready.wait()
        if not self._ready.is_set() or self.is_gone:
            raise Unavailable("the task guard", self.why or "it did not start")

    async def serve(self) -> None:
        """Take in what the guard says, until it is gone; then clear up behind it.

        To be run shielded; `close` ends it.
        """
        inbox = bytearray()
        try:
            while True:
                inbox += await self._stream.receive(1 << 16)
                while len(inbox) >= 4 and len(inbox) >= 4 + (n := int.from_bytes(inbox[:4])):
                    self._take(bytes(inbox[4 : 4 + n]))
                    del inbox[: 4 + n]
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # gone: the ordinary way too
        except msgspec.DecodeError as error:
            self.why = f"it spoke in another way: {error}"
        self.is_gone = True
        await self._bury()

    def _take(self, body: bytes) -> None:
        frame = msgspec.json.decode(body, type=_Frame)
        pending = self._pending.get(frame.id)
        if frame.ev == "ready":
            self._ready.set()
        elif frame.ev == "crashed":
            self.why = frame.why
        elif frame.ev == "started" and pending is not None:
            pending.pid = frame.pid
        elif frame.ev == "ended" and pending is not None:
            pending.report = msgspec.json.decode(body, type=Report)
            pending.done.set()

    async def _bury(self) -> None:
        sessions = {pending.pid for pending in self._pending.values() if pending.pid}
        await self._in_thread(lambda: _clear_up(self._process, self.token, sessions))
        await self._in_thread(lambda: shutil.rmtree(self.scratch, ignore_errors=True))
        await self._stream.aclose()
        if not self.why and self._process.returncode:
            self.why = f"exit status {self._process.returncode}"
        for pending in self._pending.values():
            pending.done.set()
        self._ready.set()
        self._over.set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    async def perform(
        self, number: int, request: dict[str, object], *, grace_s: float, stop: anyio.Event | None
    ) -> Report | None:
        """Have one task run and wait for its end; None if the guard died with it.

        Cancelling stops the task and returns only when its processes are gone.

        Raises:
            GuardGone: It died before; nothing was started.
        """
        if self.is_gone:
            raise GuardGone
        pending = self._pending[number] = _Pending()
        try:
            await self._send({"op": "start", "id": number, **request})
            if stop is None:
                await pending.done.wait()
            else:
                await self._wait_or_stop(number, pending, grace_s, stop)
        finally:
            if not pending.done.is_set():
                with anyio.CancelScope(shield=True):
                    await self._stop(number, pending, grace_s)
            del self._pending[number]
        return pending.report

    async def _wait_or_stop(
        self, number: int, pending: _Pending, grace_s: float, stop: anyio.Event
    ) -> None:
        async def watch() -> None:
            await stop.wait()
            await self._send({"op": "kill", "id": number, "grace_s": grace_s})

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await pending.done.wait()
            group.cancel_scope.cancel()

    async def _stop(self, number: int, pending: _Pending, grace_s: float) -> None:
        await self._send({"op": "kill", "id": number, "grace_s": grace_s})
        with anyio.move_on_after(grace_s + STOP_LIMIT_S):
            await pending.done.wait()
            return
        # It does not answer: without it the tasks' main processes die, and `serve` does the rest.
        self._process.kill()
        await pending.done.wait()

    async def _send(self, message: dict[str, object]) -> None:
        # The standard library's JSON: an environment may hold undecodable bytes as surrogates.
        body = json.dumps(message).encode()
        # Shielded: half a frame would be the end of all tasks.
        with anyio.CancelScope(shield=True):
            async with self._sending:
                with anyio.move_on_after(SEND_LIMIT_S) as sending:
                    try:
                        await self._stream.send(len(body).to_bytes(4, "big") + body)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                        return  # it is dead: `serve` sees it, and ends every task
                if sending.cancelled_caught:
                    self.why = "it did not take a request"
                    self._process.kill()
        await anyio.lowlevel.checkpoint()

    async def close(self) -> None:
        """End the guard and with it every task; return when it is gone."""
        self.why = self.why or "closed"
        self.is_gone = True
        try:
            await self._stream.send_eof()
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        with anyio.move_on_after(CLOSE_LIMIT_S):
            await self._over.wait()
            return
        self._process.kill()
        await self._over.wait()


def _launch(far: socket.socket) -> tuple[Path, subprocess.Popen[bytes]]:
    # A worker that is a task itself is killed together with its guard: then the guard of the
    # worker above removes this directory, as it lies in its own.
    outer = os.path.dirname(os.environ.get("FEDERLIB_INPUTS", ""))  # noqa: PTH120 ("" stays "")
    is_inner = MARK_ENV in os.environ and os.access(outer, os.W_OK)
    scratch = Path(tempfile.mkdtemp(prefix="federlib-", dir=outer if is_inner else None))
    names = [n for n in os.environ if n in _PASSED_ON or n.startswith("LC_")]
    # Both must turn names into bytes in the same way.
    utf8 = ["-X", "utf8"] if sys.getfilesystemencoding() == "utf-8" else []
    flags = ["-I", "-S", *utf8]
    try:
        if not sys.executable:
            raise OSError("this Python does not know its own program")
        process = subprocess.Popen(
            [sys.executable, *flags, guard_program.__file__, str(os.getpid()), str(scratch)],
            stdin=far.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Not the worker's: no secret of it may lie around in another process.
            env={name: os.environ[name] for name in names},
            start_new_session=True,
        )
    except OSError:
        scratch.rmdir()
        raise
    return scratch, process


def _clear_up(process: subprocess.Popen[bytes], token: str, sessions: set[int]) -> None:
    """Make sure that the guard is dead, and what it can no longer kill."""
    try:
        process.wait(timeout=CLOSE_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # It forks faster than it is killed? Then a few rounds; each finds fewer.
    if process.returncode == 0:
        return
    for _ in range(100):
        if not kill_marked({token}, sessions):
            return
