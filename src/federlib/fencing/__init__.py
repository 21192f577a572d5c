"""Fencing: only the present epoch's commands are accepted, each at most once.

    guard = FenceGuard(store, "nightly-report")
    await guard.transaction(lease.token, (Put("report/latest", data),))  # or StaleToken

    consumer = CommandConsumer(store, "coordinator", scale, consumer_id=me, clock=clock)
    await issue(store, "coordinator", "scale", {"n": 3}, epoch=epoch, issuer=me, clock=clock)
    await consumer.run()  # `scale(command)` returns "applied" or "noop"

A resource outside the store keeps the mark itself, and compares in the same statement as
the effect::

    UPDATE report SET body = :body, fence = :token WHERE id = :id AND fence <= :token

No row changed: the token is stale; stop.

A `CommandGate` may judge each command before it is issued; `federlib.causal` has one.

Does not promise: that an effect outside the store happens exactly once. It promises that
the handler is called at most once for a command, that each command gets one recorded
outcome, and that nothing is accepted under an epoch below one accepted before.

Hazards: a handler that does not pass `command.leader_epoch` on lets an effect land late,
after a newer epoch has begun. Two live consumers with one `consumer_id` take each other's
unfinished commands for their own. A deadline is judged by the consumer's wall clock. The
log of commands is kept for good; nothing removes old ones yet.
"""

from __future__ import annotations

from federlib.fencing.audit import LogEvent, read_event, violations
from federlib.fencing.commands import Commands, Seat
from federlib.fencing.consumer import (
    Actuation,
    ActuationStatus,
    CommandConsumer,
    Handler,
    Reconcile,
)
from federlib.fencing.decide import decide_command, decide_token
from federlib.fencing.guard import FenceGuard
from federlib.fencing.issue import issue
from federlib.fencing.journal import COMMANDS
from federlib.fencing.outcomes import CommandFilter, Entry, OutcomeLog
from federlib.fencing.records import (
    Command,
    CommandStatus,
    FenceMark,
    Outcome,
    Started,
    is_rejected,
    new_command_id,
)
from federlib.fencing.review import CommandGate, Review

__all__ = [
    "COMMANDS",
    "Actuation",
    "ActuationStatus",
    "Command",
    "CommandConsumer",
    "CommandFilter",
    "CommandGate",
    "CommandStatus",
    "Commands",
    "Entry",
    "FenceGuard",
    "FenceMark",
    "Handler",
    "LogEvent",
    "Outcome",
    "OutcomeLog",
    "Reconcile",
    "Review",
    "Seat",
    "Started",
    "decide_command",
    "decide_token",
    "is_rejected",
    "issue",
    "new_command_id",
    "read_event",
    "violations",
]
