"""`federlib workers`: who is in the registry, on which hosts, and how each one stands."""

from __future__ import annotations

import anyio
import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from federlib.cli.exits import DEGRADED, HEALTH, HEALTHY, UNHEALTHY
from federlib.cli.inspection import plain, print_json
from federlib.cli.report import printable
from federlib.cli.stores import require_store
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.federation import Federation, connect
from federlib.registry import Change, HostSummary, Member, Roster
from federlib.storage import redact_url

__all__ = [
    "HostLine",
    "WorkerLine",
    "health_line",
    "host_lines",
    "host_table",
    "tell_workers",
    "watch_workers",
]

_LOOK_S = 1.0
_STATES = {"live": "green", "expired": "red", "left": "dim"}
_HEALTH_STYLES = ("green", "yellow", "red", "red")


class WorkerLine(msgspec.Struct, frozen=True, kw_only=True):
    """A member; ages and ttl in seconds, instants in Unix nanoseconds."""

    worker_id: str
    host_id: str
    hostname: str
    kind: str
    state: str
    incarnation: int
    age_s: float
    gone_s: float
    slots: int
    load: float
    labels: dict[str, str]
    pid: int
    version: str
    started_at_ns: int
    last_seen: int
    ttl_s: float


class HostLine(msgspec.Struct, frozen=True, kw_only=True):
    """The members of one host, summed; ages in seconds."""

    host_id: str
    hostname: str
    live: int
    expired: int
    left: int
    slots: int
    load: float
    oldest_heartbeat_s: float | None


async def tell_workers(
    url: str, *, kind: str | None, collect_s: float | None, as_json: bool
) -> int:
    """Print who is there; return the exit code."""
    require_store(url)
    async with connect(url) as fed:
        if collect_s is not None:
            await fed.registry.collect(older_than_s=collect_s)
        roster = await _look(fed, kind)
    code = _health(roster)
    if as_json:
        print_json(
            {
                "store": redact_url(url),
                "health": HEALTH[code],
                "problems": [str(problem) for problem in roster.problems],
                "workers": [_worker_line(member) for member in roster.members],
                "hosts": host_lines(roster),
            }
        )
    else:
        Console().print(_view(roster, code))
    return code


async def watch_workers(url: str, *, kind: str | None, as_json: bool) -> int:
    """Show who is there until interrupted: a table on a terminal, a line a change elsewhere."""
    require_store(url)
    console = Console()
    async with connect(url) as fed:
        if console.is_terminal and not as_json:
            await _show_for_ever(fed, kind, console)
        while True:
            try:
                await _tell_changes(fed, kind, as_json=as_json)
            except (Unavailable, OutcomeUnknown) as error:
                click.echo(f"the store is away: {error}", err=True)
                await anyio.sleep(_LOOK_S)


async def _show_for_ever(fed: Federation, kind: str | None, console: Console) -> None:
    view: RenderableType = Text()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            try:
                roster = await _look(fed, kind)
                view = _view(roster, _health(roster))
                live.update(view, refresh=True)
            except (Unavailable, OutcomeUnknown) as error:
                away = Text(f"the store is away: {printable(str(error))}", style="bold red")
                live.update(Group(away, view), refresh=True)
            await anyio.sleep(_LOOK_S)


async def _tell_changes(fed: Federation, kind: str | None, *, as_json: bool) -> None:
    async with fed.registry.watch() as changes:
        async for change in changes:
            if kind is None or change.member.record.kind == kind:
                click.echo(_json_line(change) if as_json else _line(change))


def _line(change: Change) -> str:
    member = change.member
    now = "gone" if change.after is None else member.state
    before = change.before
    was = f" (was {before.state})" if before is not None and before.state != now else ""
    record = member.record
    facts = f"{record.kind} on {record.hostname}, incarnation {record.incarnation}"
    load = f", load {record.load:g}/{record.slots}" if now == "live" else ""
    labels = f", {_labels(member)}" if record.labels else ""
    return printable(f"{member.worker_id} {now}{was}: {facts}{load}{labels}")


def _json_line(change: Change) -> str:
    lines = {
        "before": change.before and _worker_line(change.before),
        "after": change.after and _worker_line(change.after),
    }
    return msgspec.json.encode(lines).decode()


