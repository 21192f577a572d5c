"""The command log as a history: what happened in which order, and whether it may have.

Pure: reads records that somebody else has fetched.

Source: HA plan §2 (replay and audit of every command decision).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

from federlib.errors import CorruptRecord
from federlib.fencing.records import (
    Command,
    Outcome,
    Started,
    decode_command,
    decode_outcome,
    decode_started,
    is_rejected,
)
from federlib.storage import Record, unsegment

__all__ = ["LogEvent", "What", "read_event", "violations"]

What = Literal["issued", "started", "outcome", "duplicate"]


@attrs.frozen(kw_only=True)
class LogEvent:
    """One thing that happened to a command.

    Attributes:
        revision: When, as a revision of the store; several may share one.
        what: Which of its records this was.
        scope: The scope of the command.
        command_id: The command.
        record: The record itself.
    """

    revision: int
    what: What
    scope: str
    command_id: str
    record: Command | Started | Outcome


def read_event(record: Record) -> LogEvent:
    """Read one record of the log, from a scan or from a watch.

    Raises:
        CorruptRecord: It cannot be read, or does not belong here.
    """
    _, _, rest = record.key.partition("/")
    scope, _, name = rest.partition("/")
    command_id, _, name = name.partition("/")
    found: Command | Started | Outcome
    what: What
    if name == "issued":
        what, found = "issued", decode_command(record)
    elif name == "started":
        what, found = "started", decode_started(record)
    elif name == "outcome":
        what, found = "outcome", decode_outcome(record)
    elif name.startswith("duplicate-"):
        what, found = "duplicate", decode_outcome(record)
    else:
        raise CorruptRecord(record.key, expected="a record of a command", found=name)
    return LogEvent(
        revision=record.revision,
        what=what,
        scope=unsegment(scope),
        command_id=command_id,
        record=found,
    )


def violations(events: Iterable[LogEvent]) -> tuple[str, ...]:
    """Name whatever must not have happened in a history of whole scopes; none is well.

    Looked for: a command started twice or with two outcomes; an actuation that nobody had
    started, or one that was rejected although started; an epoch that is not the command's;
    a command accepted under an epoch below one that its scope had accepted before.

    Args:
        events: In the order of their revisions.
    """
    audit = _Audit()
    for event in events:
        audit.see(event)
    return tuple(audit.found)


class _Audit:
    def __init__(self) -> None:
        self.found: list[str] = []
        self._issued: dict[tuple[str, str], Command] = {}
        self._started: set[tuple[str, str]] = set()
        self._ended: set[tuple[str, str]] = set()
        self._highest: dict[str, int] = {}

    def see(self, event: LogEvent) -> None:
        name = (event.scope, event.command_id)
        match event.record:
            case Command():
                self._issued[name] = event.record
            case Started():
                self._see_started(event, name, event.record.epoch)
            case Outcome() if event.what == "outcome":
                self._see_outcome(event, name, event.record.status)
            case Outcome():
                pass

    def _see_started(self, event: LogEvent, name: tuple[str, str], epoch: int) -> None:
        if name in self._started:
            self._complain(event, "was started twice")
        if name in self._ended:
            self._complain(event, "was started after its outcome")
        self._started.add(name)
        command = self._issued.get(name)
        if command is None:
            self._complain(event, "was started without having been issued")
        elif command.leader_epoch != epoch:
            self._complain(event, f"of epoch {command.leader_epoch} was started under {epoch}")
        highest = self._highest.get(event.scope, 0)
        if epoch < highest:
            self._complain(event, f"was accepted under epoch {epoch} after epoch {highest}")
        self._highest[event.scope] = max(epoch, highest)

    def _see_outcome(self, event: LogEvent, name: tuple[str, str], status: str) -> None:
        if name in self._ended:
            self._complain(event, "has two outcomes")
        self._ended.add(name)
        # Expired while it was being started: its consumer saw that before it acted.
        is_late = status == "rejected_expired"
        if is_rejected(status) and not is_late and name in self._started:
            self._complain(event, f"was started, and then {status}")
        if not is_rejected(status) and name not in self._started:
            self._complain(event, f"is {status}, and nobody had started it")

    def _complain(self, event: LogEvent, what: str) -> None:
        self.found.append(
            f"revision {event.revision}: command {event.command_id} of {event.scope} {what}"
        )
