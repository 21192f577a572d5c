"""The smallest store that survives a crash, and the ways to get it wrong.

It is here to show that the sweep finds what it is meant to find; nothing else uses it.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.storage import (
    AtRevision,
    Batch,
    Committed,
    Conflicted,
    Mismatch,
    NotSeen,
    Page,
    Put,
    Record,
)
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.disk import Disk, DiskFile

__all__ = ["BUGS", "TinyStore"]

BUGS = (
    "commit is not synced",
    "commit is synced after the answer",
    "new journal is not synced before its rename",
    "directory is not synced after the rename",
    "checksum is not compared",
    "sync is tried again after it failed",
    "what is found at an open is not made to last",
    "what a failed sync left is only synced at the next open",
    "a failed sync is called 'nothing happened'",
    "receipts are left out of the new journal",
    "a new journal does not know the last revision",
)

_TRUSTS = BUGS.index("what is found at an open is not made to last")
_HEAD = struct.Struct("<II")
_EVERY = 5


class TinyStore:
    """One journal of transactions, written anew at every fifth commit and at every open."""

    def __init__(self, disk: Disk, *, bug: str | None = None) -> None:
        assert bug is None or bug in BUGS
        self.store_id = "tiny"
        self._bug = bug
        self._disk = disk
        self._is_poisoned = False
        self._since = 0
        self._records: dict[str, Record] = {}
        self._receipts: dict[str, int] = {}
        self._last = 0
        try:
            self._open()
        except OSError as error:
            raise Unavailable("tiny store", str(error)) from error

    def _open(self) -> None:
        is_new = "journal" not in self._disk.list("")
        if not is_new:
            self._file: DiskFile = self._disk.open("journal")
            self._read()
        if is_new or self._bug not in {BUGS[_TRUSTS], BUGS[_TRUSTS + 1]}:
            self._write_anew()
        elif self._bug == BUGS[_TRUSTS + 1]:
            self._file.sync()
            self._disk.sync_directory("")

    def _read(self) -> None:
        data, at = self._file.read(0, self._file.size()), 0
        while at + _HEAD.size <= len(data):
            size, crc = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + size]
            is_whole = zlib.crc32(body) == crc and size > 0
            if not is_whole and self._bug != "checksum is not compared":
                break
            try:
                self._take(json.loads(body, strict=False))
            except (ValueError, TypeError, KeyError):
                break
            at += _HEAD.size + size
        if at < len(data):
            self._file.truncate(at)

    def _take(self, entry: dict[str, Any]) -> None:
        if "records" in entry:
            self._records = {k: Record(k, _bytes(v), r, c) for k, v, r, c in entry["records"]}
            self._receipts, self._last = entry["receipts"], entry["revision"]
        else:
            self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        self._last += 1
        for key, value in entry["writes"]:
            before = self._records.pop(key, None)
            if value is not None:
                created = before.created if before is not None else self._last
                self._records[key] = Record(key, _bytes(value), self._last, created)
        if entry["id"] is not None:
            self._receipts[entry["id"]] = self._last

    def _write_anew(self) -> None:
        if "new" in self._disk.list(""):
            self._disk.remove("new")
        file = self._disk.open("new", create=True)
        keeps_receipts = self._bug != "receipts are left out of the new journal"
        records = self._records.values()
        knows = self._bug != "a new journal does not know the last revision"
        entry = {
            "records": [(r.key, _text(r.value), r.revision, r.created) for r in records],
            "receipts": self._receipts if keeps_receipts else {},
            "revision": self._last if knows else max([0, *(r.revision for r in records)]),
        }
        file.append(_pack(entry))
        if self._bug != "new journal is not synced before its rename":
            file.sync()
        self._disk.rename("new", "journal")
        if self._bug != "directory is not synced after the rename":
            self._disk.sync_directory("")
        self._file, self._since = file, 0

    def _check(self) -> None:
        if self._is_poisoned:
            raise Unavailable("tiny store", "a write failed; open it again")

    def commit(self, attempt: Attempt) -> Committed | Conflicted:
        self._check()
        transaction = attempt.transaction
        if transaction.id in self._receipts:
            return Committed(self._receipts[transaction.id])
        failed = tuple(
            Mismatch(check.key, expected, found)
            for check in transaction.checks
            if (expected := check.revision if isinstance(check, AtRevision) else None)
            != (found := self._revision_of(check.key))
        )
        if failed:
            return Conflicted(failed)
        writes = [
            (w.key, _text(w.value) if isinstance(w, Put) else None) for w in transaction.writes
        ]
        entry = {"writes": writes, "id": transaction.id}
        try:
            self._store(entry)
        except OSError as error:
            self._is_poisoned = True
            if self._bug == "a failed sync is called 'nothing happened'":
                raise Unavailable("tiny store", str(error)) from error
            raise OutcomeUnknown(
                "commit", transaction_id=transaction.id, reason=str(error)
            ) from error
        self._apply(entry)
        return Committed(self._last)

    def _revision_of(self, key: str) -> int | None:
        return self._records[key].revision if key in self._records else None

    def _store(self, entry: dict[str, Any]) -> None:
        if self._since >= _EVERY:
            self._write_anew()
        if self._bug == "commit is synced after the answer":
            self._file.sync()
        self._file.append(_pack(entry))
        self._since += 1
        if self._bug in {"commit is not synced", "commit is synced after the answer"}:
            return
        try:
            self._file.sync()
        except OSError:
            if self._bug != "sync is tried again after it failed":
                raise
            self._file.sync()

    def scan(self, prefix: str, after: str | None, limit: int) -> Page:
        self._check()
        records = sorted(self._records.values(), key=lambda record: record.key.encode())
        return Page(tuple(records), self._last, None)

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        self._check()
        found = self._receipts.get(transaction_id)
        return NotSeen() if found is None else Committed(found)

    def read_revision(self) -> int:
        self._check()
        return self._last

    def read_changes(self, after: int, limit: int) -> Iterable[Batch] | None:
        return None

    def check(self) -> Iterable[object]:
        return ()

    def close(self, patience_s: float) -> None:
        self._file.close()


def _pack(entry: dict[str, Any]) -> bytes:
    body = json.dumps(entry).encode()
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
