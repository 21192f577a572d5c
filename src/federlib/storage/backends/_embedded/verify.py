"""Hold the changes of a store against its records: whatever the driver, they must agree."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from federlib.errors import InvalidInput
from federlib.storage.keys import check_key
from federlib.storage.protocol import Batch, Record, StoreProblem

__all__ = ["MAX_PROBLEMS", "Verifier"]

MAX_PROBLEMS = 1_000
"""How many problems are listed: enough to see the pattern, and bounded."""


class Verifier:
    """Give it each change in order, then each record, then ask what is missing.

    Attributes:
        first: The oldest revision from which on every change is known.
    """

    def __init__(self, *, first: int, head: int) -> None:
        """`first` is the oldest revision whose change is kept, `head` the store's own."""
        self.first = first
        self._head = head
        self._last: dict[str, _Life | None] = {}

    def skip_to(self, first: int) -> None:
        """Forget what came before: changes in between are not kept."""
        self.first = first
        self._last.clear()

    def change(self, batch: Batch) -> Iterator[StoreProblem]:
        """Take in one change."""
        for event in batch.events:
            record = event.record
            if record is not None and not 1 <= record.created <= batch.revision:
                yield StoreProblem(
                    f"change {batch.revision}, {event.key}",
                    f"created at 1 to {batch.revision}",
                    str(record.created),
                )
            self._last[event.key] = None if record is None else _life(record)

    def record(self, record: Record) -> Iterator[StoreProblem]:
        """Take in one record, and compare it with the last change of its key."""
        what = f"record {record.key}"
        try:
            check_key(record.key)
        except InvalidInput as error:
            yield StoreProblem(what, f"a legal key: {error.expected}", record.key)
        if not 1 <= record.created <= record.revision <= self._head:
            yield StoreProblem(
                what,
                f"created at 1 or later, then written, up to revision {self._head}",
                f"created at {record.created}, written at {record.revision}",
            )
        if record.key in self._last:
            expected = self._last.pop(record.key)
            if expected != _life(record):
                yield StoreProblem(what, _describe(expected), _describe(_life(record)))
        elif record.revision >= self.first:
            yield StoreProblem(what, f"a change at revision {record.revision}", "none of this key")

    def missing(self) -> Iterator[StoreProblem]:
        """List what the changes wrote and no record holds."""
        for key, life in self._last.items():
            if life is not None:
                yield StoreProblem(f"record {key}", _describe(life), "no record")


_Life = tuple[int, int, bytes]


def _life(record: Record) -> _Life:
    # Values are not kept: history may hold many megabytes.
    digest = hashlib.blake2b(record.value, digest_size=16).digest()
    return record.revision, record.created, digest


def _describe(life: _Life | None) -> str:
    if life is None:
        return "no record, for its last change deleted it"
    revision, created, digest = life
    return f"revision {revision}, created at {created}, value of digest {digest.hex()}"
