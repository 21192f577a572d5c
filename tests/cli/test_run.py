"""`federlib run`, `worker` and `logs`, from outside: what a user types, and what comes of it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import cast

import msgspec
import psutil
import pytest

from federlib import Federation
from fleet import Fleet, alive, all_gone, command, descendants, until

YAML = """\
name: small
tasks:
  - id: numbers
    run: |
      echo "$FEDERLIB_RUN_ID $FEDERLIB_TASK_ID $FEDERLIB_ATTEMPT $FEDERLIB_EPOCH"
      echo "$FEDERLIB_IDEMPOTENCY_KEY $WHO ${FEDERLIB_STORE-no store}"
      echo "$1,$2"
      echo '[1, 2, 3]' > "$FEDERLIB_RESULT"
    args: [a b, "$c"]
    env: {WHO: me}
  - id: total
    needs: [numbers]
    call: work:total
    args: {plus: 4}
  - id: "show/it"
    needs: [numbers, total]
    run: cat "$FEDERLIB_INPUTS"
    cwd: below
"""
WORK = """\
def total(plus, task):
    return {"sum": sum(task.inputs["numbers"]) + plus, "key": task.idempotency_key}
"""
REPORT_FIELDS = {
    "run_id", "state", "tasks", "attempts", "accepted_results", "rejected_stale", "adopted",
    "failovers", "makespan_s", "critical_path_s", "epochs",
}  # fmt: skip


def numbers(value: object) -> dict[str, float]:
    return cast("dict[str, float]", value)


def test_a_workflow_runs_and_results_reach_the_children(fleet: Fleet) -> None:
    (fleet.root / "small.yaml").write_text(YAML)
    (fleet.root / "work.py").write_text(WORK)
    # A worker must not import what happens to lie in the working directory.
    (fleet.root / "random.py").write_text("raise SystemExit('not yours')")
    (fleet.root / "below").mkdir()
    done = fleet.run("small.yaml", "--run-id", "r/1", "--workers", "2",
                     "--report", "report.json", "--effects", "effects")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "3 of 3 succeeded" in done.out
    assert "\x1b" not in done.out  # plain lines where there is no terminal

    report = fleet.json("report.json")
    assert set(report) == REPORT_FIELDS
    assert report["tasks"] == {"total": 3, "success": 3, "failed": 0, "blocked": 0}
    expected = {"run_id": "r/1", "state": "success", "attempts": 3, "accepted_results": 3,
                "rejected_stale": 0, "adopted": 0, "failovers": [], "epochs": 1}  # fmt: skip
    assert {name: report[name] for name in expected} == expected
    assert 0 < cast("float", report["critical_path_s"]) <= cast("float", report["makespan_s"])
    assert fleet.lines("effects") == ["numbers 1 1", "total 1 1", "show/it 1 1"]

    log = fleet.call("logs", "r/1", "numbers").out.splitlines()
    assert log == ["r/1 numbers 1 1", "r/1:numbers me no store", "a b,$c"]
    shown = fleet.call("logs", "r/1", "show/it", "--attempt", "1").out
    inputs = {"numbers": [1, 2, 3], "total": {"sum": 10, "key": "r/1:total"}}
    assert msgspec.json.decode(shown) == inputs


def test_json_and_the_store_by_environment(fleet: Fleet) -> None:
    fleet.env["FEDERLIB_STORE"] = "sqlite:///else%20where/s.db"
    name = fleet.write("w.json", [{"id": "a", "run": "echo here"}])
    assert fleet.run(name, "--run-id", "r", "--workers", "1").code == 0
    assert (fleet.root / "else where" / "s.db").exists()
    assert not (fleet.root / ".federlib").exists()
    assert fleet.call("logs", "r", "a").out == "here\n"
    assert fleet.call("status").code == 0
    gone = fleet.call("logs", "r", "b")
    assert (gone.code, gone.err) == (1, "no log of task 'b' of run 'r' on this host\n")


def test_a_failed_task_blocks_what_needs_it_and_the_rest_goes_on(fleet: Fleet) -> None:
    tasks: list[dict[str, object]] = [
        {"id": "fails", "run": "echo no; exit 3"},
        {"id": "below", "needs": ["fails"], "run": "true"},
        {"id": "deeper", "needs": ["below"], "run": "true"},
        {"id": "again", "run": 'test "$FEDERLIB_ATTEMPT" = 3', "retries": 2},
        {"id": "child", "needs": ["again"], "run": "true"},
        {"id": "hangs", "run": "trap '' TERM; sleep 1000 & wait; sleep 1000", "timeout_s": 0.3},
        {"id": "missing", "call": "no_such_module:f"},
        {"id": "forks", "run": "setsid sleep 1000 & echo $! > daemon; echo done"},
    ]
    done = fleet.run(fleet.write("w.json", tasks), "--run-id", "r", "--workers", "2",
                     "--slots", "8", "--report", "report.json")  # fmt: skip
    assert done.code == 1, done.out
    report = fleet.json("report.json")
    assert report["state"] == "failed"
    assert report["tasks"] == {"total": 8, "success": 3, "failed": 3, "blocked": 2}
    assert report["attempts"] == 8  # six tasks, one of them three times
    assert re.search(r"failed +fails: .*3", done.out)
    assert "hangs: timed out after 0.3 s" in done.out
    assert re.search(r"missing: cannot import 'no_such_module:f'", done.out)
    assert "No module named" in fleet.call("logs", "r", "missing").out
    assert not alive(int(fleet.text("daemon")))


def test_every_problem_of_a_workflow_is_told_at_once(fleet: Fleet) -> None:
    name = fleet.write("w.json", [
        {"id": "self", "needs": ["self"], "run": "true"},
        {"id": "a", "needs": ["b", "nobody"], "run": "true"},
        {"id": "b", "needs": ["a"], "run": "true", "timeout_s": -1},
        {"id": "twice", "run": "true"},
        {"id": "twice", "bogus": 1},
    ])  # fmt: skip
    done = fleet.run(name)
    assert (done.code, done.out) == (2, "")
    for problem in ("'self': names itself", "parent 'nobody' does not exist", "field timeout_s",
                    "unknown field 'bogus'", "'twice': the id is used 2 times",
                    "cycle: a -> b -> a"):  # fmt: skip
        assert problem in done.err
    assert not (fleet.root / ".federlib").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--chaos", "kill-all@1s"], "--chaos"),
        (["--workers", "0"], "--workers"),
        (["--ttl", "nan"], "--ttl"),
        (["--store", "sqlite:///w.json/s.db"], "store URL"),
        (["--run-id", ""], "run_id"),
        (["--run-id", "x" * 10_000], "run_id"),
        (["--report", "no/such/dir/r.json"], "--report"),
        (["--effects", "."], "--effects"),
        (["--store", "carrier-pigeon://loft"], "store URL"),
        (["--bogus"], "--bogus"),
    ],
)
def test_wrong_usage_exits_with_2(fleet: Fleet, options: list[str], sentence: str) -> None:
    done = fleet.run(fleet.write("w.json", [{"id": "a", "run": "touch ran"}]), *options)
    assert done.code == 2, done.err
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert not (fleet.root / "ran").exists()


@pytest.mark.parametrize("run_id", ["..", "[/red]", "~x", "a/../b", "Ж漢字🦊", "-x", "%2F"])
def test_any_name_will_do_for_a_run_and_none_leaves_its_directory(
    fleet: Fleet, run_id: str
) -> None:
    name = fleet.write("[bold].json", [{"id": "../../[/x]", "run": "echo hi; exit 1"}])
    done = fleet.run(name, f"--run-id={run_id}", "--workers", "1")
    assert done.code == 1, done.err
    assert f"run {run_id}: failed" in done.out
    assert "../../[/x]" in done.out
    assert fleet.call("logs", "--", run_id, "../../[/x]").out == "hi\n"
    assert {path.name for path in fleet.root.iterdir()} == {name, ".federlib", "runtime"}
    assert fleet.call("status").code == 1  # a failed run


def test_an_empty_workflow_succeeds(fleet: Fleet) -> None:
    done = fleet.run(fleet.write("w.json", []), "--workers", "1", "--report", "report.json")
    assert done.code == 0, done.err
    tasks = numbers(fleet.json("report.json")["tasks"])
    assert tasks == {"total": 0, "success": 0, "failed": 0, "blocked": 0}


def test_another_plan_under_the_same_id_is_refused_with_the_differences(fleet: Fleet) -> None:
    old = fleet.write("w.json", [{"id": "a", "run": "true"}, {"id": "b", "run": "true"}])
    assert fleet.run(old, "--run-id", "r", "--workers", "1").code == 0
    new = fleet.write("w.json", [{"id": "a", "run": "false"}, {"id": "c", "run": "true"}])
    for more in ((), ("--detach",)):
        done = fleet.run(new, "--run-id", "r", *more)
        assert (done.code, done.out) == (2, "")
        lines = done.err.splitlines()[1:]
        assert lines == ["  ~ 'a': run: 'true' -> 'false'", "  - 'b'", "  + 'c'"]
    again = fleet.write("w.json", [{"id": "b", "run": "true"}, {"id": "a", "run": "true"}])
    done = fleet.run(again, "--run-id", "r", "--workers", "1")
    assert done.code == 0
    assert "goes on: 2 success" in done.out


def test_what_is_no_store_exits_with_3_and_is_left_alone(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "touch ran"}])
    foreign = os.urandom(9000)
    (fleet.root / "foreign.db").write_bytes(foreign)
    for url in ("sqlite:///foreign.db", "sqlite:////proc/nowhere/s.db"):
        for more in ((), ("--detach",)):
            done = fleet.run(name, "--store", url, *more)
            assert done.code == 3, (url, done.err)
            assert done.err.startswith("federlib: ")
            assert "Traceback" not in done.err
    assert (fleet.root / "foreign.db").read_bytes() == foreign
    assert not (fleet.root / "ran").exists()


def test_workers_that_cannot_live_end_the_run_with_3(fleet: Fleet) -> None:
    host = fleet.root / "runtime" / "identities" / "host.json"
    host.parent.mkdir(parents=True, mode=0o700)
    host.write_bytes(b"torn")
    name = fleet.write("w.json", [{"id": "a", "run": "true"}])
    done = fleet.run(name, "--run-id", "r", "--workers", "2")
    assert done.code == 3, done.out
    assert "no worker could be kept alive" in done.out
    assert "see .federlib/logs/r/~worker-0.log" in done.out


def test_an_identity_root_that_cannot_be_is_told_at_once(fleet: Fleet) -> None:
    fleet.env["OPAL_IDENTITY_ROOT"] = "/proc/nowhere"
    done = fleet.run(fleet.write("w.json", [{"id": "a", "run": "true"}]), "--run-id", "r")
    assert done.code == 2
    assert "identity root" in done.err
    assert done.out == ""


def test_a_store_of_a_newer_version_exits_with_3(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "true"}])
    assert fleet.run(name, "--run-id", "r", "--workers", "1").code == 0
    from federlib.storage import Put, Transaction

    async def make_newer(fed: Federation) -> None:
        record = await fed.store.get("dag/r/run")
        assert record is not None
        value = record.value.replace(b'"v":1', b'"v":99')
        assert value != record.value
        await fed.store.commit(Transaction((Put("dag/r/run", value),)))

    fleet.ask(make_newer)
    done = fleet.run(name, "--run-id", "r")
    assert done.code == 3
    assert "dag/r/run" in done.err
    assert "99" in done.err
    assert fleet.call("status").code == 3


def test_chaos_that_never_came_exits_with_4(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "true"}])
    done = fleet.run(name, "--workers", "1", "--chaos", "kill-leader@60s,kill-worker@70s")
    assert done.code == 4
    assert "chaos did not fire: kill-leader@60s, kill-worker@70s" in done.out


def test_the_death_of_the_leader_and_of_a_worker_is_survived_and_reported(fleet: Fleet) -> None:
    tasks: list[dict[str, object]] = [
        {"id": f"t{n}", "run": "echo $FEDERLIB_TASK_ID >> ledger; sleep 0.9"} for n in range(12)
    ]
    done = fleet.run(fleet.write("w.json", tasks), "--workers", "3", "--slots", "2",
                     "--chaos", "kill-leader@0.5s,kill-worker@1s",
                     "--report", "report.json")  # fmt: skip
    assert done.code == 0, done.out
    report = fleet.json("report.json")
    assert report["tasks"] == {"total": 12, "success": 12, "failed": 0, "blocked": 0}
    (failover,) = cast("list[dict[str, float]]", report["failovers"])
    assert set(failover) == {"at_s", "from_epoch", "to_epoch", "rto_s"}
    assert failover["from_epoch"] < failover["to_epoch"]
    assert 0 < failover["rto_s"] <= 1.5
    assert report["epochs"] == 2
    assert done.out.count("chaos: kill-") == 2
    assert done.out.count("was killed by signal 9; starting it again") == 2
    assert len(fleet.lines("ledger")) <= cast("int", report["attempts"])


def test_sigint_stops_everything_and_the_run_goes_on_from_its_frontier(fleet: Fleet) -> None:
    ledger = "echo $FEDERLIB_TASK_ID >> ledger"
    name = fleet.write("w.json", [
        {"id": "first", "run": ledger},
        {"id": "second", "needs": ["first"], "run": f"{ledger}; sleep 1000 & test -e go || wait"},
        {"id": "third", "needs": ["second"], "run": ledger},
    ])  # fmt: skip
    options = ["run", name, "--ttl", "1", "--run-id", "r", "--workers", "2"]
    process = fleet.start(*options, "--report", "report.json", "--effects", "effects")
    until(lambda: fleet.lines("ledger") == ["first", "second"], what="the second task")
    family = descendants(process.pid)
    assert len(family) >= 5  # two workers, two guards, a task
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 130
    until(lambda: all_gone(family), limit_s=2, what="the end of every process")
    assert "go on with --run-id r" in fleet.text("out.log")
    assert fleet.json("report.json")["state"] == "running"
    assert fleet.lines("effects") == ["first 1 1"]

    (fleet.root / "go").touch()
    done = fleet.call(*options, "--report", "report.json", "--effects", "effects")
    assert done.code == 0
    assert "goes on: " in done.out
    assert fleet.lines("ledger") == ["first", "second", "second", "third"]
    assert fleet.json("report.json")["failovers"] == []  # it was stopped, it did not fail
    assert [line.split()[:2] for line in fleet.lines("effects")] == [
        ["first", "1"], ["second", "2"], ["third", "1"]
    ]  # fmt: skip


def test_a_second_sigint_does_not_wait_for_a_task_that_will_not_end(fleet: Fleet) -> None:
    name = fleet.write(
        "w.json", [{"id": "deaf", "run": "trap '' TERM; echo > up; while :; do sleep 1; done"}]
    )
    process = fleet.start("run", name, "--ttl", "1", "--workers", "1")
    until((fleet.root / "up").exists, what="the task")
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert not all_gone(family)
    process.send_signal(signal.SIGINT)
    assert process.wait(3) == 130
    until(lambda: all_gone(family), limit_s=3, what="the end of every process")


def test_a_killed_worker_takes_its_tasks_with_it_and_their_children(fleet: Fleet) -> None:
    run = (
        "echo $FEDERLIB_ATTEMPT >> ledger; test -e go && exit; setsid sleep 999 & echo $! > g; wait"
    )
    name = fleet.write("w.json", [{"id": "a", "run": run}])
    process = fleet.start("run", name, "--ttl", "1", "--workers", "1", "--run-id", "r")
    until(lambda: fleet.text("g").strip(), what="the grandchild")
    (fleet.root / "go").touch()
    (worker,) = psutil.Process(process.pid).children()
    family = descendants(worker.pid)
    assert int(fleet.text("g")) in family
    worker.kill()
    until(lambda: all_gone(family), limit_s=3, what="the end of the worker's tasks")
    assert process.wait(20) == 0
    assert fleet.lines("ledger") == ["1", "2"]


def test_a_run_led_elsewhere_is_joined(fleet: Fleet) -> None:
    run = "echo $FEDERLIB_TASK_ID >> ledger; until test -e go; do sleep 0.05; done"
    name = fleet.write("w.json", [{"id": f"t{n}", "run": run} for n in range(4)])
    options = ("run", name, "--ttl", "1", "--run-id", "r", "--workers", "1", "--slots", "1")
    first = fleet.start(*options, log="first.log")
    until(lambda: len(fleet.lines("ledger")) == 1, what="the first task")
    second = fleet.start(*options, log="second.log")
    until(lambda: len(fleet.lines("ledger")) == 2, what="a task of the second supervisor")
    third = fleet.start("worker", "--run-id", "r", "--ttl", "1", "--slots", "2", log="third.log")
    until(lambda: len(fleet.lines("ledger")) == 4, what="the tasks of a third worker")
    assert "is already led by" in fleet.text("second.log")
    assert "joining it" in fleet.text("second.log")
    assert "3 live" not in fleet.text("first.log")  # plain lines, no panel
    (fleet.root / "go").touch()
    assert [process.wait(20) for process in (first, second, third)] == [0, 0, 0]
    assert sorted(fleet.lines("ledger")) == ["t0", "t1", "t2", "t3"]
    assert fleet.lines("third.log")[-1] == "run r: success"


def test_a_worker_for_a_run_or_a_store_that_is_not_there_says_so(fleet: Fleet) -> None:
    done = fleet.call("worker", "--run-id", "r")
    assert done.code == 3
    assert list(fleet.root.iterdir()) == []
    fleet.run(fleet.write("w.json", []), "--workers", "1")
    done = fleet.call("worker", "--run-id", "r")
    assert done.code == 2
    assert "found 'r'" in done.err


def test_a_detached_run_goes_on_without_us(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "sleep 0.2"}])
    done = fleet.run(name, "--run-id", "r", "--workers", "1", "--detach", "--report", "out.json")
    assert done.code == 0, done.err
    pid = int(cast("re.Match[str]", re.search(r"process (\d+)", done.out))[1])
    until((fleet.root / "out.json").exists, what="the report")
    until(lambda: not alive(pid), what="the end of the supervisor")
    assert fleet.json("out.json")["state"] == "success"
    log = fleet.root / ".federlib/logs/r/~supervisor.log"
    assert "run r: success" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_a_flood_of_output_is_capped(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "head -c 200000000 /dev/zero; echo end >&2"}])
    assert fleet.run(name, "--run-id", "r", "--workers", "1").code == 0
    assert 9 << 20 < (fleet.root / ".federlib/logs/r/a.1.log").stat().st_size <= 10 << 20


DRIVER = """\
import os, pathlib
from federlib.storage.backends import sqlite

