"""What a run keeps in the store, and where.

    dag/<run>/run               RunRecord: what was submitted, and how it ended
    dag/<run>/plan/<n>          PlanChunk: the tasks, with their parents as node numbers
    dag/<run>/epoch             EpochRecord: changes only at takeover; every append and every
                                finish checks it, so that an old leader fails by token
    dag/<run>/log/<seq>         LogBatch: up to 1,024 transitions, the only truth about states
    dag/<run>/snap/<seq>/<n>    SnapshotPart: arrays; and dag/<run>/snap-head names the newest,
                                which every append checks too, as a log that is cut forgets
    dag/<run>/worker/<worker>   WorkerRecord: its credit, by the worker
    dag/<run>/assign/<worker>   AssignRecord: its present claims, by the leader
    dag/<run>/done/<worker>/<n> DoneRecord: finishes, by the worker
    dag/<run>/result/<seq>      ResultBatch: results accepted by log record <seq>
    dag/<run>/ask/<n>           AskRecord: cancel or resume, by anybody
    dag/<run>/progress          ProgressRecord: a view for people, by the leader

Source: design §5, dag.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from federlib.errors import CorruptRecord
from federlib.skewclock import StoredHlc
from federlib.storage import Record

__all__ = [
    "MAX_FINISHES",
    "MAX_RESULT_BYTES",
    "MAX_SLOTS",
    "NO_RESULT",
    "AskRecord",
    "AssignRecord",
    "Claim",
    "DoneRecord",
    "EpochRecord",
    "EpochSpan",
    "Finish",
    "PlanChunk",
    "PlanTask",
    "ProgressRecord",
    "ResultBatch",
    "RunOutcome",
    "RunRecord",
    "SnapshotHead",
    "SnapshotPart",
    "Versioned",
    "WorkerRecord",
    "decode",
    "encode",
]


MAX_RESULT_BYTES = 64 * 1024
"""Of JSON, that a task hands to its children."""

MAX_FINISHES = 256
"""In one `done` record."""

MAX_SLOTS = 1_000
"""How many claims a worker may have at once."""

NO_RESULT = msgspec.Raw(b"null")
"""What a task hands on that returns nothing."""

RunOutcome = Literal["running", "success", "failed", "cancelled"]


class Versioned(msgspec.Struct, frozen=True, kw_only=True):
    """A stored record; `v` is the version of its shape."""

    v: int = 1


class PlanTask(msgspec.Struct, frozen=True, array_like=True):
    """One task of a plan: its id, its parents as node numbers, and the rest as given."""

    id: str
    parents: tuple[int, ...]
    spec: msgspec.Raw


class PlanChunk(Versioned, frozen=True, kw_only=True):
    """Consecutive tasks of a plan, at most 256 KiB."""

    first: int
    tasks: tuple[PlanTask, ...]


class RunRecord(Versioned, frozen=True, kw_only=True):
    """A run: written once at submission, once more at each end or resumption."""

    run_id: str
    name: str
    plan_hash: str
    chunks: int
    tasks: int
    submitted_ns: int
    on_failover: Literal["adopt", "rerun"] = "adopt"
    max_lost: int = 16
    backoff_s: float = 0.5
    backoff_max_s: float = 60.0
    state: RunOutcome = "running"
    ended_ns: int = 0


class EpochRecord(Versioned, frozen=True, kw_only=True):
    """Who leads the run: the fencing token of the leader's lease, and its holder."""

    epoch: int
    leader: str


class WorkerRecord(Versioned, frozen=True, kw_only=True):
    """A worker and its credit: how many tasks it will take at once."""

    worker_id: str
    incarnation: int
    slots: int
    token: int
    pid: int
    host: str


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """The claim contract of HA plan §4: `(task_id, attempt, leader_epoch)`.

    Attributes:
        node: Number of the task in the plan.
        attempt: From 1.
        epoch: The epoch that the claim counts under; adoption raises it.
        inputs: Which `result/<seq>` records hold results of the parents, ascending.
        scan: True if `inputs` is only the first and the last of many.
    """

    node: int
    attempt: int
    epoch: int
    inputs: tuple[int, ...] = ()
    scan: bool = False


