"""Ten leaders die while one task runs: it runs once, and its result counts once.

Source: design §5, dag: adoption; taking over by itself raises no attempt.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from federlib import Federation
from federlib.dag import TaskSpec, Workflow
from fleet import Fleet, until

KILLS = 10
TTL_S = 0.5
TASK = "echo $FEDERLIB_ATTEMPT >> ledger; until test -e enough; do sleep 0.05; done"


async def submit(fed: Federation) -> None:
    await fed.dag.submit(Workflow("long", (TaskSpec(id="long", run=TASK),)), run_id="r")


async def leader_pid(fed: Federation) -> tuple[int, int] | None:
    """Return the epoch of the reign that has begun, and its leader's process."""
    lease, state = await fed.dag.leader("r"), await fed.dag.inspect("r")
    if lease.lease is None or not lease.is_live or state.epoch != lease.fencing_token:
        return None
    pids = {worker.worker_id: worker.pid for worker in await fed.dag.workers("r")}
    return state.epoch, pids.get(lease.lease.holder_id, 0)


async def hands_joined(fed: Federation) -> bool:
    return len(await fed.dag.workers("r")) == 1


def test_ten_leader_kills_under_one_long_task(fleet: Fleet) -> None:
    fleet.ask(submit)
    hands = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("hands.py")), fleet.url, "r", str(TTL_S)],
        cwd=fleet.root, env=fleet.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    fleet.processes.append(hands)
    until(lambda: fleet.ask(hands_joined), what="the worker that never leads")

    def lead() -> None:
        fleet.start("worker", "--run-id", "r", "--ttl", str(TTL_S), "--slots", "1")

    # The task goes to whoever has most room, which is not one of these.
    for _ in range(3):
        lead()
    until(lambda: fleet.lines("ledger"), what="the task")
    epochs: list[int] = []
    while len(epochs) < KILLS:
        seen = until(lambda: fleet.ask(leader_pid), what="a leader")
        if seen[0] in epochs or not seen[1] or not psutil.pid_exists(seen[1]):
            continue
        assert seen[1] != hands.pid
        (victim,) = [process for process in fleet.processes if process.pid == seen[1]]
        if victim.poll() is None:
            victim.kill()
            victim.wait(5)
            epochs.append(seen[0])
            lead()
    until(lambda: (fleet.ask(leader_pid) or (0, 0))[0] > epochs[-1], what="the last failover")
    (fleet.root / "enough").touch()
    out, _ = hands.communicate(timeout=20)
    assert out == b"success\n"

    history = fleet.history("r")
    assert fleet.lines("ledger") == ["1"]
    assert history.accepted == [("long", 1)]
    assert history.lost == []
    assert history.stale == []
    assert history.state.total_attempts == 1
    assert history.state.adopted >= KILLS
    assert epochs == sorted(set(epochs))
