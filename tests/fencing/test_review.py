"""A gate before issuing: what it says is kept, and whoever was followed meanwhile is refused."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec
import pytest

from federlib.errors import InvalidInput, LeaseLost, Unavailable
from federlib.fencing import Command, Outcome, OutcomeLog, issue
from federlib.fencing.records import MAX_CAUSAL_BYTES
from fencing.worlds import SCOPE, World

pytestmark = pytest.mark.anyio


@attrs.frozen
class Found:
    """What a gate of somebody else's found."""

    reason: str = ""
    is_refused: bool = False
    said: bytes = b'{"b": 1, "a": 2}'

    def encode(self) -> bytes:
        return self.said


class Gate:
    """Answers as it is told, and counts how often it is asked."""

    def __init__(self, found: Found | None, then: Callable[[], None] = lambda: None) -> None:
        self.found = found
        self.then = then
        self.asked: list[Command] = []

    async def review(self, command: Command) -> Found | None:
        self.asked.append(command)
        self.then()
        return self.found


async def issued(
    world: World,
    gate: Gate,
    *,
    epoch: int | None = 4,
    check: Callable[[], int] | None = None,
    command_id: str | None = None,
) -> Command | Outcome:
    return await issue(
        world.store,
        SCOPE,
        "restart_many",
        {"n": 3},
        epoch=epoch,
        issuer="leader-1",
        clock=world.clock,
        gate_check=check,
        review=gate,
        command_id=command_id,
        telemetry=world.telemetry,
    )


async def test_what_it_says_is_kept_with_the_command() -> None:
    world, gate = World(), Gate(Found())
    command = await issued(world, gate)
    assert isinstance(command, Command)
    assert bytes(command.causal) == b'{"a":2,"b":1}'
    entry = await OutcomeLog(world.store).find(command.command_id)
    assert entry is not None
    assert entry.command == command
    assert [each.command_id for each in gate.asked] == [command.command_id]


async def test_a_refusal_is_recorded_with_its_reason() -> None:
    world, reason = World(), "because " * 60
    outcome = await issued(world, Gate(Found(reason, is_refused=True)))
    assert isinstance(outcome, Outcome)
    assert outcome.status == "rejected_causal"
    assert outcome.reason.endswith("…")
    assert outcome.detail == reason
    entry = await OutcomeLog(world.store).find(outcome.command_id)
    assert entry is not None
    assert (entry.outcome, entry.started) == (outcome, None)
    assert msgspec.json.decode(entry.command.causal) == {"a": 2, "b": 1}


async def test_a_gate_that_has_nothing_to_say_leaves_no_trace() -> None:
    command = await issued(World(), Gate(None))
    assert isinstance(command, Command)
    assert bytes(command.causal) == b"null"


async def test_who_does_not_lead_is_not_judged() -> None:
    gate = Gate(Found())
    outcome = await issued(World(), gate, epoch=None)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "rejected_not_leader"
    assert gate.asked == []


async def test_who_is_followed_while_the_gate_looks_is_refused() -> None:
    gate = Gate(Found())

    def check() -> int:
        if gate.asked:
            raise LeaseLost(SCOPE, token=4, reason="deadline")
        return 4

    outcome = await issued(World(), gate, check=check)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "rejected_not_leader"


@pytest.mark.parametrize(("found", "looks"), [(None, 1), (Found(), 2)])
async def test_the_seat_is_looked_at_again_only_after_a_judgement(
    found: Found | None, looks: int
) -> None:
    looked: list[int] = []

    def check() -> int:
        looked.append(4)
        return 4

    assert isinstance(await issued(World(), Gate(found), check=check), Command)
    assert len(looked) == looks


async def test_a_gate_that_fails_ends_the_issuing_and_nothing_is_recorded() -> None:
    def fail() -> None:
        raise Unavailable("the store", "away")

    world = World()
    with pytest.raises(Unavailable):
        await issued(world, Gate(None, then=fail))
    assert [each async for each in OutcomeLog(world.store).commands()] == []


@pytest.mark.parametrize("said", [b"", b"{", b'"' + b"x" * MAX_CAUSAL_BYTES + b'"'])
async def test_what_is_no_json_or_too_much_is_the_gates_mistake(said: bytes) -> None:
    world = World()
    with pytest.raises(InvalidInput):
        await issued(world, Gate(Found(said=said)))
    assert [each async for each in OutcomeLog(world.store).commands()] == []


async def test_a_second_issue_under_one_id_that_is_now_refused_leaves_the_first_alone() -> None:
    world = World()
    first = await issued(world, Gate(Found()), command_id="c1")
    again = await issued(world, Gate(Found("no", is_refused=True)), command_id="c1")
    assert isinstance(again, Outcome)
    assert (again.status, again.reason) == ("rejected_duplicate", "already issued")
    entry = await OutcomeLog(world.store).find("c1")
    assert entry is not None
    assert (entry.command, entry.outcome) == (first, None)
