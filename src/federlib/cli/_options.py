"""Options that several commands share."""

from __future__ import annotations

import math
from typing import cast

import click

from federlib.cli.stores import hide_credentials
from federlib.federation import STORE_ENV

__all__ = ["DEFAULT_STORE", "FiniteRange", "json_option", "store_option", "ttl_option"]

DEFAULT_STORE = "sqlite:///.federlib/store.db"


class FiniteRange(click.FloatRange):
    """A float in a range; `nan` compares false with every bound, and is in none."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it, or fail."""
        number = float(super().convert(cast("float", value), param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


store_option = click.option(
    "--store",
    "url",
    envvar=STORE_ENV,
    default=DEFAULT_STORE,
    show_default=True,
    callback=hide_credentials,
    help=f"The store's URL. Credentials belong into {STORE_ENV}, not on the command line.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
ttl_option = click.option(
    "--ttl",
    "ttl_s",
    type=FiniteRange(0.2, 3600),
    default=None,
    help="Time to live of leases: how long a dead leader is waited for; seconds. "
    "[default: OPAL_LEASE_TTL_SECS or 15]",
)
