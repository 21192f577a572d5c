"""Who dies with whom: workers, guards, tasks and what they leave behind; real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import psutil
import pytest

from cli.exec_workshop import Workshop, is_alive, until
from federlib.cli.exec import ExecResult, TaskRunner

pytestmark = pytest.mark.anyio

# Children in the group, in another session, and a daemon without mark, session or parent.
FAMILY = """
sh -c 'echo $$ > $HERE/child; exec sleep 1000' &
setsid sh -c 'echo $$ > $HERE/escaped; exec sleep 1000' &
(setsid env -i HERE=$HERE sh -c 'sh -c "echo \\$\\$ > $HERE/daemon; exec sleep 1000" &' &)
echo $$ > $HERE/main
"""
NAMES = ("child", "escaped", "daemon", "main")
DAEMON = """
(setsid env -i HERE=$HERE sh -c 'echo $$ > $HERE/NAME; exec sleep 1000' &)
while ! test -s $HERE/NAME; do :; done
"""

WORKER = """
import os, sys, time
from pathlib import Path
import anyio
from federlib.cli.exec import Exec, TaskRunner
root = Path(sys.argv[1])
env = {**os.environ, "HERE": str(root)}
async def main():
    async with TaskRunner() as runner:
        if len(sys.argv) > 4 and os.fork() == 0:
            (root / "forked").write_text(f"{os.getpid()}\\n")
            time.sleep(1000)
        (root / "guard").write_text(f"{runner.guard_pid}\\n")
        await runner.run(Exec(command=sys.argv[3], cwd=root, env=env, log_path=root / "t.log"))
