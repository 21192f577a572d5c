"""Faults at random: whatever happened, those that are up come to know each other again."""

from __future__ import annotations

import random

import pytest

from federlib.testing.swarm import Links, Swarm

STEPS = ("crash", "restart", "block", "part", "heal", "leave", "wait")


def play(seed: int) -> tuple[Swarm, list[str]]:
    rng = random.Random(seed)
    size = rng.randrange(3, 11)
    swarm = Swarm(
        size,
        seed=seed,
        links=Links(loss=rng.choice((0.0, 0.0, 0.02, 0.1))),
        starved=[each for each in range(size) if rng.random() < 0.1],
        clock_offsets_s=lambda number: 1_000.0 * number,
    )
    swarm.start()
    swarm.run(15.0)
    left, log = set[int](), list[str]()
    for _ in range(rng.randrange(1, 8)):
        who, step = rng.randrange(size), rng.choice(STEPS)
        log.append(f"{swarm.now_s:.1f} s: {step} n{who}")
        if step == "restart":
            swarm.restart(who, seeds=range(size))
            left.discard(who)
        elif step == "part":
            swarm.links.groups = {each: rng.randrange(2) for each in range(size)}
        elif step == "heal":
            swarm.links.groups = {}
        elif step == "crash":
            swarm.crash(who)
        elif step == "block":
            swarm.block(who, rng.choice((1.0, 5.0, 20.0)))
        elif step == "leave" and swarm.is_up(who):
            swarm.leave(who)
            left.add(who)
        swarm.run(swarm.now_s + rng.choice((0.1, 1.0, 5.0, 10.0, 40.0)))
    # From here on the world is well.
    swarm.links.groups, swarm.links.loss = {}, 0.0
    swarm.feed()
    swarm.run(swarm.now_s + 5.0)
    for who in left:
        swarm.crash(who)
    return swarm, log


@pytest.mark.parametrize("seed", range(60))
def test_when_faults_end_all_that_are_up_know_each_other(seed: int) -> None:
    swarm, log = play(seed)
    until_s = swarm.now_s + 200.0
    while swarm.now_s < until_s and not swarm.agrees():
        swarm.run(swarm.now_s + 5.0)
    assert swarm.agrees(), f"seed {seed}: " + "; ".join(log)
