"""`Commands`: issue, consume and read commands. The member `commands` of a federation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from federlib._pace import LOOP, Pace
from federlib.errors import Fenced
from federlib.fencing.consumer import CommandConsumer, Handler, Reconcile
from federlib.fencing.issue import issue
from federlib.fencing.outcomes import OutcomeLog
from federlib.fencing.records import Command, Outcome, command_prefix, decode_outcome
from federlib.fencing.review import CommandGate
from federlib.skewclock import UNSTAMPED, Clock, Stamps
from federlib.storage import Batch, RecordStore
from federlib.telemetry import SILENT, Telemetry

__all__ = ["Commands", "Seat"]


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
        member: Tells who we are.
        clock: For instants and deadlines.
        telemetry: Where outcomes are told.
        stamps: What is written carries a timestamp of it; those of the commands and outcomes
            that are read one by one are taken in.
        pace: How `outcome` waits.
        review: Judges each command before it is issued.

    Attributes:
        log: Reads all commands and their outcomes.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        member: Callable[[], Awaitable[str]],
        clock: Clock,
        telemetry: Telemetry = SILENT,
        stamps: Stamps = UNSTAMPED,
        pace: Pace = LOOP,
        review: CommandGate | None = None,
    ) -> None:
        self._store = store
        self._review = review
        self._pace = pace
        self._member = member
        self._clock = clock
        self._telemetry = telemetry
        self._stamps = stamps
        self.log: OutcomeLog = OutcomeLog(store, stamps=stamps)

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
        traceparent: str | None = None,
    ) -> Command | Outcome:
        """Issue a command if we lead; a refusal is recorded and comes back as an `Outcome`.

        For the arguments, and for what else may be raised, see `federlib.fencing.issue`.

        Args:
            action: What to do, for example `scale`.
            payload: Its arguments: anything JSON can hold, at most 64 KiB.
            gate: Our seat in the election whose leader may issue.
            command_id: Give one to be able to issue again after `OutcomeUnknown`.
            deadline_s: How long from now it may wait for a consumer; seconds.
            decision_id: The decision that led to it.
            dag_id: The run of a DAG that it belongs to.
            dag_node: The node of that DAG.
            causal_id: The causal hypothesis behind it.
            traceparent: W3C trace context.
        """
        try:
            epoch: int | None = gate.check()
        except Fenced:
            epoch = None
        return await issue(
            self._store,
            gate.name,
            action,
            payload,
            epoch=epoch,
            issuer=await self._member(),
            clock=self._clock,
            gate_check=gate.check,
            review=self._review,
            deadline_s=deadline_s,
            command_id=command_id,
            decision_id=decision_id,
            dag_id=dag_id,
            dag_node=dag_node,
            causal_id=causal_id,
            traceparent=traceparent,
            telemetry=self._telemetry,
            stamps=self._stamps,
        )

    async def consume(
        self, scope: str, handler: Handler, *, reconcile: Reconcile | None = None
    ) -> None:
        """Act on the commands of an election until cancelled; see `CommandConsumer`."""
        consumer = CommandConsumer(
            self._store,
            scope,
            handler,
            consumer_id=await self._member(),
            clock=self._clock,
            telemetry=self._telemetry,
            stamps=self._stamps,
            reconcile=reconcile,
        )
        await consumer.run()

    async def outcome(self, command: Command, *, wait_s: float = 0.0) -> Outcome | None:
        """Return what became of a command, waiting for it up to `wait_s` seconds."""
        key = command_prefix(command.scope, command.command_id) + "outcome"
        page = await self._store.scan(key, limit=1)
        stored = page.records[0] if page.records else None
        if stored is None:
            with self._pace.limit(wait_s):
                async with self._store.watch(key, after=page.revision) as changes:
                    while not isinstance(await anext(changes), Batch):
                        pass
            stored = await self._store.get(key)
        if stored is None:
            return None
        outcome = decode_outcome(stored)
        self._stamps.observe(outcome.hlc, of=key)
        return outcome

    async def counts(self) -> dict[str, int]:
        """Count outcomes by status; see `OutcomeLog.counts`."""
        return await self.log.counts()
