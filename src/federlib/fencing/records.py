"""What fencing keeps in the store, and where.

    fence/<resource>                        FenceMark: the highest token ever accepted
    command/<scope>/<id>/issued             Command: what was asked, by whom, in which epoch
    command/<scope>/<id>/started            Started: a consumer is about to act, or has acted
    command/<scope>/<id>/outcome            Outcome: what became of it, once and for all
    command/<scope>/<id>/duplicate-<n>      Outcome of the n-th delivery too many

A record of a command is written once and never again, so its revision says when that
happened. Decoding is strict: whatever is torn, foreign or newer raises `CorruptRecord` and
is left as it is.

Source: HA plan, phase 0 and §2; design §5, fencing.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeVar

import msgspec

from federlib._json import RecordReader, encode_json
from federlib._prefixes import COMMAND_PREFIX, FENCE_PREFIX
from federlib.errors import CorruptRecord, InvalidInput
from federlib.skewclock import StoredHlc
from federlib.storage import Record, segment

__all__ = [
    "COMMAND_PREFIX",
    "MAX_CAUSAL_BYTES",
    "MAX_DETAIL",
    "MAX_DUPLICATES",
    "MAX_PAYLOAD_BYTES",
    "MAX_TOKEN",
    "Command",
    "CommandStatus",
    "FenceMark",
    "Outcome",
    "Started",
    "checked_command",
    "command_prefix",
    "deadline_after",
    "decode_command",
    "decode_mark",
    "decode_outcome",
    "decode_started",
    "encode",
    "encode_causal",
    "encode_payload",
    "fence_key",
    "is_rejected",
    "new_command_id",
    "scope_prefix",
    "shorten",
]

MAX_TOKEN = 2**63 - 1
"""Tokens and epochs are int64, so that every resource can keep one."""

MAX_PAYLOAD_BYTES = 64 * 1024
"""Of JSON, that a command carries; far below a record's 512 KiB."""

MAX_CAUSAL_BYTES = 64 * 1024
"""Of JSON, that a gate may say about a command."""

MAX_DUPLICATES = 16
"""How many deliveries too many are recorded for one command; the rest are only counted."""

MAX_DETAIL = 500
"""Characters of an outcome's detail: an exception may carry a whole page."""


CommandStatus = Literal[
    "applied",
    "noop",
    "rejected_stale_epoch",
    "rejected_not_leader",
    "rejected_duplicate",
    "rejected_expired",
    "rejected_causal",
    "actuation_failed",
]
"""What this federlib writes. A reader meets any other `rejected_*` too, and takes it as that."""

FORMAT = 1
_NS = 1_000_000_000

_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,95}\Z")]
_Epoch = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKEN)]
_Token = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKEN)]
_Instant = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKEN)]
_Status = Annotated[
    str, msgspec.Meta(pattern=r"^(applied|noop|actuation_failed|rejected_[a-z_]{1,40})\Z")
]
_Detail = Annotated[str, msgspec.Meta(max_length=MAX_DETAIL)]

_NULL = msgspec.Raw(b"null")

T = TypeVar("T")


