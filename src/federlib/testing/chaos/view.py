"""What a person sees on a terminal: what happens, as it happens, and the verdict."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from federlib.cli.report import printable
from federlib.testing.chaos.page import Story, shown
from federlib.testing.chaos.records import FaultCount, Result

__all__ = ["show", "tell_failure"]

_MOST = 10


def show(console: Console, result: Result, story: Story) -> None:
    """Show how a run went."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    table.add_column("")
    table.add_column("objective")
    for name in ("measured", "at most"):
        table.add_column(name, justify="right")
    table.add_column("", style="dim")
    for slo in result.slo:
        name, what = shown(slo)
        table.add_row(_mark(is_good=slo.passed), name, f"{slo.measured:g}", f"{slo.limit:g}", what)
    table.add_row(
        _mark(is_good=not result.violations),
        "Invariants",
        str(result.violations),
        "0",
        f"{result.histories_checked} histories checked",
    )
    console.print(table)
    console.print(Text(_faults(result.faults), style="dim"))
    for kind, count in result.faults.items():
        if count.planned and count.not_applicable is not None:
            line = f"{count.planned} of {kind}: not applicable here, {count.not_applicable}"
            console.print(Text(line, style="yellow"))
        elif count.missed:
            line = f"{count.missed} of {kind}: found nobody to strike in time"
            console.print(Text(line, style="yellow"))
    for remark in story.remarks:
        console.print(Text(printable(remark), style="yellow"))
    tell_failure(console, result, story)


def tell_failure(console: Console, result: Result, story: Story) -> None:
    """Show what went wrong, if something did, and how to have it again."""
    for violation in story.violations[:_MOST]:
        first, *rest = violation.splitlines()
        console.print(Text(f"✗ {printable(first)}", style="red"))
        for line in rest:
            console.print(Text(f"  {printable(line)}", style="red"))
    if len(story.violations) > _MOST:
        more = len(story.violations) - _MOST
        console.print(Text(f"✗ and {more} more, in the report", style="red"))
    if result.passed:
        console.print(Text.assemble(("passed", "bold green"), f"  seed {result.seed}"))
        return
    console.print(Text.assemble(("failed", "bold red"), f"  seed {result.seed}; replay it:"))
    console.print(Text(f"  {story.replay}"))
    if story.shrunk:
        console.print(Text("with these faults alone, as --schedule FILE:"))
        console.print(Text(story.shrunk))


def _mark(*, is_good: bool) -> Text:
    return Text("✓", style="green") if is_good else Text("✗", style="bold red")


def _faults(faults: dict[str, FaultCount]) -> str:
    done = [f"{count.carried_out} {kind}" for kind, count in faults.items() if count.carried_out]
    return f"faults: {', '.join(done)}" if done else "faults: none"
