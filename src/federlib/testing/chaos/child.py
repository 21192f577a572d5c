"""One process of a chaos run: a member of a real fleet, on a real store.

Run as ``python -m federlib.testing.chaos.child`` by the harness, which writes terms and orders
to its standard input. It ends when that does; on Linux it is killed with the harness even
while it is stopped.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import random  # noqa: TID251 (a program of its own, seeded by the harness)
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import assert_never

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup

from federlib._tasks import open_task_group
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
from federlib.identity import ClaimedIdentity, IdentityStore
from federlib.leadership import Elector
from federlib.lease import HeldLease, Sessions, StoreLeaseBackend, hold
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.storage import Absent, AtRevision, Check, Conflicted, Put, RecordStore, open_store
from federlib.testing.chaos.faces import FacedClock
from federlib.testing.chaos.hindered_store import HinderedStore
from federlib.testing.chaos.ledger import Ledger, LedgerReader, open_append
from federlib.testing.chaos.records import (
    ELECTION,
    Hinder,
    Leave,
    Order,
    Quiet,
    Replay,
    Terms,
    Wear,
)
from federlib.testing.history import Recorder

__all__ = ["LEDGER", "NEXT_KEY", "effect_text", "history_name", "main"]

LEDGER = "ledger.jsonl"
NEXT_KEY = "chaos/next"
"""The record that says which effect is next: the mark of all before it."""

_PR_SET_PDEATHSIG = 1
_ORDERS = 0
_CHUNK = 65_536
_RETRY_S = 0.05


def history_name(who: str, life: int) -> str:
    """Name the file with the history of one life of a process."""
    return f"history-{who}-{life}.jsonl"


def effect_text(number: int) -> str:
    """Say what the effect of a number is: the same however often it happens."""
    return f"{number} squared is {number * number}"


class _Life:
    """One life of one process.

    Args:
        terms: What the harness told it.
        identity: Who it is.
    """

    def __init__(self, terms: Terms, identity: ClaimedIdentity) -> None:
        self.terms = terms
        self.identity = identity
        true = SystemClock()
        self.boot_ns = true.boot_ns
        self.clock: Clock = true if terms.face is None else FacedClock(true, terms.face)
        self.directory = Path(terms.directory)
        self.ledger = Ledger(self.directory / LEDGER, terms.who, true.boot_ns)
        self.chance = random.Random(terms.seed)  # noqa: S311 (chaos is no secret)
        self.is_quiet = False
        self.is_open = anyio.Event()
        self.leaving = anyio.Event()
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
            self.hindered.hindrance = self.hindrance
            store = self.hindered
        name = history_name(self.terms.who, self.terms.life)
        file = open_append(self.directory / name)
        recorder = Recorder(self.boot_ns, sink=partial(os.write, file))
        process = f"{self.terms.who}.{self.terms.life}"
        self.store = recorder.store(store, process)
        self.leases = recorder.leases(
            StoreLeaseBackend(self.store, self.clock, SkewTolerance(self.terms.tolerance_s)),
            process,
        )
        self.guard = FenceGuard(self.store, ELECTION)
        sessions = Sessions(self.identity.incarnation, self.identity.claims)
        self.seat = Elector(
            ELECTION,
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
            while self.is_quiet:
                await anyio.sleep(_RETRY_S)
            try:
                await self._do_next(epoch, turn)
                await self._command(epoch, turn)
            except StaleToken:
                # Another leads, whatever our clocks say of our lease.
                self.seat.resign()
                await anyio.sleep_forever()
            except Fenced:
                # The seat hears of it too, and ends this reign.
                await anyio.sleep(_RETRY_S)
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(_RETRY_S)
            await anyio.sleep(self.terms.command_every_s)

    async def _do_next(self, epoch: int, turn: int) -> None:
        """Have one effect on the world, then mark it: in this order it happens at least once."""
        record = await self.store.get(NEXT_KEY)
        number = 1 if record is None else int(record.value)
        check: Check = Absent(NEXT_KEY) if record is None else AtRevision(NEXT_KEY, record.revision)
        self.seat.check()
        name = f"effect-{number}"
        self.ledger.note("effect", name, epoch=epoch, text=effect_text(number))
        # What is done takes a while, and who does it may die over it.
        await anyio.sleep(self.terms.act_s)
        since_ns = self.boot_ns()
        mark = (Put(NEXT_KEY, b"%d" % (number + 1)),)
        once = f"{self.terms.who}.{self.identity.incarnation}.{epoch}.{turn}"
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
            await self._issue(order.id, order.epoch, None)
        except (Unavailable, OutcomeUnknown):
            pass

    async def _issue(self, name: str, epoch: int, gate: Callable[[], int] | None) -> None:
        since_ns = self.boot_ns()
        try:
            answer = await issue(
                self.store,
                ELECTION,
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
            ELECTION,
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
                self.hindrance = hindrance
                if self.hindered is not None:
                    self.hindered.hindrance = hindrance
            case Wear(face):
                if isinstance(self.clock, FacedClock):
                    self.clock.face = face
            case Replay():
                group.start_soon(self.replay, order)
            case Quiet():
                self.is_quiet = True
            case Leave():
                self.leaving.set()
            case _:
                assert_never(order)


async def _live(terms: Terms, rest: bytes) -> None:
    identities = IdentityStore(Path(terms.directory) / "identities")
    with await identities.claim_async(terms.seq) as identity:
        life = _Life(terms, identity)
        async with open_task_group() as group:
            group.start_soon(_hear, life, group, rest)
            await life.open()
            group.start_soon(life.seat.run)
            group.start_soon(life.tell_roles)
            group.start_soon(life.seat.lead, life.reign)
            if terms.is_consumer:
                group.start_soon(life.consume)
            life.ledger.note("ready")
            await life.leaving.wait()
            group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await life.store.aclose()


async def _hear(life: _Life, group: TaskGroup, rest: bytes) -> None:
    """Take orders; end at once when nobody is there to give any."""
    decode = msgspec.json.Decoder(Order).decode
    os.set_blocking(_ORDERS, False)
    while True:
        *lines, rest = rest.split(b"\n")
        for line in lines:
            life.obey(decode(line), group)
        await anyio.wait_readable(_ORDERS)
        came = os.read(_ORDERS, _CHUNK)
        if not came:
            os._exit(1)
        rest += came


def _read_terms() -> tuple[Terms, bytes]:
    text = b""
    while b"\n" not in text:
        came = os.read(_ORDERS, _CHUNK)
        if not came:
            sys.exit(1)
        text += came
    line, _, rest = text.partition(b"\n")
    return msgspec.json.decode(line, type=Terms), rest


def _die_with_parent() -> None:
    """Have the kernel kill this process when the harness dies, even one that is stopped."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Live one life."""
    _die_with_parent()
    terms, rest = _read_terms()
    if os.getppid() != terms.parent:  # It died before the kernel was told.
        sys.exit(1)
    anyio.run(_live, terms, rest)


if __name__ == "__main__":
    main()
