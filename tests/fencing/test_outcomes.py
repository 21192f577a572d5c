"""`OutcomeLog`: reading, counting, replaying and auditing the log of commands."""

from __future__ import annotations

import anyio
import pytest

from federlib.errors import CorruptRecord, InvalidInput
from federlib.fencing import (
    Command,
    CommandFilter,
    FenceGuard,
    LogEvent,
    Outcome,
    OutcomeLog,
    Started,
    issue,
    read_event,
    violations,
)
from federlib.fencing.audit import What
from federlib.storage import Batch, Put, Record, Transaction
from fencing.worlds import SCOPE, World, a_command


async def busy(world: World) -> None:
    """Let everything that can happen to a command happen once."""
    consumer = world.consumer()
    applied = await world.issued(3, command_id="applied")
    await consumer.handle(applied)
    await consumer.handle(applied)
    await world.issue(None, command_id="follower")
    await world.issue(2, command_id="deposed")
    stale = await world.issued(3, command_id="overtaken")
    await FenceGuard(world.store, SCOPE).admit(4)
    await consumer.handle(stale)
    world.ledger.answer = "noop"
    noop = await world.issue(4, command_id="noop", action="restart", decision_id="d7")
    assert isinstance(noop, Command)
    await consumer.handle(noop)
    await world.issued(4, command_id="open")


async def ids(world: World, **wanted: object) -> list[str]:
    log = OutcomeLog(world.store)
    return [e.command.command_id async for e in log.commands(**wanted)]  # type: ignore[arg-type]  # rows of a table


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["applied", "deposed", "follower", "noop", "open", "overtaken"]),
        ({"scope": SCOPE, "epoch": 3}, ["applied", "overtaken"]),
        ({"epoch": 0}, ["follower"]),
        ({"action": "restart"}, ["noop"]),
        ({"decision_id": "d7"}, ["noop"]),
        ({"status": "applied"}, ["applied"]),
        ({"status": "rejected_*"}, ["deposed", "follower", "overtaken"]),
        ({"status": "rejected_not_leader"}, ["follower"]),
        ({"status": "pending"}, ["open"]),
        ({"scope": "elsewhere"}, []),
        ({"dag_node": "n"}, []),
        ({"epoch": 3, "status": "applied"}, ["applied"]),
    ],
)
@pytest.mark.anyio
async def test_commands_are_found_by_what_is_asked(
    wanted: dict[str, object], expected: list[str]
) -> None:
    world = World()
    await busy(world)
    assert await ids(world, **wanted) == expected


@pytest.mark.anyio
async def test_outcomes_are_counted_by_status() -> None:
    world = World()
    await busy(world)
    log = OutcomeLog(world.store)
    assert await log.counts() == {
        "applied": 1,
        "noop": 1,
        "rejected_duplicate": 1,
        "rejected_not_leader": 1,
        "rejected_stale_epoch": 2,
    }
    assert await log.counts(scope="elsewhere") == {}


@pytest.mark.anyio
async def test_a_command_is_found_in_whatever_scope_it_is() -> None:
    world = World()
    for scope in ("a", "a-b", "a0", "a/b", "ä"):
        await issue(
            world.store, scope, "scale", epoch=1, issuer="x", clock=world.clock,
            command_id=f"in-{scope.encode().hex()}",
        )  # fmt: skip
    log = OutcomeLog(world.store)
    for scope in ("a", "a-b", "a0", "a/b", "ä"):
        entry = await log.find(f"in-{scope.encode().hex()}")
        assert entry is not None
        assert entry.command.scope == scope
    assert await log.find("in-none") is None
    assert await log.outcome("in-none") is None
    assert await log.find(f"in-{b'a'.hex()}", scope="a0") is None
    with pytest.raises(InvalidInput):
        await log.find("no/such")


@pytest.mark.anyio
async def test_the_same_id_in_two_scopes_is_two_commands() -> None:
    world = World()
    for scope, epoch in (("a", 1), ("b", 2)):
        await issue(
            world.store, scope, "scale", epoch=epoch, issuer="x", clock=world.clock,
            command_id="c1",
        )  # fmt: skip
    entry = await OutcomeLog(world.store).find("c1", scope="b")
    assert entry is not None
    assert entry.command.leader_epoch == 2


@pytest.mark.anyio
async def test_a_log_of_several_pages_is_read_whole() -> None:
    world = World()
    consumer = world.consumer()
    expected = []
    for n in range(420):  # 1,260 records: a page ends inside a command
        expected.append(f"c{n:03d}")
        await consumer.handle(a_command(expected[-1]))
    assert await ids(world) == expected
    assert await OutcomeLog(world.store).counts() == {"applied": 420}
    assert await consumer.recover() == ()


State = dict[str, tuple[str, ...]]


def fold(state: State, event: LogEvent) -> State:
    """Remember the order of everything: any difference shows."""
    status = event.record.status if isinstance(event.record, Outcome) else event.what
    return {**state, event.command_id: (*state.get(event.command_id, ()), status)}


