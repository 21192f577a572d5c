"""`federlib run` and `federlib worker`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import anyio
import attrs
import click
import msgspec
from rich.console import Console

from federlib._tasks import open_task_group
from federlib.cli.chaos import Fault
from federlib.cli.exec import TaskRunner
from federlib.cli.exec.logs import make_private_dir
from federlib.cli.exits import CHAOS_NOT_FIRED, FAILED, INTERRUPTED, OK, STORE
from federlib.cli.report import (
    Report,
    effects_lines,
    make_report,
    summary_lines,
    write_whole,
)
from federlib.cli.stores import logs_root, require_shared, require_store
from federlib.cli.supervisor import PROGRAM, Crew, Supervisor, open_private, worker_command
from federlib.cli.tasks import Busy, TaskHandler
from federlib.cli.view import RunView
from federlib.dag import RunRecord, Workflow, load_workflow
from federlib.errors import InvalidInput
from federlib.federation import STORE_ENV, Federation, connect
from federlib.leadership import LeaderState
from federlib.storage import redact_url, segment
from federlib.telemetry import Telemetry

__all__ = ["RunOptions", "detach", "run_worker", "run_workflow"]

_SIMULATED_SLOTS = 64
_SLOTS = 4


@attrs.frozen(kw_only=True)
class RunOptions:
    """The options of `federlib run`, as given."""

    workflow: Path
    url: str
    workers: int
    slots: int | None
    ttl_s: float
    run_id: str
    time_scale: float | None
    chaos: tuple[Fault, ...]
    report: Path | None
    effects: Path | None


async def run_workflow(options: RunOptions, console: Console) -> int:
    """Submit a workflow, run workers until it ends, and say how it went."""
    workflow, simulated = _load(options, console)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    async with connect(options.url, ttl_s=options.ttl_s) as fed:
        # Told here, once, and not by each worker in its log.
        await fed.check_store()
        await fed.registry.collect()
        require_shared(fed.store, options.url)
        run = await fed.dag.submit(workflow, run_id=options.run_id)
        led_by = await _led_elsewhere(fed, run.run_id)
        before = await fed.dag.inspect(run.run_id)
        if run.created:
            where = redact_url(options.url)
            say(f"run {run.run_id}: {len(workflow.tasks)} tasks on {where}")
        elif led_by is not None:
            say(f"run {run.run_id} is already led by {led_by}: joining it")
        else:
            say(f"run {run.run_id} goes on: {_standing(before.counts())}")
        resumed_after = before.epoch if led_by is None else 0
        if before.outcome == "cancelled":
            await fed.dag.resume(run.run_id, by="federlib run")
        logs = logs_root(options.url) / segment(run.run_id, field="run_id")
        make_private_dir(logs)
        slots = options.slots or (_SIMULATED_SLOTS if simulated else _SLOTS)
        view = RunView(
            console,
            run_id=run.run_id,
            total=len(workflow.tasks),
            ttl_s=options.ttl_s,
            now_s=lambda: fed.clock.monotonic_ns() / 1e9,
        )
        crew = Crew(
            worker_command(run.run_id, slots=slots, ttl_s=options.ttl_s),
            url=options.url,
            logs=logs,
            size=options.workers,
            tell=view.line,
        )
        supervisor = Supervisor(
            fed, run.run_id, crew, chaos=options.chaos, tell=view.line, show=view.show
        )
        with view:
            record, interrupted = await _supervise(supervisor, crew)
        state = await fed.dag.inspect(run.run_id)
        planned = workflow.critical_path_s() if simulated else None
        report = make_report(
            state, kills=supervisor.kills, resumed_after=resumed_after, critical_path_s=planned
        )
        _write(options, report, effects_lines(state))
        for line in summary_lines(report, state):
            console.print(line, highlight=False, markup=False)
        return _exit_code(supervisor, record, report, interrupted, console)


def _load(options: RunOptions, console: Console) -> tuple[Workflow, bool]:
    """Read the workflow; recorded runtimes become sleeps of a length that is told."""
    workflow = load_workflow(options.workflow, time_scale=options.time_scale)
    simulated = workflow.time_scale is not None
    if simulated:
        length_s = workflow.critical_path_s()
        console.print(
            f"recorded runtimes x {workflow.time_scale:.4g}: a critical path of {length_s:.1f} s"
        )
    return workflow, simulated


async def _led_elsewhere(fed: Federation, run_id: str) -> str | None:
    seen = await fed.dag.leader(run_id)
    return seen.lease.holder_id if seen.lease is not None and seen.is_live else None


def _standing(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no tasks"


async def _supervise(supervisor: Supervisor, crew: Crew) -> tuple[RunRecord | None, bool]:
    """Watch the run; stop the workers at its end, or at SIGINT or SIGTERM."""
    record: RunRecord | None = None
    interrupted = False

    async with open_task_group() as group:

        async def await_signal() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(*_stop_signals()) as signals:
                async for _ in signals:
                    if interrupted:
                        crew.kill()
                    interrupted = True
                    watching.cancel()

        watching = anyio.CancelScope()
        group.start_soon(await_signal)
        crew.start(group)
        try:
            with watching:
                record = await supervisor.watch()
            if record is not None:
                await crew.finish()
        finally:
            with anyio.CancelScope(shield=True):
                await crew.stop()
        group.cancel_scope.cancel()
    return record, interrupted and record is None


def _stop_signals() -> list[signal.Signals]:
    """List the signals that stop us: under `nohup` a terminal that is closed does not."""
    stops = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        stops.append(signal.SIGHUP)
    return stops


def _write(options: RunOptions, report: Report, effects: bytes) -> None:
    if options.report is not None:
        write_whole(options.report, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if options.effects is not None:
        write_whole(options.effects, effects)


def _exit_code(
    supervisor: Supervisor,
    record: RunRecord | None,
    report: Report,
    interrupted: bool,  # noqa: FBT001
    console: Console,
) -> int:
    if interrupted:
        console.print(f"interrupted; go on with --run-id {report.run_id}", markup=False)
        return INTERRUPTED
    if record is None:
        console.print("no worker could be kept alive", style="red")
        return STORE
    if supervisor.unfired:
        names = ", ".join(f"{fault.kind}@{fault.at_s:g}s" for fault in supervisor.unfired)
        console.print(f"chaos did not fire: {names}", style="red", markup=False)
        return CHAOS_NOT_FIRED
    return OK if report.state == "success" else FAILED


async def detach(arguments: list[str], options: RunOptions) -> int:
    """Submit a run, and let it go on in the background, in a session of its own.

    What is wrong with the workflow, the store or the run's id is told here and now.
    """
    workflow = load_workflow(options.workflow, time_scale=options.time_scale)
    async with connect(options.url, ttl_s=options.ttl_s) as fed:
        await fed.check_store()
        await fed.dag.submit(workflow, run_id=options.run_id)
    logs = logs_root(options.url) / segment(options.run_id, field="run_id")
    make_private_dir(logs)
    pid = _spawn(arguments, options.url, logs / "~supervisor.log")
    click.echo(f"run {options.run_id} goes on in process {pid}; its output: {logs}/~supervisor.log")
    click.echo("look at it with: federlib status")
    return OK


def _spawn(arguments: list[str], url: str, output: Path) -> int:
    """Start `federlib run` in a session of its own; return its process id."""
    with open(output, "ab", opener=open_private) as log:
        process = subprocess.Popen(
            [*PROGRAM, "run", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, STORE_ENV: url},
        )
    return process.pid


async def run_worker(*, url: str, run_id: str, slots: int, ttl_s: float) -> int:
    """Join a run: do its tasks, lead it if elected, leave when it ends."""
    require_store(url)
    telemetry = Telemetry(logger=_LineLogger())

    def tell(state: LeaderState) -> None:
        click.echo(f"role {state.role}, epoch {state.epoch}: {state.reason}")

    async with (
        connect(url, ttl_s=ttl_s, telemetry=telemetry) as fed,
        TaskRunner(clock=fed.clock, telemetry=telemetry) as runner,
    ):
        handler = Busy(TaskHandler(runner, logs_root(url)))
        identity = await fed.identity()
        click.echo(f"worker {identity.worker_id}, incarnation {identity.incarnation}")
        code = INTERRUPTED
        async with open_task_group() as group:

            async def await_signal() -> None:
                with anyio.open_signal_receiver(*_stop_signals()) as signals:
                    async for _ in signals:
                        group.cancel_scope.cancel()
                        return

            group.start_soon(await_signal)
            if await fed.dag.record(run_id) is None:
                raise InvalidInput("run_id", expected="a run that was submitted", found=run_id)
            async with fed.registry.join(
                kind="worker", labels={"run": run_id}, slots=slots
            ) as member:
                handler.tell = lambda load: member.report(load=load)
                ended = await fed.dag.work(run_id, handler, slots=slots, on_role=tell)
            click.echo(f"run {run_id}: {ended.state}")
            code = OK
            group.cancel_scope.cancel()
        return code


class _LineLogger:
    """Warnings and errors, one line each; what a worker's log holds."""

    def log(self, level: str, event: str, /, **fields: str | float | bool | None) -> None:
        if level in {"warning", "error"} or event == "leader_role_changed":
            facts = " ".join(f"{name}={value}" for name, value in fields.items())
            click.echo(f"{level}: {event} {facts}")
