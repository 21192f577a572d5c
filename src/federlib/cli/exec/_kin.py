"""Who descends from whom, and which task a process carries the mark of.

Linux tells in /proc; elsewhere nothing is found. Standard library only: the guard runs it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NamedTuple

__all__ = [
    "ON_LINUX",
    "carries",
    "children_of",
    "family_of",
    "kill_marked",
    "kill_one",
    "process_facts",
    "process_mark",
]

ON_LINUX = sys.platform == "linux"
# A kernel may be built without them; then all of /proc is walked.
_HAS_CHILDREN_FILES = os.path.exists("/proc/thread-self/children")  # noqa: PTH110 (as below)


class Facts(NamedTuple):
    """What the kernel says of a process; `ticks` is its start, in clock ticks since boot."""

    parent: int
    session: int
    ticks: int
    is_zombie: bool


def process_facts(pid: int) -> Facts | None:
    """Look at a process; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (pathlib costs 10 ms of start)
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return Facts(int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in b"ZX")


def process_mark(pid: int) -> str | None:
    """Read FEDERLIB_TASK_MARK from the environment of a process; "" where there is none.

    None where no environment can be read: it has none, or is about to be given it by `exec`.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 (as above)
            environ = file.read()
    except OSError:
        return None
    if not environ:
        return None
    _, _, rest = (b"\0" + environ).partition(b"\0FEDERLIB_TASK_MARK=")
    return os.fsdecode(rest.partition(b"\0")[0])


def _all_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (as above)
    except OSError:
        return []


def children_of(pid: int) -> list[int]:
    """List the direct children of a process, zombies too; nothing where /proc is missing."""
    if not _HAS_CHILDREN_FILES:
        facts = ((child, process_facts(child)) for child in _all_pids())
        return [child for child, fact in facts if fact is not None and fact.parent == pid]
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (as above)
            found += _children_of_thread(f"/proc/{pid}/task/{thread}/children")
    except OSError:
        pass  # it is gone, and its children are somebody else's
    return found


def _children_of_thread(path: str) -> list[int]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (as above)
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def family_of(pid: int) -> list[int]:
    """List a process and all its descendants, parents first."""
    family = [pid]
    for member in family:  # grows while it is walked
        family += children_of(member)
    return family


def kill_one(pid: int, signum: int) -> None:
    """Signal a process, if it is still there and this user may."""
    try:
        os.kill(pid, signum)
    except OSError:
        pass


def kill_marked(marks: set[str], sessions: set[int]) -> int:
    """Kill every process that carries one of the marks or is in one of the sessions.

    For the worker, when its guard was killed. Returns how many were signalled.
    """
    count = 0
    for pid in _all_pids():
        facts = process_facts(pid)
        if pid == os.getpid() or facts is None or facts.is_zombie:
            continue
        if facts.session in sessions or any(carries(process_mark(pid), mark) for mark in marks):
            kill_one(pid, signal.SIGKILL)
            count += 1
    return count


def carries(found: str | None, mark: str) -> bool:
    """Say whether a process with the mark `found` belongs to the task, or tasks, of `mark`."""
    # Marks nest: a task that runs federlib itself hands its own mark down as a prefix.
    return found is not None and (found == mark or found.startswith(mark + "/"))
