"""A server's process: started, killed, stopped and started again on the same port."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from federlib.errors import Unavailable

__all__ = ["ServerProcess", "free_ports", "lead_in"]

_READY_S = 30.0
_STOP_S = 10.0
_LOOK_EVERY_S = 0.02
_LOG_TAIL = 2_000
# Linux hands out ports from 32,768 on, other systems from 49,152 on.
_FIRST_PORT, _PORTS = 12_000, 20_000
_PORT_ATTEMPTS = 1_000


# What dies with its parent dies with the thread that started it. This one lives to the end.
_launcher = ThreadPoolExecutor(1, thread_name_prefix="federlib-servers")


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on, each another.

    They lie below those from which the system takes the near ends of connections, so that none
    of those takes the port of a server that is down for a moment. Somebody may still take one
    before it is used; whoever starts a server tries again then.

    Raises:
        Unavailable: There are not so many.
    """
    sockets: list[socket.socket] = []
    try:
        for _ in range(_PORT_ATTEMPTS):
            if len(sockets) == count:
                return [int(one.getsockname()[1]) for one in sockets]
            one = socket.socket()
            sockets.append(one)
            try:
                one.bind(("127.0.0.1", _FIRST_PORT + secrets.randbelow(_PORTS)))
            except OSError:
                sockets.pop().close()
        raise Unavailable("ports for servers of tests", f"there are no {count} that are free")
    finally:
        for one in sockets:
            one.close()


class ServerProcess:
    """One program that serves; used by one thread.

    Args:
        name: For errors.
        command: The program and its arguments.
        log: Where its output goes.
        is_ready: Says whether it serves; may raise `OSError` while it does not.
        user: Whom to run it as, by uid and gid; None for ourselves.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        is_ready: Callable[[], bool],
        user: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self._command = [*lead_in(user), *command]
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            Unavailable: It is not running.
        """
        if self._process is None:
            raise Unavailable(self.name, "it is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process; it may be paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_ended_by_itself(self) -> bool:
        """Whether it was started and is gone, and nobody here ended it: it crashed."""
        return self._process is not None and self._process.poll() is not None

    def launch(self) -> None:
        """Start it, and do not wait until it serves."""
        self._process = _launcher.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._log.parent,
            )

    def wait_until_ready(self, patience_s: float = _READY_S) -> None:
        """Wait until it serves.

        Raises:
            Unavailable: It ended, or it does not serve in time; with the end of its log.
        """
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s:
            if not self.is_running:
                raise Unavailable(self.name, f"it ended at once: {self._tail()}")
            try:
                if self._is_ready():
                    return
            except OSError:
                pass
            time.sleep(_LOOK_EVERY_S)
        raise Unavailable(self.name, f"it does not serve after {patience_s:g} s: {self._tail()}")

    def start(self) -> None:
        """Start it and wait until it serves. Its port and its data are those of before."""
        self.launch()
        self.wait_until_ready()

    def kill(self) -> None:
        """Kill it with SIGKILL, as a machine does that loses its power."""
        self._end(signal.SIGKILL)

    def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal; kill it if it does not go."""
        self._end(signal_number)

    def pause(self) -> None:
        """Stop it with SIGSTOP: it neither answers nor refuses."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, signal_number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal_number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _tail(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")[-_LOG_TAIL:].strip() or "no output"
        except OSError as error:
            return str(error)


def lead_in(user: tuple[int, int] | None) -> list[str]:
    """Return what comes before a command so that it runs as another, and dies with us."""
    setpriv = shutil.which("setpriv")
    who = [] if user is None else [f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"]
    if setpriv is None:
        if user is not None:
            raise Unavailable(
                "a server for tests",
                "it may not run as root, and there is no `setpriv` to run it as another user",
                hint="run the tests as another user, or install util-linux",
            )
        return []
    # Without it a test run that is killed leaves its servers behind.
    return [setpriv, *who, "--pdeathsig", "KILL", "--"]
