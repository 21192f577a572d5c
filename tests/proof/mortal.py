"""Processes that are killed at a chosen write, and the store as it sees them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Literal

import anyio
import attrs
from anyio.lowlevel import checkpoint

from federlib._tasks import open_task_group
from federlib.dag import Handler, RunRecord, Runs, RunState
from federlib.dag.handover import Handover
from federlib.dag.patience import follow_key
from federlib.dag.records import decode
from federlib.dag.runlog import Fold, RunLog
from federlib.dag.worker import RunWorker
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.leadership import Elector
from federlib.lease import HeldLease, Sessions, StoreLeaseBackend, hold
from federlib.skewclock import Clock, HybridLogicalClock, SkewTolerance, Stamps
from federlib.storage import (
    Committed,
    Conflicted,
    Page,
    Record,
    RecordStore,
    Subscription,
    Transaction,
    WatchItem,
)
from fencing.worlds import StoreProxy
from proof.run_book import RunBook, Who

__all__ = ["FAULTS", "KILLS", "Cable", "Dead", "Fault", "How", "Member", "Terms", "Watched"]

How = Literal["killed before", "killed after", "not sent", "not answered"]
"""What becomes of a write: its process dies before or after it, or lives and gets no answer."""

KILLS: tuple[How, ...] = ("killed before", "killed after")
FAULTS: tuple[How, ...] = ("not sent", "not answered")


@attrs.frozen
class Fault:
    """What happens to one process: `how`, at its write number `at`, counted from 1."""

    at: int
    how: How


class Watched(StoreProxy):
    """The one store of a fleet: commits go one by one, and the book sees each in its order."""

    def __init__(self, base: RecordStore, book: RunBook) -> None:
        super().__init__(base)
        self.book = book
        self.problems: list[str] = []
        self._turn = anyio.Lock()
        self.last = 0

    async def send(
        self, transaction: Transaction, *, is_cut: Callable[[], bool] = lambda: False
    ) -> Committed | Conflicted | None:
        """Commit unless the sender is cut off by then."""
        async with self._turn:
            if is_cut():
                return None
            # Once it is on its way it arrives, whatever becomes of its sender.
            with anyio.CancelScope(shield=True):
                result = await self.base.commit(transaction)
            if isinstance(result, Committed) and result.revision > self.last:
                self.last = result.revision
                self._take(transaction, result.revision)
            return result

    def _take(self, transaction: Transaction, revision: int) -> None:
        try:
            self.book.commit(transaction, revision)
        except AssertionError as problem:
            # Kept for the end: raised here, it would be an error of the process that commits.
            self.problems.append(str(problem))


class Dead(Exception):
    """What a process hears that was killed and still cleans up."""


class Cable(StoreProxy):
    """A process's way to the store. Once it is cut nothing goes through it, either way."""

    def __init__(self, store: Watched, fault: Fault | None, kill: Callable[[], None]) -> None:
        super().__init__(store)
        self.is_cut = False
        self.sent: list[Transaction] = []
        self._store = store
        self._fault = fault
        self._kill = kill

    def cut(self) -> None:
        self.is_cut = True
        self._kill()

    async def get(self, key: str) -> Record | None:
        await self.check()
        found = await super().get(key)
        await self.check()
        return found

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        await self.check()
        found = await super().scan(prefix, after=after, limit=limit)
        await self.check()
        return found

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        await self.check()
        self.sent.append(transaction)
        fault = self._fault
        how = fault.how if fault is not None and fault.at == len(self.sent) else None
        if how == "killed before":
            self.cut()
            await self.check()
        if how == "not sent":
            raise Unavailable("the store", reason="it was away for a moment")
        result = await self._store.send(transaction, is_cut=lambda: self.is_cut)
        if how == "killed after":
            self.cut()
        await self.check()
        if how == "not answered":
            raise OutcomeUnknown("commit", transaction_id=transaction.id, reason="no answer")
        assert result is not None
        return result

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Subscription, None]:
        await self.check()
        async with self.base.watch(prefix, after=after) as changes:
            yield _Heard(self, changes)

    async def check(self) -> None:
        """Go no further if this process is dead.

        Raises:
            Dead: To what runs on in spite of being cancelled.
        """
        if self.is_cut:
            await checkpoint()
            raise Dead


