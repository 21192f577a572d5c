"""What the workers of a run did, and what its log says of it."""

from __future__ import annotations

import anyio

from federlib.dag import Handler, Policy, RunRecord, TaskRun
from federlib.dag.records import decode
from federlib.dag.transitions import Claimed, LogBatch
from federlib.federation import Federation
from federlib.storage.scanning import scan_all

from .world import LIMIT_S

__all__ = ["AT_ONCE", "DIAMONDS", "Work", "claims_by_life", "ended", "rob"]

AT_ONCE = Policy(backoff_s=0)

DIAMONDS = {
    **{f"top{n}": list[str]() for n in range(10)},
    **{f"left{n}": [f"top{n}"] for n in range(10)},
    **{f"right{n}": [f"top{n}"] for n in range(10)},
    **{f"end{n}": [f"left{n}", f"right{n}"] for n in range(10)},
}


class Work:
    """What the workers of a run did; each worker has a name, and may be held up."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str, int]] = []
        self.go = anyio.Event()

    def by(self, who: str, *, held: bool = False) -> Handler:
        async def do(task: TaskRun) -> object:
            self.ran.append((who, task.task_id, task.attempt))
            if held:
                await self.go.wait()
            return task.task_id

        return do


async def ended(fed: Federation, run: str) -> RunRecord:
    """Wait for the end of a run."""
    with anyio.fail_after(LIMIT_S):
        while True:
            record = await fed.dag.record(run)
            if record is not None and record.state != "running":
                return record
            await anyio.sleep(0.01)


async def claims_by_life(fed: Federation, run: str) -> list[int]:
    """Read from a run's log to which incarnation each claim was given, in order."""
    found: list[int] = []
    async for record in scan_all(fed.store, f"dag/{run}/log/"):
        batch = decode(LogBatch, record)
        found += [batch.workers[t.worker][1] for t in batch.t if isinstance(t, Claimed)]
    return found


async def rob(fed: Federation, name: str) -> None:
    """Take a lease from its holder, who does not hear of it for long: split brain."""
    with anyio.fail_after(LIMIT_S):
        while (held := (await fed.inspect(name)).lease) is None:
            await anyio.sleep(0.01)
    await fed.leases.release(held)
