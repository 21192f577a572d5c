"""The frames of which journal and state files are made: how they are written and told apart.

A frame is a head of 20 bytes and a payload:

    magic 3 | kind 1 | length of the payload 4 | revision 8 | check 4 | payload

little-endian. The check is the CRC-32 of everything else, seeded with the store's id: a frame
that another store left in the same sectors of the disk is none of ours.

Pure: it works on bytes. What they mean for a store is `_segments`' business.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import Literal

import msgspec

from federlib.storage.backends._embedded.table import Receipt
from federlib.storage.protocol import Batch, Event, Record

__all__ = [
    "CHANGE",
    "CLOSING",
    "HEAD_BYTES",
    "MAX_BEGINNING_BYTES",
    "MAX_PAYLOAD_BYTES",
    "OPENING",
    "RECEIPTS",
    "RECORDS",
    "Frame",
    "FrameReader",
    "Opening",
    "beginning",
    "decode_change",
    "encode_change",
    "find_later_change",
    "frame",
    "read_beginning",
    "salt_of",
]

OPENING = b"O"
"""First in every file: of which store it is."""
CHANGE = b"C"
"""One commit."""
CLOSING = b"Z"
"""Last in a file: what comes next is in another."""
RECORDS = b"R"
"""Some of the records of a state."""
RECEIPTS = b"T"
"""Some of the receipts of a state."""

HEAD_BYTES = 20
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""More than any transaction takes; a longer one is a length that was damaged."""

FORMAT = 1
"""The layout that this version reads and writes."""

MAX_BEGINNING_BYTES = 512
"""More than any beginning takes."""

_MAGIC = b"\xf5FJ"
_HEAD = struct.Struct("<3scIQ")
_CHECK = struct.Struct("<I")
_LATER = (CHANGE, CLOSING)
_FIRST_BLOCK_BYTES = 16 * 1024
_BLOCK_BYTES = 1024 * 1024


_BEGINNING = re.compile(rb"federlib (journal|state) (\d{1,9})\n")


class Opening(msgspec.Struct, frozen=True):
    """The payload of an opening frame.

    Attributes:
        store_id: Of which store the file is.
    """

    store_id: str


def beginning(what: Literal["journal", "state"], store_id: str, revision: int = 0) -> bytes:
    """Build what a file begins with: a line that names its format, and an opening frame."""
    payload = msgspec.json.encode(Opening(store_id))
    # Not seeded with the store's id, or nobody could tell which store it is of.
    return f"federlib {what} {FORMAT}\n".encode() + frame(OPENING, revision, payload, 0)


def read_beginning(data: bytes) -> str | int | None:
    """Return the store id, or the number of a newer format, or None for what is not ours."""
    found = _BEGINNING.match(data)
    if found is None:
        return None
    if int(found[2]) > FORMAT:
        return int(found[2])
    if int(found[2]) < FORMAT:
        return None
    reader = FrameReader(lambda offset, size: data[offset : offset + size], found.end(), 0)
    opening = reader.next()
    if opening is None or opening.kind != OPENING:
        return None
    try:
        return msgspec.json.decode(opening.payload, type=Opening).store_id
    except ValueError:
        return None


class _Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event as the journal keeps it; a delete has no value."""

    key: str
    value: bytes | None
    created: int


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """The payload of a change: what a commit did, and the receipt if it had an id."""

    changes: list[_Change]
    receipt: Receipt | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Entry).decode


def salt_of(store_id: str) -> int:
    """Return what the checks of a store's frames begin with."""
    return zlib.crc32(store_id.encode())


def frame(kind: bytes, revision: int, payload: bytes, salt: int) -> bytes:
    """Build one frame."""
    head = _HEAD.pack(_MAGIC, kind, len(payload), revision)
    check = zlib.crc32(payload, zlib.crc32(head, salt))
    return b"".join((head, _CHECK.pack(check), payload))


def encode_change(batch: Batch, receipt: Receipt | None) -> bytes:
    """Build the payload of a change."""
    changes = []
    for event in batch.events:
        record = event.record
        if record is None:
            changes.append(_Change(event.key, None, 0))
        else:
            changes.append(_Change(event.key, record.value, record.created))
    return _encode(_Entry(changes, receipt))


def decode_change(revision: int, payload: bytes) -> tuple[Batch, Receipt | None]:
    """Undo `encode_change`.

    Raises:
        ValueError: The payload is none that we wrote, although its check is right.
    """
    entry = _decode(payload)
    events = []
    for change in entry.changes:
        key, value = change.key, change.value
        record = None if value is None else Record(key, value, revision, change.created)
        events.append(Event(key, record))
    if entry.receipt is not None and entry.receipt.revision != revision:
        raise ValueError(f"a receipt of revision {entry.receipt.revision}")
    return Batch(revision, tuple(events)), entry.receipt


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One whole frame that was found.

    Attributes:
        kind: One of the constants of this module, if it is one of ours.
        revision: As its kind has it; of a change, the commit's.
        start: Where it begins in its file.
        end: Where it ends.
        payload: Its content.
    """

    kind: bytes
    revision: int
    start: int
    end: int
    payload: bytes


class FrameReader:
    """Reads frames one after the other, in blocks that grow.

    Attributes:
        at: Where the next frame begins.
    """

    def __init__(self, read: Callable[[int, int], bytes], at: int, salt: int) -> None:
        """`read(offset, size)` may return less at the end only."""
        self.at = at
        self._read = read
        self._salt = salt
        self._block = b""
        self._block_at = at
        self._block_bytes = _FIRST_BLOCK_BYTES

    def next(self) -> Frame | None:
        """Take the next frame; None where there is no whole and right one."""
        head = self._take(0, HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            return None
        magic, kind, length, revision = _HEAD.unpack_from(head)
        if magic != _MAGIC or length > MAX_PAYLOAD_BYTES:
            return None
        payload = self._take(HEAD_BYTES, length)
        (check,) = _CHECK.unpack_from(head, _HEAD.size)
        if zlib.crc32(payload, zlib.crc32(head[: _HEAD.size], self._salt)) != check:
            return None
        if len(payload) < length:
            return None
        start, self.at = self.at, self.at + HEAD_BYTES + length
        return Frame(kind, revision, start, self.at, payload)

    def _take(self, skip: int, size: int) -> bytes:
        begin = self.at - self._block_at + skip
        if begin + size > len(self._block):
            wanted = max(self._block_bytes, skip + size)
            self._block = self._read(self.at, wanted)
            self._block_at, self._block_bytes, begin = self.at, _BLOCK_BYTES, skip
        return self._block[begin : begin + size]


def find_later_change(data: bytes, revision: int, salt: int) -> int | None:
    """Find a whole frame behind a revision anywhere in `data`; return its revision."""
    for found in re.finditer(re.escape(_MAGIC), data):
        start = found.start()
        if start + HEAD_BYTES > len(data):
            return None
        _, kind, length, later = _HEAD.unpack_from(data, start)
        # Cheap questions first: data of a user may be full of what looks like a frame.
        is_possible = revision < later <= revision + len(data) // HEAD_BYTES
        if kind in _LATER and is_possible and start + HEAD_BYTES + length <= len(data):
            reader = FrameReader(lambda offset, size: data[offset : offset + size], start, salt)
            if reader.next() is not None:
                return int(later)
    return None
