"""`Crew`: the processes of a run, and what is done to them.

Each leads a session of its own, so that a Ctrl-C of the terminal is only the harness's. None
outlives the harness: its orders come through a pipe that ends with it, and on Linux the kernel
kills it, even while it is stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import attrs
import msgspec

from federlib.testing.chaos.faces import Face
from federlib.testing.chaos.hindrance import Hindrance, combined
from federlib.testing.chaos.ledger import open_append
from federlib.testing.chaos.records import Hinder, Leave, Order, Terms, Wear

__all__ = ["Crew", "Member"]

# -P: a `random.py` in the working directory is not ours to import.
_PROGRAM = (sys.executable, "-P", "-m", "federlib.testing.chaos.child")
_LOOK_S = 0.01
_LAST_LINES = 20


@attrs.define(eq=False)
class Member:
    """One process, whatever life it is in.

    Attributes:
        who: Its name.
        seq: The number of its identity.
        is_consumer: It acts on commands.
        face: What its clocks show; None for those of this machine.
        life: Which life it is in.
        process: Its process; None before the first.
        hindrances: What stands in its way, one for each fault.
        is_stopped: It was stopped by SIGSTOP.
        is_doomed: It was killed by us, or told to leave: its end is no surprise.
        is_wanted: It is to start again as soon as it is gone.
        unsent: Orders for which its pipe has no room yet.
    """

    who: str
    seq: int
    is_consumer: bool
    face: Face | None
    life: int = 0
    process: subprocess.Popen[bytes] | None = None
    hindrances: list[Hindrance] = attrs.field(factory=list)
    is_stopped: bool = False
    is_doomed: bool = False
    is_wanted: bool = False
    unsent: bytes = b""

    @property
    def is_up(self) -> bool:
        """Whether it runs, or is stopped."""
        return self.process is not None and self.process.returncode is None

    @property
    def hindrance(self) -> Hindrance:
        """What stands in its way, all together."""
        return combined(self.hindrances)


class Crew:
    """The processes of a run.

    Args:
        members: Who they are.
        terms: What a life is told when it begins.
        logs: Where their own output goes.
        hinder: Puts a hindrance before a process, where that is not inside it; None where
            the process obeys it itself.
        died: Told of one that died by itself: who, how, and its last words.

    Attributes:
        members: By name.
    """

    def __init__(
        self,
        members: list[Member],
        *,
        terms: Callable[[Member], Terms],
        logs: Path,
        hinder: Callable[[Member, Hindrance], object] | None,
        died: Callable[[Member, str], object],
    ) -> None:
        self.members: dict[str, Member] = {member.who: member for member in members}
        self._terms = terms
        self._logs = logs
        self._hinder = hinder
        self._died = died

    def start(self, member: Member) -> None:
        """Start it, or start it again: a new life of the same identity."""
        assert not member.is_up, f"{member.who} runs"
        member.life += 1
        member.is_stopped = member.is_doomed = member.is_wanted = False
        log = open_append(self._log(member))
        try:
            # Not through anyio: on trio that starts it from a thread which ends, and with
            # the thread the kernel takes the parent for dead.
            member.process = subprocess.Popen(
                _PROGRAM,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(log)
        assert member.process.stdin is not None
        # A stopped process reads nothing, and only we can let it go on: never wait for it.
        os.set_blocking(member.process.stdin.fileno(), False)
        member.unsent = b""
        self._write(member, msgspec.json.encode(self._terms(member)))

    def revive(self, member: Member) -> None:
        """Have it run again, if it was killed: at once, or as soon as it is gone."""
        if not member.is_up:
            self.start(member)
        else:
            member.is_wanted = member.is_doomed

    def order(self, member: Member, order: Order) -> None:
        """Have it do something, as soon as it runs."""
        self._write(member, msgspec.json.encode(order))

    def kill(self, member: Member) -> None:
        """Kill it, as SIGKILL does; it is gone a moment later."""
        if member.is_up:
            member.is_doomed, member.is_stopped, member.is_wanted = True, False, False
            self.signal(member, signal.SIGKILL)

    def stop(self, member: Member) -> None:
        """Stop it, as SIGSTOP or a long collection of garbage does."""
        if member.is_up:
            member.is_stopped = True
            self.signal(member, signal.SIGSTOP)

    def go_on(self, member: Member) -> None:
        """Let it go on."""
        if member.is_stopped:
            member.is_stopped = False
            self.signal(member, signal.SIGCONT)

    def hinder(self, member: Member) -> None:
        """Put before it what stands in its way by now."""
        if self._hinder is not None:
            self._hinder(member, member.hindrance)
        else:
            self.order(member, Hinder(member.hindrance))

    def wear(self, member: Member, face: Face) -> None:
        """Have its clocks show something else."""
        member.face = face
        self.order(member, Wear(face))

    async def gone(self, member: Member) -> None:
        """Wait until it has ended."""
        while member.is_up:
            self._look(member)
            await anyio.sleep(_LOOK_S)

    async def watch(self) -> None:
        """Notice who ends, until cancelled; start again who was not to end.

        Sends what there was no room for too.
        """
        while True:
            for member in self.members.values():
                self._write(member)
                if member.is_up:
                    self._look(member)
                    if member.is_up or (member.is_doomed and not member.is_wanted):
                        continue
                    if not member.is_doomed:
                        self._died(member, self._last_words(member))
                    self.start(member)
            await anyio.sleep(_LOOK_S)

    async def leave(self, within_s: float) -> list[str]:
        """Have all step down and end; kill who has not in time, and return their names."""
        for member in self.members.values():
            member.is_doomed, member.is_wanted = True, False
            self.order(member, Leave())
        with anyio.move_on_after(within_s):
            for member in self.members.values():
                await self.gone(member)
        late = [member.who for member in self.members.values() if member.is_up]
        self.close()
        return late

    def close(self) -> None:
        """Kill all that still run, and wait for their ends."""
        for member in self.members.values():
            self.kill(member)
        for member in self.members.values():
            if member.process is not None:
                member.process.wait()
                if member.process.stdin is not None:
                    member.process.stdin.close()

    def signal(self, member: Member, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if member.process is not None:
            member.process.send_signal(number)

    def _look(self, member: Member) -> None:
        process = member.process
        assert process is not None
        if process.poll() is not None and process.stdin is not None:
            process.stdin.close()

    def _write(self, member: Member, *lines: bytes) -> None:
        process = member.process
        if process is None or process.stdin is None or process.stdin.closed:
            return
        member.unsent += b"".join(line + b"\n" for line in lines)
        try:
            while member.unsent and (sent := process.stdin.write(member.unsent)):
                member.unsent = member.unsent[sent:]
        except BrokenPipeError:
            member.unsent = b""  # It has ended; its next life is told all of it.

    def _log(self, member: Member) -> Path:
        return self._logs / f"{member.who}.log"

    def _last_words(self, member: Member) -> str:
        assert member.process is not None
        code = member.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        said = self._log(member).read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n  ".join([how, *said])
