"""An engine as a `RecordStore` whose coroutines never suspend: they block where they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from federlib._pace import Bell, ThreadPace
from federlib.errors import InvalidInput, Unavailable
from federlib.skewclock import Clock
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends._blocking.engine import Engine
from federlib.storage.backends._blocking.follower import Follower
from federlib.storage.backends._blocking.watch import Watcher
from federlib.storage.keys import check_key, check_prefix
from federlib.storage.limits import check_scan, check_transaction, check_transaction_id
from federlib.storage.protocol import (
    COMMIT_TIMEOUT_S,
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    Subscription,
    Transaction,
    WatchItem,
)

__all__ = ["DirectStore"]


class DirectStore:
    """A `RecordStore` for one that may block. Thread-safe.

    Args:
        engine: Answers.
        watcher: Tells of changes.
        capabilities: As the driver declares them.
        clock: For the age of receipts.
        pace: Bounds how long a verb blocks.
        close: Closes the store, blocking.
    """

    def __init__(
        self,
        engine: Engine,
        watcher: Watcher,
        capabilities: Capabilities,
        *,
        clock: Clock,
        pace: ThreadPace,
        close: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._watcher = watcher
        self._capabilities = capabilities
        self._clock = clock
        self._pace = pace
        self._close = close

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        return self._capabilities

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._engine.store_id

    async def get(self, key: str) -> Record | None:
        """Read one record; see `RecordStore.get`."""
        check_key(key)
        return self._engine.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page; see `RecordStore.scan`."""
        check_scan(prefix, after, limit)
        return self._engine.scan(prefix, after, limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`.

        It gives up while it waits for other writers, never once it has sent.
        """
        check_transaction(transaction)
        pace = self._pace
        left_s = pace.left_s()
        end_s = pace.now_s() + (
            COMMIT_TIMEOUT_S if left_s is None else min(left_s, COMMIT_TIMEOUT_S)
        )
        attempt = Attempt(
            transaction, now_ns=self._clock.wall_ns(), is_late=lambda: pace.now_s() >= end_s
        )
        self._engine.expect(attempt)
        try:
            return self._engine.commit(attempt)
        except Unavailable:
            if attempt.is_abandoned and left_s is not None:
                pace.check()
            raise

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction with this id took effect."""
        check_transaction_id(transaction_id)
        return self._engine.outcome(transaction_id)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to changes under `prefix`; see `RecordStore.watch`."""
        check_prefix(prefix)
        if type(after) is not int or after < 0:
            raise InvalidInput("after", expected="a revision, 0 or more", found=after)
        head = self._engine.read_revision()
        bell = Bell()
        follower = Follower(self._watcher, prefix, after=after, head=head, wake=bell.ring)
        try:
            yield _DirectSubscription(self._engine, follower, bell, self._pace)
        finally:
            follower.close()

    async def aclose(self) -> None:
        """Let go of files, threads and connections; a second call does nothing."""
        self._close()


class _DirectSubscription:
    """An endless stream of `WatchItem`; belongs to the thread that waits for the next one."""

    def __init__(self, engine: Engine, follower: Follower, bell: Bell, pace: ThreadPace) -> None:
        self._engine = engine
        self._follower = follower
        self._bell = bell
        self._pace = pace

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        """Block until the next item."""
        follower, pace = self._follower, self._pace
        while True:
            pace.check()
            while (due := follower.log_due()) is not None:
                follower.take_log(self._engine.read_changes(*due))
            item = follower.next_item(pace.now_s())
            if item is not None:
                return item
            pace.wait(self._bell, follower.quiet_until_s - pace.now_s())
