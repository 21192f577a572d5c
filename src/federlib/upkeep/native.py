"""Leases that an engine keeps beside its records: what a copy or an export must know of them."""

from __future__ import annotations

import attrs

from federlib.lease import LeaseBackend
from federlib.lease.records import FLOOR_KEY, FloorRecord, encode
from federlib.lease.urls import leases_on
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage import NativeLeases, Record, RecordStore
from federlib.storage.snapshot import Snapshot

__all__ = ["NativeLeasesSeen", "note_native_leases", "raise_native_floor"]


@attrs.frozen
class NativeLeasesSeen:
    """What was found.

    Attributes:
        freed: How many leases were held.
        waiters: How many waited.
        live: Who holds what, in words.
    """

    freed: int = 0
    waiters: int = 0
    live: tuple[str, ...] = ()


async def note_native_leases(
    snapshot: Snapshot, store: RecordStore, clock: Clock
) -> NativeLeasesSeen:
    """Add to a snapshot, as the floor, the highest token that the store's engine has granted.

    Without effect where leases are records, which the snapshot has already.

    Raises:
        Unavailable: The engine is away.
    """
    if not isinstance(store, NativeLeases):
        return NativeLeasesSeen()
    backend = await leases_on(store, clock, SkewTolerance())
    try:
        return await _note(snapshot, backend)
    finally:
        await backend.aclose()


async def _note(snapshot: Snapshot, backend: LeaseBackend) -> NativeLeasesSeen:
    highest, freed, waiters, live = await backend.floor(), 0, 0, []
    for name in await backend.names():
        state = await backend.inspect(name)
        highest = max(highest, state.fencing_token)
        waiters += len(state.waiters)
        if state.lease is not None:
            freed += 1
            if state.is_live:
                live.append(f"{name!r} by {state.lease.holder_id}")
    if highest:
        floor = encode(FloorRecord(fencing_token=highest))
        # Newer than a floor that lies among the records since this store was itself filled.
        revision = snapshot.revision + 1
        await snapshot.add([Record(FLOOR_KEY, floor, revision, revision)])
    return NativeLeasesSeen(freed, waiters, tuple(live))


async def raise_native_floor(store: RecordStore, token: int, clock: Clock) -> None:
    """Raise the floor of the leases that a store's engine grants itself, if it does."""
    if not isinstance(store, NativeLeases):
        return
    backend = await leases_on(store, clock, SkewTolerance())
    try:
        await backend.raise_floor(token)
    finally:
        await backend.aclose()
