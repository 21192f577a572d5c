"""Paths on the command line."""

from __future__ import annotations

import os

import click

__all__ = ["NamedPath"]


class NamedPath(click.Path):
    """A path that is not empty: a variable that is not set would name the present directory."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Read it, or fail."""
        if not os.fspath(value):
            self.fail("expected a path, found an empty text.", param, ctx)
        return super().convert(value, param, ctx)
