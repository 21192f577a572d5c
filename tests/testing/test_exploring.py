"""Seeds, fault schedules and what must hold: the fleet goes on, and a broken one is found out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from federlib.errors import InvalidInput
from federlib.fencing.journal import CommandJournal
from federlib.lease import queue
from federlib.testing.sim import (
    KINDS,
    PRESETS,
    Fault,
    Fleet,
    Schedule,
    Terms,
    explore,
    play,
    preset,
    shrink,
    shrunk,
)


def test_a_fleet_that_nothing_happens_to_has_one_leader_and_does_each_command_once() -> None:
    with Fleet(seed=1, terms=Terms(resign_percent=0)) as fleet:
        fleet.run(seconds=30)
        ledger = fleet.ledger
        assert fleet.violations == []
        assert len(ledger.reigns) == 1
        assert fleet.leader is fleet.nodes[ledger.reigns[0].leader]
        assert 50 < ledger.issued_count < 62
        assert set(ledger.calls.values()) == {1}
        assert ledger.issued_count - len(ledger.calls) <= 1


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_fleet_survives_what_every_coordinator_must(name: str) -> None:
    for played in explore(range(5), preset(name)):
        assert played.violations == (), played.seed
        assert played.applied > 10


def test_drawn_schedules_of_fresh_seeds_break_nothing() -> None:
    met: set[str] = set()
    for played in explore(range(40)):
        assert played.violations == (), (played.seed, played.schedule.to_json())
        met.update(fault.kind for fault in played.schedule.faults)
    assert met == set(KINDS)


def test_the_same_seed_plays_the_same_and_another_another() -> None:
    one, again, other = play(3), play(3), play(4)
    assert (one.digest, one.events) == (again.digest, again.events)
    assert other.digest != one.digest
    assert play(3, one.schedule).schedule == one.schedule


# Broken fleets.


def test_a_token_that_does_not_rise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = queue.next_token

    def stuck(view: queue.View) -> int:
        return max(1, kept(view) - 1)

    monkeypatch.setattr(queue, "next_token", stuck)
    assert any("tokens_rise" in text for text in play(1, preset("leader_kill")).violations)


def test_an_effect_before_its_mark_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unmarked(*_arguments: Any, **_fields: Any) -> bool:
        return True

    monkeypatch.setattr(CommandJournal, "start", unmarked)
    found = play(1, preset("leader_kill"))
    assert any("applied_at_most_once" in text for text in found.violations)
    smaller = shrunk(found)
    assert any("applied_at_most_once" in text for text in smaller.violations)
    assert smaller.schedule.faults == (), "two consumers are enough"


# Schedules.


@pytest.mark.parametrize("field", ["at_ms", "for_ms", "amount"])
@pytest.mark.parametrize("value", [math.nan, 0.5, True, 2**40, "1"])
def test_a_fault_that_cannot_be_is_refused(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"at_ms": 1, "kind": "kill", field: value}
    with pytest.raises(InvalidInput, match=field):
        Fault(**fields)


def test_a_fault_of_nobody_and_a_preset_that_is_none_are_refused() -> None:
    with pytest.raises(InvalidInput, match="who"):
        play(1, Schedule(faults=(Fault(at_ms=1, kind="kill", who="nobody"),)))
    with pytest.raises(InvalidInput, match="leader_kill"):
        preset("sunny_day")


def test_shrinking_leaves_only_what_breaks() -> None:
    faults = tuple(Fault(at_ms=number, kind="kill", who="n1", for_ms=800) for number in range(20))

    def is_broken(schedule: Schedule) -> bool:
        times = {fault.at_ms: fault.for_ms for fault in schedule.faults}
        return times.get(3, 0) >= 200 and 17 in times

    small = shrink(Schedule(faults=faults), is_broken)
    assert [fault.at_ms for fault in small.faults] == [3, 17]
    assert 200 <= small.faults[0].for_ms < 800
    assert small.faults[1].for_ms < 800


def test_the_terms_of_a_fleet_are_kept() -> None:
    calm = Terms(nodes=3, consumers=0, command_every_s=0, ttl_s=5, resign_percent=0)
    with Fleet(1, calm) as fleet:
        fleet.run(seconds=20)
        assert (len(fleet.nodes), len(fleet.ledger.reigns)) == (3, 1)
        assert (fleet.ledger.issued_count, fleet.ledger.calls) == (0, {})


def test_who_sees_the_lease_expired_first_does_not_pass_one_that_stood_in_line_before() -> None:
    # The leader's machine needs no tolerance to judge the leader's own clock.
    killed = Schedule(faults=(Fault(at_ms=4, kind="kill", who="leader", for_ms=100),))
    assert play(5, killed, terms=Terms(nodes=2, resign_percent=0)).violations == ()
