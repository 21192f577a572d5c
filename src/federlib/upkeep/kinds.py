"""What a record must be, by its key; pure. The packages' own decoders judge it."""

from __future__ import annotations

from collections.abc import Callable

from federlib._prefixes import (
    CAUSAL_PREFIX,
    COMMAND_PREFIX,
    DAG_PREFIX,
    DECISION_PREFIX,
    FENCE_PREFIX,
    LEASE_PREFIX,
    REGISTRY_PREFIX,
)
from federlib.dag.records import (
    AskRecord,
    AssignRecord,
    DoneRecord,
    EpochRecord,
    PlanChunk,
    ProgressRecord,
    ResultBatch,
    RunRecord,
    SnapshotHead,
    SnapshotPart,
    Versioned,
    WorkerRecord,
    decode,
)
from federlib.dag.transitions import LogBatch
from federlib.errors import CorruptRecord, InvalidInput
from federlib.fencing import read_event
from federlib.fencing.records import decode_mark, fence_key
from federlib.lease import Holder
from federlib.lease.records import (
    FLOOR_KEY,
    decode_floor,
    decode_lease,
    decode_queue,
    decode_waiter,
    is_queue_key,
    is_waiter_key,
    lease_key,
    queue_key,
    waiter_key,
)
from federlib.registry.records import decode_member
from federlib.storage import Record, unsegment

__all__ = ["read_kind"]

_DAG: dict[tuple[str, int], type[Versioned]] = {
    # By the third segment of the key, and how many there are.
    ("run", 3): RunRecord,
    ("epoch", 3): EpochRecord,
    ("progress", 3): ProgressRecord,
    ("snap-head", 3): SnapshotHead,
    ("log", 4): LogBatch,
    ("plan", 4): PlanChunk,
    ("worker", 4): WorkerRecord,
    ("assign", 4): AssignRecord,
    ("result", 4): ResultBatch,
    ("ask", 4): AskRecord,
    ("done", 5): DoneRecord,
    ("snap", 5): SnapshotPart,
}


def read_kind(record: Record) -> str | None:
    """Decode a record as what its key says; return what it is, or None for a foreign one.

    Raises:
        CorruptRecord: It is not what its key says.
    """
    key = record.key
    if key.startswith(LEASE_PREFIX):
        return _read_lease(key, record.value)
    if key.startswith(FENCE_PREFIX):
        resource = unsegment(key.removeprefix(FENCE_PREFIX))
        decode_mark(record, resource)
        _require_key(key, lambda: fence_key(resource))
        return "fence mark"
    if key.startswith(COMMAND_PREFIX):
        return f"command {read_event(record).what}"
    if key.startswith(DECISION_PREFIX):
        # This and the next take long to import, and few stores hold such records.
        from federlib.decisions import read_made

        read_made(key, record.value)
        return "decision"
    if key.startswith(CAUSAL_PREFIX):
        from federlib.causal.keys import decode_causal

        return f"causal {type(decode_causal(record)).__name__.lower()}"
    if key.startswith(REGISTRY_PREFIX):
        decode_member(key, record.value)
        return "member"
    return _read_dag(record) if key.startswith(DAG_PREFIX) else None


def _read_lease(key: str, value: bytes) -> str:
    if key == FLOOR_KEY:
        decode_floor(value)
        return "floor"
    if is_waiter_key(key):
        waiter = decode_waiter(key, value)
        holder = Holder(waiter.holder_id, waiter.session)
        _require_key(key, lambda: waiter_key(waiter.name, holder))
        return "waiter"
    if is_queue_key(key):
        queue = decode_queue(key, value)
        _require_key(key, lambda: queue_key(queue.name))
        return "queue"
    lease = decode_lease(key, value)
    _require_key(key, lambda: lease_key(lease.name))
    return "lease"


def _require_key(key: str, make: Callable[[], str]) -> None:
    """Refuse a record that names something else than its key."""
    try:
        expected = make()
    except InvalidInput as error:
        raise CorruptRecord(key, expected=f"fields of a key ({error})", found=key) from error
    if key != expected:
        raise CorruptRecord(key, expected="fields as in the key", found=expected)


def _read_dag(record: Record) -> str:
    parts = record.key.split("/")
    kind = _DAG.get((parts[2], len(parts))) if len(parts) > 2 else None
    if kind is None:
        raise CorruptRecord(record.key, expected="the key of a run's record", found=record.value)
    decode(kind, record)
    return "run" if kind is RunRecord else f"run {parts[2]}"
