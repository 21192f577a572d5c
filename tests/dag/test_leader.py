"""Leaders that meet each other at the end of a run."""

from __future__ import annotations

import anyio
import pytest

from federlib._tasks import open_task_group
from federlib.dag.leader import RunLeader
from federlib.dag.plan import split_plan
from federlib.dag.records import AskRecord, encode
from federlib.dag.runlog import RunLog
from federlib.lease import StoreLeaseBackend
from federlib.skewclock import SkewTolerance, SystemClock
from federlib.storage import Page, Put, RecordStore, Transaction
from federlib.storage.backends.memory import MemoryStore

from .run_lab import CHAIN, run_record, workflow

pytestmark = pytest.mark.anyio


def leader(store: RecordStore, name: str) -> RunLeader:
    clock = SystemClock()
    return RunLeader(
        log=RunLog(store, "r"),
        leases=StoreLeaseBackend(store, clock, SkewTolerance()),
        leader_id=name,
        clock=clock,
        jitter=lambda: 0.5,
        inspect_s=60,
    )


async def ask(store: RecordStore, verb: AskRecord, name: str) -> None:
    key = RunLog(store, "r").keys.ask(name)
    await store.commit(Transaction((Put(key, encode(verb)),)))


async def lead_until(leads: RunLeader, epoch: int, outcome: str) -> None:
    """Lead until the run's record says so, and vanish."""
    async with open_task_group() as group:
        group.start_soon(leads.lead, epoch, lambda: None)
        while (await leads.log.require_run()).state != outcome:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


class Slow(MemoryStore):
    """Lets another leader answer what is asked, before it says what is asked."""

    is_slow = False

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        if self.is_slow and prefix == RunLog(self, "r").keys.asks:
            self.is_slow = False
            await lead_until(leader(self, "old"), 2, "running")
        return await super().scan(prefix, after=after, limit=limit)


async def test_a_leader_that_finds_a_run_ended_leads_it_if_it_was_resumed_meanwhile() -> None:
    """Found by the simulator: it went, and kept the lease of a run that then nobody led."""
    store = Slow(SystemClock())
    chunks = split_plan(workflow(CHAIN))
    assert await RunLog(store, "r").submit(run_record(len(CHAIN), len(chunks)), chunks)
    await ask(store, AskRecord(verb="cancel", by="", at_ns=1), "1")
    assert await leader(store, "first").lead(1, lambda: None) == "cancelled"
    await ask(store, AskRecord(verb="resume", by="", at_ns=2), "2")
    store.is_slow = True
    with anyio.fail_after(10):
        async with open_task_group() as group:
            new = leader(store, "new")
            group.start_soon(new.lead, 3, lambda: None)
            while (found := await new.log.epoch()) is None or found[0].epoch < 3:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    state, _ = await new.log.fold()
    assert (state.epoch, state.outcome) == (3, "running")
