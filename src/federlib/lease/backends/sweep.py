"""The token floor, and the removal of names that nobody uses.

A name may be forgotten only together with a promise: the floor. Every grant on an absent
name starts above it, so a token never comes twice.

Source: design §4, token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import attrs

from federlib.errors import CorruptRecord, InvalidInput
from federlib.lease.backends.transactions import as_seen
from federlib.lease.records import (
    FLOOR_KEY,
    LEASE_PREFIX,
    MAX_TOKEN,
    FloorRecord,
    decode_floor,
    decode_lease,
    decode_queue,
    decode_waiter,
    encode,
    is_queue_key,
    is_waiter_key,
)
from federlib.storage.protocol import (
    AtRevision,
    Check,
    Committed,
    Delete,
    Put,
    Record,
    RecordStore,
    Transaction,
    Write,
)
from federlib.storage.scanning import scan_all
from federlib.telemetry import Telemetry

__all__ = ["KEEP_FREE_S", "Floor", "collect_free", "raise_floor", "read_floor"]

KEEP_FREE_S = 86_400
"""How long a free name is kept; seconds."""

_NS = 1_000_000_000
_BATCH = 60


@attrs.frozen
class Floor:
    """The floor as it was read.

    Attributes:
        record: None where no floor was ever written.
        token: No grant is at or below it; 0 for none.
    """

    record: Record | None
    token: int


@attrs.frozen
class _Litter:
    record: Record
    token: int


async def read_floor(store: RecordStore) -> Floor:
    """Read the floor.

    Raises:
        CorruptRecord: It cannot be read.
    """
    record = await store.get(FLOOR_KEY)
    return Floor(record, 0 if record is None else decode_floor(record.value).fencing_token)


async def raise_floor(store: RecordStore, token: int, ids: Callable[[], str]) -> None:
    """Raise the floor to at least `token`; it never falls.

    Raises:
        InvalidInput: Not an int64 of 0 or more.
    """
    if type(token) is not int or not 0 <= token <= MAX_TOKEN:
        raise InvalidInput("token", expected=f"0 to {MAX_TOKEN}", found=token)
    while True:
        floor = await read_floor(store)
        if floor.token >= token:
            return
        put, check = _lift(floor, token)
        if isinstance(await store.commit(Transaction((put,), (check,), ids())), Committed):
            return


async def collect_free(
    store: RecordStore, now_ns: int, ids: Callable[[], str], telemetry: Telemetry
) -> int:
    """Remove names free for `KEEP_FREE_S`, and waiters expired for as long.

    A name that changed meanwhile is left for the next time.
    """
    limit_ns = now_ns - KEEP_FREE_S * _NS
    litter = [found async for found in _find_litter(store, limit_ns, telemetry)]
    removed = 0
    for start in range(0, len(litter), _BATCH):
        batch = litter[start : start + _BATCH]
        names = sum(1 for found in batch if found.token)
        if await _remove(store, batch, ids()):
            removed += names
    if removed:
        telemetry.log("info", "lease_names_collected", names=removed)
    return removed


async def _remove(store: RecordStore, batch: list[_Litter], transaction_id: str) -> bool:
    floor = await read_floor(store)
    highest = max(found.token for found in batch)
    checks: list[Check] = [AtRevision(f.record.key, f.record.revision) for f in batch]
    writes: list[Write] = [Delete(found.record.key) for found in batch]
    if highest > floor.token:
        put, check = _lift(floor, highest)
        writes.append(put)
        checks.append(check)
    done = await store.commit(Transaction(tuple(writes), tuple(checks), transaction_id))
    return isinstance(done, Committed)


def _lift(floor: Floor, token: int) -> tuple[Put, Check]:
    value = encode(FloorRecord(fencing_token=token))
    return Put(FLOOR_KEY, value), as_seen(FLOOR_KEY, floor.record)


async def _find_litter(
    store: RecordStore, limit_ns: int, telemetry: Telemetry
) -> AsyncIterator[_Litter]:
    queue: Record | None = None
    async for record in scan_all(store, LEASE_PREFIX):
        # A name's waiters lie right behind its queue, which is litter where there are none.
        # Whoever comes now writes it anew, so that it is no longer what is removed.
        if queue is not None and not is_waiter_key(record.key):
            yield _Litter(queue, 0)
        queue = None
        try:
            found = _as_litter(record, limit_ns)
        except CorruptRecord as error:
            # One bad record must not keep all others for ever; nor is it removed.
            telemetry.log("warning", "lease_record_corrupt", error=str(error))
            continue
        if is_queue_key(record.key):
            queue = record
        elif found is not None:
            yield found
    if queue is not None:
        yield _Litter(queue, 0)


def _as_litter(record: Record, limit_ns: int) -> _Litter | None:
    """Say whether a record is litter by itself; a queue never is."""
    if record.key == FLOOR_KEY:
        return None
    if is_queue_key(record.key):
        decode_queue(record.key, record.value)
        return None
    if is_waiter_key(record.key):
        waiter = decode_waiter(record.key, record.value)
        return _Litter(record, 0) if waiter.expires_at_ns <= limit_ns else None
    lease = decode_lease(record.key, record.value)
    if lease.freed_at_ns is None or lease.freed_at_ns > limit_ns:
        return None
    return _Litter(record, lease.fencing_token)
