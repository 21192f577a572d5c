"""`OutcomeLog`: reads the durable log of commands, for audit, replay and dashboards.

Source: HA plan, phase 0 (durable command outcome log) and §2 (replay and audit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple, TypeVar

import attrs

from federlib.errors import CorruptRecord
from federlib.fencing.audit import LogEvent, read_event
from federlib.fencing.journal import command_groups, seen_in
from federlib.fencing.records import (
    COMMAND_PREFIX,
    Command,
    Outcome,
    Started,
    command_prefix,
    is_rejected,
    scope_prefix,
)
from federlib.skewclock import UNSTAMPED, Stamps
from federlib.storage import Record, RecordStore

__all__ = ["PENDING", "CommandFilter", "Entry", "OutcomeLog"]

PENDING = "pending"
"""Stands in a filter or a count for 'no outcome yet'; never recorded."""

S = TypeVar("S")


class Entry(NamedTuple):
    """A command and what became of it so far."""

    command: Command
    started: Started | None
    outcome: Outcome | None

    @property
    def status(self) -> str:
        """The status of its outcome, or `pending`."""
        return PENDING if self.outcome is None else self.outcome.status


@attrs.frozen(kw_only=True)
class CommandFilter:
    """Which commands: all of them, or those that equal whatever is given.

    Attributes:
        scope: The election.
        command_id: The command.
        action: The action.
        decision_id: The decision.
        dag_id: The run of a DAG.
        dag_node: The node.
        causal_id: The causal hypothesis.
        epoch: The epoch it was issued under; 0 finds those of issuers that did not lead.
        status: The status of its outcome; ``rejected_*`` finds every rejection,
            ``pending`` what has none yet.
    """

    scope: str | None = None
    command_id: str | None = None
    action: str | None = None
    decision_id: str | None = None
    dag_id: str | None = None
    dag_node: str | None = None
    causal_id: str | None = None
    epoch: int | None = None
    status: str | None = None

    def matches(self, found: Entry) -> bool:
        """Say whether a command is one of those asked for."""
        command = found.command
        pairs = (
            (self.scope, command.scope),
            (self.command_id, command.command_id),
            (self.action, command.action),
            (self.decision_id, command.decision_id),
            (self.dag_id, command.dag_id),
            (self.dag_node, command.dag_node),
            (self.causal_id, command.causal_id),
            (self.epoch, command.leader_epoch),
        )
        if any(wanted is not None and wanted != value for wanted, value in pairs):
            return False
        if self.status == "rejected_*":
            return is_rejected(found.status)
        return self.status in (None, found.status)


class OutcomeLog:
    """The commands of a store and their outcomes, read only.

    What is read in several pages is not one snapshot: a command that moves on meanwhile
    may be shown as it was a moment before.

    Every verb may raise `CorruptRecord`, naming the record that cannot be trusted, and
    `Unavailable`.

    Args:
        store: Where the commands are.
        stamps: The timestamps of a command that is asked for by its id are taken in; those
            of a whole log are not.
    """

    def __init__(self, store: RecordStore, *, stamps: Stamps = UNSTAMPED) -> None:
        self._store = store
        self._stamps = stamps

    async def outcome(self, command_id: str, *, scope: str | None = None) -> Outcome | None:
        """Read the outcome of a command; None where it has none yet, or is not known.

        Args:
            command_id: The command.
            scope: Its scope; without one, each scope is asked in turn.
        """
        found = await self.find(command_id, scope=scope)
        return None if found is None else found.outcome

    async def find(self, command_id: str, *, scope: str | None = None) -> Entry | None:
        """Read one command, at one revision; None where it is not known."""
        if scope is not None:
            return await self._read(command_prefix(scope, command_id))
        command_prefix("any", command_id)  # An id that cannot be one is said to be so.
        async with aclosing(self._scopes()) as roots:
            async for root in roots:
                found = await self._read(f"{root}{command_id}/")
                if found is not None:
                    return found
        return None

    async def commands(
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
    ) -> AsyncGenerator[Entry, None]:
        """Read the commands that match, in order of scope and id; drawn ids sort by time.

        See `CommandFilter` for the arguments.
        """
        wanted = CommandFilter(
            scope=scope,
            action=action,
            decision_id=decision_id,
            dag_id=dag_id,
            dag_node=dag_node,
            causal_id=causal_id,
            epoch=epoch,
            status=status,
        )
        async with aclosing(self._all(scope)) as everything:
            async for found, _ in everything:
                if wanted.matches(found):
                    yield found

    async def counts(self, *, scope: str | None = None) -> dict[str, int]:
        """Count outcomes by status.

        Deliveries too many count as `rejected_duplicate`, at most 16 for a command. Commands
        that have no outcome yet are not counted.
        """
        counts: Counter[str] = Counter()
        async with aclosing(self._all(scope)) as everything:
            async for entry, records in everything:
                counts["rejected_duplicate"] += sum("/duplicate-" in r.key for r in records)
                if entry.outcome is not None:
                    counts[entry.status] += 1
        return {status: count for status, count in sorted(counts.items()) if count}

    async def replay(
        self, fold: Callable[[S, LogEvent], S], initial: S, *, scope: str | None = None
    ) -> S:
        """Fold the log, in the order in which everything happened.

        `read_event` turns what a watch brings into the same events in the same order, so a
        state that was folded live and one that is folded from here are equal. Holds the
        log of the scope in memory.
        """
        state = initial
        for event in await self.audit(CommandFilter(scope=scope)):
            state = fold(state, event)
        return state

    async def audit(self, wanted: CommandFilter | None = None) -> tuple[LogEvent, ...]:
        """Read everything that happened to the commands that match, in order.

        `violations` says whether it may have happened.

        Args:
            wanted: By command, decision, DAG node, epoch and so on; by default all.
        """
        wanted = wanted or CommandFilter()
        found: list[tuple[int, str, LogEvent]] = []
        async with aclosing(self._all(wanted.scope)) as everything:
            async for one, records in everything:
                if wanted.matches(one):
                    found += [(r.revision, r.key, read_event(r)) for r in records]
        found.sort(key=lambda item: item[:2])
        return tuple(event for _, _, event in found)

    async def _read(self, root: str) -> Entry | None:
        # More than a command ever has records, so that all are read at one revision.
        page = await self._store.scan(root, limit=64)
        found = _assemble(page.records)
        for part in () if found is None else found:
            self._stamps.observe(None if part is None else part.hlc, of=root)
        return found

    async def _all(
        self, scope: str | None
    ) -> AsyncGenerator[tuple[Entry, tuple[Record, ...]], None]:
        prefix = COMMAND_PREFIX if scope is None else scope_prefix(scope)
        async with aclosing(command_groups(self._store, prefix)) as groups:
            async for _, records in groups:
                found = _assemble(records)
                if found is not None:
                    yield found, records

    async def _scopes(self) -> AsyncGenerator[str, None]:
        """Name the prefix of each scope, skipping over what lies below it."""
        after: str | None = None
        while True:
            page = await self._store.scan(COMMAND_PREFIX, after=after, limit=1)
            if not page.records:
                return
            scope = page.records[0].key.split("/")[1]
            yield f"{COMMAND_PREFIX}{scope}/"
            # '0' follows '/': the first key behind everything below this scope.
            after = f"{COMMAND_PREFIX}{scope}0"


def _assemble(records: tuple[Record, ...]) -> Entry | None:
    seen = seen_in(records)
    if seen.issued is None:
        if records:
            raise CorruptRecord(
                records[0].key, expected="beside it the command itself", found="no such record"
            )
        return None
    return Entry(seen.issued, seen.started, seen.outcome)
