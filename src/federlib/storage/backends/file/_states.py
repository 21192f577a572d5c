"""States: everything that a file store held at one revision, in one file.

A state lets the journal before it go. It is written beside the commits, under another name,
and gets its own name when it is synced; so what has the name of a state is whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import msgspec

from federlib.errors import CorruptRecord
from federlib.storage.backends._embedded.table import Receipt
from federlib.storage.backends.file import _journal as frames
from federlib.storage.backends.file._journal import FrameReader
from federlib.storage.backends.file._journal_files import (
    DIRECTORY,
    STATE,
    check_beginning,
    file_name,
    temporary_name,
)
from federlib.storage.disk import Disk
from federlib.storage.protocol import Record

__all__ = ["State", "read_state", "write_state"]

_CHUNK_BYTES = 256 * 1024
_RECORD_BYTES = 64
_RECEIPTS_EACH = 2_000


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record, as a state keeps it."""

    key: str
    value: bytes
    revision: int
    created: int


class _Counts(msgspec.Struct, frozen=True):
    """The payload of the closing frame: the state is whole if it has as many."""

    records: int
    receipts: int


_encode = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(list[_Row]).decode
_decode_receipts = msgspec.msgpack.Decoder(list[Receipt]).decode


@attrs.frozen
class State:
    """Everything at one revision.

    Attributes:
        revision: Of the last commit in it.
        records: In no certain order.
        receipts: The oldest first.
        size_bytes: Of its file; 0 if it has none.
    """

    revision: int
    records: list[Record]
    receipts: list[Receipt]
    size_bytes: int = 0


def write_state(disk: Disk, store_id: str, state: State) -> int:
    """Write a state so that it lasts; return its size. Takes no lock: one at a time.

    Raises:
        OSError: The disk refuses; no state has come into being, or nobody knows.
    """
    file = disk.open(temporary_name(STATE), create=True)
    try:
        file.truncate(0)
        file.append(frames.beginning("state", store_id, state.revision))
        for part in _parts(state, frames.salt_of(store_id)):
            file.append(part)
        file.sync()
        size = file.size()
    finally:
        file.close()
    disk.rename(temporary_name(STATE), file_name(state.revision, STATE))
    disk.sync_directory(DIRECTORY)
    return size


def _parts(state: State, salt: int) -> Iterator[bytes]:
    revision = state.revision
    rows: list[_Row] = []
    size = 0
    for record in state.records:
        rows.append(_Row(record.key, record.value, record.revision, record.created))
        size += len(record.value) + _RECORD_BYTES
        if size >= _CHUNK_BYTES:
            yield frames.frame(frames.RECORDS, revision, _encode(rows), salt)
            rows, size = [], 0
    if rows:
        yield frames.frame(frames.RECORDS, revision, _encode(rows), salt)
    for start in range(0, len(state.receipts), _RECEIPTS_EACH):
        part = state.receipts[start : start + _RECEIPTS_EACH]
        yield frames.frame(frames.RECEIPTS, revision, _encode(part), salt)
    counts = _Counts(len(state.records), len(state.receipts))
    yield frames.frame(frames.CLOSING, revision, msgspec.json.encode(counts), salt)


def read_state(disk: Disk, where: str, store_id: str, revision: int) -> State:
    """Read a state.

    Raises:
        FileNotFoundError: There is none of that revision.
        CorruptRecord: It is damaged, or of another store.
    """
    name = file_name(revision, STATE)
    file = disk.open(name)
    try:
        beginning = frames.beginning("state", store_id, revision)
        check_beginning(file, beginning, f"{where}, {name}")
        reader = FrameReader(file.read, len(beginning), frames.salt_of(store_id))
        try:
            state = _collect(reader, revision)
        except (ValueError, TypeError) as error:
            raise CorruptRecord(
                f"{where}, {name}, byte {reader.at}",
                expected="a whole state",
                found=str(error),
                hint="restore a backup",
            ) from error
        return state
    finally:
        file.close()


def _collect(reader: FrameReader, revision: int) -> State:
    records: list[Record] = []
    receipts: list[Receipt] = []
    while True:
        part = reader.next()
        if part is None or part.revision != revision:
            raise ValueError("a damaged frame")
        if part.kind == frames.RECORDS:
            rows = _decode_rows(part.payload)
            records += [Record(row.key, row.value, row.revision, row.created) for row in rows]
        elif part.kind == frames.RECEIPTS:
            receipts += _decode_receipts(part.payload)
        elif part.kind == frames.CLOSING:
            counts = msgspec.json.decode(part.payload, type=_Counts)
            if (counts.records, counts.receipts) != (len(records), len(receipts)):
                raise ValueError(f"{len(records)} records and {len(receipts)} receipts")
            return State(revision, records, receipts, part.end)
        else:
            raise ValueError(f"a frame of kind {part.kind!r}")
