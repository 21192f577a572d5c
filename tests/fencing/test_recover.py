"""What is left between `started` and its outcome, and how it is settled."""

from __future__ import annotations

import anyio
import pytest

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.fencing import (
    Actuation,
    ActuationStatus,
    Command,
    CommandConsumer,
    Outcome,
    OutcomeLog,
)
from federlib.storage import Committed, Conflicted, Transaction
from fencing.worlds import SCOPE, StoreProxy, World, acting, recorded


@pytest.mark.anyio
async def test_cancelled_while_acting_it_stays_open_until_recovered() -> None:
    world = World()
    command = await world.issued()
    began = anyio.Event()

    async def act(command: Command) -> ActuationStatus:
        began.set()
        await anyio.sleep_forever()
        return "applied"

    consumer = acting(world, act)
    async with anyio.create_task_group() as group:
        group.start_soon(consumer.handle, command)
        await began.wait()
        assert await consumer.recover() == ()  # It acts: nothing to settle.
        group.cancel_scope.cancel()
    assert await OutcomeLog(world.store).outcome(command.command_id) is None
    assert (await consumer.handle(command)).reason == "already started"
    (outcome,) = await consumer.recover()
    assert (outcome.status, outcome.reason) == ("actuation_failed", "unknown")
    assert await consumer.recover() == ()


@pytest.mark.anyio
async def test_a_cancellation_behind_the_handler_does_not_lose_its_word() -> None:
    world = World()
    command = await world.issued()

    with anyio.CancelScope() as scope:

        async def act(command: Command) -> ActuationStatus:
            scope.cancel()
            return "applied"

        await acting(world, act).handle(command)
    assert (await recorded(world, command.command_id)).status == "applied"


class Outage(StoreProxy):
    """A store that can be away."""

    is_away = False

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.is_away:
            raise Unavailable("store", "away")
        return await super().commit(transaction)


@pytest.mark.anyio
async def test_an_outage_behind_the_handler_does_not_lose_its_word() -> None:
    world = World()
    command = await world.issued()
    store = Outage(world.store)
    calls = 0

    async def act(command: Command) -> ActuationStatus:
        nonlocal calls
        calls += 1
        store.is_away = True
        return "applied"

    consumer = acting(world, act, store)
    with pytest.raises(OutcomeUnknown):
        await consumer.handle(command)
    store.is_away = False
    (outcome,) = await consumer.recover()
    assert outcome.status == "applied"
    assert calls == 1


@pytest.mark.anyio
async def test_a_word_kept_through_an_outage_does_not_overrule_who_settled_meanwhile() -> None:
    world = World()
    command = await world.issued()
    store = Outage(world.store)

    async def act(command: Command) -> ActuationStatus:
        store.is_away = True
        return "applied"

    consumer = acting(world, act, store)
    with pytest.raises(OutcomeUnknown):
        await consumer.handle(command)
    (settled,) = await world.consumer("manager-2").recover(of=["manager-1"])
    store.is_away = False
    assert await consumer.recover() == ()
    assert await recorded(world, command.command_id) == settled


class Silence(StoreProxy):
    """A store that never answers a commit once it has fallen silent."""

    is_silent = False

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.is_silent:
            await anyio.sleep_forever()
        return await super().commit(transaction)


@pytest.mark.anyio
async def test_a_store_that_falls_silent_behind_the_handler_is_not_waited_for_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("federlib.fencing.consumer.COMMIT_TIMEOUT_S", 0.01)
    world = World()
    command = await world.issued()
    store = Silence(world.store)

    async def act(command: Command) -> ActuationStatus:
        store.is_silent = True
        return "applied"

    consumer = acting(world, act, store)
    with pytest.raises(OutcomeUnknown, match="no answer"):
        await consumer.handle(command)
    store.is_silent = False
    assert [outcome.status for outcome in await consumer.recover()] == ["applied"]


@pytest.mark.parametrize("answer", ["applied", "noop", Actuation("actuation_failed", "half")])
@pytest.mark.anyio
async def test_reconcile_says_what_became_of_it(answer: ActuationStatus | Actuation) -> None:
    world = World()
    await strand(world)
    asked = type(world.ledger)(answer)
    (outcome,) = await world.consumer(reconcile=asked).recover()
    expected = answer if isinstance(answer, str) else answer.status
    assert outcome.status == expected
    assert asked.calls == ["c1"]
    assert world.ledger.calls == []


async def strand(world: World, consumer_id: str = "manager-1") -> None:
    """Leave c1 started without outcome."""
    command = await world.issued(command_id="c1")
    journal = world.consumer(consumer_id)._journal
    assert await journal.start(command, await journal.look("c1"), now_ns=1)


@pytest.mark.anyio
async def test_a_reconcile_that_fails_leaves_it_open_for_the_next_one() -> None:
    world = World()
    await strand(world)

    async def ask(command: Command) -> ActuationStatus:
        raise ConnectionError("resource away")

    failing = CommandConsumer(
        world.store, SCOPE, world.ledger, consumer_id="manager-1", clock=world.clock, reconcile=ask
    )
    assert await failing.recover() == ()
    assert len(await world.consumer().recover()) == 1


@pytest.mark.anyio
async def test_others_unfinished_commands_are_theirs_until_they_are_known_dead() -> None:
    world = World()
    await strand(world, "manager-2")
    consumer = world.consumer("manager-1")
    assert await consumer.recover() == ()
    assert [o.status for o in await consumer.recover(of=["manager-2"])] == ["actuation_failed"]


@pytest.mark.anyio
async def test_taken_for_dead_too_early_there_is_still_one_outcome() -> None:
    world = World()
    command = await world.issued()
    settled: list[Outcome] = []

    async def act(command: Command) -> ActuationStatus:
        settled.extend(await world.consumer("manager-2").recover(of=["manager-1"]))
        return "applied"

    outcome = await acting(world, act).handle(command)
    assert [outcome] == settled
    assert await recorded(world, command.command_id) == outcome
