"""Real processes on real stores: what passes, what is found out, and that nothing is left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

import federlib
from federlib.testing.chaos.harness import run_real
from federlib.testing.chaos.judging import judge
from federlib.testing.chaos.objectives import objectives
from federlib.testing.chaos.plan import Plan, kills
from federlib.testing.chaos.targets import Target
from federlib.testing.sim import PRESETS, Schedule
from fleet import Done, Fleet, all_gone, descendants, until
from proof.mutants.hunt import MUTANTS, apply

TESTS = Path(__file__).resolve().parents[2]
KEYS = ["target", "seed", "slo", "faults", "histories_checked", "violations"]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a directory for federlib processes, where temporary files go too."""
    (tmp_path / "temporary").mkdir()
    with Fleet(tmp_path, env={"TMPDIR": str(tmp_path / "temporary")}).closing() as fleet:
        yield fleet


def result_of(done: Done) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(done.out, type=dict[str, object])
    assert list(found) == KEYS, done.out
    return found


def measured(result: dict[str, object]) -> dict[str, tuple[float, bool]]:
    slo = msgspec.convert(result["slo"], list[dict[str, float | str | bool]])
    assert all(list(one) == ["name", "limit", "measured", "pass"] for one in slo)
    return {str(one["name"]): (float(one["measured"]), bool(one["pass"])) for one in slo}


def carried_out(result: dict[str, object]) -> dict[str, int]:
    faults = msgspec.convert(result["faults"], dict[str, dict[str, int | str | None]])
    return {k: int(c["carried_out"] or 0) for k, c in faults.items() if c["carried_out"]}


def kept(fleet: Fleet) -> list[str]:
    return [path.name for path in (fleet.root / "temporary").iterdir()]


@pytest.mark.parametrize("target", ["sqlite", "file"])
def test_a_fleet_whose_leaders_are_killed_keeps_every_objective(target: str, fleet: Fleet) -> None:
    done = fleet.call(
        *("chaos", "--target", target, "--preset", "leader_kill", "--seconds", "4"),
        *("--seed", "7", "--json", "--report", "report"),
    )
    assert (done.code, done.err) == (0, "")
    result = result_of(done)
    assert (result["target"], result["seed"], result["violations"]) == (target, 7, 0)
    assert carried_out(result) == {"kill": 3}
    # Each kill begins another life, unless the run was over before.
    assert result["histories_checked"] in {5, 6, 7, 8}
    rto_s, is_within = measured(result)["failover_rto_s"]
    assert is_within
    assert rto_s > 0.2, "a killed leader leaves a gap"
    assert "passed" in fleet.text("report/report.html")
    assert kept(fleet) == []


@pytest.mark.anyio
async def test_the_harness_runs_on_either_event_loop(tmp_path: Path) -> None:
    told: list[str] = []
    plan = Plan(
        target="file", seed=1, seconds=2, schedule=kills(1, 2), processes=2, ttl_s=0.5,
        tolerance_s=0.2,
    )  # fmt: skip
    evidence = await run_real(plan, Target.at("file", None, tmp_path), tmp_path, told.append)
    assert judge(evidence).violations == ()
    assert all(one.passed for one in objectives(evidence))
    assert [strike.kind for strike in evidence.strikes] == ["kill"]
    assert len({note.epoch for note in evidence.notes if note.what == "leads"}) >= 2
    assert any("kill n" in line for line in told)


SCHEDULE = """
{"v": 1, "name": "all sorts", "faults": [
  {"at_ms": 300, "kind": "stop", "who": "leader", "for_ms": 1200},
  {"at_ms": 600, "kind": "lost_answers", "for_ms": 900, "amount": 200000},
  {"at_ms": 800, "kind": "slow", "who": "n1", "for_ms": 700, "amount": 5000},
  {"at_ms": 1800, "kind": "isolate", "who": "leader", "for_ms": 1200},
  {"at_ms": 2000, "kind": "reboot", "who": "n2", "for_ms": 500},
  {"at_ms": 2200, "kind": "clock_step", "who": "n3", "for_ms": 900, "amount": -30000},
  {"at_ms": 2300, "kind": "clock_freeze", "who": "n1", "for_ms": 600},
  {"at_ms": 3200, "kind": "store_full", "for_ms": 400},
  {"at_ms": 3700, "kind": "repeat", "for_ms": 800, "amount": 900000},
  {"at_ms": 3700, "kind": "replay"},
  {"at_ms": 3900, "kind": "kill", "who": "n3"}
]}
"""


