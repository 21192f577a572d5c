"""What identity knows and stores: who a worker is, and which life of it this is.

Source: A2.2 §2.1 and §2.3, design §3 (identity).
"""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import attrs
import msgspec

from federlib.errors import CorruptRecord, InvalidInput

__all__ = [
    "MAX_RECORD_BYTES",
    "MAX_SEQ",
    "HostRecord",
    "SeenStoreRecord",
    "SlotRecord",
    "WorkerIdentity",
    "check_seq",
    "decode_record",
    "encode_record",
]

MAX_SEQ = 999_999
"""The highest worker number of a host."""

MAX_RECORD_BYTES = 16 * 1024
"""No file of ours comes near this; a larger one is foreign and is not even read whole."""

SCHEMA = 1

# `\d` would also take the digits of other scripts, and `$` a newline behind the last one.
_HOST = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_HOST_ID = re.compile(_HOST)
_TEXT_FORM = re.compile(f"({_HOST}):(0|[1-9][0-9]{{0,5}})")

_Instant = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_HostId = Annotated[str, msgspec.Meta(pattern=rf"\A{_HOST}\Z")]
_Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
_ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


def check_seq(seq: int) -> int:
    """Return `seq` if it can number a worker: an integer from 0 to 999,999.

    Raises:
        InvalidInput: It is not.
    """
    # `type`, because True is an int too.
    if type(seq) is not int or not 0 <= seq <= MAX_SEQ:
        raise InvalidInput("seq", expected=f"an integer from 0 to {MAX_SEQ}", found=seq)
    return seq


def _match(form: re.Pattern[str], text: object) -> re.Match[str] | None:
    return form.fullmatch(text) if isinstance(text, str) else None


def _check_host_id(_instance: object, _attribute: object, value: str) -> None:
    if _match(_HOST_ID, value) is None:
        raise InvalidInput("host_id", expected="a UUID in lower case", found=value)


def _check_seq(_instance: object, _attribute: object, value: int) -> None:
    check_seq(value)


@attrs.frozen(order=True)
class WorkerIdentity:
    """Names a worker across restarts; `str()` gives the text form ``host_uuid:worker_seq``.

    Ordered by host, then by number.

    Attributes:
        host_id: UUID of the host, canonical and in lower case.
        seq: Number of the worker on that host, from 0 to 999,999.
    Raises:
        InvalidInput: A field is not as described.
    Source: A2.2 §2.1.
    """

    host_id: str = attrs.field(validator=_check_host_id)
    seq: int = attrs.field(validator=_check_seq)

    @classmethod
    def parse(cls, text: str) -> WorkerIdentity:
        """Read the text form; one identity has one spelling, and no other is taken.

        Raises:
            InvalidInput: Not ``host_uuid:worker_seq`` with a canonical lower-case UUID and
                a plain ASCII decimal without sign, blanks or leading zeros.
        """
        found = _match(_TEXT_FORM, text)
        if found is None:
            raise InvalidInput(
                "worker_id",
                expected=f"host_uuid:worker_seq, lower case, seq from 0 to {MAX_SEQ}",
                found=text,
            )
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.host_id}:{self.seq}"


class HostRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who this host is; written once, when the directory is first used.

    Attributes:
        host_id: Drawn once; every worker id of the host starts with it.
        machine_id: Hash of the machine's own id, or None where it could not be trusted.
        created_ns: When it was drawn; Unix nanoseconds, for people.
        v: Schema version.
    """

    host_id: _HostId
    machine_id: _ShortText | None
    created_ns: _Instant
    v: int = SCHEMA


class SlotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One worker of the host.

    Attributes:
        host_id: The host that the slot belongs to.
        seq: Its number on that host.
        incarnation: How often it has been claimed; every claim raises it.
        claimed_ns: When it was last claimed; Unix nanoseconds, for people.
        v: Schema version.
    """

    host_id: _HostId
    seq: _Seq
    incarnation: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    claimed_ns: _Instant
    v: int = SCHEMA


class SeenStoreRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which store this host found under a name.

    Attributes:
        key: The name, for example a URL without its password.
        store_id: The id that the store had.
        seen_ns: When it was seen first; Unix nanoseconds, for people.
        v: Schema version.
    """

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    store_id: _ShortText
    seen_ns: _Instant
    v: int = SCHEMA


class _Header(msgspec.Struct, frozen=True):
    v: int


_Record = TypeVar("_Record", bound=HostRecord | SlotRecord | SeenStoreRecord)


def encode_record(record: HostRecord | SlotRecord | SeenStoreRecord) -> bytes:
    """Turn a record into the bytes of its file: one line of JSON."""
    return msgspec.json.encode(record) + b"\n"


def decode_record(kind: type[_Record], raw: bytes, *, where: str) -> _Record:
    """Read a record back; fields that it does not know are left out of the way.

    Args:
        kind: Which record should be there.
        raw: All bytes of the file.
        where: The file, for the error.
    Raises:
        CorruptRecord: Empty, torn, foreign, out of range or of a newer version; the
            sentence names the file and the field.
    """
    if not raw.strip(b"\0 \t\r\n"):
        raise CorruptRecord(where, expected=f"a {kind.__name__}", found=f"{len(raw)} blank bytes")
    if len(raw) > MAX_RECORD_BYTES:
        raise CorruptRecord(
            where, expected=f"a {kind.__name__}", found=f"more than {MAX_RECORD_BYTES} bytes"
        )
    # The version first: in a newer one any other field may have another shape.
    schema = _decode(_Header, raw, where).v
    if schema != SCHEMA:
        raise CorruptRecord(
            where,
            expected=f"schema version {SCHEMA} in field v",
            found=schema,
            hint="a newer federlib wrote it: upgrade this one" if schema > SCHEMA else "",
        )
    return _decode(kind, raw, where)


_Any = TypeVar("_Any")


def _decode(kind: type[_Any], raw: bytes, where: str) -> _Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        # ValidationError is a DecodeError; its text names the field.
        name = "a record" if kind is _Header else f"a {kind.__name__}"
        raise CorruptRecord(where, expected=f"{name} ({problem})", found=raw) from None
