"""What a member looks like in a store, and where: `registry/<worker_id>`.

Decoding is strict: whatever is torn, foreign, contradicts itself or is newer raises
`CorruptRecord` and is left as it is.

Source: A2.2 §2.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import msgspec

from federlib._json import RecordReader
from federlib._prefixes import REGISTRY_PREFIX
from federlib.errors import CorruptRecord, InvalidInput
from federlib.identity import WorkerIdentity
from federlib.storage.keys import check_text

__all__ = [
    "MAX_LABELS",
    "MAX_LABEL_BYTES",
    "MAX_RECORD_BYTES",
    "MAX_SLOTS",
    "REGISTRY_PREFIX",
    "MemberRecord",
    "check_kind",
    "check_labels",
    "check_load",
    "check_slots",
    "decode_member",
    "encode_member",
    "host_prefix",
    "member_key",
]

MAX_RECORD_BYTES = 64 * 1024
"""No member of ours comes near this; a larger record is foreign and is not even read."""

MAX_LABELS = 32
MAX_LABEL_BYTES = 256
MAX_SLOTS = 1_000_000

FORMAT = 1
_MAX_INT = 2**63 - 1

_Instant = Annotated[int, msgspec.Meta(ge=0, le=_MAX_INT)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=_MAX_INT)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_LABEL_BYTES)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_BYTES)]


class MemberRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's last heartbeat; there is one record a worker.

    Attributes:
        v: Schema version.
        worker_id: Who it is, across restarts.
        host_id: Its host; the first part of `worker_id`.
        incarnation: Which life of the identity; an older one never overwrites a newer.
        session: Tells two processes apart that claim the same life of the same identity.
        kind: What it does, for example ``worker``.
        labels: What it says of itself, for queries.
        slots: How much it can do at once.
        load: How much of that it does now.
        pid: Its process id, on its host.
        hostname: Its host's name, for people.
        version: Its release of federlib.
        started_at_ns: When it joined; Unix nanoseconds by its own wall clock.
        last_seen: When it sent this heartbeat; Unix nanoseconds by its own wall clock.
        clock_id: The boot clock that `boot_ns` was read from.
        boot_ns: Its boot clock at this heartbeat.
        ttl_ms: How long it counts as live without another heartbeat; milliseconds.
        left_at_ns: When it said goodbye; Unix nanoseconds, None while it has not.
    """

    v: int = FORMAT
    worker_id: str
    host_id: str
    incarnation: _Count
    session: _Name
    kind: _Name
    labels: Annotated[dict[_Name, _Text], msgspec.Meta(max_length=MAX_LABELS)]
    slots: Annotated[int, msgspec.Meta(ge=0, le=MAX_SLOTS)]
    load: Annotated[float, msgspec.Meta(ge=0)]
    pid: _Count
    hostname: _Text
    version: _Text
    started_at_ns: _Instant
    last_seen: _Instant
    clock_id: _Text
    boot_ns: _Instant
    ttl_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
    left_at_ns: _Instant | None = None


_members = RecordReader(MemberRecord, FORMAT)


def member_key(worker_id: str) -> str:
    """Return the key of a worker's record.

    Raises:
        InvalidInput: Not a worker id.
    """
    return f"{REGISTRY_PREFIX}{WorkerIdentity.parse(worker_id)}"


def host_prefix(host_id: str) -> str:
    """Return the prefix of all workers of a host.

    Raises:
        InvalidInput: Not a host id.
    """
    return f"{REGISTRY_PREFIX}{WorkerIdentity(host_id, 0).host_id}:"


def encode_member(record: MemberRecord) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.encode(record)


def decode_member(key: str, value: bytes) -> MemberRecord:
    """Read a member.

    Raises:
        CorruptRecord: Not a member of this format, or one that contradicts itself or its key.
    """
    if len(value) > MAX_RECORD_BYTES:
        raise CorruptRecord(key, expected=f"at most {MAX_RECORD_BYTES} bytes", found=value)
    record = _members.read(key, value)
    try:
        host_id = WorkerIdentity.parse(record.worker_id).host_id
    except InvalidInput as error:
        raise CorruptRecord(key, expected=error.expected, found=record.worker_id) from error
    if record.host_id != host_id:
        raise CorruptRecord(key, expected=f"host_id {host_id}", found=record.host_id)
    if key != f"{REGISTRY_PREFIX}{record.worker_id}":
        raise CorruptRecord(key, expected="the worker of its key", found=record.worker_id)
    return record


def check_kind(kind: str) -> str:
    """Return `kind` if a member can be of it: 1 to 256 bytes of plain text.

    Raises:
        InvalidInput: It cannot.
    """
    return _check_name("kind", kind)


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `labels` if a member can carry them.

    Raises:
        InvalidInput: More than 32, or one that is no plain text of at most 256 bytes.
    """
    if not isinstance(labels, Mapping):
        raise InvalidInput("labels", expected="a mapping of text to text", found=labels)
    if len(labels) > MAX_LABELS:
        raise InvalidInput("labels", expected=f"at most {MAX_LABELS}", found=len(labels))
    for name, value in labels.items():
        _check_name("name of a label", name)
        _check_size(f"label {name}", value)
    return dict(labels)


def check_slots(slots: int) -> int:
    """Return `slots` if it is an integer from 0 to 1,000,000.

    Raises:
        InvalidInput: It is not.
    """
    # `type`, because True is an int too.
    if type(slots) is not int or not 0 <= slots <= MAX_SLOTS:
        raise InvalidInput("slots", expected=f"an integer from 0 to {MAX_SLOTS}", found=slots)
    return slots


def check_load(load: float) -> float:
    """Return `load` if it is a finite number from 0.

    Raises:
        InvalidInput: It is not.
    """
    # NaN compares false with everything, and so is refused here.
    if type(load) not in {int, float} or not 0 <= load < math.inf:
        raise InvalidInput("load", expected="a finite number from 0", found=load)
    return float(load)


def _check_name(field: str, text: str) -> str:
    if not _check_size(field, text):
        raise InvalidInput(field, expected="at least one character", found=text)
    return text


def _check_size(field: str, text: str) -> str:
    if len(check_text(field, text).encode()) > MAX_LABEL_BYTES:
        raise InvalidInput(field, expected=f"at most {MAX_LABEL_BYTES} bytes", found=text)
    return text
