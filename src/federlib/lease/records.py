"""What a lease looks like in a store, and where.

    lease/<name>/lease            the lease, or 'free' with the token kept
    lease/<name>/queue            says that somebody may be waiting
    lease/<name>/wait/<holder>    one waiter
    lease/~floor                  every grant on an absent name starts above it

Decoding is strict: whatever is torn, foreign or newer raises `CorruptRecord` and is left
as it is.

Where nobody waits, one who has just released a lease may take it again without reading the
queue: only it must be sure that nobody stands there. So whoever stands in line writes
`queue`, and it goes with the grant that leaves the line empty, or is collected later.

Source: design §4, lease.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from federlib._json import RecordReader
from federlib._prefixes import LEASE_PREFIX
from federlib.errors import CorruptRecord, InvalidInput
from federlib.lease.protocol import Holder, Lease
from federlib.storage.keys import segment

__all__ = [
    "FLOOR_KEY",
    "LEASE_PREFIX",
    "MAX_TOKEN",
    "FloorRecord",
    "LeaseRecord",
    "QueueRecord",
    "WaiterRecord",
    "decode_floor",
    "decode_lease",
    "decode_queue",
    "decode_waiter",
    "encode",
    "is_queue_key",
    "is_waiter_key",
    "lease_key",
    "name_prefix",
    "queue_key",
    "waiter_key",
]

FLOOR_KEY = f"{LEASE_PREFIX}~floor"
MAX_TOKEN = 2**63 - 1
"""Tokens are int64, so that every resource can keep one."""

FORMAT = 1
_MAX_HOLDER_BYTES = 240

Token = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKEN)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1)]
Instant = Annotated[int, msgspec.Meta(ge=0)]


class LeaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The one record of a name.

    Attributes:
        v: Schema version.
        name: The leased name, readable.
        fencing_token: The highest token ever granted on this name.
        lease: As granted or last renewed; None when the name is free.
        freed_at_ns: When it was released; Unix nanoseconds, None while it is leased.
    """

    v: int = FORMAT
    name: str
    fencing_token: Token
    lease: Lease | None
    freed_at_ns: Instant | None


class WaiterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One place in the queue; the record's `created` revision says which.

    Attributes:
        v: Schema version.
        name: The lease that is waited for.
        holder_id: Who waits.
        session: Which of its claims.
        wait_ttl_ms: How long the place outlives its last refresh; milliseconds.
        clock_id: The boot clock that `renewed_boot_ns` was read from.
        renewed_boot_ns: The waiter's boot clock at the last refresh.
        expires_at_ns: Last refresh + wait ttl; Unix nanoseconds.
    """

    v: int = FORMAT
    name: str
    holder_id: str
    session: str
    wait_ttl_ms: Milliseconds
    clock_id: str
    renewed_boot_ns: int
    expires_at_ns: int


class QueueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Written by everybody who takes a place in the queue; its revision says when.

    Attributes:
        v: Schema version.
        name: The lease that is waited for.
    """

    v: int = FORMAT
    name: str


class FloorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """No token at or below this one is granted again, on any name.

    Attributes:
        v: Schema version.
        fencing_token: The floor.
    """

    v: int = FORMAT
    fencing_token: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKEN)]


_leases = RecordReader(LeaseRecord, FORMAT)
_waiters = RecordReader(WaiterRecord, FORMAT)
_queues = RecordReader(QueueRecord, FORMAT)
_floors = RecordReader(FloorRecord, FORMAT)


def name_prefix(name: str) -> str:
    """Return the prefix under which all of a name's records lie.

    Raises:
        InvalidInput: The name is empty, too long, or has a control character.
    """
    return LEASE_PREFIX + segment(name, field="name") + "/"


def lease_key(name: str) -> str:
    """Return the key of the lease record of `name`."""
    return name_prefix(name) + "lease"


def queue_key(name: str) -> str:
    """Return the key of what says that somebody may be waiting for `name`."""
    return name_prefix(name) + "queue"


def waiter_key(name: str, holder: Holder) -> str:
    """Return the key of one waiter; distinct for distinct holders and sessions.

    Raises:
        InvalidInput: Name, holder id or session cannot be part of a key.
    """
    # Dots of the holder id are escaped: the first dot left over is the separator, so that
    # ("a.b", "c") and ("a", "b.c") are two waiters.
    who = segment(holder.holder_id, field="holder_id").replace(".", "%2E")
    key = f"{who}.{segment(holder.session, field='session')}"
    if len(key.encode()) > _MAX_HOLDER_BYTES:
        raise InvalidInput("holder", expected=f"at most {_MAX_HOLDER_BYTES} bytes", found=key)
    return f"{name_prefix(name)}wait/{key}"


def is_waiter_key(key: str) -> bool:
    """Say whether a key below `lease/` is that of a waiter."""
    parts = key.split("/")
    return len(parts) == 4 and parts[2] == "wait"


def is_queue_key(key: str) -> bool:
    """Say whether a key below `lease/` is that of a name's `queue`."""
    return key.count("/") == 2 and key.endswith("/queue")


def encode(record: LeaseRecord | WaiterRecord | QueueRecord | FloorRecord) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.encode(record)


def decode_lease(key: str, value: bytes) -> LeaseRecord:
    """Read a lease record.

    Raises:
        CorruptRecord: Not a lease record of this format, or one that contradicts itself.
    """
    record = _leases.read(key, value)
    held = record.lease
    if (held is None) == (record.freed_at_ns is None):
        raise CorruptRecord(key, expected="either a lease or freed_at_ns", found=value)
    if held is None:
        return record
    if held.fencing_token != record.fencing_token or held.name != record.name:
        raise CorruptRecord(
            key, expected="lease.name and lease.fencing_token as in the record", found=value
        )
    if held.ttl_ms < 1:
        raise CorruptRecord(key, expected="lease.ttl_ms of at least 1", found=held.ttl_ms)
    return record


def decode_waiter(key: str, value: bytes) -> WaiterRecord:
    """Read a waiter.

    Raises:
        CorruptRecord: Not a waiter of this format.
    """
    return _waiters.read(key, value)


def decode_queue(key: str, value: bytes) -> QueueRecord:
    """Read what says that somebody may be waiting.

    Raises:
        CorruptRecord: Not such a record of this format.
    """
    return _queues.read(key, value)


def decode_floor(value: bytes) -> FloorRecord:
    """Read the floor.

    Raises:
        CorruptRecord: Not a floor of this format.
    """
    return _floors.read(FLOOR_KEY, value)
