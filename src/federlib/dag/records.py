"""What a run keeps in the store, and where.

    dag/<run>/run               RunRecord: what was submitted, and how it ended
    dag/<run>/plan/<n>          PlanChunk: the tasks, with their parents as node numbers
    dag/<run>/epoch             EpochRecord: changes only at takeover; every append and every
                                finish checks it, so that an old leader fails by token
    dag/<run>/log/<seq>         LogBatch: up to 1,024 transitions, the only truth about states
    dag/<run>/snap/<seq>/<n>    SnapshotPart: arrays; and dag/<run>/snap-head names the newest
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

from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage import Record, segment

__all__ = [
    "MAX_FINISHES",
    "MAX_RESULT_BYTES",
    "MAX_SLOTS",
    "MAX_TRANSITIONS",
    "NO_RESULT",
    "Adopted",
    "AskRecord",
    "AssignRecord",
    "Cancelled",
    "Claim",
    "Claimed",
    "DoneRecord",
    "Ended",
    "Epoch",
    "EpochRecord",
    "EpochSpan",
    "Failed",
    "Finish",
    "LogBatch",
    "Lost",
    "PlanChunk",
    "PlanTask",
    "ProgressRecord",
    "Refused",
    "ResultBatch",
    "Resumed",
    "Retried",
    "Revoked",
    "RunKeys",
    "RunOutcome",
    "RunRecord",
    "SnapshotHead",
    "SnapshotPart",
    "Succeeded",
    "Transition",
    "WorkerRecord",
    "decode",
    "encode",
]

MAX_TRANSITIONS = 1_024
"""In one log record; design §5."""

MAX_RESULT_BYTES = 64 * 1024
"""Of JSON, that a task hands to its children."""

MAX_FINISHES = 256
"""In one `done` record."""

MAX_SLOTS = 1_000
"""How many claims a worker may have at once."""

NO_RESULT = msgspec.Raw(b"null")
"""What a task hands on that returns nothing."""

RunOutcome = Literal["running", "success", "failed", "cancelled"]


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    v: int = 1


class PlanTask(msgspec.Struct, frozen=True, array_like=True):
    """One task of a plan: its id, its parents as node numbers, and the rest as given."""

    id: str
    parents: tuple[int, ...]
    spec: msgspec.Raw


class PlanChunk(_Versioned, frozen=True, kw_only=True):
    """Consecutive tasks of a plan, at most 256 KiB."""

    first: int
    tasks: tuple[PlanTask, ...]


class RunRecord(_Versioned, frozen=True, kw_only=True):
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


class EpochRecord(_Versioned, frozen=True, kw_only=True):
    """Who leads the run: the fencing token of the leader's lease, and its holder."""

    epoch: int
    leader: str


class WorkerRecord(_Versioned, frozen=True, kw_only=True):
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


class AssignRecord(_Versioned, frozen=True, kw_only=True):
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
        return bytes(self.result) != b"null"


class DoneRecord(_Versioned, frozen=True, kw_only=True):
    """Finishes of one life of a worker under one epoch, at most `MAX_FINISHES`."""

    worker_id: str
    incarnation: int
    token: int
    epoch: int
    finishes: tuple[Finish, ...]


class ResultBatch(_Versioned, frozen=True, kw_only=True):
    """Results by node number, as JSON."""

    results: dict[int, msgspec.Raw]


class AskRecord(_Versioned, frozen=True, kw_only=True):
    """A request to whoever leads the run."""

    verb: Literal["cancel", "resume"]
    by: str
    at_ns: int
    retry_failed: bool = False


class ProgressRecord(_Versioned, frozen=True, kw_only=True):
    """Where the run stands, for people; never used to decide."""

    epoch: int
    leader: str
    at_ns: int
    counts: dict[str, int]
    attempts: int
    refused: int
    workers: int
    started_ns: int


class Epoch(msgspec.Struct, frozen=True, array_like=True, tag="E"):
    """A leader took over. `last_act_ns`: the last durable act seen of the one before."""

    epoch: int
    leader: str
    last_act_ns: int


