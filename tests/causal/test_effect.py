"""The effect of an action in time series: what it is, and how often its interval holds it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal.examples import SOUND, measured
from federlib.causal import Measured, Watched, assess, measure_effect
from federlib.causal.effect import MAX_SAMPLES
from federlib.errors import InvalidInput


def remembering(rng: random.Random, samples: int, keeps: float, spread: float = 1.0) -> list[float]:
    """Make noise of which each sample keeps a share of the one before."""
    fresh = spread * math.sqrt(1 - keeps * keeps)
    found = [rng.gauss(0, spread)]
    while len(found) < samples:
        found.append(keeps * found[-1] + rng.gauss(0, fresh))
    return found


def step(before: int, after: int, size: float) -> list[float]:
    return [0.0] * before + [size] * after


def added(*rows: Sequence[float]) -> list[float]:
    return [math.fsum(column) for column in zip(*rows, strict=True)]


def test_without_noise_the_effect_is_the_difference_of_the_means() -> None:
    found = measure_effect(Watched(step(20, 10, -7.0)), at=20)
    assert found.design == "before_after"
    assert found.effect == pytest.approx(-7.0)
    assert (found.before, found.after) == (20, 10)
    assert found.high - found.low < 1e-6


def test_what_meets_both_groups_falls_out() -> None:
    rng = random.Random(3)
    common = remembering(rng, 60, 0.99, 50.0)
    own = [remembering(rng, 60, 0.3) for _ in range(2)]
    treated = Watched(added(common, own[0], step(40, 20, -10.0)))
    found = measure_effect(treated, Watched(added(common, own[1])), at=40)
    assert found.design == "difference_in_differences"
    assert found.effect == pytest.approx(-10.0, abs=1.5)
    assert found.low < -10 < found.high < 0


def test_a_common_cause_that_is_given_is_taken_out() -> None:
    rng = random.Random(4)
    load = added(remembering(rng, 90, 0.9, 5.0), step(60, 30, -20.0))
    noise = remembering(rng, 90, 0.3)
    latency = added([2 * each for each in load], noise)
    blind = measure_effect(Watched(latency), at=60)
    assert blind.effect < -30
    assert blind.high < 0
    seeing = measure_effect(Watched(latency, {"load": load}), at=60)
    assert seeing.adjusted_for == ("load",)
    assert seeing.low < 0 < seeing.high
    assert abs(seeing.effect) < 2


def test_what_is_left_out_while_the_action_takes_place_does_not_count() -> None:
    series = step(20, 20, -5.0)
    series[20:24] = [900.0] * 4
    assert measure_effect(Watched(series), at=20, gap=4).effect == pytest.approx(-5.0)
    assert measure_effect(Watched(series), at=20, gap=4).after == 16


def test_samples_are_averaged_from_the_action_both_ways() -> None:
    # What is left over at the ends is dropped, and no mean straddles the action.
    series = [900.0, 900.0, *step(64, 32, -5.0), 900.0]
    found = measure_effect(Watched(series), at=66, average=4)
    assert (found.before, found.after) == (16, 8)
    assert found.effect == pytest.approx(-5.0)
    assert found.high - found.low < 1e-6


def test_averaging_takes_more_of_a_badly_read_covariate_out() -> None:
    rng = random.Random(9)
    load = added(remembering(rng, 240, 0.95, 9.0), step(160, 80, -20.0))
    read = added(load, [rng.gauss(0, 12) for _ in load])
    latency = added(load, remembering(rng, 240, 0.3))
    at_once = measure_effect(Watched(latency, {"load": read}), at=160)
    averaged = measure_effect(Watched(latency, {"load": read}), at=160, average=8)
    assert abs(averaged.effect) < 0.7 * abs(at_once.effect)


def test_a_line_before_the_action_is_no_noise() -> None:
    rng = random.Random(6)
    growing = [0.5 * k if k < 60 else 0.0 for k in range(90)]
    found = measure_effect(Watched(added(growing, remembering(rng, 90, 0.3))), at=60)
    assert found.effect == pytest.approx(-14.75, abs=1.0)
    assert found.high - found.low < 5


def test_a_series_that_falls_all_along_is_not_taken_for_an_effect() -> None:
    rng = random.Random(7)
    falling = [-0.5 * k for k in range(90)]
    found = measure_effect(Watched(added(falling, remembering(rng, 90, 0.3))), at=60)
    assert found.low < 0 < found.high


def test_a_fall_that_came_before_the_action_shows_in_the_placebo() -> None:
    rng = random.Random(7)
    fallen = added(step(30, 60, -9.0), remembering(rng, 90, 0.3))
    found = measure_effect(Watched(fallen), at=60)
    assert found.placebo_high is not None
    assert found.placebo_high < 0


def test_a_covariate_that_is_the_action_cannot_be_told_from_it() -> None:
    series = [float(k % 7) for k in range(40)]
    with pytest.raises(InvalidInput, match="moves only with the action"):
        measure_effect(Watched(series, {"flag": step(30, 10, 1.0)}), at=30)


def test_a_covariate_that_says_nothing_more_changes_nothing() -> None:
    rng = random.Random(8)
    series, load = remembering(rng, 50, 0.5), remembering(rng, 50, 0.5)
    one = measure_effect(Watched(series, {"load": load}), at=30)
    same = {"load": load, "twice": [2 * each + 1 for each in load], "flat": [3.0] * 50}
    again = measure_effect(Watched(series, same), at=30)
    assert again.effect == pytest.approx(one.effect)
    assert (again.low, again.high) == pytest.approx((one.low, one.high))


def test_a_covariate_that_is_the_placebo_leaves_none() -> None:
    # It moves in the middle of the time before and nowhere else there.
    rng = random.Random(10)
    flag = added(step(20, 30, 1.0), [0.0] * 40 + [-1.0 if k % 2 else 1.0 for k in range(10)])
    found = measure_effect(Watched(remembering(rng, 50, 0.3), {"flag": flag}), at=40)
    assert (found.placebo_low, found.placebo_high) == (None, None)


def test_as_many_covariates_as_samples_leave_a_wide_interval() -> None:
    rng = random.Random(1)
    columns = {f"c{k}": remembering(rng, 40, 0.0) for k in range(16)}
    found = measure_effect(Watched(remembering(rng, 40, 0.0), columns), at=32)
    assert found.high - found.low > 20


series_of_40 = st.lists(st.floats(-1e3, 1e3), min_size=40, max_size=40)


@settings(max_examples=60, deadline=None)
@given(series_of_40, st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_another_unit_gives_the_same_in_that_unit(
    series: list[float], factor: float, offset: float
) -> None:
    one = measure_effect(Watched(series), at=24)
    other = measure_effect(Watched([factor * each + offset for each in series]), at=24)
    size = factor * max(map(abs, series)) + abs(offset) + 1
    assert other.effect == pytest.approx(factor * one.effect, abs=1e-7 * size)
    assert other.low <= other.effect <= other.high
    assert one.low <= one.effect <= one.high


@settings(max_examples=60, deadline=None)
@given(series_of_40, series_of_40, series_of_40)
def test_only_the_difference_of_the_groups_counts(
    treated: list[float], control: list[float], common: list[float]
) -> None:
    one = measure_effect(Watched(treated), Watched(control), at=24)
    other = measure_effect(Watched(added(treated, common)), Watched(added(control, common)), at=24)
    assert other.effect == pytest.approx(one.effect, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e100, 1e100), min_size=24, max_size=60),
    st.lists(st.floats(-1e100, 1e100), min_size=60, max_size=60),
)
def test_whatever_finite_it_gets_it_answers_with_finite_numbers(
    series: list[float], load: list[float]
) -> None:
    try:
        found = measure_effect(Watched(series, {"load": load[: len(series)]}), at=16)
    except InvalidInput:
        return
    assert all(map(math.isfinite, (found.effect, found.low, found.high)))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Measured) == found


CELLS = [(keeps, covariates) for keeps in (0.0, 0.5, 0.9) for covariates in (0, 2)]


@pytest.mark.parametrize(("keeps", "covariates"), CELLS)
def test_the_interval_holds_the_truth_as_often_as_it_says(keeps: float, covariates: int) -> None:
    # 150 runs scatter by 1.8 points around 95 %; five standard deviations below is a fault.
    rng = random.Random(f"coverage {keeps} {covariates}")
    held = 0
    for _ in range(150):
        columns = {f"c{k}": remembering(rng, 72, 0.9) for k in range(covariates)}
        noise = remembering(rng, 72, keeps)
        outcome = added(noise, step(48, 24, 3.0), *columns.values())
        found = measure_effect(Watched(outcome, columns), at=48)
        held += found.low <= 3.0 <= found.high
    assert held / 150 >= 0.86


def test_slow_noise_under_fast_noise_is_noticed() -> None:
    rng = random.Random("two noises")
    held = 0
    for _ in range(150):
        noise = added(remembering(rng, 120, 0.95, 0.8), remembering(rng, 120, 0.0, 0.6))
        found = measure_effect(Watched(noise), at=72)
        held += found.low <= 0.0 <= found.high
    # Asked of neighbours alone it would be 0.73 here.
    assert held / 150 >= 0.8


def test_slow_noise_widens_the_interval() -> None:
    def width(keeps: float) -> float:
        rng = random.Random(f"width {keeps}")
        found = [measure_effect(Watched(remembering(rng, 72, keeps)), at=48) for _ in range(40)]
        return sorted(each.high - each.low for each in found)[20]

    assert width(0.0) < width(0.5) < width(0.9)


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [
        (-15.0, -9.0, "supported"),
        (-15.0, -0.1, "supported"),
        (-15.0, 0.0, "inconclusive"),
        (-5.0, 3.0, "inconclusive"),
        (-4.9, -1.0, "refuted"),  # real, and too small
        (-4.9, 3.0, "refuted"),
        (1.0, 9.0, "refuted"),
    ],
)
def test_what_is_found_of_an_expected_decrease_by_five(
    low: float, high: float, finding: str
) -> None:
    assert assess(SOUND.expected, measured(low=low, high=high)) == finding
    other_way = msgspec.structs.replace(SOUND.expected, direction="increase")
    assert assess(other_way, measured(low=-high, high=-low)) == finding


FORTY = [float(k) for k in range(40)]


@pytest.mark.parametrize(
    ("treated", "control", "settings_"),
    [
        (Watched(FORTY), None, {"at": 15}),
        (Watched(FORTY), None, {"at": 33}),
        (Watched(FORTY), None, {"at": 30, "gap": 3}),
        (Watched(FORTY), None, {"at": 20, "gap": -1}),
        (Watched(FORTY), None, {"at": True}),
        (Watched(FORTY), None, {"at": 20, "average": 0}),
        (Watched(FORTY), None, {"at": 20, "average": 2}),
        (Watched(FORTY), None, {"at": 20, "level": 1.0}),
        (Watched(FORTY), None, {"at": 20, "level": 0.4}),
        (Watched([]), None, {"at": 20}),
        (Watched([*FORTY[:-1], math.nan]), None, {"at": 20}),
        (Watched([*FORTY[:-1], math.inf]), None, {"at": 20}),
        (Watched([*FORTY[:-1], 1e200]), None, {"at": 20}),
        (Watched("x" * 40), None, {"at": 20}),  # type: ignore[arg-type]  # that is the test
        (Watched([0.0] * (MAX_SAMPLES + 1)), None, {"at": 20}),
        (Watched(FORTY, {"load": FORTY[:-1]}), None, {"at": 20}),
        (Watched(FORTY), Watched(FORTY[:-1]), {"at": 20}),
        (Watched(FORTY, {"load": FORTY}), Watched(FORTY), {"at": 20}),
        (Watched(FORTY, {f"c{k}": FORTY for k in range(17)}), None, {"at": 20}),
    ],
)
def test_what_cannot_be_measured_is_refused(
    treated: Watched, control: Watched | None, settings_: dict[str, int]
) -> None:
    with pytest.raises(InvalidInput):
        measure_effect(treated, control, **settings_)


@pytest.mark.parametrize(
    "series", [None, 5, "1" * 60, dict.fromkeys(range(60), 1.0), (each for each in [1.0] * 60)]
)
def test_what_is_no_series_is_refused(series: object) -> None:
    with pytest.raises(InvalidInput, match="a series of numbers"):
        measure_effect(Watched(series), at=40)  # type: ignore[arg-type]  # that is the case


@pytest.mark.parametrize("covariates", [[[1.0] * 60], {1: [1.0] * 60}])
def test_covariates_have_the_names_of_nodes(covariates: object) -> None:
    watched = Watched([1.0] * 60, covariates)  # type: ignore[arg-type]  # that is the case
    with pytest.raises(InvalidInput, match=r"treated\.covariates"):
        measure_effect(watched, at=40)


def test_what_nobody_watched_has_no_effect() -> None:
    with pytest.raises(InvalidInput, match="treated: expected Watched"):
        measure_effect(None, at=40)  # type: ignore[arg-type]  # that is the case
