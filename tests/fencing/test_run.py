"""`CommandConsumer.run`: what waits, then what comes, in the order of issue."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import TaskStatus

from federlib.errors import CorruptRecord, Unavailable
from federlib.fencing import ActuationStatus, Command, CommandConsumer, FenceGuard, OutcomeLog
from federlib.fencing.records import command_prefix, fence_key
from federlib.storage import Committed, Conflicted, Put, Transaction
from fencing.worlds import SCOPE, StoreProxy, World


class Inbox:
    """A handler that can be waited for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._wanted = 0
        self._reached = anyio.Event()

    async def __call__(self, command: Command) -> ActuationStatus:
        self.calls.append(command.command_id)
        if len(self.calls) >= self._wanted:
            self._reached.set()
        return "applied"

    async def until(self, calls: int) -> list[str]:
        self._wanted = calls
        if len(self.calls) < calls:
            self._reached = anyio.Event()
            with anyio.fail_after(5):
                await self._reached.wait()
        return self.calls


class Flaky(StoreProxy):
    """Away for the first commits."""

    refusals = 0

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.refusals > 0:
            self.refusals -= 1
            raise Unavailable("store", "away")
        return await super().commit(transaction)


def consumer(world: World, inbox: Inbox, name: str = "manager-1") -> CommandConsumer:
    return CommandConsumer(
        world.store,
        SCOPE,
        inbox,
        consumer_id=name,
        clock=world.clock,
        telemetry=world.telemetry,
        token=world.token,
    )


@pytest.mark.anyio
async def test_what_waits_is_taken_in_the_order_of_issue_and_then_what_comes() -> None:
    world, inbox = World(), Inbox()
    for command_id in ("c", "a", "b"):
        await world.issued(command_id=command_id)
    async with anyio.create_task_group() as group:
        group.start_soon(consumer(world, inbox).run)
        assert await inbox.until(3) == ["c", "a", "b"]
        await world.issued(command_id="0")
        await world.issued(command_id="z")
        assert await inbox.until(5) == ["c", "a", "b", "0", "z"]
        group.cancel_scope.cancel()
    assert not [key for key in await world.keys() if "duplicate" in key]


@pytest.mark.anyio
async def test_an_old_reigns_waiting_command_is_refused_and_the_new_reigns_is_applied() -> None:
    world, inbox = World(), Inbox()
    old = await world.issued(4)
    world.clock.advance(1)
    new = await world.issued(5)
    async with anyio.create_task_group() as group:
        group.start_soon(consumer(world, inbox).run)
        await inbox.until(1)
        group.cancel_scope.cancel()
    assert inbox.calls == [new.command_id]
    outcome = await OutcomeLog(world.store).outcome(old.command_id)
    assert outcome is not None
    assert outcome.status == "rejected_stale_epoch"


@pytest.mark.anyio
async def test_refused_commands_in_the_log_are_not_offered_to_the_handler() -> None:
    world, inbox = World(), Inbox()
    await world.issue(None)
    await FenceGuard(world.store, SCOPE).admit(3)
    await world.issue(2)
    async with anyio.create_task_group() as group:
        group.start_soon(consumer(world, inbox).run)
        await world.issued(3, command_id="last")
        assert await inbox.until(1) == ["last"]
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_several_running_consumers_share_without_repeating_or_complaining() -> None:
    world = World()
    inbox = Inbox()
    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(consumer(world, inbox, f"manager-{n}").run)
        ids = [(await world.issued(command_id=f"c{n}")).command_id for n in range(12)]
        assert sorted(await inbox.until(12)) == sorted(ids)
        group.cancel_scope.cancel()
    assert not [key for key in await world.keys() if "duplicate" in key]


@pytest.mark.anyio
async def test_a_restarted_consumer_settles_first_and_never_calls_twice() -> None:
    world, inbox = World(), Inbox()
    first = await world.issued(command_id="first")
    began = anyio.Event()

    async def act(command: Command) -> ActuationStatus:
        began.set()
        await anyio.sleep_forever()
        return "applied"

    async def live(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await CommandConsumer(
            world.store, SCOPE, act, consumer_id="manager-1", clock=world.clock
        ).run()

    async with anyio.create_task_group() as group:
        await group.start(live)
        await began.wait()
        group.cancel_scope.cancel()
    await world.issued(command_id="second")
    async with anyio.create_task_group() as group:
        group.start_soon(consumer(world, inbox).run)
        assert await inbox.until(1) == ["second"]
        group.cancel_scope.cancel()
    outcome = await OutcomeLog(world.store).outcome(first.command_id)
    assert outcome is not None
    assert (outcome.status, outcome.reason) == ("actuation_failed", "unknown")


@pytest.mark.anyio
async def test_an_outage_is_waited_out() -> None:
    world, inbox = World(), Inbox()
    flaky = Flaky(world.store)
    world.store = flaky
    await world.issued(command_id="c1")
    flaky.refusals = 2
    async with anyio.create_task_group() as group:
        group.start_soon(consumer(world, inbox).run)
        assert await inbox.until(1) == ["c1"]
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_corrupt_command_is_passed_over_and_left_as_it_is() -> None:
    world, inbox = World(), Inbox()
    key = command_prefix(SCOPE, "bad") + "issued"
    later = command_prefix(SCOPE, "worse") + "issued"
    await world.store.commit(Transaction((Put(key, b"{"),)))
    await world.issued(command_id="good")
    async with anyio.create_task_group() as group:
        group.start_soon(consumer(world, inbox).run)
        assert await inbox.until(1) == ["good"]
        await world.store.commit(Transaction((Put(later, b'{"v":9}'),)))
        await world.issued(command_id="next")
        assert await inbox.until(2) == ["good", "next"]
        group.cancel_scope.cancel()
    record = await world.store.get(key)
    assert record is not None
    assert record.value == b"{"


@pytest.mark.anyio
async def test_a_corrupt_mark_ends_the_run() -> None:
    world, inbox = World(), Inbox()
    await world.issued(command_id="c1")
    await world.store.commit(Transaction((Put(fence_key(SCOPE), b"{"),)))
    with pytest.raises(CorruptRecord) as caught, anyio.fail_after(5):
        await consumer(world, inbox).run()
    assert caught.value.where == fence_key(SCOPE)
    assert inbox.calls == []


@pytest.mark.anyio
async def test_more_history_than_a_watch_keeps_is_scanned_again() -> None:
    world, inbox = World(), Inbox()
    async with anyio.create_task_group() as group:
        await world.issued(command_id="c1")
        hold = anyio.Event()
        seen = anyio.Event()

        async def act(command: Command) -> ActuationStatus:
            if command.command_id == "c1":
                seen.set()
                await hold.wait()
            return await inbox(command)

        group.start_soon(
            CommandConsumer(world.store, SCOPE, act, consumer_id="manager-1", clock=world.clock).run
        )
        await seen.wait()
        for n in range(1_100):
            await world.store.commit(Transaction((Put("elsewhere", str(n).encode()),)))
        await world.issued(command_id="c2")
        hold.set()
        assert await inbox.until(2) == ["c1", "c2"]
        group.cancel_scope.cancel()
