"""One task as the guard sees it, and the child that turns into it; standard library only."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from typing import NoReturn

from federlib.cli.exec._capped import Log
from federlib.cli.exec._kin import ON_LINUX
from federlib.cli.exec._link import Message

__all__ = ["IGNORED", "Task", "become", "now", "prctl"]

PR_SET_PDEATHSIG = 1
IGNORED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
RESTORED = (*IGNORED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)

_LIBC = ctypes.CDLL(None) if ON_LINUX else None


def prctl(option: int, value: int) -> None:
    """Set an option of this process, on Linux."""
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


def now() -> float:
    """Read monotonic seconds."""
    return time.monotonic()  # noqa: TID251 (a program of its own: no clock is injected here)


class Task:
    """One task, from its fork until its last process is gone."""

    def __init__(self, request: Message, log: Log) -> None:
        self.id = request["id"]
        self.mark = str(request["mark"])
        self.log = log
        self.pid = self.pipe = self.exec_pipe = -1
        self.ticks = 0
        self.kin: set[tuple[int, int]] = set()
        self.begun = now()
        timeout = request["timeout_s"]
        self.deadline = self.begun + float(str(timeout)) if timeout is not None else None
        self.grace_s = float(str(request["grace_s"]))
        self.failure = ""
        self.has_started = False
        self.has_termed = False
        self.reason = ""
        self.kill_at = 0.0
        self.was_forced = False
        self.status: int | None = None
        self.ended = 0.0

    def signal_group(self, signum: int) -> bool:
        """Signal the group; False if it has no process left."""
        try:
            os.killpg(self.pid, signum)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # EPERM: members exist, none may be signalled
        return True

    def report(self) -> Message:
        """Tell how it ended, in the words of the protocol."""
        code = os.waitstatus_to_exitcode(self.status) if self.status is not None else None
        outcome = self.reason or ("success" if code == 0 and not self.failure else "failed")
        return {
            "id": self.id,
            "outcome": outcome,
            "failure": self.failure,
            "exit_code": code if code is not None and code >= 0 and not self.failure else None,
            "signal": -code if code is not None and code < 0 else None,
            "was_forced": self.was_forced,
            "duration_s": (self.ended or now()) - self.begun,
            "log_bytes": self.log.size,
            "log_dropped": self.log.dropped,
            "log_trouble": self.log.trouble,
        }


def _execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Look for the program in the task's PATH and become it.

    Not `os.execvpe`: a directory on PATH that this user may not enter would turn every later
    error, a missing program or too long arguments, into 'permission denied'.

    Raises:
        OSError: Why it cannot be run.
    """
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)  # noqa: S606 (no shell is meant)
    denied = ""
    for directory in env.get("PATH", os.defpath).split(":"):
        program = f"{directory or '.'}/{argv[0]}"
        try:
            os.execve(program, argv, env)  # noqa: S606 (as above)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            if os.path.exists(program):  # noqa: PTH110 (pathlib costs 10 ms of start)
                denied = program
    raise OSError(errno.EACCES if denied else errno.ENOENT, "")


def become(request: Message, out: int, exec_pipe: int, guard: int) -> NoReturn:
    """Turn the forked child into the task; if that fails, say at which step and leave."""
    stage = "start"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before the line above: no signal will come
            os._exit(1)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for signum in RESTORED:
            signal.signal(signum, signal.SIG_DFL)
        argv, env = request["argv"], request["env"]
        assert isinstance(argv, list)
        assert isinstance(env, dict)
        stage = "cwd"
        os.chdir(str(request["cwd"]))
        stage = "exec"
        _execute(argv, env)
    except OSError as error:
        os.write(exec_pipe, f"{stage} {error.errno}".encode())
    except BaseException as error:  # nothing of the guard may run on in the child
        os.write(exec_pipe, f"{stage} {type(error).__name__}: {error}".encode()[:500])
    finally:
        os._exit(127)
