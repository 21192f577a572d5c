"""`Striker`: carries out the faults of a schedule on a crew, and takes them back.

Which process is `leader` is read off the ledger. A fault that finds nobody to strike waits
until it does: when real processes elect a leader is no part of a schedule.
"""

from __future__ import annotations

import random  # noqa: TID251 (the type of a stream of chance, seeded by the harness)
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import anyio
import msgspec
from anyio.abc import TaskGroup

from federlib.skewclock import Clock
from federlib.testing.chaos.crew import Crew, Member
from federlib.testing.chaos.faces import Face
from federlib.testing.chaos.hindrance import Hindrance
from federlib.testing.chaos.ledger import Ledger, LedgerReader
from federlib.testing.chaos.records import FaultCount, Replay, Strike
from federlib.testing.chaos.targets import TargetName, hindrance_of, is_of_all, why_not
from federlib.testing.sim import Fault, Schedule
from federlib.testing.sim.faults import KINDS, OF_CLOCKS

__all__ = ["Striker"]

_LOOK_S = 0.02
_SLOW_TURN_US = 25_000
_MOST_SLOW_US = 20_000
_STANDS_STILL = -1_000_000

_Undo = Callable[[], object]


class Striker:
    """Plays a schedule on a crew.

    Args:
        crew: Who is struck.
        schedule: With what, and when.
        target: Where; says which kinds cannot be.
        reader: Of the ledger; new lines are read as they are needed.
        ledger: Where strikes are noted.
        clock: The true clocks.
        chance: Who is struck, where that is left open.
        tell: Hears of strikes and of new leaders, in words.
    """

    def __init__(
        self,
        crew: Crew,
        schedule: Schedule,
        target: TargetName,
        *,
        reader: LedgerReader,
        ledger: Ledger,
        clock: Clock,
        chance: random.Random,
        tell: Callable[[str], object],
    ) -> None:
        self._strikes: list[Strike] = []
        self._crew = crew
        self._target = target
        self._reader = reader
        self._ledger = ledger
        self._clock = clock
        self._chance = chance
        self._tell = tell
        self._began_ns: int | None = None
        self._undos: dict[int, _Undo] = {}
        self._replays = 0
        self._epochs: list[int] = [0]
        self._leader: str | None = None
        self._seen = 0
        self._faults = schedule.faults

    @property
    def strikes(self) -> tuple[Strike, ...]:
        """What was carried out, in order."""
        return tuple(self._strikes)

    def counts(self) -> dict[str, FaultCount]:
        """Count what became of the faults, by kind: all kinds, also those that are not planned."""
        planned = Counter(fault.kind for fault in self._faults)
        done = Counter(strike.kind for strike in self._strikes)
        return {
            kind: FaultCount(
                planned=planned[kind],
                carried_out=done[kind],
                missed=0 if why_not(kind, self._target) else planned[kind] - done[kind],
                not_applicable=why_not(kind, self._target),
            )
            for kind in KINDS
        }

    async def play(self) -> None:
        """Carry out all faults at their times, counted from now; ends with the last of them."""
        self._began_ns = self._clock.boot_ns()
        async with anyio.create_task_group() as group:
            for fault in self._faults:
                if why_not(fault.kind, self._target) is None:
                    group.start_soon(self._play, fault, group)

    def heal(self) -> None:
        """Take back everything, and have all processes run."""
        for number in tuple(self._undos):
            self._mend(number)
        for member in self._crew.members.values():
            self._crew.go_on(member)
            if member.hindrances:
                member.hindrances.clear()
                self._crew.hinder(member)
            if member.face is not None:
                self._crew.wear(member, member.face.drifting(0, self._clock.boot_ns()))
            self._crew.revive(member)
        self._ledger.note("healed")

    @property
    def leader(self) -> str | None:
        """Who began to lead last, if it lives and has not lost it."""
        self._follow()
        return self._leader

    async def follow(self) -> None:
        """Tell of new leaders as they come, until cancelled."""
        while True:
            self._follow()
            await anyio.sleep(_LOOK_S)

    def _follow(self) -> None:
        self._reader.read()
        news, self._seen = self._reader.notes[self._seen :], len(self._reader.notes)
        for note in news:
            if note.what == "leads" and note.epoch > self._epochs[-1]:
                self._epochs.append(note.epoch)
                self._leader = note.who
                self._say(note.at_ns, f"{note.who} leads, epoch {note.epoch}")
            elif note.who == self._leader and (
                note.what == "killed" or (note.what == "lost" and note.epoch == self._epochs[-1])
            ):
                self._leader = None

    async def _play(self, fault: Fault, group: TaskGroup) -> None:
        await anyio.sleep(fault.at_ms / 1e3)
        while (begun := self._begin(fault, group)) is None:
            await anyio.sleep(_LOOK_S)
        who, undo = begun
        number, now_ns = len(self._strikes), self._clock.boot_ns()
        self._strikes.append(Strike(fault.kind, who, now_ns))
        self._undos[number] = undo
        self._ledger.note("strike", of=who, text=fault.kind)
        self._say(now_ns, f"{fault.kind} {who}")
        # What a replay did is done; nothing of it lasts.
        if fault.for_ms or fault.kind == "replay":
            await anyio.sleep(fault.for_ms / 1e3)
            if number in self._undos:
                self._mend(number)

    def _say(self, at_ns: int, what: str) -> None:
        if self._began_ns is not None:
            self._tell(f"{(at_ns - self._began_ns) / 1e9:8.2f} s  {what}")

    def _mend(self, number: int) -> None:
        self._undos.pop(number)()
        strike = msgspec.structs.replace(self._strikes[number], end_ns=self._clock.boot_ns())
        self._strikes[number] = strike
        self._ledger.note("mended", of=strike.who, text=strike.kind)

    def _begin(self, fault: Fault, group: TaskGroup) -> tuple[str, _Undo] | None:
        """Begin a fault; None if there is nobody now whom it could strike."""
        hindrance = hindrance_of(fault)
        if is_of_all(fault.kind):
            assert hindrance is not None
            return "", self._hinder(self._crew.members.values(), hindrance)
        if fault.kind == "replay":
            return self._replay()
        member = self._choose(fault.who)
        if member is None:
            return None
        if hindrance is not None:
            return member.who, self._hinder([member], hindrance)
        if fault.kind in OF_CLOCKS:
            return member.who, self._set_clock(member, fault)
        return member.who, self._signal(member, fault, group)

    def _choose(self, who: str) -> Member | None:
        named = self._crew.members.get(who)
        if named is not None:
            return named if named.is_up else None
        leader = self.leader
        if who == "leader":
            found = self._crew.members.get(leader or "")
            return found if found is not None and found.is_up else None
        up = [member for member in self._crew.members.values() if member.is_up]
        if who == "follower":
            up = [member for member in up if member.who != leader]
        return self._chance.choice(up) if up else None

    def _hinder(self, members: Iterable[Member], hindrance: Hindrance) -> _Undo:
        struck = list(members)
        for member in struck:
            member.hindrances.append(hindrance)
            self._crew.hinder(member)

        def undo() -> None:
            for member in struck:
                if hindrance in member.hindrances:
                    member.hindrances.remove(hindrance)
                    self._crew.hinder(member)

        return undo

    def _signal(self, member: Member, fault: Fault, group: TaskGroup) -> _Undo:
        if fault.kind == "kill":
            return self._kill(member)
        if fault.kind == "stop":
            self._crew.stop(member)
            return partial(self._crew.go_on, member)
        assert fault.kind == "slow", fault.kind
        scope = anyio.CancelScope()
        group.start_soon(self._slow, member, min(_MOST_SLOW_US, max(1, fault.amount)), scope)
        return scope.cancel

    def _kill(self, member: Member) -> _Undo:
        self._crew.kill(member)
        self._ledger.note("killed", of=member.who)
        return partial(self._crew.revive, member)

    async def _slow(self, member: Member, stopped_us: int, scope: anyio.CancelScope) -> None:
        """Let it run only for the rest of every 25 ms."""
        life = member.life
        with scope:
            try:
                while member.is_up and member.life == life:
                    if not member.is_stopped:
                        self._crew.signal(member, signal.SIGSTOP)
                    await anyio.sleep(stopped_us / 1e6)
                    if not member.is_stopped:
                        self._crew.signal(member, signal.SIGCONT)
                    await anyio.sleep((_SLOW_TURN_US - stopped_us) / 1e6)
            finally:
                if not member.is_stopped:
                    self._crew.signal(member, signal.SIGCONT)

    def _set_clock(self, member: Member, fault: Fault) -> _Undo:
        def change(make: Callable[[Face, int], Face]) -> None:
            assert member.face is not None, "a schedule with wrong clocks has faces"
            self._crew.wear(member, make(member.face, self._clock.boot_ns()))

        if fault.kind == "reboot":
            undo = self._kill(member)
            # Its next life hears of it when it starts.
            change(Face.rebooted)
            return undo
        if fault.kind == "clock_step":
            by_ns = fault.amount * 1_000_000
            change(lambda face, _: face.stepped(by_ns))
            return lambda: change(lambda face, _: face.stepped(-by_ns))
        ppm = fault.amount if fault.kind == "clock_drift" else _STANDS_STILL
        change(lambda face, now_ns: face.drifting(ppm, now_ns))
        return lambda: change(lambda face, now_ns: face.drifting(0, now_ns))

    def _replay(self) -> tuple[str, _Undo] | None:
        """Have somebody issue a command under an epoch that another has followed for certain."""
        self._follow()
        over = self._epochs[1:-1]
        up = [m for m in self._crew.members.values() if m.is_up and not m.is_stopped]
        if not over or not up:
            return None
        member = self._chance.choice(up)
        self._replays += 1
        epoch = self._chance.choice(over)
        self._crew.order(member, Replay(epoch, f"replay-{self._replays}"))
        return member.who, lambda: None
