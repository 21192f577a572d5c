"""What a person sees while a run goes on: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from federlib.cli.supervisor import Snapshot

__all__ = ["RunView"]

_STYLES = {
    "success": "green",
    "running": "cyan",
    "ready": "yellow",
    "pending": "dim",
    "failed": "red",
    "blocked": "magenta",
}
_PLAIN_EVERY_S = 2.0


class RunView:
    """Shows snapshots of a run, and lines about it.

    Args:
        console: Where to.
        run_id: The run.
        total: How many tasks it has.
        ttl_s: Of the leader's lease; seconds.
        now_s: Tells a monotonic time in seconds.
    """

    def __init__(
        self,
        console: Console,
        *,
        run_id: str,
        total: int,
        ttl_s: float,
        now_s: Callable[[], float],
    ) -> None:
        self._console = console
        self._run_id = run_id
        self._total = total
        self._ttl_s = ttl_s
        self._now_s = now_s
        self._told_s = float("-inf")
        self._told: tuple[object, ...] = ()
        self._epoch = 0
        self._rate = _Rate()
        self._live = (
            Live(console=console, refresh_per_second=8, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(exc_type, error, traceback)

    def line(self, text: str) -> None:
        """Show one line; it stays."""
        self._console.print(Text(text))

    def show(self, snapshot: Snapshot) -> None:
        """Show how things stand."""
        if snapshot.leader is not None and snapshot.epoch != self._epoch:
            self.line(f"epoch {snapshot.epoch}: {_short(snapshot.leader)} leads")
            self._epoch = snapshot.epoch
        done = snapshot.progress.counts.get("success", 0) if snapshot.progress else 0
        self._rate.add(self._now_s(), done)
        if self._live is not None:
            self._live.update(self._panel(snapshot))
        else:
            self._plain(snapshot)

    def _plain(self, snapshot: Snapshot) -> None:
        progress = snapshot.progress
        if progress is None or self._now_s() - self._told_s < _PLAIN_EVERY_S:
            return
        state = tuple(sorted(progress.counts.items()))
        if state == self._told:
            return
        self._told, self._told_s = state, self._now_s()
        counts = ", ".join(f"{n} {name}" for name, n in progress.counts.items() if n) or "no tasks"
        leader = _short(snapshot.leader) if snapshot.leader else "none"
        self.line(f"[{self._run_id}] leader {leader}, epoch {snapshot.epoch}: {counts}")

    def _panel(self, snapshot: Snapshot) -> RenderableType:
        progress = snapshot.progress
        counts = progress.counts if progress is not None else {"pending": self._total}
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", justify="right")
        facts.add_column()
        facts.add_row("leader", self._leader(snapshot))
        facts.add_row("epoch", str(snapshot.epoch or "-"))
        if progress is not None:
            facts.add_row("workers", f"{progress.workers} live")
            facts.add_row("attempts", f"{progress.attempts}, {progress.refused} stale refused")
        facts.add_row("speed", self._speed(counts))
        states = Text("  ").join(
            Text(f"{counts.get(name, 0)} {name}", style=style) for name, style in _STYLES.items()
        )
        bar = ProgressBar(total=max(1, self._total), completed=counts.get("success", 0))
        title = Text(f"run {self._run_id}")
        return Panel(Group(facts, Text(), states, bar), title=title, border_style="blue")

    def _leader(self, snapshot: Snapshot) -> Text:
        if snapshot.leader is None:
            return Text("none: waiting for the old lease to run out", style="bold red")
        age = f"lease renewed {snapshot.lease_age_s:.1f} s ago, ttl {self._ttl_s:g} s"
        return Text.assemble((_short(snapshot.leader), "bold green"), f"  {age}")

    def _speed(self, counts: dict[str, int]) -> str:
        rate = self._rate.per_second()
        left = self._total - counts.get("success", 0)
        left -= counts.get("failed", 0) + counts.get("blocked", 0)
        eta = f"about {left / rate:.0f} s left" if rate > 0 and left else "-"
        return f"{rate:.1f} tasks/s, {eta}"


class _Rate:
    """Throughput over the last ten seconds or so."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []

    def add(self, at_s: float, done: int) -> None:
        self._points.append((at_s, done))
        self._points = [point for point in self._points if point[0] >= at_s - 10]

    def per_second(self) -> float:
        (first_s, first), (last_s, last) = self._points[0], self._points[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def _short(worker_id: str | None) -> str:
    """Shorten `host_uuid:seq` to what tells workers of a fleet apart by eye."""
    if worker_id is None:
        return "-"
    host, _, seq = worker_id.rpartition(":")
    return f"{host[:8]}:{seq}" if host else worker_id
