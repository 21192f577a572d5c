"""Issuing: only the present epoch gets a command in; a refusal is kept with its command."""

from __future__ import annotations

import pytest

from federlib.errors import Fenced, InvalidInput, LeaseLost, NotLeader, OutcomeUnknown
from federlib.fencing import Command, FenceGuard, Outcome, OutcomeLog, issue
from federlib.storage.backends.memory import MemoryStore
from fencing.worlds import SCOPE, ForgetfulStore, World


async def refused(world: World, status: str) -> Outcome:
    """Return the only command's recorded outcome."""
    entries = [entry async for entry in OutcomeLog(world.store).commands()]
    assert len(entries) == 1
    outcome = entries[0].outcome
    assert outcome is not None
    assert entries[0].started is None
    assert outcome.status == status
    assert world.sink.value("federlib_commands_total", status=status) == 1
    return outcome


@pytest.mark.anyio
async def test_a_leaders_command_waits_in_the_store_and_raises_the_mark() -> None:
    world = World()
    command = await world.issued(4)
    assert (command.scope, command.leader_epoch, command.issuer) == (SCOPE, 4, "leader-1")
    entry = await OutcomeLog(world.store).find(command.command_id)
    assert entry == (command, None, None)
    assert await FenceGuard(world.store, SCOPE).high_water() == 4


@pytest.mark.parametrize("epoch", [None, 0])
@pytest.mark.anyio
async def test_who_does_not_lead_gets_a_recorded_refusal(epoch: int | None) -> None:
    world = World()
    outcome = await world.issue(epoch)
    assert outcome == await refused(world, "rejected_not_leader")
    assert await FenceGuard(world.store, SCOPE).high_water() == 0


@pytest.mark.anyio
async def test_a_deposed_leader_gets_a_recorded_refusal() -> None:
    world = World()
    await FenceGuard(world.store, SCOPE).admit(5)
    outcome = await world.issue(4)
    assert outcome == await refused(world, "rejected_stale_epoch")


@pytest.mark.parametrize(
    ("fenced", "status"),
    [
        (NotLeader(SCOPE, role="follower", leader="b"), "rejected_not_leader"),
        (LeaseLost(SCOPE, token=4, reason="deadline"), "rejected_not_leader"),
        (None, "rejected_stale_epoch"),
    ],
)
@pytest.mark.anyio
async def test_the_gate_is_asked_right_before_the_write(fenced: Fenced | None, status: str) -> None:
    world = World()

    def gate() -> int:
        if fenced is not None:
            raise fenced
        return 5  # We lead again, but the decision is of an earlier reign.

    outcome = await issue(
        world.store,
        SCOPE,
        "scale",
        epoch=4,
        issuer="a",
        clock=world.clock,
        gate_check=gate,
        telemetry=world.telemetry,
    )
    assert outcome == await refused(world, status)


@pytest.mark.anyio
async def test_an_id_is_issued_once() -> None:
    world = World()
    first = await world.issued(4, command_id="c1")
    again = await world.issue(4, command_id="c1")
    assert isinstance(again, Outcome)
    assert again.status == "rejected_duplicate"
    entry = await OutcomeLog(world.store).find("c1")
    assert entry == (first, None, None)
    assert await OutcomeLog(world.store).counts() == {"rejected_duplicate": 1}


@pytest.mark.anyio
async def test_a_follower_cannot_end_a_leaders_command_by_its_id() -> None:
    world = World()
    await world.issued(4, command_id="c1")
    for epoch in (None, 3):
        outcome = await world.issue(epoch, command_id="c1")
        assert isinstance(outcome, Outcome)
        assert outcome.status == "rejected_duplicate"
    assert await OutcomeLog(world.store).outcome("c1") is None


@pytest.mark.anyio
async def test_a_lost_answer_does_not_issue_twice() -> None:
    world = World()
    store = ForgetfulStore(world.store, lost=3)
    command = await world.issue(4, store=store)
    assert isinstance(command, Command)
    assert await world.keys() == [f"{command.command_id}/issued"]


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.anyio
async def test_after_no_answer_at_all_the_same_id_tells_whether_it_got_in(
    is_applied: bool,
) -> None:
    world = World()
    store = ForgetfulStore(world.store, lost=4, is_applied=is_applied)
    with pytest.raises(OutcomeUnknown):
        await world.issue(4, command_id="c1", store=store)
    again = await world.issue(4, command_id="c1")
    assert isinstance(again, Outcome) == is_applied
    assert (await world.keys())[-1] == "c1/issued"


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": ""},
        {"action": "x" * 201},
        {"issuer": ""},
        {"epoch": -1},
        {"epoch": True},
        {"epoch": 2**63},
        {"command_id": "a/b"},
        {"command_id": ""},
        {"deadline_s": -1.0},
        {"payload": object()},
        {"payload": "x" * 70_000},
        {"decision_id": "x" * 201},
        {"decision_id": 5},
        {"scope": ""},
        {"scope": "a\0"},
    ],
)
@pytest.mark.anyio
async def test_what_cannot_be_right_is_refused_and_leaves_no_record(
    wrong: dict[str, object],
) -> None:
    world = World()
    arguments: dict[str, object] = {
        "scope": SCOPE, "action": "scale", "epoch": 1, "issuer": "a", "clock": world.clock,
    } | wrong  # fmt: skip
    with pytest.raises(InvalidInput):
        await issue(world.store, **arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert (await world.store.scan("command/")).records == ()
    assert (await world.store.scan("fence/")).records == ()


@pytest.mark.anyio
async def test_drawn_ids_sort_by_time_in_the_log() -> None:
    world = World()
    world.store = MemoryStore(world.clock)
    issued = []
    for _ in range(5):
        issued.append((await world.issued(4)).command_id)
        world.clock.advance(0.001)
    log = [entry.command.command_id async for entry in OutcomeLog(world.store).commands()]
    assert log == issued


@pytest.mark.anyio
async def test_an_id_that_a_refused_issuer_has_spent_is_told_from_one_that_got_in() -> None:
    world = World()
    refused_first = await world.issue(None, command_id="c1")
    assert isinstance(refused_first, Outcome)
    again = await world.issue(1, command_id="c1")
    await world.issued(1, command_id="c2")
    waiting = await world.issue(1, command_id="c2")
    await world.consumer().handle(await world.issued(1, command_id="c3"))
    acted_on = await world.issue(1, command_id="c3")
    told = [(o.status, o.reason) for o in (again, waiting, acted_on) if isinstance(o, Outcome)]
    assert told == [
        ("rejected_duplicate", "already rejected_not_leader"),
        ("rejected_duplicate", "already issued"),
        ("rejected_duplicate", "already applied"),
    ]
