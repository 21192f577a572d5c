"""What users of Temporal and Restate complained of: going on after a pause.

Each docstring names the issue, says what was seen there, and why it cannot happen here.
"""

from __future__ import annotations

import random

import anyio
import pytest

from dag.run_lab import view
from federlib.dag import Handler, TaskRun
from fleet import read_history

from .work import AT_ONCE, DIAMONDS, Work, ended, rob
from .world import LIMIT_S, Door, World, in_world, until

pytestmark = pytest.mark.anyio


@in_world
async def test_temporal_673_and_1578_a_run_goes_on_under_other_code_and_another_order(
    world: World,
) -> None:
    """temporalio/sdk-python#673, #1578.

    Activities that ran side by side ended in one order and were replayed in another, and the
    workflow could not go on. Here the plan is data and the log says what happened: there is
    no code to replay, so neither order nor new code of the handlers matters.
    """
    chance, seen = random.Random(673), dict[str, dict[str, object]]()

    def value(task: TaskRun, run: str) -> object:
        seen.setdefault(run, {})[task.task_id] = task.inputs
        return sorted([task.task_id, *map(str, task.inputs.values())])

    async def before(task: TaskRun) -> object:
        await anyio.sleep(chance.uniform(0, 0.02))
        return value(task, task.run_id)

    async def after(task: TaskRun) -> object:
        # Other code: another number of steps, in another order.
        for _ in range(chance.randrange(5)):
            await anyio.sleep(0.001)
        return value(task, task.run_id)

    async with world.member() as fed, world.member() as other:
        for run in ("straight", "broken"):
            await fed.dag.submit(DIAMONDS, run_id=run, policy=AT_ONCE)
        await fed.dag.work("straight", before)
        door = await world.door()
        first = await world.join("broken", before, door=door, ttl_s=0.3, slots=4)
        least = chance.randrange(2, 30)
        await until(lambda: len(seen.get("broken", {})) > least)
        first.crash()
        with anyio.fail_after(LIMIT_S):  # what it had sent may still arrive
            while view(await fed.dag.inspect("broken")) != view(await other.dag.inspect("broken")):
                await anyio.sleep(0.01)
        assert (await other.dag.work("broken", after, slots=3)).state == "success"
        folds = [view(await member.dag.inspect("broken")) for member in (fed, other)]
    assert seen["broken"] == seen["straight"]
    assert folds[0] == folds[1]


@in_world
async def test_restate_2655_when_partitions_heal_somebody_leads_and_the_run_goes_on(
    world: World,
) -> None:
    """restatedev/restate#2655.

    A node came back from its isolation, took the lead at once, lost it again, and nobody led
    from then on. Here roles return by themselves: whoever lost its lease stands in its
    queue again, and the next takeover starts from the log.
    """
    work, permits = Work(), anyio.Semaphore(0)

    def by(who: str) -> Handler:
        async def do(task: TaskRun) -> object:
            await permits.acquire()
            return await work.by(who)(task)

        return do

    names = [f"t{n:02d}" for n in range(12)]
    chain = {name: names[max(0, n - 1) : n] for n, name in enumerate(names)}
    async with world.member() as fed:
        await fed.dag.submit(chain, run_id="r", policy=AT_ONCE)
        doors = dict[str, Door]()
        for who in ("n1", "n2", "n3"):
            door = await world.door()
            joined = await world.join("r", by(who), door=door, ttl_s=0.4, slots=1)
            doors[(await joined.fed.identity()).worker_id] = door

        async def leader(*, besides: str = "") -> str:
            with anyio.fail_after(LIMIT_S):
                while True:
                    seen = await fed.dag.leader("r")
                    if seen.is_live and seen.lease is not None and seen.lease.holder_id != besides:
                        return seen.lease.holder_id
                    await anyio.sleep(0.01)

        for _ in range(2):
            done = len(work.ran)
            isolated = await leader()
            doors[isolated].cut()
            await leader(besides=isolated)
            doors[isolated].heal()
            # It comes back, and the lead changes hands twice within a moment.
            for _ in range(2):
                await leader()
                await rob(fed, "dag/r/leader")
            permits.release()
            permits.release()
            await until(lambda least=done: len(work.ran) > least, "progress")  # type: ignore[misc]
        for _ in range(50):
            permits.release()
        assert (await ended(fed, "r")).state == "success"
        history = await read_history(fed, "r")
    assert [task for task, _ in history.accepted] == names
    assert history.stale == []