class FenceMark(msgspec.Struct, frozen=True, kw_only=True):
    """The high-water mark of one resource.

    Attributes:
        resource: The guarded resource, readable.
        high_water: The highest token that it has accepted.
        v: Schema version.
    """

    resource: str
    high_water: _Token
    v: int = FORMAT


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One mutating action, and under whose authority it was asked for.

    Attributes:
        command_id: Letters, digits and `._:-`, at most 96; unique in its scope.
        scope: The election under which it was issued.
        action: What to do, for example ``stop_lane``.
        payload: Its arguments as JSON, at most 64 KiB; `read` decodes them.
        leader_epoch: The issuer's epoch; 0 where the issuer led nothing.
        issuer: Who issued it.
        issued_at_ns: The issuer's wall clock; Unix nanoseconds.
        deadline_ns: From this instant on it is not to be started; Unix nanoseconds, or None.
        decision_id: The decision that led to it.
        dag_id: The run of a DAG that it belongs to.
        dag_node: The node of that DAG.
        causal_id: The causal hypothesis behind it.
        traceparent: W3C trace context.
        causal: What the gate for disruptive commands found, as JSON: a
            `federlib.causal.Verdict`; null where none was asked.
        hlc: When it was issued, by the issuer's hybrid logical clock; None without one.
        v: Schema version.
    """

    command_id: _Id
    scope: _Name
    action: _Name
    payload: msgspec.Raw = msgspec.Raw(b"null")
    leader_epoch: _Epoch
    issuer: _Name
    issued_at_ns: _Instant
    deadline_ns: _Instant | None = None
    decision_id: _Text | None = None
    dag_id: _Text | None = None
    dag_node: _Text | None = None
    causal_id: _Text | None = None
    traceparent: _Text | None = None
    causal: msgspec.Raw = msgspec.Raw(b"null")
    hlc: StoredHlc | None = None
    v: int = FORMAT

    def arguments(self) -> object:
        """Decode the payload as plain values."""
        return self.read(object)

    def read(self, kind: type[T]) -> T:
        """Decode the payload as `kind`: a Struct, `dict[str, int]`, and so on.

        Raises:
            InvalidInput: The payload is not of that kind.
        """
        try:
            return msgspec.json.decode(self.payload, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(
                f"payload of command {self.command_id!r}", expected=str(error), found=self.payload
            ) from error


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """Written before the handler is called: from here on the effect may have happened.

    Attributes:
        command_id: The command.
        epoch: Its epoch, which the scope's mark had admitted in the same commit.
        consumer: Who calls the handler.
        at_ns: The consumer's wall clock; Unix nanoseconds.
        hlc: The consumer's hybrid logical clock; None without one.
        v: Schema version.
    """

    command_id: _Id
    epoch: _Token
    consumer: _Name
    at_ns: _Instant
    hlc: StoredHlc | None = None
    v: int = FORMAT


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command, or of one delivery of it.

    Attributes:
        command_id: The command.
        status: A `CommandStatus`, or another `rejected_*` of a newer federlib.
        epoch: The command's epoch.
        reason: One word or phrase for programs and dashboards.
        detail: For people; at most 500 characters.
        consumer: Who recorded it.
        at_ns: The wall clock of whoever recorded it; Unix nanoseconds.
        hlc: The hybrid logical clock of whoever recorded it; None without one.
        v: Schema version.
    """

    command_id: _Id
    status: _Status
    epoch: _Epoch
    reason: _Text = ""
    detail: _Detail = ""
    consumer: _Name
    at_ns: _Instant
    hlc: StoredHlc | None = None
    v: int = FORMAT


_marks = RecordReader(FenceMark, FORMAT)
_commands = RecordReader(Command, FORMAT)
_starts = RecordReader(Started, FORMAT)
_outcomes = RecordReader(Outcome, FORMAT)


def fence_key(resource: str) -> str:
    """Return the key of the mark of `resource`.

    Raises:
        InvalidInput: The name is empty, too long, or has a control character.
    """
    return f"{FENCE_PREFIX}{segment(resource, field='resource')}"


def scope_prefix(scope: str) -> str:
    """Return the prefix of all commands of `scope`.

    Raises:
        InvalidInput: The name is empty, too long, or has a control character.
    """
    return f"{COMMAND_PREFIX}{segment(scope, field='scope')}/"


def command_prefix(scope: str, command_id: str) -> str:
    """Return the prefix of all records of one command.

    Raises:
        InvalidInput: The scope or the id cannot be part of a key.
    """
    try:
        msgspec.convert(command_id, _Id)
    except msgspec.ValidationError as error:
        raise InvalidInput("command_id", expected=str(error), found=command_id) from error
    return f"{scope_prefix(scope)}{command_id}/"


def new_command_id(now_ns: int, token: str) -> str:
    """Return an id that sorts by time: 16 hex digits of wall nanoseconds, then `token`."""
    return f"{min(max(now_ns, 0), MAX_TOKEN):016x}-{token}"


