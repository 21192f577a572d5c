"""`run_chaos`: from the options of the command line to its exit code."""

from __future__ import annotations

import math
import secrets  # noqa: TID251 (a shell: a seed, where none is given)
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread
import attrs
import msgspec
from rich.console import Console

from federlib._tasks import open_task_group
from federlib.cli.exits import CHAOS_NOT_FIRED, FAILED, INTERRUPTED, OK
from federlib.errors import FederlibError, InvalidInput
from federlib.storage import redact_url
from federlib.testing.chaos.evidence import Evidence
from federlib.testing.chaos.harness import run_real
from federlib.testing.chaos.own_servers import own_servers
from federlib.testing.chaos.plan import Plan, schedule_for, seconds_for
from federlib.testing.chaos.records import Result
from federlib.testing.chaos.report import Bundle, check_directory, write_report
from federlib.testing.chaos.simulated import run_simulated
from federlib.testing.chaos.targets import Target, TargetName
from federlib.testing.chaos.telling import tell_real, tell_simulated
from federlib.testing.chaos.view import show, tell_failure
from federlib.testing.sim.schedule import SAFETY_S

__all__ = ["Options", "plan_of", "run_chaos"]

_SECONDS = float(SAFETY_S)
_SEEDS = 20
_SEED_BITS = 32
_TTL_S = (0.8, 2.0)
_TTLS_IN_A_RUN = 16


@attrs.frozen(kw_only=True)
class Options:
    """The options of the command, as they were given."""

    target: TargetName
    url: str | None = attrs.field(default=None, repr=False)
    preset: str | None = None
    file: Path | None = None
    kills: int | None = None
    seconds: float | None = None
    seed: int | None = None
    seeds: int | None = None
    processes: int = 5
    ttl_s: float | None = None
    report: Path | None = None
    as_json: bool = False


async def run_chaos(options: Options) -> int:
    """Play, judge, tell, and return the exit code; SIGTERM ends it as Ctrl-C does.

    Raises:
        InvalidInput: The options do not go together, or there is no driver for the target.
        Unavailable: The processes could not be started, or the report not be written.
    """
    plan = plan_of(options)
    if options.report is not None:
        check_directory(options.report)
    console = Console(soft_wrap=True, stderr=options.as_json)
    bundle = await _unless_terminated(lambda: _bundle(plan, options, console))
    if bundle is None:
        return INTERRUPTED
    # The verdict first: a report that cannot be written hides nothing.
    _tell(console, options, bundle)
    if options.report is not None:
        write_report(options.report, bundle)
        if not options.as_json:
            where = options.report / "report.html"
            console.print(f"report: {where}", highlight=False, markup=False)
    return _code(plan, bundle.result)


