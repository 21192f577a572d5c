"""Where the logs of tasks lie, and how they are read.

    <root>/<run>/<task>.<attempt>.log

Run and task are written as `storage.segment` writes them, so that no name can leave the
root; a name too long for that becomes ``~`` and a hash. Directories are 0700, files 0600.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import attrs

from federlib.errors import InvalidInput
from federlib.storage.keys import segment

__all__ = ["LOG_CAP_BYTES", "TaskLog", "list_attempts", "log_path", "make_private_dir", "read_log"]

LOG_CAP_BYTES = 10 << 20
_NAME_MAX_BYTES = 180  # leaves room for an attempt of ten digits and ".log" below 200


@attrs.frozen
class TaskLog:
    """What one attempt printed.

    Attributes:
        path: Where it is stored.
        attempt: Which attempt this is.
        content: Its bytes, as the task wrote them: not necessarily UTF-8, and it may hold
            terminal control sequences.
        size_bytes: Size of the whole log; larger than `content` where only a part was read.
    """

    path: Path
    attempt: int
    content: bytes
    size_bytes: int


def log_path(root: Path, run_id: str, task_id: str, attempt: int) -> Path:
    """Name the log of one attempt. Two attempts never share a name; nothing is created.

    Raises:
        InvalidInput: An id is empty, not NFC, has a control character, or the attempt is
            negative or longer than ten digits.
    """
    if not 0 <= attempt < 10**10:
        raise InvalidInput("attempt", expected="0 to 9999999999", found=attempt)
    return _run_dir(root, run_id) / f"{_name(task_id, field='task id')}.{attempt}.log"


def list_attempts(root: Path, run_id: str, task_id: str) -> tuple[int, ...]:
    """List the attempts of a task that have a log here, the lowest first.

    Raises:
        InvalidInput: As `log_path`.
    """
    head = _name(task_id, field="task id") + "."
    try:
        names = [path.name for path in _run_dir(root, run_id).iterdir()]
    except FileNotFoundError:
        return ()
    middles = [n[len(head) : -4] for n in names if n.startswith(head) and n.endswith(".log")]
    return tuple(sorted(int(m) for m in middles if m.isascii() and m.isdigit()))


def read_log(
    root: Path,
    run_id: str,
    task_id: str,
    attempt: int | None = None,
    *,
    offset: int = 0,
    max_bytes: int = LOG_CAP_BYTES,
) -> TaskLog | None:
    """Read the log of one attempt, or of the latest one that has a log here.

    Args:
        root: The directory of all logs.
        run_id: The run.
        task_id: The task.
        attempt: Which attempt, or None for the latest.
        offset: Where to start, for a reader that follows a running task; bytes. A negative
            one counts from the end.
        max_bytes: How much to read at most.

    Returns:
        The log, or None if there is none.

    Raises:
        InvalidInput: As `log_path`; or what lies there is not a regular file.
        OSError: It may not be read.
    """
    if attempt is None:
        attempts = list_attempts(root, run_id, task_id)
        if not attempts:
            return None
        attempt = attempts[-1]
    path = log_path(root, run_id, task_id, attempt)
    try:
        # Not followed and not waited for: a link or a pipe here is somebody's trick.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidInput("log", expected="a regular file", found=str(path))
        file.seek(offset if offset >= 0 else max(0, facts.st_size + offset))
        return TaskLog(path, attempt, file.read(max_bytes), facts.st_size)


def make_private_dir(path: Path) -> None:
    """Make a directory, and its parents where missing, for this user alone.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    make_private_dir(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def _run_dir(root: Path, run_id: str) -> Path:
    return root / _name(run_id, field="run id")


def _name(text: str, *, field: str) -> str:
    try:
        return segment(text, field=field, max_bytes=_NAME_MAX_BYTES)
    except InvalidInput:
        # Only length may be mended: the same text in pieces must be legal.
        if len(text) <= _NAME_MAX_BYTES // 4:
            raise
        for start in range(0, len(text), _NAME_MAX_BYTES // 4):
            segment(text[start : start + _NAME_MAX_BYTES // 4], field=field)
    # A segment never starts with "~", so no short name equals a hashed one.
    return "~" + hashlib.sha256(text.encode()).hexdigest()
