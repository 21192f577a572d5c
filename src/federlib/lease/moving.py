"""What becomes of leases in a copy of their store; pure.

A lease binds its holder to the store that granted it: in a copy nobody renews it. So every
name is free there, its token kept; nobody waits, and all later tokens are higher than any
that the old store had handed out.

Source: design §4, token.
"""

from __future__ import annotations

import attrs
import msgspec

from federlib.lease.protocol import Lease
from federlib.lease.records import (
    FLOOR_KEY,
    MAX_TOKEN,
    FloorRecord,
    decode_floor,
    decode_lease,
    encode,
    is_queue_key,
    is_waiter_key,
)
from federlib.storage.protocol import Put, Record

__all__ = ["HEADROOM", "MovedLease", "floor_above", "move_lease", "put_floor"]

HEADROOM = 2**20
"""How far a copy's floor lies above the old store's tokens: it may still hand out that many."""


@attrs.frozen
class MovedLease:
    """One record below `lease/`, as a copy has it.

    Attributes:
        value: What is written there; None if nothing is.
        token: The token that it knows of; 0 if none.
        lease: The lease that is not carried over; None where none was held.
    """

    value: bytes | None
    token: int = 0
    lease: Lease | None = None


def move_lease(record: Record, *, now_ns: int) -> MovedLease:
    """Say what becomes of a record below `lease/`.

    Args:
        record: As the old store has it.
        now_ns: From when on a lease counts as free; Unix nanoseconds.
    Raises:
        CorruptRecord: Its token cannot be read, so that no floor is certainly above it.
    """
    if record.key == FLOOR_KEY:
        return MovedLease(None, decode_floor(record.value).fencing_token)
    if is_waiter_key(record.key) or is_queue_key(record.key):
        return MovedLease(None)
    found = decode_lease(record.key, record.value)
    if found.lease is None:
        return MovedLease(record.value, found.fencing_token)
    free = msgspec.structs.replace(found, lease=None, freed_at_ns=max(0, now_ns))
    return MovedLease(encode(free), found.fencing_token, found.lease)


def floor_above(token: int) -> int:
    """Return the floor of a copy: `HEADROOM` above the highest token of the old store."""
    return max(token, min(token + HEADROOM, MAX_TOKEN - 1))


def put_floor(token: int) -> Put:
    """Return the write that sets the floor of a new store."""
    return Put(FLOOR_KEY, encode(FloorRecord(fencing_token=token)))
