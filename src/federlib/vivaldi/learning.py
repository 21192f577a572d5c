# ruff: noqa: FURB136, PLR1730 - `min` and `max` cost as much as the arithmetic around them
"""The update: what one measurement teaches a node about where it lies.

Vivaldi's rule with the height vectors of the paper, and around it: a gate for residuals that
are far beyond the usual, a limit to how much a peer's certainty counts, a gain that sinks with
experience, and a sigma that is widened until the promised share of samples lies below it.

Source: Dabek et al., SIGCOMM 2004 §3; Ledlie et al., NSDI 2007 (filters, coordinate memory,
gravity); decision 0021 (the gate, the decay, the widening).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import dist, exp, hypot, sqrt

import msgspec

from federlib.vivaldi.config import VivaldiConfig
from federlib.vivaldi.coordinate import VivaldiCoordinate

__all__ = ["Fit", "Gauss", "initial_fit", "is_finite", "learn", "replay", "sigma_ms"]

Gauss = Callable[[float, float], float]
"""Draws from a normal distribution: mean and standard deviation."""

_WARM_SAMPLES = 50
"""The gain is whole until then, and falls as 1/n after."""
_REPLAY_SAMPLES = 30
"""The same for replays; sooner, because what they replay was heard before."""
_TOGETHER_MS = 1e-3
"""Closer than this no direction can be told: one is drawn."""
_USUAL_FLOOR_MS = 0.5
"""A quiet network is not so quiet that half a millisecond is unusual."""
_USUAL_SHARE = 0.03
"""Nor that three percent of a round trip are."""
# Steps of the usual residual, as factors. Twice as far up as down makes it the 67th percentile;
# the greater step beyond the gate reopens it when much has changed, and still stands a fifth of
# liars: 0.2 · 0.36 < 0.8 · 0.09 + …
_USUAL_UP, _USUAL_FAR_UP, _USUAL_DOWN = exp(0.18), exp(0.36), exp(-0.09)
_GRAVITY_EVERY = 16
"""Samples between two pulls, each of that strength: they are too weak to be felt one by one."""
_RESIDUAL_RATE = 0.1
_WIDEN = 0.1
_LEAST_WIDE, _MOST_WIDE = 0.5, 4.0
_SPREAD_TO_SIGMA = sqrt(3.141592653589793 / 2 / 2)
"""Mean absolute deviation to standard deviation, and the mean of two squares."""


class Fit(msgspec.Struct, frozen=True, gc=False):
    """All that a node has learned about itself.

    Attributes:
        position: As in the coordinate; milliseconds.
        height: As there.
        error: As there: relative.
        residual_ms: As there: absolute, after the gate.
        samples: How many measurements.
        usual_ms: The 67th percentile of the absolute residuals; 0 before any.
        widening: Factor of sigma.
        adjustments: The last residuals, where `adjustment_window` is in use.
    """

    position: tuple[float, ...]
    height: float
    error: float
    residual_ms: float
    samples: int = 0
    usual_ms: float = 0.0
    widening: float = 1.0
    adjustments: tuple[float, ...] = ()


def initial_fit(start: VivaldiCoordinate) -> Fit:
    """Begin at a coordinate: the origin, or one that was kept over a restart."""
    return Fit(start.position, start.height, start.error, start.residual_ms, start.sample_count)


def is_finite(fit: Fit, config: VivaldiConfig) -> bool:
    """Say whether all of it is a number, within the bounds of `is_sound`."""
    most = config.rtt_max_ms
    return (
        hypot(*fit.position) <= most
        and 0.0 <= fit.height <= most
        and 0.0 < fit.error <= config.max_error
        and 0.0 <= fit.residual_ms <= most
        and 0.0 <= fit.usual_ms <= most
        and 0.0 < fit.widening <= _MOST_WIDE
    )


def sigma_ms(own_ms: float, peer_ms: float, widening: float, config: VivaldiConfig) -> float:
    """Return the standard deviation of a prediction from both ends' residuals; milliseconds.

    Each end's mean residual speaks of the same prediction, so their squares are averaged.
    """
    found = widening * _SPREAD_TO_SIGMA * sqrt(own_ms * own_ms + peer_ms * peer_ms)
    if found < config.sigma_min_ms:
        return config.sigma_min_ms
    return found if found < config.sigma_max_ms else config.sigma_max_ms


def learn(
    fit: Fit,
    peer: VivaldiCoordinate,
    rtt_ms: float,
    measured_ms: float,
    config: VivaldiConfig,
    gauss: Gauss,
) -> Fit:
    """Learn from one measurement; all of the peer's numbers must be sound.

    Args:
        fit: What is known so far.
        peer: Where the other end says it lies.
        rtt_ms: The filtered round trip; at least `rtt_floor_ms`.
        measured_ms: The last one, unfiltered: what upper bounds are about.
        config: The constants.
        gauss: Draws a direction where both ends lie at one point.
    """
    gap = dist(fit.position, peer.position)
    reach = fit.height + peer.height
    predicted = gap + reach
    residual = rtt_ms - predicted
    size = abs(residual)

    before = fit.error
    trust = before / (before + peer.error)
    wrongness = size / rtt_ms
    if wrongness > config.max_error:
        wrongness = config.max_error
    error = before + config.error_adjustment * trust * (wrongness - before)
    if error < config.min_error:
        error = config.min_error

    usual = fit.usual_ms
    gate = config.gate
    if gate:
        if not usual:
            usual = size
        limit = _limit(usual, rtt_ms, gate)
        if size > gate * usual:
            usual *= _USUAL_FAR_UP
        else:
            usual *= _USUAL_UP if size > usual else _USUAL_DOWN
        if usual < _USUAL_FLOOR_MS:
            usual = _USUAL_FLOOR_MS
        elif usual > config.rtt_max_ms:
            usual = config.rtt_max_ms
        if size > limit:
            residual *= (limit / size) ** 3
            size = abs(residual)

    widening = fit.widening
    if config.ucb_target:
        bound = predicted + config.k_sigma * sigma_ms(
            fit.residual_ms, peer.residual_ms, widening, config
        )
        widening *= 1.0 + _WIDEN * (config.ucb_target - (measured_ms <= bound))
        if widening < _LEAST_WIDE:
            widening = _LEAST_WIDE
        elif widening > _MOST_WIDE:
            widening = _MOST_WIDE

    samples = fit.samples + 1
    gain = config.coordinate_adjustment
    if samples > _WARM_SAMPLES:
        gain *= _WARM_SAMPLES / samples
        if gain < config.steady_gain:
            gain = config.steady_gain
    if trust > config.trust_max:
        trust = config.trust_max
    position, height = _moved(
        fit.position, fit.height, peer, gap, reach, gain * trust * residual, gauss
    )
    if config.gravity_rho and not samples % _GRAVITY_EVERY:
        position = _drawn(position, config.gravity_rho)
    adjustments = fit.adjustments
    if config.adjustment_window:
        adjustments = (*adjustments, residual)[-config.adjustment_window :]
    return Fit(
        position,
        height if height > config.height_min_ms else config.height_min_ms,
        error,
        fit.residual_ms + _RESIDUAL_RATE * (size - fit.residual_ms),
        samples,
        usual,
        widening,
        adjustments,
    )


def replay(
    fit: Fit,
    remembered: Iterable[tuple[VivaldiCoordinate, float]],
    config: VivaldiConfig,
    gauss: Gauss,
) -> Fit:
    """Move as what is remembered says once more: pairs of a peer's coordinate and round trip.

    Coordinates that had learned from less than this node has weigh less. Nothing is learned
    about errors: that would count one measurement twice.
    """
    position, height, own_error = fit.position, fit.height, fit.error
    limit_gate, usual, least = config.gate, fit.usual_ms, config.height_min_ms
    gain = config.coordinate_adjustment
    if fit.samples > _REPLAY_SAMPLES:
        gain *= _REPLAY_SAMPLES / fit.samples
    known = fit.samples + 1
    for peer, rtt_ms in remembered:
        gap = dist(position, peer.position)
        reach = height + peer.height
        residual = rtt_ms - gap - reach
        if limit_gate:
            size = abs(residual)
            limit = _limit(usual, rtt_ms, limit_gate)
            if size > limit:
                residual *= (limit / size) ** 3
        trust = own_error / (own_error + peer.error)
        if trust > config.trust_max:
            trust = config.trust_max
        # While all are new, a coordinate heard some samples ago is already wrong.
        maturity = (peer.sample_count + 1) / known
        if maturity < 1.0:
            trust *= maturity * maturity
        position, height = _moved(
            position, height, peer, gap, reach, gain * trust * residual, gauss
        )
        if height < least:
            height = least
    return Fit(
        position,
        height,
        fit.error,
        fit.residual_ms,
        fit.samples,
        fit.usual_ms,
        fit.widening,
        fit.adjustments,
    )


def _limit(usual_ms: float, rtt_ms: float, gate: float) -> float:
    """Say beyond what a residual loses weight, as the third power of the excess."""
    share = _USUAL_SHARE * rtt_ms
    return gate * (usual_ms if usual_ms > share else share)


def _moved(
    position: tuple[float, ...],
    height: float,
    peer: VivaldiCoordinate,
    gap: float,
    reach: float,
    force: float,
    gauss: Gauss,
) -> tuple[tuple[float, ...], float]:
    """Move by `force` milliseconds along the height vector from the peer to here."""
    if gap < _TOGETHER_MS:
        drawn = [gauss(0.0, 1.0) for _ in position]
        step = force / (hypot(*drawn) or 1.0)
        moved = tuple([a + step * b for a, b in zip(position, drawn, strict=True)])
        return moved, height + (force if reach > _TOGETHER_MS else 0.0)
    part = force / (gap + reach)
    return (
        tuple([a + part * (a - b) for a, b in zip(position, peer.position, strict=True)]),
        height + part * reach,
    )


def _drawn(position: tuple[float, ...], rho: float) -> tuple[float, ...]:
    """Fall towards the origin by (|position| / rho)², in seconds, for each sample since."""
    keep = 1.0 - _GRAVITY_EVERY * hypot(*position) / (1_000.0 * rho * rho)
    if keep < 0.0:
        keep = 0.0
    return tuple([a * keep for a in position])
