"""A `RecordStore` made of a blocking engine: the same shell for every such driver.

Blocking work runs in threads of the store's own, never in the host's default pool.

Hazards: a process that is stopped inside its commit holds up all other writers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from federlib._pace import ThreadPace
from federlib._prefixes import LEASE_PREFIX
from federlib.errors import InvalidInput, OutcomeUnknown, Unavailable
from federlib.skewclock import Clock
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends._blocking.crew import Crew, schedule, scheduler
from federlib.storage.backends._blocking.direct import DirectStore
from federlib.storage.backends._blocking.engine import Engine
from federlib.storage.backends._blocking.subscription import EngineSubscription
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
    StoreProblem,
    Subscription,
    Transaction,
)
from federlib.telemetry import Telemetry

__all__ = ["EngineStore"]

_CLOSE_TIMEOUT_S = 5.0
AnyEngine = TypeVar("AnyEngine", bound=Engine)


class EngineStore(Generic[AnyEngine]):
    """A `RecordStore` on an engine. Any number of event loops may share it."""

    def __init__(
        self,
        engine: AnyEngine,
        capabilities: Capabilities,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Take over an open engine; the driver's `open_store` is the way to get a store."""
        self._engine = engine
        self._capabilities = capabilities
        self._clock = clock
        self._telemetry = telemetry
        self._watcher = Watcher(engine)
        engine.listen(self._watcher.committed)
        self._crew = Crew(engine.where, committers=engine.committers)
        self._is_closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        return self._capabilities

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._engine.store_id

    async def get(self, key: str) -> Record | None:
        """Read one record; linearizable."""
        check_key(key)
        is_lease = key.startswith(LEASE_PREFIX)
        return await self._crew.read(partial(self._engine.get, key), is_lease=is_lease)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page of the records whose key starts with `prefix`."""
        check_scan(prefix, after, limit)
        return await self._crew.read(
            partial(self._engine.scan, prefix, after, limit),
            is_lease=prefix.startswith(LEASE_PREFIX),
        )

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction with this id took effect."""
        check_transaction_id(transaction_id)
        return await self._crew.read(partial(self._engine.outcome, transaction_id))

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; linearizable. A conflict is a value.

        Until COMMIT is sent it can be cancelled, and gives up after `COMMIT_TIMEOUT_S`; in
        both cases nothing has happened. From then on it is shielded, for as long again.

        Raises:
            InvalidInput: A limit is exceeded, or the id was used for another transaction.
            Unavailable: Nothing was sent.
            OutcomeUnknown: It was sent and no answer came.
            CorruptRecord: The store is no longer the one that was opened.
        """
        check_transaction(transaction)
        await anyio.lowlevel.checkpoint_if_cancelled()
        attempt = Attempt(transaction, now_ns=self._clock.wall_ns())
        done, soon = anyio.Event(), scheduler()

        def job() -> None:
            self._engine.run(attempt)
            schedule(soon, done.set)

        try:
            with anyio.move_on_after(COMMIT_TIMEOUT_S):
                self._engine.expect(attempt)
                # As late as can be: the thread that it wakes waits for the interpreter until
                # this one has nothing more to do.
                self._crew.commit(job)
                await done.wait()
        except anyio.get_cancelled_exc_class():
            if not attempt.has_answer and attempt.abandon():
                raise
            await self._wait_for(attempt)
            # A cancelled scope cancels again at the next await. Anything else that cancels
            # does so once only, and must not be swallowed.
            if anyio.current_effective_deadline() > -float("inf"):
                raise
        if not attempt.has_answer:
            if attempt.abandon():
                raise Unavailable(
                    self._engine.where,
                    f"other work kept it busy for {COMMIT_TIMEOUT_S:g} s; nothing was sent",
                    hint="retry",
                )
            await self._wait_for(attempt)
        return attempt.answer()

    async def _wait_for(self, attempt: Attempt) -> None:
        with anyio.CancelScope(shield=True):
            has_answer = await anyio.to_thread.run_sync(
                attempt.wait, COMMIT_TIMEOUT_S, limiter=anyio.CapacityLimiter(1)
            )
        if not has_answer:
            self._telemetry.log("warning", "store_outcome_unknown", store=self._engine.where)
            raise OutcomeUnknown(
                "commit",
                transaction_id=attempt.transaction.id,
                reason=f"no answer within {COMMIT_TIMEOUT_S:g} s",
            )

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to whole transactions after revision `after`, filtered to `prefix`."""
        check_prefix(prefix)
        if type(after) is not int or after < 0:
            raise InvalidInput("after", expected="a revision, 0 or more", found=after)
        is_lease = prefix.startswith(LEASE_PREFIX)
        head = await self._crew.read(self._engine.read_revision, is_lease=is_lease)
        subscription = EngineSubscription(
            self._engine,
            self._watcher,
            prefix,
            after=after,
            head=head,
            crew=self._crew,
            is_lease=is_lease,
        )
        try:
            yield subscription
        finally:
            subscription.close()

    async def check(self) -> Sequence[StoreProblem]:
        """Verify all that is stored; see `Checkable`. Takes no thread from other work."""
        return await anyio.to_thread.run_sync(
            self._engine.check, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
        )

    def direct(self, pace: ThreadPace) -> DirectStore:
        """Return the same store for one that may block; see `Embedded`."""
        return DirectStore(
            self._engine,
            self._watcher,
            self._capabilities,
            clock=self._clock,
            pace=pace,
            close=self._close,
        )

    async def aclose(self) -> None:
        """Let go of files, threads and connections; a second call does nothing."""
        if self._is_closed:
            return
        with anyio.move_on_after(2 * _CLOSE_TIMEOUT_S, shield=True):
            await anyio.to_thread.run_sync(
                self._close, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._watcher.stop(_CLOSE_TIMEOUT_S)
        self._engine.close(_CLOSE_TIMEOUT_S)
        self._crew.close()
