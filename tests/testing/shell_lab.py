"""Shells of several processes on one loop of virtual time, each with its own way to the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import count

import anyio
import attrs

from federlib.dag import Runs
from federlib.fencing import FenceGuard
from federlib.leadership import Elector
from federlib.lease import HeldLease, OnLoss, Sessions, StoreLeaseBackend, hold
from federlib.skewclock import Clock, HybridLogicalClock, SkewTolerance, Stamps
from federlib.storage import RecordStore
from federlib.storage.backends.memory import MemoryStore
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing import LoopClock, VirtualTime
from federlib.testing.store_view import StoreView

NAME = "job"


class Log:
    """What was told, and when on the loop."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append((now_s(), event, fields))

    def times(self, event: str) -> list[float]:
        """When this was told; seconds of the loop."""
        return [at_s for at_s, name, _ in self.events if name == event]


def now_s() -> float:
    """Tell the loop's time, which begins at 0 on both."""
    return anyio.current_time()


@attrs.define(slots=False)
class Member:
    """One process: its clock, its view of the store, its leases."""

    who: str
    view: StoreView
    clock: Clock = attrs.field(factory=LoopClock)
    ttl_s: float = 15.0
    log: Log = attrs.field(factory=Log)
    sink: RecordingSink = attrs.field(factory=RecordingSink)

    def __attrs_post_init__(self) -> None:
        self.telemetry = Telemetry(metrics=self.sink, logger=self.log)
        self.leases = StoreLeaseBackend(
            self.view, self.clock, SkewTolerance(1), self.telemetry, transaction_ids=self.draw()
        )
        self.sessions = Sessions(1, count(1))

    def draw(self) -> Callable[[], str]:
        """Return what draws ids that nobody else draws."""
        numbers = count(1)
        return lambda: f"{self.who}.{next(numbers)}"

    def hold(
        self, name: str = NAME, *, wait_s: float | None = None, on_loss: OnLoss = "cancel"
    ) -> AbstractAsyncContextManager[HeldLease]:
        return hold(
            self.leases,
            name,
            holder_id=self.who,
            clock=self.clock,
            ttl_s=self.ttl_s,
            wait_s=wait_s,
            on_loss=on_loss,
            sessions=self.sessions,
            telemetry=self.telemetry,
        )

    def seat(self, name: str = NAME) -> Elector:
        """Take a seat in an election; run it."""
        return Elector(
            name,
            backend=self.leases,
            hold=self.hold,
            holder_id=self.who,
            clock=self.clock,
            admit=FenceGuard(self.view, name).admit,
            telemetry=self.telemetry,
        )


class Lab:
    """One store in memory, and the processes that use it."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store: RecordStore = MemoryStore(self.clock, store_id="lab")

    def member(self, who: str, *, ttl_s: float = 15.0, clock: Clock | None = None) -> Member:
        return Member(who, StoreView(self.store), clock or self.clock, ttl_s)


def play(virtual_time: VirtualTime, scene: Callable[[Lab], Awaitable[None]]) -> None:
    """Play a scene in a lab of its own; it must have taken virtual time."""

    async def main() -> None:
        await scene(Lab())
        assert now_s() > 0

    virtual_time.run(main)


def runs_of(member: Member) -> Runs:
    """Return what a process does runs of tasks with."""

    def held(name: str) -> AbstractAsyncContextManager[HeldLease]:
        return member.hold(name)

    async def identity() -> tuple[str, int]:
        return member.who, 1

    return Runs(
        member.view,
        leases=member.leases,
        hold=held,
        identity=identity,
        clock=member.clock,
        jitter=lambda: 0.5,
        new_id=member.draw(),
        ttl_s=member.ttl_s,
        stamps=Stamps(HybridLogicalClock(member.clock)),
    )
