"""Exit codes, and how errors become them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import ParamSpec

import anyio
import click

from federlib.errors import FederlibError, InvalidInput, MissingExtra, PlanMismatch

__all__ = [
    "CANNOT_TELL",
    "CHAOS_NOT_FIRED",
    "DEGRADED",
    "FAILED",
    "HEALTH",
    "HEALTHY",
    "INTERRUPTED",
    "OK",
    "STORE",
    "UNHEALTHY",
    "USAGE",
    "runs_async",
    "telling_errors",
]

OK, FAILED, USAGE, STORE, CHAOS_NOT_FIRED, INTERRUPTED = 0, 1, 2, 3, 4, 130

HEALTHY, DEGRADED, UNHEALTHY, CANNOT_TELL = 0, 1, 2, 3
HEALTH = ("healthy", "degraded", "unhealthy", "cannot tell")
"""What monitoring makes of an exit code of `status` and `workers`."""

P = ParamSpec("P")


def runs_async(command: Callable[P, Coroutine[object, object, int]]) -> Callable[P, None]:
    """Run an async command, tell its errors in one line each, and exit with its code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        with telling_errors():
            code = anyio.run(functools.partial(command, *args, **kwargs))
        sys.exit(code)

    return wrapper


@contextmanager
def telling_errors() -> Iterator[None]:
    """Tell an error of the body in one line each, and exit with its code."""
    try:
        yield
    except PlanMismatch as error:
        _tell(error)
        for line in error.differences:
            click.echo(f"  {line}", err=True)
        sys.exit(USAGE)
    except (InvalidInput, MissingExtra) as error:
        _tell(error)
        sys.exit(USAGE)
    except BrokenPipeError:
        # Nobody reads us any more; Python's own flush at exit shall not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except (FederlibError, OSError) as error:
        _tell(error)
        sys.exit(STORE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _tell(error: Exception) -> None:
    # Here, as no command needs it that ends well.
    from federlib.cli.report import printable

    # Names that others have chosen stand in errors, too.
    lines = f"federlib: {error}".split("\n")
    click.echo("\n".join(map(printable, lines)), err=True)
