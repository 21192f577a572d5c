"""Verify a file store: every frame, every state, every record file, and all against another.

Everything is read anew from the disk, and nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import count, islice

from federlib.errors import CorruptRecord
from federlib.storage.backends._embedded.table import Table
from federlib.storage.backends._embedded.verify import MAX_PROBLEMS, Verifier
from federlib.storage.backends.file import _journal as frames
from federlib.storage.backends.file._journal import Frame, FrameReader
from federlib.storage.backends.file._journal_files import (
    DIRECTORY,
    LOG,
    STATE,
    file_name,
    is_own_name,
    list_numbered,
)
from federlib.storage.backends.file._record_files import RecordFiles, decode_record, file_name_of
from federlib.storage.backends.file._states import State, read_state
from federlib.storage.disk import Disk
from federlib.storage.protocol import Record, StoreProblem

__all__ = ["find_problems"]

_KINDS = (frames.CHANGE, frames.CLOSING)
_Problems = Iterator[StoreProblem]
_Walk = Generator[StoreProblem, None, int]


def find_problems(disk: Disk, store_id: str, upto: int) -> list[StoreProblem]:
    """Return what is wrong up to a revision that is durable; nobody may tidy meanwhile.

    Raises:
        OSError: Something cannot be read.
    """
    return list(islice(_Check(disk, store_id, upto).run(), MAX_PROBLEMS))


class _Check:
    """One pass over a store."""

    def __init__(self, disk: Disk, store_id: str, upto: int) -> None:
        self._disk = disk
        self._store_id = store_id
        self._salt = frames.salt_of(store_id)
        self._upto = upto
        self._logs = list_numbered(disk, LOG)
        self._table = Table()
        # Of what was deleted, when.
        self._deleted: dict[str, int] = {}

    def run(self) -> _Problems:
        """Go through everything once."""
        yield from self._check_names()
        yield from self._check_states()
        first = self._logs[0] if self._logs else self._upto + 1
        verifier = Verifier(first=first, head=self._upto)
        yield from self._check_segments(verifier)
        for record in self._table.records():
            yield from verifier.record(record)
        yield from verifier.missing()
        yield from self._check_record_files(verifier.first)

    def _check_names(self) -> _Problems:
        # Listed once: commits go on, and make new segments.
        for name in self._disk.list(DIRECTORY):
            if not is_own_name(name):
                yield StoreProblem(f"{DIRECTORY}/{name}", "a segment or a state", "another file")

    def _check_states(self) -> _Problems:
        newest = State(0, [], [])
        for revision in list_numbered(self._disk, STATE):
            try:
                newest = read_state(self._disk, "store", self._store_id, revision)
            except CorruptRecord as error:
                yield _problem(file_name(revision, STATE), error)
        self._table = Table(newest.records, newest.receipts, revision=newest.revision)

    def _check_segments(self, verifier: Verifier) -> _Problems:
        expected = self._logs[0] if self._logs else 1
        for first in self._logs:
            if expected < first <= self._table.revision + 1:
                # Removed in between; a crash has undone the removal of what came before.
                verifier.skip_to(first)
            elif first != expected:
                yield StoreProblem(
                    DIRECTORY, f"a segment from revision {expected} on", f"one from {first} on"
                )
            expected = yield from self._check_segment(first, verifier)
        if expected <= self._upto:
            yield StoreProblem(
                DIRECTORY, f"commits up to revision {self._upto}", f"none from {expected} on"
            )

    def _check_segment(self, first: int, verifier: Verifier) -> _Walk:
        """Check one segment; return the revision that the next one must begin with."""
        name, is_last = file_name(first, LOG), first == self._logs[-1]
        following = next((log for log in self._logs if log > first), self._upto + 1)
        try:
            file = self._disk.open(name)
        except OSError as error:
            yield StoreProblem(name, "a regular file", error.strerror or str(error))
            return following
        try:
            beginning = frames.beginning("journal", self._store_id)
            if file.read(0, len(beginning)) != beginning:
                yield StoreProblem(name, f"a segment of store {self._store_id}", "something else")
                return following
            reader = FrameReader(file.read, len(beginning), self._salt)
            for revision in count(first):
                if is_last and revision > self._upto:
                    return revision
                found = reader.next()
                if found is None or found.revision != revision or found.kind not in _KINDS:
                    what = f"{name}, byte {reader.at}"
                    yield StoreProblem(what, f"the commit of revision {revision}", "damaged bytes")
                    return following
                if found.kind == frames.CLOSING:
                    if file.size() != found.end:
                        yield StoreProblem(name, f"{found.end} bytes", f"{file.size()} bytes")
                    return revision
                if revision <= self._upto:
                    yield from self._check_change(found, verifier)
            raise AssertionError("count() has no end")
        finally:
            file.close()

    def _check_change(self, found: Frame, verifier: Verifier) -> _Problems:
        try:
            batch, receipt = frames.decode_change(found.revision, found.payload)
        except (ValueError, TypeError) as error:
            yield StoreProblem(f"change {found.revision}", "a list of events", str(error))
            return
        yield from verifier.change(batch)
        self._deleted.update((e.key, found.revision) for e in batch.events if e.record is None)
        if found.revision == self._table.revision + 1:
            self._table.apply(batch, receipt)

    def _check_record_files(self, first: int) -> _Problems:
        files = RecordFiles(self._disk)
        try:
            names = files.names()
        except FileNotFoundError:
            return
        followed = files.revision()
        for name in names:
            what = f"records/{name}"
            try:
                record = decode_record(files.read(name))
            except (OSError, ValueError) as error:
                yield StoreProblem(what, "the file of a record", str(error))
                continue
            if file_name_of(record.key) != name:
                yield StoreProblem(what, f"the name {file_name_of(record.key)}", name)
                continue
            expected = self._expected(record, followed, first)
            if expected is not None:
                yield StoreProblem(what, expected, _describe(record))
        present = set(names)
        for record in self._table.records():
            name = file_name_of(record.key)
            if record.revision <= followed and name not in present:
                yield StoreProblem(f"records/{name}", _describe(record), "no file")

    def _expected(self, found: Record, followed: int, first: int) -> str | None:
        """Say what a record's file should hold instead; None if it is right or may be late."""
        record = self._table.get(found.key)
        if record == found:
            return None
        if record is None:
            # Known for certain only where the journal reaches back far enough.
            is_late = self._deleted.get(found.key, 0) > followed or first > followed + 1
            return None if is_late else "no file: the record was deleted"
        is_late = record.revision > followed and found.revision < record.revision
        return None if is_late else _describe(record)


def _describe(record: Record) -> str:
    return f"revision {record.revision}, {len(record.value)} bytes"


def _problem(what: str, error: CorruptRecord) -> StoreProblem:
    return StoreProblem(what, str(error.expected), str(error.found))
