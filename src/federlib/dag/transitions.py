"""What can happen to a run: the entries of its log.

Source: design §5, dag; HA plan §4 (node states, claim contract).
"""

from __future__ import annotations

import msgspec

from federlib.dag.records import RunOutcome, Versioned
from federlib.skewclock import StoredHlc

__all__ = [
    "MAX_TRANSITIONS",
    "Adopted",
    "Cancelled",
    "Claimed",
    "Ended",
    "Epoch",
    "Failed",
    "LogBatch",
    "Lost",
    "RareTransition",
    "Refused",
    "Resumed",
    "Retried",
    "Revoked",
    "Succeeded",
    "Transition",
]


MAX_TRANSITIONS = 1_024
"""In one log record; design §5."""


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


# Two come with each task; the others seldom.
RareTransition = (
    Epoch | Failed | Lost | Revoked | Adopted | Refused | Retried | Cancelled | Resumed | Ended
)
Transition = Claimed | Succeeded | RareTransition


class LogBatch(Versioned, frozen=True, kw_only=True):
    """One append: transitions in order, by one leader.

    Attributes:
        epoch: The leader's epoch.
        at_ns: Its wall clock; for people and for retry times, never for safety.
        workers: The lives that `Claimed` transitions point to:
            `(worker_id, incarnation, lease token)`.
        t: The transitions.
        hlc: When, by the leader's hybrid logical clock; None without one.
    """

    epoch: int
    at_ns: int
    t: tuple[Transition, ...]
    workers: tuple[tuple[str, int, int], ...] = ()
    hlc: StoredHlc | None = None
