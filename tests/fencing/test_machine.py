"""A state machine drives consumers, leaders and crashes against a simple model."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import anyio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from federlib.fencing import (
    ActuationStatus,
    Command,
    CommandConsumer,
    FenceGuard,
    Outcome,
    OutcomeLog,
    issue,
    violations,
)
from fencing.worlds import SCOPE, Killed, KillingStore, World, a_command

T = TypeVar("T")
CONSUMERS = ("manager-1", "manager-2")


class FencingMachine(RuleBasedStateMachine):
    """The model: the highest epoch, the calls made, and the outcome of each command."""

    commands = Bundle("commands")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.high_water = 0
        self.calls: list[Command] = []
        self.outcomes: dict[str, str] = {}
        self.started: dict[str, str] = {}
        self.drawn = 0
        self.answer: ActuationStatus = "applied"
        self.epochs_called: list[int] = []

    async def act(self, command: Command) -> ActuationStatus:
        self.calls.append(command)
        return self.answer

    def consumer(self, name: str, *, dies_at: int | None = None) -> CommandConsumer:
        store = self.world.store
        if dies_at is not None:
            store = KillingStore(store, at=(dies_at + 1) // 2, is_after=dies_at % 2 == 0)
        return CommandConsumer(
            store,
            SCOPE,
            self.act,
            consumer_id=name,
            clock=self.world.clock,
            token=self.world.token,
        )

    def run(self, what: Awaitable[T]) -> T:
        async def main() -> T:
            return await what

        return anyio.run(main)

    def new_id(self) -> str:
        self.drawn += 1
        return f"c{self.drawn}"

    def deadline_passed(self, command: Command) -> bool:
        return command.deadline_ns is not None and self.world.clock.wall >= command.deadline_ns

    def expected(self, command: Command) -> str:
        """Say what a delivery must come to."""
        if command.command_id in self.outcomes or command.command_id in self.started:
            return "rejected_duplicate"
        if self.deadline_passed(command):
            return "rejected_expired"
        if command.leader_epoch == 0:
            return "rejected_not_leader"
        if command.leader_epoch < self.high_water:
            return "rejected_stale_epoch"
        return self.answer

    @rule(target=commands, epoch=st.integers(0, 6), deadline_s=st.none() | st.floats(1, 5))
    def issue(self, epoch: int, deadline_s: float | None) -> Command:
        command_id = self.new_id()
        result = self.run(
            issue(
                self.world.store, SCOPE, "scale", epoch=epoch or None, issuer="leader",
                clock=self.world.clock, command_id=command_id, deadline_s=deadline_s,
                token=self.world.token,
            )
        )  # fmt: skip
        if epoch and epoch >= self.high_water:
            assert isinstance(result, Command)
            self.high_water = epoch
            return result
        assert isinstance(result, Outcome)
        assert result.status == ("rejected_stale_epoch" if epoch else "rejected_not_leader")
        self.outcomes[command_id] = result.status
        entry = self.run(OutcomeLog(self.world.store).find(command_id))
        assert entry is not None
        return entry.command

    @rule(target=commands, epoch=st.integers(0, 6), seconds=st.none() | st.floats(1, 5))
    def comes_past_the_store(self, epoch: int, seconds: float | None) -> Command:
        deadline_ns = None if seconds is None else self.world.clock.wall + round(seconds * 1e9)
        return a_command(self.new_id(), epoch=epoch, deadline_ns=deadline_ns)

    @rule(
        command=commands,
        name=st.sampled_from(CONSUMERS),
        answer=st.sampled_from(["applied", "noop", "actuation_failed"]),
    )
    def deliver(self, command: Command, name: str, answer: ActuationStatus) -> None:
        self.answer = answer
        expected = self.expected(command)
        outcome = self.run(self.consumer(name).handle(command))
        assert outcome.status == expected
        if expected != "rejected_duplicate":
            self.settle(command, expected)

    def settle(self, command: Command, status: str) -> None:
        self.outcomes[command.command_id] = status
        if not status.startswith("rejected_"):
            self.high_water = max(self.high_water, command.leader_epoch)
            self.epochs_called.append(command.leader_epoch)

    @rule(command=commands, name=st.sampled_from(CONSUMERS), dies_at=st.integers(1, 4))
    def die_while_handling(self, command: Command, name: str, dies_at: int) -> None:
        self.answer = "applied"
        expected = self.expected(command)
        try:
            self.run(self.consumer(name, dies_at=dies_at).handle(command))
        except Killed:
            pass
        else:
            # Only an actuation takes more than one commit.
            assert dies_at > 2
            assert expected != "applied"
            if expected != "rejected_duplicate":
                self.settle(command, expected)
            return
        if expected == "applied":
            if dies_at in (2, 3):
                self.started[command.command_id] = name
                self.high_water = max(self.high_water, command.leader_epoch)
                self.epochs_called.append(command.leader_epoch)
            elif dies_at == 4:
                self.settle(command, expected)
        elif dies_at == 2 and expected != "rejected_duplicate":
            self.settle(command, expected)

    @rule(name=st.sampled_from(CONSUMERS))
    def recover(self, name: str) -> None:
        settled = self.run(self.consumer(name).recover())
        ours = sorted(c for c, who in self.started.items() if who == name)
        assert sorted(o.command_id for o in settled) == ours
        for outcome in settled:
            assert (outcome.status, outcome.reason) == ("actuation_failed", "unknown")
            self.outcomes[outcome.command_id] = outcome.status
            del self.started[outcome.command_id]

    @rule(epoch=st.integers(1, 7))
    def a_leader_takes_over(self, epoch: int) -> None:
        if epoch >= self.high_water:
            self.run(FenceGuard(self.world.store, SCOPE).admit(epoch))
            self.high_water = epoch

    @rule(seconds=st.floats(0.5, 3))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @invariant()
    def nothing_was_applied_twice(self) -> None:
        called = [command.command_id for command in self.calls]
        assert len(called) == len(set(called))

    @invariant()
    def no_epoch_below_an_accepted_one_was_accepted(self) -> None:
        epochs = [command.leader_epoch for command in self.calls]
        assert epochs == sorted(epochs)
        assert self.epochs_called == sorted(self.epochs_called)

    @invariant()
    def the_mark_is_the_models(self) -> None:
        assert self.run(FenceGuard(self.world.store, SCOPE).high_water()) == self.high_water

    def teardown(self) -> None:
        log = OutcomeLog(self.world.store)

        async def recorded() -> dict[str, str]:
            return {
                entry.command.command_id: entry.outcome.status
                async for entry in log.commands()
                if entry.outcome is not None
            }

        assert self.run(recorded()) == self.outcomes
        assert violations(self.run(log.audit())) == ()


FencingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestFencingMachine = FencingMachine.TestCase
