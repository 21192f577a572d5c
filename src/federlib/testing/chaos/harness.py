"""Playing a schedule on real processes and a real store, and gathering what it has left."""

from __future__ import annotations

import os
import random  # noqa: TID251 (a shell, seeded)
import secrets  # noqa: TID251 (a shell: the name of an election)
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio

from federlib._tasks import open_task_group
from federlib.errors import Unavailable
from federlib.skewclock import SystemClock
from federlib.storage import RecordStore, open_store
from federlib.testing.chaos.crew import Crew, Member
from federlib.testing.chaos.endpoints import servers_of, through
from federlib.testing.chaos.evidence import Evidence
from federlib.testing.chaos.faces import Face
from federlib.testing.chaos.gathering import (
    find_damage,
    read_fates,
    read_histories,
    settle,
)
from federlib.testing.chaos.hindrance import Hindrance
from federlib.testing.chaos.ledger import Ledger, LedgerReader
from federlib.testing.chaos.life import LEDGER
from federlib.testing.chaos.own_servers import OwnServers
from federlib.testing.chaos.plan import Plan
from federlib.testing.chaos.proxy import FaultProxy
from federlib.testing.chaos.records import Quiet, Terms
from federlib.testing.chaos.striking import Striker
from federlib.testing.chaos.targets import Target
from federlib.testing.history import History
from federlib.testing.sim import Schedule
from federlib.testing.sim.explore import patience_s
from federlib.testing.sim.faults import OF_CLOCKS

__all__ = ["run_real"]

_START_LIMIT_S = 60.0
_LEAVE_LIMIT_S = 10.0
_LOOK_S = 0.02
_CONSUMERS = 3
_SLACK_S = 10.0

Tell = Callable[[str], object]


async def run_real(
    plan: Plan,
    target: Target,
    directory: Path,
    tell: Tell,
    *,
    servers: OwnServers | None = None,
) -> Evidence:
    """Play a plan to its end.

    Args:
        plan: What is played; it has a schedule.
        target: The store.
        directory: Empty; everything is kept there.
        tell: Hears in words how far it is.
        servers: Those of the target, where they are ours and may be killed.
    Raises:
        Unavailable: The processes did not start, or found no leader before the first fault.
    """
    assert plan.schedule is not None
    return await _Run(plan, plan.schedule, target, directory, tell, servers).play()