async def open_store(url, clock, telemetry):
    assert "hunter2" in url, url
    pathlib.Path("opened").open("a").write(f"{os.getpid()}\\n")
    return await sqlite.open_store("sqlite:///vault.db", clock, telemetry)
"""


def test_credentials_stay_out_of_command_lines_logs_and_reports(fleet: Fleet) -> None:
    site = fleet.root / "site"
    (site / "vault-1.dist-info").mkdir(parents=True)
    (site / "vault-1.dist-info/entry_points.txt").write_text(
        "[federlib.stores]\nvault = vault_driver:open_store\n"
    )
    (site / "vault-1.dist-info/METADATA").write_text("Name: vault\nVersion: 1\n")
    (site / "vault_driver.py").write_text(DRIVER)
    fleet.env["PYTHONPATH"] = f"{site}:{os.environ.get('PYTHONPATH', '')}"
    url = "vault://me:hunter2@host/x?token=hunter2"
    name = fleet.write(
        "w.json", [{"id": "a", "run": "env; tr '\\0' '\\n' < /proc/$PPID/environ; sleep 1"}]
    )
    process = fleet.start("run", name, "--store", url, "--ttl", "1", "--run-id", "r",
                          "--workers", "1", "--report", "report.json")  # fmt: skip
    until(lambda: len(fleet.lines("opened")) >= 2, what="a worker")
    family = {process.pid} | descendants(process.pid)
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in family if alive(pid)]
    assert any("worker --run-id r" in line for line in lines)
    assert not [line for line in lines if "hunter2" in line]
    assert process.wait(20) == 0, fleet.text("out.log")
    leaks = [
        path
        for path in fleet.root.rglob("*")
        if path.is_file() and site not in path.parents and b"hunter2" in path.read_bytes()
    ]
    assert leaks == []
    assert "vault://me:***@host/x" in fleet.text("out.log")
    for verb in (["status", url], ["lease", "ls", f"--store={url}"]):
        assert "hunter2" not in fleet.call(*verb).out


def test_a_terminal_shows_the_leader_the_epoch_and_the_states(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "sleep 1.5"}, {"id": "b", "run": "true"}])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("run", name, "--ttl", "1", "--workers", "1", "--run-id", "[/r]"),
        cwd=fleet.root, env={**fleet.environment(), "TERM": "xterm-256color"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    fleet.processes.append(process)
    os.close(theirs)
    shown = read_terminal(ours)
    assert process.wait(10) == 0, shown
    for word in ("run [/r]", "leader", "epoch", "lease renewed", "1 running", "1 success",
                 "workers", "1 live", "tasks/s", "2 of 2 succeeded"):  # fmt: skip
        assert word in shown, word


def read_terminal(ours: int) -> str:
    seen = b""
    try:
        while piece := os.read(ours, 65_536):
            seen += piece
    except OSError:  # the other side is closed
        os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


def test_the_logs_are_private(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "true"}])
    assert fleet.run(name, "--workers", "1").code == 0
    root = fleet.root / ".federlib/logs"
    files: list[Path] = [root, *root.rglob("*")]
    assert len(files) == 4
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_failed_tasks_that_are_to_be_tried_again_are_waited_for(fleet: Fleet) -> None:
    flow = fleet.write("w.json", [{"id": "a", "run": "test -e ready && sleep 3"}])
    assert fleet.run(flow, "--run-id", "r", "--workers", "1").code == 1
    (fleet.root / "ready").touch()

    async def ask(fed: Federation) -> None:
        await fed.dag.resume("r", retry_failed=True)

    fleet.ask(ask)
    done = fleet.run(flow, "--run-id", "r", "--workers", "1", "--report", "report.json")
    assert done.code == 0, done.out
    assert fleet.json("report.json")["state"] == "success"


def test_a_store_that_lives_in_one_process_is_refused(fleet: Fleet) -> None:
    flow = fleet.write("w.json", [{"id": "a", "run": "true"}])
    done = fleet.run(flow, "--store", "memory://")
    assert done.code == 2
    assert "several processes" in done.err
