"""`federlib chaos`: the options, and help. All that is heavy is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from federlib.cli.exits import runs_async
from federlib.cli.paths import NamedPath

__all__ = ["chaos"]

_SERVERS = ("postgres", "etcd")
_TARGETS = ("sim", "sqlite", "file", *_SERVERS)


@click.command("chaos")
@click.option("--target", type=click.Choice(_TARGETS), default="sim", show_default=True,
              help="The simulator, or real processes on a real store.")  # fmt: skip
@click.option("--url", default=None, envvar="FEDERLIB_CHAOS_URL",
              help="Server of postgres or etcd, else one is started for the run; "
              "a secret belongs into the variable.")  # fmt: skip
@click.option("--preset", default=None, metavar="NAME",
              help="Faults with a name: leader_kill, … [default: drawn from the seed]")  # fmt: skip
@click.option("--schedule", "file", type=NamedPath(dir_okay=False, path_type=Path), default=None,
              metavar="FILE", help="Faults from a file.")  # fmt: skip
@click.option("--kills", type=click.IntRange(1, 10_000), default=None, metavar="N",
              help="Kill the leader so often.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(1, 86_400), default=None, metavar="S",
              help="How long there are faults. [default: 40; 2.8 for each of --kills]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=None, metavar="S",
              help="What chance comes from. [default: drawn]")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 1_000_000), default=None, metavar="N",
              help="How many seeds, in the simulator. [default: 20; 1 with --seed]")  # fmt: skip
@click.option("--processes", type=click.IntRange(2, 50), default=5, show_default=True, metavar="N",
              help="How many.")  # fmt: skip
@click.option("--ttl", "ttl_s", type=click.FloatRange(0.2, 60), default=None, metavar="S",
              help="Of the leader's lease; seconds. [default: 2; less in a short run]")  # fmt: skip
@click.option("--report", type=NamedPath(file_okay=False, path_type=Path), default=None,
              metavar="DIR", help="Write the evidence into this directory.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@runs_async
async def chaos(
    *,
    target: Literal["sim", "sqlite", "file", "postgres", "etcd"],
    url: str | None,
    preset: str | None,
    file: Path | None,
    kills: int | None,
    seconds: float | None,
    seed: int | None,
    seeds: int | None,
    processes: int,
    ttl_s: float | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Break a fleet on purpose, and judge how it fares.

    Processes elect a leader, issue commands and act on them, while they are killed,
    stopped, cut off and told a wrong time. Then all is healed, and they must go on.

    Exit code: 0 passed, 1 an objective was missed or an invariant broken, 2 usage, 3 the
    store or the processes, 4 the faults did not come about, 130 interrupted.
    """
    from federlib.testing.chaos.playing import Options, run_chaos

    context = click.get_current_context()
    is_from_environment = context.get_parameter_source("url") is ParameterSource.ENVIRONMENT
    if is_from_environment and target not in _SERVERS:
        url = None
    return await run_chaos(
        Options(
            target=target,
            url=url,
            preset=preset,
            file=file,
            kills=kills,
            seconds=seconds,
            seed=seed,
            seeds=seeds,
            processes=processes,
            ttl_s=ttl_s,
            report=report,
            as_json=as_json,
        )
    )
