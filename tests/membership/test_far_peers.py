"""How late a far peer is found dead, by either policy of timeouts."""

from __future__ import annotations

from statistics import mean

from federlib.membership.config import SwimConfig
from federlib.membership.timeouts import TimeoutPolicy, TimeoutSettings
from federlib.testing.swarm.network import Links
from federlib.testing.swarm.world import Swarm

SIZE = 20
NEAR_S, FAR_S = 0.005, 0.150  # one way


def alone(one_way_s: float) -> Links:
    """The last member is alone at its distance; all others are near each other."""
    far = SIZE - 1
    ways = [
        [one_way_s if (far in {a, b}) and a != b else NEAR_S for a in range(SIZE)]
        for b in range(SIZE)
    ]
    return Links(loss=0.01, regions=ways)


def found_dead_s(one_way_s: float, *, seed: int, policy: TimeoutPolicy) -> float:
    config = SwimConfig(timeouts=TimeoutSettings(policy=policy))
    swarm = Swarm(SIZE, seed=seed, config=config, links=alone(one_way_s), knows_distances=True)
    swarm.start()
    swarm.run(20.0)
    swarm.crash(SIZE - 1)
    while not swarm.deaths(SIZE - 1):
        swarm.run(swarm.now_s + 5.0)
        assert swarm.now_s < 200
    assert swarm.false_deaths() == []
    return swarm.deaths(SIZE - 1)[0].at_s - 20.0


def test_a_peer_alone_and_300_ms_away_is_found_dead_a_second_later_at_most() -> None:
    seeds = range(6)
    near = mean(found_dead_s(NEAR_S, seed=seed, policy="additive") for seed in seeds)
    far = mean(found_dead_s(FAR_S, seed=seed, policy="additive") for seed in seeds)
    assert far - near <= 1.0


def test_by_the_seeds_form_it_is_found_dead_most_of_a_minute_later() -> None:
    near = found_dead_s(NEAR_S, seed=1, policy="multiplicative")
    far = found_dead_s(FAR_S, seed=1, policy="multiplicative")
    assert far - near > 40
