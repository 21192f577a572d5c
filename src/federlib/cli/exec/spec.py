"""What is run, and how it went: the values of the task executor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from federlib.cli.exec.call import CANNOT_IMPORT
from federlib.cli.exec.logs import LOG_CAP_BYTES
from federlib.errors import InvalidInput

__all__ = ["Call", "Exec", "ExecResult", "JsonValue", "Outcome"]

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
Outcome = Literal["success", "failed", "timeout", "killed", "guard_died"]


@attrs.frozen
class Call:
    """A Python function to call, in a process of its own.

    Attributes:
        target: ``package.module:function``.
        args: JSON: an object for keywords, a list for positions, or null. It goes through a
            private file, never the command line.
    """

    target: str
    args: bytes = attrs.field(default=b"null", repr=False)


def _check_command(_: object, __: object, command: tuple[str, ...] | str | Call) -> None:
    parts = (command.target,) if isinstance(command, Call) else command
    parts = (parts,) if isinstance(parts, str) else parts
    if not parts or not all(isinstance(part, str) for part in parts) or not parts[0]:
        raise InvalidInput("command", expected="a program or a shell line", found=command)
    if any("\0" in part for part in parts):
        raise InvalidInput("command", expected="no NUL character", found=command)


def _check_env(_: object, __: object, env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if not name or "=" in name or "\0" in name:
            raise InvalidInput("env", expected="names without '=' and NUL", found=name)
        if "\0" in value:
            # The value may be a secret: it is not shown.
            raise InvalidInput("env", expected="text without NUL", found=f"the value of {name}")


def _check_path(_: object, field: attrs.Attribute[Any], path: Path | None) -> None:
    if path is not None and "\0" in str(path):
        raise InvalidInput(field.name, expected="no NUL character", found=str(path))


def _check_seconds(_: object, field: attrs.Attribute[Any], value: float | None) -> None:
    # A timeout may not be zero, a grace may.
    low_ok = value is None or value > 0 or (value == 0 and field.name == "grace_s")
    if not low_ok or (value is not None and not math.isfinite(value)):
        raise InvalidInput(field.name, expected="a finite number of seconds", found=value)


@attrs.frozen(kw_only=True)
class Exec:
    """One task to run.

    Attributes:
        command: A program and its arguments; or a line for ``/bin/sh -c``; or a `Call`.
        cwd: The directory to run in; it must exist.
        env: The whole environment. FEDERLIB_STORE and the URLs of lease backends are taken
            out, FEDERLIB_RESULT, FEDERLIB_INPUTS and FEDERLIB_TASK_MARK are put in.
        log_path: Where its output goes; overwritten. Missing directories are made, 0700.
        timeout_s: Stop it after so long; seconds, None for never.
        grace_s: How long it may take to end after SIGTERM; then SIGKILL. Seconds.
        inputs: JSON object with the results of the tasks it needs.
        result_path: Where it writes its result, if the file is to be kept; by default a
            private file that is removed. What lies there before is removed.
        log_cap_bytes: How large the log may get.

    Raises:
        InvalidInput: A field that can never be right.
    """

    command: tuple[str, ...] | str | Call = attrs.field(validator=_check_command)
    cwd: Path = attrs.field(validator=_check_path)
    env: Mapping[str, str] = attrs.field(validator=_check_env, repr=False)
    log_path: Path = attrs.field(validator=_check_path)
    timeout_s: float | None = attrs.field(default=None, validator=_check_seconds)
    grace_s: float = attrs.field(default=5.0, validator=_check_seconds)
    inputs: bytes = attrs.field(default=b"{}", repr=False)
    result_path: Path | None = attrs.field(default=None, validator=_check_path)
    log_cap_bytes: int = LOG_CAP_BYTES


@attrs.frozen(kw_only=True)
class ExecResult:
    """How a task went.

    Attributes:
        outcome: ``killed`` when this side asked for it, ``failed`` when anybody else did.
        exit_code: As it left; None if it was killed or never ran.
        signal: What killed it, else None.
        duration_s: From its start to the end of its main process; seconds.
        log_bytes: Size of its log.
        log_dropped: Bytes of its output that are not in the log.
        result: The JSON value that it wrote, of a success only; else None.
        message: Why, in a few words for people.
    """

    outcome: Outcome
    message: str
    exit_code: int | None = None
    signal: int | None = None
    duration_s: float = 0.0
    log_bytes: int = 0
    log_dropped: int = 0
    result: JsonValue = None

    @property
    def is_import_failure(self) -> bool:
        """Say whether a `Call` failed because this worker cannot import its target."""
        return self.exit_code == CANNOT_IMPORT and self.message.startswith("cannot import ")
