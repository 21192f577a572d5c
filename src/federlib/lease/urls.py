"""From a URL to a lease backend, through the entry points `federlib.leases`.

A third party's backend is reached like ours: its entry point names an async callable
``open_backend(url: str, clock: Clock, tolerance: SkewTolerance, telemetry: Telemetry) ->
LeaseBackend``. A scheme without one leases on the record store of that URL. A store that has
`NativeLeases` names the entry point that is called with the store itself, not with a URL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import cast

from federlib.errors import InvalidInput
from federlib.lease.backends.store import StoreLeaseBackend
from federlib.lease.protocol import LeaseBackend
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.storage import NativeLeases, RecordStore, open_store
from federlib.storage.urls import url_scheme
from federlib.telemetry import SILENT, Telemetry

__all__ = ["ENTRY_POINTS", "Opener", "from_url", "leases_on"]

ENTRY_POINTS = "federlib.leases"
Opener = Callable[[str | RecordStore, Clock, SkewTolerance, Telemetry], Awaitable[LeaseBackend]]


async def from_url(
    url: str,
    *,
    clock: Clock | None = None,
    tolerance: SkewTolerance | None = None,
    telemetry: Telemetry = SILENT,
) -> LeaseBackend:
    """Open the lease backend that `url` names; its `aclose` closes what was opened here.

    Args:
        url: For example ``sqlite:///fleet.db``, or of an engine with leases of its own.
        clock: The system's by default.
        tolerance: `OPAL_CLOCK_SKEW_TOLERANCE_SECS`, or 3 seconds, by default.
        telemetry: Where the backend emits.
    Raises:
        InvalidInput: Nothing is installed for the URL's scheme, or the URL is malformed.
        Unavailable: The engine cannot be reached.
        CorruptRecord: What lies there cannot be trusted.
    Source: design §4, lease.
    """
    clock = clock or SystemClock()
    tolerance = tolerance or SkewTolerance.from_env()
    found = entry_points(group=ENTRY_POINTS)
    scheme = url_scheme(url)
    if scheme in found.names:
        opener = cast("Opener", found[scheme].load())
        return await opener(url, clock, tolerance, telemetry)
    store = await open_store(url, clock=clock, telemetry=telemetry)
    return StoreLeaseBackend(store, clock, tolerance, telemetry, owns_store=True)


async def leases_on(
    store: RecordStore, clock: Clock, tolerance: SkewTolerance, telemetry: Telemetry = SILENT
) -> LeaseBackend:
    """Return the lease backend of an open store: its engine's own, or one on its records.

    Its `aclose` leaves the store open.

    Raises:
        InvalidInput: The store names a backend that is not installed.
        Unavailable: The engine cannot be reached.
    """
    if not isinstance(store, NativeLeases):
        return StoreLeaseBackend(store, clock, tolerance, telemetry)
    found = entry_points(group=ENTRY_POINTS)
    name = store.lease_backend
    if name not in found.names:
        raise InvalidInput("store", expected="an installed lease backend", found=name)
    opener = cast("Opener", found[name].load())
    return await opener(store, clock, tolerance, telemetry)
