"""`StoreView`: one process's way to a store, which fails when it is told to.

    view = StoreView(store)
    view.is_cut = True            # Unavailable, until it is set back
    view.lost_answers = 2         # the next two commits take effect, and nobody hears of it
    view.break_watches()          # each watch raises Unavailable once, and then goes on

For a test of one shell that wants a fault at one instant. For many processes under schedules
of faults there is `federlib.testing.shells`.

A shell that asks again and again and lets no time pass is killed by it: in virtual time it
would never end.

Does not promise: that what comes over it keeps to the contract of a store while `repeats` or
`miss` is used; that is what they are for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from federlib.errors import OutcomeUnknown, StoreFull, Unavailable
from federlib.storage import (
    Batch,
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    RecordStore,
    Resync,
    Subscription,
    Transaction,
    WatchItem,
)
from federlib.testing.disk import ProcessEnded

__all__ = ["StoreView"]

_WHERE = "the store"
_MOST_AT_ONCE = 10_000


class StoreView:
    """A `RecordStore` around another, as one process sees it. For one event loop.

    Args:
        base: The store that the processes share.

    Attributes:
        is_full: It refuses every commit that writes.
        repeats: Its watches tell each batch twice.
        slow_s: How long each request takes before it arrives; seconds.
        refusals: So many requests that come next are refused.
        lost_answers: So many commits that come next take effect, and their answer is lost.
        requests: How many were made, refused ones too.
        commits: How many of them were commits.
    """

    def __init__(self, base: RecordStore) -> None:
        self.base: RecordStore = base
        self.is_full: bool = False
        self.repeats: bool = False
        self.slow_s: float = 0.0
        self.refusals: int = 0
        self.lost_answers: int = 0
        self.requests: int = 0
        self.commits: int = 0
        self._is_cut = False
        self._is_dead = False
        self._at_s = -1.0
        self._at_once = 0
        self._feeds: list[_Feed] = []

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets through. Set, it breaks what watches are open."""
        return self._is_cut

    @is_cut.setter
    def is_cut(self, is_cut: bool) -> None:
        self._is_cut = is_cut
        if is_cut:
            self.break_watches()

    def kill(self) -> None:
        """Be of a process that was killed: everything raises `ProcessEnded`, for ever."""
        self._is_dead = True
        self.break_watches()

    def break_watches(self) -> None:
        """Have every open watch raise `Unavailable` once; its next call goes on where it was."""
        for feed in self._feeds:
            feed.fail()

    def miss(self) -> None:
        """Have every open watch lose what it has not told yet, and say `Resync`."""
        for feed in self._feeds:
            feed.miss()

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store."""
        return self.base.capabilities

    @property
    def store_id(self) -> str:
        """That of the store."""
        return self.base.store_id

    async def get(self, key: str) -> Record | None:
        """Read one record; see `RecordStore.get`."""
        await self._reach()
        return await self.base.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page; see `RecordStore.scan`."""
        await self._reach()
        return await self.base.scan(prefix, after=after, limit=limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`."""
        self.commits += 1
        await self._reach()
        if self.is_full and transaction.writes:
            raise StoreFull(_WHERE, "no space left", hint="free some space and retry")
        done = await self.base.commit(transaction)
        self.check_alive()
        if self.lost_answers:
            self.lost_answers -= 1
            raise OutcomeUnknown("commit", transaction_id=transaction.id, reason="no answer")
        return done

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction took effect."""
        await self._reach()
        return await self.base.outcome(transaction_id)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to changes under `prefix`; see `RecordStore.watch`."""
        await self._reach()
        async with self.base.watch(prefix, after=after) as changes:
            feed = _Feed(self, changes)
            self._feeds.append(feed)
            try:
                yield feed
            finally:
                self._feeds.remove(feed)

    async def aclose(self) -> None:
        """Leave the store open: others have it too."""
        await checkpoint()

    async def _reach(self) -> None:
        self.requests += 1
        self._count()
        if self.slow_s:
            await anyio.sleep(self.slow_s)
        else:
            await checkpoint()
        self.check()
        if self.refusals:
            self.refusals -= 1
            raise Unavailable(_WHERE, "it refused; nothing was sent")

    def _count(self) -> None:
        """Have a process die that asks and asks and lets no time pass: it would never end."""
        now_s = anyio.current_time()
        self._at_once = self._at_once + 1 if now_s == self._at_s else 1
        self._at_s = now_s
        if self._at_once > _MOST_AT_ONCE:
            self.kill()
            raise ProcessEnded(f"it asked {_MOST_AT_ONCE} times at one instant")

    def check(self) -> None:
        """Go no further where nothing gets through.

        Raises:
            Unavailable: It is cut.
            ProcessEnded: Its process was killed.
        """
        self.check_alive()
        if self._is_cut:
            raise Unavailable(_WHERE, "it is cut off")

    def check_alive(self) -> None:
        """Go no further for a process that is dead.

        Raises:
            ProcessEnded: It was killed.
        """
        if self._is_dead:
            raise ProcessEnded("the process was killed")


class _Feed:
    """One subscription through a view."""

    def __init__(self, view: StoreView, changes: Subscription) -> None:
        self._view = view
        self._changes = changes
        self._waiting = CancelScope()
        self._is_broken = False
        self._is_missing = False
        self._again: deque[WatchItem] = deque()

    def fail(self) -> None:
        self._is_broken = True
        self._waiting.cancel()

    def miss(self) -> None:
        self._is_missing = True
        self._waiting.cancel()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        while True:
            await checkpoint()
            self._view.check_alive()
            if self._is_broken:
                self._is_broken = False
                raise Unavailable(_WHERE, "the connection broke")
            self._view.check()
            if self._is_missing:
                return await self._skip()
            if self._again:
                return self._again.popleft()
            with CancelScope() as self._waiting:
                item = await anext(self._changes)
                if self._view.repeats and isinstance(item, Batch):
                    self._again.append(item)
                return item

    async def _skip(self) -> Resync:
        """Let go of all that has come until now."""
        head = (await self._view.base.scan("", limit=1)).revision
        while (item := await anext(self._changes)).revision < head:
            pass
        self._is_missing = False
        self._again.clear()
        return Resync(item.revision)
