"""`Recorder`: wraps a store or a lease backend, and keeps what was called and what came of it.

It waits for nothing of its own, so it works on asyncio, on trio and in a simulation, and
changes the order of nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from federlib.errors import InvalidInput, Unavailable
from federlib.lease import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    LeaseState,
    NotHeld,
    Released,
)
from federlib.storage import (
    AtRevision,
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Put,
    Record,
    RecordStore,
    Subscription,
    Transaction,
)
from federlib.testing.history.records import History, Operation, Outcome, Word, event_lines

__all__ = ["Call", "RecordedLeases", "RecordedStore", "Recorder", "value_word"]

_LONGEST = 100
_DIGEST = "sha256:"


def value_word(value: bytes) -> str:
    """Return a stored value as a word: itself if it is short text, else its hash."""
    if len(value) <= _LONGEST:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            pass
        else:
            if not text.startswith(_DIGEST):
                return text
    return _DIGEST + hashlib.sha256(value).hexdigest()


class Call:
    """A call under way: enter it, call, and say what came back.

    Left without a word it is of unknown outcome, unless an error says that nothing
    happened: `Unavailable` and `InvalidInput` do.
    """

    __slots__ = ("_number", "_outcome", "_recorder", "_result")

    def __init__(self, recorder: Recorder, number: int) -> None:
        self._recorder = recorder
        self._number = number
        self._outcome: Outcome = "info"
        self._result: tuple[Word, ...] = ()

    def ok(self, *result: Word) -> None:
        """Say that it took effect, and what came back."""
        self._outcome, self._result = "ok", result

    def fail(self, *result: Word) -> None:
        """Say that it had no effect, and why."""
        self._outcome, self._result = "fail", result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self._outcome == "info":
            self._result = (type(error).__name__,)
            if isinstance(error, Unavailable | InvalidInput):
                self._outcome = "fail"
        self._recorder.end(self._number, self._outcome, self._result)


class Recorder:
    """Keeps the history of everything that it wraps.

    For one thread. Give one recorder to all simulated processes, or to all tasks of a real
    one; the histories of several are put together by `History.merge`.

    Args:
        now: Reads the clock that all recorders of this history share, for example
            ``SystemClock().boot_ns`` on one machine. Where it has not moved since the last
            stamp, the next one is 1 more: what a recorder sees has an order.
        sink: Takes each beginning and each end at once, as a line of JSON, before the call
            is made or goes on: a killed process leaves all that it had begun.
    """

    def __init__(
        self, now: Callable[[], int], *, sink: Callable[[bytes], object] | None = None
    ) -> None:
        self._now = now
        self._sink = sink
        self._last: int | None = None
        self._operations: list[Operation] = []

    def history(self) -> History:
        """Return what was recorded so far; a call under way is of unknown outcome."""
        return History(self._operations)

    def store(self, store: RecordStore, process: str) -> RecordedStore:
        """Wrap a store as one process has it."""
        return RecordedStore(store, self, process)

    def leases(self, backend: LeaseBackend, process: str) -> RecordedLeases:
        """Wrap a lease backend as one process has it."""
        return RecordedLeases(backend, self, process)

    def call(self, process: str, verb: str, key: str, *arguments: Word) -> Call:
        """Begin any call: what federlib does not wrap, your program records so.

        with recorder.call("w1", "read", "x") as call:
            call.ok(await read("x"))
        """
        self._operations.append(
            Operation(
                process=process, verb=verb, key=key, arguments=arguments, invoked=self._stamp()
            )
        )
        number = len(self._operations) - 1
        if self._sink is not None:
            self._sink(event_lines(self._operations[number], number)[0])
        return Call(self, number)

    def accepted(self, resource: str, holder_id: str, token: int) -> None:
        """Note that a fenced resource accepted a write; call it as the write takes effect.

        It is the witness of `lease_safety.check`.

        Args:
            resource: The lease that guards it.
            holder_id: Who wrote.
            token: The fencing token that was presented.
        """
        with self.call(holder_id, "accept", resource, token) as call:
            call.ok()

    def end(self, number: int, outcome: Outcome, result: tuple[Word, ...]) -> None:
        """End a call; `Call` does it."""
        begun = self._operations[number]
        ended = Operation(
            process=begun.process,
            verb=begun.verb,
            key=begun.key,
            arguments=begun.arguments,
            invoked=begun.invoked,
            returned=self._stamp(),
            outcome=outcome,
            result=result,
        )
        self._operations[number] = ended
        if self._sink is not None and (line := event_lines(ended, number)[1]) is not None:
            self._sink(line)

    def _stamp(self) -> int:
        now, last = self._now(), self._last
        self._last = now if last is None or now > last else last + 1
        return self._last


class RecordedStore:
    """A `RecordStore` whose `get` and `commit` are recorded; the rest is passed through.

    Optional abilities of the store behind it (`ServerClock`, `Checkable`) are not offered.
    """

    def __init__(self, store: RecordStore, recorder: Recorder, process: str) -> None:
        self._store = store
        self._recorder = recorder
        self._process = process

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        return self._store.capabilities

    @property
    def store_id(self) -> str:
        """Of the store."""
        return self._store.store_id

    async def get(self, key: str) -> Record | None:
        """Read one record; see `RecordStore.get`."""
        with self._recorder.call(self._process, "get", _text(key)) as call:
            record = await self._store.get(key)
            if record is None:
                call.ok()
            else:
                call.ok(value_word(record.value), record.revision, record.created)
            return record

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page; see `RecordStore.scan`."""
        return await self._store.scan(prefix, after=after, limit=limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`."""
        key, words = _transaction_words(transaction)
        with self._recorder.call(self._process, "commit", key, *words) as call:
            answer = await self._store.commit(transaction)
            if isinstance(answer, Committed):
                call.ok("committed", answer.revision)
            else:
                failed: list[Word] = ["conflicted"]
                for one in answer.failed:
                    failed += (one.key, one.expected, one.found)
                call.ok(*failed)
            return answer

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction took effect; see `RecordStore.outcome`."""
        return await self._store.outcome(transaction_id)

    def watch(self, prefix: str, *, after: int) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to changes; see `RecordStore.watch`."""
        return self._store.watch(prefix, after=after)

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()


def _text(value: object) -> str:
    """Return a key as it can be recorded: the store refuses what is no proper text."""
    return value if isinstance(value, str) and _is_utf8(value) else ascii(value)[:_LONGEST]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _transaction_words(transaction: Transaction) -> tuple[str, list[Word]]:
    """Return the only key that a transaction touches, or "", and its arguments."""
    words: list[Word] = ["id", transaction.id]
    keys: dict[str, None] = {}
    for check in transaction.checks:
        keys[check.key] = None
        words += (
            ("at", check.key, check.revision)
            if isinstance(check, AtRevision)
            else (
                "absent",
                check.key,
            )
        )
    for write in transaction.writes:
        keys[write.key] = None
        if isinstance(write, Put):
            words += ("put", write.key, value_word(write.value))
        else:
            words += ("delete", write.key)
    return (next(iter(keys)) if len(keys) == 1 else ""), words


class RecordedLeases(LeaseBackend):
    """A `LeaseBackend` whose `acquire`, `renew` and `release` are recorded."""

    def __init__(self, backend: LeaseBackend, recorder: Recorder, process: str) -> None:
        self._backend = backend
        self._recorder = recorder
        self._process = process

    @property
    def capabilities(self) -> LeaseCapabilities:
        """What the backend can do."""
        return self._backend.capabilities

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        """Try once; see `LeaseBackend.acquire`."""
        who = (holder.holder_id, holder.session)
        with self._recorder.call(self._process, "acquire", name, *who) as call:
            answer = await self._backend.acquire(name, holder, ttl_s=ttl_s, queue=queue)
            if isinstance(answer, Lease):
                call.ok(*_lease_words(answer))
            else:
                call.ok("busy", answer.holder)
            return answer

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry; see `LeaseBackend.renew`."""
        who = (lease.holder_id, lease.session, lease.fencing_token)
        with self._recorder.call(self._process, "renew", lease.name, *who) as call:
            answer = await self._backend.renew(lease)
            if isinstance(answer, Lease):
                call.ok(*_lease_words(answer))
            else:
                call.ok("not_held", answer.holder)
            return answer

    async def release(self, lease: Lease) -> Released | NotHeld:
        """Free the lease; see `LeaseBackend.release`."""
        who = (lease.holder_id, lease.session, lease.fencing_token)
        with self._recorder.call(self._process, "release", lease.name, *who) as call:
            answer = await self._backend.release(lease)
            if isinstance(answer, Released):
                call.ok("released", answer.token)
            else:
                call.ok("not_held", answer.holder)
            return answer

    async def inspect(self, name: str) -> LeaseState:
        """Read, without effect."""
        return await self._backend.inspect(name)

    def watch(self, name: str) -> AbstractAsyncContextManager[AsyncIterator[LeaseState]]:
        """Stream the states of a name."""
        return self._backend.watch(name)

    def turns(
        self, name: str, holder: Holder
    ) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """As the backend tells; not recorded."""
        return self._backend.turns(name, holder)

    async def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue."""
        await self._backend.withdraw(name, holder)

    async def aclose(self) -> None:
        """Close the backend."""
        await self._backend.aclose()


def _lease_words(lease: Lease) -> tuple[Word, ...]:
    return ("granted", lease.holder_id, lease.session, lease.fencing_token, lease.ttl_ms)
