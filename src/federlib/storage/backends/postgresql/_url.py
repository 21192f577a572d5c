"""What a `postgresql://` URL says."""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import unquote

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
_OURS = ("schema", "connections")
_TIMEOUT = re.compile("-?[0-9]{1,9}")
_NOT_IN_SCHEMA = frozenset("%{}")
"""Marks of a statement's template; no schema is called so."""

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
    "service": "PGSERVICE",
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
    ours, theirs = _split_options(query)
    try:
        said = conninfo_to_dict(f"postgresql://{body}{mark and '?'}{theirs}")
    except (psycopg.Error, UnicodeError):
        # Its message quotes the URL, password and all.
        raise InvalidInput(
            "store URL", expected="a URL that libpq understands, with options it knows", found=shown
        ) from None
    for port in str(said.get("port") or "").split(","):
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= _MAX_PORT):
            raise InvalidInput("store URL", expected=f"a port of 1 to {_MAX_PORT}", found=shown)
    timeout = str(said.get("connect_timeout") or "5")
    if not _TIMEOUT.fullmatch(timeout):
        raise InvalidInput(
            "store URL option connect_timeout", expected="whole seconds", found=timeout
        )
    found = _with_variables(said, os.environ if environ is None else environ)
    hosts = ",".join(found.get(name, "") for name in ("host", "hostaddr"))
    defaults = dict(_DEFAULTS)
    # A service's file may name any host.
    is_elsewhere = "service" in found or any(map(_is_elsewhere, hosts.split(",")))
    if "sslmode" not in found and is_elsewhere:
        defaults |= {"sslmode": "verify-full", "sslrootcert": "system"}
    left_out = {name: value for name, value in defaults.items() if name not in found}
    conninfo = make_conninfo("", **{**left_out, **said})
    return PostgresUrl(
        f"PostgreSQL store {shown}",
        conninfo,
        schema=_schema(ours.get("schema", "federlib")),
        connections=_connections(ours.get("connections", "4")),
    )


def _split_options(query: str) -> tuple[dict[str, str], str]:
    """Return our options, decoded, and libpq's as they stand: to it `+` is no space."""
    ours: dict[str, str] = {}
    theirs: list[str] = []
    for part in filter(None, query.split("&")):
        name, _, raw = part.partition("=")
        if name not in _OURS:
            theirs.append(part)
            continue
        try:
            value = unquote(raw, errors="strict")
        except UnicodeDecodeError:
            value = ""
        if name in ours or not value:
            raise InvalidInput(
                f"store URL option {name}", expected="once, with a value in UTF-8", found=raw
            )
        ours[name] = value
    return ours, "&".join(theirs)


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
    is_plain = not any(unicodedata.category(c) in {"Cc", "Cs"} for c in name)
    is_reserved = name.startswith("pg_") or name == "information_schema"
    if not is_short or not is_plain or is_reserved or _NOT_IN_SCHEMA & set(name):
        expected = "1 to 63 bytes, not pg_…, without %, {, } and control characters"
        raise InvalidInput("store URL option schema", expected=expected, found=name)
    return name


def _connections(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MAX_CONNECTIONS:
        raise InvalidInput(
            "store URL option connections", expected=f"1 to {_MAX_CONNECTIONS}", found=text
        )
    return int(text)
