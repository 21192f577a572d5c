"""`federlib doctor`: what was found in an engine and a store, and what to do about it."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from federlib.cli.exits import HEALTH
from federlib.cli.inspection import plain, print_json
from federlib.cli.workers import health_line
from federlib.storage import Finding
from federlib.upkeep import DoctorReport, examine

__all__ = ["remedies", "tell_findings", "view"]

_STYLES = {"ok": "green", "warn": "bold yellow", "fail": "bold red", "skip": "dim"}


async def tell_findings(
    url: str, *, may_write: bool, may_create: bool, ttl_s: float | None, as_json: bool
) -> int:
    """Examine a store, print what was found, and return the exit code."""
    report = await examine(url, may_write=may_write, may_create=may_create, ttl_s=ttl_s)
    if as_json:
        print_json(report)
    else:
        console = Console()
        console.print(view(report))
        for line in remedies(report):
            # A command is copied from here: it must not be broken into lines.
            console.print(line, soft_wrap=True)
    return HEALTH.index(report.health)


def view(report: DoctorReport) -> RenderableType:
    """Lay out a report for people."""
    store = f"store   {report.store}" + (f" ({report.store_id})" if report.store_id else "")
    health = health_line(HEALTH.index(report.health))
    return Group(health, plain(store), _table(report.findings))


def remedies(report: DoctorReport) -> list[Text]:
    """Say what to fix, a line each; nothing where all is well."""
    lines = [
        Text.assemble(
            f"{number:>2}. ", (finding.name, _STYLES[finding.verdict]), ": ", plain(finding.fix)
        )
        for number, finding in enumerate(report.urgent(), 1)
    ]
    return [Text("\nWhat to fix", style="bold"), *lines] if lines else []


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table()
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for finding in findings:
        style = _STYLES[finding.verdict]
        measured = plain(finding.measured)
        if finding.verdict == "skip":
            measured.stylize("dim")
        table.add_row(plain(finding.name), Text(finding.verdict, style=style), measured)
    return table
