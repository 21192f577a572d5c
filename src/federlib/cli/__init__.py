"""The command line: a thin edge over the public API. `federlib --help` says the rest.

Exit codes of `federlib run`: 0 every task succeeded, 1 some failed, 2 usage, 3 store,
4 chaos did not fire, 130 interrupted (the same run id goes on).
"""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without the extra `cli` tell which one to install."""
    try:
        import click
        import rich
        import yaml
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich", "yaml"}:
            raise
        from federlib.errors import MissingExtra

        missing = MissingExtra("cli", needed_for="the command line")
        # What tells all other errors needs the extra itself.
        print(f"federlib: {missing}", file=sys.stderr)
        sys.exit(2)
    del click, rich, yaml
    from federlib.cli.app import app

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A verdict that a terminal cannot spell is no failure.
        sys.stdout.reconfigure(errors="replace")
    app(prog_name="federlib")
