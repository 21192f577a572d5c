"""`OutcomeLog`: reads the durable log of commands, for audit, replay and dashboards.

Source: HA plan, phase 0 (durable command outcome log) and §2 (replay and audit).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple, TypeVar

import attrs

from federlib.fencing.audit import LogEvent, read_event
from federlib.fencing.decide import Seen
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
from federlib.storage import Record, RecordStore

__all__ = ["CommandFilter", "Entry", "OutcomeLog"]

S = TypeVar("S")


class Entry(NamedTuple):
    """A command and what became of it so far."""

    command: Command
    started: Started | None
    outcome: Outcome | None


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
        status: The status of its outcome; ``rejected_*`` finds every rejection.
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

    def matches(self, command: Command, outcome: Outcome | None) -> bool:
        """Say whether a command is one of those asked for."""
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
        if any(wanted is not None and wanted != found for wanted, found in pairs):
            return False
        if self.status is None:
            return True
        if outcome is None:
            return False
        if self.status == "rejected_*":
            return is_rejected(outcome.status)
        return outcome.status == self.status


class OutcomeLog:
    """The commands of a store and their outcomes, read only.

    What is read in several pages is not one snapshot: a command that moves on meanwhile
    may be shown as it was a moment before.

    Every verb may raise `CorruptRecord`, naming the record that cannot be trusted, and
    `Unavailable`.

    Args:
        store: Where the commands are.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def outcome(self, command_id: str, *, scope: str | None = None) -> Outcome | None:
        """Read the outcome of a command; None where it has none yet, or is not known.

        Args:
            command_id: The command.
            scope: Its scope; without one, each scope is asked in turn.
        """
        entry = await self.find(command_id, scope=scope)
        return None if entry is None else entry.outcome

    async def find(self, command_id: str, *, scope: str | None = None) -> Entry | None:
        """Read one command, at one revision; None where it is not known."""
        prefixes = [command_prefix(scope or "any", command_id)]
        if scope is None:
            prefixes = [f"{p}{command_id}/" async for p in self._scopes()]
        for prefix in prefixes:
            page = await self._store.scan(prefix, limit=64)
            entry = _entry(seen_in(page.records))
            if entry is not None:
                return entry
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
        async for seen, _ in self._groups(scope):
            entry = _entry(seen)
            if entry is not None and wanted.matches(entry.command, entry.outcome):
                yield entry

    async def counts(self, *, scope: str | None = None) -> dict[str, int]:
        """Count outcomes by status.

        Deliveries too many count as `rejected_duplicate`, at most 16 for a command. Commands
        that have no outcome yet are not counted.
        """
        counts: dict[str, int] = {}
        async for seen, _ in self._groups(scope):
            if seen.outcome is not None:
                counts[seen.outcome.status] = counts.get(seen.outcome.status, 0) + 1
            if seen.duplicates:
                counts["rejected_duplicate"] = counts.get("rejected_duplicate", 0) + seen.duplicates
        return dict(sorted(counts.items()))

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
        async for seen, records in self._groups(wanted.scope):
            if seen.issued is None or not wanted.matches(seen.issued, seen.outcome):
                continue
            found += [(r.revision, r.key, read_event(r)) for r in records]
        found.sort(key=lambda item: item[:2])
        return tuple(event for _, _, event in found)

    async def _groups(self, scope: str | None) -> AsyncGenerator[tuple[Seen, tuple[Record, ...]], None]:
        prefix = COMMAND_PREFIX if scope is None else scope_prefix(scope)
        async for _, records in command_groups(self._store, prefix):
            yield seen_in(records), records

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


def _entry(seen: Seen) -> Entry | None:
    if seen.issued is None:
        return None
    return Entry(seen.issued, seen.started, seen.outcome)
