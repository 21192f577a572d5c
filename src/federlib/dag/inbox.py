"""What the leader of a run decides on, and what it decides: values between core and shell."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal

import attrs

from federlib.dag.handover import Handout
from federlib.dag.records import (
    AskRecord,
    AssignRecord,
    DoneRecord,
    Finish,
    ResultBatch,
    RunOutcome,
)
from federlib.dag.runstate import Life
from federlib.dag.transitions import LogBatch

__all__ = ["Draft", "Inbox", "WorkerView"]


@attrs.frozen
class WorkerView:
    """A worker as the leader sees it.

    Attributes:
        incarnation: Of its identity.
        slots: Its credit: how many claims it may have at once; at most `MAX_SLOTS` count.
        state: `live` by its lease; `dead`; or `unknown` until first inspected, when it
            gets no new claims and loses none.
        token: Of its lease; with the incarnation it names one life.
    """

    incarnation: int
    slots: int
    state: Literal["live", "dead", "unknown"]
    token: int = 1


@attrs.define
class Inbox:
    """What has come in and is not yet settled.

    Attributes:
        dones: Finishes, by key of their record.
        asks: Requests, by key of their record.
        workers: By worker id.
        beside: The worker in the leader's own process, if there is one: no record is
            written or read between the two.
        finishes: What that worker says, under the present epoch.
    """

    dones: dict[str, DoneRecord] = attrs.field(factory=dict)
    asks: dict[str, AskRecord] = attrs.field(factory=dict)
    workers: dict[str, WorkerView] = attrs.field(factory=dict)
    beside: Life | None = None
    finishes: deque[Finish] = attrs.field(factory=deque)


@attrs.frozen
class Draft:
    """One append and what goes with it.

    Attributes:
        batch: The log record.
        results: For `result/<seq>`, or None.
        settled: Keys of `done` and `ask` records to delete.
        assigns: New claims by worker id.
        outcome: The run's state if the batch ends, cancels or resumes it, else None.
        handout: What the worker beside the leader is told, once this is in the log.
    """

    batch: LogBatch
    results: ResultBatch | None
    settled: tuple[str, ...]
    assigns: Mapping[str, AssignRecord]
    outcome: RunOutcome | None
    handout: AssignRecord | Handout | None = None