def test_all_sorts_of_faults_are_carried_out_and_survived(fleet: Fleet) -> None:
    (fleet.root / "faults.json").write_text(SCHEDULE)
    done = fleet.call(
        *("chaos", "--target", "sqlite", "--schedule", "faults.json", "--seconds", "5"),
        *("--processes", "3", "--ttl", "0.8"),
    )
    assert done.code == 0, done.out + done.err
    for kind in ("stop", "slow", "isolate", "reboot", "clock_step", "store_full", "kill", "replay"):
        assert f"1 {kind}" in done.out, done.out
    assert "passed" in done.out
    assert kept(fleet) == []


@pytest.fixture
def broken(fleet: Fleet) -> Fleet:
    """Have the fleet's processes run a federlib whose fence calls no token stale."""
    copy = fleet.root / "copy"
    place = Path(federlib.__file__).parent
    shutil.copytree(place, copy / "federlib", ignore=shutil.ignore_patterns("__pycache__"))
    apply((MUTANTS / "epoch_check_dropped.diff").read_text(), copy)
    fleet.env |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return fleet


def test_a_fence_that_calls_nothing_stale_is_found_out(broken: Fleet) -> None:
    done = broken.call(
        *("chaos", "--target", "sqlite", "--preset", "stale_epoch_replay", "--seconds", "5"),
        *("--seed", "3", "--processes", "3", "--json", "--report", "report"),
    )
    assert done.code == 1, done.out + done.err
    result = result_of(done)
    assert result["violations"]
    count, is_within = measured(result)["split_brain_commands_accepted"]
    assert (count > 0, is_within) == (True, False)
    assert re.search(r"no_stale_epoch_is_accepted: \S+ was accepted after", done.err), done.err
    assert (
        "federlib chaos --target sqlite --preset stale_epoch_replay --seconds 5 --seed 3 "
        "--processes 3 --ttl 0.8"
    ) in done.err
    assert len(kept(broken)) == 1, "what it left is evidence"
    assert "failed" in broken.text("report/report.html")


def test_the_simulator_finds_it_too_and_tells_the_fewest_faults_that_do(broken: Fleet) -> None:
    done = broken.call(
        *("chaos", "--preset", "stale_epoch_replay", "--seconds", "8", "--seed", "0"),
        *("--seeds", "40", "--report", "report"),
    )
    assert done.code == 1, done.out + done.err
    assert "stale_epochs_are_refused" in done.out
    shrunk = done.out.partition("as --schedule FILE:\n")[2].partition("\n")[0]
    faults = msgspec.json.decode(shrunk, type=Schedule).faults
    assert 1 <= len(faults) < len(PRESETS["stale_epoch_replay"].faults)
    (broken.root / "faults.json").write_text(shrunk)
    replay = re.search(r"federlib (chaos .*--seed \d+ .*)", done.out)
    assert replay is not None
    words = replay[1].replace("--preset stale_epoch_replay", "--schedule faults.json").split()
    again = broken.call(*words)
    assert again.code == 1, "the fewest faults are enough"
    assert "The fewest faults that break it" in broken.text("report/report.html")


def started(fleet: Fleet) -> tuple[subprocess.Popen[bytes], set[int]]:
    """Start a long run, and wait until there is a leader."""
    process = fleet.start(
        "chaos",
        "--target",
        "sqlite",
        "--preset",
        "gc_pause",
        "--seconds",
        "600",
        "--processes",
        "3",
    )
    until(lambda: "leads" in fleet.text("out.log"), limit_s=60, what="a leader")
    family = descendants(process.pid)
    assert len(family) == 3
    return process, family


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_who_interrupts_it_leaves_no_process_and_no_file(how: signal.Signals, fleet: Fleet) -> None:
    process, family = started(fleet)
    process.send_signal(how)
    assert process.wait(20) == 130
    assert all_gone(family)
    assert kept(fleet) == []