@pytest.mark.anyio
async def test_a_replay_gives_the_state_that_was_folded_live() -> None:
    world = World()
    live: State = {}
    start = (await world.store.scan("command/")).revision
    await busy(world)
    end = (await world.store.scan("command/")).revision
    with anyio.fail_after(5):
        async with world.store.watch("command/", after=start) as changes:
            async for item in changes:
                if isinstance(item, Batch):
                    for event in item.events:
                        assert event.record is not None
                        live = fold(live, read_event(event.record))
                elif item.revision >= end:
                    break
    log = OutcomeLog(world.store)
    assert await log.replay(fold, State()) == live
    assert await log.replay(fold, State()) == live
    assert live["applied"] == ("issued", "started", "applied", "rejected_duplicate")
    assert await log.replay(fold, State(), scope="elsewhere") == {}


@pytest.mark.anyio
async def test_an_audit_tells_everything_that_happened_to_a_command_in_order() -> None:
    world = World()
    await busy(world)
    log = OutcomeLog(world.store)
    events = await log.audit(CommandFilter(command_id="applied"))
    assert [event.what for event in events] == ["issued", "started", "outcome", "duplicate"]
    revisions = [event.revision for event in await log.audit()]
    assert revisions == sorted(revisions)
    assert {e.command_id for e in await log.audit(CommandFilter(decision_id="d7"))} == {"noop"}
    assert violations(await log.audit()) == ()


@pytest.mark.parametrize("name", ["issued", "outcome"])
@pytest.mark.anyio
async def test_a_corrupt_record_is_named_and_not_skipped(name: str) -> None:
    world = World()
    await busy(world)
    key = f"command/{SCOPE}/applied/{name}"
    await world.store.commit(Transaction((Put(key, b"{"),)))
    log = OutcomeLog(world.store)
    for read in (log.counts, log.audit):
        with pytest.raises(CorruptRecord) as caught:
            await read()
        assert caught.value.where == key


@pytest.mark.parametrize("key", ["command/s/c1/other", "command/s/c1", "command/s", "fence/s"])
def test_a_foreign_record_is_no_event(key: str) -> None:
    with pytest.raises(CorruptRecord):
        read_event(Record(key, b"{}", 1, 1))


@pytest.mark.anyio
async def test_an_outcome_without_its_command_is_corrupt() -> None:
    world = World()
    await world.consumer().handle(a_command())
    await world.store.commit(Transaction((Put(f"command/{SCOPE}/c1/issued", b""),)))
    with pytest.raises(CorruptRecord):
        await OutcomeLog(world.store).counts()


def history(*rows: tuple[What, str, int | str]) -> list[LogEvent]:
    """Make a history: (what, command, epoch or status)."""
    events = []
    for revision, (what, name, value) in enumerate(rows, start=1):
        record: Command | Started | Outcome
        if what == "issued":
            record = a_command(name, epoch=int(value))
        elif what == "started":
            record = Started(command_id=name, epoch=int(value), consumer="m", at_ns=1)
        else:
            record = Outcome(command_id=name, status=str(value), epoch=1, consumer="m", at_ns=1)
        events.append(
            LogEvent(revision=revision, what=what, scope=SCOPE, command_id=name, record=record)
        )
    return events


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([("issued", "a", 1), ("started", "a", 1), ("started", "a", 1)], "started twice"),
        ([("issued", "a", 1), ("outcome", "a", "applied")], "nobody had started"),
        (
            [("issued", "a", 1), ("outcome", "a", "rejected_x"), ("outcome", "a", "rejected_x")],
            "two outcomes",
        ),
        (
            [("issued", "a", 1), ("started", "a", 1), ("outcome", "a", "rejected_stale_epoch")],
            "started, and then",
        ),
        (
            [("issued", "a", 1), ("outcome", "a", "rejected_expired"), ("started", "a", 1)],
            "after its outcome",
        ),
        ([("started", "a", 1)], "without having been issued"),
        ([("issued", "a", 1), ("started", "a", 2)], "was started under 2"),
        (
            [("issued", "a", 1), ("issued", "b", 2), ("started", "b", 2), ("started", "a", 1)],
            "after epoch 2",
        ),
    ],
)
def test_an_audit_notices_what_must_not_have_happened(
    rows: list[tuple[What, str, int | str]], complaint: str
) -> None:
    found = violations(history(*rows))
    assert len(found) == 1
    assert complaint in found[0]


def test_an_audit_has_nothing_to_say_of_a_good_history() -> None:
    assert violations(history(
        ("issued", "a", 1), ("issued", "b", 2), ("started", "a", 1), ("outcome", "a", "applied"),
        ("started", "b", 2), ("duplicate", "a", "rejected_duplicate"), ("outcome", "b", "noop"),
        ("issued", "c", 1), ("outcome", "c", "rejected_stale_epoch"), ("issued", "d", 2),
    )) == ()  # fmt: skip
