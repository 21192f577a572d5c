"""The command tree: options and help. What the commands do lies beside, one file a noun."""

from __future__ import annotations

import re
import secrets  # noqa: TID251  # the id of a run, where none is given
import sys
from pathlib import Path

import click
from rich.console import Console

import federlib
from federlib.cli import inspection
from federlib.cli._options import (
    DEFAULT_STORE,
    FiniteRange,
    json_option,
    store_option,
    ttl_option,
)
from federlib.cli.added import OpenGroup
from federlib.cli.chaos import parse_chaos
from federlib.cli.doctor import tell_findings
from federlib.cli.exits import runs_async, telling_errors
from federlib.cli.paths import NamedPath
from federlib.cli.report import check_target
from federlib.cli.run import RunOptions, detach, run_worker, run_workflow
from federlib.cli.status import tell_status
from federlib.cli.store_group import store_group
from federlib.cli.stores import hide_credentials
from federlib.cli.vivaldi import vivaldi_group
from federlib.cli.workers import tell_workers, watch_workers
from federlib.errors import InvalidInput
from federlib.federation import STORE_ENV
from federlib.lease import lease_ttl_s

__all__ = ["app"]


@click.group(
    cls=OpenGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(federlib.__version__, prog_name="federlib")
def app() -> None:
    """Coordinate a fleet of processes: leases, leaders, commands, and DAGs that survive."""


@app.command("run")
@click.argument("workflow", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@store_option
@click.option("--workers", type=click.IntRange(1, 256), default=4, show_default=True,
              help="How many worker processes to start.")  # fmt: skip
@click.option("--slots", type=click.IntRange(1, 1000), default=None,
              help="Tasks at once per worker. [default: 4; 64 for recorded runtimes]")  # fmt: skip
@ttl_option
@click.option("--run-id", default=None, help="Name of the run; the same name goes on with it.")
@click.option("--time-scale", type=FiniteRange(0, 1e6), default=None,
              help="Factor for recorded runtimes. [default: a critical path of 20 s]")  # fmt: skip
@click.option("--chaos", default="", help="For example kill-leader@2s,kill-worker@3s.")
@click.option("--report", type=NamedPath(dir_okay=False, path_type=Path), default=None,
              help="Write a JSON report there.")  # fmt: skip
@click.option("--effects", type=NamedPath(dir_okay=False, path_type=Path), default=None,
              help="Write the accepted log there: task_id attempt epoch.")  # fmt: skip
@click.option("--detach", "detached", is_flag=True, help="Go on in the background.")
@runs_async
async def run_command(
    *,
    workflow: Path,
    url: str,
    workers: int,
    slots: int | None,
    ttl_s: float | None,
    run_id: str | None,
    time_scale: float | None,
    chaos: str,
    report: Path | None,
    effects: Path | None,
    detached: bool,
) -> int:
    """Run WORKFLOW (YAML, JSON, or a WfCommons instance) with several worker processes.

    Exit code: 0 every task succeeded, 1 some failed, 2 usage, 3 store, 4 chaos did not
    fire, 130 interrupted; the same --run-id then goes on from where it was.
    """
    options = RunOptions(
        workflow=workflow,
        url=url,
        workers=workers,
        slots=slots,
        ttl_s=lease_ttl_s() if ttl_s is None else ttl_s,
        run_id=_name_of(workflow) if run_id is None else run_id,
        time_scale=time_scale,
        chaos=parse_chaos(chaos),
        report=report,
        effects=effects,
    )
    check_target("--report", report)
    check_target("--effects", effects)
    if detached:
        return await detach(_arguments(options), options)
    return await run_workflow(options, Console(soft_wrap=True))


def _name_of(workflow: Path) -> str:
    """Draw a run id that tells which file it is of."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", workflow.name.split(".")[0])[:40].strip("-")
    return f"{stem or 'run'}-{secrets.token_hex(3)}"


def _arguments(options: RunOptions) -> list[str]:
    """Write the options as arguments again, without the store: it goes by environment."""
    arguments = ["--run-id", options.run_id, "--workers", str(options.workers)]
    arguments += ["--ttl", f"{options.ttl_s:g}"]
    if options.slots is not None:
        arguments += ["--slots", str(options.slots)]
    if options.time_scale is not None:
        arguments += ["--time-scale", repr(options.time_scale)]
    if options.chaos:
        faults = ",".join(f"{fault.kind}@{fault.at_s:g}s" for fault in options.chaos)
        arguments += ["--chaos", faults]
    for name, path in (("--report", options.report), ("--effects", options.effects)):
        if path is not None:
            arguments += [name, str(path)]
    return [*arguments, "--", str(options.workflow)]


@app.command("worker")
@store_option
@click.option("--run-id", required=True, help="The run to join.")
@click.option("--slots", type=click.IntRange(1, 1000), default=4, show_default=True,
              help="Tasks at once.")  # fmt: skip
@ttl_option
@runs_async
async def worker_command(*, url: str, run_id: str, slots: int, ttl_s: float | None) -> int:
    """Join a run from this terminal or host, and leave when it ends."""
    ttl_s = lease_ttl_s() if ttl_s is None else ttl_s
    return await run_worker(url=url, run_id=run_id, slots=slots, ttl_s=ttl_s)


@app.command("status")
@click.argument("url", envvar=STORE_ENV, default=DEFAULT_STORE, callback=hide_credentials)
@json_option
def status_command(*, url: str, as_json: bool) -> None:
    """Show leaders, runs and commands at one look.

    Exit code: 0 healthy, 1 degraded, 2 unhealthy, 3 cannot tell.
    """
    sys.exit(tell_status(url, as_json=as_json))


@app.command("doctor")
@click.argument("url", envvar=STORE_ENV, default=DEFAULT_STORE, callback=hide_credentials)
@click.option("--read-only", "is_read_only", is_flag=True,
              help="Commit nothing and make no file: what needs that is left out.")  # fmt: skip
@click.option("--create", is_flag=True, help="Make a store where there is none; it stays.")
@ttl_option
@json_option
@runs_async
async def doctor_command(
    *, url: str, is_read_only: bool, create: bool, ttl_s: float | None, as_json: bool
) -> int:
    """Examine the engine and the store at URL, and say what to fix.

    What it writes lies under keys of its own, below doctor/, and is removed again.

    Exit code: 0 healthy, 1 degraded (warnings), 2 unhealthy (something fails), 3 cannot tell
    (the store was not opened: the engine is away, refuses, or has no store).
    """
    if is_read_only and create:
        raise InvalidInput("--create", expected="no --read-only beside it", found=True)
    return await tell_findings(
        url, may_write=not is_read_only, may_create=create, ttl_s=ttl_s, as_json=as_json
    )


@app.command("workers")
@store_option
@click.option("--kind", default=None, help="Only members of this kind.")
@click.option("--collect", "collect_s", type=FiniteRange(0), default=None, metavar="SECONDS",
              help="First remove who has left or expired that long ago.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Go on until interrupted; a line a change in a pipe.")
@json_option
@runs_async
async def workers_command(
    *, url: str, kind: str | None, collect_s: float | None, watch: bool, as_json: bool
) -> int:
    """Show who is in the registry: each worker, and each host's workers together.

    Exit code: 0 healthy, 1 degraded (some expired), 2 unhealthy (all that have not
    left are expired, or a record cannot be read), 3 cannot tell.
    """
    if watch and collect_s is not None:
        raise InvalidInput("--collect", expected="no --watch beside it", found=collect_s)
    if watch:
        return await watch_workers(url, kind=kind, as_json=as_json)
    return await tell_workers(url, kind=kind, collect_s=collect_s, as_json=as_json)


@app.command("logs")
@click.argument("run")
@click.argument("task")
@store_option
@click.option("--attempt", type=click.IntRange(1), default=None, help="[default: the last]")
def logs_command(*, run: str, task: str, url: str, attempt: int | None) -> None:
    """Print what TASK of RUN wrote on this host."""
    with telling_errors():
        code = inspection.print_log(url, run, task, attempt)
    sys.exit(code)


@app.group("lease")
def lease_group() -> None:
    """Look at leases, and take one from a shell script."""


@lease_group.command("ls")
@store_option
@json_option
@runs_async
async def lease_ls(*, url: str, as_json: bool) -> int:
    """List all leases."""
    return await inspection.list_leases(url, as_json=as_json)


@lease_group.command("show")
@click.argument("name")
@store_option
@json_option
@runs_async
async def lease_show(*, name: str, url: str, as_json: bool) -> int:
    """Show one lease. Exit code: 0 held, 1 free."""
    return await inspection.show_lease(url, name, as_json=as_json)


@lease_group.command("acquire")
@click.argument("name")
@store_option
@ttl_option
@click.option("--holder", required=True, help="Who holds it: any name of your own.")
@click.option("--wait", "wait_s", type=FiniteRange(0), default=0.0, show_default=True,
              help="How long to wait for it; seconds.")  # fmt: skip
@json_option
@runs_async
async def lease_acquire(
    *, name: str, url: str, ttl_s: float | None, holder: str, wait_s: float, as_json: bool
) -> int:
    """Acquire a lease without keeping it renewed; prints its fencing token.

    It runs out by itself after the ttl. Exit code: 0 acquired, 1 busy.
    """
    ttl_s = lease_ttl_s() if ttl_s is None else ttl_s
    return await inspection.acquire_lease(
        url, name, holder=holder, ttl_s=ttl_s, wait_s=wait_s, as_json=as_json
    )


@lease_group.command("release")
@click.argument("name")
@click.option("--token", type=int, required=True, help="The fencing token, as acquire printed it.")
@store_option
@runs_async
async def lease_release(*, name: str, token: int, url: str) -> int:
    """Release a lease, if it is still held under this token. Exit code: 0 released, 1 not held."""
    return await inspection.release_lease(url, name, token)


@app.group("commands")
def commands_group() -> None:
    """Look at commands and their outcomes."""


@commands_group.command("ls")
@store_option
@click.option("--scope", default=None, help="Only commands of this election.")
@click.option("--status", default=None, help="Only commands with this outcome.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
@runs_async
async def commands_ls(
    *, url: str, scope: str | None, status: str | None, limit: int, as_json: bool
) -> int:
    """List commands, the newest last."""
    return await inspection.list_commands(
        url, scope=scope, status=status, limit=limit, as_json=as_json
    )


@commands_group.command("show")
@click.argument("command_id")
@store_option
@json_option
@runs_async
async def commands_show(*, command_id: str, url: str, as_json: bool) -> int:
    """Show one command: what was asked, under which epoch, and what came of it."""
    return await inspection.show_command(url, command_id, as_json=as_json)


app.add_command(store_group)
app.add_command(vivaldi_group)
