"""The clocks of `federlib.testing`: one that moves by hand, one that is wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.skewclock import Clock, ClockId, SystemClock
from federlib.testing import ManualClock, SkewedClock

NS = 1_000_000_000
ABSURD = [math.nan, math.inf, -math.inf]


def readings(clock: Clock) -> tuple[int, int, int]:
    return clock.wall_ns(), clock.monotonic_ns(), clock.boot_ns()


def test_a_manual_clock_stands_still_until_told() -> None:
    clock = ManualClock()
    assert readings(clock) == readings(clock)


def test_time_passes_on_all_three_clocks_alike() -> None:
    clock = ManualClock(wall=10, mono=20, boot=30)
    clock.advance(1.5)
    assert readings(clock) == (1_500_000_010, 1_500_000_020, 1_500_000_030)


def test_a_suspended_machine_stops_only_the_monotonic_clock() -> None:
    clock = ManualClock(wall=0, mono=0, boot=0)
    clock.suspend(60)
    assert readings(clock) == (60 * NS, 0, 60 * NS)


@pytest.mark.parametrize("seconds", [5.0, -5.0])
def test_setting_the_wall_clock_leaves_the_others(seconds: float) -> None:
    clock = ManualClock(wall=100 * NS, mono=1, boot=2)
    clock.step_wall(seconds)
    assert readings(clock) == (round((100 + seconds) * NS), 1, 2)


@pytest.mark.parametrize("seconds", [*ABSURD, -1, -1e-9])
def test_a_manual_clock_refuses_to_go_back_or_nowhere(seconds: float) -> None:
    clock = ManualClock()
    before = readings(clock)
    for move in (clock.advance, clock.suspend):
        with pytest.raises(InvalidInput, match="seconds"):
            move(seconds)
    assert readings(clock) == before


@pytest.mark.parametrize("seconds", ABSURD)
def test_a_wall_clock_cannot_be_set_to_nowhere(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(InvalidInput, match="seconds"):
        clock.step_wall(seconds)


def test_a_skewed_clock_is_off_by_its_offset_on_the_wall_only() -> None:
    base = ManualClock(wall=100 * NS, mono=20 * NS, boot=30 * NS)
    assert readings(SkewedClock(base, offset_s=-5)) == (95 * NS, 20 * NS, 30 * NS)


def test_drift_grows_with_the_time_since_the_clock_was_made() -> None:
    base = ManualClock(wall=0, mono=0, boot=0)
    fast = SkewedClock(base, drift_ppm=100)
    assert readings(fast) == (0, 0, 0)
    base.advance(10_000)
    assert readings(fast) == (10_001 * NS,) * 3


@given(
    st.floats(-999_999, 1e6),
    st.lists(st.floats(0, 1e6), max_size=10),
)
def test_however_wrong_boot_and_monotonic_never_go_back(
    drift_ppm: float, steps: list[float]
) -> None:
    base = ManualClock()
    clock = SkewedClock(base, offset_s=-30, drift_ppm=drift_ppm)
    seen = [readings(clock)]
    for step in steps:
        base.advance(step)
        seen.append(readings(clock))
    for column in zip(*seen, strict=True):
        assert list(column) == sorted(column)


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize("field", ["offset_s", "drift_ppm"])
def test_a_skew_that_is_no_number_is_refused(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=field):
        SkewedClock(ManualClock(), **{field: value})  # type: ignore[arg-type]  # by name


def test_a_clock_that_would_run_backwards_is_refused() -> None:
    with pytest.raises(InvalidInput, match="drift_ppm"):
        SkewedClock(ManualClock(), drift_ppm=-1_000_000)


def test_a_wrong_clock_does_not_pass_for_the_right_one() -> None:
    for base in (ManualClock(), SystemClock()):
        skewed = SkewedClock(base, offset_s=1)
        assert skewed.clock_id != base.clock_id
        assert not ClockId(skewed.clock_id).is_other_boot_of(ClockId(base.clock_id))
