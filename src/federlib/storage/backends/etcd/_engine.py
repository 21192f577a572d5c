"""The synchronous engine of the etcd driver: what a store asks of a cluster.

Every read is a transaction that also compares `meta/store`, so a store that was replaced
under a living client is never taken for the one that was opened. It is linearizable, and no
more than one request.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from federlib.errors import CorruptRecord, OutcomeUnknown, Unavailable
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends._blocking.opened import OpenedEngine
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._check import find_problems
from federlib.storage.backends.etcd._client import PATIENCE_S, Ask, EtcdClient
from federlib.storage.backends.etcd._commits import Plan, guard, other_store
from federlib.storage.backends.etcd._errors import Compacted
from federlib.storage.backends.etcd._feed import EtcdFeed
from federlib.storage.backends.etcd._history import read_history
from federlib.storage.backends.etcd._keys import Layout, Place, successor
from federlib.storage.backends.etcd._receipts import Pruner
from federlib.storage.backends.etcd._url import EtcdUrl
from federlib.storage.limits import MAX_PAGE_BYTES
from federlib.storage.protocol import (
    COMMIT_TIMEOUT_S,
    META_KEY,
    Batch,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    StoreMeta,
    StoreProblem,
)

__all__ = ["EtcdEngine"]

FORMAT = 1
_COMMITTERS = 8
_FIRST_CHUNK = 32
_CHUNK_GROWTH = 4
_MAX_CHUNK = 256
"""Records asked for at once: 32 of the longest value are 16 MiB. Then more, if these were small."""

_PAGE_TRIES = 5


class _Abandoned(Exception):  # noqa: N818 (never leaves this module)
    """The caller is gone, and nothing was sent."""


class EtcdEngine(OpenedEngine):
    """One open store. Thread-safe; every verb blocks.

    Attributes:
        where: How errors call this store.
        committers: etcd merges what comes at once, so several may commit.
    """

    committers: int = _COMMITTERS

    def __init__(self, url: EtcdUrl, *, new_store_id: str) -> None:
        """Open the store under the URL's prefix; make it if there is none.

        `new_store_id` is the id that a new store gets.

        Raises:
            Unavailable: No endpoint answers; see also its subclasses.
            OutcomeUnknown: It was to be made, and no answer came; open it again.
            CorruptRecord: What lies under the prefix is not a store that this version reads.
            InvalidInput: A file that the URL names cannot be used.
        """
        super().__init__(url.where)
        self.client: EtcdClient = EtcdClient(url)
        self.place: Place
        self._busy = 0
        self._mutex = threading.Lock()
        self._idle = threading.Condition(self._mutex)
        try:
            self.place, self._meta = _open(self.client, Layout(url.prefix), new_store_id)
        except BaseException:
            self.client.close()
            raise
        self._pruner = Pruner(self.place, self.client)

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._meta.store_id

    def check_usable(self) -> None:
        """Raise unless this process opened the store, and it is open.

        Whether it is still the same is found out with each request.

        Raises:
            Fenced: This process is a fork of the one that opened it.
            Unavailable: It was closed.
        """
        self._check_open()

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Count a commit under way, so that closing can wait for it."""
        with self._mutex:
            self._busy += 1
        try:
            yield
        finally:
            with self._mutex:
                self._busy -= 1
                self._idle.notify_all()

    def _read(
        self, *ops: wire.JsonObject, patience_s: float = PATIENCE_S
    ) -> tuple[list[wire.RangeAnswer], int]:
        """Read ranges as one snapshot, and etcd's revision of it; the store's, with a tick."""
        self._check_open()
        body = wire.txn(guard(self.place), ops, [wire.read(self.place.layout.meta)])
        decode = wire.txn_reader(success=len(ops), failure=1)
        ask = Ask(path=wire.TXN, body=body, decode=decode, what="read")
        answer = self.client.ask(ask, patience_s=patience_s).answer
        ranges = [response.response_range for response in answer.responses]
        if not answer.succeeded:
            raise other_store(self.place, ranges[0].kvs)
        return ranges, answer.header.revision

    def _revision_of(self, tick: wire.RangeAnswer) -> int:
        if not tick.kvs:
            raise CorruptRecord(
                self.where, expected="the tick, the key of its revision", found="nothing"
            )
        return self.place.revision(tick.kvs[0].mod_revision)

    def get(self, key: str) -> Record | None:
        """Read one record."""
        (found,), _ = self._read(wire.read(self.place.layout.user(key)))
        return self.place.record(found.kvs[0]) if found.kvs else None

    def scan(self, prefix: str, after: str | None, limit: int) -> Page:
        """Read one page, as one snapshot."""
        for _ in range(_PAGE_TRIES):
            try:
                return self._read_page(prefix, after, limit)
            except Compacted:
                # Between two requests for one page: begin it anew, with a newer snapshot.
                continue
        raise Unavailable(
            self.where, "its history is compacted faster than a page can be read", hint="retry"
        )

    def _read_page(self, prefix: str, after: str | None, limit: int) -> Page:
        layout = self.place.layout
        start, end = layout.page(prefix, after)
        tick_op = wire.read(layout.tick)
        if start >= end:
            (tick,), _ = self._read(tick_op)
            return Page((), self._revision_of(tick), None)
        # One more than the limit says whether there is a next page.
        chunk = min(_FIRST_CHUNK, limit + 1)
        (found, tick), snapshot = self._read(wire.read(start, end, limit=chunk), tick_op)
        revision = self._revision_of(tick)
        records: list[Record] = []
        size = 0
        while True:
            for one in found.kvs:
                record = self.place.record(one)
                size += len(record.value)
                if len(records) == limit or (records and size > MAX_PAGE_BYTES):
                    return Page(tuple(records), revision, records[-1].key)
                records.append(record)
            if not found.more:
                return Page(tuple(records), revision, None)
            chunk = min(chunk * _CHUNK_GROWTH, _MAX_CHUNK, limit + 1 - len(records))
            start = found.kvs[-1].key + b"\0"
            found = self._range(start, end, limit=chunk, revision=snapshot)

    def _range(
        self, key: bytes, end: bytes | None = None, *, limit: int = 0, revision: int
    ) -> wire.RangeAnswer:
        """Read a range as it was at a revision of etcd, whosever store it was then.

        Raises:
            Compacted: That revision is no longer kept.
        """
        self._check_open()
        body = wire.encode(wire.range_request(key, end, limit=limit, revision=revision))
        ask = Ask(path=wire.RANGE, body=body, decode=wire.read_range, what="read")
        return self.client.ask(ask).answer

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Look for a receipt."""
        (found,), _ = self._read(wire.read(self.place.layout.receipt(transaction_id)))
        if not found.kvs:
            return NotSeen()
        return Committed(self.place.revision(found.kvs[0].mod_revision))

    def read_revision(self, *, patience_s: float = PATIENCE_S) -> int:
        """Read the store's revision."""
        (tick,), _ = self._read(wire.read(self.place.layout.tick), patience_s=patience_s)
        return self._revision_of(tick)

    def is_kept(self, revision: int) -> bool:
        """Say whether etcd still keeps all that happened after a revision of the store.

        A watch is refused only from *before* the compaction's revision. From there itself it
        begins, and older servers have forgotten the deletes of that very revision.

        Source: etcd, issues 18089 and 19179; seen with 3.5.1.
        """
        try:
            self._range(self.place.layout.tick, revision=revision + self.place.base)
        except Compacted:
            return False
        return True

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Read commits after a revision; None where history no longer has them."""
        return read_history(self, after, limit)

    def open_feed(self, wake: Callable[[], None]) -> EtcdFeed:
        """Open what a watching thread asks; the caller closes it."""
        self._check_open()
        return EtcdFeed(self, wake)

    def commit(self, attempt: Attempt) -> Committed | Conflicted:
        """Commit the transaction of an attempt, unless it is abandoned on the way.

        With an id it is sent again until there is an answer or the time is over; without
        one it is sent once.

        Raises:
            Unavailable: Nothing was sent, or etcd said that it had no effect.
            OutcomeUnknown: It was sent, and no answer came that says what became of it.
            CorruptRecord: The store is no longer the one that was opened.
            InvalidInput: The id was used for another transaction.
        """
        try:
            with self._working():
                self._check_open()
                return self._commit(attempt)
        except _Abandoned:
            raise self._gave_up() from None
        finally:
            attempt.is_over = True

    def _commit(self, attempt: Attempt) -> Committed | Conflicted:
        def before_send() -> None:
            if attempt.is_abandoned or not attempt.send():
                raise _Abandoned

        transaction = attempt.transaction
        plan = Plan(self.place, transaction, attempt.now_ns)
        ask = Ask(
            path=wire.TXN,
            body=plan.body,
            decode=plan.decode,
            safety="once" if transaction.id is None else "repeatable",
            what="commit",
            transaction_id=transaction.id,
            before_send=before_send,
        )
        reply = self.client.ask(ask, patience_s=COMMIT_TIMEOUT_S)
        outcome = plan.read(reply.answer)
        if isinstance(outcome, Committed):
            if transaction.id is not None:
                self._pruner.count(attempt.now_ns)
        elif reply.is_late and not plan.is_final(outcome, reply.answer):
            raise OutcomeUnknown(
                "commit",
                transaction_id=transaction.id,
                reason="it was sent again and met a conflict, and the first may still come",
            )
        return outcome

    def check(self) -> Sequence[StoreProblem]:
        """Read everything that is stored, and return what is wrong; repairs nothing."""
        return find_problems(self.place, self._read)

    def close(self, patience_s: float) -> None:
        """Let go of everything; commits on their way are waited for.

        Args:
            patience_s: How long to wait for them; seconds.
        """
        if os.getpid() != self._pid or self._is_closed:
            # In a fork: the connections are the parent's, and TLS would say goodbye on them.
            return
        self._is_closed = True
        with self._mutex:
            self._idle.wait_for(lambda: not self._busy, patience_s)
        self.client.close()
        self._pruner.join(patience_s)


def _open(client: EtcdClient, layout: Layout, new_store_id: str) -> tuple[Place, StoreMeta]:
    """Find the store, or make it; of several who do so at once one makes it."""
    found = _find(client, layout)
    if found is None:
        meta = msgspec.json.encode(StoreMeta(new_store_id, FORMAT))
        body = wire.txn(
            [
                # Records without the one that names them are no empty place.
                wire.created_at(layout.users, 0, successor(layout.users)),
                wire.created_at(layout.receipts, 0, successor(layout.receipts)),
                wire.created_at(layout.tick, 0),
            ],
            [wire.put(layout.meta, meta), wire.put(layout.tick, b"")],
            [],
        )
        client.ask(
            Ask(
                path=wire.TXN,
                body=body,
                decode=wire.txn_reader(success=2, failure=0),
                safety="repeatable",
                what="creation of the store",
            )
        )
        found = _find(client, layout)
    if found is None:
        raise CorruptRecord(
            f"{client.where}, {META_KEY}",
            expected="the record that names the store, or an empty prefix",
            found="other keys without it",
            hint="restore a snapshot of etcd, or choose another ?prefix=",
        )
    place = Place(client.where, layout, found.create_revision - 1, found.value)
    return place, _read_meta(client.where, found)


def _find(client: EtcdClient, layout: Layout) -> wire.KeyValue | None:
    body = wire.encode(wire.range_request(layout.meta))
    ask = Ask(path=wire.RANGE, body=body, decode=wire.read_range, what="read")
    kvs = client.ask(ask).answer.kvs
    return kvs[0] if kvs else None


def _read_meta(where: str, found: wire.KeyValue) -> StoreMeta:
    try:
        meta = msgspec.json.decode(found.value, type=StoreMeta)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptRecord(
            f"{where}, {META_KEY}", expected="store_id and format", found=str(error)
        ) from error
    if meta.format != FORMAT:
        hint = "a newer federlib wrote it: upgrade this one" if meta.format > FORMAT else ""
        raise CorruptRecord(
            f"{where}, {META_KEY}", expected=f"format {FORMAT}", found=meta.format, hint=hint
        )
    return meta