async def _look(fed: Federation, kind: str | None) -> Roster:
    roster = await fed.registry.inspect()
    if kind is None:
        return roster
    members = tuple(member for member in roster.members if member.record.kind == kind)
    return Roster(members=members, problems=roster.problems)


def _health(roster: Roster) -> int:
    states = {member.state for member in roster.members}
    if roster.problems or ("expired" in states and "live" not in states):
        return UNHEALTHY
    return DEGRADED if "expired" in states else HEALTHY


def _worker_line(member: Member) -> WorkerLine:
    record = member.record
    return WorkerLine(
        worker_id=record.worker_id,
        host_id=record.host_id,
        hostname=record.hostname,
        kind=record.kind,
        state=member.state,
        incarnation=record.incarnation,
        age_s=round(member.age_s, 3),
        gone_s=round(member.gone_s, 3),
        slots=record.slots,
        load=record.load,
        labels=record.labels,
        pid=record.pid,
        version=record.version,
        started_at_ns=record.started_at_ns,
        last_seen=record.last_seen,
        ttl_s=record.ttl_ms / 1_000,
    )


def host_lines(roster: Roster) -> list[HostLine]:
    """Sum the members of each host."""
    return [_host_line(summary) for summary in roster.by_host().values()]


def _host_line(summary: HostSummary) -> HostLine:
    oldest_s = summary.oldest_heartbeat_s
    return HostLine(
        host_id=summary.host_id,
        hostname=summary.hostname,
        live=summary.live,
        expired=summary.expired,
        left=summary.left,
        slots=summary.slots,
        load=summary.load,
        oldest_heartbeat_s=None if oldest_s is None else round(oldest_s, 3),
    )


def health_line(code: int) -> Text:
    """Say how things stand, in the colour of it."""
    return Text.assemble("health  ", (HEALTH[code], f"bold {_HEALTH_STYLES[code]}"))


def _view(roster: Roster, code: int) -> RenderableType:
    problems = [Text(f"  - {printable(str(problem))}") for problem in roster.problems]
    if not roster.members:
        return Group(health_line(code), *problems, Text("nobody has joined"))
    hosts = host_lines(roster)
    tables = (_worker_table(roster.members, _short(hosts)), host_table(hosts))
    return Group(health_line(code), *problems, *tables)


def _worker_table(members: tuple[Member, ...], short: dict[str, str]) -> Table:
    table = Table(title="Workers")
    for name in ("worker", "kind", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("life", "seen", "load"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("labels", overflow="fold")
    for member in members:
        record = member.record
        gone = "" if member.state == "live" else f" {_span(member.gone_s)}"
        seq = record.worker_id.rpartition(":")[2]
        table.add_row(
            f"{short[record.host_id]}:{seq}",
            plain(record.kind),
            Text(f"{member.state}{gone}", style=_STATES[member.state]),
            str(record.incarnation),
            f"{_span(member.age_s)} ago",
            f"{record.load:g}/{record.slots}" if member.state == "live" else "-",
            plain(_labels(member)),
        )
    return table


def host_table(hosts: list[HostLine]) -> Table:
    """Lay out the hosts for people."""
    short = _short(hosts)
    table = Table(title="Hosts")
    for name in ("host", "name"):
        table.add_column(name, no_wrap=True)
    for name in ("live", "expired", "left", "load", "oldest seen"):
        table.add_column(name, justify="right", no_wrap=True)
    for host in hosts:
        oldest_s = host.oldest_heartbeat_s
        table.add_row(
            short[host.host_id],
            plain(host.hostname),
            str(host.live),
            Text(str(host.expired), style="red" if host.expired else ""),
            str(host.left),
            f"{host.load:g}/{host.slots}",
            "-" if oldest_s is None else f"{_span(oldest_s)} ago",
        )
    return table


def _labels(member: Member) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(member.record.labels.items()))


def _short(hosts: list[HostLine]) -> dict[str, str]:
    """Shorten host ids to their first letters, as many as tell them apart."""
    ids, length = [host.host_id for host in hosts], 8
    while len({host_id[:length] for host_id in ids}) < len(ids):
        length += 1
    return {host_id: host_id[:length] for host_id in ids}


def _span(seconds: float) -> str:
    """Write a length of time as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, unit, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"
