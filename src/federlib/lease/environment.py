"""The lease backend that the environment names, by the coordinator plan's contract.

| variable | what |
|---|---|
| `ORXAQ_AUTONOMY_LEADER_LEASE_BACKEND` | `file` (the default), `sqlite`, `postgres` or `etcd` |
| `ORXAQ_AUTONOMY_LEADER_LEASE_FILE_DIR` | the directory of `file` |
| `ORXAQ_AUTONOMY_LEADER_LEASE_SQLITE_PATH` | the database of `sqlite` |
| `ORXAQ_AUTONOMY_LEADER_LEASE_POSTGRES_URL` | a `postgresql://` URL |
| `ORXAQ_AUTONOMY_LEADER_LEASE_ETCD_URL` | an `etcd://` URL |

Source: HA plan §1. It names the first variable; the others are ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from federlib.errors import InvalidInput
from federlib.lease.protocol import LeaseBackend
from federlib.lease.urls import from_url
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.urls import url_scheme
from federlib.telemetry import SILENT, Telemetry

__all__ = ["LEASE_BACKEND_ENV", "from_env", "lease_url"]

LEASE_BACKEND_ENV = "ORXAQ_AUTONOMY_LEADER_LEASE_BACKEND"

_FILE_DIR_ENV = "ORXAQ_AUTONOMY_LEADER_LEASE_FILE_DIR"
_SQLITE_PATH_ENV = "ORXAQ_AUTONOMY_LEADER_LEASE_SQLITE_PATH"
_PATHS = {
    "file": (_FILE_DIR_ENV, "runtime/leases"),
    "sqlite": (_SQLITE_PATH_ENV, "runtime/leases.db"),
}
_SERVERS = {
    "postgres": ("ORXAQ_AUTONOMY_LEADER_LEASE_POSTGRES_URL", "postgresql"),
    "etcd": ("ORXAQ_AUTONOMY_LEADER_LEASE_ETCD_URL", "etcd"),
}


def lease_url(environ: Mapping[str, str]) -> str:
    """Return the URL of the lease backend that these variables name.

    Raises:
        InvalidInput: A variable is missing or makes no sense; its value is not shown.
    """
    backend = environ.get(LEASE_BACKEND_ENV) or "file"
    if backend in _PATHS:
        name, default = _PATHS[backend]
        return f"{backend}:///{quote(environ.get(name) or default)}"
    if backend not in _SERVERS:
        raise InvalidInput(
            LEASE_BACKEND_ENV, expected="file, sqlite, postgres or etcd", found=backend
        )
    name, scheme = _SERVERS[backend]
    url = environ.get(name, "")
    if url_scheme(url) != scheme:
        found = "nothing" if not url else f"another URL ({url_scheme(url) or 'no scheme'})"
        raise InvalidInput(name, expected=f"a URL that begins with {scheme}://", found=found)
    return url


async def from_env(
    environ: Mapping[str, str] | None = None,
    *,
    clock: Clock | None = None,
    tolerance: SkewTolerance | None = None,
    telemetry: Telemetry = SILENT,
) -> LeaseBackend:
    """Open the lease backend that the environment names; see `from_url`.

    Args:
        environ: `os.environ` by default.
        clock: The system's by default.
        tolerance: `OPAL_CLOCK_SKEW_TOLERANCE_SECS`, or 3 seconds, by default.
        telemetry: Where the backend emits.
    Raises:
        InvalidInput: A variable is missing or makes no sense, or nothing is installed for it.
        Unavailable: The engine cannot be reached.
        CorruptRecord: What lies there cannot be trusted.
    Source: HA plan §1.
    """
    url = lease_url(os.environ if environ is None else environ)
    return await from_url(url, clock=clock, tolerance=tolerance, telemetry=telemetry)
