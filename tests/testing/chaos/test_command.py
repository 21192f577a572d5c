"""`federlib chaos` as people call it, on the simulator, and its mistakes of usage."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fleet import Done, Fleet, until


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a directory for federlib processes, where temporary files go too."""
    (tmp_path / "temporary").mkdir()
    with Fleet(tmp_path, env={"TMPDIR": str(tmp_path / "temporary")}).closing() as fleet:
        yield fleet


def simulate(fleet: Fleet, *options: str) -> Done:
    return fleet.call("chaos", "--seed", "7", "--seconds", "10", *options)


def test_the_simulator_gives_one_object_with_just_these_fields(fleet: Fleet) -> None:
    done = simulate(fleet, "--seeds", "3", "--json")
    assert (done.code, done.err) == (0, "")
    result = msgspec.json.decode(done.out, type=dict[str, object])
    assert list(result) == ["target", "seed", "slo", "faults", "histories_checked", "violations"]
    assert (result["target"], result["seed"]) == ("sim", 7)
    assert (result["histories_checked"], result["violations"]) == (3, 0)
    assert [list(one) for one in msgspec.convert(result["slo"], list[dict[str, object]])] == [
        ["name", "limit", "measured", "pass"]
    ] * 3


def test_a_server_named_in_the_environment_is_for_targets_that_have_one(fleet: Fleet) -> None:
    fleet.env["FEDERLIB_CHAOS_URL"] = "etcd://u:geheim@h:99999"
    assert simulate(fleet, "--json").code == 0
    done = fleet.call("chaos", "--target", "etcd")
    assert done.code == 2
    assert "etcd://host:port" in done.err
    assert "geheim" not in done.out + done.err


def test_the_same_seed_gives_the_same_report(fleet: Fleet) -> None:
    first = simulate(fleet, "--json", "--preset", "flapping", "--report", "a")
    assert first.out == simulate(fleet, "--json", "--preset", "flapping", "--report", "b").out
    assert fleet.text("a/report.html") == fleet.text("b/report.html")
    assert "Chaos in the simulator, 1 seed" in fleet.text("a/report.html")


def test_people_are_told_the_verdict_and_the_seed(fleet: Fleet) -> None:
    done = simulate(fleet)
    assert done.code == 0
    assert "chaos on sim, seed 7" in done.out
    assert "passed  seed 7" in done.out
    for name in ("Failover", "Split brain", "Duplicates", "Invariants"):
        assert name in done.out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--preset", "nonsense"], "one of leader_kill"),
        (["--target", "etcd", "--url", "postgresql://u:geheim@h/f"], "etcd://host:port"),
        (["--target", "postgres", "--url", "postgresql://u:geheim@h:x/f"], "postgresql://host"),
        (["--seconds", "nan"], "--seconds"),
    ],
)
def test_a_mistake_of_usage_is_told_in_a_line(fleet: Fleet, options: list[str], why: str) -> None:
    done = fleet.call("chaos", *options)
    assert done.code == 2, done.out + done.err
    assert why in done.err
    assert "Traceback" not in done.err
    assert "geheim" not in done.out + done.err
    assert list((fleet.root / "temporary").iterdir()) == []


def test_a_report_never_overwrites_what_is_not_of_ours(fleet: Fleet) -> None:
    (fleet.root / "report.html").write_text("mine")
    done = simulate(fleet, "--report", ".")
    assert done.code == 2
    assert "an earlier report" in done.err
    assert fleet.text("report.html") == "mine"


@pytest.mark.parametrize("option", ["--report", "--schedule"])
def test_a_path_that_is_empty_is_not_the_present_directory(fleet: Fleet, option: str) -> None:
    before = sorted(fleet.root.iterdir())
    done = simulate(fleet, option, "")
    assert done.code == 2
    assert f"'{option}': expected a path, found an empty text." in done.err
    assert sorted(fleet.root.iterdir()) == before


def test_the_verdict_is_told_where_the_report_cannot_be_written(fleet: Fleet) -> None:
    earlier = fleet.root / "report"
    (earlier / "history.jsonl").mkdir(parents=True)
    (earlier / "report.json").write_text('{"made_by": "federlib chaos"}')
    done = simulate(fleet, "--report", "report", "--json")
    assert done.code == 3, done.out + done.err
    assert "history.jsonl" in done.err
    assert msgspec.json.decode(done.out, type=dict[str, object])["violations"] == 0


def test_an_output_that_cannot_spell_everything_is_no_failure(fleet: Fleet) -> None:
    fleet.env["PYTHONIOENCODING"] = "ascii"
    done = simulate(fleet)
    assert done.code == 0, done.err
    assert "passed  seed 7" in done.out


def test_faults_for_somebody_who_is_not_there_are_a_mistake_of_usage(fleet: Fleet) -> None:
    (fleet.root / "faults.json").write_text(
        '{"v": 1, "faults": [{"at_ms": 1, "kind": "kill", "who": "n9"}]}'
    )
    done = fleet.call(
        "chaos", "--target", "sqlite", "--schedule", "faults.json", "--processes", "2"
    )
    assert done.code == 2, done.out + done.err
    assert "n9" in done.err
    assert list((fleet.root / "temporary").iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_the_simulator_ends_after_the_present_seed_when_it_is_interrupted(
    how: signal.Signals, fleet: Fleet
) -> None:
    process = fleet.start("chaos", "--seconds", "1", "--seeds", "1000000")
    until(lambda: "chaos on sim" in fleet.text("out.log"), limit_s=60, what="its beginning")
    process.send_signal(how)
    assert process.wait(30) == 130


def test_faults_that_were_asked_for_must_come_about_and_drawn_ones_need_not(fleet: Fleet) -> None:
    drawn = fleet.call("chaos", "--seed", "1", "--seconds", "10", "--ttl", "2", "--json")
    counts = msgspec.json.decode(drawn.out)["faults"]
    missed = [kind for kind, n in counts.items() if n["planned"] and not n["carried_out"]]
    assert (drawn.code, bool(missed)) == (0, True), "a seed in which a fault finds nobody"
    (fleet.root / "faults.json").write_text(
        '{"v": 1, "faults": [{"at_ms": 0, "kind": "kill", "who": "leader", "for_ms": 5}]}'
    )
    assert simulate(fleet, "--schedule", "faults.json").code == 4
