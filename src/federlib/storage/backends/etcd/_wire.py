"""What goes to etcd's JSON gateway and what comes back.

The gateway leaves out whatever is zero, false or empty, writes 64-bit integers as text, and
bytes in base64: msgspec does all three.

Source: etcd's API, `rpc.proto` and `kv.proto`, v3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec

__all__ = [
    "AUTHENTICATE",
    "COMPACT",
    "RANGE",
    "TXN",
    "WATCH",
    "AuthAnswer",
    "Header",
    "JsonObject",
    "KeyValue",
    "RangeAnswer",
    "TxnAnswer",
    "WatchEvent",
    "WatchLine",
    "WatchResult",
    "created_at",
    "delete",
    "encode",
    "modified_at",
    "put",
    "range_request",
    "read",
    "read_auth",
    "read_range",
    "read_watch",
    "reader",
    "txn",
    "txn_reader",
    "value_is",
    "watch",
]

RANGE = "/v3/kv/range"
TXN = "/v3/kv/txn"
COMPACT = "/v3/kv/compaction"
WATCH = "/v3/watch"
AUTHENTICATE = "/v3/auth/authenticate"

JsonObject = dict[str, object]
Revision = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Token = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+\Z")]
"""What fits into a header of HTTP."""

_T = TypeVar("_T")


class Header(msgspec.Struct, frozen=True, gc=False):
    """Of every answer; `revision` is the cluster's."""

    cluster_id: int = 0
    member_id: int = 0
    revision: Revision = 0
    raft_term: int = 0


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """One key as it is, or was at a revision; of a deleted one only key and mod_revision."""

    key: bytes = b""
    value: bytes = b""
    create_revision: Revision = 0
    mod_revision: Revision = 0
    version: int = 0
    lease: int = 0


class RangeAnswer(msgspec.Struct, frozen=True):
    """What lies in a range; `count` is of all of it, `kvs` may be fewer."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0

    def __post_init__(self) -> None:
        if self.more and not self.kvs:
            raise ValueError("more keys behind none")


class OpAnswer(msgspec.Struct, frozen=True):
    """Of one operation of a transaction; what puts and deletes say is not of interest."""

    response_range: RangeAnswer = RangeAnswer()


class TxnAnswer(msgspec.Struct, frozen=True):
    """Which branch was taken, and the answers of its operations, in order."""

    header: Header = Header()
    succeeded: bool = False
    responses: tuple[OpAnswer, ...] = ()


class AuthAnswer(msgspec.Struct, frozen=True):
    """The token of a user."""

    token: Token


class WatchEvent(msgspec.Struct, frozen=True):
    """One change of one key."""

    kv: KeyValue
    type: str = "PUT"


class WatchResult(msgspec.Struct, frozen=True):
    """One message of a watch."""

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: tuple[WatchEvent, ...] = ()


class StreamError(msgspec.Struct, frozen=True):
    """Why a stream ended; older and newer gateways call the code differently."""

    grpc_code: int = 0
    code: int = 0
    message: str = ""


class WatchLine(msgspec.Struct, frozen=True):
    """One line of a watch: a message, or why there are no more."""

    result: WatchResult | None = None
    error: StreamError | None = None


encode = msgspec.json.Encoder().encode


def reader(kind: type[_T]) -> Callable[[bytes], _T]:
    """Return what reads JSON of that kind; it raises `msgspec.DecodeError` and nothing else."""
    # Not strict: integers come as text.
    decoder = msgspec.json.Decoder(kind, strict=False)

    def read_one(body: bytes) -> _T:
        try:
            return decoder.decode(body)
        except RecursionError:
            raise msgspec.DecodeError("JSON is nested too deeply") from None

    return read_one


read_range = reader(RangeAnswer)
_read_txn = reader(TxnAnswer)
read_auth = reader(AuthAnswer)
read_watch = reader(WatchLine)


def txn_reader(*, success: int, failure: int) -> Callable[[bytes], TxnAnswer]:
    """Return what reads the answer of a transaction of so many operations in each branch.

    It raises `msgspec.ValidationError` where the answer cannot be etcd's.
    """

    def decode(body: bytes) -> TxnAnswer:
        answer = _read_txn(body)
        expected = success if answer.succeeded else failure
        if len(answer.responses) != expected or not answer.header.revision:
            raise msgspec.ValidationError(
                f"{len(answer.responses)} of {expected} answers at revision "
                f"{answer.header.revision}"
            )
        return answer

    return decode


def range_request(
    key: bytes,
    end: bytes | None = None,
    *,
    limit: int = 0,
    keys_only: bool = False,
    count_only: bool = False,
    revision: int = 0,
    oldest_first: bool = False,
) -> JsonObject:
    """Ask for one key, or for those from `key` to before `end`; linearizable.

    Args:
        key: The key, or where the range starts.
        end: The first key that is not in it.
        limit: At most so many; 0 for all.
        keys_only: Leave the values out.
        count_only: Leave everything out but their number.
        revision: As it was then; 0 for now.
        oldest_first: In order of their last change; otherwise of their keys.
    """
    asked: JsonObject = {"key": key}
    if end is not None:
        asked["range_end"] = end
    if limit:
        asked["limit"] = limit
    if keys_only:
        asked["keys_only"] = True
    if count_only:
        asked["count_only"] = True
    if revision:
        asked["revision"] = revision
    if oldest_first:
        asked["sort_order"], asked["sort_target"] = "ASCEND", "MOD"
    return asked


def read(
    key: bytes,
    end: bytes | None = None,
    *,
    limit: int = 0,
    keys_only: bool = False,
) -> JsonObject:
    """Read in a transaction; see `range_request`."""
    return {"request_range": range_request(key, end, limit=limit, keys_only=keys_only)}


def put(key: bytes, value: bytes) -> JsonObject:
    """Put one key, in a transaction."""
    return {"request_put": {"key": key, "value": value}}


def delete(key: bytes) -> JsonObject:
    """Delete one key, in a transaction; absent or not."""
    return {"request_delete_range": {"key": key}}


def modified_at(key: bytes, mod_revision: int) -> JsonObject:
    """Compare: the key was last written at that revision; 0 means that it is absent."""
    return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": mod_revision}


def created_at(key: bytes, create_revision: int, end: bytes | None = None) -> JsonObject:
    """Compare: the key was created at that revision; 0 means that it is absent.

    With `end` all keys of a range are compared, and 0 means that it is empty.
    """
    compare: JsonObject = {
        "key": key,
        "target": "CREATE",
        "result": "EQUAL",
        "create_revision": create_revision,
    }
    if end is not None:
        compare["range_end"] = end
    return compare


def value_is(key: bytes, value: bytes) -> JsonObject:
    """Compare: the key exists and has that value."""
    return {"key": key, "target": "VALUE", "result": "EQUAL", "value": value}


def txn(
    compare: Sequence[JsonObject], success: Sequence[JsonObject], failure: Sequence[JsonObject]
) -> bytes:
    """Put a transaction together: `success` if every comparison holds, else `failure`."""
    return encode({"compare": compare, "success": success, "failure": failure})


def watch(key: bytes, end: bytes, *, start_revision: int) -> bytes:
    """Ask for all changes of a range from a revision on; long messages come in pieces."""
    return encode(
        {
            "create_request": {
                "key": key,
                "range_end": end,
                "start_revision": start_revision,
                "progress_notify": True,
                "fragment": True,
            }
        }
    )
