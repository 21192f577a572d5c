"""The URL of an etcd cluster: `etcd://[user:password@]host[:port][,host[:port]…][?options]`.

`etcds://` is the same by TLS. Read strictly: what is not understood is refused, and no error
ever shows a password.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import unquote

import attrs

from federlib.errors import InvalidInput
from federlib.storage.urls import redact_url, url_scheme

__all__ = ["DEFAULT_PORT", "DEFAULT_PREFIX", "Endpoint", "EtcdUrl", "parse_url"]

DEFAULT_PORT = 2379
DEFAULT_PREFIX = "federlib/"
MAX_PREFIX_BYTES = 256
"""Of a prefix: beyond it comes a key of up to 512 bytes, and etcd's index keeps both."""

_SHAPE = "etcd://[user:password@]host[:port],…[?options], or etcds:// for TLS"
_TLS_OPTIONS = ("ca", "cert", "key")
_OPTIONS = ("prefix", *_TLS_OPTIONS)
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@attrs.frozen
class Endpoint:
    """Where one member serves.

    Attributes:
        host: A name or an address; one of IPv6 without its brackets.
        port: Of its client URL.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen(kw_only=True)
class EtcdUrl:
    """What the URL of a cluster says.

    Attributes:
        endpoints: At least one, in the order in which they are tried.
        is_tls: Speak TLS, and believe only certificates that can be verified.
        user: Who we are at etcd; None where it has no users.
        password: The user's. Shown nowhere.
        prefix: What each key in etcd begins with; ends with ``/``.
        ca: A PEM file of who may have signed the servers' certificates; None for the system's.
        cert: A PEM file with our certificate; None where none is asked for.
        key: A PEM file with its key.
    """

    endpoints: tuple[Endpoint, ...]
    is_tls: bool = False
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    prefix: str = DEFAULT_PREFIX
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def where(self) -> str:
        """How errors call the store: its members and its prefix."""
        return f"etcd store {','.join(map(str, self.endpoints))} ({self.prefix})"


def parse_url(url: str) -> EtcdUrl:
    """Read the URL of an etcd cluster.

    Raises:
        InvalidInput: It is anything else, or has an option that there is not.
    """
    scheme = url_scheme(url)
    if scheme not in {"etcd", "etcds"} or not isinstance(url, str):
        raise InvalidInput("store URL", expected=_SHAPE, found=_shown(url))
    if any(unicodedata.category(c) == "Cc" or c.isspace() for c in url):
        raise InvalidInput("store URL", expected="no control character", found=_shown(url))
    rest = url.partition("://")[2]
    head, _, query = rest.partition("?")
    if "#" in rest or "@" in query or not _ESCAPES.fullmatch(rest):
        # An `@` behind `?` may well be the end of a password: nothing of it may be shown.
        expected = "#, % and, in a password, ? only as %23, %25 and %3F; @ in an option as %40"
        raise InvalidInput("store URL", expected=expected, found=_shown(url))
    place = head.removesuffix("/")
    if "/" in place:
        expected = f"no path ({_SHAPE}; a key prefix is the option ?prefix=)"
        raise InvalidInput("store URL", expected=expected, found=_shown(url))
    who, at, hosts = place.rpartition("@")
    user, password = _read_user(who, url) if at else (None, None)
    options = _read_options(query, is_tls=scheme == "etcds")
    endpoints = tuple(_read_endpoint(host, url) for host in hosts.split(","))
    if len(set(endpoints)) < len(endpoints):
        raise InvalidInput("store URL", expected="each host once", found=_shown(url))
    return EtcdUrl(
        endpoints=endpoints,
        is_tls=scheme == "etcds",
        user=user,
        password=password,
        prefix=options.get("prefix", DEFAULT_PREFIX),
        ca=options.get("ca"),
        cert=options.get("cert"),
        key=options.get("key"),
    )


def _shown(url: object) -> object:
    return redact_url(url) if isinstance(url, str) else type(url)


def _read_user(who: str, url: str) -> tuple[str, str]:
    name, _, word = who.partition(":")
    user, password = _decode(name), _decode(word)
    is_legal = user and password and not any(mark in who for mark in "@,")
    if not is_legal or not _is_plain(user) or not _is_plain(password):
        raise InvalidInput(
            "store URL",
            expected="user:password before @, both percent-encoded, without control characters",
            found=_shown(url),
        )
    return user, password


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return ""


def _is_plain(text: str) -> bool:
    return not any(unicodedata.category(c) == "Cc" for c in text)


def _read_endpoint(text: str, url: str) -> Endpoint:
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        colon, port = tail[:1], tail[1:]
        is_legal = bracket and colon in {"", ":"} and _is_address(host)
    else:
        host, colon, port = text.partition(":")
        is_legal = _NAME.fullmatch(host) is not None
    if colon:
        is_legal = is_legal and port.isascii() and port.isdigit() and len(port) <= 5
    if not is_legal or not 1 <= (number := int(port) if colon else DEFAULT_PORT) <= 65_535:
        raise InvalidInput(
            "store URL",
            expected="hosts like a:2379,b:2379 or [::1]:2379",
            found=_shown(url),
        )
    return Endpoint(host.lower(), number)


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _read_options(query: str, *, is_tls: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, raw = part.partition("=")
        if name not in _OPTIONS:
            expected = f"one of {', '.join(_OPTIONS)}"
            raise InvalidInput("store URL option", expected=expected, found=name)
        value = _decode(raw)
        if name in found or not value or not _is_plain(value):
            expected = "once, with a value without control characters"
            raise InvalidInput(f"store URL option {name}", expected=expected, found=value)
        if name in _TLS_OPTIONS and not is_tls:
            raise InvalidInput(f"store URL option {name}", expected="etcds://", found="etcd://")
        found[name] = value
    if ("cert" in found) != ("key" in found):
        missing = "key" if "cert" in found else "cert"
        expected = "cert and key together"
        raise InvalidInput("store URL option", expected=expected, found=f"no {missing}")
    prefix = found.get("prefix", DEFAULT_PREFIX)
    if not prefix.endswith("/") or len(prefix.encode()) > MAX_PREFIX_BYTES:
        expected = f"at most {MAX_PREFIX_BYTES} bytes that end with /"
        raise InvalidInput("store URL option prefix", expected=expected, found=prefix)
    return found
