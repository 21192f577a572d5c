"""The guard's loop; standard library only."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from federlib.cli.exec._capped import Log
from federlib.cli.exec._kin import (
    ON_LINUX,
    carries,
    children_of,
    family_of,
    kill_one,
    process_facts,
    process_mark,
)
from federlib.cli.exec._link import Link, Message, read_some
from federlib.cli.exec._task import Task, become, now, prctl

__all__ = ["Guard"]

PR_SET_CHILD_SUBREAPER = 36
# A pipe holds 1 MiB unless root raised it: so much may be left when all its writers are dead.
DRAIN_MAX = 1 << 20
# After SIGKILL only the kernel (uninterruptible I/O) or permissions keep a process.
REAP_LIMIT_S = 5.0
RETRY_S = 0.01
# In the middle of `exec` a process shows no environment; on a busy machine it may stay there.
EXEC_LIMIT_S = 0.2


class Guard:
    """The loop: requests in, output pumped, deaths noticed, reports out."""

    def __init__(self, link: Link, worker: int) -> None:
        self._link = link
        self._pid = os.getpid()
        self._tasks: dict[object, Task] = {}
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        wake, wake_in = os.pipe()
        for fd in (wake, wake_in):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        self._listen(wake, lambda: self._drain(wake))
        self._listen(link.fd, self._on_link)
        if ON_LINUX:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            try:
                self._listen(os.pidfd_open(worker), self._on_worker_gone)
            except OSError:
                pass  # before Linux 5.3: the socket alone must do

    def run(self) -> None:
        """Serve until the worker is gone."""
        self._link.send(ev="ready")
        while self._link.is_open:
            for fd, _ in self._poll.poll(self._wait_ms()):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()
            self._reap()
            self._tick(now())
            self._listen(self._link.fd, self._on_link, writing=self._link.flush())

    def _listen(self, fd: int, handler: Callable[[], None], *, writing: bool = False) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, select.POLLIN | (select.POLLOUT if writing else 0))

    def _forget(self, fd: int) -> int:
        """Close it; returns -1 for its holder to keep, as the number is soon another file's."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)
            os.close(fd)
        return -1

    @staticmethod
    def _drain(wake: int) -> None:
        read_some(wake)

    def _on_worker_gone(self) -> None:
        self._link.is_open = False

    def _on_link(self) -> None:
        for message in self._link.receive():
            task = self._tasks.get(message["id"])
            if message["op"] == "start":
                self._start(message)
            elif task is not None and task.status is None:
                self._terminate(task, "killed", float(str(message["grace_s"])))

    def _wait_ms(self) -> int | None:
        wait: float | None = None
        for task in self._tasks.values():
            if task.status is not None:
                until = RETRY_S
            elif task.reason:
                until = task.kill_at - now() if not task.was_forced else RETRY_S
            elif task.deadline is not None:
                until = task.deadline - now()
            else:
                continue
            wait = until if wait is None else min(wait, until)
        return None if wait is None else max(0, int(wait * 1000) + 1)

    def _start(self, request: Message) -> None:
        try:
            log = Log(str(request["log"]), int(str(request["cap"])))
        except OSError as error:
            self._refuse(request, f"log {error.errno}")
            return
        task = Task(request, log)
        try:
            self._spawn(task, request)
        except OSError as error:
            log.close()
            self._refuse(request, f"start {error.errno}")
            return
        self._tasks[task.id] = task
        self._listen(task.pipe, lambda: self._pump(task))
        self._listen(task.exec_pipe, lambda: self._on_exec(task))

    def _refuse(self, request: Message, failure: str) -> None:
        report = {"id": request["id"], "outcome": "failed", "failure": failure, "duration_s": 0.0}
        self._link.send(ev="ended", **report)

    def _spawn(self, task: Task, request: Message) -> None:
        fds: list[int] = []
        try:
            fds += os.pipe()
            fds += os.pipe()
            task.pid = os.fork()
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        task.pipe, out, task.exec_pipe, exec_in = fds
        if task.pid == 0:
            become(request, out, exec_in, self._pid)
        os.close(out)
        os.close(exec_in)
        os.set_blocking(task.pipe, False)
        os.set_blocking(task.exec_pipe, False)
        facts = process_facts(task.pid) if ON_LINUX else None
        task.ticks = facts.ticks if facts is not None else 0

    def _on_exec(self, task: Task) -> None:
        """Take the child's word: a closed pipe is a program that runs."""
        data = read_some(task.exec_pipe)
        if data is None:
            return
        task.failure = data.decode(errors="replace")
        task.exec_pipe = self._forget(task.exec_pipe)
        if not task.failure:
            task.has_started = True
            self._link.send(ev="started", id=task.id, pid=task.pid)

    def _pump(self, task: Task) -> None:
        data = read_some(task.pipe)
        if data:
            task.log.take(data)
        elif data is not None:
            task.pipe = self._forget(task.pipe)

    def _terminate(self, task: Task, reason: str, grace_s: float) -> None:
        kill_at = now() + grace_s
        if not task.reason:
            task.reason, task.kill_at = reason, kill_at
        task.kill_at = min(task.kill_at, kill_at)

    def _tick(self, at: float) -> None:
        for task in list(self._tasks.values()):
            if task.status is not None:
                self._try_close(task, at)
                continue
            if not task.reason and task.deadline is not None and at >= task.deadline:
                self._terminate(task, "timeout", task.grace_s)
            # Before exec the child still ignores SIGTERM, as the guard does: it must wait.
            if task.reason and task.has_started and not task.has_termed:
                task.has_termed = True
                task.signal_group(signal.SIGTERM)
                task.signal_group(signal.SIGCONT)
            if task.reason and at >= task.kill_at:
                task.was_forced = True
                task.signal_group(signal.SIGKILL)
                kill_one(task.pid, signal.SIGKILL)
                if at >= task.kill_at + REAP_LIMIT_S:
                    self._finish(task, "stuck")

    def _reap(self) -> None:
        """Collect every dead child: mains end their task, adopted orphans just go."""
        mains = {task.pid: task for task in self._tasks.values() if task.status is None}
        while (dead := _next_dead(mains)) is not None:
            pid, status = dead
            task = mains.pop(pid, None)
            if task is None:
                os.waitpid(pid, 0)
                continue
            task.ended = now()
            # The zombie keeps its number from being used again: kill first, then collect.
            # A group that was asked to end has its grace, even if the shell above it is gone.
            if not (task.has_termed and task.ended < task.kill_at):
                task.signal_group(signal.SIGKILL)
            task.status = os.waitpid(pid, 0)[1] if status is None else status

    def _try_close(self, task: Task, at: float) -> None:
        """End the task once nothing of it is alive; until then kill what is."""
        has_group = task.signal_group(0)
        if has_group and task.has_termed and at < task.kill_at:
            return
        if has_group:
            task.signal_group(signal.SIGKILL)
        if not (self._sweep(task) or has_group):
            self._finish(task, "")
        elif at >= max(task.ended, task.kill_at) + REAP_LIMIT_S:
            self._finish(task, "stuck")

    def _sweep(self, closing: Task) -> bool:
        """Kill what escaped from tasks that are over; say whether `closing` had any."""
        if not ON_LINUX:
            return False
        running = {task.pid for task in self._tasks.values() if task.status is None}
        found = False
        for orphan in children_of(self._pid):
            if orphan in running:
                continue
            mark = process_mark(orphan)
            owners = self._owners(orphan, mark)
            if all(task.status is not None for task in owners):
                self._kill_family(orphan, owners)
                found = found or closing in owners or not owners
            elif closing in owners and mark is None:
                # Whose it is will be seen when it has an environment again, if it gets one.
                found = found or now() < closing.ended + EXEC_LIMIT_S
        return found

    @staticmethod
    def _kill_family(orphan: int, owners: list[Task]) -> None:
        family = family_of(orphan)
        # Those that lose their parent now come to the guard: whose they are must be known.
        for pid in family:
            facts = process_facts(pid)
            if facts is not None:
                for task in owners:
                    task.kin.add((pid, facts.ticks))
        for pid in family:
            kill_one(pid, signal.SIGKILL)

    def _owners(self, orphan: int, mark: str | None) -> list[Task]:
        """Say whose it is: one task where that can be known, else all that may be."""
        facts = process_facts(orphan)
        if facts is None:
            return []
        for task in self._tasks.values():
            known = (orphan, facts.ticks) in task.kin or facts.session == task.pid
            if known or carries(mark, task.mark):
                return [task]
        return [task for task in self._tasks.values() if task.ticks <= facts.ticks]

    def _finish(self, task: Task, failure: str) -> None:
        self._close_files(task)
        del self._tasks[task.id]
        self._link.send(ev="ended", **{**task.report(), "leftover": failure})

    def _close_files(self, task: Task) -> None:
        if task.exec_pipe in self._handlers:
            self._on_exec(task)
            task.exec_pipe = self._forget(task.exec_pipe)
        drained = 0
        while task.pipe in self._handlers and drained < DRAIN_MAX:
            data = read_some(task.pipe)
            if not data:
                break
            task.log.take(data)
            drained += len(data)
        task.pipe = self._forget(task.pipe)
        task.log.close()

    def end_all(self, limit_s: float = 10.0) -> None:
        """Kill every descendant and close every log: the worker is gone."""
        until = now() + limit_s
        while now() < until:
            for task in self._tasks.values():
                task.signal_group(signal.SIGKILL)
            for pid in family_of(self._pid)[1:]:
                kill_one(pid, signal.SIGKILL)
            self._reap()
            if not children_of(self._pid) and all(
                t.status is not None for t in self._tasks.values()
            ):
                break
            select.select([], [], [], RETRY_S)
        for task in self._tasks.values():
            self._close_files(task)


def _next_dead(mains: dict[int, Task]) -> tuple[int, int | None] | None:
    """Name a child that has ended; with its status only where asking collects it."""
    try:
        if ON_LINUX:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return (info.si_pid, None) if info is not None else None
        asked = (os.waitpid(pid, os.WNOHANG) for pid in mains)
        return next((found for found in asked if found[0]), None)
    except ChildProcessError:
        return None
