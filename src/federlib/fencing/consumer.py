"""`CommandConsumer`: acts on commands, each at most once, and records what became of it.

Acting happens outside the store, so it can never be in one transaction with its record.
`started` is therefore written before the handler is called and the outcome after. Whoever
dies in between leaves a `started` without outcome, which `recover` settles by asking what
happened, never by a second call.

Source: HA plan, phase 0 and §2; design §5, fencing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Literal, assert_never

import attrs

from federlib._pace import LOOP, Pace
from federlib.errors import CorruptRecord, InvalidInput, OutcomeUnknown, Unavailable
from federlib.fencing.decide import Duplicate, Refuse, Seen, Start, decide_command
from federlib.fencing.guard import draw_token
from federlib.fencing.journal import CommandJournal, command_groups, seen_in
from federlib.fencing.records import Command, Outcome, checked_command, decode_command
from federlib.skewclock import UNSTAMPED, Clock, Stamps
from federlib.storage import Batch, Record, RecordStore, Resync
from federlib.storage.protocol import COMMIT_TIMEOUT_S
from federlib.telemetry import SILENT, Telemetry

__all__ = ["Actuation", "ActuationStatus", "CommandConsumer", "Handler", "Reconcile"]

ActuationStatus = Literal["applied", "noop", "actuation_failed"]
"""What became of a command that was admitted."""

_STATUSES = ("applied", "noop", "actuation_failed")
_ATTEMPTS = 16
_BACKOFF_S = (0.1, 2.0)
_NS = 1_000_000_000


@attrs.frozen
class Actuation:
    """What a handler did, with a sentence about it.

    Attributes:
        status: `applied`, `noop` or `actuation_failed`.
        detail: For people; at most 500 characters are kept.
    """

    status: ActuationStatus
    detail: str = ""


Handler = Callable[[Command], Awaitable[ActuationStatus | Actuation]]
"""Acts on a command: `applied`, or `noop` where the world was so already.