def deadline_after(now_ns: int, deadline_s: float | None) -> int | None:
    """Return the instant `deadline_s` after now; Unix nanoseconds.

    Raises:
        InvalidInput: Not a positive, finite number of seconds.
    """
    if deadline_s is None:
        return None
    # `type`, because True is an int too; `not (0 < …)` also refuses NaN.
    if type(deadline_s) not in (int, float) or not 0 < deadline_s < math.inf:
        raise InvalidInput("deadline_s", expected="a positive number of seconds", found=deadline_s)
    # A deadline beyond the calendar is none that anybody will reach.
    return min(now_ns + round(min(deadline_s, 1e9) * _NS), MAX_TOKEN)


def is_rejected(status: str) -> bool:
    """Say whether a status is a rejection: the handler was never called."""
    return status.startswith("rejected_")


def shorten(text: str, limit: int = MAX_DETAIL) -> str:
    """Cut `text` to `limit` characters, and make it such that UTF-8 can hold it."""
    text = text[: limit + 1].encode(errors="replace").decode()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def encode(record: FenceMark | Command | Started | Outcome) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.encode(record)


def encode_payload(value: object) -> msgspec.Raw:
    """Turn a command's arguments into JSON: plain values, Structs, or a `Raw` already.

    Raises:
        InvalidInput: JSON cannot hold it, or it is beyond 64 KiB.
    """
    return msgspec.Raw(encode_json(value, field="payload", max_bytes=MAX_PAYLOAD_BYTES))


def encode_causal(value: msgspec.Raw) -> msgspec.Raw:
    """Check what a gate says about a command: JSON, at most 64 KiB.

    Raises:
        InvalidInput: It is something else.
    """
    if value == _NULL:
        return _NULL
    return msgspec.Raw(encode_json(value, field="causal", max_bytes=MAX_CAUSAL_BYTES))


def checked_command(command: Command) -> Command:
    """Return the command as a reader of the store will see it.

    Raises:
        InvalidInput: A field is missing, of the wrong type, or out of its range.
    """
    if not isinstance(command, Command):
        raise InvalidInput("command", expected="a Command", found=command)
    payload = encode_payload(command.payload)
    causal = encode_causal(command.causal)
    command_prefix(command.scope, command.command_id)
    try:
        # One round trip checks every constraint that the annotations state.
        value = encode(msgspec.structs.replace(command, payload=payload, causal=causal))
        found = msgspec.json.decode(value, type=Command)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            "command", expected=f"one that is well formed ({error})", found=command.command_id
        ) from error
    if found.v != FORMAT:
        raise InvalidInput("command", expected=f"field v = {FORMAT}", found=found.v)
    return found


def decode_mark(record: Record, resource: str) -> FenceMark:
    """Read the mark of `resource`.

    Raises:
        CorruptRecord: Not a mark of this format, or that of another resource.
    """
    mark = _marks.read(record.key, record.value)
    if mark.resource != resource:
        raise CorruptRecord(
            record.key, expected=f"field resource = {resource!r}", found=mark.resource
        )
    return mark


def decode_command(record: Record) -> Command:
    """Read a command; the payload is checked to be JSON within its limit.

    Raises:
        CorruptRecord: Not a command of this format, or not the one that its key names.
    """
    command = _commands.read(record.key, record.value)
    try:
        encode_payload(command.payload)
        encode_causal(command.causal)
        prefix = command_prefix(command.scope, command.command_id)
    except InvalidInput as error:
        raise CorruptRecord(record.key, expected=str(error), found=record.value) from error
    if record.key != f"{prefix}issued":
        raise CorruptRecord(
            record.key, expected="fields scope and command_id as in the key", found=prefix
        )
    return command


def decode_started(record: Record) -> Started:
    """Read a started mark.

    Raises:
        CorruptRecord: Not one of this format, or not of the command that its key names.
    """
    return _of_its_key(record, _starts.read(record.key, record.value))


def decode_outcome(record: Record) -> Outcome:
    """Read an outcome, or a delivery too many.

    Raises:
        CorruptRecord: Not one of this format, or not of the command that its key names.
    """
    return _of_its_key(record, _outcomes.read(record.key, record.value))


_Part = TypeVar("_Part", Started, Outcome)


def _of_its_key(record: Record, part: _Part) -> _Part:
    if record.key.split("/")[-2] != part.command_id:
        raise CorruptRecord(
            record.key, expected="field command_id as in the key", found=part.command_id
        )
    return part
