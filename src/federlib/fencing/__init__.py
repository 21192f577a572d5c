"""Fencing: effects of a leader that was followed are refused, by number.

    guard = fed.guard("accounts")
    await guard.transaction(lease.token, (Put("accounts/7", value),))

    command = await fed.commands.issue("scale", {"n": 3}, gate=seat)
    await fed.commands.consume("coordinator", apply)      # in the process that acts

For a resource outside the store, keep the highest token beside it and let the resource
compare: ``UPDATE accounts SET …, fence = :token WHERE id = :id AND fence <= :token``, and
take "no row" for "stale".

Does not promise: that an effect outside the store happens once. A consumer that dies while
it acts leaves `started` without an outcome; `reconcile` decides, never a second call.
Hazards: an effect that does not carry its token is not fenced; `recover` must not run
beside a living consumer of the same scope.
"""

from __future__ import annotations

from federlib.fencing.commands import Commands
from federlib.fencing.consumer import Actuation, CommandConsumer, CommandHandler
from federlib.fencing.guard import FenceGuard
from federlib.fencing.outcomes import CommandRecord, OutcomeLog
from federlib.fencing.records import Command, CommandStatus, Outcome, Started

__all__ = [
    "Actuation",
    "Command",
    "CommandConsumer",
    "CommandHandler",
    "CommandRecord",
    "CommandStatus",
    "Commands",
    "FenceGuard",
    "Outcome",
    "OutcomeLog",
    "Started",
]
