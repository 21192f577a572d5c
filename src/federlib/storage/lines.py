"""The export format: a store as lines of JSON. Pure: bytes in, records out, and back.

    {"federlib":"store export","v":1,"store_id":"…","revision":9,"at":"2025-01-31T12:00:00Z"}
    {"key":"lease/nightly/lease","revision":7,"json":{"v":1,"name":"nightly",…}}
    {"key":"photo","revision":9,"base64":"/9j/4AAQ…"}
    {"records":2,"sha256":"…"}

A value that is JSON on one line stands as it is, byte for byte; any other is base64. Keys
ascend in byte order. The checksum is of all bytes in front of the last line.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Literal, NoReturn, TypeVar

import msgspec

from federlib._json import MAX_DEPTH, json_fault
from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage.filling import MARK_KEY
from federlib.storage.limits import check_transaction
from federlib.storage.protocol import Put, Record, Transaction

__all__ = ["FORMAT", "MAX_LINE_BYTES", "ExportHeader", "LineReader", "LineWriter"]

FORMAT = 1
MAX_LINE_BYTES = 1024 * 1024
"""With its end; a value of 512 KiB in base64 takes 683 KiB, the longest key 3 KiB."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Revision = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Short = Annotated[str, msgspec.Meta(max_length=200)]


class ExportHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line.

    Attributes:
        federlib: Says what the file is.
        v: Version of the format.
        store_id: Of the store that was exported.
        revision: At which all records were read.
        at: When, for people; ISO 8601, UTC.
    """

    federlib: Literal["store export"] = "store export"
    v: int = FORMAT
    store_id: _Short
    revision: _Count
    at: _Short


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: str
    revision: _Revision
    json: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    base64: str | msgspec.UnsetType = msgspec.UNSET


class _Footer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    records: _Count
    sha256: _Short


class _Start(msgspec.Struct):
    federlib: str
    v: int


_T = TypeVar("_T")
_FOOTER_START = b'{"records":'


class LineWriter:
    """Writes an export; the caller brings records in byte order of their keys."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self.records: int = 0

    def header(self, header: ExportHeader) -> bytes:
        """Return the first line."""
        return self._count_in(msgspec.json.encode(header))

    def record(self, record: Record) -> bytes:
        """Return the line of a record."""
        self.records += 1
        return self._count_in(_encode(record))

    def footer(self) -> bytes:
        """Return the last line."""
        footer = _Footer(records=self.records, sha256=self._sum.hexdigest())
        return msgspec.json.encode(footer) + b"\n"

    def _count_in(self, line: bytes) -> bytes:
        self._sum.update(line)
        self._sum.update(b"\n")
        return line + b"\n"


def _encode(record: Record) -> bytes:
    readable = _Line(key=record.key, revision=record.revision, json=msgspec.Raw(record.value))
    line = msgspec.json.encode(readable)
    if _is_readable(record.value, line):
        return line
    text = base64.b64encode(record.value).decode()
    return msgspec.json.encode(_Line(key=record.key, revision=record.revision, base64=text))


def _is_readable(value: bytes, line: bytes) -> bool:
    """Say whether a value may stand in its line as it is."""
    if b"\n" in value or b"\r" in value:
        return False
    try:
        value.decode()
        found = msgspec.json.decode(line, type=_Line)
        if value.count(b"[") + value.count(b"{") > MAX_DEPTH:
            # How deep a reader may go depends on where it stands: stay far from that.
            return json_fault(msgspec.json.decode(value)) is None and _raw(found) == value
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return _raw(found) == value


def _raw(line: _Line) -> bytes | None:
    # A copy: a raw value would keep the whole line alive.
    return None if isinstance(line.json, msgspec.UnsetType) else bytes(line.json)


class LineReader:
    """Reads an export, line by line, and refuses whatever is not exactly one.

    Args:
        name: What to call the file in errors.
    """

    def __init__(self, name: str) -> None:
        self.header: ExportHeader | None = None
        self._name = name
        self._sum = hashlib.sha256()
        self._number = 0
        self._records = 0
        self._last = b""
        self._ended = False

    def feed(self, line: bytes) -> Record | None:
        """Take the next line, its end included; return the record that is in it.

        Raises:
            CorruptRecord: It is not what must stand there; with the number of the line.
        """
        self._number += 1
        if self._ended:
            self._refuse("the end of the file", line)
        if len(line) > MAX_LINE_BYTES:
            self._refuse(f"at most {MAX_LINE_BYTES} bytes", line)
        if not line.endswith(b"\n"):
            self._refuse("a whole line: the file is torn here", line)
        if self.header is None:
            self.header = self._read_header(line)
        elif line.startswith(_FOOTER_START):
            self._read_footer(line)
            return None
        else:
            record = self._read_record(line)
            self._sum.update(line)
            self._records += 1
            return record
        self._sum.update(line)
        return None

    def finish(self) -> ExportHeader:
        """Return the header, once the file has ended.

        Raises:
            CorruptRecord: The file had to go on.
        """
        self._number += 1
        if self.header is None or not self._ended:
            self._refuse("the checksum in a last line: the file is torn", b"")
        return self.header

    def _read_header(self, line: bytes) -> ExportHeader:
        start = self._decode(line, _Start)
        if start.federlib != "store export":
            self._refuse("an export of a store", line)
        if start.v != FORMAT:
            # Said first: a newer format may differ in everything else.
            self._refuse(f"field v = {FORMAT}", start.v, hint=(
                "a newer federlib wrote it: upgrade this one" if start.v > FORMAT else ""
            ))  # fmt: skip
        return self._decode(line, ExportHeader)

    def _read_footer(self, line: bytes) -> None:
        footer = self._decode(line, _Footer)
        if footer.records != self._records:
            self._refuse(f"{footer.records} records in front of it", self._records)
        if footer.sha256 != self._sum.hexdigest():
            self._refuse(f"lines with the checksum {footer.sha256}", self._sum.hexdigest())
        self._ended = True

    def _read_record(self, line: bytes) -> Record:
        found = self._decode(line, _Line)
        value = self._value(found, line)
        try:
            check_transaction(Transaction((Put(found.key, value),)))
        except InvalidInput as error:
            self._refuse(f"{error.field}: {error.expected}", error.found)
        if found.key == MARK_KEY:
            self._refuse("a record of a whole store", found.key)
        order = found.key.encode()
        if order <= self._last:
            self._refuse("keys in ascending order, each once", found.key)
        self._last = order
        return Record(found.key, value, found.revision, found.revision)

    def _value(self, found: _Line, line: bytes) -> bytes:
        raw = _raw(found)
        if (raw is None) == isinstance(found.base64, msgspec.UnsetType):
            self._refuse("either json or base64", line)
        try:
            if raw is not None:
                raw.decode()
                return raw
            return base64.b64decode(str(found.base64), validate=True)
        except ValueError as error:
            self._refuse(f"a value that can be read ({error})", line)

    def _decode(self, line: bytes, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(line, type=kind)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._refuse(f"JSON of its kind ({error})", line)

    def _refuse(self, expected: str, found: object, *, hint: str = "") -> NoReturn:
        where = f"{self._name}, line {self._number}"
        raise CorruptRecord(where, expected=expected, found=found, hint=hint)
