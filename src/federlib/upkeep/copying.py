"""Copy a store into an empty one: all that is known, but nobody at work.

Source: design §4 (`federlib store copy OLD NEW`); decision 0011.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell: transaction ids)
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Literal

import attrs

from federlib._prefixes import DAG_PREFIX, FENCE_PREFIX, LEASE_PREFIX, REGISTRY_PREFIX
from federlib.errors import Conflict, InvalidInput
from federlib.lease.backends.mirror import read_moment
from federlib.lease.judge import claim_of_lease, is_live
from federlib.lease.moving import floor_above, move_lease, put_floor
from federlib.lease.records import MAX_TOKEN, is_waiter_key
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.storage import Record, RecordStore
from federlib.storage.filling import fill_store
from federlib.storage.snapshot import Snapshot, take_snapshot
from federlib.upkeep.native import note_native_leases, raise_native_floor

__all__ = ["Copied", "OnStep", "copy_store", "fill_from"]

OnStep = Callable[[Literal["read", "written"], int], object]
"""Told now and then how many records were read, and then written; on the event loop."""

_MERGES = (DAG_PREFIX, FENCE_PREFIX, LEASE_PREFIX, REGISTRY_PREFIX)
"""Nobody reads a history from the order of these records."""

_SHOWN = 3


@attrs.frozen(kw_only=True)
class Copied:
    """What was copied.

    Attributes:
        source_id: Of the store that it came from.
        store_id: Of the new store.
        revision: Of the old store, at which all of it was read.
        records: How many records the new store has, its own `meta/store` left aside.
        freed: How many leases were held in the old store, and are free in the new one.
        waiters: How many waiters were left behind.
        floor: Every token that the new store grants is higher.
    """

    source_id: str
    store_id: str
    revision: int
    records: int
    freed: int
    waiters: int
    floor: int


@attrs.define
class _Leases:
    """What the leases of a snapshot come to."""

    token: int = 0
    freed: int = 0
    waiters: int = 0
    live: list[str] = attrs.field(factory=list)


async def copy_store(
    old: RecordStore,
    new: RecordStore,
    *,
    live: bool = False,
    floor: int = 0,
    clock: Clock | None = None,
    tolerance: SkewTolerance | None = None,
    on_step: OnStep = lambda _step, _records: None,
) -> Copied:
    """Copy every record of a store into an empty one, as they were at one revision.

    Leases are free in the copy and nobody waits, because no holder renews there. The floor
    of the copy lies 2^20 above every token of the old store, so that a resource that
    compares tokens prefers the holders of the copy, until the old store has granted that
    many more. High-water marks, commands and runs are copied as they are.

    Args:
        old: Nothing is written to it.
        new: Empty; it keeps its own id. Until all is there, a mark in it says so, and it
            is refused when it is opened by URL.
        live: Copy although somebody holds a lease in the old store. Whoever goes on there
            and whoever begins here then both believe to hold it.
        floor: Raise the floor of the new store at least to this.
        clock: The system's by default.
        tolerance: For judging leases of other machines; `OPAL_CLOCK_SKEW_TOLERANCE_SECS`,
            or 3 seconds, by default.
        on_step: Told of the progress.
    Raises:
        Conflict: The new store is not empty, or somebody else writes to it; or somebody
            holds a lease in the old one.
        CorruptRecord: A lease cannot be read, so that no floor is certainly above it; or
            the old store is itself an unfinished copy.
        InvalidInput: The floor is no token, or both are the same store.
        Unavailable, OutcomeUnknown: A store is away.
    """
    if old.store_id == new.store_id:
        raise InvalidInput("new", expected="another store", found=f"store {new.store_id}")
    clock = clock or SystemClock()
    read = partial(on_step, "read")
    async with take_snapshot(old, on_progress=read) as snapshot:
        native = await note_native_leases(snapshot, old, clock)
        leases = await _survey(snapshot, clock, tolerance or SkewTolerance.from_env())
        leases.freed += native.freed
        leases.waiters += native.waiters
        leases.live += native.live
        if leases.live and not live:
            raise _at_work(old, leases.live)
        return await _fill(snapshot, new, leases, floor=floor, clock=clock, on_step=on_step)


async def fill_from(
    snapshot: Snapshot, new: RecordStore, *, floor: int, clock: Clock, on_step: OnStep
) -> Copied:
    """Fill an empty store from a snapshot, whoever held leases in it."""
    leases = await _survey(snapshot, clock, SkewTolerance())
    return await _fill(snapshot, new, leases, floor=floor, clock=clock, on_step=on_step)


async def _fill(
    snapshot: Snapshot,
    new: RecordStore,
    leases: _Leases,
    *,
    floor: int,
    clock: Clock,
    on_step: OnStep,
) -> Copied:
    # `type`, because True is an int too.
    if type(floor) is not int or not 0 <= floor < MAX_TOKEN:
        raise InvalidInput("floor", expected=f"0 to {MAX_TOKEN - 1}", found=floor)
    floor = max(floor, floor_above(leases.token))
    await raise_native_floor(new, floor, clock)
    async with aclosing(_moved(snapshot, clock.wall_ns())) as records:
        written = await fill_store(
            new,
            records,
            origin=f"store {snapshot.store_id} at revision {snapshot.revision}",
            first=put_floor(floor),
            merges=_MERGES,
            ids=lambda: f"copy.{secrets.token_hex(12)}",
            on_progress=partial(on_step, "written"),
        )
    return Copied(
        source_id=snapshot.store_id,
        store_id=new.store_id,
        revision=snapshot.revision,
        records=written,
        freed=leases.freed,
        waiters=leases.waiters,
        floor=floor,
    )


async def _survey(snapshot: Snapshot, clock: Clock, tolerance: SkewTolerance) -> _Leases:
    leases, now = _Leases(), read_moment(clock)
    async with aclosing(snapshot.by_key(LEASE_PREFIX)) as chunks:
        async for chunk in chunks:
            for record in chunk:
                moved = move_lease(record, now_ns=now.wall_ns)
                leases.token = max(leases.token, moved.token)
                leases.waiters += is_waiter_key(record.key)
                if moved.lease is None:
                    continue
                leases.freed += 1
                claim = claim_of_lease(moved.lease, seen_boot_ns=now.boot_ns)
                if is_live(claim, now, tolerance):
                    leases.live.append(f"{moved.lease.name!r} by {moved.lease.holder_id}")
    return leases


async def _moved(snapshot: Snapshot, now_ns: int) -> AsyncGenerator[list[Record], None]:
    async with aclosing(snapshot.by_revision()) as chunks:
        async for chunk in chunks:
            yield [moved for record in chunk if (moved := _move(record, now_ns)) is not None]


def _move(record: Record, now_ns: int) -> Record | None:
    if not record.key.startswith(LEASE_PREFIX):
        return record
    value = move_lease(record, now_ns=now_ns).value
    return None if value is None else Record(record.key, value, record.revision, record.created)


def _at_work(old: RecordStore, live: list[str]) -> Conflict:
    shown = ", ".join(live[:_SHOWN]) + (f", and {len(live) - _SHOWN} more" if live[_SHOWN:] else "")
    return Conflict(
        f"store {old.store_id}",
        expected="nobody at work on it",
        actual=f"held leases: {shown}",
        hint="stop them, or wait until the leases run out; or copy it live: whoever goes on "
        "there, and whoever begins on the copy, then both believe to hold them",
    )
