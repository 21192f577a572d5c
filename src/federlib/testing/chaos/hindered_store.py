"""`HinderedStore`: a record store that is in the way of whoever uses it.

For stores without a network in between. What a network would do to a connection is done here
to each request: it waits while nothing gets through, goes on if that ends in time, and is
given up otherwise. A commit whose answer does not come is of unknown outcome, whether it took
effect (no answer got back) or not (the request never left). That files cannot grow is no
matter of the way: `Space` does that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NoReturn

import anyio

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.storage import (
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
    WatchItem,
)
from federlib.testing.chaos.hindrance import CLEAR, Hindrance, is_drawn, way_s

__all__ = ["HinderedStore"]

_HEAD_BYTES = 200
"""Of what a message holds beside keys and values."""


class HinderedStore:
    """A `RecordStore` behind a hindrance.

    Args:
        store: The store itself.
        draw: Draws a number from 0 to below 1.
        answer_s: How long an answer is waited for; seconds.
        answer_lost: Told when a commit took effect and its answer is thrown away.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        draw: Callable[[], float],
        answer_s: float,
        answer_lost: Callable[[], object],
    ) -> None:
        self._store = store
        self._draw = draw
        self._answer_s = answer_s
        self._answer_lost = answer_lost
        self._hindrance = CLEAR
        self._changed = anyio.Event()

    @property
    def hindrance(self) -> Hindrance:
        """What stands in the way now; assign another at any time."""
        return self._hindrance

    @hindrance.setter
    def hindrance(self, hindrance: Hindrance) -> None:
        self._hindrance = hindrance
        self._changed.set()
        self._changed = anyio.Event()

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
        await self._ask(len(key))
        record = await self._store.get(key)
        await self._hear(0 if record is None else len(record.value))
        return record

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page; see `RecordStore.scan`."""
        await self._ask(len(prefix))
        page = await self._store.scan(prefix, after=after, limit=limit)
        await self._hear(sum(len(record.value) for record in page.records))
        return page

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Commit, if the request gets through; see `RecordStore.commit`."""
        size = sum(len(w.value) for w in transaction.writes if isinstance(w, Put))
        self._refuse()
        await self._travel(size, is_request=True)
        # It has left: from here on only an answer or the deadline ends it, as the protocol asks.
        with anyio.CancelScope(shield=True):
            if not await self._clear(is_mute=True):
                self._give_up(transaction)
            now = self._hindrance
            answer = await self._store.commit(transaction)
            if transaction.id is not None and is_drawn(now.repeat_ppm, self._draw):
                answer = await self._store.commit(transaction)
            if is_drawn(now.lost_answer_ppm, self._draw) or not await self._clear(is_mute=False):
                self._answer_lost()
                self._give_up(transaction)
            await self._travel(0, is_request=False)
        return answer

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction took effect; see `RecordStore.outcome`."""
        await self._ask(len(transaction_id))
        answer = await self._store.outcome(transaction_id)
        await self._hear(0)
        return answer

    def watch(self, prefix: str, *, after: int) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to changes; see `RecordStore.watch`."""
        return self._watch(prefix, after=after)

    @asynccontextmanager
    async def _watch(self, prefix: str, *, after: int) -> AsyncGenerator[Subscription, None]:
        await self._ask(len(prefix))
        async with self._store.watch(prefix, after=after) as changes:
            yield _Heard(self, changes)

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()

    async def _ask(self, size: int) -> None:
        """Have a question that changes nothing travel to the store.

        Raises:
            Unavailable: It does not get there.
        """
        self._refuse()
        await self._travel(size, is_request=True)
        if not await self._clear(is_mute=True):
            raise Unavailable("the store", f"no answer within {self._answer_s:g} s")

    async def _hear(self, size: int) -> None:
        """Have the answer to a question travel back.

        Raises:
            Unavailable: It does not get there.
        """
        if self._hindrance.is_down or not await self._clear(is_mute=False):
            raise Unavailable("the store", f"no answer within {self._answer_s:g} s")
        await self._travel(size, is_request=False)

    def _refuse(self) -> None:
        now = self._hindrance
        if now.is_down or is_drawn(now.refuse_ppm, self._draw):
            raise Unavailable("the store", "it refuses, by a fault of this run")

    def _give_up(self, transaction: Transaction) -> NoReturn:
        reason = f"no answer within {self._answer_s:g} s, by a fault of this run"
        raise OutcomeUnknown("commit", transaction_id=transaction.id, reason=reason)

    async def _travel(self, size: int, *, is_request: bool) -> None:
        """Pass the time that one way takes."""
        size += _HEAD_BYTES
        # Where nothing is in the way too: who was cancelled by now sends nothing.
        await anyio.sleep(way_s(self._hindrance, size, self._draw, is_request=is_request))

    async def _clear(self, *, is_mute: bool) -> bool:
        """Wait until one way is open; say whether it was in time."""
        with anyio.move_on_after(self._answer_s):
            while self._hindrance.is_mute if is_mute else self._hindrance.is_deaf:
                await self._changed.wait()
            return True
        return False


class _Heard:
    """A subscription through a hindrance; what was heard and not handed on is kept."""

    def __init__(self, way: HinderedStore, changes: Subscription) -> None:
        self._way = way
        self._changes = changes
        self._kept: WatchItem | None = None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        if self._kept is None:
            self._kept = await anext(self._changes)
        await self._way._hear(0)  # noqa: SLF001 (the store that it belongs to)
        item, self._kept = self._kept, None
        return item
