"""Commands that are imported when they are used: ours that take long, and those of others.

Other packages add theirs through the entry points `federlib.commands`, each of which names a
`click.Command`. One that is slow to import, or cannot be, costs nobody who wants another.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

import click

__all__ = ["ENTRY_POINTS", "OpenGroup"]

ENTRY_POINTS = "federlib.commands"
_LATE = {
    "causal": (
        "federlib.cli.causal:causal_group",
        "State why a disruptive action should help, and see what came of it.",
    ),
    "chaos": (
        "federlib.testing.chaos.command:chaos",
        "Break a fleet on purpose, and judge how it fares.",
    ),
    "dmn": (
        "federlib.cli.dmn:dmn_group",
        "Decide by tables (DMN): check, ask, explain, compare and test models.",
    ),
}
"""Commands of our own that take long to import: where each is, and its line in the help."""


class OpenGroup(click.Group):
    """A group of commands to which installed packages add theirs; its own come first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List its own commands and the added ones, in order of their names."""
        added = entry_points(group=ENTRY_POINTS).names
        return sorted({*super().list_commands(ctx), *_LATE, *added})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name, importing it only if it was added, or takes long."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        if cmd_name in _LATE:
            late = EntryPoint(cmd_name, _LATE[cmd_name][0], ENTRY_POINTS)
            return cast("click.Command", late.load())
        found = entry_points(group=ENTRY_POINTS, name=cmd_name)
        return _load(next(iter(found))) if found else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Tell each command in a line; of those that others added, only where they are from."""
        rows = []
        for name in self.list_commands(ctx):
            own = super().get_command(ctx, name)
            if own is None:
                rows.append((name, _LATE[name][1] if name in _LATE else _line(name)))
            elif not own.hidden:
                rows.append((name, own.get_short_help_str(formatter.width)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _line(name: str) -> str:
    added = next(iter(entry_points(group=ENTRY_POINTS, name=name)))
    return f"Added by {added.dist.name if added.dist else added.module}."


def _load(added: EntryPoint) -> click.Command:
    """Import a command of another package.

    Raises:
        click.ClickException: It cannot be imported, or is no command.
    """
    where = f"the command {added.name!r} of {added.value}"
    try:
        command = added.load()
    except Exception as error:  # What is another's may fail in any way.
        raise click.ClickException(f"{where} cannot be loaded: {error!r}") from error
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{where} is no command: {type(command).__name__}")
    return command
