"""What leases say to etcd's gateway beyond what the store does."""

from __future__ import annotations

import msgspec

from federlib.storage.backends.etcd._wire import Header, JsonObject, reader

__all__ = [
    "GRANT",
    "KEEP_ALIVE",
    "LeaseAnswer",
    "created_after",
    "put_for",
    "read_granted",
    "read_kept",
    "read_line",
]

GRANT = "/v3/lease/grant"
KEEP_ALIVE = "/v3/lease/keepalive"


class LeaseAnswer(msgspec.Struct, frozen=True, rename={"id": "ID", "ttl": "TTL"}):
    """Of a grant or a keep-alive. A ttl of 0, left out by the gateway: there is none."""

    header: Header = Header()
    id: int = 0
    ttl: int = 0


class _KeptLine(msgspec.Struct, frozen=True):
    result: LeaseAnswer


_granted = reader(LeaseAnswer)
_kept = reader(_KeptLine)


def read_granted(body: bytes) -> LeaseAnswer:
    """Read the answer of a grant."""
    answer = _granted(body)
    if not answer.id or not answer.ttl:
        raise msgspec.ValidationError("no lease in the answer")
    return answer


def read_kept(body: bytes) -> LeaseAnswer:
    """Read the answer of a keep-alive, a stream of one message."""
    return _kept(body).result


def put_for(key: bytes, value: bytes, lease_id: int) -> JsonObject:
    """Put a key that goes when the lease does, in a transaction."""
    return {"request_put": {"key": key, "value": value, "lease": lease_id}}


def read_line(key: bytes, end: bytes, *, limit: int) -> JsonObject:
    """Read the keys of a range, the one that was created first in front."""
    asked: JsonObject = {
        "key": key,
        "range_end": end,
        "keys_only": True,
        "limit": limit,
        "sort_order": "ASCEND",
        "sort_target": "CREATE",
    }
    return {"request_range": asked}


def created_after(key: bytes, end: bytes, revision: int) -> JsonObject:
    """Compare: each key of the range was created after that revision, and there is one."""
    return {
        "key": key,
        "range_end": end,
        "target": "CREATE",
        "result": "GREATER",
        "create_revision": revision,
    }
