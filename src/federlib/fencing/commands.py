"""`Commands`: issue, consume and read commands. The member `commands` of a federation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

import anyio
import msgspec

from federlib.errors import Fenced, InvalidInput, OutcomeUnknown, StaleToken, Unavailable
from federlib.fencing.consumer import CommandConsumer, CommandHandler, settle
from federlib.fencing.guard import FenceGuard
from federlib.fencing.outcomes import CommandRecord, OutcomeLog
from federlib.fencing.records import (
    MAX_PAYLOAD_BYTES,
    Command,
    CommandKeys,
    CommandStatus,
    Outcome,
    decode,
    encode,
)
from federlib.skewclock import Clock
from federlib.storage import Absent, Conflicted, Put, RecordStore
from federlib.telemetry import SILENT, Telemetry

__all__ = ["Commands", "Seat"]

_POLL_S = 0.2


class Seat(Protocol):
    """What can say that we lead: an election's seat."""

    @property
    def name(self) -> str:
        """The election."""
        ...

    def check(self) -> int:
        """Return our epoch, or raise `Fenced`."""
        ...


class Commands:
    """Commands on one store.

    Args:
        store: Where they are.
        issuer: Tells who we are.
        clock: For instants and deadlines.
        new_id: Draws a fresh, sortable id.
        telemetry: Where outcomes are told.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        issuer: Callable[[], Awaitable[str]],
        clock: Clock,
        new_id: Callable[[], str],
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._clock = clock
        self._new_id = new_id
        self._telemetry = telemetry
        self.log = OutcomeLog(store)

    async def issue(
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
        trace_id: str | None = None,
    ) -> Command | Outcome:
        """Issue a command, if we lead; a refusal is recorded and comes back as an `Outcome`.

        The commit that makes it durable also raises the fence of the election to our epoch:
        a leader that was followed cannot issue, whatever its own clock says.

        Args:
            action: What to do, for example `scale`.
            payload: What JSON can hold, at most 64 KiB of it.
            gate: Says whether we lead.
            command_id: To repeat a call safely: the same command under the same id is
                issued once, another one is refused as `rejected_duplicate`.
            deadline_s: It must not be applied later than this from now; seconds.
            decision_id: The decision it follows from.
            dag_id: The run it belongs to.
            dag_node: The task it belongs to.
            causal_id: The hypothesis it rests on.
            trace_id: W3C `traceparent` or any id of a trace.
        Raises:
            InvalidInput: An argument cannot be right; nothing is recorded.
        """
        now_ns = self._clock.wall_ns()
        try:
            epoch, refusal = gate.check(), ""
        except Fenced as fenced:
            epoch, refusal = 0, str(fenced)
        command = Command(
            command_id=self._new_id() if command_id is None else command_id,
            scope=gate.name,
            action=_check_action(action),
            payload=_encode_payload(payload),
            leader_epoch=epoch,
            issuer=await self._issuer(),
            issued_at_ns=now_ns,
            deadline_ns=None if deadline_s is None else now_ns + round(_seconds(deadline_s) * 1e9),
            decision_id=decision_id,
            dag_id=dag_id,
            dag_node=dag_node,
            causal_id=causal_id,
            trace_id=trace_id,
        )
        if epoch < 1:
            return await self._refuse(command, "rejected_not_leader", refusal)
        return await self._issue(command)

    async def _issue(self, command: Command) -> Command | Outcome:
        key = CommandKeys(command.scope, command.command_id).issued
        guard = FenceGuard(self._store, command.scope)
        while True:
            try:
                made = await guard.transaction(
                    command.leader_epoch, (Put(key, encode(command)),), (Absent(key),)
                )
            except StaleToken as stale:
                return await self._refuse(command, "rejected_stale_epoch", stale.reason)
            except OutcomeUnknown:
                continue  # The check 'absent' makes a second try safe.
            if not isinstance(made, Conflicted):
                return command
            stored = await self._store.get(key)
            if stored is None:
                continue
            found = decode(Command, stored)
            if _same(found, command):
                return found
            return Outcome(
                command_id=command.command_id,
                status="rejected_duplicate",
                epoch=command.leader_epoch,
                consumer=command.issuer,
                at_ns=command.issued_at_ns,
                reason="another command has this id",
            )

    async def _refuse(self, command: Command, status: CommandStatus, reason: str) -> Outcome:
        return await settle(
            self._store,
            command,
            status,
            reason,
            consumer=command.issuer,
            now_ns=self._clock.wall_ns(),
            telemetry=self._telemetry,
        )

    async def consume(
        self, scope: str, handler: CommandHandler, *, reconcile: CommandHandler | None = None
    ) -> None:
        """Consume the commands of an election until cancelled; see `CommandConsumer`."""
        who = await self._issuer()
        extra = {} if reconcile is None else {"reconcile": reconcile}
        consumer = CommandConsumer(
            self._store,
            scope,
            handler,
            consumer_id=who,
            clock=self._clock,
            telemetry=self._telemetry,
            **extra,
        )
        await consumer.run()

    async def outcome(self, command: Command, *, wait_s: float = 0.0) -> Outcome | None:
        """Return what became of a command, waiting for it up to `wait_s` seconds."""
        key = CommandKeys(command.scope, command.command_id).outcome
        with anyio.move_on_after(wait_s):
            while True:
                try:
                    stored = await self._store.get(key)
                except Unavailable:
                    stored = None
                if stored is not None:
                    return decode(Outcome, stored)
                await anyio.sleep(min(_POLL_S, wait_s / 10))
        stored = await self._store.get(key)
        return decode(Outcome, stored) if stored is not None else None

    async def counts(self) -> dict[str, int]:
        """Count outcomes by status."""
        return await self.log.counts()

    async def list(
        self, *, scope: str | None = None, status: str | None = None
    ) -> AsyncGenerator[CommandRecord, None]:
        """Yield commands with what became of them; see `OutcomeLog.commands`."""
        async with aclosing(self.log.commands(scope=scope, status=status)) as records:
            async for record in records:
                yield record


def _check_action(action: str) -> str:
    if type(action) is not str or not 1 <= len(action) <= 200 or not action.isprintable():
        raise InvalidInput("action", expected="1 to 200 printable characters", found=action)
    return action


def _encode_payload(payload: object) -> msgspec.Raw:
    try:
        encoded = msgspec.json.encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput("payload", expected=f"what JSON can hold ({error})", found=payload) from error
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise InvalidInput(
            "payload", expected=f"at most {MAX_PAYLOAD_BYTES} bytes of JSON", found=len(encoded)
        )
    return msgspec.Raw(encoded)


def _seconds(deadline_s: float) -> float:
    # NaN compares false with everything, and so is refused here.
    if not 0 < deadline_s <= 1e9:
        raise InvalidInput("deadline_s", expected="more than 0, at most 1e9 seconds", found=deadline_s)
    return deadline_s


def _same(one: Command, other: Command) -> bool:
    """Say whether both ask for the same, whenever they were issued."""
    facts = ("action", "payload", "decision_id", "dag_id", "dag_node", "causal_id")
    return all(getattr(one, name) == getattr(other, name) for name in facts)
