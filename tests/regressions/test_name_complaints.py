"""Names that are empty, and names that are used again: complaints about DBOS Transact.

Each docstring names the issue, says what was seen there, and why it cannot happen here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import anyio
import pytest

from federlib import Federation
from federlib.dag import Handler, Policy, TaskRun, TaskSpec, Workflow
from federlib.errors import InvalidInput, PlanMismatch
from federlib.fencing import CommandConsumer, issue
from federlib.identity import IdentityStore
from federlib.lease import Holder, Lease, StoreLeaseBackend
from federlib.skewclock import SkewTolerance
from federlib.storage import Put, Transaction
from federlib.testing import ManualClock
from fencing.worlds import Killed, KillingStore

from .work import Work, ended
from .world import World, in_world, touches, until

pytestmark = pytest.mark.anyio


Entrance = Callable[[Federation, str], Awaitable[object]]


async def _hold(fed: Federation, name: str) -> None:
    async with fed.hold(name, wait_s=0):
        pass


async def _elect(fed: Federation, name: str) -> None:
    async with fed.elect(name):
        pass


async def _issue(fed: Federation, **fields: str) -> None:
    await issue(
        fed.store, fields.get("scope", "s"), fields.get("action", "go"), epoch=1, clock=fed.clock,
        issuer=fields.get("issuer", "me"), command_id=fields.get("command_id", "c"),
    )  # fmt: skip


async def _do(task: object) -> Literal["noop"]:
    return "noop"


async def _consume(fed: Federation, **fields: str) -> None:
    names = {"scope": "s", "consumer_id": "me"} | fields
    consumer = CommandConsumer(
        fed.store, names["scope"], _do, consumer_id=names["consumer_id"], clock=fed.clock
    )
    await consumer.recover()


async def _commit(fed: Federation, put: str, id: str | None) -> None:  # noqa: A002
    await fed.store.commit(Transaction((Put(put, b""),), (), id))


async def _claim(fed: Federation, root: str) -> None:
    await IdentityStore(root).claim_async()


ENTRANCES: dict[str, Entrance] = {
    "run id, submitted": lambda fed, name: fed.dag.submit({"a": []}, run_id=name),
    "run id, worked on": lambda fed, name: fed.dag.work(name, _do),
    "run id, cancelled": lambda fed, name: fed.dag.cancel(name),
    "run id, resumed": lambda fed, name: fed.dag.resume(name),
    "run id, inspected": lambda fed, name: fed.dag.inspect(name),
    "task id": lambda fed, name: fed.dag.submit({name: []}, run_id="r"),
    "needed task id": lambda fed, name: fed.dag.submit({"a": [name]}, run_id="r"),
    "lease, held": _hold,
    "lease, tried": lambda fed, name: fed.try_acquire(name),
    "lease, inspected": lambda fed, name: fed.inspect(name),
    "holder id": lambda fed, name: fed.leases.acquire("n", Holder(name, "1"), ttl_s=1),
    "session": lambda fed, name: fed.leases.acquire("n", Holder("w", name), ttl_s=1),
    "election": _elect,
    "resource": lambda fed, name: fed.guard(name).admit(1),
    "command id": lambda fed, name: _issue(fed, command_id=name),
    "action": lambda fed, name: _issue(fed, action=name),
    "scope of a command": lambda fed, name: _issue(fed, scope=name),
    "issuer": lambda fed, name: _issue(fed, issuer=name),
    "scope of a consumer": lambda fed, name: _consume(fed, scope=name),
    "consumer id": lambda fed, name: _consume(fed, consumer_id=name),
    "identity root": _claim,
    "store key": lambda fed, name: _commit(fed, name, None),
    "transaction id": lambda fed, name: _commit(fed, "k", name),
}


@in_world
async def test_dbos_759_an_empty_name_gets_in_nowhere(world: World) -> None:
    """dbos-inc/dbos-transact-py#759.

    A client wrote a workflow with an empty id as it was; recovery could not name it, and so
    ran it anew, as another, about every quarter of an hour for a month. Here every name is
    checked where it enters, before anything is stored.
    """
    let_in: list[str] = []
    async with world.member() as fed:
        await fed.identity()
        before = await fed.store.scan("")
        for entrance, enter in ENTRANCES.items():
            try:
                await enter(fed, "")
            except InvalidInput:
                continue
            let_in.append(entrance)
        assert (await fed.store.scan("")).records == before.records
    assert let_in == []


@in_world
async def test_dbos_759_a_task_that_kills_every_worker_is_given_up(world: World) -> None:
    """dbos-inc/dbos-transact-py#759.

    The other half of it: nothing counted the recoveries. Here each lost attempt counts, and
    after `max_lost` of them the task has failed and the run comes to its end.
    """
    work, deaths = Work(), list[str]()

    def killer(who: str) -> Handler:
        async def do(task: TaskRun) -> object:
            work.ran.append((who, task.task_id, task.attempt))
            if task.task_id == "deadly":
                deaths.append(who)
                await anyio.sleep_forever()
            return None

        return do

    async with world.member() as fed:
        await fed.dag.submit(
            {"deadly": [], "after": ["deadly"], "other": []},
            run_id="r",
            policy=Policy(backoff_s=0, max_lost=1),
        )
        await (await world.fleet()).lead("r", ttl_s=2)
        for number in (1, 2):
            victim = await (await world.fleet()).work("r", killer(f"w{number}"), ttl_s=0.3, slots=2)
            await until(lambda count=number: len(deaths) == count)  # type: ignore[misc]
            while (await fed.dag.inspect("r")).counts()["success"] != 1:
                await anyio.sleep(0.01)
            victim.crash()
        survivor = await (await world.fleet()).work("r", killer("w3"), ttl_s=5)
        assert (await ended(fed, "r")).state == "failed"
        state = await fed.dag.inspect("r")
        await until(lambda: any(touches("/worker/")(t) for t in survivor.cable.commits))
    assert deaths == ["w1", "w2"]
    assert (state.attempts(0), state.losses(0)) == (2, 2)
    assert {"failed": 1, "blocked": 1, "success": 1}.items() <= state.counts().items()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@in_world
async def test_dbos_769_a_run_id_used_again_gets_nothing_of_an_interrupted_submission(
    world: World, *, is_after: bool
) -> None:
    """dbos-inc/dbos-transact-py#769.

    A deletion was cut short between parent and children; a new workflow under the same id
    found the children and returned their old result. Here nothing of a run counts before
    its one record is there, and that record is checked together with all it stands for.
    """
    text = "x" * 60_000
    old = Workflow("old", tuple(TaskSpec(id=f"old{n}", args=[text, n]) for n in range(10)))
    work = Work()
    for kill in range(1, 5):
        run = f"r{kill}"
        door = await world.door()
        door.base = KillingStore(door.base, at=kill, is_after=is_after)
        with pytest.raises(Killed):
            async with world.member(door) as dying:
                await dying.dag.submit(old, run_id=run)
        async with world.member() as fed:
            if await fed.dag.record(run) is not None:
                assert (kill, is_after) == (4, True)
                with pytest.raises(PlanMismatch):
                    await fed.dag.submit({"new": []}, run_id=run)
                continue
            assert (await fed.dag.submit({"new": []}, run_id=run)).created
            assert (await fed.dag.inspect(run)).plan.ids == ("new",)
            if kill == 3:
                assert (await fed.dag.work(run, work.by(run))).state == "success"
    assert {task for _, task, _ in work.ran} == {"new"}


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@in_world
async def test_dbos_769_a_lease_name_used_again_goes_on_above_an_interrupted_collection(
    world: World, *, is_after: bool
) -> None:
    """dbos-inc/dbos-transact-py#769.

    The only names that are ever removed here are those of leases, and their removal raises
    the floor of all tokens in the same commit: however it is cut short, no token comes twice.
    """
    clock = ManualClock()
    for kill in (1, 2):
        store = await world.open()
        leases = StoreLeaseBackend(store, clock, SkewTolerance())
        tokens: dict[str, int] = {}
        for name in [f"n{n}" for n in range(65)]:
            lease = await leases.acquire(name, Holder("w", "1"), ttl_s=1)
            assert isinstance(lease, Lease)
            tokens[name] = lease.fencing_token
            await leases.release(lease)
        clock.advance(25 * 3600)
        dying = KillingStore(store, at=kill, is_after=is_after)
        with suppress(Killed):
            await StoreLeaseBackend(dying, clock, SkewTolerance()).collect(clock.wall)
        assert dying.commits == kill
        for name, old in tokens.items():
            again = await leases.acquire(name, Holder("w", "2"), ttl_s=1)
            assert isinstance(again, Lease)
            assert again.fencing_token > old
            await leases.release(again)
