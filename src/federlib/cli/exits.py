"""Exit codes, and how errors become them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine
from typing import ParamSpec

import anyio
import click

from federlib.errors import (
    CorruptRecord,
    FederlibError,
    InvalidInput,
    OutcomeUnknown,
    PlanMismatch,
    StoreReplaced,
    Unavailable,
)

__all__ = [
    "CHAOS_NOT_FIRED",
    "FAILED",
    "INTERRUPTED",
    "OK",
    "STORE",
    "USAGE",
    "runs_async",
]

OK, FAILED, USAGE, STORE, CHAOS_NOT_FIRED, INTERRUPTED = 0, 1, 2, 3, 4, 130

P = ParamSpec("P")


def runs_async(command: Callable[P, Coroutine[object, object, int]]) -> Callable[P, None]:
    """Run an async command, tell its errors in one line each, and exit with its code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = anyio.run(functools.partial(command, *args, **kwargs))
        except PlanMismatch as error:
            _tell(error)
            for line in error.differences:
                click.echo(f"  {line}", err=True)
            sys.exit(USAGE)
        except InvalidInput as error:
            _tell(error)
            sys.exit(USAGE)
        except (Unavailable, OutcomeUnknown, CorruptRecord, StoreReplaced) as error:
            _tell(error)
            sys.exit(STORE)
        except FederlibError as error:
            _tell(error)
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        sys.exit(code)

    return wrapper


def _tell(error: FederlibError) -> None:
    click.echo(f"federlib: {error}", err=True)
