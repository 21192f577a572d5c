"""`federlib status`: leaders, runs and commands at one look."""

from __future__ import annotations

from typing import Literal

import anyio
import click
import msgspec
from rich.console import Console
from rich.table import Table

from federlib.cli.exits import CANNOT_TELL, DEGRADED, HEALTH, HEALTHY, UNHEALTHY
from federlib.cli.inspection import plain, print_json
from federlib.cli.report import printable
from federlib.cli.stores import require_store
from federlib.cli.workers import HostLine, health_line, host_lines, host_table
from federlib.dag import RunRecord
from federlib.errors import FederlibError
from federlib.federation import Federation, connect
from federlib.storage import redact_url

__all__ = ["Status", "tell_status"]


class LeaseLine(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that somebody holds, or held when it died; ages and ttl in seconds."""

    name: str
    state: Literal["held", "expired"]
    leader: str
    epoch: int
    lease_age_s: float
    ttl_s: float


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """A run, and who leads it."""

    run_id: str
    state: str
    tasks: dict[str, int]
    leader: str | None
    epoch: int
    workers: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What `federlib status --json` prints."""

    store: str
    store_id: str
    health: str
    problems: list[str]
    leases: list[LeaseLine]
    runs: list[RunLine]
    commands: dict[str, int]
    hosts: list[HostLine]


def tell_status(url: str, *, as_json: bool) -> int:
    """Print the status; return the exit code."""
    try:
        require_store(url)
        status, code = anyio.run(_gather, url)
    except (FederlibError, OSError) as error:
        if as_json:
            where = redact_url(url)
            print_json({"store": where, "health": "cannot tell", "problems": [str(error)]})
        else:
            click.echo(f"cannot tell: {error}", err=True)
        return CANNOT_TELL
    if as_json:
        print_json(status)
    else:
        _print(status, code)
    return code


async def _gather(url: str) -> tuple[Status, int]:
    problems: list[tuple[int, str]] = []
    async with connect(url) as fed:
        leases = await _leases(fed, problems)
        runs = [await _run(fed, record, problems) for record in await fed.dag.list()]
        commands = await fed.commands.counts()
        hosts = host_lines(await fed.registry.inspect())
        code = max((severity for severity, _ in problems), default=HEALTHY)
        status = Status(
            store=redact_url(url),
            store_id=fed.store.store_id,
            health=HEALTH[code],
            problems=[text for _, text in problems],
            leases=leases,
            runs=runs,
            commands=commands,
            hosts=hosts,
        )
    return status, code


async def _leases(fed: Federation, problems: list[tuple[int, str]]) -> list[LeaseLine]:
    """Collect the leases of elections and of `hold`; those of a run's workers stay out."""
    lines: list[LeaseLine] = []
    for name in await fed.leases.names():
        if name.startswith("dag/"):
            continue
        try:
            seen = await fed.inspect(name)
        except FederlibError as error:
            problems.append((UNHEALTHY, str(error)))
            continue
        if seen.lease is None:
            continue
        age_s = max(0, fed.clock.wall_ns() - seen.lease.renewed_at) / 1e9
        if not seen.is_live:
            problems.append((DEGRADED, f"lease {name!r} ran out and nobody took it"))
        lines.append(
            LeaseLine(
                name=name,
                state="held" if seen.is_live else "expired",
                leader=seen.lease.holder_id,
                epoch=seen.fencing_token,
                lease_age_s=round(age_s, 3),
                ttl_s=seen.lease.ttl_ms / 1_000,
            )
        )
    return lines


async def _run(fed: Federation, record: RunRecord, problems: list[tuple[int, str]]) -> RunLine:
    progress = await fed.dag.progress(record.run_id)
    seen = await fed.dag.leader(record.run_id)
    leader = seen.lease.holder_id if seen.lease is not None and seen.is_live else None
    workers = await fed.dag.workers(record.run_id) if record.state == "running" else []
    if record.state == "running" and leader is None:
        why = "nobody leads it: a failover is under way, or nobody works on it"
        problems.append((DEGRADED, f"run {record.run_id!r}: {why}"))
    elif record.state == "running" and not workers:
        problems.append((UNHEALTHY, f"run {record.run_id!r}: it is led but has no workers"))
    if record.state == "failed":
        problems.append((DEGRADED, f"run {record.run_id!r}: some tasks failed"))
    return RunLine(
        run_id=record.run_id,
        state=record.state,
        tasks={"total": record.tasks} | (dict(progress.counts) if progress else {}),
        leader=leader,
        # After the end members still take the empty seat by turns: the last reign counts.
        epoch=progress.epoch if progress and leader is None else seen.fencing_token,
        workers=len(workers),
    )


def _print(status: Status, code: int) -> None:
    console = Console()
    console.print(health_line(code))
    console.print(f"store   {status.store} ({status.store_id})", highlight=False, markup=False)
    for problem in status.problems:
        console.print(f"  - {printable(problem)}", highlight=False, markup=False)
    if status.leases:
        table = Table("lease", "state", "holder", "epoch", "age", "ttl", title="Leases")
        for lease in status.leases:
            table.add_row(
                plain(lease.name), lease.state, plain(lease.leader), str(lease.epoch),
                f"{lease.lease_age_s:.1f} s", f"{lease.ttl_s:g} s",
            )  # fmt: skip
        console.print(table)
    if status.runs:
        table = Table("run", "state", "tasks", "leader", "epoch", "workers", title="Runs")
        for run in status.runs:
            counts = ", ".join(f"{count} {name}" for name, count in run.tasks.items() if count)
            table.add_row(
                plain(run.run_id),
                run.state,
                counts,
                plain(run.leader or "-"),
                str(run.epoch),
                str(run.workers),
            )
        console.print(table)
    if status.commands:
        table = Table("outcome", "commands", title="Commands")
        for name, count in sorted(status.commands.items()):
            table.add_row(name, str(count))
        console.print(table)
    if status.hosts:
        console.print(host_table(status.hosts))
