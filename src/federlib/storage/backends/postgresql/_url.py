"""What a `postgresql://` URL says."""

from __future__ import annotations

import ipaddress
import os
import unicodedata
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from federlib.errors import InvalidInput
from federlib.storage.urls import redact_url

__all__ = ["PostgresUrl", "parse_url"]

_SCHEMES = {"postgresql", "postgres"}
_MAX_NAME = 63
_MAX_PORT = 65_535
_MAX_CONNECTIONS = 1_000
_DEFAULTS = {
    "application_name": "federlib",
    "connect_timeout": "5",
    "target_session_attrs": "read-write",
    # A peer that is gone without a word is noticed within some ten seconds.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_VARIABLES = {
    "application_name": "PGAPPNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
"""Where libpq itself looks for what a URL leaves out; our own defaults come after that."""


@attrs.frozen
class PostgresUrl:
    """What the URL says.

    Attributes:
        where: For errors and logs: no password.
        conninfo: As libpq takes it; may hold a password.
        schema: Where the tables are.
        connections: How many may read at once.
    """

    where: str
    conninfo: str = attrs.field(repr=False)
    schema: str = "federlib"
    connections: int = 4


def parse_url(url: str, environ: Mapping[str, str] | None = None) -> PostgresUrl:
    """Read `postgresql://user:password@host:port/database?options`.

    Args:
        url: What it says wins over the environment, and that over our defaults.
        environ: Libpq's variables; `os.environ` by default.
    Raises:
        InvalidInput: It is malformed, or an option is none of libpq's or ours.
    """
    shown = redact_url(url)
    if any(unicodedata.category(c) == "Cc" for c in url):
        raise InvalidInput("store URL", expected="no control character", found=shown)
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _SCHEMES or not rest or "#" in rest:
        raise InvalidInput(
            "store URL",
            expected="postgresql://user:password@host:port/database (write # as %23)",
            found=shown,
        )
    body, mark, query = rest.partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    ours = {name: value for name, value in options if name in {"schema", "connections"}}
    theirs = urlencode([(name, value) for name, value in options if name not in ours])
    try:
        said = conninfo_to_dict(f"postgresql://{body}{mark and '?'}{theirs}")
    except psycopg.Error:
        # Its message quotes the URL, password and all.
        raise InvalidInput(
            "store URL", expected="a URL that libpq understands, with options it knows", found=shown
        ) from None
    for port in str(said.get("port") or "").split(","):
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= _MAX_PORT):
            raise InvalidInput("store URL", expected=f"a port of 1 to {_MAX_PORT}", found=shown)
    found = _with_variables(said, os.environ if environ is None else environ)
    hosts = ",".join(found.get(name, "") for name in ("host", "hostaddr"))
    defaults = dict(_DEFAULTS)
    if "sslmode" not in found and any(map(_is_elsewhere, hosts.split(","))):
        defaults |= {"sslmode": "verify-full", "sslrootcert": "system"}
    left_out = {name: value for name, value in defaults.items() if name not in found}
    conninfo = make_conninfo("", **{**left_out, **said})
    return PostgresUrl(
        f"PostgreSQL store {shown}",
        conninfo,
        schema=_schema(ours.get("schema", "federlib")),
        connections=_connections(ours.get("connections", "4")),
    )


def _with_variables(said: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is known of a connection before our defaults; empty counts as not said."""
    of_environ = {name: environ.get(variable, "") for name, variable in _VARIABLES.items()}
    of_url = {name: str(value) for name, value in said.items() if value not in {None, ""}}
    return {**{name: value for name, value in of_environ.items() if value}, **of_url}


def _is_elsewhere(host: str) -> bool:
    """Say whether a host is reached over a network; a path is a socket, and nothing is local."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _schema(name: str) -> str:
    is_short = 0 < len(name.encode("utf-8", "replace")) <= _MAX_NAME
    if not is_short or name.startswith("pg_") or name == "information_schema":
        raise InvalidInput(
            "store URL option schema", expected="1 to 63 bytes, not pg_…", found=name
        )
    return name


def _connections(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MAX_CONNECTIONS:
        raise InvalidInput(
            "store URL option connections", expected=f"1 to {_MAX_CONNECTIONS}", found=text
        )
    return int(text)
