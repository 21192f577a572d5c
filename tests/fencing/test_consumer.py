"""`CommandConsumer`: one outcome for each command, and at most one call of the handler."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from federlib.errors import CorruptRecord, InvalidInput, Unavailable
from federlib.fencing import (
    Actuation,
    ActuationStatus,
    Command,
    CommandConsumer,
    FenceGuard,
    FenceMark,
    OutcomeLog,
)
from federlib.fencing.records import MAX_DETAIL, encode, fence_key
from federlib.storage import Committed, Conflicted, Put, Transaction
from fencing.worlds import (
    SCOPE,
    ForgetfulStore,
    RivalStore,
    StoreProxy,
    World,
    a_command,
    acting,
    recorded,
)


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        ("applied", "applied", ""),
        ("noop", "noop", ""),
        ("actuation_failed", "actuation_failed", ""),
        (Actuation("applied", "3 lanes"), "applied", "3 lanes"),
        (Actuation("noop", "x" * 9_999), "noop", "x" * (MAX_DETAIL - 1) + "…"),
    ],
)
@pytest.mark.anyio
async def test_what_the_handler_says_is_recorded(
    answer: ActuationStatus | Actuation, status: str, detail: str
) -> None:
    world = World()
    world.ledger.answer = answer
    command = await world.issued()
    outcome = await world.consumer().handle(command)
    assert (outcome.status, outcome.detail, outcome.epoch) == (status, detail, 1)
    assert outcome == await recorded(world, command.command_id)
    assert world.ledger.calls == [command.command_id]
    assert world.sink.value("federlib_commands_total", status=status) == 1


@pytest.mark.parametrize("answer", [None, "done", "rejected_expired", 7, Actuation("no")])  # type: ignore[arg-type]  # wrong on purpose
@pytest.mark.anyio
async def test_a_handler_that_says_nonsense_has_failed(answer: ActuationStatus) -> None:
    world = World()
    world.ledger.answer = answer
    outcome = await world.consumer().handle(await world.issued())
    assert (outcome.status, outcome.reason) == ("actuation_failed", "bad result")


@pytest.mark.anyio
async def test_an_exception_becomes_a_failure_with_its_type_and_a_bounded_text() -> None:
    world = World()

    async def act(command: Command) -> ActuationStatus:
        raise TimeoutError("\ud800" + "x" * 10_000)

    outcome = await acting(world, act).handle(await world.issued())
    assert (outcome.status, outcome.reason) == ("actuation_failed", "TimeoutError")
    assert outcome.detail.startswith("?xxx")
    assert len(outcome.detail) == MAX_DETAIL


class Unshowable(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize("is_raised", [True, False])
@pytest.mark.anyio
async def test_what_cannot_be_shown_is_still_recorded(*, is_raised: bool) -> None:
    world = World()

    async def act(command: Command) -> ActuationStatus:
        if is_raised:
            raise Unshowable
        return Unshowable()  # type: ignore[return-value]  # wrong on purpose

    command = await world.issued()
    outcome = await acting(world, act).handle(command)
    assert outcome.status == "actuation_failed"
    assert "Unshowable that cannot be shown" in outcome.detail
    assert outcome == await recorded(world, command.command_id)


@pytest.mark.anyio
async def test_a_second_delivery_is_a_duplicate_and_changes_nothing() -> None:
    world = World()
    consumer, command = world.consumer(), await world.issued()
    first = await consumer.handle(command)
    for _ in range(20):
        again = await consumer.handle(command)
        assert (again.status, again.reason) == ("rejected_duplicate", "already applied")
    assert await recorded(world, command.command_id) == first
    assert world.ledger.calls == [command.command_id]
    duplicates = [key for key in await world.keys() if "duplicate-" in key]
    assert len(duplicates) == 16
    assert world.sink.value("federlib_commands_total", status="rejected_duplicate") == 20
    assert await OutcomeLog(world.store).counts() == {"applied": 1, "rejected_duplicate": 16}


@pytest.mark.anyio
async def test_a_stale_epoch_is_never_applied() -> None:
    world = World()
    command = await world.issued(4)
    await FenceGuard(world.store, SCOPE).admit(5)
    outcome = await world.consumer().handle(command)
    assert outcome.status == "rejected_stale_epoch"
    assert outcome == await recorded(world, command.command_id)
    assert world.ledger.calls == []


@pytest.mark.anyio
async def test_an_epoch_that_comes_between_decision_and_start_wins() -> None:
    world = World()
    command = await world.issued(4)
    mark = FenceMark(resource=SCOPE, high_water=5)
    store = RivalStore(world.store, [Transaction((Put(fence_key(SCOPE), encode(mark)),))])
    outcome = await world.consumer(store=store).handle(command)
    assert outcome.status == "rejected_stale_epoch"
    assert world.ledger.calls == []


@pytest.mark.anyio
async def test_an_expired_command_is_never_applied() -> None:
    world = World()
    command = await world.issue(deadline_s=5.0)
    assert isinstance(command, Command)
    world.clock.advance(5.0)
    outcome = await world.consumer().handle(command)
    assert outcome.status == "rejected_expired"
    assert world.ledger.calls == []


@pytest.mark.parametrize("epoch", [0])
@pytest.mark.anyio
async def test_a_command_of_nobodys_epoch_is_refused_and_kept(epoch: int) -> None:
    world = World()
    outcome = await world.consumer().handle(a_command(epoch=epoch))
    assert outcome.status == "rejected_not_leader"
    entry = await OutcomeLog(world.store).find("c1")
    assert entry is not None
    assert (entry.command, entry.outcome) == (a_command(epoch=epoch), outcome)


@pytest.mark.anyio
async def test_an_issuer_that_did_not_lead_is_refused() -> None:
    world = World()
    consumer = CommandConsumer(
        world.store, SCOPE, world.ledger, consumer_id="m", clock=world.clock,
        is_leader=lambda command: command.issuer == "somebody else",
    )  # fmt: skip
    assert (await consumer.handle(await world.issued())).status == "rejected_not_leader"


@pytest.mark.anyio
async def test_a_command_that_came_past_the_store_is_recorded_with_its_start() -> None:
    world = World()
    outcome = await world.consumer().handle(a_command())
    assert outcome.status == "applied"
    assert await world.keys() == ["c1/issued", "c1/outcome", "c1/started"]


@pytest.mark.anyio
async def test_other_content_under_an_issued_id_is_never_run() -> None:
    world = World()
    command = await world.issued(command_id="c1")
    forged = msgspec.structs.replace(command, action="stop_everything")
    outcome = await world.consumer().handle(forged)
    assert (outcome.status, outcome.reason) == ("rejected_duplicate", "issued with other content")
    assert world.ledger.calls == []
    assert (await world.consumer().handle(command)).status == "applied"


@pytest.mark.parametrize(
    "wrong",
    [
        {"leader_epoch": -1}, {"leader_epoch": True}, {"leader_epoch": "1"}, {"action": ""},
        {"issuer": ""}, {"command_id": "../x"}, {"scope": "elsewhere"}, {"scope": ""},
        {"deadline_ns": -5}, {"payload": msgspec.Raw(b"{")}, {"v": 2},
        {"payload": msgspec.Raw(b'"' + b"x" * 70_000 + b'"')}, {"dag_node": "\ud800"},
    ],
)  # fmt: skip
@pytest.mark.anyio
async def test_a_malformed_command_leaves_no_record(wrong: dict[str, object]) -> None:
    world = World()
    with pytest.raises(InvalidInput):
        await world.consumer().handle(msgspec.structs.replace(a_command(), **wrong))
    with pytest.raises(InvalidInput):
        await world.consumer().handle("scale")  # type: ignore[arg-type]  # wrong on purpose
    assert (await world.store.scan("command/")).records == ()


@pytest.mark.anyio
async def test_of_two_consumers_one_acts() -> None:
    world = World()
    command = await world.issued()
    outcomes: list[str] = []

    async def deliver(consumer: CommandConsumer) -> None:
        outcomes.append((await consumer.handle(command)).status)

    async with anyio.create_task_group() as group:
        for n in range(5):
            group.start_soon(deliver, world.consumer(f"manager-{n}"))
    assert sorted(outcomes) == ["applied"] + ["rejected_duplicate"] * 4
    assert world.ledger.calls == [command.command_id]


@pytest.mark.anyio
async def test_a_lost_answer_to_started_neither_skips_nor_repeats_the_call() -> None:
    world = World()
    command = await world.issued()
    store = ForgetfulStore(world.store, lost=3)
    assert (await world.consumer(store=store).handle(command)).status == "applied"
    assert world.ledger.calls == [command.command_id]


@pytest.mark.anyio
async def test_records_that_change_again_and_again_are_given_up_on() -> None:
    world = World()
    command = await world.issued()

    class Contended(StoreProxy):
        async def commit(self, transaction: Transaction) -> Committed | Conflicted:
            return Conflicted(())

    with pytest.raises(Unavailable):
        await world.consumer(store=Contended(world.store)).handle(command)
    assert world.ledger.calls == []


@pytest.mark.parametrize("name", ["issued", "started", "outcome", "duplicate-00"])
@pytest.mark.parametrize("value", [b"", b"{", b'{"v":2}'])
@pytest.mark.anyio
async def test_records_that_cannot_be_trusted_stop_the_command(name: str, value: bytes) -> None:
    world = World()
    command = await world.issued(command_id="c1")
    key = f"command/{SCOPE}/c1/{name}"
    await world.store.commit(Transaction((Put(key, value),)))
    with pytest.raises(CorruptRecord) as caught:
        await world.consumer().handle(command)
    assert caught.value.where == key
    assert world.ledger.calls == []
    record = await world.store.get(key)
    assert record is not None
    assert record.value == value


@pytest.mark.parametrize("consumer_id", ["", "x" * 201, None, 7])
def test_a_consumer_needs_a_name(consumer_id: str) -> None:
    with pytest.raises(InvalidInput):
        World().consumer(consumer_id)
