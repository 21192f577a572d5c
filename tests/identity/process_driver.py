"""Forks workers on command, so that tests can kill real processes cheaply.

Run as a script. Reads one JSON command a line and answers each with one line. It stays
single-threaded and holds no identity itself, so that a fork of it is a clean start.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import FrameType
from typing import Any

from federlib.errors import Fenced
from federlib.identity import IdentityStore

Answer = dict[str, object]
_controls: dict[int, int] = {}


def main() -> None:
    # Once beforehand, so that `crash_at` does not count what happens at a first use only.
    with tempfile.TemporaryDirectory() as aside:
        for _ in range(2):
            IdentityStore(aside).claim().release()
            IdentityStore(aside).remember_store("key", "one")
    for line in sys.stdin:
        command = json.loads(line)
        answer = _COMMANDS[command.pop("op")](**command)
        print(json.dumps(answer), flush=True)
    for pid in list(_controls):
        kill(pid=pid)


def start(*, root: str, seq: int | None = None, child: str = "none", n: int = 1) -> Answer:
    """Fork `n` workers that claim at the same moment and then live on until told."""
    gate_out, gate_in = os.pipe()
    born = [_fork_worker(root, seq, child, gate_out, gate_in) for _ in range(n)]
    os.close(gate_in)  # Opens the gate: every worker waits for its end of file.
    os.close(gate_out)
    return {"workers": [_read_report(pid, report) for pid, report in born]}


def _fork_worker(
    root: str, seq: int | None, child: str, gate_out: int, gate_in: int
) -> tuple[int, int]:
    report_out, report_in = os.pipe()
    control_out, control_in = os.pipe()
    pid = os.fork()
    if pid:
        os.close(report_in)
        os.close(control_out)
        _controls[pid] = control_in
        return pid, report_out
    for other in (*_controls.values(), control_in, report_out, gate_in):
        os.close(other)
    os.read(gate_out, 1)
    try:
        _live(root, seq, child, report_in, control_out)
    finally:
        os._exit(3)


def _live(root: str, seq: int | None, child: str, report: int, control: int) -> None:
    try:
        claimed = IdentityStore(root).claim(seq)
    except Exception as error:  # whatever it is, the test wants to see it
        os.write(report, json.dumps({"error": type(error).__name__, "text": str(error)}).encode())
        os._exit(1)
    answer: Answer = {"worker_id": claimed.worker_id, "incarnation": claimed.incarnation}
    if child == "exec":
        idle = subprocess.Popen(["sleep", "60"], close_fds=False)
        answer["child"] = idle.pid
    if child == "fork":
        seen_out, seen_in = os.pipe()
        forked = os.fork()
        if not forked:
            os.close(report)
            try:
                claimed.check()
                verdict = "ours"
            except Fenced as fenced:
                verdict = str(fenced)
            claimed.release()
            os.write(seen_in, verdict.encode())
            signal.pause()
        answer |= {"child": forked, "verdict": os.read(seen_out, 1000).decode()}
        claimed.check()
    os.write(report, json.dumps(answer).encode())
    os.close(report)
    if os.read(control, 1) == b"r":
        claimed.release()
        os._exit(0)
    os._exit(2)  # The driver is gone.


def _read_report(pid: int, report: int) -> Answer:
    with os.fdopen(report, "rb") as file:
        answer: Answer = json.loads(file.read())
    if "error" in answer:
        os.close(_controls.pop(pid))
        os.waitpid(pid, 0)
    return answer | {"pid": pid}


def release(*, pid: int) -> Answer:
    """Let a worker release its identity and end."""
    control = _controls.pop(pid)
    os.write(control, b"r")
    os.close(control)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


def kill(*, pid: int) -> Answer:
    """Kill a worker as `kill -9` does, and wait until it is gone."""
    # Before its control pipe closes: the end of that would let it exit by itself.
    os.kill(pid, signal.SIGKILL)
    os.close(_controls.pop(pid))
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


def end_child(*, pid: int) -> Answer:
    """Kill what a worker had started; it is not our child, so nobody waits here."""
    os.kill(pid, signal.SIGKILL)
    return {}


def crash_at(*, root: str, step: int, call: str) -> Answer:
    """Run `call` in a fork that kills itself at the given step into the operating system."""
    report_out, report_in = os.pipe()
    pid = os.fork()
    if not pid:
        store = IdentityStore(root)
        sys.setprofile(_killer(step))
        if call == "claim":
            value: object = store.claim().incarnation
        else:
            value = store.remember_store("key", "one") or "new"
        sys.setprofile(None)
        os.write(report_in, json.dumps(value).encode())
        os._exit(0)
    os.close(report_in)
    with os.fdopen(report_out, "rb") as file:
        told = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"status": status, "value": json.loads(told) if told else None}


def _killer(at: int) -> Callable[[FrameType, str, Any], None]:
    left = at

    def observe(_frame: FrameType, event: str, function: Any) -> None:
        nonlocal left
        # Before and after each call that can change what is on the disk or is locked.
        if event in ("c_call", "c_return") and _is_system_call(function):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return observe


def _is_system_call(function: Any) -> bool:
    return (
        function.__module__ in ("posix", "fcntl", "io", "_io")
        or type(function.__self__).__module__ == "_io"
    ) and function.__name__ not in ("fspath", "getpid")


def claim_as_nobody(*, root: str) -> Answer:
    """Claim as a user without any right, where this process may become one."""
    report_out, report_in = os.pipe()
    pid = os.fork()
    if not pid:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        answer: Answer = {"error": None}
        try:
            IdentityStore(root).claim()
        except Exception as error:  # whatever it is, the test wants to see it
            answer = {"error": type(error).__name__, "text": str(error)}
        os.write(report_in, json.dumps(answer).encode())
        os._exit(0)
    os.close(report_in)
    with os.fdopen(report_out, "rb") as file:
        told: Answer = json.loads(file.read())
    os.waitpid(pid, 0)
    return told


_COMMANDS: dict[str, Callable[..., Answer]] = {
    function.__name__: function
    for function in (start, release, kill, end_child, crash_at, claim_as_nobody)
}

if __name__ == "__main__":
    main()
