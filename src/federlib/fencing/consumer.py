"""`CommandConsumer`: applies commands, each at most once, and only those of the leader.

Acting happens outside the store, so it is said before (`started`) and settled after
(`outcome`). What was started and never settled is not tried again behind anybody's back:
`reconcile` looks at the world and says what became of it.

Source: HA plan, phase 0 and §2; design §5, fencing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
import attrs
import msgspec

from federlib.errors import (
    Conflict,
    CorruptRecord,
    InvalidInput,
    OutcomeUnknown,
    StaleToken,
    Unavailable,
)
from federlib.fencing.delivery import judge_delivery
from federlib.fencing.guard import FenceGuard
from federlib.fencing.outcomes import OutcomeLog
from federlib.fencing.records import (
    MAX_PAYLOAD_BYTES,
    Command,
    CommandKeys,
    CommandStatus,
    Outcome,
    Started,
    decode,
    encode,
)
from federlib.skewclock import Clock
from federlib.storage import (
    Absent,
    Batch,
    Committed,
    Conflicted,
    Put,
    RecordStore,
    Resync,
    Transaction,
)
from federlib.telemetry import SILENT, Metric, Telemetry

__all__ = ["COMMANDS", "Actuation", "CommandConsumer", "CommandHandler", "settle"]

COMMANDS = Metric(
    "federlib_commands_total", "counter", "Deliveries of commands by outcome.", ("status",)
)

_MAX_DUPLICATES = 16
_MAX_REASON = 500

Acted = Literal["applied", "noop", "actuation_failed"]


@attrs.frozen
class Actuation:
    """What a handler did, with a word of its own."""

    status: Acted
    reason: str = ""


CommandHandler = Callable[[Command], Awaitable[Acted | Actuation]]
"""Does what a command asks: `applied`, or `noop` if the world was so already.

