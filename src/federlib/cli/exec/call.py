"""The process of a `call:` task: import a function, call it, write down what it returns.

Run as ``python -u -m federlib.cli.exec.call PACKAGE.MODULE:FUNCTION`` in the task's directory,
which is on the import path. Arguments come from the JSON file that FEDERLIB_ARGS names (an
object for keywords, a list for positions), never from the command line, where every user of
the machine can read them. The result goes to FEDERLIB_RESULT as JSON, at most 64 KiB; None is
no result. Coroutine functions run under `anyio.run`.

Exit: 0 done · 1 it raised, or its result cannot be stored · 97 it cannot be imported. The
reason in one sentence goes to FEDERLIB_REASON, the traceback to the log.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from federlib.cli.exec.context import TaskContext

__all__ = ["CANNOT_IMPORT", "RESULT_MAX_BYTES", "main"]

CANNOT_IMPORT = 97
RESULT_MAX_BYTES = 64 << 10


def main(target: str) -> int:
    """Run one task and return its exit code."""
    # Taken out of the environment: what the function starts has no business with them.
    args_file, reason_file = (os.environ.pop(f"FEDERLIB_{n}", "") for n in ("ARGS", "REASON"))
    if os.getcwd() not in sys.path:  # noqa: PTH109 (the text is compared)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        function = _find(target)
    except BaseException as error:  # a module may raise anything, SystemExit too
        _show(error)
        _tell(reason_file, f"cannot import {target!r}: {_sentence(error)}")
        return CANNOT_IMPORT
    try:
        args = json.loads(Path(args_file).read_bytes()) if args_file else None
        _store(_call(function, args))
    except SystemExit:
        raise
    except BaseException as error:  # the edge of the process: all ends as exit code 1
        _show(error)
        _tell(reason_file, _sentence(error))
        return 1
    return 0


def _find(target: str) -> Callable[..., object]:
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise ImportError("expected package.module:function")
    found: object = importlib.import_module(module_name)
    for name in path.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{path} is not callable")
    return found


def _call(function: Callable[..., object], args: object) -> object:
    positional: list[object] = []
    keywords: dict[str, object] = {}
    if isinstance(args, list):
        positional = args
    elif isinstance(args, dict):
        keywords = dict(args)
    elif args is not None:
        raise TypeError("args: expected an object or a list")
    if _wants_task(function):
        if "task" in keywords:
            raise TypeError("args: 'task' is the name of the task's own context")
        keywords["task"] = TaskContext.from_environ()
    value = function(*positional, **keywords)
    return _wait(value) if inspect.iscoroutine(value) else value


def _wants_task(function: Callable[..., object]) -> bool:
    try:
        return "task" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return False


def _wait(coroutine: object) -> object:
    import anyio  # only here: a plain function need not pay for it

    async def wait() -> object:
        assert inspect.iscoroutine(coroutine)
        result: object = await coroutine
        return result

    return anyio.run(wait)


def _store(value: object) -> None:
    if value is None:
        return
    try:
        data = json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the result is not JSON: {error}") from error
    if len(data) > RESULT_MAX_BYTES:
        raise ValueError(
            f"the result has {len(data)} bytes, at most {RESULT_MAX_BYTES} may be kept"
        )
    where = os.environ.get("FEDERLIB_RESULT", "")
    if where:
        Path(where).write_bytes(data)


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _show(error: BaseException) -> None:
    # From the user's own frames on: the two above them are ours.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _tell(reason_file: str, reason: str) -> None:
    if reason_file:
        try:
            Path(reason_file).write_text(reason[:500], encoding="utf-8", errors="replace")
        except OSError as error:
            print(f"federlib: cannot write the reason: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
