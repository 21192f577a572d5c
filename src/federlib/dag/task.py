"""One task of a workflow: what it is, and what may stand in each of its fields.

Source: design §5, dag; the fields are those of `federlib run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, cast

import msgspec

from federlib._json import json_fault
from federlib.graph import Problems
from federlib.graph.problems import show

__all__ = [
    "MAX_ARGS_BYTES",
    "MAX_RETRIES",
    "MAX_SECONDS",
    "MAX_TEXT_BYTES",
    "TASK_FIELDS",
    "TaskSpec",
    "read_seconds",
    "read_task",
]

MAX_ARGS_BYTES = 64 * 1024
"""Of `args` as JSON: the same as a task's result."""

MAX_TEXT_BYTES = 64 * 1024
"""Of `run`, and of all of `env` together: with `args` a task stays below one plan chunk."""

MAX_RETRIES = 1_000
MAX_SECONDS = 1e9


class TaskSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One task; at most one of `run`, `call` and `sleep_s` says what it does.

    With none of them the host's handler is called, or nothing is done. Fields at their
    default are left out of the JSON, so that a field added later changes no plan's hash.

    Attributes:
        id: Unique in its workflow; see `federlib.graph.is_legal_id`.
        needs: Ids of the tasks that must succeed before; each once.
        run: A command for the shell.
        call: A function, `package.module:function`.
        sleep_s: How long to sleep, in place of recorded work; seconds.
        args: Of `call` or the handler, as JSON: positional as a list, named as an object.
            Of `run`: a list of texts, the shell's `$1`, `$2`, ….
        cwd: Working directory; None is the worker's own.
        env: Added to the worker's environment.
        retries: How often to try again after a failed attempt.
        timeout_s: After how long an attempt is stopped; None is never.
    """

    id: str
    needs: tuple[str, ...] = ()
    run: str | None = None
    call: str | None = None
    sleep_s: float | None = None
    args: list[object] | dict[str, object] | None = None
    cwd: str | None = None
    env: dict[str, str] = {}
    retries: int = 0
    timeout_s: float | None = None

    @property
    def kind(self) -> Literal["run", "call", "sleep", "handler"]:
        """Which of its fields says what the task does."""
        if self.run is not None:
            return "run"
        if self.call is not None:
            return "call"
        return "handler" if self.sleep_s is None else "sleep"


class _Wrong(Exception):  # noqa: N818 (never leaves this module)
    """What a field should have been; `found` where the value itself must not be shown."""

    def __init__(self, expected: str, found: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found


def read_task(
    task_id: str, fields: Mapping[str, object], problems: Problems, *, label: str = ""
) -> TaskSpec | None:
    """Make a task out of a document's fields; None where `problems` got a reason why not.

    A field that is null counts as absent; one that is unknown is a problem.

    Args:
        task_id: Its id, not judged here.
        fields: Everything else.
        problems: Receives one line for each bad field.
        label: How to call the task in a problem, if not by its id.
    """
    label = label or f"task {show(task_id)}"
    before = problems.count
    good: dict[str, object] = {}
    for name, value in fields.items():
        rule = _RULES.get(name)
        if rule is None:
            problems.add(f"{label}: unknown field {show(name)}; known: {', '.join(TASK_FIELDS)}")
            continue
        if value is None:
            continue
        try:
            good[name] = rule(value)
        except _Wrong as wrong:
            found = show(value) if wrong.found is None else wrong.found
            problems.add(f"{label}, field {name}: expected {wrong.expected}, found {found}")
    _check_together(label, {name for name in fields if fields[name] is not None}, good, problems)
    if problems.count > before:
        return None
    return msgspec.convert({"id": task_id, **good}, TaskSpec)


def _check_together(
    label: str, given: set[str], good: Mapping[str, object], problems: Problems
) -> None:
    verbs = [verb for verb in ("run", "call", "sleep_s") if verb in given]
    if len(verbs) > 1:
        problems.add(f"{label}: expected one of run, call and sleep_s, found {', '.join(verbs)}")
    args = good.get("args")
    if verbs == ["sleep_s"] and args is not None:
        problems.add(f"{label}, field args: expected none beside sleep_s, found {show(args)}")
    if verbs == ["run"] and args is not None:
        texts = isinstance(args, list) and all(isinstance(arg, str) for arg in args)
        if not texts:
            problems.add(f"{label}, field args: expected a list of texts beside run")


def read_seconds(value: object, *, least: float = 0.0) -> float | None:
    """Return a duration in seconds, or None if it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Comparing first: an int may be too large for a float.
    if not least <= value <= MAX_SECONDS or not math.isfinite(value):
        return None
    return float(value)


