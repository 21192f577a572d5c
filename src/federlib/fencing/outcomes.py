"""`OutcomeLog`: commands and what became of them, for replay and audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

import attrs

from federlib.fencing.records import (
    Command,
    CommandKeys,
    Outcome,
    Started,
    decode,
)
from federlib.storage import Record, RecordStore, unsegment

__all__ = ["CommandRecord", "OutcomeLog"]

S = TypeVar("S")


@attrs.frozen
class CommandRecord:
    """Everything that is stored of one command.

    Attributes:
        command: As issued; None if only an outcome of a delivery from elsewhere is known.
        started: Who was about to act, if anybody.
        outcome: What became of it, if that is settled.
        duplicates: Refused second deliveries, oldest first.
    """

    command_id: str
    scope: str
    command: Command | None
    started: Started | None
    outcome: Outcome | None
    duplicates: tuple[Outcome, ...] = ()


class OutcomeLog:
    """Reads the command log of a store."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def read(self, scope: str, command_id: str) -> CommandRecord | None:
        """Read one command, or None if nothing is known of it."""
        root = CommandKeys(scope, command_id).root
        page = await self._store.scan(root)
        return _assemble(list(page.records)) if page.records else None

    async def find(self, command_id: str) -> CommandRecord | None:
        """Find a command whose scope is not known."""
        async with aclosing(self.commands()) as records:
            async for record in records:
                if record.command_id == command_id:
                    return record
        return None

    async def commands(
        self,
        *,
        scope: str | None = None,
        status: str | None = None,
        action: str | None = None,
        decision_id: str | None = None,
        dag_node: str | None = None,
        epoch: int | None = None,
    ) -> AsyncGenerator[CommandRecord, None]:
        """Yield commands in order of scope and id: within a scope, in order of time.

        Args:
            scope: Only commands of this election.
            status: Only commands with this outcome; `pending` for those without one.
            action: Only commands of this action.
            decision_id: Only commands that follow from this decision.
            dag_node: Only commands of this task.
            epoch: Only commands issued under this epoch.
        """
        wanted = {
            name: value
            for name, value in (
                ("action", action),
                ("decision_id", decision_id),
                ("dag_node", dag_node),
                ("leader_epoch", epoch),
            )
            if value is not None
        }
        prefix = CommandKeys.ROOT if scope is None else CommandKeys.scope_root(scope)
        async with aclosing(self._grouped(prefix)) as groups:
            async for group in groups:
                record = _assemble(group)
                found = record.outcome.status if record.outcome else "pending"
                fits = all(getattr(record.command, key, None) == v for key, v in wanted.items())
                if fits and status in {None, found}:
                    yield record

    async def counts(self) -> dict[str, int]:
        """Count outcomes by status; refused second deliveries count as `rejected_duplicate`."""
        counts: Counter[str] = Counter()
        async with aclosing(self.commands()) as records:
            async for record in records:
                counts[record.outcome.status if record.outcome else "pending"] += 1
                if record.duplicates:
                    counts["rejected_duplicate"] += len(record.duplicates)
        return dict(counts)

    async def replay(
        self, scope: str, fold: Callable[[S, Command, Outcome], S], start: S
    ) -> S:
        """Fold every settled command of a scope, in order of time.

        The log does not change once written, so a replay gives the same state each time.
        """
        state = start
        async with aclosing(self.commands(scope=scope)) as records:
            async for record in records:
                if record.command is not None and record.outcome is not None:
                    state = fold(state, record.command, record.outcome)
        return state

    async def _grouped(self, prefix: str) -> AsyncGenerator[list[Record], None]:
        """Yield the records of one command at a time."""
        group: list[Record] = []
        after: str | None = None
        while True:
            page = await self._store.scan(prefix, after=after)
            for record in page.records:
                if group and _root(record.key) != _root(group[0].key):
                    yield group
                    group = []
                group.append(record)
            if page.next is None:
                break
            after = page.next
        if group:
            yield group


def _root(key: str) -> str:
    return key.rpartition("/")[0]


def _assemble(records: list[Record]) -> CommandRecord:
    _, scope, command_id, _ = records[0].key.split("/", 3)
    command: Command | None = None
    started: Started | None = None
    outcome: Outcome | None = None
    duplicates: list[Outcome] = []
    for record in records:
        kind = record.key.rpartition("/")[2]
        if kind == "issued":
            command = decode(Command, record)
        elif kind == "started":
            started = decode(Started, record)
        elif kind == "outcome":
            outcome = decode(Outcome, record)
        elif kind.startswith("duplicate-"):
            duplicates.append(decode(Outcome, record))
    return CommandRecord(
        unsegment(command_id), unsegment(scope), command, started, outcome, tuple(duplicates)
    )
