"""Timestamps of commands: causality crosses processes, and never holds up the work."""

from __future__ import annotations

import msgspec
import pytest

from federlib.errors import CorruptRecord
from federlib.fencing import (
    Command,
    CommandConsumer,
    Commands,
    Outcome,
    OutcomeLog,
    Started,
    issue,
)
from federlib.fencing.records import MAX_TOKEN, encode
from federlib.skewclock import HlcTimestamp, HybridLogicalClock, Stamps, hlc_timestamp
from federlib.storage import Put, Transaction
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing import SkewedClock
from fencing.worlds import SCOPE, World

pytestmark = pytest.mark.anyio


class Log:
    """A logger that keeps the names of what was logged."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append(event)


class Member:
    """A process with a wall clock of its own."""

    def __init__(self, world: World, name: str, offset_s: float, max_offset_s: float = 3) -> None:
        self.world, self.name = world, name
        self.clock = SkewedClock(world.clock, offset_s=offset_s)
        self.log = Log()
        self.sink = RecordingSink()
        self.telemetry = Telemetry(self.sink, self.log)
        self.hlc = HybridLogicalClock(self.clock, max_offset_s=max_offset_s)
        self.stamps = Stamps(self.hlc, self.telemetry)

    async def issue(self, epoch: int | None = 1, *, command_id: str = "c1") -> Command | Outcome:
        return await issue(
            self.world.store,
            SCOPE,
            "scale",
            epoch=epoch,
            issuer=self.name,
            clock=self.clock,
            command_id=command_id,
            stamps=self.stamps,
        )

    def consumer(self) -> CommandConsumer:
        return CommandConsumer(
            self.world.store,
            SCOPE,
            self.world.ledger,
            consumer_id=self.name,
            clock=self.clock,
            telemetry=self.telemetry,
            stamps=self.stamps,
        )

    def commands(self) -> Commands:
        async def member() -> str:
            return self.name

        return Commands(self.world.store, member=member, clock=self.clock, stamps=self.stamps)


async def test_command_started_and_outcome_rise_though_the_consumers_clock_is_behind() -> None:
    world = World()
    leader, manager = Member(world, "leader", 1.0), Member(world, "manager", -1.0)
    command = await leader.issue()
    assert isinstance(command, Command)
    outcome = await manager.consumer().handle(command)
    found = await OutcomeLog(world.store).find("c1", scope=SCOPE)
    assert found is not None
    assert found.started is not None
    stamps = [found.command.hlc, found.started.hlc, outcome.hlc]
    assert stamps == sorted(set(stamps), key=lambda stamp: stamp or 0)
    # By the wall clocks alone the effect came before its cause.
    assert outcome.at_ns < command.issued_at_ns


async def test_whoever_reads_an_outcome_is_after_it() -> None:
    world = World()
    leader, manager = Member(world, "leader", -1.0), Member(world, "manager", 1.0)
    command = await leader.issue()
    assert isinstance(command, Command)
    outcome = await manager.consumer().handle(command)
    assert outcome.hlc is not None
    assert leader.hlc.latest < outcome.hlc
    assert await leader.commands().outcome(command) == outcome
    assert leader.hlc.now() > outcome.hlc


async def test_whoever_asks_the_log_for_a_command_is_after_all_that_happened_to_it() -> None:
    world = World()
    leader, manager, auditor = (
        Member(world, "leader", 0.0), Member(world, "manager", 1.0), Member(world, "a", -1.0)
    )  # fmt: skip
    command = await leader.issue()
    assert isinstance(command, Command)
    outcome = await manager.consumer().handle(command)
    assert await auditor.commands().log.outcome("c1") == outcome
    assert auditor.hlc.now() > (outcome.hlc or 0)


async def test_what_recover_settles_comes_after_what_was_started() -> None:
    world = World()
    first, again = Member(world, "manager", 1.0), Member(world, "manager", -1.0)
    await Member(world, "leader", 0.0).issue()
    started = Started(command_id="c1", epoch=1, consumer="manager", at_ns=1, hlc=first.hlc.now())
    key = f"command/{SCOPE}/c1/started"
    await world.store.commit(Transaction((Put(key, encode(started)),)))
    [settled] = await again.consumer().recover()
    assert (settled.hlc or 0) > (started.hlc or 0)


async def test_a_refused_issue_is_stamped_too() -> None:
    world = World()
    refused = await Member(world, "leader", 0.0).issue(None)
    assert isinstance(refused, Outcome)
    found = await OutcomeLog(world.store).find("c1", scope=SCOPE)
    assert found is not None
    assert (found.command.hlc or 0) < (refused.hlc or 0)


async def test_a_timestamp_too_far_ahead_is_told_and_the_command_is_served_all_the_same() -> None:
    world = World()
    leader, manager = Member(world, "leader", 3_600.0), Member(world, "manager", 0.0)
    command = await leader.issue()
    assert isinstance(command, Command)
    outcome = await manager.consumer().handle(command)
    assert (outcome.status, world.ledger.calls) == ("applied", ["c1"])
    assert outcome.hlc is not None
    assert outcome.hlc < (command.hlc or 0)
    assert manager.hlc.counts.refused == 1
    assert manager.log.events == ["hlc_not_observed", "command_outcome"]


async def test_a_clock_that_was_set_back_holds_up_neither_issuer_nor_consumer() -> None:
    world = World()
    leader, manager = Member(world, "leader", 0.0), Member(world, "manager", 0.0)
    for member in (leader, manager):
        member.hlc.now()
    world.clock.step_wall(-60)
    command = await leader.issue()
    assert isinstance(command, Command)
    assert command.hlc is None
    outcome = await manager.consumer().handle(command)
    assert (outcome.status, outcome.hlc) == ("applied", None)


@pytest.mark.parametrize(
    "record",
    [
        Command(command_id="c", scope="s", action="a", leader_epoch=1, issuer="x", issued_at_ns=1),
        Started(command_id="c", epoch=1, consumer="x", at_ns=1),
        Outcome(command_id="c", status="noop", epoch=1, consumer="x", at_ns=1),
    ],
    ids=lambda record: type(record).__name__,
)
async def test_a_record_from_before_the_timestamps_is_still_read(
    record: Command | Started | Outcome,
) -> None:
    written = msgspec.json.decode(encode(record))
    del written["hlc"]
    assert msgspec.json.decode(msgspec.json.encode(written), type=type(record)) == record


@pytest.mark.parametrize("hlc", [-1, MAX_TOKEN + 1, "018bcfe5687b-0001", 1.5])
async def test_a_stored_timestamp_that_cannot_be_one_makes_the_record_corrupt(
    hlc: object,
) -> None:
    world = World()
    command = await Member(world, "leader", 0.0).issue()
    assert isinstance(command, Command)
    forged = {**msgspec.json.decode(encode(command)), "hlc": hlc}
    key = f"command/{SCOPE}/c1/issued"
    await world.store.commit(Transaction((Put(key, msgspec.json.encode(forged)),)))
    with pytest.raises(CorruptRecord, match="hlc"):
        await OutcomeLog(world.store).find("c1", scope=SCOPE)


async def test_a_forged_timestamp_at_the_end_of_time_is_refused_and_the_command_served() -> None:
    world = World()
    manager = Member(world, "manager", 0.0)
    command = msgspec.structs.replace(await world.issued(), hlc=HlcTimestamp(MAX_TOKEN))
    key = f"command/{SCOPE}/{command.command_id}/issued"
    await world.store.commit(Transaction((Put(key, encode(command)),)))
    outcome = await manager.consumer().handle(command)
    assert outcome.status == "applied"
    assert manager.hlc.latest < hlc_timestamp(manager.clock.wall_ns() + 10**9)