class AssignRecord(Versioned, frozen=True, kw_only=True):
    """All claims that one life of a worker has: what is not here is no longer its own.

    Attributes:
        epoch: Of the leader that wrote it.
        incarnation: Of the worker's identity.
        token: Of the worker's lease. A worker whose lease was lost comes back under the
            same incarnation with empty hands, and must not take the claims of its last life.
        claims: In the order in which they were made.
    """

    epoch: int
    incarnation: int
    token: int
    claims: tuple[Claim, ...]


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of one claim; `ms`: how long the attempt took, in milliseconds."""

    node: int
    attempt: int
    ok: bool
    result: msgspec.Raw = NO_RESULT
    reason: str = ""
    ms: int = 0

    @property
    def has_result(self) -> bool:
        """Whether there is something to hand to the children."""
        return self.result is not NO_RESULT and bytes(self.result) != b"null"


class DoneRecord(Versioned, frozen=True, kw_only=True):
    """Finishes of one life of a worker under one epoch, at most `MAX_FINISHES`."""

    worker_id: str
    incarnation: int
    token: int
    epoch: int
    finishes: tuple[Finish, ...]


class ResultBatch(Versioned, frozen=True, kw_only=True):
    """Results by node number, as JSON."""

    results: dict[int, msgspec.Raw]


class AskRecord(Versioned, frozen=True, kw_only=True):
    """A request to whoever leads the run."""

    verb: Literal["cancel", "resume"]
    by: str
    at_ns: int
    retry_failed: bool = False


class ProgressRecord(Versioned, frozen=True, kw_only=True):
    """Where the run stands, for people; never used to decide."""

    epoch: int
    leader: str
    at_ns: int
    counts: dict[str, int]
    attempts: int
    refused: int
    workers: int
    started_ns: int


class EpochSpan(msgspec.Struct, frozen=True, array_like=True):
    """The reign of one epoch, as the log shows it; instants are Unix nanoseconds."""

    epoch: int
    leader: str
    first_ns: int
    last_ns: int
    last_act_ns: int


class SnapshotPart(Versioned, frozen=True, kw_only=True):
    """A stretch of nodes, of accepted finishes, or of what is open; each part in its limit.

    Arrays are little-endian, base64 in JSON.
    """

    first: int = 0
    states: bytes = b""
    attempts: bytes = b""
    losses: bytes = b""
    forgiven: bytes = b""
    results: bytes = b""
    durations: bytes = b""
    accepted: bytes = b""
    claims: tuple[tuple[int, int, int, str, int, int], ...] = ()
    delayed: tuple[tuple[int, int], ...] = ()
    reasons: dict[int, str] = {}


class SnapshotHead(Versioned, frozen=True, kw_only=True):
    """Names the newest snapshot: the fold of the log up to and including `seq`."""

    seq: int
    parts: int
    transitions: int
    epoch: int
    outcome: RunOutcome
    attempts: int
    refused: int
    adopted: int
    epochs: tuple[EpochSpan, ...]
    hlc: StoredHlc | None = None


_T = TypeVar("_T", bound=Versioned)
_encoder = msgspec.json.Encoder()


def encode(record: Versioned) -> bytes:
    """Turn a record into the JSON that is stored."""
    return _encoder.encode(record)


def decode(kind: type[_T], record: Record) -> _T:
    """Read a stored record.

    Raises:
        CorruptRecord: It is torn, of another shape, or written by a newer federlib.
    """
    try:
        value = msgspec.json.decode(record.value, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # A newer federlib may have given it another shape: say that, not what follows from it.
        _check_version(record, _version_of(record.value))
        raise CorruptRecord(
            record.key, expected=f"a {kind.__name__} ({error})", found=record.value
        ) from error
    _check_version(record, value.v)
    return value


class _VersionOnly(msgspec.Struct):
    v: int = 1


def _version_of(value: bytes) -> int:
    try:
        return msgspec.json.decode(value, type=_VersionOnly).v
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return 1


def _check_version(record: Record, version: int) -> None:
    if version != 1:
        raise CorruptRecord(
            f"{record.key}, field v",
            expected="version 1",
            found=version,
            hint="it was written by a newer federlib; upgrade this one",
        )
