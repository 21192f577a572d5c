"""`records/`: each record in a file of its own, for people and their tools to look at.

The journal is what counts; these files follow it from time to time, and nothing but a check
ever reads them. A file is one line of JSON and then the value as it is:

    {"key":"jobs/1","revision":12,"created":7,"check":2774354912}
    the bytes of the value

Names are in small letters, so that no two keys meet on a file system that ignores case:
`/` becomes `+`, what is not a small letter, a digit or one of `-_.` becomes `%xx` for each
byte, and a name that would be too long is cut and gets `~` and a hash of its key.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable

import attrs
import msgspec

from federlib.storage.disk import Disk
from federlib.storage.protocol import Record

__all__ = ["DIRECTORY", "RecordFiles", "decode_record", "encode_record", "file_name_of"]

DIRECTORY = "records"
# No key has such a name: a name begins with a small letter, a digit, '-', '_' or '%'.
_MARK = "=revision"
_TEMPORARY = f"{DIRECTORY}/=new"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_MAX_NAME = 200
_CUT_NAME = 150


class _Head(msgspec.Struct, frozen=True):
    """The first line of a file."""

    key: str
    revision: int
    created: int
    check: int


class _Mark(msgspec.Struct, frozen=True):
    """The content of the file that says how far the others follow."""

    revision: int


def file_name_of(key: str) -> str:
    """Return the name of a record's file: never a path, `.` or `..`, at most 200 bytes."""
    parts: list[str] = []
    for byte in key.encode():
        if byte == ord("/"):
            parts.append("+")
        elif byte in _PLAIN:
            parts.append(chr(byte))
        else:
            parts.append(f"%{byte:02x}")
    if parts[0] == ".":
        parts[0] = "%2e"
    name = "".join(parts)
    if len(name) <= _MAX_NAME:
        return name
    kept, size = 0, 0
    while size + len(parts[kept]) <= _CUT_NAME:
        size += len(parts[kept])
        kept += 1
    return "".join(parts[:kept]) + "~" + hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def encode_record(record: Record) -> bytes:
    """Build the content of a record's file."""
    line = _Head(record.key, record.revision, record.created, 0)
    check = zlib.crc32(record.value, zlib.crc32(msgspec.json.encode(line)))
    head = msgspec.structs.replace(line, check=check)
    return msgspec.json.encode(head) + b"\n" + record.value


def decode_record(data: bytes) -> Record:
    """Undo `encode_record`.

    Raises:
        ValueError: It is not what we wrote.
    """
    line, _, value = data.partition(b"\n")
    head = msgspec.json.decode(line, type=_Head)
    record = Record(head.key, value, head.revision, head.created)
    if encode_record(record) != data:
        raise ValueError("another check")
    return record


@attrs.frozen
class RecordFiles:
    """The files in `records/`. Takes no lock: one at a time.

    Attributes:
        disk: Where they lie.
    """

    disk: Disk

    def revision(self) -> int:
        """Return the revision up to which every record has its file; 0 if it is not known."""
        try:
            data = self.read(_MARK)
            return msgspec.json.decode(data, type=_Mark).revision
        except (FileNotFoundError, ValueError):
            return 0

    def names(self) -> list[str]:
        """List the files of records, as they are named."""
        return [name for name in self.disk.list(DIRECTORY) if not name.startswith("=")]

    def read(self, name: str) -> bytes:
        """Read a file whole."""
        file = self.disk.open(f"{DIRECTORY}/{name}")
        try:
            return file.read(0, file.size())
        finally:
            file.close()

    def follow(
        self,
        records: Iterable[Record],
        revision: int,
        *,
        limit: int,
        is_stopped: Callable[[], bool],
    ) -> bool:
        """Bring the files up to a revision; True when they all are.

        Args:
            records: All records as they are at that revision.
            revision: Of the store.
            limit: So many files are written at most; the oldest changes first.
            is_stopped: Asked before each file.
        Raises:
            OSError: The disk refuses.
        """
        done, names = self.revision(), set(self.names())
        wanted = {file_name_of(record.key): record for record in records}
        behind = [r for name, r in wanted.items() if r.revision > done or name not in names]
        if done >= revision and not behind:
            return True
        for name in names - wanted.keys():
            # Only what we wrote: what somebody else put here is not ours to remove.
            if self._is_ours(name):
                self.disk.remove(f"{DIRECTORY}/{name}")
        behind.sort(key=lambda record: record.revision)
        for record in behind[:limit]:
            if is_stopped():
                return False
            self._write(file_name_of(record.key), encode_record(record))
        self.disk.sync_directory(DIRECTORY)
        is_whole = len(behind) <= limit
        reached = revision if is_whole else behind[limit].revision - 1
        self._write(_MARK, msgspec.json.encode(_Mark(reached)))
        self.disk.sync_directory(DIRECTORY)
        return is_whole

    def _is_ours(self, name: str) -> bool:
        try:
            return file_name_of(decode_record(self.read(name)).key) == name
        except (OSError, ValueError):
            return False

    def _write(self, name: str, data: bytes) -> None:
        file = self.disk.open(_TEMPORARY, create=True)
        try:
            file.truncate(0)
            file.append(data)
            file.sync()
        finally:
            file.close()
        self.disk.rename(_TEMPORARY, f"{DIRECTORY}/{name}")
