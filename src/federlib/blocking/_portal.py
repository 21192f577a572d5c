"""`Portal`: an event loop in a thread of its own, for what needs one.

It is a daemon thread and not the executor that anyio offers: a program that never closes its
federation still ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Generic, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from federlib._pace import Bell, ThreadPace
from federlib.errors import Fenced, Unavailable
from federlib.storage import (
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    RecordStore,
    Subscription,
    Transaction,
)

__all__ = ["Portal", "PortalItems", "PortalStore", "call_within", "wait_for"]

_T = TypeVar("_T")
_START_S = 30.0
_WHAT = "the event loop of this federation"


class Portal:
    """Runs coroutines for any number of threads; its own thread starts with the first."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open: BlockingPortal | None = None
        self._is_stopped = False

    def start(self, work: Callable[[], Awaitable[_T]]) -> Future[_T]:
        """Start a task; cancelling the future cancels it.

        Raises:
            Unavailable: It was stopped.
            Fenced: This process is a fork, in which its thread does not run.
        """
        if os.getpid() != self._pid:
            raise Fenced(_WHAT, reason="it was started before this process was forked")
        portal = self._running()
        try:
            return portal.start_task_soon(work)
        except RuntimeError as error:
            raise _stopped() from error

    def call(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run a task to its end; whatever interrupts the wait cancels it."""
        future = self.start(work)
        try:
            return future.result()
        except CancelledError:
            raise _stopped() from None
        except BaseException:
            future.cancel()
            raise

    @contextmanager
    def entered(self, make: Callable[[], AbstractAsyncContextManager[_T]]) -> Generator[_T]:
        """Keep what `make` gives entered during the block; all of it happens in one task."""
        entered: Future[_T] = Future()
        leave = anyio.Event()

        async def hold() -> None:
            try:
                async with make() as value:
                    entered.set_result(value)
                    await leave.wait()
            except BaseException as error:
                if not entered.done():
                    entered.set_exception(error)
                raise

        task = self.start(hold)
        task.add_done_callback(lambda _: entered.cancel())
        try:
            value = entered.result()
        except CancelledError:
            raise _stopped() from None
        except BaseException:
            task.cancel()
            raise
        try:
            yield value
        finally:
            self._finish(task, leave)

    def _finish(self, task: Future[None], leave: anyio.Event) -> None:
        async def let_go() -> None:
            leave.set()

        try:
            self.call(let_go)
            task.result()
        except (CancelledError, Unavailable, Fenced):
            # The portal was stopped, and has left everything on its way out; or this is a
            # fork, where it never ran.
            return

    def _running(self) -> BlockingPortal:
        with self._mutex:
            if self._is_stopped:
                raise _stopped()
            if self._open is None:
                ready: Future[BlockingPortal] = Future()
                self._thread = threading.Thread(
                    target=self._run, args=(ready,), name="federlib-loop", daemon=True
                )
                self._thread.start()
                self._open = ready.result(_START_S)
            return self._open

    def _run(self, ready: Future[BlockingPortal]) -> None:
        async def serve() -> None:
            async with BlockingPortal() as portal:
                ready.set_result(portal)
                await portal.sleep_until_stopped()

        anyio.run(serve)

    def rest(self) -> None:
        """End its thread while nothing runs; the next task starts another."""
        with self._mutex:
            portal, thread = self._open, self._thread
            self._open = self._thread = None
        if portal is not None and thread is not None:
            portal.start_task_soon(portal.stop)
            thread.join()

    def stop(self, patience_s: float) -> None:
        """Cancel what runs, and wait for it to end, at most so long."""
        with self._mutex:
            self._is_stopped = True
            portal, thread = self._open, self._thread
        if portal is None or thread is None:
            return
        try:
            portal.start_task_soon(portal.stop, True)  # noqa: FBT003 (a positional argument there)
        except RuntimeError:
            # Its loop has ended.
            return
        thread.join(patience_s)


def _stopped() -> Unavailable:
    return Unavailable(_WHAT, "it was closed by this process")


class PortalStore:
    """A store of an event loop, as a `RecordStore` whose coroutines block. Thread-safe.

    Args:
        store: Belongs to the portal's loop.
        portal: Where it runs.
        pace: Bounds how long a verb blocks.
    """

    def __init__(self, store: RecordStore, portal: Portal, pace: ThreadPace) -> None:
        self._store = store
        self._portal = portal
        self._pace = pace

    @property
    def capabilities(self) -> Capabilities:
        """What the driver can do."""
        return self._store.capabilities

    @property
    def store_id(self) -> str:
        """The id drawn when the store was created."""
        return self._store.store_id

    def _call(self, verb: Callable[[], Awaitable[_T]]) -> _T:
        return call_within(self._portal, self._pace, verb, what="the store")

    async def get(self, key: str) -> Record | None:
        """Read one record; see `RecordStore.get`."""
        return self._call(lambda: self._store.get(key))

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page; see `RecordStore.scan`."""
        return self._call(lambda: self._store.scan(prefix, after=after, limit=limit))

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`."""
        return self._call(lambda: self._store.commit(transaction))

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction with this id took effect."""
        return self._call(lambda: self._store.outcome(transaction_id))

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to changes under `prefix`; see `RecordStore.watch`."""
        with self._portal.entered(partial(self._store.watch, prefix, after=after)) as changes:
            yield PortalItems(changes, self._portal, self._pace, what="the store")

    async def aclose(self) -> None:
        """Close the store."""
        self._portal.call(self._store.aclose)


class PortalItems(Generic[_T]):
    """Waits for each item in the portal's loop; belongs to the thread that asks.

    Args:
        items: Belongs to the portal's loop.
        portal: Where it runs.
        pace: Bounds how long each item is waited for.
        what: Whose items, for errors.
    """

    def __init__(
        self, items: AsyncIterator[_T], portal: Portal, pace: ThreadPace, *, what: str
    ) -> None:
        self._items = items
        self._portal = portal
        self._pace = pace
        self._what = what

    def __aiter__(self) -> PortalItems[_T]:
        return self

    async def __anext__(self) -> _T:
        """Block until the next item."""
        self._pace.check()
        left_s = self._pace.left_s()
        got: list[_T] = []
        is_over = False

        async def within() -> None:
            nonlocal is_over
            # In the loop, so that an item which comes at the last moment is not lost.
            with anyio.move_on_after(left_s):
                try:
                    got.append(await anext(self._items))
                except StopAsyncIteration:
                    # A future cannot carry it.
                    is_over = True

        wait_for(self._portal.start(within), self._pace)
        if is_over:
            raise StopAsyncIteration
        if not got:
            self._pace.check()
            raise Unavailable(self._what, "its watch was cancelled")
        return got[0]


def call_within(
    portal: Portal, pace: ThreadPace, verb: Callable[[], Awaitable[_T]], *, what: str
) -> _T:
    """Run a verb in the portal, cancelled by its own loop once this thread's limit is over.

    Raises:
        Unavailable: It was cancelled by somebody else.
    """
    left_s = pace.left_s()
    answers: list[_T] = []

    async def within() -> None:
        with anyio.move_on_after(left_s):
            answers.append(await verb())

    portal.call(within)
    if not answers:
        pace.check()
        raise Unavailable(what, "its answer was cancelled")
    return answers[0]


def wait_for(future: Future[_T], pace: ThreadPace) -> _T:
    """Wait for a task of the portal; closing the pace ends the wait and cancels the task.

    Raises:
        CancelledError: The task was cancelled.
    """
    bell = Bell()
    future.add_done_callback(lambda _: bell.ring())
    try:
        with pace.limit(None, shield=True):
            pace.wait(bell, None)
        return future.result()
    except BaseException:
        future.cancel()
        raise
