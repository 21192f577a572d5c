"""`measure_effect`: by how much an outcome changed with an action, and how sure that is.

The outcome of a control group is subtracted sample by sample (difference in differences), so
whatever meets both groups alike falls out; covariates are taken out by least squares, and so
is a line over the time before. The rest is the mean after the action minus the mean before.

Neighbouring samples of such a series resemble each other, and an interval that does not know
that is far too narrow. Ours rests on the lowest cosine frequencies of each stretch, with
Student's t; how many of them is chosen by how slowly the rest of the series forgets, down to
one. Measured coverage: docs/decisions/0027-causal-gate.md.

Source: Lazarus, Lewis, Stock and Watson 2018, "HAR Inference: Recommendations for Practice",
for the cosines and their t; Frisch, Waugh and Lovell for taking out covariates; Welch 1947
for the two stretches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, isfinite, pi, sqrt

import attrs

from federlib.causal._student import t_quantile
from federlib.causal.records import MAX_COVARIATES, ExpectedEffect, Finding, Measured
from federlib.errors import InvalidInput

__all__ = [
    "MAX_SAMPLES",
    "MIN_AFTER",
    "MIN_BEFORE",
    "Watched",
    "assess",
    "measure_effect",
]

MIN_BEFORE = 16
"""Samples before the action: two halves of eight, to see whether it moved without it, too."""
MIN_AFTER = 8
MAX_SAMPLES = 20_000

_TINY = 1e-300
_LAGS = 3
_MOST_COSINES = 64
"""More narrow an interval by less than a hundredth."""
_LEAST_OWN = 0.01
"""Share of the action's variance that covariates must leave; below it they are the action."""

Series = Sequence[float]


@attrs.frozen
class Watched:
    """What was seen of one group of machines: samples at equal distances of time.

    Attributes:
        outcome: The mean of the group, in the outcome's unit.
        covariates: What the hypothesis adjusts for, by node; as many samples.
    """

    outcome: Series
    covariates: Mapping[str, Series] = attrs.field(factory=dict)


