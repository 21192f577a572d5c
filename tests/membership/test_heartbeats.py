"""Suspicion of those that push heartbeats."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.membership.heartbeats import PhiAccrual
from federlib.membership.pushing import choose_watchers


def steady(beats: int = 50, *, jitter_s: float = 0.0) -> tuple[PhiAccrual, float]:
    rng, now_s = random.Random(1), 0.0
    pulse = PhiAccrual(1.0, now_s)
    for _ in range(beats):
        now_s += 1.0 + jitter_s * rng.random()
        pulse.beat(now_s)
    return pulse, now_s


def test_a_steady_sender_is_suspected_soon_after_it_stops() -> None:
    pulse, now_s = steady()
    assert pulse.phi(now_s + 1.0) < 1
    assert pulse.phi(now_s + 1.5) < 8 < pulse.phi(now_s + 3.0)


def test_an_unsteady_sender_is_given_longer() -> None:
    calm, calm_s = steady()
    wild, wild_s = steady(jitter_s=3.0)
    assert wild.due_s(8.0) - wild_s > calm.due_s(8.0) - calm_s + 2.0


@given(st.lists(st.floats(0.01, 5.0), max_size=150), st.floats(1.0, 12.0))
def test_phi_reaches_its_threshold_when_it_is_said_to(gaps: list[float], wanted: float) -> None:
    now_s = 0.0
    pulse = PhiAccrual(1.0, now_s)
    for gap in gaps:
        now_s += gap
        pulse.beat(now_s)
    due_s = pulse.due_s(wanted)
    assert pulse.phi(due_s) == pytest.approx(wanted, rel=0.01)
    assert pulse.phi(due_s + 1.0) >= wanted


def test_time_in_which_we_were_away_does_not_count() -> None:
    pulse, now_s = steady()
    pulse.forgive(10.0)
    assert pulse.phi(now_s + 11.0) == steady()[0].phi(now_s + 1.0)


def test_workers_spread_over_members_and_keep_to_them() -> None:
    members = [f"m{each}" for each in range(10)]
    chosen = {f"w{each}": choose_watchers(f"w{each}", members, 3) for each in range(200)}
    assert choose_watchers("w0", members[::-1], 3) == chosen["w0"]
    load = [sum(name in each for each in chosen.values()) for name in members]
    assert min(load) > 20
    without = [each for each in members if each not in chosen["w0"]]
    assert not set(choose_watchers("w0", without, 3)) & set(chosen["w0"])