class _Run:
    def __init__(
        self,
        plan: Plan,
        schedule: Schedule,
        target: Target,
        directory: Path,
        tell: Tell,
        servers: OwnServers | None,
    ) -> None:
        self._plan = plan
        self._target = target
        self._directory = directory
        self._tell = tell
        self._servers = servers
        self._clock = SystemClock()
        self._chance = random.Random(f"harness {plan.seed}")  # noqa: S311 (chaos is no secret)
        self._problems: list[str] = []
        # A server may hold what earlier runs have left.
        self._election = "leader" if target.is_embedded else f"chaos-{secrets.token_hex(4)}"
        self._has_true_clocks = not any(f.kind in OF_CLOCKS for f in schedule.faults)
        self._ledger = Ledger(directory / LEDGER, "", self._clock.boot_ns)
        self._reader = LedgerReader(directory / LEDGER)
        members = [self._member(number) for number in range(plan.processes)]
        self._proxies: dict[str, list[FaultProxy]] = {}
        self._crew = Crew(
            members,
            terms=self._terms,
            logs=directory,
            hinder=None if target.is_embedded else self._hinder,
            died=self._died,
        )
        self._striker = Striker(
            self._crew,
            schedule,
            target.name,
            reader=self._reader,
            ledger=self._ledger,
            clock=self._clock,
            chance=self._chance,
            tell=tell,
        )

    def _member(self, number: int) -> Member:
        who = f"n{number + 1}"
        face = None if self._has_true_clocks else Face.true(f"machine-{who}", self._clock)
        return Member(who, seq=number, is_consumer=number < _CONSUMERS, face=face)

    def _terms(self, member: Member) -> Terms:
        plan = self._plan
        return Terms(
            url=self._url_for(member),
            election=self._election,
            who=member.who,
            seq=member.seq,
            life=member.life,
            directory=str(self._directory),
            ttl_s=plan.ttl_s,
            tolerance_s=plan.tolerance_s,
            command_every_s=plan.ttl_s / 10,
            act_s=plan.ttl_s / 20,
            is_consumer=member.is_consumer,
            face=member.face,
            hindrance=member.hindrance if self._target.is_embedded else None,
            answer_s=1.5 * plan.ttl_s,
            seed=self._chance.getrandbits(32),
            parent=os.getpid(),
        )

    def _url_for(self, member: Member) -> str:
        proxies = self._proxies.get(member.who, [])
        url = self._target.url
        return through(url, [proxy.port for proxy in proxies]) if proxies else url

    def _hinder(self, member: Member, hindrance: Hindrance) -> None:
        for proxy in self._proxies[member.who]:
            proxy.hindrance = hindrance

    async def _stand_between(self, stack: AsyncExitStack) -> None:
        """Put a proxy between each process and each server."""
        for who in self._crew.members:
            self._proxies[who] = [
                await stack.enter_async_context(
                    FaultProxy(
                        host,
                        port,
                        draw=self._chance.random,
                        answer_lost=partial(self._ledger.note, "answer_lost", of=who),
                    )
                )
                for host, port in servers_of(self._target.url)
            ]

    def _died(self, member: Member, how: str) -> None:
        self._ledger.note("ended", of=member.who, text=how)
        self._problems.append(f"nobody_falls: {member.who} {how}")

    async def play(self) -> Evidence:
        try:
            async with AsyncExitStack() as stack:
                if not self._target.is_embedded:
                    await self._stand_between(stack)
                async with open_task_group() as group:
                    group.start_soon(self._crew.watch)
                    group.start_soon(self._striker.follow)
                    evidence = await self._play()
                    group.cancel_scope.cancel()
        finally:
            self._crew.close()
            self._ledger.close()
        return evidence

    async def _play(self) -> Evidence:
        began_ns = await self._start()
        with anyio.move_on_after(self._plan.seconds):
            async with open_task_group() as group:
                if self._servers is not None:
                    group.start_soon(self._servers.ail, self._plan.seconds, self._tell)
                await self._striker.play()
                await anyio.sleep_forever()
        self._striker.heal()
        self._tell("healed; waiting for a leader and its commands")
        await self._recover()
        ended_ns = self._clock.boot_ns()
        store = await open_store(self._target.url)
        try:
            await self._fall_silent(store)
            late = await self._crew.leave(_LEAVE_LIMIT_S)
            self._problems += [f"everybody_leaves: {who} did not" for who in late]
            return await self._gather(store, began_ns, ended_ns)
        finally:
            with anyio.CancelScope(shield=True):
                await store.aclose()

    async def _start(self) -> int:
        """Start everybody, and wait for a first leader; return when that was."""
        for member in self._crew.members.values():
            self._crew.start(member)
        with anyio.move_on_after(_START_LIMIT_S):
            await self._until(lambda: self._striker.leader is not None and self._ready())
            self._tell(f"{self._plan.processes} processes run, {self._striker.leader} leads")
            return self._clock.boot_ns()
        leader = self._striker.leader or "nobody"
        raise Unavailable(
            "the fleet",
            f"{len(self._ready_ones())} of {self._plan.processes} processes were ready, "
            f"and {leader} led, after {_START_LIMIT_S:g} s",
            hint="the logs of the processes say why",
        )

    def _ready_ones(self) -> set[str]:
        return {note.who for note in self._reader.notes if note.what == "ready"}

    def _ready(self) -> bool:
        return len(self._ready_ones()) == self._plan.processes

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await anyio.sleep(_LOOK_S)

    async def _recover(self) -> None:
        """Wait until a leader is there and a command of its is acted on; bounded."""
        self._reader.read()
        healed = len(self._reader.notes)
        limit_s = patience_s(self._plan.terms)

        def issued_since() -> set[str]:
            return {n.id for n in self._reader.notes[healed:] if n.what == "issued"}

        def acted_since() -> set[str]:
            return {n.id for n in self._reader.notes[healed:] if n.what == "acted"}

        with anyio.move_on_after(limit_s):
            await self._until(
                lambda: self._striker.leader is not None and bool(issued_since() & acted_since())
            )
            return
        self._problems.append(
            f"commands_go_on: {limit_s:g} s after all was healed {self._striker.leader} "
            f"leads, and {len(issued_since() & acted_since())} new commands were acted on"
        )

    async def _fall_silent(self, store: RecordStore) -> None:
        """Let nothing new begin, and wait until every command has ended; bounded."""
        self._ledger.note("quiet")
        for member in self._crew.members.values():
            self._crew.order(member, Quiet())

        def silent() -> set[str]:
            self._reader.read()
            return {n.who for n in self._reader.notes if n.what == "quiet" and n.who}

        with anyio.move_on_after(_SLACK_S + self._plan.ttl_s):
            await self._until(lambda: len(silent()) == self._plan.processes)
            while any(fate.status is None for fate in await read_fates(store, self._election)):
                await anyio.sleep(0.2)

    async def _gather(self, store: RecordStore, began_ns: int, ended_ns: int) -> Evidence:
        self._reader.read()
        lives = {member.who: member.life for member in self._crew.members.values()}
        histories = read_histories(self._directory, lives)
        history = await settle(store, History.merge(histories), end=self._clock.boot_ns())
        self._problems += await find_damage(store)
        return Evidence(
            target=self._target.name,
            seed=self._plan.seed,
            ttl_s=self._plan.ttl_s,
            began_ns=began_ns,
            ended_ns=ended_ns,
            notes=tuple(sorted(self._reader.notes, key=lambda note: note.at_ns)),
            strikes=self._striker.strikes,
            faults=self._striker.counts(),
            fates=await read_fates(store, self._election),
            history=history,
            lives=len(histories),
            has_true_clocks=self._has_true_clocks,
            has_new_store=self._target.is_embedded,
            problems=tuple(self._problems),
        )
