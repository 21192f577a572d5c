"""The largest graph that is shared: 63,337 tasks, a hub of 21,788 children."""

from __future__ import annotations

from data_sets import workflow_file
from fleet import Fleet

TASKS = 63_337


def test_the_debian_graph_runs_to_its_end_although_its_leader_is_killed(fleet: Fleet) -> None:
    file = workflow_file("debian12-install")
    done = fleet.call(
        "run", str(file), "--time-scale", "0", "--workers", "2", "--ttl", "2", "--run-id", "debian",
        "--chaos", "kill-leader@3s", "--report", "report.json", "--effects", "effects.txt",
        timeout_s=240,
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    report = fleet.json("report.json")
    assert report["accepted_results"] == TASKS
    assert report["epochs"] == 2
    accepted = [line.split()[0] for line in fleet.lines("effects.txt")]
    assert len(accepted) == len(set(accepted)) == TASKS
