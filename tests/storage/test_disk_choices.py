"""Who decides what a simulated crash leaves."""

from __future__ import annotations

import random

from federlib.testing import SimulatedDisk, every_choice, swarm_choice


def test_every_choice_goes_through_all_combinations_once() -> None:
    seen = [(choose(2), choose(3)) for choose in every_choice(limit=100)]
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert len([choose(10) for choose in every_choice(limit=4)]) == 4


def test_every_choice_follows_doubts_that_depend_on_earlier_ones() -> None:
    seen = [[choose(3) for _ in range(choose(3))] for choose in every_choice(limit=99)]
    pairs = [[first, second] for first in range(3) for second in range(3)]
    assert seen == [[], [0], [1], [2], *pairs]


def test_one_seed_gives_one_disk_and_many_seeds_give_nearly_all_and_nearly_nothing() -> None:
    disk = SimulatedDisk()
    file = disk.open("f", create=True)
    disk.sync_directory("")
    file.append(b"x" * 20_480)
    seeds = [
        disk.cut_power(swarm_choice(random.Random(seed))).contents()["f"] for seed in range(60)
    ]
    again = disk.cut_power(swarm_choice(random.Random(3))).contents()["f"]
    assert seeds[3] == again
    shares = {round(data.count(b"x") / 20_480, 1) for data in seeds}
    assert {0.0, 1.0} < shares
