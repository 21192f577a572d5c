"""Settings of leases that come from the environment.

Source: A2.2 §3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from federlib.errors import InvalidInput

__all__ = [
    "DEFAULT_TTL_S",
    "LEASE_TTL_ENV",
    "MAX_TTL_S",
    "MIN_TTL_S",
    "check_ttl",
    "lease_ttl_s",
]

LEASE_TTL_ENV = "OPAL_LEASE_TTL_SECS"
"""The ttl of leases where no argument says it; seconds."""

DEFAULT_TTL_S = 15.0
"""The ttl of leases where nothing else is said; seconds."""

# A ttl is stored in whole milliseconds; a day is far beyond any use of a lease.
MIN_TTL_S, MAX_TTL_S = 0.001, 86_400.0


def check_ttl(ttl_s: float) -> int:
    """Return a time to live in whole milliseconds.

    Raises:
        InvalidInput: Not a number from 0.001 to 86,400.
    """
    # NaN compares false with everything, and so is refused here.
    if type(ttl_s) not in {int, float} or not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        raise InvalidInput("ttl_s", expected=f"{MIN_TTL_S:g} to {MAX_TTL_S:g} s", found=ttl_s)
    return round(ttl_s * 1_000)


def lease_ttl_s(environ: Mapping[str, str] | None = None) -> float:
    """Read `OPAL_LEASE_TTL_SECS`, in seconds; 15 where it is not set.

    Raises:
        InvalidInput: The variable is set and not a number from 0.001 to 86,400.
    Source: A2.2 §3.
    """
    text = (os.environ if environ is None else environ).get(LEASE_TTL_ENV, "").strip()
    if not text:
        return DEFAULT_TTL_S
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    # NaN compares false with everything, and so is refused here.
    if not MIN_TTL_S <= value <= MAX_TTL_S:
        raise InvalidInput(LEASE_TTL_ENV, expected="0.001 to 86400 seconds", found=text)
    return value
