"""From a URL to an open store, through the entry points `federlib.stores`.

A third party's driver is reached like ours: its entry point names an async callable
``open_store(url: str, clock: Clock, telemetry: Telemetry) -> RecordStore``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from federlib.errors import InvalidInput
from federlib.skewclock import Clock, SystemClock
from federlib.storage.protocol import RecordStore
from federlib.telemetry import SILENT, Telemetry

__all__ = ["ENTRY_POINTS", "Opener", "open_store", "redact_url"]

ENTRY_POINTS = "federlib.stores"
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
        CorruptRecord: What lies there is not a federlib store of a format this version reads.
    """
    scheme = urlsplit(url).scheme if isinstance(url, str) else ""
    found = entry_points(group=ENTRY_POINTS)
    if scheme not in found.names:
        known = ", ".join(f"{name}://" for name in sorted(found.names))
        raise InvalidInput(
            "store URL", expected=f"one of {known}", found=redact_url(url) if scheme else url
        )
    opener = cast("Opener", found[scheme].load())
    return await opener(url, clock or SystemClock(), telemetry)


def redact_url(url: str) -> str:
    """Return `url` without password and query: what may stand in a log or a report."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")
    user = host[0].partition(":")[0]
    netloc = f"{user}:***@{host[2]}" if ":" in host[0] else parts.netloc
    return urlunsplit((parts.scheme, netloc, parts.path, "", "")) if parts.netloc or not (
        parts.scheme
    ) else f"{parts.scheme}://{parts.path}"
