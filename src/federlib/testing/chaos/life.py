"""`Life`: what one life of a process of a chaos run does, with federlib's own shells."""

from __future__ import annotations

import itertools
import random  # noqa: TID251 (a program of its own, seeded by the harness)
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import assert_never

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from federlib.errors import Fenced, OutcomeUnknown, StaleToken, Unavailable
from federlib.fencing import (
    Actuation,
    Command,
    CommandConsumer,
    FenceGuard,
    Outcome,
    issue,
)
from federlib.fencing.consumer import ActuationStatus
from federlib.identity import ClaimedIdentity
from federlib.leadership import Elector
from federlib.lease import HeldLease, Sessions, hold
from federlib.lease.urls import leases_on
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.storage import (
    Absent,
    AtRevision,
    Check,
    Conflicted,
    NativeLeases,
    Put,
    RecordStore,
    open_store,
)
from federlib.testing.chaos.faces import FacedClock
from federlib.testing.chaos.hindered_store import HinderedStore
from federlib.testing.chaos.hindrance import Hindrance
from federlib.testing.chaos.ledger import Ledger, LedgerReader, open_append
from federlib.testing.chaos.records import (
    Hinder,
    Leave,
    Order,
    Quiet,
    Replay,
    Terms,
    Wear,
)
from federlib.testing.chaos.space import Space
from federlib.testing.history import RecordedLeases, Recorder

__all__ = ["LEDGER", "Life", "history_name"]

LEDGER = "ledger.jsonl"
_RETRY_S = 0.05


def history_name(who: str, life: int) -> str:
    """Name the file with the history of one life of a process."""
    return f"history-{who}-{life}.jsonl"


def _effect_text(number: int) -> str:
    """Say what the effect of a number is: the same however often it happens."""
    return f"{number} squared is {number * number}"


