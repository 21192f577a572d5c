"""The lease backend that an argument or the environment names, by the coordinator plan's contract.

| variable | what |
|---|---|
| `ORXAQ_AUTONOMY_LEADER_LEASE_BACKEND` | `file`, `sqlite`, `postgres` or `etcd` |
| `ORXAQ_AUTONOMY_LEADER_LEASE_FILE_DIR` | the directory of `file` |
| `ORXAQ_AUTONOMY_LEADER_LEASE_SQLITE_PATH` | the database of `sqlite` |
| `ORXAQ_AUTONOMY_LEADER_LEASE_POSTGRES_URL` | a `postgresql://` URL |
| `ORXAQ_AUTONOMY_LEADER_LEASE_ETCD_URL` | an `etcd://` or `etcds://` URL |

An empty variable counts as one that is not set. No value is ever shown: somebody may have
written a password into the wrong one.

Source: HA plan §1. It names the first variable; the others are ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

import attrs

from federlib.errors import InvalidInput
from federlib.lease.protocol import LeaseBackend
from federlib.lease.urls import from_url, leases_on
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage import RecordStore
from federlib.storage.urls import store_place, url_scheme
from federlib.telemetry import SILENT, Telemetry

__all__ = [
    "LEASE_BACKEND_ENV",
    "LEASE_SECRET_ENVS",
    "NamedLeases",
    "from_env",
    "lease_url",
    "named_leases",
    "open_leases",
]

LEASE_BACKEND_ENV = "ORXAQ_AUTONOMY_LEADER_LEASE_BACKEND"
"""Names the backend of leases where no argument does."""

_PATHS = {
    "file": ("ORXAQ_AUTONOMY_LEADER_LEASE_FILE_DIR", "runtime/leases"),
    "sqlite": ("ORXAQ_AUTONOMY_LEADER_LEASE_SQLITE_PATH", "runtime/leases.db"),
}
_SERVERS = {
    "postgres": ("ORXAQ_AUTONOMY_LEADER_LEASE_POSTGRES_URL", ("postgresql",)),
    "etcd": ("ORXAQ_AUTONOMY_LEADER_LEASE_ETCD_URL", ("etcd", "etcds")),
}

LEASE_SECRET_ENVS = tuple(name for name, _ in _SERVERS.values())
"""Variables that may hold credentials."""

_PLACES_ARE_PATHS = frozenset({"file", "sqlite"})


@attrs.frozen
class NamedLeases:
    """Where leases are, as somebody named it.

    Attributes:
        where: A URL, which may hold a password; or an open backend, which stays its owner's.
        by: What named it, for errors: the argument, or a variable.
    """

    where: str | LeaseBackend = attrs.field(repr=False)
    by: str


def lease_url(environ: Mapping[str, str]) -> str:
    """Return the URL of the lease backend that these variables name; `file` is the default.

    Raises:
        InvalidInput: A variable is missing or makes no sense; its value is not shown.
    """
    return _named_by(environ)[0]


def _named_by(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a URL, and the variable to be named where it cannot be used."""
    backend = _read(environ, LEASE_BACKEND_ENV) or "file"
    if backend in _PATHS:
        name, default = _PATHS[backend]
        return f"{backend}:///{quote(_read(environ, name) or default)}", LEASE_BACKEND_ENV
    if backend not in _SERVERS:
        raise InvalidInput(
            LEASE_BACKEND_ENV,
            expected="file, sqlite, postgres or etcd, in small letters",
            found="something else",
        )
    name, schemes = _SERVERS[backend]
    url = _read(environ, name)
    if url_scheme(url) not in schemes:
        expected = " or ".join(f"{scheme}://" for scheme in schemes)
        found = "nothing" if not url else "something else"
        raise InvalidInput(name, expected=f"a URL that begins with {expected}", found=found)
    return url, name


def _read(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def named_leases(
    leases: str | LeaseBackend | None,
    *,
    store_argument: object,
    store: str | RecordStore,
    environ: Mapping[str, str],
) -> NamedLeases | None:
    """Say which lease backend a federation takes: argument, before URL, before environment.

    Args:
        leases: The argument; None where it was not given.
        store_argument: The store's, a URL or an open one; None where it was not given.
        store: The store that is used, whoever named it.
        environ: The environment.
    Returns:
        None for the store's own: because nothing else is named, or that very place is.
    Raises:
        InvalidInput: An argument of another type, or a variable that makes no sense.
    Source: HA plan §1; decision 0018.
    """
    if leases is not None:
        _check_argument(leases)
        named = NamedLeases(leases, "leases")
    elif store_argument is not None or not _read(environ, LEASE_BACKEND_ENV):
        return None
    else:
        named = NamedLeases(*_named_by(environ))
    if isinstance(named.where, str) and isinstance(store, str):
        return None if _is_one_place(named.where, store) else named
    return named


def _check_argument(leases: object) -> None:
    # A path is what people give by mistake.
    if not isinstance(leases, (str, LeaseBackend)) or leases == "":
        expected = "a lease backend's URL as text, or an open LeaseBackend"
        found = "an empty text" if leases == "" else type(leases)
        raise InvalidInput("leases", expected=expected, found=found)


def _is_one_place(one: str, other: str) -> bool:
    """Say whether two URLs are surely of one store; each `memory://` is another one."""
    scheme = url_scheme(one)
    if scheme in _PLACES_ARE_PATHS:
        return store_place(one) == store_place(other)
    return one == other and scheme != "memory"


async def open_leases(
    named: NamedLeases | None,
    store: RecordStore,
    *,
    clock: Clock,
    tolerance: SkewTolerance,
    telemetry: Telemetry,
) -> LeaseBackend:
    """Open what was named, or the store's own; `aclose` it unless it was open before.

    Raises:
        InvalidInput: What was named cannot be; or its leases hold on one host only, and the
            store is used from several, where everybody would get the lease.
        Unavailable: The engine cannot be reached.
        CorruptRecord: What lies there cannot be trusted.
    """
    if named is None:
        return await leases_on(store, clock, tolerance, telemetry)
    if isinstance(named.where, LeaseBackend):
        _check_reach(named.where, store, named.by)
        return named.where
    backend = await _open(named.where, named.by, clock, tolerance, telemetry)
    try:
        _check_reach(backend, store, named.by)
    except InvalidInput:
        await backend.aclose()
        raise
    return backend


def _check_reach(leases: LeaseBackend, store: RecordStore, by: str) -> None:
    if store.capabilities.multi_host and not leases.capabilities.multi_host:
        expected = "leases that hold on several hosts, as the store does"
        raise InvalidInput(by, expected=expected, found="leases of one host")


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
    url, by = _named_by(os.environ if environ is None else environ)
    return await _open(url, by, clock, tolerance, telemetry)


async def _open(
    url: str,
    by: str,
    clock: Clock | None,
    tolerance: SkewTolerance | None,
    telemetry: Telemetry,
) -> LeaseBackend:
    try:
        return await from_url(url, clock=clock, tolerance=tolerance, telemetry=telemetry)
    except InvalidInput as error:
        # A driver speaks of its URL; whoever reads this asks who said it.
        error.field = f"{by}: {error.field}"
        raise
