"""What faults do to a world, alone and over one another, and that all is as before at their end."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from federlib.errors import InvalidInput
from federlib.testing.sim import (
    SECOND_NS,
    Fault,
    Fleet,
    Kind,
    Link,
    Network,
    Schedule,
    Simulation,
    StoreFaults,
    Terms,
    Troubles,
    draw_schedule,
)

CALM = Terms(resign_percent=0, offset_ms=0, drift_ppm=150)


def armed(*faults: Fault, seed: int = 1) -> Fleet:
    fleet = Fleet(seed, CALM)
    Schedule(faults=faults).arm(fleet)
    return fleet


def fault(at_s: float, kind: Kind, who: str = "", for_s: float = 0, amount: int = 0) -> Fault:
    return Fault(
        at_ms=round(at_s * 1_000), kind=kind, who=who, for_ms=round(for_s * 1_000), amount=amount
    )


def is_through(fleet: Fleet, source: str, target: str) -> bool:
    return fleet.network.send(source, target, lambda _: None, None)


def test_a_link_that_was_cut_follows_what_holds_of_all() -> None:
    with Simulation(seed=1) as sim:
        network = Network(sim)
        network.default.loss_ppm = 1_000_000
        network.cut(["a"], ["b"])
        network.default.loss_ppm = 0
        assert not network.send("a", "b", lambda _: None, None)
        network.cut(["a"], ["b"], is_cut=False)
        assert network.send("a", "b", lambda _: None, None)
        network.default.loss_ppm = 1_000_000
        assert not network.send("a", "b", lambda _: None, None)


# Faults that overlap.


def test_of_two_faults_of_a_field_the_newest_holds_and_the_last_end_restores() -> None:
    with armed(
        fault(1, "lose", for_s=4, amount=100), fault(3, "lose", for_s=4, amount=900)
    ) as fleet:
        seen = []
        for _ in range(8):
            fleet.run(1)
            seen.append(fleet.network.default.loss_ppm)
        assert seen == [100, 100, 900, 900, 900, 900, 0, 0]


def test_a_fault_within_another_gives_way_to_it_again() -> None:
    with armed(
        fault(1, "store_slow", for_s=6, amount=9), fault(2, "store_slow", for_s=2, amount=50)
    ) as fleet:
        seen = []
        for _ in range(8):
            fleet.run(1)
            seen.append((fleet.store.faults.slow_ppm, fleet.store.faults.slow_ns // 1_000_000))
        half = 500_000
        assert seen == [*[(half, 9)], *[(half, 50)] * 2, *[(half, 9)] * 3, *[(0, 0)] * 2]


def test_who_is_killed_twice_starts_after_the_last() -> None:
    with armed(fault(1, "kill", "n1", 3), fault(2, "reboot", "n1", 4)) as fleet:
        seen = []
        for _ in range(7):
            fleet.run(1)
            seen.append(fleet.nodes["n1"].is_up)
        assert seen == [False, False, False, False, False, True, True]
        assert fleet.nodes["n1"].life == 2


def test_who_is_killed_for_ever_is_not_started_by_the_end_of_another_kill() -> None:
    with armed(fault(1, "kill", "n1"), fault(2, "kill", "n1", 1)) as fleet:
        fleet.run(9)
        assert not fleet.nodes["n1"].is_up


def test_who_is_stopped_twice_goes_on_after_the_last() -> None:
    with armed(fault(1, "stop", "n1", 3), fault(2, "stop", "n1", 4)) as fleet:
        seen: list[object] = []
        fleet.sim.after(3 * SECOND_NS, lambda _: fleet.nodes["n1"].later(0, seen.append, 1), None)
        fleet.run(5.9)
        assert seen == []
        fleet.run(0.2)
        assert seen == [1]


def test_a_new_life_does_not_stay_stopped_for_what_befell_the_old_one() -> None:
    with armed(fault(1, "stop", "n1", 8), fault(2, "kill", "n1", 1)) as fleet:
        fleet.run(4)
        seen: list[object] = []
        fleet.nodes["n1"].later(0, seen.append, 1)
        fleet.run(0.1)
        assert seen == [1]


def test_a_link_that_two_faults_cut_is_mended_by_the_end_of_both() -> None:
    with armed(fault(1, "isolate", "n1", 3), fault(2, "isolate", "n2", 4)) as fleet:
        fleet.run(4.5)
        assert not is_through(fleet, "n1", "n2")
        assert is_through(fleet, "n1", "store")
        fleet.run(2)
        assert is_through(fleet, "n1", "n2")


def test_a_clock_runs_as_before_after_a_drift_over_a_frozen_one() -> None:
    with armed(
        fault(1, "clock_drift", "n1", 4, amount=1_000), fault(2, "clock_freeze", "n1", 5)
    ) as fleet:
        clock = fleet.nodes["n1"].clock
        before = clock.drift_ppm
        assert before != 0
        seen = []
        for _ in range(8):
            fleet.run(1)
            seen.append(clock.drift_ppm)
        frozen = -1_000_000
        assert seen == [1_000, *[frozen] * 5, *[before] * 2]


def test_who_is_struck_twice_is_not_well_before_both_are_over() -> None:
    with armed(fault(10, "isolate", "n1", 3), fault(11, "slow", "n1", 6, amount=1)) as fleet:
        fleet.run(15)
        fleet.has_odd_clocks = False
        assert not fleet.is_well("n1")
        fleet.run(9)
        assert not fleet.is_well("n1"), "what it left behind is given some seconds"
        fleet.run(2)
        assert fleet.is_well("n1")


@pytest.mark.parametrize("seed", range(30))
def test_when_all_faults_have_ended_all_is_as_before_the_first(seed: int) -> None:
    with Fleet(seed, CALM) as fleet:
        drifts = [node.clock.drift_ppm for node in fleet.nodes.values()]
        walls = [node.clock.wall_ns() - fleet.sim.now_ns for node in fleet.nodes.values()]
        # Close together, so that they overlap.
        schedule = draw_schedule(fleet.sim.rng("schedule"), until_ms=8_000, most=16)
        schedule.arm(fleet)
        fleet.run(9)
        assert fleet.troubles.begun.total() > 0
        assert [node.clock.drift_ppm for node in fleet.nodes.values()] == drifts
        assert attrs.evolve(fleet.network.default, free_at_ns=0) == Link()
        assert fleet.store.faults == StoreFaults()
        assert all(node.is_up for node in fleet.nodes.values())
        places = ["store", *fleet.nodes]
        assert all(is_through(fleet, a, b) for a in places for b in places)
        kinds = {fault.kind for fault in schedule.faults}
        if not kinds & {"clock_drift", "clock_freeze"}:
            now = [node.clock.wall_ns() - fleet.sim.now_ns for node in fleet.nodes.values()]
            assert all(abs(a - b) < 10_000_000 for a, b in zip(walls, now, strict=True))


# A world that was healed.


def test_in_a_healed_world_no_fault_begins_and_no_end_changes_anything() -> None:
    with armed(
        fault(1, "kill", "n1", 4),
        fault(1, "stop", "n2", 4),
        fault(1, "lose", for_s=4, amount=1_000),
        fault(1, "clock_step", "n3", 4, amount=60_000),
        fault(3, "store_down"),
    ) as fleet:
        fleet.run(2)
        fleet.heal()
        fleet.nodes["n2"].stop()
        fleet.network.default.loss_ppm = 7
        fleet.run(4)
        assert fleet.network.default.loss_ppm == 7
        assert not fleet.store.faults.is_down
        assert fleet.nodes["n1"].life == 2
        assert fleet.troubles.begun == {"kill": 1, "stop": 1, "lose": 1, "clock_step": 1}
        seen: list[object] = []
        fleet.nodes["n2"].later(0, seen.append, 1)
        fleet.run(1)
        assert seen == [], "what was stopped after the healing stays so"
        ahead_ns = fleet.nodes["n3"].clock.wall_ns() - fleet.nodes["n4"].clock.wall_ns()
        assert round(ahead_ns / SECOND_NS) == 60


def test_who_is_not_there_is_not_struck_and_not_counted() -> None:
    with armed(
        *(fault(1, "kill", f"n{number}") for number in range(1, 6)),
        *(fault(2, kind, "any") for kind in ("stop", "isolate")),
        fault(2, "kill", "leader"),
        fault(3, "stop", "n1"),
    ) as fleet:
        fleet.run(5)
        assert fleet.troubles.begun == {"kill": 5}


def test_a_replay_counts_once_there_is_a_reign_that_is_over() -> None:
    with armed(fault(3, "replay"), fault(5, "kill", "leader", 5), fault(20, "replay")) as fleet:
        fleet.run(4)
        assert fleet.troubles.begun == {}
        fleet.run(20)
        assert fleet.troubles.begun == {"kill": 1, "replay": 1}


def test_troubles_that_do_the_same_are_still_two() -> None:
    troubles, seen = Troubles(), list[str]()

    def mark() -> None:
        seen.append("broken")

    lifts = [troubles.lay("it", mark, lambda: seen.append("whole")) for _ in range(2)]
    lifts[0]()
    lifts[0]()
    assert seen == ["broken", "broken"]
    lifts[1]()
    assert seen == ["broken", "broken", "whole"]
    lifts[1]()
    assert seen == ["broken", "broken", "whole"]


# What is no fault.


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("kill", {"who": ""}),
        ("kill", {"who": "n\n"}),
        ("kill", {"who": "é"}),
        ("kill", {"who": "n" * 101}),
        ("kill", {"who": 3}),
        ("lose", {"who": "n1"}),
        ("replay", {"who": "any"}),
    ],
)
def test_whom_it_strikes_is_said_where_it_strikes_one(kind: Kind, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="who"):
        Fault(at_ms=1, kind=kind, **fields)


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("kill", 0, 0),
        ("store_down", 0, 0),
        ("slow", 0, 10**9),
        ("clock_step", -(10**9), 10**9),
        ("clock_drift", -(10**6), 10**9),
        ("lose", 0, 10**6),
        ("narrow", 1, 10**9),
        ("store_slow", 0, 10**9),
    ],
)
def test_an_amount_keeps_to_what_its_kind_can_be(kind: Kind, least: int, most: int) -> None:
    who = "n1" if kind in {"kill", "slow", "clock_step", "clock_drift"} else ""
    for amount in (least, most):
        assert Fault(at_ms=1, kind=kind, who=who, amount=amount).amount == amount
    for amount in (least - 1, most + 1):
        with pytest.raises(InvalidInput, match="amount"):
            Fault(at_ms=1, kind=kind, who=who, amount=amount)
