"""`FenceGuard`, `Commands` and `OutcomeLog`, verb by verb.

Source: design §5, fencing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import anyio
import anyio.to_thread

from federlib import fencing
from federlib.blocking._caller import Caller
from federlib.blocking._loop import Loop
from federlib.fencing import (
    Actuation,
    ActuationStatus,
    Command,
    CommandFilter,
    Entry,
    LogEvent,
    Outcome,
    Seat,
)
from federlib.storage import Check, Committed, Conflicted, Write

__all__ = ["CommandHandler", "Commands", "FenceGuard", "OutcomeLog"]

_S = TypeVar("_S")

CommandHandler = Callable[[Command], ActuationStatus | Actuation]
"""Acts on a command, or finds out what became of one; a plain function, called in a thread."""


class FenceGuard:
    """Guards one resource by a durable high-water mark of fencing tokens.

    The verbs, arguments and errors of `federlib.fencing.FenceGuard`.
    """

    def __init__(self, guard: fencing.FenceGuard, caller: Caller) -> None:
        """Wrap a guard whose store answers in the calling thread."""
        self._guard = guard
        self._caller = caller

    @property
    def resource(self) -> str:
        """The name of what is guarded."""
        return self._guard.resource

    def high_water(self) -> int:
        """Read the highest token accepted so far; 0 before any."""
        return self._caller.call(self._guard.high_water)

    def admit(self, token: int) -> None:
        """Raise the mark to `token`, so that every lower one is refused from now on."""
        self._caller.call(self._guard.admit, token)

    def transaction(
        self,
        token: int,
        writes: Sequence[Write],
        checks: Sequence[Check] = (),
        id: str | None = None,  # noqa: A002 (the name it has in Transaction)
    ) -> Committed | Conflicted:
        """Commit `writes`, if `token` is not below the mark at that instant."""
        return self._caller.call(self._guard.transaction, token, writes, checks, id)


class OutcomeLog:
    """The commands of a store and their outcomes, read only.

    The verbs, arguments and errors of `federlib.fencing.OutcomeLog`.
    """

    def __init__(self, log: fencing.OutcomeLog, caller: Caller) -> None:
        """Wrap a log whose store answers in the calling thread."""
        self._log = log
        self._caller = caller

    def outcome(self, command_id: str, *, scope: str | None = None) -> Outcome | None:
        """Read the outcome of a command; None where it has none yet, or is not known."""
        return self._caller.call(self._log.outcome, command_id, scope=scope)

    def find(self, command_id: str, *, scope: str | None = None) -> Entry | None:
        """Read one command, at one revision; None where it is not known."""
        return self._caller.call(self._log.find, command_id, scope=scope)

    def commands(
        self,
        *,
        scope: str | None = None,
        action: str | None = None,
        decision_id: str | None = None,
        dag_id: str | None = None,
        dag_node: str | None = None,
        causal_id: str | None = None,
        epoch: int | None = None,
        status: str | None = None,
    ) -> Iterator[Entry]:
        """Read the commands that match, in order of scope and id; drawn ids sort by time."""
        found = self._log.commands(
            scope=scope,
            action=action,
            decision_id=decision_id,
            dag_id=dag_id,
            dag_node=dag_node,
            causal_id=causal_id,
            epoch=epoch,
            status=status,
        )
        return self._caller.iterate(found)

    def counts(self, *, scope: str | None = None) -> dict[str, int]:
        """Count outcomes by status."""
        return self._caller.call(self._log.counts, scope=scope)

    def replay(
        self, fold: Callable[[_S, LogEvent], _S], initial: _S, *, scope: str | None = None
    ) -> _S:
        """Fold the log, in the order in which everything happened."""
        return self._caller.call(self._log.replay, fold, initial, scope=scope)

    def audit(self, wanted: CommandFilter | None = None) -> tuple[LogEvent, ...]:
        """Read everything that happened to the commands that match, in order."""
        return self._caller.call(self._log.audit, wanted)


class Commands:
    """Commands with durable outcomes.

    The verbs, arguments and errors of `federlib.fencing.Commands`.

    Attributes:
        log: Reads all commands and their outcomes.
    """

    def __init__(self, commands: fencing.Commands, *, caller: Caller, loop: Loop) -> None:
        """Wrap commands whose store answers in the calling thread; `loop` runs consumers."""
        self.log: OutcomeLog = OutcomeLog(commands.log, caller)
        self._commands = commands
        self._caller = caller
        self._loop = loop

    def issue(
        self,
        action: str,
        payload: object = None,
        *,
        gate: Seat,
        command_id: str | None = None,
        deadline_s: float | None = None,
        decision_id: str | None = None,
        dag_id: str | None = None,
        dag_node: str | None = None,
        causal_id: str | None = None,
        traceparent: str | None = None,
    ) -> Command | Outcome:
        """Issue a command if we lead; a refusal is recorded and comes back as an `Outcome`."""
        return self._caller.call(
            self._commands.issue,
            action,
            payload,
            gate=gate,
            command_id=command_id,
            deadline_s=deadline_s,
            decision_id=decision_id,
            dag_id=dag_id,
            dag_node=dag_node,
            causal_id=causal_id,
            traceparent=traceparent,
        )

    def consume(
        self, scope: str, handler: CommandHandler, *, reconcile: CommandHandler | None = None
    ) -> None:
        """Act on the commands of an election until the federation is closed.

        Closing from another thread ends it with `Unavailable`, Ctrl-C as usual; a handler
        that runs is waited for.

        Args:
            scope: The election.
            handler: Acts on one command; called in a thread, one at a time.
            reconcile: Finds out what became of a command whose handler was cut short.
        """
        settle = None if reconcile is None else _threaded(reconcile)
        self._loop.run(
            lambda fed: fed.commands.consume(scope, _threaded(handler), reconcile=settle)
        )

    def outcome(self, command: Command, *, wait_s: float = 0.0) -> Outcome | None:
        """Return what became of a command, waiting for it up to `wait_s` seconds."""
        return self._caller.call(self._commands.outcome, command, wait_s=wait_s)

    def counts(self) -> dict[str, int]:
        """Count outcomes by status."""
        return self._caller.call(self._commands.counts)


def _threaded(handler: CommandHandler) -> fencing.Handler:
    async def act(command: Command) -> ActuationStatus | Actuation:
        limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(handler, command, limiter=limiter)

    return act
