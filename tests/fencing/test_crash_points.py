"""Die between any two writes, come back, and there is one outcome and no second call."""

from __future__ import annotations

import pytest

from federlib.fencing import ActuationStatus, Command, CommandConsumer, OutcomeLog, violations
from fencing.worlds import SCOPE, Killed, KillingStore, World


async def killed(world: World, *, at: int, is_after: bool) -> Command:
    """Issue c1, and die at one of the two commits of handling it."""
    command = await world.issued(4, command_id="c1")
    consumer = world.consumer(store=KillingStore(world.store, at=at, is_after=is_after))
    with pytest.raises(Killed):
        await consumer.handle(command)
    return command


async def assert_settled(world: World, status: str) -> None:
    outcome = await OutcomeLog(world.store).outcome("c1", scope=SCOPE)
    assert outcome is not None
    assert outcome.status == status
    assert violations(await OutcomeLog(world.store).audit()) == ()


@pytest.mark.parametrize(
    ("at", "is_after", "called_before", "recovered", "final"),
    [
        (1, False, 0, [], "applied"),  # nothing written: the next delivery acts
        (1, True, 0, ["actuation_failed"], "actuation_failed"),  # started, not called
        (2, False, 1, ["actuation_failed"], "actuation_failed"),  # called, not recorded
        (2, True, 1, [], "applied"),  # recorded, nobody told
    ],
)
@pytest.mark.anyio
async def test_killed_at_a_commit(
    *, at: int, is_after: bool, called_before: int, recovered: list[str], final: str
) -> None:
    world = World()
    command = await killed(world, at=at, is_after=is_after)
    assert len(world.ledger.calls) == called_before
    reborn = world.consumer()
    assert [o.status for o in await reborn.recover()] == recovered
    again = await reborn.handle(command)
    assert again.status == ("applied" if at == 1 and not is_after else "rejected_duplicate")
    assert len(world.ledger.calls) <= 1
    await assert_settled(world, final)


@pytest.mark.parametrize(("at", "is_after"), [(1, True), (2, False)])
@pytest.mark.parametrize("truth", ["applied", "noop", "actuation_failed"])
@pytest.mark.anyio
async def test_after_a_kill_reconcile_tells_the_truth(
    *, at: int, is_after: bool, truth: ActuationStatus
) -> None:
    world = World()
    await killed(world, at=at, is_after=is_after)
    calls = list(world.ledger.calls)

    async def look(command: Command) -> ActuationStatus:
        assert command.command_id == "c1"
        return truth

    reborn = CommandConsumer(
        world.store,
        SCOPE,
        world.ledger,
        consumer_id="manager-1",
        clock=world.clock,
        reconcile=look,
    )
    assert [o.status for o in await reborn.recover()] == [truth]
    assert world.ledger.calls == calls
    await assert_settled(world, truth)


@pytest.mark.parametrize("at", [1])
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.anyio
async def test_killed_while_recovering_it_is_recovered_once(*, at: int, is_after: bool) -> None:
    world = World()
    await killed(world, at=2, is_after=False)
    dying = world.consumer(store=KillingStore(world.store, at=at, is_after=is_after))
    with pytest.raises(Killed):
        await dying.recover()
    assert len(await world.consumer().recover()) == (0 if is_after else 1)
    await assert_settled(world, "actuation_failed")


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("epoch", [None, 1, 4])
@pytest.mark.anyio
async def test_killed_while_issuing_the_command_is_there_whole_or_not_at_all(
    *, is_after: bool, epoch: int | None
) -> None:
    world = World()
    await world.issued(4, command_id="before")
    # A refused issue of an old epoch needs one commit too: its refusal with the command.
    store = KillingStore(world.store, at=1, is_after=is_after)
    with pytest.raises(Killed):
        await world.issue(epoch, command_id="c1", store=store)
    keys = [key for key in await world.keys() if key.startswith("c1/")]
    whole = ["c1/issued"] if epoch == 4 else ["c1/issued", "c1/outcome"]
    assert keys == (whole if is_after else [])
    assert violations(await OutcomeLog(world.store).audit()) == ()


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.anyio
async def test_killed_while_refusing_it_is_refused_once(*, is_after: bool) -> None:
    world = World()
    old = await world.issued(4, command_id="c1")
    await world.issued(5, command_id="c2")
    dying = world.consumer(store=KillingStore(world.store, at=1, is_after=is_after))
    with pytest.raises(Killed):
        await dying.handle(old)
    again = await world.consumer().handle(old)
    assert again.status == ("rejected_duplicate" if is_after else "rejected_stale_epoch")
    assert world.ledger.calls == []
    await assert_settled(world, "rejected_stale_epoch")