def _needs(value: object) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _Wrong("a list of task ids, each a text")
    return list(dict.fromkeys(cast("list[str]", value)))


def _text(value: object, *, most: int = MAX_TEXT_BYTES) -> str:
    expected = f"text of 1 to {most} bytes without NUL"
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > most:
        raise _Wrong(expected)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise _Wrong("text that UTF-8 can hold") from None
    if size > most:
        raise _Wrong(expected)
    return value


def _path(value: object) -> str:
    return _text(value, most=4096)


def _call(value: object) -> str:
    text = _text(value, most=512)
    module, colon, function = text.partition(":")
    names = (*module.split("."), *function.split("."))
    if not colon or not all(name.isidentifier() for name in names):
        raise _Wrong("package.module:function")
    return text


def _sleep_s(value: object) -> float:
    seconds = read_seconds(value)
    if seconds is None:
        raise _Wrong(f"seconds, 0 to {MAX_SECONDS:g}")
    return seconds


def _timeout_s(value: object) -> float:
    seconds = read_seconds(value)
    if not seconds:
        raise _Wrong(f"seconds above 0, at most {MAX_SECONDS:g}")
    return seconds


def _retries(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRIES:
        raise _Wrong(f"a whole number, 0 to {MAX_RETRIES}")
    return value


def _env(value: object) -> dict[str, str]:
    # A value may be a secret: it is never shown.
    if not isinstance(value, Mapping):
        raise _Wrong("names with their values")
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise _Wrong("names without '=' and NUL", found=show(name))
        if not isinstance(text, str) or "\0" in text:
            found = f"{show(name)} with a value of type {type(text).__name__}"
            raise _Wrong("values that are texts without NUL (quote numbers)", found=found)
    try:
        size = len(msgspec.json.encode(value))
    except (UnicodeEncodeError, ValueError):
        raise _Wrong("text that UTF-8 can hold", found="text that it cannot") from None
    if size > MAX_TEXT_BYTES:
        raise _Wrong(f"at most {MAX_TEXT_BYTES} bytes", found=f"{size} bytes")
    return dict(value)


def _args(value: object) -> list[object] | dict[str, object]:
    if not isinstance(value, list | dict):
        raise _Wrong("a list or an object")
    fault = json_fault(value)
    if fault is not None:
        raise _Wrong("what JSON can hold", found=fault)
    try:
        size = len(msgspec.json.encode(value))
    except (UnicodeEncodeError, ValueError) as error:
        raise _Wrong("what JSON can hold", found=str(error)) from None
    if size > MAX_ARGS_BYTES:
        raise _Wrong(f"at most {MAX_ARGS_BYTES} bytes of JSON", found=f"{size} bytes")
    return value


_RULES: Mapping[str, Callable[[object], object]] = {
    "needs": _needs,
    "run": _text,
    "call": _call,
    "sleep_s": _sleep_s,
    "args": _args,
    "cwd": _path,
    "env": _env,
    "retries": _retries,
    "timeout_s": _timeout_s,
}

TASK_FIELDS: tuple[str, ...] = ("id", *_RULES)
"""What a task of our own shape may say."""
