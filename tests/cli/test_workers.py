"""`federlib workers`, from outside: who is there, how they stand, and what comes of it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from typing import cast

import msgspec
import pytest

from federlib import Federation
from federlib.registry import MemberRecord
from federlib.registry.records import encode_member, member_key
from federlib.storage import Put, Transaction
from fleet import Done, Fleet, command, until
from registry.worlds import HOST, OTHER_HOST, record

Facts = dict[str, object]
NAP: list[dict[str, object]] = [{"id": "a", "run": "until test -e go; do sleep 0.05; done"}]


def facts(done: Done) -> Facts:
    return msgspec.json.decode(done.out, type=Facts)


def workers(fleet: Fleet) -> list[Facts]:
    return cast("list[Facts]", facts(fleet.call("workers", "--json"))["workers"])


def put(fleet: Fleet, *records: MemberRecord) -> None:
    """Write members as live ones of this machine would stand there, now."""

    async def write(fed: Federation) -> None:
        for member in records:
            fresh = msgspec.structs.replace(
                member,
                clock_id=fed.clock.clock_id,
                boot_ns=fed.clock.boot_ns() - 1_000_000_000,
                last_seen=fed.clock.wall_ns() - 1_000_000_000,
            )
            writes = (Put(member_key(member.worker_id), encode_member(fresh)),)
            await fed.store.commit(Transaction(writes))

    fleet.ask(write)


def break_record(fleet: Fleet) -> None:
    async def write(fed: Federation) -> None:
        await fed.store.commit(Transaction((Put(f"registry/{HOST}:66", b"\x1b[2J"),)))

    fleet.ask(write)


HOUR_MS = 3_600_000
LIVE = record(0, ttl_ms=HOUR_MS, labels={"run": "[/tuesday]"})
GATE = record(10, ttl_ms=HOUR_MS, kind="gate", slots=0, load=0.0)
LEFT = record(1, ttl_ms=HOUR_MS, left_at_ns=1)
EXPIRED = record(2, OTHER_HOST, ttl_ms=1)


def test_nobody_is_there_and_that_is_healthy(fleet: Fleet) -> None:
    put(fleet)
    done = fleet.call("workers")
    assert (done.code, done.out) == (0, "health  healthy\nnobody has joined\n")


@pytest.mark.parametrize(
    ("members", "code", "word"),
    [
        ([LIVE, LEFT], 0, "healthy"),
        ([LEFT], 0, "healthy"),
        ([LIVE, EXPIRED], 1, "degraded"),
        ([EXPIRED, LEFT], 2, "unhealthy"),
    ],
)
def test_the_exit_code_says_how_things_stand(
    fleet: Fleet, members: list[MemberRecord], code: int, word: str
) -> None:
    put(fleet, *members)
    done = fleet.call("workers", "--json")
    assert (done.code, facts(done)["health"]) == (code, word)
    assert fleet.call("workers").out.startswith(f"health  {word}\n")


def test_a_record_that_cannot_be_read_is_told_and_hides_nobody(fleet: Fleet) -> None:
    put(fleet, LIVE)
    break_record(fleet)
    done = fleet.call("workers")
    assert done.code == 2
    assert f"registry/{HOST}:66: expected" in done.out
    assert "\x1b" not in done.out
    assert "550e8400:0" in done.out
    told = facts(fleet.call("workers", "--json"))
    assert len(cast("list[str]", told["problems"])) == 1


def test_the_table_shows_every_worker_and_every_host(fleet: Fleet) -> None:
    put(fleet, LIVE, GATE, LEFT, EXPIRED)
    lines = fleet.call("workers").out.splitlines()
    rows = {line.split()[1]: line for line in lines if line.startswith("│")}
    assert list(rows) == ["550e8400:0", "550e8400:1", "550e8400:10", "650e8400:2",
                          "550e8400", "650e8400"]  # fmt: skip
    assert [
        part for part in (" live ", " 1/4 ", " run=[/tuesday] ") if part in rows["550e8400:0"]
    ] == [" live ", " 1/4 ", " run=[/tuesday] "]
    assert " left " in rows["550e8400:1"]
    assert " gate " in rows["550e8400:10"]
    assert " expired " in rows["650e8400:2"]
    assert rows["550e8400"].split("│")[2:7] == [
        " box  ", "    2 ", "       0 ", "    1 ", "  1/4 "
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_its_terminal(fleet: Fleet, columns: int) -> None:
    fleet.env["COLUMNS"] = str(columns)
    put(fleet, LIVE, GATE, LEFT, EXPIRED)
    out = fleet.call("workers").out
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out  # labels may be folded, nothing is cut off
    assert columns == 80 or "run=[/tuesday]" in out


def test_hosts_whose_ids_begin_alike_are_told_apart(fleet: Fleet) -> None:
    put(fleet, LIVE, record(0, HOST[:-1] + "f"))
    out = fleet.call("workers").out
    assert f"{HOST}:0" in out
    assert f"{HOST[:-1]}f:0" in out


def test_json_holds_all_that_is_known(fleet: Fleet) -> None:
    put(fleet, LIVE, EXPIRED)
    told = facts(fleet.call("workers", "--json"))
    assert set(told) == {"store", "health", "problems", "workers", "hosts"}
    (live, expired), hosts = workers(fleet), cast("list[Facts]", told["hosts"])
    assert set(live) == {
        "worker_id", "host_id", "hostname", "kind", "state", "incarnation", "age_s", "gone_s",
        "slots", "load", "labels", "pid", "version", "started_at_ns", "last_seen", "ttl_s",
    }  # fmt: skip
    assert (live["worker_id"], live["state"], live["gone_s"]) == (f"{HOST}:0", "live", 0)
    assert (live["labels"], live["ttl_s"]) == ({"run": "[/tuesday]"}, 3_600)
    assert expired["state"] == "expired"
    assert cast("float", expired["gone_s"]) > 0.9
    assert [(host["host_id"], host["live"], host["expired"]) for host in hosts] == [
        (HOST, 1, 0), (OTHER_HOST, 0, 1)
    ]  # fmt: skip


def test_a_kind_can_be_asked_for(fleet: Fleet) -> None:
    put(fleet, LIVE, GATE, EXPIRED)
    done = fleet.call("workers", "--kind", "gate", "--json")
    assert done.code == 0
    assert [line["kind"] for line in cast("list[Facts]", facts(done)["workers"])] == ["gate"]


def test_who_is_gone_can_be_removed(fleet: Fleet) -> None:
    put(fleet, LIVE, LEFT, EXPIRED)
    assert fleet.call("workers", "--collect", "3600").code == 1
    assert len(workers(fleet)) == 3
    assert fleet.call("workers", "--collect", "0").code == 0
    assert [line["worker_id"] for line in workers(fleet)] == [f"{HOST}:0"]
    for wrong in (["--collect", "-1"], ["--collect", "nan"], ["--watch", "--collect", "1"]):
        done = fleet.call("workers", *wrong)
        assert (done.code, done.out) == (2, ""), wrong


def test_a_name_of_other_people_cannot_command_the_terminal(fleet: Fleet) -> None:
    evil = msgspec.structs.replace(
        LIVE, kind="\x1b[2Jk", hostname="[red]\x1b]0;x\x07", labels={"a": "\x1b[1m[/]"}
    )
    put(fleet, evil)
    done = fleet.call("workers")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "[red]" in done.out
    assert "[/]" in done.out


def test_status_sums_the_workers_of_each_host(fleet: Fleet) -> None:
    put(fleet, LIVE, GATE, LEFT)
    (host,) = cast("list[Facts]", facts(fleet.call("status", "--json"))["hosts"])
    assert (host["host_id"], host["live"], host["left"], host["slots"]) == (HOST, 2, 1, 4)
    assert "550e8400" in fleet.call("status").out


# The workers of a run


def test_the_workers_of_a_run_are_there_while_it_runs_and_say_goodbye(fleet: Fleet) -> None:
    name = fleet.write("w.json", NAP)
    process = fleet.start("run", name, "--ttl", "5", "--run-id", "r", "--workers", "2",
                          "--slots", "3")  # fmt: skip
    until(lambda: [1 for line in workers_or_none(fleet) if line["load"] == 1])
    told = workers(fleet)
    assert [(line["kind"], line["state"], line["slots"]) for line in told] == [
        ("worker", "live", 3)
    ] * 2
    assert [line["labels"] for line in told] == [{"run": "r"}] * 2
    assert sorted(cast("float", line["load"]) for line in told) == [0, 1]
    (fleet.root / "go").touch()
    assert process.wait(30) == 0
    assert [line["state"] for line in workers(fleet)] == ["left"] * 2
    assert fleet.call("workers").code == 0


def workers_or_none(fleet: Fleet) -> list[Facts]:
    done = fleet.call("workers", "--json")
    return cast("list[Facts]", facts(done).get("workers", [])) if done.out else []


def test_a_worker_that_is_stopped_is_expired_and_comes_back(fleet: Fleet) -> None:
    name = fleet.write("w.json", NAP)
    process = fleet.start("run", name, "--ttl", "1", "--run-id", "r", "--workers", "2")
    until(lambda: len(workers_or_none(fleet)) == 2)
    pid = cast("int", workers(fleet)[0]["pid"])
    os.kill(pid, signal.SIGSTOP)
    until(lambda: fleet.call("workers").code == 1)
    assert [line["state"] for line in workers(fleet)] == ["expired", "live"]
    os.kill(pid, signal.SIGCONT)
    until(lambda: fleet.call("workers").code == 0)
    (fleet.root / "go").touch()
    assert process.wait(30) == 0


def test_who_joins_no_run_does_not_join_the_registry(fleet: Fleet) -> None:
    fleet.run(fleet.write("w.json", []), "--workers", "1")
    fleet.call("workers", "--collect", "0")
    assert fleet.call("worker", "--run-id", "none").code == 2
    assert workers(fleet) == []


# Watching


def test_watching_in_a_pipe_writes_a_line_a_change(fleet: Fleet) -> None:
    put(fleet, LIVE, EXPIRED)
    process = fleet.start("workers", "--watch", log="plain.log")
    lines = fleet.start("workers", "--watch", "--json", "--kind", "gate", log="json.log")
    until(lambda: len(fleet.lines("plain.log")) == 2)
    assert sorted(fleet.lines("plain.log")) == [
        f"{HOST}:0 live: worker on box, incarnation 1, load 1/4, run=[/tuesday]",
        f"{OTHER_HOST}:2 expired: worker on box, incarnation 1",
    ]
    put(fleet, GATE)
    put(fleet, msgspec.structs.replace(LIVE, left_at_ns=1))
    until(lambda: len(fleet.lines("plain.log")) == 4)
    assert fleet.lines("plain.log")[2:] == [
        f"{HOST}:10 live: gate on box, incarnation 1, load 0/0",
        f"{HOST}:0 left (was live): worker on box, incarnation 1, run=[/tuesday]",
    ]
    change = msgspec.json.decode(until(lambda: fleet.text("json.log")), type=Facts)
    assert change["before"] is None
    assert cast("Facts", change["after"])["worker_id"] == f"{HOST}:10"
    for each in (process, lines):
        each.send_signal(signal.SIGINT)
        assert each.wait(20) == 130


def test_watching_on_a_terminal_shows_the_table(fleet: Fleet) -> None:
    put(fleet, LIVE)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("workers", "--watch"),
        cwd=fleet.root,
        env={**fleet.environment(), "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    fleet.processes.append(process)
    os.close(theirs)
    shown = b""
    while b"oldest seen" not in shown or shown.count(b"550e8400:0") < 2:
        shown += os.read(ours, 65_536)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    os.close(ours)
