"""From a URL to an open store, through the entry points `federlib.stores`.

A third party's driver is reached like ours: its entry point names an async callable
``open_store(url: str, clock: Clock, telemetry: Telemetry) -> RecordStore``.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import cast

import anyio

from federlib.errors import InvalidInput
from federlib.skewclock import Clock, SystemClock
from federlib.storage.filling import refuse_unfinished
from federlib.storage.protocol import RecordStore
from federlib.telemetry import SILENT, Telemetry

__all__ = ["ENTRY_POINTS", "Opener", "open_store", "redact_url", "store_place", "url_scheme"]

ENTRY_POINTS = "federlib.stores"
_HIDDEN = "***"
_MARKS = frozenset("@?#")
_FILE_SCHEMES = frozenset({"sqlite", "file"})
"""Schemes whose path is a path: an `@` in it belongs to a file's name."""

_INNER_PLACES = {
    "etcd": ("prefix", "federlib/"),
    "etcds": ("prefix", "federlib/"),
    "postgresql": ("schema", "federlib"),
}
"""Options of which each value is another store on the same server, and their defaults."""

Opener = Callable[[str, Clock, Telemetry], Awaitable[RecordStore]]


async def open_store(
    url: str, *, clock: Clock | None = None, telemetry: Telemetry = SILENT
) -> RecordStore:
    """Open, and on first use create, the store that `url` names.

    Args:
        url: For example ``memory://`` or ``sqlite:///path/fleet.db``.
        clock: For receipts and logs; the system's by default.
        telemetry: Where the driver emits.
    Raises:
        InvalidInput: No driver is installed for the URL's scheme, or the URL is malformed.
        Unavailable: The store cannot be reached or created.
        CorruptRecord: What lies there is not a federlib store of a format this version reads,
            or it is a copy that was never finished.
    """
    scheme = url_scheme(url)
    found = entry_points(group=ENTRY_POINTS)
    if scheme not in found.names:
        known = ", ".join(f"{name}://" for name in sorted(found.names))
        raise InvalidInput("store URL", expected=f"one of {known}", found=_show(url))
    opener = cast("Opener", found[scheme].load())
    store = await opener(url, clock or SystemClock(), telemetry)
    try:
        await refuse_unfinished(store, where=f"store {_show(url)}")
    except BaseException:
        with anyio.CancelScope(shield=True):
            await store.aclose()
        raise
    return store


def redact_url(url: str) -> str:
    """Return `url` without password and query: what may stand in a log or a report.

    Where it cannot be told what is a password, for example because it holds an unescaped
    `/` or `#`, everything behind the scheme goes.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or _MARKS & set(scheme):
        return _HIDDEN if _MARKS & set(url) else url
    host, path, tail = _split(rest)
    is_plain_path = not host and scheme.lower() in _FILE_SCHEMES
    if "@" in path + tail and ":" in rest.rpartition("@")[0] and not is_plain_path:
        return f"{scheme}://{_HIDDEN}"
    who, at, where = host.rpartition("@")
    user, colon, _ = who.partition(":")
    return f"{scheme}://{user}{':' + _HIDDEN if colon else ''}{at}{where}{path}"


def store_place(url: str) -> str:
    """Name where a store is, without secrets: a file by its whole path, a server's by its part.

    The same from whichever directory a process was started.
    """
    redacted = redact_url(url)
    scheme, _, rest = redacted.partition("://")
    if scheme.lower() not in _FILE_SCHEMES or not rest.startswith("/"):
        return redacted + _inner_place(scheme.lower(), rest, url)
    return f"{scheme}:///{os.path.abspath(rest[1:])}"  # noqa: PTH100 (links are not followed)


def _inner_place(scheme: str, rest: str, url: str) -> str:
    """Return the option that parts the stores of one server, unless it says the default."""
    option = _INNER_PLACES.get(scheme)
    if option is None or rest == _HIDDEN:
        return ""
    found = [part for part in url.partition("?")[2].split("&") if part.startswith(f"{option[0]}=")]
    return f"?{found[0]}" if found and found[0] != f"{option[0]}={option[1]}" else ""


def _split(rest: str) -> tuple[str, str, str]:
    """Cut what follows `://` into host, path and the rest (query and fragment)."""
    ends = [rest.index(mark) for mark in "?#" if mark in rest]
    head = rest[: min(ends, default=len(rest))]
    host, slash, path = head.partition("/")
    return host, slash + path, rest[len(head) :]


def url_scheme(url: object) -> str:
    """Return the scheme of a URL in lower case; "" for what is none."""
    # Not `urlsplit`: it raises on some URLs, with the password in its message.
    return url.partition("://")[0].lower() if isinstance(url, str) and "://" in url else ""


def _show(url: object) -> object:
    return redact_url(url) if isinstance(url, str) else type(url)