class _Heard:
    """A subscription through a cable."""

    def __init__(self, cable: Cable, changes: Subscription) -> None:
        self._cable = cable
        self._changes = changes

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        await self._cable.check()
        item = await anext(self._changes)
        await self._cable.check()
        return item


class SeenLog(RunLog):
    """A run's log that remembers the last state which was folded for a leader."""

    lived: RunState | None = None

    async def fold_whole(self) -> Fold:
        fold = await super().fold_whole()
        self.lived = fold.state
        return fold


@attrs.frozen(kw_only=True)
class Terms:
    """What all processes of a fleet have in common.

    Attributes:
        clock: Theirs.
        ttl_s: Of their leases; seconds.
        snapshot_every: Transitions between snapshots.
        slots: How many tasks each takes.
    """

    clock: Clock
    ttl_s: float
    snapshot_every: int
    slots: int


class Member:
    """One process of a fleet: everything that `connect` makes, without its files.

    Args:
        who: Its worker id and incarnation.
        store: The fleet's.
        terms: The fleet's.
        fault: What happens to it.
        kill: Cancels all that it does.

    Attributes:
        cable: Its way to the store.
        runs: What it acts through.
        log: Of the run.
    """

    def __init__(
        self,
        who: Who,
        store: Watched,
        terms: Terms,
        *,
        fault: Fault | None,
        kill: Callable[[], None],
    ) -> None:
        self.who = who
        self.terms = terms
        self.cable = Cable(store, fault, kill)
        self._leases = StoreLeaseBackend(self.cable, terms.clock, SkewTolerance())
        self._claims, ids = itertools.count(1), itertools.count(1)
        self.runs = Runs(
            self.cable,
            leases=self._leases,
            hold=self._hold,
            identity=self._identity,
            clock=terms.clock,
            jitter=lambda: 0.5,
            new_id=lambda: f"{who[0]}.{who[1]}.{next(ids)}",
            ttl_s=terms.ttl_s,
            snapshot_every=terms.snapshot_every,
            stamps=Stamps(HybridLogicalClock(terms.clock)),
        )
        self.log = SeenLog(self.cable, store.book.keys.run_id)
        # Reading the plan writes nothing, and is the same at every point.
        self.log.keep_plan(store.book.plan)
        self.runs._logs[self.log.run_id] = self.log

    def _hold(self, name: str) -> AbstractAsyncContextManager[HeldLease]:
        return hold(
            self._leases,
            name,
            holder_id=self.who[0],
            sessions=Sessions(self.who[1], self._claims),
            clock=self.terms.clock,
            ttl_s=self.terms.ttl_s,
        )

    async def _identity(self) -> Who:
        return self.who

    async def lead_and_work(self, handler: Handler) -> None:
        """Lead or not, and do tasks, until the run ends."""
        await self.runs.work(self.log.run_id, handler, slots=self.terms.slots)

    async def lead(self) -> None:
        """Lead or wait for the seat until the run ends; do no tasks."""
        after = await self._ended_at()
        seat = Elector(
            self.log.keys.lease,
            backend=self._leases,
            hold=self._hold,
            holder_id=self.who[0],
            clock=self.terms.clock,
        )
        async with open_task_group() as group:
            group.start_soon(seat.run)
            group.start_soon(self.runs._lead, self.log, seat, Handover())
            async with aclosing(follow_key(self.cable, self.log.keys.run)) as records:
                async for record in records:
                    if decode(RunRecord, record).state != "running" and record.revision > after:
                        break
            group.cancel_scope.cancel()

    async def work(self, handler: Handler) -> None:
        """Do tasks until the run ends; never lead."""
        worker = RunWorker(
            log=self.log,
            hold=self._hold,
            worker_id=self.who[0],
            incarnation=self.who[1],
            slots=self.terms.slots,
            handler=handler,
            clock=self.terms.clock,
        )
        await worker.run(after=await self._ended_at())

    async def _ended_at(self) -> int:
        """Say which end of the run is not the last: somebody has asked to resume it."""
        record, revision = await self.log.run_at()
        return 0 if record.state == "running" else revision
