"""Tasks that behave, and tasks that do not."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from cli.exec_workshop import Workshop, is_alive, until
from federlib.cli.exec import Exec, ExecResult, TaskRunner
from federlib.errors import InvalidInput, Unavailable
from federlib.lease.environment import LEASE_SECRET_ENVS

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


async def run(spec: Exec) -> ExecResult:
    async with TaskRunner() as runner:
        return await runner.run(spec)


async def test_a_task_that_ends_well_reports_its_result_and_its_log(shop: Workshop) -> None:
    line = 'echo out; echo err >&2; printf \'{"n": [1, "é"]}\' > "$FEDERLIB_RESULT"'
    result = await run(shop.spec(line))
    assert (result.outcome, result.exit_code, result.signal) == ("success", 0, None)
    assert result.result == {"n": [1, "é"]}
    assert shop.text() == "out\nerr\n"
    assert result.log_bytes == 8
    assert result.duration_s > 0


async def test_a_task_without_a_result_has_none(shop: Workshop) -> None:
    result = await run(shop.spec(("true",)))
    assert result.result is None


async def test_arguments_reach_the_program_as_they_are(shop: Workshop) -> None:
    await run(shop.spec(("printf", "%s|", "a b", "", "$HOME", "ü", "\udcff")))
    assert shop.log.read_bytes() == "a b||$HOME|ü|".encode() + b"\xff|"


async def test_stdin_is_empty_and_no_descriptor_is_inherited(shop: Workshop) -> None:
    with open(os.devnull, "rb") as file:
        os.set_inheritable(file.fileno(), True)
        await run(shop.spec("cat; ls /proc/self/fd | wc -w"))
    assert shop.text().strip() == "4"  # 0, 1, 2 and the directory that ls reads


async def test_a_task_leads_its_own_session(shop: Workshop) -> None:
    await run(shop.spec((sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())")))
    assert shop.text() == "True\n"


async def test_signals_have_their_usual_effect_in_a_task(shop: Workshop) -> None:
    code = "import signal as s; print([s.getsignal(n) == s.SIG_DFL for n in (1, 3, 10, 15)])"
    await run(shop.spec((sys.executable, "-c", code)))
    assert shop.text() == "[True, True, True, True]\n"


@pytest.mark.parametrize(
    ("line", "exit_code", "signum", "message"),
    [
        ("exit 3", 3, None, "exit code 3"),
        ("kill -SEGV $$", None, 11, "killed by SIGSEGV"),
        ("kill -KILL $$", None, 9, "killed by SIGKILL (perhaps out of memory)"),
    ],
)
async def test_a_failure_says_how_it_ended(
    shop: Workshop, line: str, exit_code: int | None, signum: int | None, message: str
) -> None:
    result = await run(shop.spec(line))
    assert (result.outcome, result.exit_code, result.signal) == ("failed", exit_code, signum)
    assert result.message == message


async def test_the_urls_of_store_and_leases_stay_out_of_a_task(shop: Workshop) -> None:
    secret = ("FEDERLIB_STORE", *LEASE_SECRET_ENVS)
    assert len(secret) == 3
    env = dict.fromkeys(secret, "postgresql://u:hunter2@h/db")
    await run(shop.spec("env", env=env))
    names = {line.partition("=")[0] for line in shop.text().splitlines()}
    assert "hunter2" not in shop.text()
    assert {"FEDERLIB_RESULT", "FEDERLIB_INPUTS"} <= names


async def test_the_guard_does_not_know_the_workers_secrets(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDERLIB_STORE", "postgresql://u:hunter2@h/db")
    async with TaskRunner() as runner:
        assert runner.guard_pid is not None
        assert "FEDERLIB_STORE" not in psutil.Process(runner.guard_pid).environ()


async def test_inputs_lie_in_a_private_directory_that_is_removed(shop: Workshop) -> None:
    line = (
        'cat "$FEDERLIB_INPUTS"; stat -c %a "$(dirname "$FEDERLIB_INPUTS")"; echo $FEDERLIB_INPUTS'
    )
    await run(shop.spec(line, inputs=b'{"a": 1}\n'))
    content, mode, where = shop.text().splitlines()
    assert (content, mode) == ('{"a": 1}', "700")
    assert not Path(where).parent.exists()
    assert not Path(where).parent.parent.exists()


async def test_a_log_and_its_directories_are_private(shop: Workshop) -> None:
    old = os.umask(0)
    try:
        await run(shop.spec("true", log_path=shop.root / "a" / "b" / "t.log"))
    finally:
        os.umask(old)
    for part, mode in (("a", 0o700), ("a/b", 0o700), ("a/b/t.log", 0o600)):
        assert stat.S_IMODE((shop.root / part).stat().st_mode) == mode


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("echo '{' > $FEDERLIB_RESULT", "its result is not JSON"),
        (": > $FEDERLIB_RESULT", "its result is not JSON"),
        ("printf '\\377' > $FEDERLIB_RESULT", "its result is not JSON"),
        ("head -c 99999 /dev/zero > $FEDERLIB_RESULT", "its result is larger than 65536 bytes"),
        ("ln -s /etc/hostname $FEDERLIB_RESULT", "its result is not readable"),
        ("mkfifo $FEDERLIB_RESULT", "its result is not a regular file"),
        ("yes '[' | head -c 60000 > $FEDERLIB_RESULT", "its result is not JSON"),
    ],
)
async def test_a_bad_result_fails_the_task(shop: Workshop, line: str, message: str) -> None:
    result = await run(shop.spec(line))
    assert (result.outcome, result.result) == ("failed", None)
    assert result.message.startswith(message)


async def test_the_largest_result_is_kept(shop: Workshop) -> None:
    line = "printf '\"%065534d\"' 0 > $FEDERLIB_RESULT"
    result = await run(shop.spec(line))
    assert result.result == "0" * 65534


async def test_a_result_path_of_the_caller_is_kept_and_cleared_before(shop: Workshop) -> None:
    kept = shop.root / "result.json"
    kept.write_text('"stale"')
    assert (await run(shop.spec("true", result_path=kept))).result is None
    assert (await run(shop.spec("echo 7 > $FEDERLIB_RESULT", result_path=kept))).result == 7
    assert kept.read_text() == "7\n"


async def test_a_program_that_is_missing_is_named(shop: Workshop) -> None:
    result = await run(shop.spec(("no-such-program", "x")))
    assert (result.outcome, result.exit_code) == ("failed", None)
    assert result.message.startswith("cannot run 'no-such-program': no such program")


async def test_the_path_of_the_task_is_searched_beyond_what_cannot_be_run(
    shop: Workshop,
) -> None:
    for name, text, mode in (("no", "", 0o644), ("yes", "#!/bin/sh\necho yes $1\n", 0o755)):
        (shop.root / name).mkdir()
        (shop.root / name / "tool").write_text(text)
        (shop.root / name / "tool").chmod(mode)
    path = f"/no/such/dir:{shop.root}/no:{shop.root}/no/tool:{shop.root}/yes"
    await run(shop.spec(("tool", "a b"), env={"PATH": path}))
    assert shop.text() == "yes a b\n"
    result = await run(shop.spec(("tool",), env={"PATH": f"{shop.root}/no"}))
    assert result.message.startswith("cannot run 'tool': no permission")


async def test_a_program_without_permission_or_format_or_interpreter_says_so(
    shop: Workshop,
) -> None:
    program = shop.root / "program"
    program.write_bytes(b"\x00\x01")
    assert "no permission" in (await run(shop.spec((str(program),)))).message
    program.chmod(0o755)
    assert "not a program of this machine" in (await run(shop.spec((str(program),)))).message
    program.write_text("#!/no/such/interpreter\n")
    assert "interpreter" in (await run(shop.spec((str(program),)))).message


async def test_arguments_that_are_too_long_are_refused_in_words(shop: Workshop) -> None:
    for size in (200_000, 10_000_000):
        result = await run(shop.spec(("true", "x" * size)))
        assert result.outcome == "failed"
        assert "too long" in result.message


@pytest.mark.parametrize("name", ["missing", "file"])
async def test_a_directory_that_cannot_be_entered_is_named(shop: Workshop, name: str) -> None:
    (shop.root / "file").touch()
    result = await run(shop.spec("true", cwd=shop.root / name))
    assert result.outcome == "failed"
    assert result.message.startswith(f"cannot enter its directory '{shop.root / name}'")


async def test_a_log_that_cannot_be_written_fails_the_task_before_it_runs(shop: Workshop) -> None:
    shop.log.parent.mkdir()
    shop.log.symlink_to(shop.root / "elsewhere")
    result = await run(shop.spec("touch $HERE/ran"))
    assert result.message.startswith("cannot open its log")
    (shop.root / "blocked").touch()
    result = await run(shop.spec("touch $HERE/ran", log_path=shop.root / "blocked" / "t.log"))
    assert result.outcome == "failed"
    assert result.message.startswith("cannot prepare it")
    assert not (shop.root / "ran").exists()
    assert not (shop.root / "elsewhere").exists()


async def test_a_task_that_hangs_is_stopped_at_its_timeout(shop: Workshop) -> None:
    result = await run(shop.spec("exec sleep 1000", timeout_s=0.2))
    assert (result.outcome, result.signal) == ("timeout", signal.SIGTERM)
    assert result.message == "ran longer than 0.2 s"
    assert 0.2 <= result.duration_s < 2


async def test_a_task_that_ignores_sigterm_is_killed_after_its_grace(shop: Workshop) -> None:
    line = "trap '' TERM; while :; do sleep 0.05; done"
    result = await run(shop.spec(line, timeout_s=0.1, grace_s=0.3))
    assert (result.outcome, result.signal) == ("timeout", signal.SIGKILL)
    assert "did not end on SIGTERM and was killed" in result.message
    assert 0.4 <= result.duration_s < 3


async def test_a_program_below_a_shell_has_its_grace_too(shop: Workshop) -> None:
    trap = "trap 'echo saved > $HERE/state; exit' TERM;"
    inner = trap + "echo $$ > $HERE/pid; while :; do sleep 0.01; done"
    async with TaskRunner() as runner:
        stop = anyio.Event()
        results: list[ExecResult] = []

        async def go() -> None:
            spec = shop.spec('sh -c "$INNER" & wait', env={"INNER": inner})
            results.append(await runner.run(spec, stop=stop))

        async with anyio.create_task_group() as group:
            group.start_soon(go)
            await shop.pid("pid")
            stop.set()
    assert results[0].outcome == "killed"
    assert results[0].message == "stopped on request"
    assert (shop.root / "state").read_text() == "saved\n"


async def test_a_stopped_task_can_still_be_ended(shop: Workshop) -> None:
    result = await run(shop.spec("kill -STOP $$", timeout_s=0.2))
    assert (result.outcome, result.signal) == ("timeout", signal.SIGTERM)


async def test_cancelling_ends_the_task_before_it_goes_on(shop: Workshop) -> None:
    async with TaskRunner() as runner, anyio.create_task_group() as group:
        group.start_soon(runner.run, shop.spec("sleep 1000 & echo $! > $HERE/pid; wait"))
        pid = await shop.pid("pid")
        group.cancel_scope.cancel()
    assert not is_alive(pid)
    assert group.cancel_scope.cancelled_caught


async def test_cancelling_kills_a_task_that_will_not_end(shop: Workshop) -> None:
    line = "trap '' TERM; echo $$ > $HERE/pid; while :; do sleep 0.05; done"
    async with TaskRunner() as runner:
        async with anyio.create_task_group() as group:
            group.start_soon(runner.run, shop.spec(line, grace_s=0.2))
            pid = await shop.pid("pid")
            group.cancel_scope.cancel()
        assert not is_alive(pid)
        assert (await runner.run(shop.spec("true"))).outcome == "success"


async def test_cancelling_at_any_moment_leaves_nothing(shop: Workshop) -> None:
    async with TaskRunner() as runner:
        for delay_ms in range(12):
            with anyio.move_on_after(delay_ms / 1000):
                await runner.run(shop.spec("exec sleep 1000"))
        assert runner.guard_pid is not None
        assert psutil.Process(runner.guard_pid).children(recursive=True) == []


async def test_leaving_the_runner_kills_what_still_runs(shop: Workshop) -> None:
    results: list[ExecResult] = []
    async with anyio.create_task_group() as group, TaskRunner() as runner:

        async def go() -> None:
            results.append(await runner.run(shop.spec("echo $$ > $HERE/pid; sleep 1000")))

        group.start_soon(go)
        pid = await shop.pid("pid")
    assert not is_alive(pid)
    assert (results[0].outcome, results[0].message) == ("killed", "the runner was closed")


async def test_cancelling_all_around_the_runner_ends_its_tasks_quickly(shop: Workshop) -> None:
    pid = 0
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with TaskRunner() as runner, anyio.create_task_group() as group:
            group.start_soon(runner.run, shop.spec("echo $$ > $HERE/pid; exec sleep 1000"))
            pid = await shop.pid("pid")
            scope.cancel()
    assert scope.cancelled_caught
    assert not is_alive(pid)


async def test_a_guard_that_cannot_start_is_unavailable_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    for program in ("/bin/false", "/no/such/python", ""):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(Unavailable, match="the task guard is unavailable"):
            async with TaskRunner():
                pytest.fail("it must not start")
    assert list(tmp_path.iterdir()) == []


async def test_a_runner_that_is_closed_runs_nothing(shop: Workshop) -> None:
    async with TaskRunner() as runner:
        assert runner.guard_pid is not None
    assert runner.guard_pid is None
    with pytest.raises(RuntimeError, match="inside its"):
        await runner.run(shop.spec("true"))


async def test_a_stop_that_was_set_before_ends_the_task_at_once(shop: Workshop) -> None:
    stop = anyio.Event()
    stop.set()
    async with TaskRunner() as runner:
        result = await runner.run(shop.spec("exec sleep 1000"), stop=stop)
    assert result.outcome == "killed"
    assert result.duration_s < 3


async def test_an_exception_of_the_body_leaves_unchanged(shop: Workshop) -> None:
    with pytest.raises(KeyError):
        async with TaskRunner():
            raise KeyError("mine")


async def test_200_quick_tasks_leave_no_zombie_and_no_descriptor(shop: Workshop) -> None:
    def count() -> tuple[int, int]:
        assert runner.guard_pid is not None
        guard = psutil.Process(runner.guard_pid)
        return psutil.Process().num_fds(), guard.num_fds()

    async def lane(number: int) -> None:
        for _ in range(25):
            spec = shop.spec("echo x", log_path=shop.root / f"{number}.log")
            assert (await runner.run(spec)).message == "exit code 0"

    async with TaskRunner() as runner:
        await runner.run(shop.spec("true"))
        before = count()
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(lane, number)
        assert count() == before
        assert runner.guard_pid is not None
        assert psutil.Process(runner.guard_pid).children() == []
        guard_pid = runner.guard_pid
    await until(lambda: not psutil.pid_exists(guard_pid))
    assert {(shop.root / f"{number}.log").read_text() for number in range(8)} == {"x\n"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("command", ()),
        ("command", ""),
        ("command", ("a\0b",)),
        ("timeout_s", 0.0),
        ("timeout_s", float("nan")),
        ("grace_s", -1.0),
        ("env", {"A=B": "x"}),
        ("env", {"A": "\0"}),
    ],
)
async def test_a_spec_that_can_never_run_is_refused(
    shop: Workshop, field: str, value: object
) -> None:
    good = {"command": "true", "cwd": shop.root, "env": {}, "log_path": shop.log}
    with pytest.raises(InvalidInput, match=field):
        Exec(**{**good, field: value})  # type: ignore[arg-type] # the wrong types are the point
