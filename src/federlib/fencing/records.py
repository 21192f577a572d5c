"""What fencing keeps in the store, and where.

    fence/<resource>                       FenceMark: the highest token accepted
    command/<scope>/<id>/issued            Command: what was asked, under which epoch
    command/<scope>/<id>/started           Started: a consumer is about to act
    command/<scope>/<id>/outcome           Outcome: what became of it; written once
    command/<scope>/<id>/duplicate-<n>     Outcome: a second delivery, refused

Source: HA plan, phase 0 and §2; design §5, fencing.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage import Record, check_key, segment

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "Command",
    "CommandKeys",
    "CommandStatus",
    "FenceMark",
    "Outcome",
    "Started",
    "check_token",
    "decode",
    "encode",
]

MAX_PAYLOAD_BYTES = 64 * 1024
_MAX_TOKEN = 2**63 - 1

CommandStatus = Literal[
    "applied",
    "noop",
    "rejected_stale_epoch",
    "rejected_not_leader",
    "rejected_duplicate",
    "rejected_expired",
    "actuation_failed",
]
"""HA plan §2: `applied`, `noop`, `rejected_*`, `actuation_failed`."""


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    v: int = 1


class FenceMark(_Versioned, frozen=True, kw_only=True):
    """The high-water mark of a resource."""

    resource: str
    high_water: int


class Command(_Versioned, frozen=True, kw_only=True):
    """A mutating command, as issued.

    Attributes:
        command_id: Unique; ids drawn by `Commands.issue` sort by time.
        scope: The election whose leader may issue it.
        action: What to do, for example `scale`.
        payload: JSON of at most 64 KiB.
        leader_epoch: Under which epoch it was issued; 0 if its issuer did not lead.
        issuer: Who issued it.
        issued_at_ns: When; Unix nanoseconds.
        deadline_ns: After this instant it must not be applied; Unix nanoseconds.
        decision_id: The decision it follows from.
        dag_id: The run it belongs to.
        dag_node: The task it belongs to.
        causal_id: The hypothesis it rests on.
        trace_id: W3C `traceparent` or any id of a trace.
    """

    command_id: str
    scope: str
    action: str
    payload: msgspec.Raw
    leader_epoch: int
    issuer: str
    issued_at_ns: int
    deadline_ns: int | None = None
    decision_id: str | None = None
    dag_id: str | None = None
    dag_node: str | None = None
    causal_id: str | None = None
    trace_id: str | None = None

    def arguments(self) -> object:
        """Decode the payload."""
        return msgspec.json.decode(self.payload)


class Started(_Versioned, frozen=True, kw_only=True):
    """A consumer was about to act; without an outcome, nobody knows whether it did."""

    command_id: str
    epoch: int
    consumer: str
    at_ns: int


class Outcome(_Versioned, frozen=True, kw_only=True):
    """What became of one command, or of one delivery of it."""

    command_id: str
    status: CommandStatus
    epoch: int
    consumer: str
    at_ns: int
    reason: str = ""


_T = TypeVar("_T", bound=_Versioned)


def encode(record: _Versioned) -> bytes:
    """Turn a record into the JSON that is stored."""
    return msgspec.json.encode(record)


def decode(kind: type[_T], record: Record) -> _T:
    """Read a stored record.

    Raises:
        CorruptRecord: It is torn, of another shape, or written by a newer federlib.
    """
    try:
        value = msgspec.json.decode(record.value, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise CorruptRecord(
            record.key, expected=f"a {kind.__name__} ({error})", found=record.value
        ) from error
    if value.v != 1:
        raise CorruptRecord(
            f"{record.key}, field v",
            expected="version 1",
            found=value.v,
            hint="it was written by a newer federlib; upgrade this one",
        )
    return value


def check_token(token: int, *, field: str = "token") -> int:
    """Return a fencing token if it can be one.

    Raises:
        InvalidInput: Not an int from 1 to 2**63 - 1.
    """
    # `type` and not `isinstance`: True is not a token.
    if type(token) is not int or not 1 <= token <= _MAX_TOKEN:
        raise InvalidInput(field, expected="an int from 1 to 2**63 - 1", found=token)
    return token


class CommandKeys:
    """The keys of one command.

    Raises:
        InvalidInput: The scope or the id cannot be part of a key.
    """

    ROOT = "command/"

    def __init__(self, scope: str, command_id: str) -> None:
        self.root = f"{self.scope_root(scope)}{segment(command_id, field='command_id')}/"
        self.issued = check_key(self.root + "issued")
        self.started = self.root + "started"
        self.outcome = self.root + "outcome"

    @classmethod
    def scope_root(cls, scope: str) -> str:
        """Return the beginning of all keys of a scope's commands."""
        return f"{cls.ROOT}{segment(scope, field='scope')}/"

    def duplicate(self, number: int) -> str:
        """Return the key of one refused second delivery."""
        return f"{self.root}duplicate-{number:02d}"
