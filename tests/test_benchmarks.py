"""The benchmarks run, and say what they must. What they measure is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are not part of what is installed

from benchmarks import __main__ as program  # noqa: E402
from benchmarks import fsyncs, machine, table  # noqa: E402
from benchmarks.children import ChildError  # noqa: E402
from benchmarks.children import program as child  # noqa: E402
from benchmarks.locks import Witness  # noqa: E402
from benchmarks.table import Row, Traits  # noqa: E402
from benchmarks.talks import Talker  # noqa: E402

FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "value": (int, float, type(None)),
    "unit": str,
    "peer": str,
    "ratio": (int, float, type(None)),
    "bar": (int, float, type(None)),
    "pass": (bool, type(None)),
    "processes": int,
    "client": str,
    "batch": (int, type(None)),
    "fsync": str,
    "fsyncs_per_cycle": (int, float, type(None)),
    "evidence": str,
}
ROW = Row("a cycle", 12.5, "/s", "a peer", 0.5)


def run(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--results", str(results), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_quick_run_writes_rows_with_every_field(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = run(results, "--only", "lease", "--only", "fair")
    assert (done.returncode, "FAILED" in done.stdout) == (0, False), done.stdout + done.stderr
    rows = json.loads(results.read_text())
    assert {row["section"] for row in rows} == {"lease", "fair"}
    for row in rows:
        wrong = [name for name, kind in FIELDS.items() if not isinstance(row[name], kind)]
        assert wrong == [], row
        # A peer that is not there is in the table, and says so.
        assert row["value"] is not None or "not installed" in row["note"], row
    facts = json.loads((tmp_path / "results.machine.json").read_text())
    assert set(facts) == {"lease", "fair"}
    told = {"cpus", "kernel", "python", "sqlite", "load_before", "took_s", "quick", "failed"}
    assert all(told <= set(facts[section]) for section in facts)


def test_a_section_measured_again_replaces_its_rows_alone(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    for section, name in [("lease", "old"), ("fair", "kept"), ("lease", "new")]:
        row: dict[str, object] = {"name": name, "section": section}
        program.keep(results, section, [row], {"at": name})
    assert [row["name"] for row in json.loads(results.read_text())] == ["kept", "new"]
    facts = json.loads((tmp_path / "results.machine.json").read_text())
    assert facts == {"fair": {"at": "kept"}, "lease": {"at": "new"}}


@pytest.mark.parametrize(
    ("section", "measured"),
    [
        ("server_lease", "lease cycle, federlib, blocking, PostgreSQL"),
        ("contention", "one lease, federlib, blocking, etcd"),
        ("failover", "a waiter has the lease after the holder's kill -9, p99, etcd"),
        ("server_claims", "tasks of a run, claimed and settled, one by one"),
        ("end_to_end", "independent tasks of a run, end to end, PostgreSQL"),
        ("growth", "claim in a store of 10,000 records"),
    ],
)
def test_servers_are_measured_with_whatever_peers_there_are(
    section: str, measured: str, tmp_path: Path
) -> None:
    results = tmp_path / "results.json"
    done = run(results, "--only", section)
    assert (done.returncode, "FAILED" in done.stdout) == (0, False), done.stdout + done.stderr
    rows = json.loads(results.read_text())
    assert any(row["name"].startswith(measured) and row["value"] for row in rows)
    for row in rows:
        wrong = [name for name, kind in FIELDS.items() if not isinstance(row[name], kind)]
        assert wrong == [], row
        assert row["value"] is not None or "not installed" in row["note"], row
        assert row["fsync"] != "none", row
        assert "two at once: " not in row["note"], row


@pytest.mark.parametrize(
    ("text", "patience_s", "said"),
    [
        ("import sys; sys.exit('the disk is gone')", 30.0, "the disk is gone"),
        ("import time; time.sleep(60)", 0.5, r"it said nothing for 0\.5 s"),
    ],
)
def test_a_process_that_ends_or_hangs_is_told_with_its_last_words(
    text: str, patience_s: float, said: str
) -> None:
    with Talker([sys.executable, "-c", text]) as talker, pytest.raises(ChildError, match=said):
        talker.hear(patience_s)


def test_two_holders_at_once_are_seen_by_the_witness(tmp_path: Path) -> None:
    first, second = Witness(tmp_path), Witness(tmp_path)
    first()
    assert (first.overlaps, second.overlaps) == (0, 0)
    (tmp_path / "witness").touch()  # another holder is there
    second()
    assert second.overlaps == 1


def test_each_durable_lease_cycle_has_its_two_syncs(tmp_path: Path) -> None:
    found = fsyncs.count(child("cycles", "sqlite-async", tmp_path, 5), cycles=5)
    if not found.source.startswith("strace"):
        pytest.skip(f"nothing that counts each cycle's syncs: {found.source}")
    assert found.source == "strace of 5: at least 2 in each"


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (["getsid(0) = 1", "fsync(3) = 0", "getsid(0) = 1"], [1]),
        # A sync that another thread interrupts has two lines, and is one sync.
        (
            ["getsid(0) = 1", "fsync(3 <unfinished ...>", "<... fsync resumed>) = 0", "getsid("],
            [1],
        ),
        (["getsid(0) = 1", "fdatasync(3) = 0", "fsync(4) = 0", "getsid(0) = 1"], [2]),
        (["fsync(3) = 0", "getsid(0) = 1", "getsid(0) = 1"], [0]),
        ([], []),
    ],
)
def test_syncs_are_counted_between_marks(calls: list[str], said: list[int]) -> None:
    assert fsyncs.between_marks("\n".join(f"417  {call}" for call in calls)) == said


def test_a_run_without_any_counter_says_that_there_is_no_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no strace there
    found = fsyncs.count(child("cycles", "no such client", tmp_path, 5), cycles=5)
    assert found.per_cycle is None
    assert found.source.startswith("no evidence")


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        ({}, None),
        ({"bar": 0.4, "higher_is_better": True}, True),
        ({"bar": 0.6, "higher_is_better": True}, False),
        ({"bar": 0.6}, True),
        ({"bar": 0.4}, False),
        ({"bar": 10.0, "bar_on": "value", "higher_is_better": True}, True),
        ({"bar": 10.0, "bar_on": "value"}, False),
        ({"bar": 0.6, "ratio": None}, False),  # not measured is not met
    ],
)
def test_a_bar_is_about_the_ratio_or_the_value(
    changed: dict[str, Any], passes: bool | None
) -> None:
    assert attrs.evolve(ROW, **changed).passes is passes


def test_a_missed_bar_and_what_could_not_be_measured_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        attrs.evolve(ROW, bar=0.9, higher_is_better=True),
        attrs.evolve(ROW, name="b", value=None, ratio=None, bar=1.0, note="it failed: why"),
        attrs.evolve(ROW, traits=Traits(durable=True, fenced=False, ttl=True)),
    ]
    table.show(rows)
    table.show_bars(rows)
    said = capsys.readouterr().out
    assert "0 of 2 bars are met" in said
    assert "a cycle: 0.5, >= 0.9x: MISSED" in said
    assert "it failed: why" in said
    assert "durable: yes, fenced: no, TTL: yes" in said


def test_a_section_that_breaks_off_is_told_and_keeps_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*, quick: bool) -> object:
        yield ROW
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr("benchmarks.bench_lease.rows", broken)
    rows: list[Row] = []
    assert program.measure("lease", rows, quick=True) == "RuntimeError: the disk is gone"
    assert [(row.name, row.section) for row in rows] == [("a cycle", "lease")]


def test_a_busy_machine_is_told() -> None:
    told: dict[str, object] = {"cpus": 2, "load_before": [0.9, 0.5, 0.5]}
    assert machine.warning(told) is None
    said = machine.warning({**told, "load_before": [4.5, 0.5, 0.5]})
    assert said is not None
    assert "load 4.5 on 2 processors" in said


def test_written_rows_make_a_page() -> None:
    rows = [attrs.evolve(ROW, section="lease", traits=Traits(durable=True, fenced=True, ttl=True))]
    written = json.loads(json.dumps(table.as_json(rows)))
    page = table.markdown(written, {"lease": {"cpus": 2, "load_before": [4.5, 0.5, 0.5]}})
    assert "cpus: 2; load before: 4.5, 0.5, 0.5\n" in page
    assert "load 4.5 on 2 processors" in page
    assert "### Lease" in page
    assert "| a cycle | 1 | in-process | - | none | 12.5 /s | 0.5x | a peer |" in page
    assert "durable: yes, fenced: yes, TTL: yes" in page