class Life:
    """One life of one process.

    Args:
        terms: What the harness told it.
        identity: Who it is.
    """

    def __init__(self, terms: Terms, identity: ClaimedIdentity) -> None:
        self.terms = terms
        self.identity = identity
        true = SystemClock()
        self.boot_ns: Callable[[], int] = true.boot_ns
        self.clock: Clock = true if terms.face is None else FacedClock(true, terms.face)
        self.directory: Path = Path(terms.directory)
        self.space: Space = Space()
        self.ledger: Ledger = Ledger(
            self.directory / LEDGER, terms.who, true.boot_ns, write=self.space.write
        )
        self.chance: random.Random = random.Random(terms.seed)  # noqa: S311 (chaos is no secret)
        self.is_quiet: bool = False
        self.doing: anyio.Lock = anyio.Lock()
        self.is_open: anyio.Event = anyio.Event()
        self.leaving: anyio.Event = anyio.Event()
        self.hindrance = terms.hindrance
        self.hindered: HinderedStore | None = None
        self.store: RecordStore
        self.seat: Elector

    async def open(self) -> None:
        """Open the store, however long that takes, and all that stands on it."""
        while True:
            try:
                store = await open_store(self.terms.url, clock=self.clock)
                break
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(_RETRY_S)
        if self.hindrance is not None:
            self.hindered = HinderedStore(
                store,
                draw=self.chance.random,
                answer_s=self.terms.answer_s,
                answer_lost=partial(self.ledger.note, "answer_lost"),
            )
            self._hinder(self.hindrance)
            store = self.hindered
        name = history_name(self.terms.who, self.terms.life)
        file = open_append(self.directory / name)
        recorder = Recorder(self.boot_ns, sink=partial(self.space.write, file))
        process = f"{self.terms.who}.{self.terms.life}"
        self.store = recorder.store(store, process)
        # An engine with leases of its own is asked itself; else they lie in recorded records.
        under = store if isinstance(store, NativeLeases) else self.store
        tolerance = SkewTolerance(self.terms.tolerance_s)
        leases = await leases_on(under, self.clock, tolerance)
        self.leases: RecordedLeases = recorder.leases(leases, process)
        self.guard: FenceGuard = FenceGuard(self.store, self.terms.election)
        sessions = Sessions(self.identity.incarnation, self.identity.claims)
        self.seat = Elector(
            self.terms.election,
            backend=self.leases,
            hold=partial(self._hold, sessions),
            holder_id=self.terms.who,
            clock=self.clock,
            admit=self.guard.admit,
        )
        self.is_open.set()

    def _hold(self, sessions: Sessions, name: str) -> AbstractAsyncContextManager[HeldLease]:
        return hold(
            self.leases,
            name,
            holder_id=self.terms.who,
            clock=self.clock,
            ttl_s=self.terms.ttl_s,
            sessions=sessions,
        )

    def _hinder(self, hindrance: Hindrance) -> None:
        self.hindrance = hindrance
        if self.hindered is not None:
            self.hindered.hindrance = hindrance
            self.space.fill(is_full=hindrance.is_full)

    async def tell_roles(self) -> None:
        """Note whenever it begins to lead, and when it knows that it does no more."""
        epoch = 0
        async for state in self.seat.changes():
            if state.role == "leader" and state.epoch != epoch:
                epoch = state.epoch
                self.ledger.note("leads", epoch=epoch)
            elif state.role != "leader" and epoch:
                self.ledger.note("lost", epoch=epoch, text=state.reason)
                epoch = 0

    async def reign(self, epoch: int) -> None:
        """Do what a leader does: effects of its own, each marked as done, and commands."""
        for turn in itertools.count(1):
            try:
                async with self.doing:
                    if not self.is_quiet:
                        await self._do_next(epoch, turn)
                        await self._command(epoch, turn)
            except StaleToken:
                # Another leads, whatever our clocks say of our lease.
                self.seat.resign()
                await anyio.sleep_forever()
            except (Fenced, Unavailable, OutcomeUnknown):
                # The seat hears of what is lost too, and ends this reign.
                await anyio.sleep(_RETRY_S)
            await anyio.sleep(self.terms.command_every_s)

    async def _do_next(self, epoch: int, turn: int) -> None:
        """Have one effect on the world, then mark it: in this order it happens at least once."""
        # This record says which effect is next: it is the mark of all before it.
        key = f"chaos/{self.terms.election}/next"
        record = await self.store.get(key)
        number = 1 if record is None else int(record.value)
        check: Check = Absent(key) if record is None else AtRevision(key, record.revision)
        self.seat.check()
        name = f"effect-{number}"
        self.ledger.note("effect", name, epoch=epoch, text=_effect_text(number))
        # What is done takes a while, and who does it may die over it.
        await anyio.sleep(self.terms.act_s)
        since_ns = self.boot_ns()
        mark = (Put(key, b"%d" % (number + 1)),)
        # Receipts are the store's, not the election's.
        life = f"{self.terms.election}.{self.terms.who}.{self.identity.incarnation}"
        once = f"{life}.{epoch}.{turn}"
        while True:
            try:
                done = await self.guard.transaction(epoch, mark, (check,), id=once)
                break
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(_RETRY_S)
        if not isinstance(done, Conflicted):
            self.ledger.note("marked", name, epoch=epoch, since_ns=since_ns)

    async def _command(self, epoch: int, turn: int) -> None:
        name = f"{epoch}-{self.terms.who}-{turn}"
        await self._issue(name, epoch, self.seat.check)

    async def replay(self, order: Replay) -> None:
        """Issue under an old epoch, without asking whether it still leads."""
        await self.is_open.wait()
        try:
            async with self.doing:
                await self._issue(order.id, order.epoch, None)
        except (Unavailable, OutcomeUnknown):
            pass

    async def fall_silent(self) -> None:
        """Begin nothing new, and note when what was begun has ended."""
        self.is_quiet = True
        async with self.doing:
            self.ledger.note("quiet")

    async def _issue(self, name: str, epoch: int, gate: Callable[[], int] | None) -> None:
        since_ns = self.boot_ns()
        try:
            answer = await issue(
                self.store,
                self.terms.election,
                "act",
                epoch=epoch,
                issuer=self.terms.who,
                clock=self.clock,
                gate_check=gate,
                command_id=name,
            )
        except OutcomeUnknown:
            self.ledger.note("unknown", name, epoch=epoch, since_ns=since_ns)
            raise
        if isinstance(answer, Outcome):
            what = answer.status
            self.ledger.note("refused", name, epoch=epoch, since_ns=since_ns, text=what)
        else:
            self.ledger.note("issued", name, epoch=epoch, since_ns=since_ns)

    async def consume(self) -> None:
        """Act on commands."""
        consumer = CommandConsumer(
            self.store,
            self.terms.election,
            self._act,
            consumer_id=self.terms.who,
            clock=self.clock,
            reconcile=self._look,
        )
        await consumer.run()

    async def _act(self, command: Command) -> ActuationStatus:
        self.ledger.note("acted", command.command_id, epoch=command.leader_epoch)
        await anyio.sleep(self.terms.act_s)
        return "applied"

    async def _look(self, command: Command) -> Actuation:
        """Find out from the world whether a command was acted on."""
        notes = await anyio.to_thread.run_sync(LedgerReader(self.directory / LEDGER).read)
        was_acted_on = any(n.what == "acted" and n.id == command.command_id for n in notes)
        return Actuation("applied" if was_acted_on else "actuation_failed", "found in the ledger")

    def obey(self, order: Order, group: TaskGroup) -> None:
        """Do what an order says."""
        match order:
            case Hinder(hindrance):
                self._hinder(hindrance)
            case Wear(face):
                if isinstance(self.clock, FacedClock):
                    self.clock.face = face
            case Replay():
                group.start_soon(self.replay, order)
            case Quiet():
                group.start_soon(self.fall_silent)
            case Leave():
                self.leaving.set()
            case _:
                assert_never(order)
