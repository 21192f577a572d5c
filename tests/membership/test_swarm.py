"""Many cores together, in simulated time: small forms of what the benchmarks measure."""

from __future__ import annotations

from statistics import mean
from typing import Any

import pytest

from federlib.membership.config import SwimConfig
from federlib.membership.effects import MemberDied, MemberSuspected
from federlib.membership.lifecycle import NodeLifecycleState, TrackerLimits
from federlib.membership.messages import Alive, Gossip, encode_message, encode_update, pack
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole
from federlib.testing.swarm import Cell, Links, Swarm, play, summarise

HOUR_S = 3_600.0
REGIONS = (
    (0.0, 0.005, 0.05, 0.15),
    (0.005, 0.0, 0.05, 0.15),
    (0.05, 0.05, 0.0, 0.15),
    (0.15, 0.15, 0.15, 0.0),
)


def joined(size: int, **options: Any) -> Swarm:
    swarm = Swarm(size, **{"seed": 1, **options})
    swarm.start()
    swarm.run(15.0)
    return swarm


def agreed_at(swarm: Swarm, until_s: float) -> float:
    while swarm.now_s < until_s and not swarm.agrees():
        swarm.run(swarm.now_s + 1.0)
    assert swarm.agrees(), f"no agreement at {until_s} s"
    return swarm.now_s