anyio.run(main, backend=sys.argv[2])
"""


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def worker(shop: Workshop, anyio_backend: str) -> Iterator[subprocess.Popen[bytes]]:
    yield from _worker(shop, anyio_backend)


def _worker(shop: Workshop, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-c", WORKER, str(shop.root), more[0], FAMILY + "wait", *more[1:]]
    process = subprocess.Popen(argv, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def family(shop: Workshop) -> list[int]:
    pids = [await shop.pid(name) for name in NAMES]
    assert all(map(is_alive, pids))
    return pids


async def all_gone(pids: list[int], within_s: float = 2.0) -> None:
    await until(lambda: not any(map(is_alive, pids)), within_s=within_s)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_dead_worker_takes_its_task_and_all_that_escaped_with_it(
    shop: Workshop, worker: subprocess.Popen[bytes], signum: int
) -> None:
    pids = [*await family(shop), await shop.pid("guard")]
    worker.send_signal(signum)
    await all_gone(pids)


async def test_the_guard_notices_even_when_a_forked_child_keeps_the_socket(
    shop: Workshop, anyio_backend: str
) -> None:
    for worker in _worker(shop, anyio_backend, "fork"):
        pids = [*await family(shop), await shop.pid("guard")]
        forked = await shop.pid("forked")
        worker.kill()
        await all_gone(pids)
        assert is_alive(forked)  # not a task: none of our business
        os.kill(forked, signal.SIGKILL)


async def test_the_private_directory_goes_with_a_killed_worker(
    shop: Workshop, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = shop.root / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    for worker in _worker(shop, anyio_backend):
        await family(shop)
        assert list(scratch.iterdir())
        worker.kill()
        await until(lambda: not list(scratch.iterdir()), within_s=2)


async def test_a_stopped_worker_keeps_its_tasks(
    shop: Workshop, worker: subprocess.Popen[bytes]
) -> None:
    pids = await family(shop)
    worker.send_signal(signal.SIGSTOP)
    await anyio.sleep(0.1)
    assert all(map(is_alive, pids))
    worker.kill()
    await all_gone(pids)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_guard_shrugs_off_what_is_meant_for_the_worker(
    shop: Workshop, signum: int
) -> None:
    async with TaskRunner() as runner:
        guard = runner.guard_pid
        assert guard is not None
        assert os.getsid(guard) == guard
        os.kill(guard, signum)
        assert (await runner.run(shop.spec("true"))).outcome == "success"
        assert runner.guard_pid == guard


async def test_a_killed_guard_fails_its_tasks_kills_them_and_is_replaced(shop: Workshop) -> None:
    results: list[ExecResult] = []
    async with TaskRunner() as runner:

        async def go() -> None:
            results.append(await runner.run(shop.spec(FAMILY + "wait")))

        async with anyio.create_task_group() as group:
            group.start_soon(go)
            pids = await family(shop)
            guard = runner.guard_pid
            assert guard is not None
            os.kill(guard, signal.SIGKILL)
        assert results[0].outcome == "guard_died"
        assert results[0].message.startswith("guard died")
        # A process without mark, session and parent is beyond the worker's knowledge.
        daemon = pids.pop(NAMES.index("daemon"))
        await all_gone(pids)
        if is_alive(daemon):
            os.kill(daemon, signal.SIGKILL)
        assert (await runner.run(shop.spec("true"))).outcome == "success"
        assert runner.guard_pid not in (None, guard)


async def test_a_guard_that_hangs_does_not_hold_up_a_cancelled_task(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federlib.cli.exec._life.STOP_LIMIT_S", 0.3)
    async with TaskRunner() as runner:
        async with anyio.create_task_group() as group:
            group.start_soon(runner.run, shop.spec("echo $$ > $HERE/main; sleep 1000", grace_s=0.1))
            pid = await shop.pid("main")
            assert runner.guard_pid is not None
            os.kill(runner.guard_pid, signal.SIGSTOP)
            group.cancel_scope.cancel()
        await all_gone([pid])
        assert (await runner.run(shop.spec("true"))).outcome == "success"


async def test_what_a_task_leaves_behind_dies_when_it_ends(shop: Workshop) -> None:
    line = FAMILY + "for n in child escaped daemon; do while ! test -s $HERE/$n; do :; done; done"
    async with TaskRunner() as runner:
        result = await runner.run(shop.spec(line))
        assert result.outcome == "success"
        pids = [await shop.pid(name) for name in NAMES]
        assert not [pid for pid in pids if is_alive(pid)]
        assert runner.guard_pid is not None
        assert psutil.Process(runner.guard_pid).children() == []


async def test_a_daemon_that_keeps_forking_is_caught(shop: Workshop) -> None:
    code = (
        "import os, sys\n"
        "os.setsid()\n"
        "print('up', flush=True)\n"
        "while os.fork() == 0: pass\n"
        "os._exit(0)\n"
    )
    line = '(setsid "$PYTHON" -c "$CODE" &) ; while ! test -s $HERE/logs/task.log; do :; done'
    env = {"PYTHON": sys.executable, "CODE": code}
    async with TaskRunner() as runner:
        result = await runner.run(shop.spec(line, env=env))
        assert (result.outcome, result.message) == ("success", "exit code 0")


async def test_only_the_daemons_of_the_task_that_ended_are_killed(shop: Workshop) -> None:
    daemon = "setsid sh -c 'echo $$ > $HERE/NAME; exec sleep 1000' & "
    marked = daemon + "while ! test -s $HERE/NAME; do :; done;"
    async with TaskRunner() as runner, anyio.create_task_group() as group:
        long = marked.replace("NAME", "long") + "wait"
        group.start_soon(runner.run, shop.spec(long, log_path=shop.root / "long.log"))
        kept = await shop.pid("long")
        await runner.run(shop.spec(marked.replace("NAME", "short")))
        assert not is_alive(await shop.pid("short"))
        assert is_alive(kept)
        group.cancel_scope.cancel()
    assert not is_alive(kept)


async def test_a_daemon_that_is_in_the_middle_of_exec_is_known_by_its_mark_all_the_same(
    shop: Workshop,
) -> None:
    script = shop.root / "again.sh"
    script.write_text("#!/bin/sh\ntest -s $HERE/$1 || echo $$ > $HERE/$1\nexec $0 $1\n")
    script.chmod(0o755)
    async with TaskRunner() as runner, anyio.create_task_group() as group:
        wait = "echo $$ > $HERE/older; sleep 1000"
        group.start_soon(runner.run, shop.spec(wait, log_path=shop.root / "older.log"))
        await shop.pid("older")
        for number in range(20):
            line = f"setsid $HERE/again.sh n{number} & while ! test -s $HERE/n{number}; do :; done"
            await runner.run(shop.spec(line))
            assert not is_alive(await shop.pid(f"n{number}")), number
        group.cancel_scope.cancel()


async def test_a_daemon_without_any_trace_dies_with_the_last_task_that_may_own_it(
    shop: Workshop,
) -> None:
    async with TaskRunner() as runner, anyio.create_task_group() as group:
        wait = "echo $$ > $HERE/older; sleep 1000"
        group.start_soon(runner.run, shop.spec(wait, log_path=shop.root / "older.log"))
        await shop.pid("older")
        await runner.run(shop.spec(DAEMON.replace("NAME", "stray")))
        stray = await shop.pid("stray")
        assert is_alive(stray)  # it may be the older task's: then killing it were wrong
        group.cancel_scope.cancel()
    assert not is_alive(stray)


async def test_a_worker_that_is_a_task_itself_dies_with_all_its_own_tasks(
    shop: Workshop, anyio_backend: str
) -> None:
    (shop.root / "worker.py").write_text(WORKER)
    argv = (sys.executable, "worker.py", str(shop.root), anyio_backend, FAMILY + "wait")
    async with TaskRunner() as runner, anyio.create_task_group() as group:
        group.start_soon(runner.run, shop.spec(argv, grace_s=0.1))
        pids = [*await family(shop), await shop.pid("guard")]
        group.cancel_scope.cancel()
    await all_gone(pids)
