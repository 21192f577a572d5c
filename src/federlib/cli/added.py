"""Commands that other packages add, through the entry points `federlib.commands`.

An entry point names a `click.Command`. It is imported when it is used: a package that is slow
to import, or cannot be, costs nobody who wants another command.
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import cast

import click

from federlib.cli.exits import telling_errors
from federlib.errors import MissingExtra

__all__ = ["ENTRY_POINTS", "OpenGroup"]

ENTRY_POINTS = "federlib.commands"
_OWN = "federlib."
_LATE = {"dmn": ("federlib.cli.dmn", "dmn_group", "Decide by tables (DMN).")}
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
            module, name, _ = _LATE[cmd_name]
            return cast("click.Command", getattr(importlib.import_module(module), name))
        found = entry_points(group=ENTRY_POINTS, name=cmd_name)
        if not found:
            return None
        with telling_errors():
            return _load(next(iter(found)))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Tell each command in a line; of those that others added, only where they are from."""
        rows = []
        for name in self.list_commands(ctx):
            own = super().get_command(ctx, name)
            if own is None and name in _LATE:
                rows.append((name, _LATE[name][2]))
            elif own is None:
                rows.append((name, _line(next(iter(entry_points(group=ENTRY_POINTS, name=name))))))
            elif not own.hidden:
                rows.append((name, own.get_short_help_str(formatter.width)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _line(added: EntryPoint) -> str:
    if not added.module.startswith(_OWN):  # It may be slow to import.
        return f"Added by {added.dist.name if added.dist else added.module}."
    try:
        return _load(added).get_short_help_str(100)
    except MissingExtra as missing:
        return f"Needs federlib[{missing.extra}]."


def _load(added: EntryPoint) -> click.Command:
    """Import an added command.

    Raises:
        MissingExtra: It is ours, and what it needs is not installed.
        click.ClickException: It is another's, and cannot be imported or is no command.
    """
    where = f"the command {added.name!r} of {added.value}"
    try:
        command = added.load()
    except ModuleNotFoundError as error:
        if not added.module.startswith(_OWN):
            raise click.ClickException(f"{where} cannot be loaded: {error}") from error
        if (error.name or "").startswith(_OWN):
            raise
        raise MissingExtra("testing", needed_for=f"federlib {added.name}") from error
    except Exception as error:  # What is another's may fail in any way.
        raise click.ClickException(f"{where} cannot be loaded: {error!r}") from error
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{where} is no command: {type(command).__name__}")
    return command
