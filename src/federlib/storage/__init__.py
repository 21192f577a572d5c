"""Storage: one small protocol, and drivers reached by URL.

    store = await open_store("sqlite:///fleet.db")
    match await store.commit(Transaction((Put("jobs/1", b"{}"),), (Absent("jobs/1"),))):
        case Committed(revision): ...
        case Conflicted(failed): ...

Does not promise: expiry of records, range checks, or a snapshot over several pages.
Hazards: a driver is as durable as the disk under it; `Capabilities` says what it claims.
"""

from __future__ import annotations

from federlib.storage.examining import ClockOffset, Examined, Examiner, Finding, find_examiner
from federlib.storage.keys import check_key, segment, unsegment
from federlib.storage.protocol import (
    META_KEY,
    Absent,
    AtRevision,
    Batch,
    Capabilities,
    Check,
    Checkable,
    Committed,
    Conflicted,
    Delete,
    Event,
    Mismatch,
    NativeLeases,
    NotSeen,
    Page,
    Progress,
    Put,
    Record,
    RecordStore,
    Resync,
    ServerClock,
    StoreMeta,
    StoreProblem,
    Subscription,
    Transaction,
    WatchItem,
    Write,
)
from federlib.storage.urls import open_store, redact_url

__all__ = [
    "META_KEY",
    "Absent",
    "AtRevision",
    "Batch",
    "Capabilities",
    "Check",
    "Checkable",
    "ClockOffset",
    "Committed",
    "Conflicted",
    "Delete",
    "Event",
    "Examined",
    "Examiner",
    "Finding",
    "Mismatch",
    "NativeLeases",
    "NotSeen",
    "Page",
    "Progress",
    "Put",
    "Record",
    "RecordStore",
    "Resync",
    "ServerClock",
    "StoreMeta",
    "StoreProblem",
    "Subscription",
    "Transaction",
    "WatchItem",
    "Write",
    "check_key",
    "find_examiner",
    "open_store",
    "redact_url",
    "segment",
    "unsegment",
]
