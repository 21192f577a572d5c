"""The supervisor of `federlib run`: starts workers, breaks them when asked, and watches.

It takes no part in the run itself: workers elect their leader among themselves, and the run
goes on without a supervisor.
"""

from __future__ import annotations

import os
import random  # noqa: TID251  # which worker chaos kills
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import attrs
from anyio.abc import Process, TaskGroup

from federlib._tasks import open_task_group
from federlib.cli.chaos import Fault
from federlib.cli.exits import USAGE
from federlib.dag import ProgressRecord, RunRecord
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.federation import STORE_ENV, Federation

__all__ = ["PROGRAM", "Crew", "Snapshot", "Supervisor", "open_private", "worker_command"]

# -P: a `random.py` in the working directory is not ours to import.
PROGRAM = (sys.executable, "-P", "-m", "federlib.cli")

_LOOK_S = 0.2
_STOP_S = 10.0
_FINISH_S = 2.0
_QUICK_S = 2.0
_MAX_QUICK = 8


@attrs.define
class _Member:
    """One worker process, respawned under the same number."""

    number: int
    process: Process | None = None
    quick_deaths: int = 0
    gave_up: bool = False


class Crew:
    """The worker processes of this supervisor.

    Args:
        command: Starts one worker.
        url: The store; it goes through the environment, never the command line.
        logs: Where the workers' own output goes.
        size: How many.
        tell: Hears of deaths.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        url: str,
        logs: Path,
        size: int,
        tell: Callable[[str], None],
    ) -> None:
        self._command = list(command)
        self._url = url
        self._logs = logs
        self._tell = tell
        self._members = [_Member(number) for number in range(size)]
        self._stopping = False
        self.failed: anyio.Event = anyio.Event()

    def start(self, group: TaskGroup) -> None:
        """Start every worker, and again whenever it dies before its time."""
        for member in self._members:
            group.start_soon(self._keep, member)

    def pids(self) -> set[int]:
        """Return the process ids of the workers that run now."""
        return {
            member.process.pid
            for member in self._members
            if member.process and member.process.returncode is None
        }

    async def finish(self) -> None:
        """Let the workers notice by themselves that the run has ended."""
        self._stopping = True
        with anyio.move_on_after(_FINISH_S):
            while self.pids():
                await anyio.sleep(0.02)

    async def stop(self) -> None:
        """Ask every worker to stop; kill those that have not after ten seconds."""
        self._stopping = True
        for pid in self.pids():
            _signal(pid, signal.SIGTERM)
        with anyio.move_on_after(_STOP_S):
            while self.pids():
                await anyio.sleep(0.05)
        for pid in self.pids():
            _signal(pid, signal.SIGKILL)
        while self.pids():
            await anyio.sleep(0.02)

    def kill(self) -> None:
        """Kill every worker; their guards then kill their tasks."""
        self._stopping = True
        for pid in self.pids():
            _signal(pid, signal.SIGKILL)

    async def _keep(self, member: _Member) -> None:
        while not self._stopping:
            began = anyio.current_time()
            code = await self._live(member)
            if code == 0 or self._stopping:
                return
            quick = anyio.current_time() - began < _QUICK_S
            member.quick_deaths = member.quick_deaths + 1 if quick else 0
            if code == USAGE:  # what it was told is wrong, and will stay so
                member.quick_deaths = _MAX_QUICK
            how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
            if member.quick_deaths < _MAX_QUICK:
                self._tell(f"worker {member.number} {how}; starting it again")
            else:
                self._tell(f"worker {member.number} {how}, see {self._log(member)}")
                member.gave_up = True
                if all(other.gave_up for other in self._members):
                    self.failed.set()
                return
            await anyio.sleep(0.1 * 2 ** min(member.quick_deaths, 5) if quick else 0.05)

    async def _live(self, member: _Member) -> int:
        with open(self._log(member), "ab", opener=open_private) as log:
            member.process = await anyio.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, STORE_ENV: self._url},
            )
        if self._stopping:  # while it was being started
            _signal(member.process.pid, signal.SIGTERM)
        return await member.process.wait()

    def _log(self, member: _Member) -> Path:
        return self._logs / f"~worker-{member.number}.log"


@attrs.frozen
class Snapshot:
    """What the live view shows.

    Attributes:
        progress: The leader's own account, or None before the first.
        leader: Who holds the lease now, or None.
        epoch: Its epoch.
        lease_age_s: Seconds since it was renewed.
    """

    progress: ProgressRecord | None
    leader: str | None
    epoch: int
    lease_age_s: float


class Supervisor:
    """Watches one run to its end.

    Args:
        fed: On the run's store.
        run_id: The run.
        crew: The workers.
        chaos: What to break.
        tell: Shows a line to people.
        show: Shows how things stand.

    Attributes:
        kills: When we killed the leader of an epoch; Unix nanoseconds by epoch.
        unfired: The faults whose time never came.
    """

    def __init__(
        self,
        fed: Federation,
        run_id: str,
        crew: Crew,
        *,
        chaos: Sequence[Fault],
        tell: Callable[[str], None],
        show: Callable[[Snapshot], None],
    ) -> None:
        self._fed = fed
        self._run_id = run_id
        self._crew = crew
        self._tell = tell
        self._show = show
        self.kills: dict[int, int] = {}
        self.unfired: list[Fault] = list(chaos)
        self._away = False
        self._began_ns = fed.clock.wall_ns()

    async def watch(self) -> RunRecord | None:
        """Watch until the run has ended for good; None if no worker can live.

        A run that has ended, and is asked to go on, has not ended for good.
        """
        async with open_task_group() as group:
            group.start_soon(self._break_things)
            while True:
                record = await self._look_or_wait()
                if record is not None and record.state != "running":
                    group.cancel_scope.cancel()
                    return record
                if self._crew.failed.is_set():
                    group.cancel_scope.cancel()
                    return None
                await anyio.sleep(_LOOK_S)

    async def _look_or_wait(self) -> RunRecord | None:
        """Show how things stand; a store that is away is told once, and waited for."""
        try:
            # Asked first: the answer to a request and the run's record change together.
            is_asked = await self._fed.dag.is_asked(self._run_id)
            record = await self._fed.dag.record(self._run_id)
            self._show(await self._look())
        except (Unavailable, OutcomeUnknown) as error:
            if not self._away:
                self._tell(f"the store is away: {error}")
            self._away = True
            return None
        self._away = False
        return None if is_asked else record

    async def _look(self) -> Snapshot:
        progress = await self._fed.dag.progress(self._run_id)
        seen = await self._fed.dag.leader(self._run_id)
        lease = seen.lease if seen.is_live else None
        if lease is None:
            return Snapshot(progress, None, seen.fencing_token, 0.0)
        age_s = max(0, self._fed.clock.wall_ns() - lease.renewed_at) / 1e9
        return Snapshot(progress, lease.holder_id, lease.fencing_token, age_s)

    async def _break_things(self) -> None:
        while self.unfired:
            try:
                fired = await self._break_one(self.unfired[0])
            except (Unavailable, OutcomeUnknown):
                fired = False
            if fired:
                self.unfired.pop(0)
            else:
                await anyio.sleep(0.02)

    async def _break_one(self, fault: Fault) -> bool:
        progress = await self._fed.dag.progress(self._run_id)
        if progress is None or not progress.started_ns:
            return False
        # A run that goes on began long ago: its faults count from when we took it up.
        due_ns = max(progress.started_ns, self._began_ns) + round(fault.at_s * 1e9)
        await anyio.sleep(max(0, due_ns - self._fed.clock.wall_ns()) / 1e9)
        return await self._fire(fault)

    async def _fire(self, fault: Fault) -> bool:
        workers = {w.worker_id: w.pid for w in await self._fed.dag.workers(self._run_id)}
        ours = self._crew.pids()
        seen = await self._fed.dag.leader(self._run_id)
        if seen.lease is None or not seen.is_live:
            return False
        leader_pid = workers.get(seen.lease.holder_id)
        if fault.kind == "kill-leader":
            # Its successor may already be up under the same identity: it does not lead yet.
            if leader_pid not in ours or seen.lease.fencing_token in self.kills:
                return False
            pid = leader_pid
            self.kills[seen.lease.fencing_token] = self._fed.clock.wall_ns()
        else:
            others = sorted(pid for pid in workers.values() if pid in ours and pid != leader_pid)
            if not others:
                return False
            pid = random.choice(others)  # noqa: S311 (chaos is not a secret)
        assert pid is not None
        _signal(pid, signal.SIGKILL)
        self._tell(f"chaos: {fault.kind} at {fault.at_s:g} s (pid {pid})")
        return True


def worker_command(run_id: str, *, slots: int, ttl_s: float) -> list[str]:
    """Return the command line of one worker; the store goes through the environment."""
    return [
        *PROGRAM, "worker",
        "--run-id", run_id, "--slots", str(slots), "--ttl", f"{ttl_s:g}",
    ]  # fmt: skip


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def open_private(path: str, flags: int) -> int:
    """Open a file that only this user may read; for `open(…, opener=…)`."""
    return os.open(path, flags, 0o600)