def measure_effect(
    treated: Watched,
    control: Watched | None = None,
    *,
    at: int,
    gap: int = 0,
    average: int = 1,
    level: float = 0.95,
) -> Measured:
    """Measure how much an outcome rose with an action; negative where it fell.

    Args:
        treated: The group that was acted on.
        control: A group that was not, over the same time and with the same covariates.
        at: Index of the first sample after the action.
        gap: Samples from `at` on that are left out, while the action takes place.
        average: Take the mean of so many samples at a time, counted from the action both
            ways; what is left over at the ends is dropped. A covariate that is read with
            much noise is taken out in part only, and more of it where the noise is averaged
            away.
        level: How often the interval shall hold the truth; 0.5 to 0.999.
    Raises:
        InvalidInput: Fewer than 16 samples before or 8 after (averaged ones, where that is
            asked for), lengths that differ, a number that is not finite, or covariates that
            move with the action itself: then the two cannot be told apart.
    """
    if type(level) is not float or not 0.5 <= level <= 0.999:
        raise InvalidInput("level", expected="0.5 to 0.999", found=level)
    outcome, covariates = _subtract(treated, control)
    _check_cut(len(outcome), at, gap, average)
    outcome = _means(outcome, at, gap, average)
    columns = [_means(column, at, gap, average) for column in covariates.values()]
    at //= average
    found = _step(outcome, columns, at, level)
    if found is None:
        raise InvalidInput(
            "covariates",
            expected="none that moves only with the action",
            found=sorted(covariates),
        )
    placebo = _step(outcome[:at], [column[:at] for column in columns], at // 2, level)
    effect, half = found
    return Measured(
        design="before_after" if control is None else "difference_in_differences",
        effect=effect,
        low=effect - half,
        high=effect + half,
        level=level,
        before=at,
        after=len(outcome) - at,
        adjusted_for=tuple(sorted(covariates)),
        placebo_low=None if placebo is None else placebo[0] - placebo[1],
        placebo_high=None if placebo is None else placebo[0] + placebo[1],
    )


def assess(expected: ExpectedEffect, measured: Measured) -> Finding:
    """Say whether a measured effect bears out an expected one.

    `supported`: the whole interval lies on the expected side of 0 and reaches the expected
    size. `refuted`: none of it does. Otherwise it cannot be told.
    """
    low, high = measured.low, measured.high
    if expected.direction == "decrease":
        low, high = -high, -low
    if high < expected.at_least:
        return "refuted"
    return "supported" if low > 0 else "inconclusive"


def _subtract(
    treated: Watched, control: Watched | None
) -> tuple[list[float], dict[str, list[float]]]:
    series = _checked(treated, "treated")
    if control is None:
        return series
    other = _checked(control, "control")
    names, others = sorted(series[1]), sorted(other[1])
    if names != others:
        raise InvalidInput(
            "control.covariates", expected=f"those of treated, {names}", found=others
        )
    if len(series[0]) != len(other[0]):
        raise InvalidInput(
            "control.outcome", expected=f"{len(series[0])} samples", found=len(other[0])
        )
    difference = _minus(series[0], other[0])
    return difference, {name: _minus(series[1][name], other[1][name]) for name in names}


def _minus(one: Series, other: Series) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def _checked(watched: Watched, field: str) -> tuple[list[float], dict[str, list[float]]]:
    if not isinstance(watched, Watched):
        raise InvalidInput(field, expected="Watched", found=watched)
    names: object = watched.covariates  # whatever a caller put there
    if not (isinstance(names, Mapping) and all(isinstance(name, str) for name in names)):
        raise InvalidInput(f"{field}.covariates", expected="series by the names of nodes",
                           found=names)  # fmt: skip
    if len(watched.covariates) > MAX_COVARIATES:
        found = len(watched.covariates)
        raise InvalidInput(f"{field}.covariates", expected=f"at most {MAX_COVARIATES}", found=found)
    outcome = _numbers(watched.outcome, f"{field}.outcome")
    covariates = {
        name: _numbers(column, f"{field}.covariates[{name!r}]")
        for name, column in watched.covariates.items()
    }
    for name, column in covariates.items():
        if len(column) != len(outcome):
            raise InvalidInput(
                f"{field}.covariates[{name!r}]",
                expected=f"{len(outcome)} samples",
                found=len(column),
            )
    return outcome, covariates


def _numbers(series: Series, field: str) -> list[float]:
    # A generator has no length, and the keys of a mapping or the letters of a text are none.
    if isinstance(series, str | bytes | Mapping) or not (
        hasattr(series, "__len__") and hasattr(series, "__iter__")
    ):
        raise InvalidInput(field, expected="a series of numbers", found=type(series).__name__)
    if len(series) > MAX_SAMPLES:
        raise InvalidInput(field, expected=f"at most {MAX_SAMPLES} samples", found=len(series))
    try:
        found = [float(each) for each in series]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(field, expected="numbers", found=error) from error
    # Squares of what is larger would no longer be finite.
    bad = next((each for each in found if not (isfinite(each) and abs(each) <= 1e100)), None)
    if bad is not None:
        raise InvalidInput(field, expected="numbers up to 1e100", found=bad)
    return found


def _means(series: Series, at: int, gap: int, average: int) -> list[float]:
    """Average so many at a time, in steps that end where the action begins."""
    after = at + gap
    ends = after + (len(series) - after) // average * average
    starts = (*range(at % average, at, average), *range(after, ends, average))
    return [sum(series[k : k + average]) / average for k in starts]


def _check_cut(samples: int, at: int, gap: int, average: int) -> None:
    if type(average) is not int or average < 1:
        raise InvalidInput("average", expected="1 or more samples", found=average)
    if type(at) is not int or at // average < MIN_BEFORE:
        raise InvalidInput("at", expected=f"{MIN_BEFORE} or more samples before", found=at)
    if type(gap) is not int or gap < 0:
        raise InvalidInput("gap", expected="0 or more samples", found=gap)
    if (samples - at - gap) // average < MIN_AFTER:
        found = max(samples - at - gap, 0)
        raise InvalidInput("outcome", expected=f"{MIN_AFTER} or more samples after", found=found)


def _step(
    outcome: Series, covariates: Sequence[Series], at: int, level: float
) -> tuple[float, float] | None:
    """Return the step at `at` and half the width of its interval; None where it is hidden."""
    count = len(outcome)
    scale = max(map(abs, outcome)) or 1.0
    rest = _centred([each / scale for each in outcome])
    post = _centred([0.0] * at + [1.0] * (count - at))
    own = _dot(post, post)
    basis = _basis([_drift(at, count), *covariates])
    for column in basis:
        _take_out(post, column)
        _take_out(rest, column)
    norm = _dot(post, post)
    if norm < _LEAST_OWN * own:
        return None
    effect = _dot(post, rest) / norm
    for k, each in enumerate(post):
        rest[k] -= effect * each
    # What the fit has taken out of the rest: it is no longer there to be seen in it.
    fitted = [*basis, [each / sqrt(norm) for each in post]]
    persistence = _persistence((rest[:at], rest[at:]), len(basis))
    parts = [
        _variance(post, rest, stretch, fitted, persistence)
        for stretch in (range(at), range(at, count))
    ]
    variance = sum(each for each, _ in parts) / norm**2
    if variance <= 0.0:
        return effect * scale, 0.0
    total = sum(each for each, _ in parts)
    freedom = total**2 / sum(each**2 / cosines for each, cosines in parts)
    return effect * scale, t_quantile((1 + level) / 2, freedom) * sqrt(variance) * scale


def _drift(at: int, count: int) -> list[float]:
    """Return a line over the time before: what already grew may have grown to any height.

    Its mean is 0, so the level before is still the mean. There is none for the time after,
    where a slow change must not pass for a step.
    """
    return [k - (at - 1) / 2 for k in range(at)] + [0.0] * (count - at)


def _basis(covariates: Sequence[Series]) -> list[list[float]]:
    """Return unit columns that span the covariates, each orthogonal to those before it."""
    found: list[list[float]] = []
    for column in covariates:
        scale = max(map(abs, column)) or 1.0
        left = _centred([each / scale for each in column])
        before = _dot(left, left)
        # Twice: once leaves errors of rounding where columns nearly coincide.
        for _ in range(2):
            for other in found:
                _take_out(left, other)
        norm = _dot(left, left)
        # A constant, or what other columns say already, takes nothing out.
        if norm > 1e-12 * max(before, 1e-12):
            found.append([each / sqrt(norm) for each in left])
    return found


def _take_out(column: list[float], unit: Series) -> None:
    part = _dot(column, unit)
    for k, each in enumerate(unit):
        column[k] -= part * each


def _centred(column: Series) -> list[float]:
    mean = sum(column) / len(column)
    return [each - mean for each in column]


def _dot(one: Series, other: Series) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _persistence(stretches: Sequence[Series], covariates: int) -> float:
    """Return how much of one sample the next one keeps, 0 to 0.999.

    Slow noise under fast noise shows little of itself from one sample to the next, but what
    there is of it fades slowly. So that is asked, too, wherever there is enough to fade.
    """
    centred = [_centred(stretch) for stretch in stretches]
    around = sum(_dot(each, each) for each in centred)
    if around <= 0.0:
        return 0.0
    kept = [
        sum(_dot(each[:-lag], each[lag:]) for each in centred) / around
        for lag in range(1, _LAGS + 2)
    ]
    found, near = kept[0], sum(kept[:-1])
    if near > sqrt(_LAGS / sum(map(len, centred))):
        found = max(found, min(sum(kept[1:]) / near, 1.0))
    # Kendall 1954: short series look as if they forgot faster than they do, and more so
    # the more of their slow part a fit has taken away.
    longest = max(map(len, centred))
    return min(max(found + (1 + 3 * found) * (1 + covariates) / longest, 0.0), 0.999)


def _variance(
    post: Series, rest: Series, stretch: range, fitted: Sequence[Series], persistence: float
) -> tuple[float, float]:
    """Return the variance of a stretch's pull at the effect, and how many cosines tell it.

    A cosine of which the fit has taken a share counts as much less.
    """
    count = len(stretch)
    # The first is what is best where samples are nearly independent. The second keeps to
    # frequencies over which the spectrum of such a series is still flat.
    most = min(int(0.4 * count ** (2 / 3)), int(0.16 * count * (1 - persistence)), _MOST_COSINES)
    wanted = max(most, 1)
    total = told = 0.0
    for k in range(1, count):
        turn = pi * k / count
        wave = [post[t] * cos(turn * (t - stretch.start + 0.5)) for t in stretch]
        size = _dot(wave, wave)
        first, end = stretch.start, stretch.stop
        taken = sum(_dot(wave, column[first:end]) ** 2 for column in fitted) / max(size, _TINY)
        told += max(1.0 - taken, 0.0)
        total += _dot(wave, rest[first:end]) ** 2
        if told >= wanted - 0.5:
            break
    return 2 * total / max(told, 1e-9), max(told, 1e-9)