class Claimed(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A node was given to a worker; `worker` indexes the batch's table of workers."""

    node: int
    attempt: int
    worker: int


class Succeeded(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A finish was accepted after `ms`. `result`: 1 if `result/<this seq>` holds its result."""

    node: int
    attempt: int
    result: int = 0
    ms: int = 0


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="x"):
    """A failure was accepted; tried again at `retry_ns` (wall clock), or never if None."""

    node: int
    attempt: int
    reason: str
    retry_ns: int | None


class Lost(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """The claim's worker is gone; tried again at `retry_ns`, or never if None."""

    node: int
    attempt: int
    reason: str
    retry_ns: int | None


class Revoked(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    """A claim was taken back because somebody cancelled the run; no fault of the task."""

    node: int
    attempt: int


class Adopted(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """A running claim goes on under this batch's epoch."""

    node: int
    attempt: int
    from_epoch: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A finish did not equal the present claim: nothing changed but the count."""

    node: int
    attempt: int
    epoch: int
    reason: str


class Retried(msgspec.Struct, frozen=True, array_like=True, tag="y"):
    """A failed node is tried again because somebody resumed the run so."""

    node: int


class Cancelled(msgspec.Struct, frozen=True, array_like=True, tag="C"):
    """The run was cancelled; its running claims are revoked."""

    by: str


class Resumed(msgspec.Struct, frozen=True, array_like=True, tag="R"):
    """The run goes on."""

    by: str


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="Z"):
    """Nothing is left to do."""

    state: RunOutcome


Transition = (
    Epoch
    | Claimed
    | Succeeded
    | Failed
    | Lost
    | Revoked
    | Adopted
    | Refused
    | Retried
    | Cancelled
    | Resumed
    | Ended
)


class LogBatch(_Versioned, frozen=True, kw_only=True):
    """One append: transitions in order, by one leader.

    Attributes:
        epoch: The leader's epoch.
        at_ns: Its wall clock; for people and for retry times, never for safety.
        workers: The lives that `Claimed` transitions point to:
            `(worker_id, incarnation, lease token)`.
        t: The transitions.
    """

    epoch: int
    at_ns: int
    t: tuple[Transition, ...]
    workers: tuple[tuple[str, int, int], ...] = ()


class EpochSpan(msgspec.Struct, frozen=True, array_like=True):
    """The reign of one epoch, as the log shows it; instants are Unix nanoseconds."""

    epoch: int
    leader: str
    first_ns: int
    last_ns: int
    last_act_ns: int


class SnapshotPart(_Versioned, frozen=True, kw_only=True):
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


class SnapshotHead(_Versioned, frozen=True, kw_only=True):
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


_T = TypeVar("_T", bound=_Versioned)
_encoder = msgspec.json.Encoder()


def encode(record: _Versioned) -> bytes:
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


class RunKeys:
    """The keys of one run.

    Raises:
        InvalidInput: The run id is empty, longer than 96 bytes, or not plain text.
    """

    def __init__(self, run_id: str) -> None:
        if not isinstance(run_id, str):
            raise InvalidInput("run_id", expected="text", found=run_id)
        self.run_id = run_id
        self.root = f"dag/{segment(run_id, field='run_id', max_bytes=96)}/"
        self.run = self.root + "run"
        self.epoch = self.root + "epoch"
        self.progress = self.root + "progress"
        self.snap_head = self.root + "snap-head"
        self.logs = self.root + "log/"
        self.plans = self.root + "plan/"
        self.workers = self.root + "worker/"
        self.dones = self.root + "done/"
        self.asks = self.root + "ask/"
        self.results = self.root + "result/"
        self.lease = f"dag/{run_id}/leader"

    def log(self, seq: int) -> str:
        """Key of log record `seq`."""
        return f"{self.logs}{seq:012d}"

    def plan(self, chunk: int) -> str:
        """Key of plan chunk `chunk`."""
        return f"{self.plans}{chunk:06d}"

    def result(self, seq: int) -> str:
        """Key of the results accepted by log record `seq`."""
        return f"{self.results}{seq:012d}"

    def snap(self, seq: int, part: int) -> str:
        """Key of one part of the snapshot at `seq`."""
        return f"{self.root}snap/{seq:012d}/{part:04d}"

    def worker(self, worker_id: str) -> str:
        """Key of a worker's record."""
        return self.workers + segment(worker_id, field="worker_id")

    def worker_lease(self, worker_id: str, incarnation: int) -> str:
        """Name of the lease that says this life of a worker goes on."""
        return f"dag/{self.run_id}/worker/{worker_id}.{incarnation}"

    def assign(self, worker_id: str) -> str:
        """Key of a worker's claims."""
        return f"{self.root}assign/{segment(worker_id, field='worker_id')}"

    def done(self, worker_id: str, incarnation: int, token: int, number: int) -> str:
        """Key of a worker's finishes.

        Tokens start again with each incarnation, whose lease has another name, so it takes
        both to keep two lives of a worker apart.
        """
        life = f"{incarnation:08d}.{token:012d}"
        return f"{self.done_by(worker_id)}{life}-{number:08d}"

    def done_by(self, worker_id: str) -> str:
        """Prefix of all finishes of a worker."""
        return f"{self.dones}{segment(worker_id, field='worker_id')}/"

    def ask(self, token: str) -> str:
        """Key of a request."""
        return self.asks + segment(token, field="ask")
