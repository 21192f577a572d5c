"""The report of a run: JSON that other programs read, and the summary that people read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from federlib.dag import RunState
from federlib.errors import InvalidInput

__all__ = [
    "Failover",
    "Report",
    "check_target",
    "effects_lines",
    "make_report",
    "printable",
    "summary_lines",
    "write_whole",
]


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """One change of leader.

    Attributes:
        at_s: When the new epoch first appended, counted from the run's start; seconds.
        rto_s: From the last durable act of the old leader, or from its kill where we killed
            it, to the first append of the new epoch; seconds.
    """

    at_s: float
    from_epoch: int
    to_epoch: int
    rto_s: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went; the fields are a contract."""

    run_id: str
    state: str
    tasks: dict[str, int]
    attempts: int
    accepted_results: int
    rejected_stale: int
    adopted: int
    failovers: tuple[Failover, ...]
    makespan_s: float
    critical_path_s: float
    epochs: int


def make_report(
    state: RunState,
    *,
    kills: Mapping[int, int],
    resumed_after: int = 0,
    critical_path_s: float | None = None,
) -> Report:
    """Read a report off a folded run.

    Args:
        state: The run.
        kills: When we killed the leader of an epoch; Unix nanoseconds by epoch.
        resumed_after: The epoch whose leader had stopped before this run was taken up
            again: the epoch after it is no failover. 0 if it was not.
        critical_path_s: From the plan where it gives runtimes; else as measured.
    """
    started_ns = state.started_ns
    counts = state.counts()
    failovers = tuple(
        Failover(
            at_s=_seconds(new.first_ns - started_ns),
            from_epoch=old.epoch,
            to_epoch=new.epoch,
            rto_s=_seconds(new.first_ns - kills.get(old.epoch, max(old.last_ns, new.last_act_ns))),
        )
        for old, new in zip(state.epochs, state.epochs[1:], strict=False)
        if old.epoch != resumed_after
    )
    ended_ns = state.last_append_ns
    measured_s = state.critical_path_s() if critical_path_s is None else critical_path_s
    return Report(
        run_id=state.record.run_id,
        state=state.outcome,
        tasks={"total": len(state.plan.ids)}
        | {name: counts[name] for name in ("success", "failed", "blocked")},
        attempts=state.total_attempts,
        accepted_results=len(state.accepted()),
        rejected_stale=state.refused,
        adopted=state.adopted,
        failovers=failovers,
        makespan_s=_seconds(ended_ns - started_ns) if started_ns else 0.0,
        critical_path_s=round(measured_s, 3),
        epochs=len(state.epochs),
    )


def _seconds(ns: int) -> float:
    return round(max(0, ns) / 1e9, 3)


def effects_lines(state: RunState) -> bytes:
    """Write the accepted log, one line `task_id attempt epoch` each, in order of acceptance."""
    ids = state.plan.ids
    return "".join(
        f"{ids[node]} {attempt} {epoch}\n" for node, attempt, epoch in state.accepted()
    ).encode()


def summary_lines(report: Report, state: RunState) -> list[str]:
    """Say in a few lines what happened."""
    tasks = report.tasks
    ratio = report.makespan_s / report.critical_path_s if report.critical_path_s else 0.0
    path = f", {ratio:.2f} x the critical path of {report.critical_path_s:.2f} s"
    against = path if ratio else ""
    lines = [
        f"run {report.run_id}: {report.state}",
        (
            f"  tasks      {tasks['success']} of {tasks['total']} succeeded, "
            f"{tasks['failed']} failed, {tasks['blocked']} blocked"
        ),
        f"  makespan   {report.makespan_s:.2f} s{against}",
        (
            f"  attempts   {report.attempts} made, {report.accepted_results} results accepted, "
            f"{report.adopted} adopted, {report.rejected_stale} stale refused"
        ),
    ]
    lines.extend(
        f"  failover   at {f.at_s:.2f} s: epoch {f.from_epoch} -> {f.to_epoch}, "
        f"{f.rto_s:.2f} s without a leader"
        for f in report.failovers
    )
    failed = state.failed_nodes()
    lines.extend(
        f"  failed     {state.plan.ids[node]}: {printable(state.reason(node))}"
        for node in failed[:10]
    )
    if len(failed) > 10:
        lines.append(f"  failed     … and {len(failed) - 10} more")
    return lines


def printable(text: str) -> str:
    """Return text of other people's without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def check_target(option: str, path: Path | None) -> None:
    """Refuse a file that could not be written at the end of a long run.

    Raises:
        InvalidInput: It is a directory, or its directory is missing or not writable.
    """
    if path is None:
        return
    if path.is_dir():
        raise InvalidInput(option, expected="a file", found=f"{path}, a directory")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise InvalidInput(option, expected="a file in a writable directory", found=str(path))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
