"""A deadline is looked at last thing before the handler acts."""

from __future__ import annotations

import pytest

from federlib.fencing import ActuationStatus, Command, CommandConsumer, OutcomeLog, issue
from federlib.storage import Committed, Conflicted, Transaction, open_store
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock

pytestmark = pytest.mark.anyio


class SlowStore(MemoryStore):
    """A store whose commits take ten seconds of the manual clock."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.clock = clock

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        self.clock.advance(10)
        return await super().commit(transaction)


async def test_a_command_that_expires_while_it_is_started_is_not_acted_on() -> None:
    clock = ManualClock()
    store = SlowStore(clock)
    acted: list[str] = []

    async def act(command: Command) -> ActuationStatus:
        acted.append(command.command_id)
        return "applied"

    command = await issue(store, "boss", "scale", epoch=1, issuer="me", clock=clock, deadline_s=15)
    assert isinstance(command, Command)
    consumer = CommandConsumer(store, "boss", act, consumer_id="c", clock=clock)
    outcome = await consumer.handle(command)
    assert acted == []
    assert outcome.status == "rejected_expired"
    record = await OutcomeLog(store).find(command.command_id)
    assert record is not None
    assert record.outcome == outcome


async def test_a_command_in_time_is_acted_on() -> None:
    clock = ManualClock()
    store = await open_store("memory://", clock=clock)
    command = await issue(store, "boss", "scale", epoch=1, issuer="me", clock=clock, deadline_s=15)
    assert isinstance(command, Command)

    async def act(command: Command) -> ActuationStatus:
        return "noop"

    consumer = CommandConsumer(store, "boss", act, consumer_id="c", clock=clock)
    assert (await consumer.handle(command)).status == "noop"
