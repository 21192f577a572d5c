"""The public API as its users type it: checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Literal

import anyio

import federlib
import federlib.blocking
from federlib.dag import RunRecord, RunState, TaskRun
from federlib.errors import Fenced, LeaseBusy, Unavailable
from federlib.fencing import Command, Outcome
from federlib.lease import Busy, HeldLease, LeasePolicy
from federlib.registry import HostSummary, Member
from federlib.skewclock import HlcTimestamp, hlc_text, read_clock
from federlib.storage import Absent, Committed, Conflicted, Put, Record, WatchItem

data = b"report"


async def upload(content: bytes, *, fence: int) -> None:
    """Stand in for a resource that compares tokens."""


async def do_task(task: TaskRun) -> object:
    """Stand in for real work."""
    return {"task": task.task_id, "key": task.idempotency_key, "inputs": task.inputs}


async def main() -> None:
    """The program of the README."""
    async with federlib.connect("sqlite:///fleet.db") as fed:        # FEDERLIB_STORE if omitted
        async with fed.hold("nightly-report", ttl_s=15) as lease:
            await upload(data, fence=lease.token)                     # the store refuses an older token

        async with fed.elect("coordinator") as seat:                  # observer while the store is away
            async for state in seat.changes():
                if state.role == "leader":
                    result = await fed.commands.issue("scale", {"n": 3}, gate=seat)
                    settled: Command | Outcome = result
                    del settled
                    break

        run = await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r1")
        await fed.dag.work(run, handler=do_task)                      # leads or works, until the run ends


async def more() -> None:
    """The rest of the members, with their types."""
    policy = LeasePolicy(tries=1, attempt_share=0.5, acquire_share=0.3)
    async with federlib.connect(
        ttl_s=5, skew_tolerance_s=1, leases="etcd://a,b,c", policy=policy
    ) as fed:
        got: HeldLease | Busy = await fed.try_acquire("x", policy=policy)
        if isinstance(got, Busy):
            holder: str | None = got.holder
            print(holder, got.expires)
        else:
            async with got as lease:
                lease.check()
                token: int = lease.token
                done: Committed | Conflicted = await fed.guard("x").transaction(
                    token, (Put("x/1", b"1"),), (Absent("x/1"),)
                )
                print(done)
        ended: RunRecord = await fed.dag.work("r1", do_task, slots=2)
        state: RunState = await fed.dag.inspect("r1")
        counts: dict[str, int] = state.counts()
        print(ended.state, counts, (await fed.identity()).worker_id, fed.clock.wall_ns())
        stamp: HlcTimestamp = fed.hlc.observe(fed.hlc.now())
        print(hlc_text(stamp), read_clock(fed.hlc).hlc_logical)


async def registry() -> None:
    """Who is there."""
    async with federlib.connect() as fed, fed.registry.join(slots=8, labels={"a": "b"}) as me:
        me.report(load=0.5)
        members: list[Member] = await fed.registry.members(kind="worker", state=None)
        hosts: dict[str, HostSummary] = await fed.registry.by_host()
        print(me.worker_id, [(m.state, m.record.labels) for m in members], hosts)
        async with fed.registry.watch() as changes:
            async for change in changes:
                before: Member | None = change.before
                print(before, change.member.age_s)
                break
        removed: int = await fed.registry.collect()
        print(removed, (await fed.registry.inspect()).problems)


def upload_now(content: bytes, *, fence: int) -> None:
    """Stand in for a resource that compares tokens."""


def do_task_now(task: TaskRun) -> object:
    """Stand in for real work."""
    return task.task_id


def act(command: Command) -> Literal["applied"]:
    """Stand in for an actuator."""
    return "applied"


def blocking() -> None:
    """The same verbs, for threads."""
    with federlib.blocking.connect("sqlite:///fleet.db", leases="file:///leases") as fed:
        with fed.hold("nightly-report", ttl_s=15, wait_s=5) as lease:
            lease.check()
            upload_now(data, fence=lease.token)
        got: federlib.blocking.HeldLease | Busy = fed.try_acquire("x")
        if isinstance(got, Busy):
            print(got.holder)
        else:
            with got as held:
                lost: bool = held.lost
                print(lost, held.remaining_s())
        with fed.elect("coordinator") as seat:
            for state in seat.changes():
                if state.role == "leader":
                    result: Command | Outcome = fed.commands.issue("scale", {"n": 3}, gate=seat)
                    print(result)
                    break
            seat.lead(seat.check)
        fed.commands.consume("coordinator", act)
        done: Committed | Conflicted = fed.guard("x").transaction(1, (Put("x/1", b"1"),))
        run = fed.dag.submit({"a": [], "b": ["a"]}, run_id="r1")
        ended: RunRecord = fed.dag.work(run, handler=do_task_now)
        seen: RunState = fed.dag.inspect(run)
        record: Record | None = fed.store.get("x/1")
        with fed.store.watch("x/", after=0) as changes:
            item: WatchItem = next(changes)
        with fed.registry.join(slots=2) as member:
            member.report(load=1)
        print(done, ended, seen, record, item, fed.identity().worker_id, fed.clock.wall_ns())


async def errors() -> None:
    """What to catch."""
    try:
        await main()
    except LeaseBusy as busy:
        name: str = busy.name
        print(name, busy.holder, busy.wait_s)
    except Fenced as fenced:
        reason: str = fenced.reason
        print(reason)
    except Unavailable as away:
        print(away.what, away.hint)


anyio.run(main)
