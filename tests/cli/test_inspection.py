"""`federlib status`, `lease` and `commands`, from outside: what they print and how they exit."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal, cast

import anyio
import msgspec
import pytest

from federlib import Federation
from federlib.dag import TaskSpec, Workflow
from federlib.dag.records import WorkerRecord, encode
from federlib.fencing import Command
from federlib.lease import Busy
from federlib.storage import Put, Transaction
from fleet import Done, Fleet, command, until

Facts = dict[str, object]


def facts(done: Done) -> Facts:
    return msgspec.json.decode(done.out, type=Facts)


def rows(value: object) -> list[Facts]:
    return cast("list[Facts]", value)


async def make_store(fed: Federation) -> None:
    assert fed.store.store_id


# Status


def test_a_quiet_store_is_healthy(fleet: Fleet) -> None:
    fleet.ask(make_store)
    done = fleet.call("status", fleet.url)
    assert done.code == 0
    assert done.out.startswith("health  healthy\nstore ")
    told = facts(fleet.call("status", "--json"))
    assert set(told) == {
        "store", "store_id", "health", "problems", "leases", "runs", "commands", "hosts"
    }  # fmt: skip
    assert (told["health"], told["problems"], told["runs"]) == ("healthy", [], [])


def test_who_only_looks_makes_no_store(fleet: Fleet) -> None:
    done = fleet.call("status", "--json", "sqlite:///none/store.db")
    assert done.code == 3
    assert facts(done)["health"] == "cannot tell"
    for verb in (["status"], ["lease", "ls"], ["lease", "show", "x"], ["commands", "ls"],
                 ["commands", "show", "x"], ["workers"], ["workers", "--watch"],
                 ["lease", "release", "x", "--token", "1"]):  # fmt: skip
        done = fleet.call(*verb)
        assert (done.code, done.out) == (3, ""), verb
        assert "there is no such file" in done.err
    assert list(fleet.root.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"torn", os.urandom(8192), b"SQLite format 3\0" + b"x" * 9000]
)
def test_of_what_is_no_store_nothing_can_be_told(fleet: Fleet, content: bytes) -> None:
    path = fleet.root / "s.db"
    path.write_bytes(content)
    done = fleet.call("status", "sqlite:///s.db")
    assert done.code == 3
    assert done.err.startswith("cannot tell: ")
    assert "Traceback" not in done.err
    assert path.read_bytes() == content


def test_a_run_that_nobody_leads_and_a_failed_one_degrade_the_health(fleet: Fleet) -> None:
    async def submit(fed: Federation) -> None:
        await fed.dag.submit(Workflow("w", (TaskSpec(id="a", run="true"),)), run_id="[/idle]")

    fleet.ask(submit)
    name = fleet.write("w.json", [{"id": "a", "run": "false"}])
    assert fleet.run(name, "--run-id", "bad", "--workers", "1").code == 1
    done = fleet.call("status")
    assert done.code == 1
    assert "run '[/idle]': nobody leads it" in done.out
    assert "run 'bad': some tasks failed" in done.out
    runs = rows(facts(fleet.call("status", "--json"))["runs"])
    assert [(run["run_id"], run["state"]) for run in runs] == [
        ("[/idle]", "running"), ("bad", "failed")
    ]  # fmt: skip
    assert cast("dict[str, int]", runs[1]["tasks"])["failed"] == 1


def test_a_run_at_work_is_healthy_and_shows_who_leads(fleet: Fleet) -> None:
    name = fleet.write("w.json", [{"id": "a", "run": "until test -e go; do sleep 0.05; done"}])
    process = fleet.start("run", name, "--ttl", "5", "--run-id", "r", "--workers", "2")

    def working() -> Facts | None:
        done = fleet.call("status", fleet.url, "--json")
        (run,) = rows(facts(done)["runs"]) or [{}]
        is_led = run.get("workers") == 2 and run.get("leader")
        return {**run, "code": done.code} if is_led else None

    until((fleet.root / ".federlib/store.db").exists, what="the store")
    until(lambda: len(fleet.lines("out.log")) > 1, what="a leader")
    run = until(working, what="two workers")
    assert (run["code"], run["epoch"], run["state"]) == (0, 1, "running")
    (fleet.root / "go").touch()
    assert process.wait(20) == 0


def test_a_lease_that_ran_out_degrades_the_health(fleet: Fleet) -> None:
    taken = fleet.call("lease", "acquire", "nightly", "--holder", "me", "--ttl", "0.2")
    assert (taken.code, taken.out) == (0, "1\n")
    until(lambda: fleet.call("lease", "show", "nightly").code == 1, what="its end")
    done = fleet.call("status")
    assert done.code == 1
    assert "lease 'nightly' ran out and nobody took it" in done.out


def test_a_lease_record_that_cannot_be_read_is_unhealthy(fleet: Fleet) -> None:
    fleet.call("lease", "acquire", "torn", "--holder", "me", "--ttl", "60")

    async def tear(fed: Federation) -> None:
        (record,) = (await fed.store.scan("lease/torn/")).records
        await fed.store.commit(Transaction((Put(record.key, record.value[:9]),)))

    fleet.ask(tear)
    done = fleet.call("status")
    assert done.code == 2
    assert "lease/torn" in done.out
    shown = fleet.call("lease", "show", "torn")
    assert shown.code == 3
    assert "lease/torn" in shown.err


def test_a_run_that_is_led_but_has_no_workers_is_unhealthy(fleet: Fleet) -> None:
    async def lead_alone(fed: Federation) -> None:
        await fed.dag.submit(Workflow("w", (TaskSpec(id="a", run="true"),)), run_id="r")
        held = await fed.try_acquire("dag/r/leader", ttl_s=60)
        assert not isinstance(held, Busy)
        assert fleet.call("status").code == 2
        record = WorkerRecord(
            worker_id="h:0", incarnation=1, slots=1, token=1, pid=1, host="elsewhere"
        )
        await fed.store.commit(Transaction((Put("dag/r/worker/h:0", encode(record)),)))
        assert fleet.call("status").code == 0

    fleet.ask(lead_alone)


# Leases


def test_a_lease_in_a_store_that_ends_with_the_command_is_refused(fleet: Fleet) -> None:
    done = fleet.call("lease", "acquire", "a", "--holder", "me", "--store", "memory://")
    assert (done.code, done.out) == (2, "")
    assert "several processes" in done.err


def test_a_lease_is_acquired_shown_and_released_from_a_shell(fleet: Fleet) -> None:
    got = facts(fleet.call("lease", "acquire", "a/b", "--holder", "me", "--ttl", "60", "--json"))
    assert (got["acquired"], got["fencing_token"]) == (True, 1)
    assert cast("int", got["expires_at_ns"]) > time.time_ns()

    shown = facts(fleet.call("lease", "show", "a/b", "--json"))
    expected = {"name": "a/b", "state": "held", "holder": "me", "token": 1, "ttl_s": 60.0,
                "waiters": []}  # fmt: skip
    assert {key: shown[key] for key in expected} == expected
    assert 0 <= cast("float", shown["age_s"]) < 30

    busy = fleet.call("lease", "acquire", "a/b", "--holder", "you", "--ttl", "60")
    assert (busy.code, busy.out) == (1, "busy: held by me\n")
    wrong = fleet.call("lease", "release", "a/b", "--token", "7")
    assert (wrong.code, wrong.err) == (1, "not held under token 7; me holds it\n")
    assert fleet.call("lease", "show", "a/b").code == 0
    done = fleet.call("lease", "release", "a/b", "--token", "1")
    assert (done.code, done.out) == (0, "released a/b\n")
    again = fleet.call("lease", "release", "a/b", "--token", "1")
    assert (again.code, again.err) == (1, "not held under token 1\n")
    assert fleet.call("lease", "show", "a/b").code == 1
    assert fleet.call("lease", "acquire", "a/b", "--holder", "you", "--ttl", "60").out == "2\n"


def test_waiting_for_a_lease_ends_with_it_or_leaves_no_waiter(fleet: Fleet) -> None:
    fleet.call("lease", "acquire", "x", "--holder", "me", "--ttl", "60")
    options = ["lease", "acquire", "x", "--holder", "you", "--ttl", "60"]
    assert fleet.call(*options, "--wait", "0.3").code == 1
    assert facts(fleet.call("lease", "show", "x", "--json"))["waiters"] == []
    waiting = fleet.start(*options, "--wait", "20")
    until(lambda: facts(fleet.call("lease", "show", "x", "--json"))["waiters"], what="a waiter")
    fleet.call("lease", "release", "x", "--token", "1")
    assert waiting.wait(10) == 0
    assert fleet.text("out.log") == "2\n"


def test_any_name_will_do_for_a_lease(fleet: Fleet) -> None:
    names = ["[/x]", "..", "~floor", "a//b", "%", "漢字", "x\u202e"]
    for name in names:
        done = fleet.call("lease", "acquire", "--holder", "[red]me", "--ttl", "60", "--", name)
        assert (done.code, done.out) == (0, "1\n"), done.err
    listed = msgspec.json.decode(fleet.call("lease", "ls", "--json").out, type=list[Facts])
    assert sorted(str(lease["name"]) for lease in listed) == sorted(names)
    assert {(lease["holder"], lease["state"]) for lease in listed} == {("[red]me", "held")}
    table = fleet.call("lease", "ls").out
    assert table.count("[red]me") == len(names)
    assert "\u202e" not in table  # what would turn the rest of the line around
    assert fleet.call("status").code == 0


@pytest.mark.parametrize(
    "options",
    [
        ["acquire", "", "--holder", "me"],
        ["acquire", "x" * 10_000, "--holder", "me"],
        ["acquire", "a\nb", "--holder", "me"],
        ["acquire", "x", "--holder", ""],
        ["acquire", "x"],
        ["acquire", "x", "--holder", "me", "--ttl", "nan"],
        ["acquire", "x", "--holder", "me", "--wait", "-1"],
        ["release", "x", "--token", "one"],
        ["show", ""],
    ],
)
def test_a_wrong_lease_command_exits_with_2(fleet: Fleet, options: list[str]) -> None:
    fleet.ask(make_store)
    done = fleet.call("lease", *options)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


# Commands


async def issue_two(fed: Federation) -> str:
    async with fed.elect("fleet", ttl_s=5) as seat:
        async for state in seat.changes():
            if state.role == "leader":
                break
        first = await fed.commands.issue("[/scale]", {"n": 3}, gate=seat)
        await fed.commands.issue("drain", {}, gate=seat)
    return str(getattr(first, "command_id", ""))


async def apply_all(fed: Federation) -> None:
    async def apply(command: Command) -> Literal["applied"]:
        assert command.scope == "fleet"
        return "applied"

    async with anyio.create_task_group() as group:
        group.start_soon(fed.commands.consume, "fleet", apply)
        with anyio.fail_after(10):
            while (await fed.commands.counts()).get("applied") != 2:
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()


def test_commands_are_listed_and_shown(fleet: Fleet) -> None:
    command_id = fleet.ask(issue_two)
    assert command_id
    done = fleet.call("commands", "ls")
    assert done.code == 0
    assert "[/scale]" in done.out
    assert done.out.index("[/scale]") < done.out.index("drain")  # the newest last
    listed = msgspec.json.decode(fleet.call("commands", "ls", "--json").out, type=list[Facts])
    assert [entry["status"] for entry in listed] == ["pending", "pending"]
    assert listed[0]["command_id"] == command_id
    newest = msgspec.json.decode(
        fleet.call("commands", "ls", "--json", "--limit", "1").out, type=list[Facts]
    )
    assert newest == listed[1:]
    for nothing in (["--status", "applied"], ["--scope", "other"]):
        assert fleet.call("commands", "ls", "--json", *nothing).out == "[]\n"

    shown = facts(fleet.call("commands", "show", command_id, "--json"))
    issued = cast("Facts", shown["issued"])
    assert (issued["action"], issued["leader_epoch"]) == ("[/scale]", 1)
    assert "command_id" in fleet.call("commands", "show", command_id).out
    gone = fleet.call("commands", "show", "nothing")
    assert (gone.code, gone.err) == (1, "no command 'nothing'\n")
    assert facts(fleet.call("status", "--json"))["commands"] == {}
    fleet.ask(apply_all)
    assert facts(fleet.call("status", "--json"))["commands"] == {"applied": 2}
    applied = fleet.call("commands", "ls", "--status", "applied").out
    assert applied.count("applied") == 2


def test_a_reader_that_goes_away_is_no_traceback(fleet: Fleet, tmp_path: Path) -> None:
    fleet.ask(make_store)
    line = " ".join([*command("lease", "ls"), "2> err | true"])
    fleet.write("w.json", [{"id": "a", "run": line}])
    assert fleet.run("w.json", "--run-id", "r", "--workers", "1").code == 0
    assert "Traceback" not in fleet.text("err")


def test_an_emptied_store_is_refused_at_once_and_a_raised_floor_begins_anew(fleet: Fleet) -> None:
    flow = fleet.write("flow.json", [{"id": "a", "run": "true"}])
    assert fleet.run(flow, "--run-id", "r").code == 0
    for path in (fleet.root / ".federlib").glob("store.db*"):
        path.unlink()
    refused = fleet.run(flow, "--run-id", "r")
    assert refused.code == 3
    assert "raise-floor" in refused.err
    assert "starting it again" not in refused.out
    assert fleet.call("store", "raise-floor", "--to", "1000").code == 0
    assert fleet.run(flow, "--run-id", "r", "--report", "report.json").code == 0
    shown = msgspec.json.decode(
        fleet.call("lease", "show", "dag/r/leader", "--json").out, type=dict[str, object]
    )
    assert isinstance(shown["token"], int)
    assert shown["token"] > 1000


def test_two_scripts_under_one_name_exclude_each_other(fleet: Fleet) -> None:
    first = fleet.call("lease", "acquire", "a", "--holder", "script", "--ttl", "60")
    assert (first.code, first.out) == (0, "1\n")
    second = fleet.call("lease", "acquire", "a", "--holder", "script", "--ttl", "60")
    assert second.code == 1
    assert "busy" in second.out


def test_what_a_free_lease_has_not_is_a_dash(fleet: Fleet) -> None:
    fleet.ask(make_store)
    shown = fleet.call("lease", "show", "x").out.splitlines()
    assert {line.split()[0]: line.split()[1:] for line in shown} == {
        "name": ["x"], "state": ["free"], "token": ["0"],
        "holder": ["-"], "age_s": ["-"], "ttl_s": ["-"], "waiters": ["-"],
    }  # fmt: skip


def test_a_floor_that_is_higher_already_is_told(fleet: Fleet) -> None:
    for asked, told in (("1000", "1000"), ("5", "1000")):
        done = fleet.call("store", "raise-floor", "--to", asked)
        assert (done.code, done.out) == (0, f"every later token is higher than {told}\n")
