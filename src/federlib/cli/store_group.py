"""`federlib store …`: options and help."""

from __future__ import annotations

from pathlib import Path

import click

from federlib.cli import upkeep
from federlib.cli._options import json_option, store_option
from federlib.cli.exits import runs_async
from federlib.cli.inspection import raise_floor
from federlib.cli.paths import NamedPath
from federlib.cli.stores import hide_argument

__all__ = ["store_group"]

_token = click.IntRange(0, 2**63 - 2)
_floor_option = click.option(
    "--floor", type=_token, default=0, metavar="N",
    help="Raise the floor of the new store at least to N. "
    "[default: 1048576 above every token that came with the records]",
)  # fmt: skip


@click.group("store")
def store_group() -> None:
    """Look after a store."""


@store_group.command("check")
@store_option
@json_option
@runs_async
async def store_check(*, url: str, as_json: bool) -> int:
    """Verify all that is stored, and repair nothing; others may go on working.

    Exit code: 0 sound, 1 problems found, 3 the store cannot be read.
    """
    return await upkeep.check(url, as_json=as_json)


@store_group.command("copy")
@click.argument("old", callback=hide_argument)
@click.argument("new", callback=hide_argument)
@click.option("--live", is_flag=True,
              help="Copy although somebody holds a lease in OLD.")  # fmt: skip
@_floor_option
@json_option
@runs_async
async def store_copy(*, old: str, new: str, live: bool, floor: int, as_json: bool) -> int:
    """Copy all records of OLD, as they are at one instant, into the empty store NEW.

    Leases are free in NEW, nobody waits there, and every token that it grants is higher
    than all of OLD. OLD is left as it is. A copy that was interrupted cannot be opened:
    remove it and copy again.

    A URL with credentials goes into a variable of the environment: give env:NAME instead.
    """
    return await upkeep.copy(old, new, live=live, floor=floor, as_json=as_json)


@store_group.command("export")
@click.argument("file", type=NamedPath(path_type=Path, allow_dash=True), default="-")
@store_option
@runs_async
async def store_export(*, file: Path, url: str) -> int:
    """Write all records, as they are at one instant, to FILE (or -) as lines of JSON."""
    return await upkeep.export(url, file)


@store_group.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, exists=True,
                                        dir_okay=False))  # fmt: skip
@store_option
@_floor_option
@json_option
@runs_async
async def store_import(*, file: Path, url: str, floor: int, as_json: bool) -> int:
    """Fill an empty store from what `export` wrote to FILE (or -), if all of it is valid.

    Where the old store went on after the export, give a --floor that it cannot have reached.
    """
    return await upkeep.import_(url, file, floor=floor, as_json=as_json)


@store_group.command("raise-floor")
@click.option("--to", "token", type=_token, required=True,
              help="Every later grant, on any name, is higher than this.")  # fmt: skip
@store_option
@runs_async
async def store_raise_floor(*, token: int, url: str) -> int:
    """Raise the floor of all fencing tokens: after a restore, or before a new store is used.

    Choose a number that no token of the old store can have reached.
    """
    return await raise_floor(url, token)
