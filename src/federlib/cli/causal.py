"""`federlib causal …`: hypotheses, and the interventions that rest on them."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import attrs
import click
import msgspec
from rich.console import Console
from rich.table import Table

from federlib.causal import (
    Examined,
    Hypothesis,
    Intervention,
    Measured,
    TrackRecord,
    examine,
    read_hypothesis,
)
from federlib.cli._options import json_option, store_option
from federlib.cli.exits import FAILED, OK, runs_async
from federlib.cli.inspection import plain, print_json
from federlib.cli.report import printable
from federlib.cli.stores import require_store
from federlib.federation import connect

__all__ = ["causal_group"]

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group("causal")
def causal_group() -> None:
    """State why a disruptive action should help, and see what came of it."""


@causal_group.command("check")
@_file
@json_option
@runs_async
async def check_command(*, file: Path, as_json: bool) -> int:
    """Examine the hypothesis in FILE (YAML or JSON) against its own graph; needs no store.

    Exit code: 0 consistent, 1 not, 2 it cannot be read.
    """
    hypothesis = _read(file)
    found = examine(hypothesis)
    if as_json:
        print_json({"hypothesis_id": hypothesis.hypothesis_id, **attrs.asdict(found)})
    else:
        _print_examined(hypothesis, found)
    return OK if found.is_consistent else FAILED


@causal_group.command("state")
@_file
@store_option
@json_option
@runs_async
async def state_command(*, file: Path, url: str, as_json: bool) -> int:
    """Write the hypothesis in FILE into the store, once and for all.

    Exit code: 0 it is stated, 1 it contradicts its own graph and was not, 2 it cannot be
    read, 3 another one has its id, or the store is away.
    """
    hypothesis = _read(file)
    found = examine(hypothesis)
    if not found.is_consistent:
        _print_examined(hypothesis, found, err=True)
        return FAILED
    async with connect(url) as fed:
        stated = await fed.causal.state(hypothesis)
    if as_json:
        print_json(stated)
    else:
        click.echo(f"stated {stated.hypothesis_id}")
    return OK


@causal_group.command("ls")
@store_option
@json_option
@runs_async
async def ls_command(*, url: str, as_json: bool) -> int:
    """List all hypotheses, with how often each was borne out."""
    require_store(url)
    async with connect(url) as fed, aclosing(fed.causal.hypotheses()) as found:
        rows = [(each, await fed.causal.track(each.hypothesis_id)) async for each in found]
    if as_json:
        print_json([{"hypothesis": each, "track": track} for each, track in rows])
        return OK
    table = Table("hypothesis", "action", "claim", "supported", "refuted", "inconclusive")
    for each, track in rows:
        table.add_row(
            plain(each.hypothesis_id),
            plain(each.action),
            plain(_claim(each)),
            str(track.supported),
            str(track.refuted),
            str(track.inconclusive),
        )
    Console().print(table)
    return OK


@causal_group.command("show")
@click.argument("hypothesis_id")
@store_option
@json_option
@runs_async
async def show_command(*, hypothesis_id: str, url: str, as_json: bool) -> int:
    """Show one hypothesis: what it states, its evidence, its record and its commands."""
    require_store(url)
    async with connect(url) as fed:
        hypothesis = await fed.causal.find(hypothesis_id)
        if hypothesis is None:
            click.echo(f"no hypothesis {printable(hypothesis_id)!r}", err=True)
            return FAILED
        evidence = await fed.causal.evidence(hypothesis_id)
        track = await fed.causal.track(hypothesis_id)
        async with aclosing(fed.causal.interventions(hypothesis_id=hypothesis_id)) as found:
            commands = [each async for each in found]
    if as_json:
        facts = {"hypothesis": hypothesis, "examined": examine(hypothesis), "evidence": evidence,
                 "track": track, "interventions": commands}  # fmt: skip
        print_json(facts)
        return OK
    for name, value in msgspec.structs.asdict(hypothesis).items():
        click.echo(f"{name:14} {printable(msgspec.json.encode(value).decode())}")
    for shown in evidence:
        span = _span(shown.measured, hypothesis.expected.unit)
        click.echo(f"{'evidence':14} {printable(f'{span}, {shown.source}')}")
    click.echo(f"{'track':14} {_record(track)}")
    if commands:
        Console().print(_table(commands))
    return OK


@causal_group.command("interventions")
@store_option
@click.option("--scope", default=None, help="Only commands of this election.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@json_option
@runs_async
async def interventions_command(*, url: str, scope: str | None, limit: int, as_json: bool) -> int:
    """List disruptive commands: hypothesis, verdict, outcome and effect; the newest last."""
    require_store(url)
    newest: deque[Intervention] = deque(maxlen=limit)
    async with connect(url) as fed, aclosing(fed.causal.interventions(scope=scope)) as found:
        async for each in found:
            newest.append(each)
    if as_json:
        print_json(list(newest))
    else:
        Console().print(_table(newest))
    return OK


def _read(file: Path) -> Hypothesis:
    form: Literal["json", "yaml"] = "json" if file.suffix == ".json" else "yaml"
    return read_hypothesis(file.read_bytes(), form=form)


def _print_examined(hypothesis: Hypothesis, found: Examined, *, err: bool = False) -> None:
    word = "consistent" if found.is_consistent else "inconsistent"
    click.echo(f"{hypothesis.hypothesis_id}: {word}: {printable(_claim(hypothesis))}", err=err)
    for fault in found.faults:
        click.echo(f"  {printable(fault)}", err=err)


def _claim(hypothesis: Hypothesis) -> str:
    expected = hypothesis.expected
    return (
        f"{hypothesis.treatment} -> {hypothesis.outcome}: {expected.direction} "
        f"by {expected.at_least:g} {expected.unit} within {expected.within_s:g} s"
    )


def _span(measured: Measured, unit: str) -> str:
    return f"{measured.effect:+.4g} {unit} ({measured.low:+.4g} to {measured.high:+.4g})"


def _record(track: TrackRecord) -> str:
    return (
        f"supported {track.supported}, refuted {track.refuted}, inconclusive {track.inconclusive}"
    )


def _table(interventions: deque[Intervention] | list[Intervention]) -> Table:
    table = Table("command", "action", "hypothesis", "verdict", "outcome", "effect", "finding")
    for each in interventions:
        result, verdict = each.result, each.verdict
        ruling = "-" if verdict is None else verdict.ruling
        effect = "-" if result is None else _span(result.measured, result.expected.unit)
        table.add_row(
            plain(each.command_id),
            plain(each.action),
            plain(each.causal_id or "-"),
            plain(f"{ruling}: {verdict.reason}" if verdict and verdict.reasons else ruling),
            each.status,
            plain(effect),
            "-" if result is None else result.finding,
        )
    return table
