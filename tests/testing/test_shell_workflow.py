"""Leaders and workers of runs on both event loops, in the simulator's world."""

from __future__ import annotations

import pytest

from federlib.testing import VirtualTime
from federlib.testing.shells import play_shell_workflow
from federlib.testing.sim import PRESETS
from federlib.testing.virtual_time import Backend

NAMES = list(PRESETS)


@pytest.mark.parametrize("name", NAMES)
def test_runs_survive(name: str) -> None:
    # Each on one loop here; whichever is drawn below sees both.
    number = NAMES.index(name)
    backend: Backend = "trio" if number % 2 else "asyncio"
    played = play_shell_workflow(number, PRESETS[name], backend=backend)
    assert played.violations == ()
    assert played.runs >= 2
    assert played.succeeded >= 10
    assert played.reigns > played.runs


def test_runs_survive_whatever_is_drawn(virtual_time: VirtualTime) -> None:
    seed = virtual_time.seed
    schedule = [None, None, *PRESETS.values()][seed % (len(PRESETS) + 2)]
    played = play_shell_workflow(seed, schedule, backend=virtual_time.backend)
    assert played.violations == (), played.schedule.to_json()


def test_the_same_seed_is_the_same_story(virtual_time: VirtualTime) -> None:
    first, second = (
        play_shell_workflow(5, PRESETS["leader_kill"], backend=virtual_time.backend, safety_s=12)
        for _ in range(2)
    )
    assert first == second