What it raises becomes `actuation_failed`. Hand `command.leader_epoch` to whatever it changes.
"""

Reconcile = Callable[[Command], Awaitable[ActuationStatus | Actuation]]
"""Finds out what became of a command whose handler was cut short; must not act."""


class CommandConsumer:
    """Acts on the commands of one scope.

    Several consumers may serve one scope: each command is acted on by one of them. Not
    thread-safe; belongs to one event loop.

    Args:
        store: Where the commands are.
        scope: The election under which they are issued; also the name of their fence.
        handler: Acts. It is called at most once for a command, with no store transaction open.
        consumer_id: Who we are, the same after a restart, and nobody else's: `recover`
            takes what it finds started under this id for its own unfinished business.
        clock: For deadlines and instants of record.
        telemetry: Every outcome is counted and logged there.
        stamps: What is written carries a timestamp of it, above that of the command. One
            that is refused is logged, and the command served all the same.
        reconcile: Finds out what became of a command whose handler was cut short. By
            default `actuation_failed`, reason ``unknown``.
        is_leader: Whether a command's issuer led in its epoch, where the caller can tell.
        token: Draws random hex digits for transaction ids.
        pace: How it waits.
    Raises:
        InvalidInput: The scope or the id cannot be part of a record.
    """

    def __init__(
        self,
        store: RecordStore,
        scope: str,
        handler: Handler,
        *,
        consumer_id: str,
        clock: Clock,
        telemetry: Telemetry = SILENT,
        stamps: Stamps = UNSTAMPED,
        reconcile: Reconcile | None = None,
        is_leader: Callable[[Command], bool] | None = None,
        token: Callable[[], str] = draw_token,
        pace: Pace = LOOP,
    ) -> None:
        if type(consumer_id) is not str or not 1 <= len(consumer_id) <= 200:
            raise InvalidInput("consumer_id", expected="1 to 200 characters", found=consumer_id)
        self.scope = scope
        self.consumer_id = consumer_id
        self._store = store
        self._handler = handler
        self._clock = clock
        self._telemetry = telemetry
        self._stamps = stamps
        self._reconcile = reconcile
        self._is_leader = is_leader
        self._pace = pace
        self._journal = CommandJournal(
            store, scope, author=consumer_id, telemetry=telemetry, stamps=stamps, token=token
        )
        self._acting: set[str] = set()
        self._unrecorded: dict[str, Outcome] = {}

    async def handle(self, command: Command) -> Outcome:
        """Take one delivery of a command, and act on it if it is due.

        Every command gets exactly one recorded outcome. A delivery of one that was started
        or ended before comes back as `rejected_duplicate`; what is recorded stays.

        Cancelled while the handler runs, the command stays started without outcome, for
        `recover`. Once the handler has returned, its outcome is recorded even so.

        Raises:
            InvalidInput: Malformed, or of another scope; nothing was recorded.
            CorruptRecord: What is stored of it, or the mark of the scope, cannot be trusted.
            Unavailable: The store is away; the handler was not called.
            OutcomeUnknown: The store gave no answer. If the handler was called, `recover`
                of this consumer records what it returned.
        """
        command = checked_command(command)
        if command.scope != self.scope:
            raise InvalidInput("scope", expected=repr(self.scope), found=command.scope)
        done = await self._take(command)
        if isinstance(done, Outcome):
            return done
        outcome = self._outcome(command, "rejected_duplicate", reason=done.reason)
        seen = await self._journal.look(command.command_id)
        await self._journal.duplicate(outcome, seen)
        self._journal.tell(command, outcome)
        return outcome

    async def recover(self, *, of: Collection[str] = ()) -> tuple[Outcome, ...]:
        """Settle what was started and has no outcome; call it before handling anything.

        Each such command goes to `reconcile`, never to the handler. Where `reconcile`
        raises, the command stays as it is and the next `recover` asks again.

        Args:
            of: Ids of other consumers whose commands are to be settled too. They must be
                dead: the outcome of one that still acts would be decided over its head.
        Returns:
            The outcomes recorded now, in order of the commands' ids.
        """
        ours = {self.consumer_id, *of}
        settled: list[Outcome] = []
        pending = await self._open()
        for command_id in self._unrecorded.keys() - self._acting - {name for name, _ in pending}:
            del self._unrecorded[command_id]  # Settled by somebody else meanwhile.
        for command_id, seen in pending:
            is_ours = seen.started is not None and seen.started.consumer in ours
            if is_ours and command_id not in self._acting:
                outcome = await self._settle(command_id)
                settled += [outcome] if outcome is not None else []
        return tuple(settled)

    async def run(self) -> None:
        """Act on the issued commands of the scope, in the order of issue, until cancelled.

        First settles what an earlier life of this consumer has left, then takes what waits,
        then what comes. While the store is away it waits. A command whose records cannot be
        trusted is logged and passed over.

        Raises:
            CorruptRecord: The mark of the scope cannot be trusted: nothing can be decided.
        """
        backoff_s = _BACKOFF_S[0]
        while True:
            began_ns = self._clock.boot_ns()
            try:
                await self.recover()
                await self._serve()
                backoff_s = _BACKOFF_S[0]
            except (Unavailable, OutcomeUnknown) as error:
                if self._clock.boot_ns() - began_ns > _BACKOFF_S[1] * _NS:
                    # It was served meanwhile: this is another outage, not the last one.
                    backoff_s = _BACKOFF_S[0]
                self._telemetry.log(
                    "warning", "command_consumer_waits", scope=self.scope, reason=str(error)
                )
                await self._pace.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _BACKOFF_S[1])

    async def _take(self, command: Command) -> Outcome | Duplicate:
        """Bring a command from delivery to its outcome, unless it is not ours to take."""
        self._stamps.observe(command.hlc, of=f"command {command.command_id}")
        for _ in range(_ATTEMPTS):
            seen = await self._journal.look(command.command_id)
            decision = decide_command(
                command,
                seen,
                high_water=await self._journal.guard.high_water(),
                now_ns=self._clock.wall_ns(),
                is_leader=self._is_leader is None or self._is_leader(command),
            )
            match decision:
                case Duplicate():
                    return decision
                case Refuse(status, reason):
                    outcome = self._outcome(command, status, reason=reason)
                    if await self._journal.refuse(command, seen, outcome):
                        self._journal.tell(command, outcome)
                        return outcome
                case Start():
                    outcome_or_none = await self._start(command, seen)
                    if outcome_or_none is not None:
                        return outcome_or_none
                case _:
                    assert_never(decision)
        raise Unavailable(f"command {command.command_id!r}", "its records changed again and again")

    async def _start(self, command: Command, seen: Seen) -> Outcome | None:
        # Marked before `started` can be seen, so that no `recover` of ours ever takes a
        # command for abandoned that we are about to act on.
        self._acting.add(command.command_id)
        try:
            if not await self._journal.start(command, seen, now_ns=self._clock.wall_ns()):
                return None
            outcome = await self._act(command)
            self._unrecorded[command.command_id] = outcome
            return await self._finish(command, outcome)
        finally:
            self._acting.discard(command.command_id)

    async def _act(self, command: Command) -> Outcome:
        if command.deadline_ns is not None and self._clock.wall_ns() >= command.deadline_ns:
            return self._outcome(command, "rejected_expired", reason="expired while it was started")
        try:
            result = await self._handler(command)
        except Exception as error:
            # Whatever it was, the command has failed and the next one shall be served.
            return self._outcome(
                command, "actuation_failed", reason=type(error).__name__, detail=_said(str, error)
            )
        return self._outcome_of(command, result, said_by="handler")

    def _outcome(
        self, command: Command, status: str, *, reason: str = "", detail: str = ""
    ) -> Outcome:
        now_ns = self._clock.wall_ns()
        return self._journal.outcome(command, status, now_ns=now_ns, reason=reason, detail=detail)

    def _outcome_of(self, command: Command, result: object, *, said_by: str) -> Outcome:
        done = result if isinstance(result, Actuation) else Actuation(result)  # type: ignore[arg-type]  # checked on the next line
        if done.status not in _STATUSES or not isinstance(done.detail, str):
            return self._outcome(
                command,
                "actuation_failed",
                reason="bad result",
                detail=f"the {said_by} returned {_said(repr, result)}",
            )
        return self._outcome(command, done.status, detail=done.detail)

    async def _finish(self, command: Command, outcome: Outcome) -> Outcome:
        """Record an outcome, shielded: the handler's word must not be lost to a cancellation."""
        with self._pace.limit(COMMIT_TIMEOUT_S, shield=True):
            try:
                is_first = await self._journal.finish(outcome)
            except Unavailable as error:
                # To the caller that is no 'nothing happened': the handler was called.
                raise OutcomeUnknown(
                    f"command {command.command_id!r}", transaction_id=None, reason=error.reason
                ) from error
            self._unrecorded.pop(command.command_id, None)
            if is_first:
                self._journal.tell(command, outcome)
                return outcome
            # Somebody took us for dead. One outcome is recorded, and it is theirs.
            recorded = (await self._journal.look(command.command_id)).outcome
            if recorded is not None:
                self._stamps.observe(recorded.hlc, of=f"command {command.command_id}")
            self._telemetry.log(
                "warning",
                "command_outcome_superseded",
                command_id=command.command_id,
                scope=self.scope,
                status=outcome.status,
            )
            return outcome if recorded is None else recorded
        # Where we are cancelled that is what comes of it, not the error.
        await self._pace.sleep(0)
        raise OutcomeUnknown(
            f"command {command.command_id!r}",
            transaction_id=None,
            reason=f"no answer within {COMMIT_TIMEOUT_S:g} s",
        )

    async def _settle(self, command_id: str) -> Outcome | None:
        """Record what became of a command that was cut short, if nobody has meanwhile."""
        seen = await self._journal.look(command_id)
        if seen.issued is None or seen.outcome is not None:
            return None
        command = seen.issued
        for part in (command, seen.started):
            self._stamps.observe(None if part is None else part.hlc, of=f"command {command_id}")
        outcome = self._unrecorded.get(command_id)
        if outcome is None:
            outcome = await self._ask(command)
        return None if outcome is None else await self._finish(command, outcome)

    async def _ask(self, command: Command) -> Outcome | None:
        if self._reconcile is None:
            return self._outcome(
                command,
                "actuation_failed",
                reason="unknown",
                detail="its consumer was cut short; it may have been applied",
            )
        try:
            result = await self._reconcile(command)
        except Exception as error:
            # Asking failed; what happened is as unknown as before, so it stays open.
            self._telemetry.log(
                "warning",
                "command_reconcile_failed",
                command_id=command.command_id,
                scope=self.scope,
                reason=f"{type(error).__name__}: {_said(str, error)}",
            )
            return None
        return self._outcome_of(command, result, said_by="reconcile")

    async def _serve(self) -> None:
        """Take what waits, then what comes, until changes were missed."""
        revision = (await self._store.scan(self._journal.prefix, limit=1)).revision
        waiting = [seen for _, seen in await self._open() if seen.started is None]
        for seen in sorted(waiting, key=lambda seen: seen.issued_revision):
            if seen.issued is not None:
                await self._serve_one(seen.issued)
        async with self._store.watch(self._journal.prefix, after=revision) as changes:
            async for item in changes:
                if isinstance(item, Resync):
                    return
                if isinstance(item, Batch):
                    for event in item.events:
                        if event.record is not None and event.key.endswith("/issued"):
                            await self._serve_record(event.record)

    async def _serve_record(self, record: Record) -> None:
        try:
            command = decode_command(record)
        except CorruptRecord as error:
            self._tell_corrupt(record.key, error)
        else:
            await self._serve_one(command)

    async def _serve_one(self, command: Command) -> None:
        """Take a command from the store: what was started or ended before is no duplicate."""
        try:
            await self._take(command)
        except CorruptRecord as error:
            if not error.where.startswith(self._journal.prefix):
                raise
            self._tell_corrupt(error.where, error)

    async def _open(self) -> list[tuple[str, Seen]]:
        """Read the commands without outcome; those that cannot be trusted are passed over."""
        found: list[tuple[str, Seen]] = []
        async with aclosing(command_groups(self._store, self._journal.prefix)) as groups:
            async for command_id, records in groups:
                try:
                    seen = seen_in(records)
                except CorruptRecord as error:
                    self._tell_corrupt(command_id, error)
                    continue
                if seen.outcome is None:
                    found.append((command_id, seen))
        return found

    def _tell_corrupt(self, what: str, error: CorruptRecord) -> None:
        self._telemetry.log(
            "error", "command_corrupt", scope=self.scope, what=what, reason=str(error)
        )


def _said(how: Callable[[object], str], what: object) -> str:
    """Turn something of the handler's into text, even if its own way to do so is broken."""
    try:
        return how(what)
    except Exception:
        return f"a {type(what).__name__} that cannot be shown"
