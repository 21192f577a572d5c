"""Verify a store in etcd: what names it, its tick, each record and each receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage.backends._embedded.verify import MAX_PROBLEMS, Verifier
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._commits import read_receipt
from federlib.storage.backends.etcd._keys import Place, successor
from federlib.storage.limits import MAX_VALUE_BYTES, check_transaction_id
from federlib.storage.protocol import StoreProblem

__all__ = ["find_problems"]

Read = Callable[..., tuple[list[wire.RangeAnswer], int]]
_CHUNK = 64


def find_problems(place: Place, read: Read) -> list[StoreProblem]:
    """Return what is wrong; `read` reads ranges as one snapshot."""
    return list(islice(_walk(place, read), MAX_PROBLEMS))


def _walk(place: Place, read: Read) -> Iterator[StoreProblem]:
    layout = place.layout
    for found, head in _each(place, read, layout.users):
        yield from _check_record(place, found, head)
    for found, head in _each(place, read, layout.receipts):
        yield from _check_receipt(place, found, head)


def _each(place: Place, read: Read, start: bytes) -> Iterator[tuple[wire.KeyValue, int]]:
    """Give each key that begins with `start`, and the store's revision when it was read."""
    end, layout = successor(start), place.layout
    while True:
        (page, tick), _ = read(wire.read(start, end, limit=_CHUNK), wire.read(layout.tick))
        if not tick.kvs:
            raise CorruptRecord(place.where, expected="the tick", found="nothing")
        head = place.revision(tick.kvs[0].mod_revision)
        for found in page.kvs:
            yield found, head
        if not page.more:
            return
        start = page.kvs[-1].key + b"\0"


def _check_record(place: Place, found: wire.KeyValue, head: int) -> Iterator[StoreProblem]:
    try:
        record = place.record(found)
    except CorruptRecord as error:
        yield StoreProblem(f"record {found.key!r}", error.expected, error.found)
        return
    # etcd keeps the history itself: there are no changes to hold against the records.
    yield from Verifier(first=head + 1, head=head).record(record)
    if len(record.value) > MAX_VALUE_BYTES:
        expected = f"a value of at most {MAX_VALUE_BYTES} bytes"
        yield StoreProblem(f"record {record.key}", expected, str(len(record.value)))
    if found.lease:
        yield StoreProblem(f"record {record.key}", "no lease of etcd", f"lease {found.lease:x}")


def _check_receipt(place: Place, found: wire.KeyValue, head: int) -> Iterator[StoreProblem]:
    name = found.key[len(place.layout.receipts) :].decode(errors="replace")
    revision = place.revision(found.mod_revision)
    if not 1 < revision <= head:
        yield StoreProblem(f"receipt {name}", f"a revision of 2 to {head}", str(revision))
    try:
        check_transaction_id(name)
        digest = read_receipt(place, found).digest
    except (CorruptRecord, InvalidInput) as error:
        yield StoreProblem(f"receipt {name}", error.expected, error.found)
        return
    if len(digest) != 16:
        yield StoreProblem(f"receipt {name}", "a digest of 16 bytes", repr(digest))
