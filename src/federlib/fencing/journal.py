"""`CommandJournal`: the records of one scope's commands, as issuers and consumers write them.

Every verb is one transaction with 'absent' checks, so a record is written once and whoever
comes second finds out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable

import attrs

from federlib.errors import StaleToken
from federlib.fencing.decide import Seen
from federlib.fencing.guard import FenceGuard, commit_again, draw_token
from federlib.fencing.records import (
    MAX_DUPLICATES,
    Command,
    CommandStatus,
    Outcome,
    Started,
    command_prefix,
    decode_command,
    decode_outcome,
    decode_started,
    encode,
    scope_prefix,
    shorten,
)
from federlib.skewclock import UNSTAMPED, Stamps
from federlib.storage import (
    Absent,
    Check,
    Committed,
    Put,
    Record,
    RecordStore,
    Transaction,
    Write,
)
from federlib.telemetry import SILENT, Metric, Telemetry

__all__ = ["COMMANDS", "CommandJournal", "command_groups", "seen_in"]

COMMANDS = Metric(
    "federlib_commands_total",
    "counter",
    "Outcomes of commands and of deliveries too many.",
    ("status",),
)

_PAGE = 64
"""More than a command ever has records, so that one page shows them all at one revision."""


def seen_in(records: Iterable[Record]) -> Seen:
    """Read the records of one command.

    Raises:
        CorruptRecord: One of them cannot be read.
    """
    seen = Seen()
    for record in records:
        match record.key.rpartition("/")[2]:
            case "issued":
                seen = attrs.evolve(
                    seen, issued=decode_command(record), issued_revision=record.revision
                )
            case "started":
                seen = attrs.evolve(seen, started=decode_started(record))
            case "outcome":
                seen = attrs.evolve(seen, outcome=decode_outcome(record))
            case _:
                duplicates = (*seen.duplicates, decode_outcome(record))
                seen = attrs.evolve(seen, duplicates=duplicates)
    return seen


async def command_groups(
    store: RecordStore, prefix: str
) -> AsyncGenerator[tuple[str, tuple[Record, ...]], None]:
    """Read everything under `prefix`, one command after the other, in order of keys.

    Each comes as its id and its records. Pages are read as they are needed, so commands
    far apart were not read at one instant.
    """
    group: list[Record] = []
    after: str | None = None
    while True:
        page = await store.scan(prefix, after=after)
        for record in page.records:
            if group and _parent(group[0]) != _parent(record):
                yield _parent(group[0]).rpartition("/")[2], tuple(group)
                group = []
            group.append(record)
        if page.next is None:
            break
        after = page.next
    if group:
        yield _parent(group[0]).rpartition("/")[2], tuple(group)


def _parent(record: Record) -> str:
    return record.key.rpartition("/")[0]


class CommandJournal:
    """Reads and writes the records of the commands of one scope.

    Args:
        store: Where they are.
        scope: The election under which the commands are issued.
        author: Who writes: a consumer or an issuer.
        telemetry: Every outcome is counted and logged there.
        stamps: Whatever is written carries a timestamp of it.
        token: Draws random hex digits for transaction ids.
    """

    def __init__(
        self,
        store: RecordStore,
        scope: str,
        *,
        author: str,
        telemetry: Telemetry = SILENT,
        stamps: Stamps = UNSTAMPED,
        token: Callable[[], str] = draw_token,
    ) -> None:
        self.prefix: str = scope_prefix(scope)
        self.guard: FenceGuard = FenceGuard(store, scope)
        self._store = store
        self._scope = scope
        self._author = author
        self._telemetry = telemetry
        self._stamps = stamps
        self._token = token

    async def look(self, command_id: str) -> Seen:
        """Read what is recorded of one command, at one revision."""
        page = await self._store.scan(command_prefix(self._scope, command_id), limit=_PAGE)
        return seen_in(page.records)

    async def issue(self, command: Command) -> bool:
        """Write `issued` under the command's epoch; False where the id is taken.

        Raises:
            StaleToken: The epoch is below the mark of the scope.
        """
        key = self._key(command, "issued")
        result = await self.guard.transaction(
            command.leader_epoch,
            (Put(key, encode(command)),),
            (Absent(key),),
            id=f"issue.{self._token()}",
        )
        return isinstance(result, Committed)

    async def start(self, command: Command, seen: Seen, *, now_ns: int) -> bool:
        """Write `started` under the command's epoch; False: decide again."""
        started = Started(
            command_id=command.command_id,
            epoch=command.leader_epoch,
            consumer=self._author,
            at_ns=now_ns,
            hlc=self._stamps.now(),
        )
        writes, checks = self._fresh(command, seen)
        try:
            result = await self.guard.transaction(
                command.leader_epoch,
                (*writes, Put(self._key(command, "started"), encode(started))),
                checks,
                id=f"start.{self._token()}",
            )
        except StaleToken:
            # A newer epoch came between the decision and its commit.
            return False
        return isinstance(result, Committed)

    async def refuse(self, command: Command, seen: Seen, outcome: Outcome) -> bool:
        """Write the outcome of a command that nobody started; False: decide again."""
        writes, checks = self._fresh(command, seen)
        put = Put(self._key(command, "outcome"), encode(outcome))
        return await self._commit("refuse", (*writes, put), checks)

    async def finish(self, outcome: Outcome) -> bool:
        """Write the outcome of a started command; False where it has one already."""
        key = self._key(outcome, "outcome")
        return await self._commit("finish", (Put(key, encode(outcome)),), (Absent(key),))

    async def duplicate(self, outcome: Outcome, seen: Seen) -> None:
        """Record one delivery too many, unless sixteen are recorded already."""
        for n in range(len(seen.duplicates), MAX_DUPLICATES):
            key = self._key(outcome, f"duplicate-{n:02d}")
            if await self._commit("duplicate", (Put(key, encode(outcome)),), (Absent(key),)):
                return

    async def refuse_issue(
        self,
        command: Command,
        status: CommandStatus,
        reason: str,
        *,
        now_ns: int,
        detail: str = "",
    ) -> Outcome:
        """Record a refused command with its outcome, or a duplicate where the id is taken.

        A command issued earlier under that id is left alone: a follower that draws the id
        of a leader's command must not end it.
        """
        outcome = self.outcome(command, status, now_ns=now_ns, reason=reason, detail=detail)
        if status == "rejected_duplicate" or not await self.refuse(command, Seen(), outcome):
            seen = await self.look(command.command_id)
            # Whoever issues again must see whether it got in, or was refused at that.
            reason = "already issued" if seen.outcome is None else f"already {seen.outcome.status}"
            outcome = self.outcome(command, "rejected_duplicate", now_ns=now_ns, reason=reason)
            await self.duplicate(outcome, seen)
        self.tell(command, outcome)
        return outcome

    def outcome(
        self, command: Command, status: str, *, now_ns: int, reason: str = "", detail: str = ""
    ) -> Outcome:
        """Make an outcome of now, signed by the author of this journal."""
        return Outcome(
            command_id=command.command_id,
            status=status,
            epoch=command.leader_epoch,
            reason=shorten(reason, 200),
            detail=shorten(detail),
            consumer=self._author,
            at_ns=now_ns,
            hlc=self._stamps.now(),
        )

    def tell(self, command: Command, outcome: Outcome) -> None:
        """Count and log an outcome."""
        self._telemetry.emit(COMMANDS, status=outcome.status)
        self._telemetry.log(
            "info" if outcome.status in ("applied", "noop") else "warning",
            "command_outcome",
            command_id=command.command_id,
            scope=command.scope,
            action=command.action,
            status=outcome.status,
            epoch=outcome.epoch,
            reason=outcome.reason,
            consumer=outcome.consumer,
        )

    def _fresh(self, command: Command, seen: Seen) -> tuple[tuple[Write, ...], tuple[Check, ...]]:
        """Return what holds only while nobody has started or ended the command.

        A command that came to us past the store is recorded with the first thing that
        happens to it, so that audit shows it.
        """
        issued = self._key(command, "issued")
        checks = (Absent(self._key(command, "started")), Absent(self._key(command, "outcome")))
        if seen.issued is not None:
            return (), checks
        return (Put(issued, encode(command)),), (*checks, Absent(issued))

    def _key(self, what: Command | Outcome, name: str) -> str:
        return command_prefix(self._scope, what.command_id) + name

    async def _commit(
        self, verb: str, writes: tuple[Write, ...], checks: tuple[Check, ...]
    ) -> bool:
        transaction = Transaction(writes, checks, f"{verb}.{self._token()}")
        return isinstance(await commit_again(self._store, transaction), Committed)