async def _unless_terminated(work: Callable[[], Awaitable[Bundle]]) -> Bundle | None:
    """Wait for what is asked for; at SIGTERM cancel it, and return None when it has ended."""
    bundle = None

    async def cancel_at_signal(
        scope: anyio.CancelScope,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()

    async with open_task_group() as group:
        await group.start(cancel_at_signal, group.cancel_scope)
        bundle = await work()
        group.cancel_scope.cancel()
    return bundle


async def _bundle(plan: Plan, options: Options, console: Console) -> Bundle:
    # Whoever reads this may interrupt: only now is a signal heard.
    if not options.as_json:
        console.print(f"chaos on {plan.target}, seed {plan.seed}", highlight=False)
    if plan.target == "sim":
        return await anyio.to_thread.run_sync(_simulate, plan, console)
    return await _play(plan, options, console)


def plan_of(options: Options) -> Plan:
    """Fill in what was not given.

    Raises:
        InvalidInput: The options do not go together.
    """
    is_sim = options.target == "sim"
    if options.seeds not in {None, 1} and not is_sim:
        raise InvalidInput("--seeds", expected="1 where processes are real", found=options.seeds)
    if is_sim and options.url is not None:
        found = redact_url(options.url)
        raise InvalidInput("--url", expected="none in the simulator", found=found)
    for name, value in (("--seconds", options.seconds), ("--ttl", options.ttl_s)):
        if value is not None and not 0 < value < math.inf:
            raise InvalidInput(name, expected="a number of seconds above 0", found=value)
    seconds = options.seconds
    if seconds is None:
        seconds = _SECONDS if options.kills is None else max(10.0, seconds_for(options.kills))
    seed = secrets.randbits(_SEED_BITS) if options.seed is None else options.seed
    seeds = options.seeds
    if seeds is None:
        seeds = _SEEDS if is_sim and options.seed is None else 1
    ttl_s = options.ttl_s
    if ttl_s is None:
        ttl_s = min(_TTL_S[1], max(_TTL_S[0], seconds / _TTLS_IN_A_RUN))
        ttl_s = 1.0 if options.kills is not None else ttl_s
        if options.target == "etcd":
            # It grants whole seconds, and with its usual settings no less than two.
            ttl_s = max(2.0, math.ceil(ttl_s))
    schedule, given = schedule_for(
        options.target,
        seed=seed,
        seconds=seconds,
        name=options.preset,
        file=options.file,
        number_of_kills=options.kills,
    )
    return Plan(
        target=options.target,
        url=options.url,
        seed=seed,
        seeds=seeds,
        seconds=seconds,
        schedule=schedule,
        processes=options.processes,
        ttl_s=ttl_s,
        tolerance_s=ttl_s / 2,
        given=given,
    )


def _simulate(plan: Plan, console: Console) -> Bundle:
    simulated = run_simulated(
        plan,
        lambda line: console.print(line, highlight=False),
        check=anyio.from_thread.check_cancelled,
    )
    return tell_simulated(plan, simulated)


async def _play(plan: Plan, options: Options, console: Console) -> Bundle:
    """Play on a real store, in a directory of its own, which is kept if something is wrong."""

    def tell(line: str) -> None:
        if not options.as_json:
            console.print(line, highlight=False, markup=False)

    directory = Path(tempfile.mkdtemp(prefix="federlib-chaos-"))
    is_worth_keeping = False
    try:
        try:
            bundle = tell_real(plan, await _run(plan, directory, tell))
        except FederlibError as error:
            is_worth_keeping = not isinstance(error, InvalidInput)
            raise
        is_worth_keeping = not bundle.result.passed
        return bundle
    finally:
        if is_worth_keeping:
            console.print(f"what it left is kept in {directory}", highlight=False, markup=False)
        else:
            shutil.rmtree(directory, ignore_errors=True)


async def _run(plan: Plan, directory: Path, tell: Callable[[str], None]) -> Evidence:
    with ExitStack() as stack:
        servers = None
        if plan.url is None and (plan.target == "postgres" or plan.target == "etcd"):  # noqa: PLR1714 (mypy narrows by it)
            servers = await anyio.to_thread.run_sync(stack.enter_context, own_servers(plan.target))
        url = plan.url if servers is None else servers.url
        target = Target.at(plan.target, url, directory)
        return await run_real(plan, target, directory, tell, servers=servers)


def _tell(console: Console, options: Options, bundle: Bundle) -> None:
    if options.as_json:
        sys.stdout.write(msgspec.json.encode(bundle.result).decode() + "\n")
        if not bundle.result.passed:
            tell_failure(console, bundle.result, bundle.story)
    else:
        show(console, bundle.result, bundle.story)


def _code(plan: Plan, result: Result) -> int:
    if not result.passed:
        return FAILED
    if plan.schedule is None:
        return OK  # Nobody asked for just these faults, and some strike when nobody leads.
    for count in result.faults.values():
        if count.planned and not count.carried_out and count.not_applicable is None:
            return CHAOS_NOT_FIRED
    return OK