An exception means `actuation_failed`. Hand `command.leader_epoch` to whatever it changes.
"""


async def _unknown(command: Command) -> Acted | Actuation:
    del command
    return Actuation("actuation_failed", "unknown: its consumer died while it acted")


class CommandConsumer:
    """Consumes the commands of one scope.

    Several consumers may share a scope: each command is acted on by one of them at most.

    Args:
        store: Where commands and outcomes are.
        scope: The election whose leader issues them.
        handler: Does what they ask.
        consumer_id: Who we are.
        clock: For deadlines and the log.
        reconcile: Finds out what became of a command whose consumer died; by default it is
            `actuation_failed`, never a second call of the handler.
        telemetry: Where it is told.
    """

    def __init__(
        self,
        store: RecordStore,
        scope: str,
        handler: CommandHandler,
        *,
        consumer_id: str,
        clock: Clock,
        reconcile: CommandHandler = _unknown,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._store = store
        self._scope = scope
        self._handler = handler
        self._consumer_id = consumer_id
        self._clock = clock
        self._reconcile = reconcile
        self._telemetry = telemetry
        self._guard = FenceGuard(store, scope)
        self._log = OutcomeLog(store)
        self._acting: set[str] = set()

    async def handle(self, command: Command) -> Outcome:
        """Deliver one command; return what became of this delivery.

        Cancelled while the handler acts, it leaves the command started and unsettled; see
        `recover`.

        Raises:
            InvalidInput: The command is malformed, or of another scope; nothing is recorded.
            Conflict: Another command has its id.
            Unavailable, OutcomeUnknown: The store; deliver it again.
        """
        keys = self._check(command)
        known = await self._log.read(self._scope, command.command_id)
        if known is not None and known.command is not None and known.command != command:
            raise Conflict(
                f"command {command.command_id!r}",
                expected="the command that was issued under this id",
                actual="another one",
            )
        verdict = judge_delivery(
            command,
            high_water=await self._guard.high_water(),
            has_outcome=known is not None and known.outcome is not None,
            is_started=known is not None and known.started is not None,
            now_ns=self._clock.wall_ns(),
        )
        if verdict == "act":
            return await self._start(command, keys)
        if verdict in {"rejected_duplicate", "in_doubt"}:
            why = "settled before" if verdict == "rejected_duplicate" else "being acted on"
            return await self._duplicate(command, keys, why)
        assert verdict != "in_doubt"
        return await self._settle(command, verdict, _why(verdict))

    def _check(self, command: Command) -> CommandKeys:
        if not isinstance(command, Command):
            raise InvalidInput("command", expected="a Command", found=command)
        if command.scope != self._scope:
            raise InvalidInput("scope", expected=self._scope, found=command.scope)
        if len(command.payload) > MAX_PAYLOAD_BYTES:
            raise InvalidInput(
                "payload", expected=f"at most {MAX_PAYLOAD_BYTES} bytes", found=len(command.payload)
            )
        try:
            command.arguments()
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput("payload", expected=f"JSON ({error})", found=command.payload) from error
        return CommandKeys(self._scope, command.command_id)

    async def _start(self, command: Command, keys: CommandKeys) -> Outcome:
        started = Started(
            command_id=command.command_id,
            epoch=command.leader_epoch,
            consumer=self._consumer_id,
            at_ns=self._clock.wall_ns(),
        )
        issued = Put(keys.issued, encode(command))
        known = await self._store.get(keys.issued)
        writes = (Put(keys.started, encode(started)),) + ((issued,) if known is None else ())
        try:
            # One commit: the epoch is the highest, nobody else has started, and so we do.
            made = await self._guard.transaction(
                command.leader_epoch, writes, (Absent(keys.started), Absent(keys.outcome))
            )
        except StaleToken:
            return await self._settle(command, "rejected_stale_epoch", _why("rejected_stale_epoch"))
        if isinstance(made, Conflicted):
            return await self._duplicate(command, keys, "being acted on")
        return await self._act(command)

    async def _act(self, command: Command) -> Outcome:
        self._acting.add(command.command_id)
        try:
            try:
                did = await self._handler(command)
            except Exception as error:
                did = Actuation("actuation_failed", f"{type(error).__name__}: {error}")
            actuation = did if isinstance(did, Actuation) else Actuation(did)
            # It has happened: cancellation must not keep it from being written down.
            with anyio.CancelScope(shield=True):
                outcome = await self._settle(command, actuation.status, actuation.reason)
            return outcome
        finally:
            self._acting.discard(command.command_id)

    async def _settle(self, command: Command, status: CommandStatus, reason: str) -> Outcome:
        return await settle(
            self._store,
            command,
            status,
            reason,
            consumer=self._consumer_id,
            now_ns=self._clock.wall_ns(),
            telemetry=self._telemetry,
        )

    async def _duplicate(self, command: Command, keys: CommandKeys, why: str) -> Outcome:
        outcome = Outcome(
            command_id=command.command_id,
            status="rejected_duplicate",
            epoch=command.leader_epoch,
            consumer=self._consumer_id,
            at_ns=self._clock.wall_ns(),
            reason=why,
        )
        _tell(self._telemetry, outcome)
        for number in range(_MAX_DUPLICATES):
            key = keys.duplicate(number)
            made = await self._store.commit(
                Transaction((Put(key, encode(outcome)),), (Absent(key),))
            )
            if isinstance(made, Committed):
                break
        return outcome

    async def recover(self) -> list[Outcome]:
        """Settle what was started by a consumer that is gone; call it before `handle`.

        Call it only while no other consumer of this scope lives: what another one acts on
        right now looks the same.
        """
        settled: list[Outcome] = []
        async for record in self._log.commands(scope=self._scope, status="pending"):
            command = record.command
            if command is None or record.started is None or command.command_id in self._acting:
                continue
            try:
                did = await self._reconcile(command)
            except Exception as error:
                did = Actuation("actuation_failed", f"reconcile: {type(error).__name__}: {error}")
            actuation = did if isinstance(did, Actuation) else Actuation(did)
            settled.append(await self._settle(command, actuation.status, actuation.reason))
        return settled

    async def run(self) -> None:
        """Recover, then consume commands as they are issued, in order, until cancelled."""
        await self.recover()
        prefix = CommandKeys.scope_root(self._scope)
        after = await self._catch_up()
        async with self._store.watch(prefix, after=after) as changes:
            while True:
                try:
                    item = await anext(changes)
                    if isinstance(item, Resync):
                        await self._catch_up()
                    elif isinstance(item, Batch):
                        for event in item.events:
                            if event.record is not None and event.key.endswith("/issued"):
                                await self._deliver(decode(Command, event.record))
                except (Unavailable, OutcomeUnknown) as error:
                    self._telemetry.log("warning", "store_unavailable", reason=str(error))
                    await anyio.sleep(0.2)
                    await self._catch_up_when_back()
                except CorruptRecord as error:
                    self._telemetry.log("error", "record_refused", reason=str(error))

    async def _catch_up_when_back(self) -> None:
        while True:
            try:
                await self._catch_up()
                return
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(0.5)

    async def _catch_up(self) -> int:
        """Deliver what is issued and neither started nor settled; return where to watch from."""
        revision = (await self._store.scan(CommandKeys.scope_root(self._scope), limit=1)).revision
        async for record in self._log.commands(scope=self._scope, status="pending"):
            if record.command is not None and record.started is None:
                await self._deliver(record.command)
        return revision

    async def _deliver(self, command: Command) -> None:
        known = await self._log.read(self._scope, command.command_id)
        # The log tells each command once; what has moved on since needs no refusal.
        if known is not None and known.started is None and known.outcome is None:
            await self.handle(command)


async def settle(
    store: RecordStore,
    command: Command,
    status: CommandStatus,
    reason: str,
    *,
    consumer: str,
    now_ns: int,
    telemetry: Telemetry,
) -> Outcome:
    """Write the one outcome of a command, and the command itself where it is not stored.

    Returns:
        The outcome that stands: an earlier one, if there was one.
    """
    keys = CommandKeys(command.scope, command.command_id)
    outcome = Outcome(
        command_id=command.command_id,
        status=status,
        epoch=command.leader_epoch,
        consumer=consumer,
        at_ns=now_ns,
        reason=reason[:_MAX_REASON],
    )
    while True:
        writes = [Put(keys.outcome, encode(outcome))]
        if await store.get(keys.issued) is None:
            writes.append(Put(keys.issued, encode(command)))
        try:
            made = await store.commit(Transaction(tuple(writes), (Absent(keys.outcome),)))
        except OutcomeUnknown:
            made = Conflicted(())  # Look: it may be there.
        if isinstance(made, Committed):
            _tell(telemetry, outcome)
            return outcome
        stored = await store.get(keys.outcome)
        if stored is not None:
            return decode(Outcome, stored)


def _tell(telemetry: Telemetry, outcome: Outcome) -> None:
    telemetry.emit(COMMANDS, status=outcome.status)
    telemetry.log(
        "info",
        "command_outcome",
        command_id=outcome.command_id,
        status=outcome.status,
        epoch=outcome.epoch,
        reason=outcome.reason,
    )


def _why(status: str) -> str:
    return {
        "rejected_not_leader": "its issuer did not lead",
        "rejected_stale_epoch": "a higher epoch was accepted before",
        "rejected_expired": "its deadline had passed",
    }[status]
