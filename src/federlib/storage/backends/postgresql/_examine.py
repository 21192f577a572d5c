"""What can be said of a PostgreSQL before a store is opened in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

import anyio
import anyio.to_thread
import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from federlib.errors import CorruptRecord, Unavailable
from federlib.skewclock import Clock
from federlib.storage.backends.postgresql._errors import Severed, translate
from federlib.storage.backends.postgresql._link import Link
from federlib.storage.backends.postgresql._schema import FORMAT
from federlib.storage.backends.postgresql._setup import OLDEST, find_store
from federlib.storage.backends.postgresql._url import PostgresUrl, parse_url
from federlib.storage.examining import Examined, Finding, Verdict

__all__ = ["examine"]

_PATIENCE_S = 3
_TURNS = 8
_SERVER = """SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
    current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
    (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
    current_setting('max_connections')::int,
    current_setting('superuser_reserved_connections')::int,
    (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database),
    current_user::text, current_database()::text,
    has_database_privilege(current_database(), 'CREATE')"""


@attrs.frozen(kw_only=True)
class _Server:
    """What one server says of itself."""

    version: int
    encoding: str
    took_ms: float
    is_standby: bool
    is_read_only: bool
    has_fsync: bool
    has_full_pages: bool
    synchronous_commit: str
    max_connections: int
    reserved: int
    in_use: int
    user: str
    database: str
    may_create: bool
    store: tuple[str, int] | Unavailable | CorruptRecord | None


async def examine(url: str, clock: Clock, *, may_write: bool) -> Examined:
    """Look at each server of a `postgresql://` URL.

    Raises:
        InvalidInput: The URL is malformed.
    """
    place = parse_url(url)
    hosts = _split(place.conninfo, os.environ)
    found: list[_Server | Unavailable] = [Unavailable(place.where, "not asked")] * len(hosts)
    limiter = anyio.CapacityLimiter(_TURNS)

    async def ask(index: int, conninfo: str) -> None:
        found[index] = await anyio.to_thread.run_sync(
            partial(_ask, place, conninfo, clock), limiter=limiter, abandon_on_cancel=True
        )

    async with anyio.create_task_group() as group:
        for index, (_, conninfo) in enumerate(hosts):
            group.start_soon(ask, index, conninfo)
    reached = [one for one in found if isinstance(one, _Server)]
    # The driver's connections want one that takes writes.
    served = [one for one in reached if not one.is_standby and not one.is_read_only]
    findings = [
        _reach(name, one, is_served=bool(served))
        for (name, _), one in zip(hosts, found, strict=True)
    ]
    if not reached:
        return Examined(findings=tuple(findings), store="away")
    server = (served or reached)[0]
    findings += [
        _judge_version(server),
        _judge_encoding(server),
        _judge_role(server),
        _judge_durability(server),
        _judge_connections(server, place.connections),
    ]
    store = server.store
    if not server.may_create and store is None:
        findings.append(_may_not_create(server, place))
    if isinstance(store, tuple) and store[1] < FORMAT and not may_write:
        findings.append(_old_format(store[1]))
        return Examined(findings=tuple(findings), store="away")
    # What cannot be opened tells by itself why.
    return Examined(findings=tuple(findings), store="missing" if store is None else "there")


def _split(conninfo: str, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name each host of a connection string, with a connection string of its own.

    Where it names none, libpq's variables do.
    """
    said = conninfo_to_dict(conninfo)
    if not said.get("host") and not said.get("hostaddr"):
        variables = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT"}
        told = {name: environ.get(variable) for name, variable in variables.items()}
        said = {**{name: value for name, value in told.items() if value}, **said}
    hosts, addresses, ports = (
        str(said.get(name) or "").split(",") for name in ("host", "hostaddr", "port")
    )
    count = max(len(hosts), len(addresses))
    rest = {**said, "target_session_attrs": "any", "connect_timeout": _PATIENCE_S}
    split = []
    for index in range(count):
        own = {
            name: values[index if len(values) > 1 else 0]
            for name, values in (("host", hosts), ("hostaddr", addresses), ("port", ports))
        }
        name = f"{own['host'] or own['hostaddr'] or 'the local socket'}:{own['port'] or 5432}"
        # An empty value would be another default than none.
        given = {key: value for key, value in own.items() if value}
        others = {k: v for k, v in rest.items() if k not in own}
        split.append((name, make_conninfo("", **{**others, **given})))
    return split


def _ask(place: PostgresUrl, conninfo: str, clock: Clock) -> _Server | Unavailable:
    """Ask one server; blocks, for a bounded time."""
    began_ns = clock.monotonic_ns()
    try:
        link = Link(conninfo)
    except psycopg.Error as error:
        refused = translate(error, place.where)
        return (
            refused if isinstance(refused, Unavailable) else Unavailable(place.where, str(refused))
        )
    except Severed as error:
        return Unavailable(place.where, str(error))
    took_ms = (clock.monotonic_ns() - began_ns) / 1e6
    try:
        (row,) = link.ask(_SERVER, patience_s=_PATIENCE_S)
        names = [one.name for one in attrs.fields(_Server)][3:-1]
        return _Server(
            version=link.version,
            encoding=link.encoding,
            took_ms=took_ms,
            store=_find(link, place),
            **dict(zip(names, row, strict=True)),  # type: ignore[arg-type]  # typed by the query
        )
    except psycopg.Error as error:
        return Unavailable(place.where, str(translate(error, place.where)))
    except Severed as error:
        return Unavailable(place.where, str(error))
    finally:
        link.close()


def _find(link: Link, place: PostgresUrl) -> tuple[str, int] | Unavailable | CorruptRecord | None:
    try:
        return find_store(link, place.schema, place.where)
    except CorruptRecord as error:
        return error
    except psycopg.Error as error:
        return Unavailable(place.where, str(translate(error, place.where)))


def _reach(name: str, found: _Server | Unavailable, *, is_served: bool) -> Finding:
    if isinstance(found, _Server):
        return Finding(
            name="reach",
            verdict="ok",
            measured=f"{name} let user {found.user} into database {found.database} "
            f"after {found.took_ms:.1f} ms",
            numbers={"connect_ms": round(found.took_ms, 3)},
        )
    fix = found.hint or f"start {name}, or check what lies between (firewall, sslmode)"
    verdict: Verdict = "warn" if is_served else "fail"
    return Finding(name="reach", verdict=verdict, measured=f"{name}: {found.reason}", fix=fix)


def _judge_version(server: _Server) -> Finding:
    major, minor = divmod(server.version, 10_000)
    is_old = server.version < OLDEST
    return Finding(
        name="engine",
        verdict="fail" if is_old else "ok",
        measured=f"PostgreSQL {major}.{minor}",
        fix="upgrade it to 13 or newer" if is_old else "",
    )


def _judge_encoding(server: _Server) -> Finding:
    is_utf8 = server.encoding == "UTF8"
    return Finding(
        name="encoding",
        verdict="ok" if is_utf8 else "fail",
        measured=server.encoding,
        fix="" if is_utf8 else "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and use that",
    )


def _judge_role(server: _Server) -> Finding:
    if not server.is_standby and not server.is_read_only:
        return Finding(name="role", verdict="ok", measured="a primary, which takes writes")
    fix = "name the primary, or all servers, in the URL; or wait for a failover to end"
    if not server.is_standby:
        fix = "SET default_transaction_read_only = off for this user and database"
    what = "a standby" if server.is_standby else "a primary that was made read-only"
    return Finding(name="role", verdict="fail", measured=what, fix=fix)


def _judge_durability(server: _Server) -> Finding:
    name, lost = "engine durability", []
    if not server.has_fsync:
        lost.append("fsync = off")
    if not server.has_full_pages:
        lost.append("full_page_writes = off")
    if lost:
        return Finding(
            name=name,
            verdict="warn",
            measured=f"{', '.join(lost)}: a crash of the machine may lose or tear commits",
            fix=f"set {' and '.join(one.replace('off', 'on') for one in lost)} at the server",
        )
    mode = server.synchronous_commit
    measured = f"fsync = on, synchronous_commit = {mode}"
    if mode == "off":
        measured += ", which federlib sets to on for its own sessions"
    return Finding(name=name, verdict="ok", measured=measured)


def _judge_connections(server: _Server, connections: int) -> Finding:
    # Those that read, one that commits, one that listens.
    wanted = connections + 2
    left = server.max_connections - server.reserved - server.in_use
    is_short = left < wanted
    return Finding(
        name="connections",
        verdict="warn" if is_short else "ok",
        measured=f"{server.in_use} of {server.max_connections} in use, "
        f"{server.reserved} kept for superusers; one process takes up to {wanted}",
        fix="raise max_connections of the server, or lower ?connections=" if is_short else "",
        numbers={"in_use": server.in_use, "max_connections": server.max_connections},
    )


def _may_not_create(server: _Server, place: PostgresUrl) -> Finding:
    return Finding(
        name="create",
        verdict="fail",
        measured=f"user {server.user} may not create schema {place.schema}",
        fix=f'GRANT CREATE ON DATABASE "{server.database}" TO "{server.user}", or name a schema '
        "that holds a store with ?schema=",
    )


def _old_format(found: int) -> Finding:
    return Finding(
        name="format",
        verdict="skip",
        measured=f"format {found} would be brought to {FORMAT} by opening it",
    )
