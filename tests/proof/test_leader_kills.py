"""A recorded workflow survives the death of its leader, whenever that comes.

Source: design §5, dag: claim contract, adoption; §4: failover within ttl + 0.5 s.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import cast

import pytest

from data_sets import workflow_file
from federlib.dag import load_workflow
from fleet import Fleet

SEEDS = range(300 if os.environ.get("FEDERLIB_SOAK") else 5)
TTL_S = 1.0
LENGTH_S = 2.5
DATA_SETS = ("srasearch-50a", "nfcore-atacseq")


def as_shell_tasks(name: str) -> list[dict[str, object]]:
    """Each task tells the ledger that it begins, then takes its recorded time, scaled."""
    recorded = load_workflow(workflow_file(name), time_scale=1.0)
    scale = LENGTH_S / recorded.critical_path_s()
    begin = 'echo "$FEDERLIB_TASK_ID $FEDERLIB_ATTEMPT" >> ledger'
    return [
        {
            "id": task.id,
            "needs": list(task.needs),
            "run": f"{begin}; exec sleep {(task.sleep_s or 0) * scale:.3f}",
        }
        for task in recorded.tasks
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_task_succeeds_once_although_the_leader_is_killed(fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    tasks = as_shell_tasks(DATA_SETS[seed % len(DATA_SETS)])
    at_s = chance.uniform(0.0, 0.8 * LENGTH_S)
    done = fleet.run(
        fleet.write("workflow.json", tasks),
        *("--run-id", "r", "--workers", "3", "--slots", "16", "--report", "report.json"),
        *("--effects", "effects", "--chaos", f"kill-leader@{at_s:.3f}s"),
    )  # fmt: skip
    told = f"seed {seed}, kill at {at_s:.3f} s\n{done.out}{done.err}"
    assert done.code == 0, told

    report = fleet.json("report.json")
    assert report["tasks"] == {
        "total": len(tasks), "success": len(tasks), "failed": 0, "blocked": 0
    }, told  # fmt: skip
    failovers = cast("list[dict[str, float]]", report["failovers"])
    assert len(failovers) == 1, told
    assert failovers[0]["rto_s"] <= TTL_S + 0.5, told

    history = fleet.history("r")
    assert history.stale == [], told
    assert Counter(task for task, _ in history.accepted) == {str(t["id"]): 1 for t in tasks}
    assert fleet.lines("effects") == [
        f"{history.state.plan.ids[node]} {attempt} {epoch}"
        for node, attempt, epoch in history.state.accepted()
    ]
    # All that was lost was lost with the one worker that we killed.
    killed = history.leaders[int(failovers[0]["from_epoch"])]
    assert len({owner for _, owner in history.lost}) <= 1, told
    assert {worker for _, (worker, _) in history.lost} <= {killed}, told
    lost = Counter(task for task, _ in history.lost)
    begun = Counter(line.split()[0] for line in fleet.lines("ledger"))
    again = {task: count - 1 for task, count in begun.items() if count - 1 > lost[task]}
    assert again == {}, told
