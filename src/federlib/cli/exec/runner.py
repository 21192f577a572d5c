"""`TaskRunner`: run tasks through the guard."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
import attrs
from anyio.abc import TaskGroup

from federlib.cli.exec._life import FRAME_MAX_BYTES, MARK_ENV, GuardGone, GuardLife
from federlib.cli.exec._verdict import Report, judge
from federlib.cli.exec.call import RESULT_MAX_BYTES
from federlib.cli.exec.logs import make_private_dir
from federlib.cli.exec.spec import Call, Exec, ExecResult
from federlib.lease.environment import LEASE_SECRET_ENVS
from federlib.skewclock import Clock, SystemClock
from federlib.telemetry import SILENT, Telemetry

__all__ = ["TaskRunner"]

_SECRETS = ("FEDERLIB_STORE", *LEASE_SECRET_ENVS)
_THREADS = 4

T = TypeVar("T")


@attrs.frozen
class _Desk:
    """The private files of one running task."""

    root: Path
    result: Path

    @property
    def inputs(self) -> Path:
        return self.root / "inputs.json"

    @property
    def args(self) -> Path:
        return self.root / "args.json"

    @property
    def reason(self) -> Path:
        return self.root / "reason"


class TaskRunner:
    """Runs tasks, any number at a time, and leaves none behind.

    An async context manager; leaving it kills what still runs. If its guard process is
    killed, the running tasks fail with it (`guard_died`), and the next one gets a new guard.
    Use it from one event loop.

    Args:
        clock: Tells how long a task ran whose guard died.
        telemetry: Where a guard's death is logged.

    Raises:
        Unavailable: On entering, and from `run`: no guard process can be started.
    """

    def __init__(self, *, clock: Clock | None = None, telemetry: Telemetry = SILENT) -> None:
        self._clock = clock or SystemClock()
        self._telemetry = telemetry
        self._group: TaskGroup | None = None
        self._life: GuardLife | None = None
        self._lives: set[GuardLife] = set()
        self._numbers = 0

    async def __aenter__(self) -> Self:
        self._starting = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(_THREADS)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        try:
            await self._live_guard(self._group)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        group, self._group = self._group, None
        assert group is not None
        with anyio.CancelScope(shield=True):
            for life in tuple(self._lives):
                await life.close()
        # The body's own exception passes by the group, so that it is not wrapped.
        await group.__aexit__(None, None, None)

    @property
    def guard_pid(self) -> int | None:
        """The process id of the present guard; None while there is none."""
        return self._life.pid if self._life is not None and not self._life.is_gone else None

    async def run(self, spec: Exec, *, stop: anyio.Event | None = None) -> ExecResult:
        """Run one task to its end.

        Cancelling stops it: SIGTERM to its group, SIGKILL after `grace_s`; the cancellation
        goes on when all its processes are gone, at the latest `grace_s` + 10 s later.

        Args:
            spec: What to run.
            stop: Set it to stop the task and still learn how it went (`killed`).

        Raises:
            Unavailable: No guard can be started; the task did not run.
        """
        if self._group is None:
            raise RuntimeError("a TaskRunner runs tasks only inside its `async with`")
        self._numbers += 1
        number = self._numbers
        begun_ns = self._clock.monotonic_ns()
        while self._group is not None:
            life = await self._live_guard(self._group)
            try:
                return await self._run_on(life, spec, number, stop)
            except GuardGone:
                continue
            except _GuardDied:
                duration_s = (self._clock.monotonic_ns() - begun_ns) / 1e9
                return self._guard_died(life, duration_s)
            except OSError as error:
                message = f"cannot prepare it: {error}"
                return ExecResult(outcome="failed", message=message)
        return _closed(0.0)

    async def _run_on(
        self, life: GuardLife, spec: Exec, number: int, stop: anyio.Event | None
    ) -> ExecResult:
        desk = _desk_of(spec, life.scratch / str(number))
        request = _request(spec, desk, f"{life.token}/{number}")
        if _size(request) > FRAME_MAX_BYTES:
            message = "its arguments and environment are too long"
            return ExecResult(outcome="failed", message=message)
        try:
            await self._in_thread(lambda: _prepare(spec, desk))
            report = await life.perform(number, request, grace_s=spec.grace_s, stop=stop)
            if report is None:
                raise _GuardDied
            return await self._in_thread(lambda: _settle(spec, desk, report))
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_thread(lambda: shutil.rmtree(desk.root, ignore_errors=True))

    def _guard_died(self, life: GuardLife, duration_s: float) -> ExecResult:
        if self._group is None:
            return _closed(duration_s)
        why = f"guard died ({life.why})" if life.why else "guard died"
        return ExecResult(outcome="guard_died", message=why, duration_s=duration_s)

    async def _live_guard(self, group: TaskGroup) -> GuardLife:
        async with self._starting:
            if self._life is not None and not self._life.is_gone:
                return self._life
            if self._life is not None:
                self._telemetry.log("warning", "task_guard_died", why=self._life.why)
            with anyio.CancelScope(shield=True):  # else a guard may be left without `serve`
                life = await GuardLife.start()
            self._lives.add(life)
            group.start_soon(self._serve, life)
            try:
                await life.wait_ready()
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await life.close()
                raise
            self._life = life
            self._telemetry.log("debug", "task_guard_started", pid=life.pid)
            return life

    async def _serve(self, life: GuardLife) -> None:
        # Shielded: while tasks are stopped somebody must hear that they are gone.
        with anyio.CancelScope(shield=True):
            await life.serve()
        self._lives.discard(life)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


def _closed(duration_s: float) -> ExecResult:
    return ExecResult(outcome="killed", message="the runner was closed", duration_s=duration_s)


class _GuardDied(Exception):  # noqa: N818 (an event, not an error)
    pass


def _desk_of(spec: Exec, root: Path) -> _Desk:
    kept = spec.result_path
    return _Desk(root, root / "result.json" if kept is None else Path(os.path.abspath(kept)))  # noqa: PTH100 (resolve follows links)


def _request(spec: Exec, desk: _Desk, mark: str) -> dict[str, object]:
    env = {name: value for name, value in spec.env.items() if name not in _SECRETS}
    env |= {"FEDERLIB_RESULT": str(desk.result), "FEDERLIB_INPUTS": str(desk.inputs)}
    env[MARK_ENV] = mark
    match spec.command:
        case Call(target=target):
            # Unbuffered: what it printed before it was killed is in the log.
            argv = [sys.executable, "-u", "-m", "federlib.cli.exec.call", target]
            env |= {"FEDERLIB_ARGS": str(desk.args), "FEDERLIB_REASON": str(desk.reason)}
        case str(line):
            argv = ["/bin/sh", "-c", line]
        case words:
            argv = list(words)
    return {
        "argv": argv,
        "cwd": os.path.abspath(spec.cwd),  # noqa: PTH100 (the guard has another directory)
        "env": env,
        "log": os.path.abspath(spec.log_path),  # noqa: PTH100 (as above)
        "cap": spec.log_cap_bytes,
        "mark": mark,
        "timeout_s": spec.timeout_s,
        "grace_s": spec.grace_s,
    }


def _size(request: dict[str, object]) -> int:
    env, argv = request["env"], request["argv"]
    assert isinstance(env, dict)
    assert isinstance(argv, list)
    # JSON writes a character in at most 12 bytes (a surrogate pair, escaped).
    return 12 * (sum(map(len, argv)) + sum(len(k) + len(v) for k, v in env.items()))


def _prepare(spec: Exec, desk: _Desk) -> None:
    make_private_dir(Path(os.path.abspath(spec.log_path)).parent)  # noqa: PTH100 (links stay)
    desk.root.mkdir(mode=0o700)
    _write_private(desk.inputs, spec.inputs)
    if isinstance(spec.command, Call):
        _write_private(desk.args, spec.command.args)
    if spec.result_path is not None:
        desk.result.unlink(missing_ok=True)


def _write_private(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _settle(spec: Exec, desk: _Desk, report: Report) -> ExecResult:
    """Read what the task left, and judge."""
    written = _read(desk.result, RESULT_MAX_BYTES) if report.outcome == "success" else None
    reason = None
    if isinstance(spec.command, Call) and report.outcome == "failed":
        reason = _read(desk.reason, 4096)
    program = spec.command[0] if isinstance(spec.command, tuple) else ""
    return judge(
        spec,
        report,
        written=written,
        reason=reason.decode(errors="replace") if isinstance(reason, bytes) else "",
        program_exists="/" in program and (spec.cwd / program).is_file(),
    )


def _read(path: Path, limit: int) -> bytes | str | None:
    """Read one byte more than the limit at most; a text says why it cannot be read."""
    try:
        # The task made it: a link may lead to a secret, a pipe would never end.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"not readable: {error.strerror}"
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "not a regular file"
        return file.read(limit + 1)