def test_more_orders_than_a_pipe_holds_do_not_wait_for_a_stopped_process(fleet: Fleet) -> None:
    slow = [
        {"at_ms": 400 + number, "kind": "store_slow", "amount": 1, "for_ms": 1}
        for number in range(600)
    ]
    stop = {"at_ms": 200, "kind": "stop", "who": "n2", "for_ms": 1500}
    schedule = msgspec.json.encode({"v": 1, "faults": [stop, *slow]})
    (fleet.root / "faults.json").write_bytes(schedule)
    done = fleet.call(
        *("chaos", "--target", "sqlite", "--schedule", "faults.json", "--seconds", "3"),
        *("--processes", "2", "--json"),
    )
    assert (done.code, done.err) == (0, "")
    assert carried_out(result_of(done)) == {"stop": 1, "store_slow": 600}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped process stays stopped")
def test_a_killed_harness_takes_even_its_stopped_processes_with_it(fleet: Fleet) -> None:
    process, family = started(fleet)
    stopped = min(family)
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: psutil.Process(stopped).status() == psutil.STATUS_STOPPED, what="its stop")
    process.kill()
    process.wait(10)
    until(lambda: all_gone(family), what="their end")


@pytest.fixture
def wire(fleet: Fleet) -> Iterator[str]:
    """Install a driver for etcd:// that speaks to a small server of ours; give its URL."""
    driver = fleet.root / "driver" / "wire-0.dist-info"
    driver.mkdir(parents=True)
    (driver / "METADATA").write_text("Metadata-Version: 2.1\nName: wire\nVersion: 0\n")
    (driver / "entry_points.txt").write_text(
        "[federlib.stores]\netcd = testing.chaos.wire_store:open_store\n"
    )
    fleet.env["PYTHONPATH"] = os.pathsep.join([str(driver.parent), str(TESTS)])
    server = subprocess.Popen(
        [sys.executable, "-m", "testing.chaos.wire_store"],
        env=fleet.environment(),
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        yield f"etcd://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


NETWORK = """
{"v": 1, "faults": [
  {"at_ms": 300, "kind": "isolate", "who": "leader", "for_ms": 1500},
  {"at_ms": 2200, "kind": "store_down", "for_ms": 500},
  {"at_ms": 3000, "kind": "lost_answers", "for_ms": 700, "amount": 150000},
  {"at_ms": 3000, "kind": "delay", "for_ms": 700, "amount": 20},
  {"at_ms": 3500, "kind": "mute", "who": "leader", "for_ms": 1000},
  {"at_ms": 4000, "kind": "kill", "who": "follower", "for_ms": 300},
  {"at_ms": 4000, "kind": "store_full", "for_ms": 300}
]}
"""


def test_a_driver_for_a_server_is_enough_for_faults_of_its_network(fleet: Fleet, wire: str) -> None:
    (fleet.root / "faults.json").write_text(NETWORK)
    done = fleet.call(
        *("chaos", "--target", "etcd", "--url", wire, "--schedule", "faults.json"),
        *("--seconds", "5", "--processes", "3", "--ttl", "0.8", "--json", "--seed", "5"),
    )
    assert done.code == 0, done.out + done.err
    result = result_of(done)
    assert carried_out(result) == {
        "isolate": 1, "store_down": 1, "lost_answers": 1, "delay": 1, "mute": 1, "kill": 1
    }  # fmt: skip
    again = fleet.call(
        *("chaos", "--target", "etcd", "--url", wire, "--kills", "1", "--seconds", "2"),
        *("--processes", "2", "--ttl", "0.5"),
    )
    # What an earlier run has left is none of its business.
    assert again.code == 0, again.out + again.err
    faults = msgspec.convert(result["faults"], dict[str, dict[str, int | str | None]])
    assert "behind the proxy" in str(faults["store_full"]["not_applicable"])


@pytest.mark.parametrize(("target", "seconds"), [("postgres", 12), ("etcd", 16)])
def test_a_fleet_on_a_server_that_is_killed_now_and_then_passes(
    fleet: Fleet, target: str, seconds: int
) -> None:
    done = fleet.call(
        "chaos", "--target", target, "--preset", "leader_kill", "--seconds", str(seconds),
        "--seed", "5", "--json", timeout_s=180,
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    result = result_of(done)
    assert measured(result)["split_brain_commands_accepted"] == (0, True)
    assert carried_out(result)["kill"] >= 1
    assert kept(fleet) == []
