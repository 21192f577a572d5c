"""From the guard's report and the task's own files to a result; pure."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping

import attrs
import msgspec

from federlib.cli.exec.call import RESULT_MAX_BYTES
from federlib.cli.exec.spec import Call, Exec, ExecResult, JsonValue

__all__ = ["Report", "judge"]


class Report(msgspec.Struct, frozen=True):
    """How the guard says that a task ended; see `guard.py`."""

    id: int
    outcome: str
    failure: str = ""
    leftover: str = ""
    exit_code: int | None = None
    signal: int | None = None
    was_forced: bool = False
    duration_s: float = 0.0
    log_bytes: int = 0
    log_dropped: int = 0
    log_trouble: str = ""


def judge(
    spec: Exec, report: Report, *, written: bytes | str | None, reason: str, program_exists: bool
) -> ExecResult:
    """Tell how a task went.

    Args:
        spec: What was asked for.
        report: How its processes ended.
        written: The result it wrote; a text says why that cannot be read; None for none.
        reason: What the process of a `Call` gave as its reason.
        program_exists: Whether a program of that path is there, though it could not be run.
    """
    result = ExecResult(
        outcome="failed",
        message="",
        exit_code=report.exit_code,
        signal=report.signal,
        duration_s=report.duration_s,
        log_bytes=report.log_bytes,
        log_dropped=report.log_dropped,
    )
    forced = ", did not end on SIGTERM and was killed" if report.was_forced else ""
    if report.failure:
        message = _why_not_started(spec, report.failure, program_exists=program_exists)
        result = attrs.evolve(result, message=message)
    elif report.outcome == "timeout":
        message = f"ran longer than {spec.timeout_s:g} s{forced}"
        result = attrs.evolve(result, outcome="timeout", message=message)
    elif report.outcome == "killed":
        result = attrs.evolve(result, outcome="killed", message=f"stopped on request{forced}")
    elif report.outcome == "success":
        result = _judge_success(result, written)
    else:
        result = attrs.evolve(result, message=reason or _how_it_ended(report))
    notes = []
    if report.leftover:
        notes.append("some of its processes could not be killed")
    if report.log_trouble:
        notes.append(f"its log is incomplete: {report.log_trouble}")
    return attrs.evolve(result, message="; ".join((result.message, *notes)))


def _judge_success(result: ExecResult, written: bytes | str | None) -> ExecResult:
    value: JsonValue = None
    problem = written if isinstance(written, str) else ""
    if isinstance(written, bytes):
        if len(written) > RESULT_MAX_BYTES:
            problem = f"larger than {RESULT_MAX_BYTES} bytes"
        else:
            try:
                value = msgspec.json.decode(written)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                problem = f"not JSON: {error}"
    if problem:
        return attrs.evolve(result, message=f"its result is {problem}")
    return attrs.evolve(result, outcome="success", message="exit code 0", result=value)


def _how_it_ended(report: Report) -> str:
    if report.signal is None:
        return f"exit code {report.exit_code}"
    try:
        name = signal.Signals(report.signal).name
    except ValueError:
        name = f"signal {report.signal}"
    hint = " (perhaps out of memory)" if report.signal == signal.SIGKILL else ""
    return f"killed by {name}{hint}"


_EXEC_ERRORS: Mapping[int, str] = {
    errno.ENOENT: "no such program",
    errno.ENOTDIR: "no such program",
    errno.EACCES: "no permission to run it, or not a program",
    errno.ENOEXEC: "not a program of this machine, and no '#!' line",
    errno.E2BIG: "its arguments and environment are too long",
}


def _why_not_started(spec: Exec, failure: str, *, program_exists: bool) -> str:
    stage, _, detail = failure.partition(" ")
    number = int(detail) if detail.isdigit() else 0
    why = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})" if number else detail
    if stage == "log":
        return f"cannot open its log {str(spec.log_path)!r}: {why}"
    if stage == "cwd":
        return f"cannot enter its directory {str(spec.cwd)!r}: {why}"
    if stage == "exec" and isinstance(spec.command, tuple):
        plain = _EXEC_ERRORS.get(number, "")
        if number == errno.ENOENT and program_exists:
            plain = "the interpreter in its '#!' line is missing"
        return f"cannot run {spec.command[0]!r}: {plain or 'it was refused'}: {why}"
    if stage == "exec":
        what = "python" if isinstance(spec.command, Call) else "/bin/sh"
        return f"cannot run {what}: {_EXEC_ERRORS.get(number, 'it was refused')}: {why}"
    return f"cannot start a process: {why}"
