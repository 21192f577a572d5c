"""`ShellFleet`: processes that run `hold`, `Elector`, `Commands` and their loops themselves.

    async def main() -> None:
        async with ShellFleet(seed=7) as fleet:
            PRESETS["leader_kill"].arm(fleet)
            await anyio.sleep(40)
        assert not fleet.violations

    run_virtually(main)

It is judged as `federlib.testing.sim.Fleet` is, by the same audit and ledger.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from federlib._tasks import open_task_group
from federlib.errors import Fenced, OutcomeUnknown, Unavailable
from federlib.fencing import Command, CommandConsumer, FenceGuard, Outcome, issue
from federlib.fencing.consumer import ActuationStatus
from federlib.leadership import Elector
from federlib.lease import HeldLease, Sessions, StoreLeaseBackend, hold
from federlib.skewclock import SkewTolerance
from federlib.testing.shells.kernel import LoopSimulation
from federlib.testing.shells.process import Process
from federlib.testing.shells.site import draw_clock, go
from federlib.testing.shells.store import LoopStore
from federlib.testing.sim.fleet import ELECTION, ElectionSite, Terms

__all__ = ["SMALL", "ShellFleet"]

SMALL = Terms(nodes=3)
"""As large as it is unless something else is said: a loop is slower than the simulator."""


class ShellFleet(ElectionSite):
    """A world of processes that run the shells of federlib, around one election.

    Enter it in a loop of `run_virtually`.

    Args:
        seed: Of network, store, clocks and faults; an integer.
        terms: What it is like.
        keep_trace: Keep the events of the trace, not only their hash.

    Attributes:
        processes: The nodes, as what they are; by name.
    """

    def __init__(self, seed: int, terms: Terms = SMALL, *, keep_trace: bool = False) -> None:
        self._loop_sim = LoopSimulation(seed, keep_trace=keep_trace)
        super().__init__(self._loop_sim, terms)
        self.processes: dict[str, Process] = {}
        self._going: AbstractAsyncContextManager[TaskGroup] | None = None

    async def __aenter__(self) -> Self:
        self._going = go(self._loop_sim)
        group = await self._going.__aenter__()
        terms = self.terms
        for number in range(terms.nodes):
            name = f"n{number + 1}"
            self.processes[name] = Process(
                self._loop_sim,
                name,
                partial(_live, self, is_consumer=number < terms.consumers),
                draw_clock(
                    self._loop_sim, name, offset_ms=terms.offset_ms, drift_ppm=terms.drift_ppm
                ),
                group=group,
                died=self._died,
            )
        self.nodes.update(self.processes)
        for process in self.processes.values():
            process.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._going is not None
        return await self._going.__aexit__(kind, error, traceback)

    def _find_believer(self) -> str | None:
        # Who is stopped believes nothing: it is asked again once it goes on.
        believer = super()._find_believer()
        is_stopped = believer is not None and self.processes[believer].is_stopped
        return None if is_stopped else believer

    def replay_stale(self) -> bool:
        """Have some process issue a command again in the name of a reign that is over."""
        over = self.ledger.reigns[:-1]
        up = [process for process in self.processes.values() if process.has_begun]
        if not over or not up:
            return False
        rng = self.sim.rng("replay")
        process = rng.choice(up)
        process.start_soon(partial(_Life(self, process).replay, rng.choice(over).epoch))
        return True


async def _live(fleet: ShellFleet, process: Process, *, is_consumer: bool) -> None:
    """Stand for election for ever; act on commands beside it."""
    life = _Life(fleet, process)
    async with open_task_group() as group:
        group.start_soon(life.seat.run)
        if is_consumer:
            group.start_soon(life.consume)
        await life.seat.lead(life.reign)


class _Life:
    """One life of one process."""

    def __init__(self, fleet: ShellFleet, process: Process) -> None:
        self.fleet = fleet
        self.process = process
        self.life = process.life
        self.store = LoopStore(fleet.store, process)
        self.hex = fleet.hex_drawer(f"{process.name}/{process.life}")
        self.draw = fleet.sim.rng(f"resign {process.name}").randrange
        self.sessions = Sessions(process.life, count(1))
        self.issued = 0
        self.leases = StoreLeaseBackend(
            self.store, process.clock, SkewTolerance(fleet.terms.tolerance_s)
        )
        self.seat = Elector(
            ELECTION,
            backend=self.leases,
            hold=self.hold,
            holder_id=process.name,
            clock=process.clock,
            admit=FenceGuard(self.store, ELECTION).admit,
        )

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[HeldLease]:
        """Hold the lease, and tell the ledger."""
        fleet, process = self.fleet, self.process
        async with hold(
            self.leases,
            name,
            holder_id=process.name,
            clock=process.clock,
            ttl_s=fleet.terms.ttl_s,
            sessions=self.sessions,
        ) as lease:
            if not process.is_living(self.life):
                yield lease
                return
            fleet.ledger.granted(process.name, lease.token)
            fleet.held[process.name] = lease
            try:
                yield lease
            finally:
                if process.is_living(self.life):
                    fleet.ledger.lost(process.name, lease.token)
                    fleet.held.pop(process.name, None)

    async def reign(self, epoch: int) -> None:
        """Issue commands; now and then, step down."""
        terms, fleet = self.fleet.terms, self.fleet
        while True:
            await anyio.sleep(terms.command_every_s or terms.ttl_s / 3)
            if self.draw(100) < terms.resign_percent and not fleet.is_healed:
                self.seat.resign()
                await anyio.sleep_forever()
            if terms.command_every_s:
                try:
                    await self._issue(epoch)
                except (Unavailable, OutcomeUnknown):
                    await anyio.sleep(terms.ttl_s / 10)
                except Fenced:
                    # The lease is lost; whoever reigns is cancelled for it.
                    await anyio.sleep_forever()

    async def _issue(self, epoch: int) -> None:
        self.issued += 1
        process, ledger = self.process, self.fleet.ledger
        answer = await issue(
            self.store,
            ELECTION,
            "act",
            self.issued,
            epoch=epoch,
            issuer=process.name,
            clock=process.clock,
            gate_check=self.seat.check,
            token=self.hex,
        )
        if isinstance(answer, Outcome):
            ledger.refused(process.name, epoch)
        else:
            ledger.issued(answer.command_id, epoch)

    async def replay(self, epoch: int) -> None:
        """Issue a command in the name of another reign."""
        process = self.process
        try:
            answer = await issue(
                self.store,
                ELECTION,
                "act again",
                epoch=epoch,
                issuer=process.name,
                clock=process.clock,
                token=self.hex,
            )
        except (Unavailable, OutcomeUnknown):
            return
        if not isinstance(answer, Outcome):
            self.fleet.ledger.replayed(answer.command_id, epoch)

    async def consume(self) -> None:
        """Act on commands."""
        consumer = CommandConsumer(
            self.store,
            ELECTION,
            self._act,
            consumer_id=self.process.name,
            clock=self.process.clock,
            token=self.hex,
        )
        await consumer.run()

    async def _act(self, command: Command) -> ActuationStatus:
        self.fleet.ledger.applied(command.command_id, command.leader_epoch, self.process.name)
        # What is done takes a while, and who does it may die over it.
        await anyio.sleep(self.fleet.terms.act_s)
        return "applied"