def test_one_seed_replays_all() -> None:
    first, again, other = (play(Cell(12, 1, 0.05), seed=seed) for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_a_crash_is_found_by_all_within_seconds_and_nobody_else_is_accused() -> None:
    swarm = joined(20)
    assert swarm.agrees()
    swarm.crash(19)
    swarm.run(45.0)
    told = swarm.deaths(19)
    assert {each.observer for each in told} == set(range(19))
    assert 4.0 < told[0].at_s - 15.0 < 12.0
    assert told[-1].at_s - told[0].at_s < 2.0
    assert swarm.false_suspicions() == []


def test_starved_members_cost_no_life_and_less_than_in_plain_swim() -> None:
    cell = Cell(20, 2, 0.05)
    ours = summarise([play(cell, seed=1)])
    theirs = summarise([play(cell, seed=1, config=SwimConfig.plain_swim())])
    assert ours.with_false_death == 0
    assert ours.false_suspicions < theirs.false_suspicions / 2
    assert ours.bytes_a_node_s < theirs.bytes_a_node_s


def test_a_quiet_group_of_fifty_sends_little() -> None:
    swarm = Swarm(50, seed=1, links=Links(loss=0.01), coordinate=bytes(62))
    swarm.start()
    swarm.run(15.0)
    before = swarm.traffic.payload_bytes, swarm.traffic.datagrams
    swarm.run(45.0)
    bytes_a_s = (swarm.traffic.payload_bytes - before[0]) / 50 / 30
    packets_a_s = (swarm.traffic.datagrams - before[1]) / 50 / 30
    assert bytes_a_s + 40 * packets_a_s < 300


def test_a_hundred_that_start_at_once_find_each_other_without_suspicion() -> None:
    swarm = Swarm(100, seed=1, links=Links(loss=0.01))
    swarm.start(within_s=0.01)
    assert agreed_at(swarm, 20.0) <= 15.0
    assert swarm.false_suspicions() == []


def test_far_regions_are_not_declared_dead_and_a_far_crash_is_found_nearly_as_soon() -> None:
    far, near = list[float](), list[float]()
    for seed in range(4):
        links = Links(loss=0.01, regions=REGIONS)
        swarm = joined(24, seed=seed, links=links, knows_distances=True)
        swarm.crash(23)
        swarm.crash(20)
        swarm.run(45.0)
        assert swarm.false_deaths() == []
        far.append(swarm.deaths(23)[0].at_s)
        near.append(swarm.deaths(20)[0].at_s)
    assert mean(far) - mean(near) < 2.0


@pytest.mark.parametrize("size", [10, 30])
def test_a_loop_blocked_for_five_seconds_kills_nobody(size: int) -> None:
    swarm = joined(size)
    for number in range(3, 3 + size // 10):
        swarm.block(number, 5.0)
    swarm.run(45.0)
    assert swarm.false_deaths() == []
    assert swarm.agrees()


def test_a_partition_heals() -> None:
    swarm = joined(12)
    swarm.links.groups = {number: number % 2 for number in range(12)}
    swarm.run(60.0)
    for number in range(12):
        others = {f"n{each}" for each in range(12) if each % 2 == number % 2}
        assert swarm.alive_for(number) == others - {f"n{number}"}
    swarm.links.groups = {}
    assert agreed_at(swarm, 150.0) < 120.0
    assert all(swarm.core(number).incarnation >= 1 for number in range(12))


@pytest.mark.parametrize(
    ("size", "first_within_s", "all_within_s"), [(3, 16.0, 18.0), (6, 16.0, 24.0), (20, 18.0, 40.0)]
)
def test_the_last_one_left_finds_the_others_dead(
    size: int, first_within_s: float, all_within_s: float
) -> None:
    swarm = joined(size)
    for number in range(1, size):
        swarm.crash(number)
    swarm.run(15.0 + all_within_s)
    states = {each.state for each in swarm.core(0).members()}
    assert states == {NodeLifecycleState.DEAD}
    first_s = min(swarm.deaths(number)[0].at_s for number in range(1, size))
    assert first_s < 15.0 + first_within_s


@pytest.mark.parametrize("cut_s", [16.0, 25.0, 120.0])
def test_what_one_that_was_cut_off_alone_found_nobody_else_believes(cut_s: float) -> None:
    swarm = joined(20)
    swarm.links.groups = {number: int(number == 19) for number in range(20)}
    swarm.run(15.0 + cut_s)
    swarm.links.groups = {}
    agreed_at(swarm, 15.0 + cut_s + 60.0)
    misled = {
        each.event.node.name
        for each in swarm.seen
        if isinstance(each.event, MemberDied) and each.observer != 19
    }
    assert misled <= {"n19"}


def test_who_hears_again_gives_every_suspect_its_whole_time_anew() -> None:
    swarm = joined(20)
    swarm.links.groups = {number: int(number == 19) for number in range(20)}
    swarm.run(30.0)
    assert len(swarm.core(19).tracker.get_nodes_by_state(NodeLifecycleState.SUSPECT)) > 5
    swarm.links.groups = {}
    swarm.run(60.0)
    assert [each for each in swarm.seen if isinstance(each.event, MemberDied)] == swarm.deaths(19)


def test_clocks_that_lie_hours_apart_do_not_matter() -> None:
    swarm = joined(12, clock_offsets_s=lambda number: number * HOUR_S)
    assert swarm.agrees()
    swarm.crash(11)
    swarm.run(35.0)
    assert len(swarm.deaths(11)) == 11
    assert swarm.false_suspicions() == []


def test_who_restarts_is_known_again_before_and_after_its_death() -> None:
    swarm = joined(10)
    swarm.crash(9)
    swarm.run(16.0)
    swarm.restart(9)
    agreed_at(swarm, 25.0)
    assert swarm.deaths(9) == []
    swarm.crash(8)
    swarm.run(50.0)
    assert len({each.observer for each in swarm.deaths(8)}) == 9
    swarm.restart(8)
    agreed_at(swarm, 60.0)


def test_who_leaves_is_not_declared_dead() -> None:
    swarm = joined(10)
    swarm.leave(9)
    swarm.run(40.0)
    states = {number: swarm.core(number).member("n9") for number in range(9)}
    assert all(
        each is not None and each.state is NodeLifecycleState.LEFT for each in states.values()
    )
    assert swarm.deaths(9) == []


def test_workers_are_watched_by_those_that_they_push_to() -> None:
    roles = dict.fromkeys(range(6, 12), PeerRole.WORKER)
    swarm = joined(12, roles=roles)
    watchers = {number for number in range(6) if "n11" in swarm.alive_for(number)}
    assert len(watchers) == 3
    assert all(swarm.alive_for(number) == {f"n{e}" for e in range(6)} for number in range(6, 12))
    swarm.crash(11)
    swarm.run(40.0)
    assert {each.observer for each in swarm.deaths(11)} == watchers
    assert swarm.false_suspicions() == []
    swarm.restart(11)
    swarm.run(60.0)
    assert sum("n11" in swarm.alive_for(number) for number in range(6)) == 3


def test_a_worker_that_was_away_for_a_while_is_alive_again() -> None:
    roles = dict.fromkeys(range(4, 6), PeerRole.WORKER)
    swarm = joined(6, roles=roles)
    swarm.block(5, 4.0)
    swarm.run(40.0)
    suspected = [each for each in swarm.seen if isinstance(each.event, MemberSuspected)]
    assert {each.event.node.name for each in suspected} == {"n5"}
    assert swarm.deaths(5) == []
    assert sum("n5" in swarm.alive_for(number) for number in range(4)) == 3


def test_a_worker_finds_another_watcher_when_one_dies() -> None:
    roles = dict.fromkeys(range(6, 8), PeerRole.WORKER)
    swarm = joined(8, roles=roles)
    watchers = [number for number in range(6) if "n7" in swarm.alive_for(number)]
    swarm.crash(watchers[0])
    swarm.run(45.0)
    now = {n for n in range(6) if swarm.is_up(n) and "n7" in swarm.alive_for(n)}
    assert len(now) == 3
    assert set(watchers[1:]) < now


def test_a_worker_that_leaves_is_not_missed() -> None:
    roles = dict.fromkeys(range(4, 6), PeerRole.WORKER)
    swarm = joined(6, roles=roles)
    swarm.leave(5)
    swarm.run(40.0)
    assert swarm.deaths(5) == []
    assert not any("n5" in swarm.alive_for(number) for number in range(4))


def test_bogus_names_stay_with_those_that_were_told_and_are_gone_in_the_end() -> None:
    limits = TrackerLimits(max_members=1_000, max_unconfirmed=300)
    swarm = joined(8, config=SwimConfig(limits=limits))
    liar = NodeId("n7", 1)
    for batch in range(500):
        lies = [
            encode_update(
                Alive(NodeId(f"n9{batch:03}{each}", 1), 0, "203.0.113.9:1", PeerRole.GATE)
            )
            for each in range(20)
        ]
        payload = pack(encode_message(Gossip(liar, 0)), lies)
        swarm.inject(payload, 0, sender=swarm.address(7), role=PeerRole.MANAGER)
        swarm.run(swarm.now_s + 0.01)
    assert len(swarm.core(0).members()) == 7 + 300
    assert all(len(swarm.core(number).members()) == 7 for number in range(1, 8))
    swarm.run(600.0)
    assert len(swarm.core(0).members()) == 7
    assert swarm.agrees()
    assert swarm.false_suspicions() == []


def test_no_datagram_of_a_member_is_thrown_away_by_another() -> None:
    swarm = joined(30, links=Links(loss=0.05))
    swarm.run(40.0)
    refused = [dict(swarm.core(number).refused) for number in range(30)]
    assert all(each.keys() <= {"unasked"} for each in refused)
