"""All drivers at once against a dictionary: they must agree with it and with each other."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import attrs
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from federlib.errors import InvalidInput
from federlib.storage import (
    META_KEY,
    Absent,
    AtRevision,
    Batch,
    Check,
    Committed,
    Conflicted,
    Delete,
    Event,
    Mismatch,
    NotSeen,
    Page,
    Put,
    Record,
    RecordStore,
    Resync,
    Subscription,
    Transaction,
    Write,
    open_store,
)

_T = TypeVar("_T")

STORES = ("memory://", "sqlite:///{directory}/model.db")
"""One URL for each driver that must agree with the others."""

KEYS = ("a", "a/b", "a0", "ab", "b%", "b_", "bx", "é", "\uffff", "😀")
keys = st.sampled_from(KEYS)
prefixes = st.sampled_from(("", "a", "a/", "b%", "b_", "m", "é", "\ue000", "😀", "zz"))
writes = st.one_of(
    st.builds(Put, keys, st.binary(max_size=3)),
    st.builds(Delete, keys),
)
hunches = st.tuples(keys | st.just(META_KEY), st.sampled_from(("absent", "true", "stale")))
names = st.sampled_from(("t1", "t2", "t3", "t/é"))


class Model:
    """A store as a dictionary, a list of all batches, and all receipts."""

    def __init__(self) -> None:
        meta = Record(META_KEY, b"", 1, 1)
        self.records = {META_KEY: meta}
        self.log = [Batch(1, (Event(META_KEY, meta),))]
        self.receipts: dict[str, tuple[Transaction, Committed]] = {}

    @property
    def revision(self) -> int:
        return len(self.log)

    def revision_of(self, key: str) -> int | None:
        return self.records[key].revision if key in self.records else None

    def commit(self, transaction: Transaction) -> Committed | Conflicted | None:
        """Say what every store must answer; None for InvalidInput."""
        if transaction.id is not None and transaction.id in self.receipts:
            first, done = self.receipts[transaction.id]
            return done if first == transaction else None
        failed = self._failed(transaction)
        if failed:
            return Conflicted(failed)
        revision = self.revision + 1
        in_order = sorted(transaction.writes, key=lambda write: write.key.encode())
        events = tuple(e for write in in_order if (e := self._apply(write, revision)) is not None)
        self.log.append(Batch(revision, events))
        if transaction.id is not None:
            self.receipts[transaction.id] = (transaction, Committed(revision))
        return Committed(revision)

    def _failed(self, transaction: Transaction) -> tuple[Mismatch, ...]:
        wanted = [
            (check.key, check.revision if isinstance(check, AtRevision) else None)
            for check in transaction.checks
        ]
        return tuple(
            Mismatch(key, expected, found)
            for key, expected in wanted
            if (found := self.revision_of(key)) != expected
        )

    def _apply(self, write: Write, revision: int) -> Event | None:
        before = self.records.pop(write.key, None)
        if isinstance(write, Put):
            created = before.created if before is not None else revision
            self.records[write.key] = Record(write.key, write.value, revision, created)
            return Event(write.key, self.records[write.key])
        return Event(write.key, None) if before is not None else None

    def scan(self, prefix: str, after: str | None, limit: int) -> Page:
        found = [
            self.records[key]
            for key in sorted(self.records, key=str.encode)
            if key.startswith(prefix) and (after is None or key.encode() > after.encode())
        ]
        more = found[limit - 1].key if len(found) > limit else None
        return Page(tuple(found[:limit]), self.revision, more)

    def changes(self, prefix: str, after: int) -> list[Batch]:
        told = []
        for batch in self.log[after:]:
            events = tuple(event for event in batch.events if event.key.startswith(prefix))
            if events:
                told.append(Batch(batch.revision, events))
        return told


@attrs.define
class Subject:
    """One store under test, and a watcher of everything that lives as long as its client."""

    url: str
    store: RecordStore
    watching: AbstractContextManager[Subscription]
    changes: Subscription


class AgreementOnAsyncio(RuleBasedStateMachine):
    """Drives the stores and the model with the same calls."""

    backend: ClassVar[str] = "asyncio"
    committed = Bundle("committed")

    def __init__(self) -> None:
        super().__init__()
        self._exit = ExitStack()
        self.model = Model()
        self.told = 0
        self.subjects: list[Subject] = []
        self.portal: BlockingPortal

    @initialize()
    def open_all(self) -> None:
        directory = self._exit.enter_context(tempfile.TemporaryDirectory())
        self.portal = self._exit.enter_context(start_blocking_portal(self.backend))
        self._exit.callback(self._close_all)
        for url in STORES:
            self.subjects.append(self._open(url.format(directory=Path(directory)), after=0))

    def _open(self, url: str, *, after: int) -> Subject:
        store = self.portal.call(open_store, url)
        watching = self.portal.wrap_async_context_manager(store.watch("", after=after))
        return Subject(url, store, watching, watching.__enter__())

    def _close(self, subject: Subject) -> None:
        subject.watching.__exit__(None, None, None)
        self.portal.call(subject.store.aclose)

    def _close_all(self) -> None:
        for subject in self.subjects:
            self._close(subject)

    def teardown(self) -> None:
        with self._exit:
            if self.subjects:
                self.everything_is_the_same()

    def _ask(self, verb: Callable[[RecordStore], Awaitable[_T]], expected: _T) -> None:
        for subject in self.subjects:
            found = self.portal.call(verb, subject.store)
            assert found == expected, subject.url

    @rule(
        target=committed,
        writes=st.lists(writes, max_size=4, unique_by=lambda write: write.key),
        hunches=st.lists(hunches, max_size=3),
        name=st.none() | names,
    )
    def commit(
        self, writes: list[Write], hunches: list[tuple[str, str]], name: str | None
    ) -> Transaction:
        checks = tuple(self._check(*hunch) for hunch in hunches)
        if not writes and not checks:
            checks = (Absent("never"),)
        transaction = Transaction(tuple(writes), checks, name)
        self._ask(lambda store: _commit(store, transaction), self.model.commit(transaction))
        return transaction

    def _check(self, key: str, hunch: str) -> Check:
        revision = self.model.revision_of(key)
        if hunch == "absent" or (hunch == "true" and revision is None):
            return Absent(key)
        return AtRevision(key, revision if revision and hunch == "true" else self.model.revision)

    @rule(transaction=committed)
    def commit_again(self, transaction: Transaction) -> None:
        self._ask(lambda store: _commit(store, transaction), self.model.commit(transaction))

    @rule(name=names)
    def ask_for_the_outcome(self, name: str) -> None:
        known = self.model.receipts.get(name)
        self._ask(lambda store: store.outcome(name), NotSeen() if known is None else known[1])

    @rule(key=keys)
    def get(self, key: str) -> None:
        self._ask(lambda store: store.get(key), self.model.records.get(key))

    @rule(prefix=prefixes, after=st.none() | keys | prefixes, limit=st.integers(1, 12))
    def scan(self, prefix: str, after: str | None, limit: int) -> None:
        expected = self.model.scan(prefix, after, limit)
        self._ask(partial(_scan, prefix=prefix, after=after, limit=limit), expected)

    @rule()
    def everything_is_the_same(self) -> None:
        self._ask(partial(_scan, prefix="", after=None, limit=1_000), self.model.scan("", None, 99))

    @rule(prefix=prefixes, back=st.integers(0, 20))
    def watch_from(self, prefix: str, back: int) -> None:
        after = max(0, self.model.revision - back)
        expected = self.model.changes(prefix, after)
        last = self.model.revision
        self._ask(lambda store: _watch(store, prefix, after, last), expected)

    @rule()
    def go_on_watching(self) -> None:
        expected = self.model.changes("", self.told)
        if not expected:
            return
        self.told = expected[-1].revision
        for subject in self.subjects:
            found = self.portal.call(_read_up_to, subject.changes, self.told)
            assert found == expected, subject.url

    @rule()
    def open_the_durable_again(self) -> None:
        for i, subject in enumerate(self.subjects):
            if subject.store.capabilities.durable:
                name = subject.store.store_id
                self._close(subject)
                self.subjects[i] = self._open(subject.url, after=self.told)
                assert self.subjects[i].store.store_id == name


class AgreementOnTrio(AgreementOnAsyncio):
    """The same on the other event loop."""

    backend: ClassVar[str] = "trio"


async def _commit(store: RecordStore, transaction: Transaction) -> Committed | Conflicted | None:
    try:
        return await store.commit(transaction)
    except InvalidInput:
        return None


async def _scan(store: RecordStore, *, prefix: str, after: str | None, limit: int) -> Page:
    page = await store.scan(prefix, after=after, limit=limit)
    return msgspec.structs.replace(page, records=tuple(_anonymous(r) for r in page.records))


async def _watch(store: RecordStore, prefix: str, after: int, last: int) -> list[Batch]:
    async with store.watch(prefix, after=after) as changes:
        return await _read_up_to(changes, last)


async def _read_up_to(changes: Subscription, last: int) -> list[Batch]:
    batches: list[Batch] = []
    async for item in changes:
        assert not isinstance(item, Resync)
        if isinstance(item, Batch):
            batches.append(Batch(item.revision, tuple(map(_anonymous_event, item.events))))
        # Whoever waits for the `Progress` behind the last batch may wait for a second.
        if item.revision >= last:
            break
    return batches


def _anonymous(record: Record) -> Record:
    """Take the store's id out: the only thing in which two stores may differ."""
    return msgspec.structs.replace(record, value=b"") if record.key == META_KEY else record


def _anonymous_event(event: Event) -> Event:
    return Event(event.key, None if event.record is None else _anonymous(event.record))


_SETTINGS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAgreementOnAsyncio = AgreementOnAsyncio.TestCase
TestAgreementOnAsyncio.settings = _SETTINGS
TestAgreementOnTrio = AgreementOnTrio.TestCase
TestAgreementOnTrio.settings = _SETTINGS
