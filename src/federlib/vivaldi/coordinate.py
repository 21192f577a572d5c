"""Coordinates: where a node lies in a space whose distances are round trips.

Two numbers say how good a coordinate is, and they are never mixed: `error` is relative (it
weighs updates and tells convergence), `residual_ms` is absolute (it makes sigma and quality).

Source: Dabek et al., SIGCOMM 2004 (height vectors); AD-35 §12.1.1 to 12.1.3.
"""

from __future__ import annotations

from math import dist, hypot

import msgspec

from federlib.errors import InvalidInput
from federlib.vivaldi.config import DEFAULTS, VivaldiConfig

__all__ = [
    "VivaldiCoordinate",
    "coordinate_quality",
    "initial_coordinate",
    "is_sound",
    "vivaldi_distance",
]

_MAX_ERROR = 1_000.0
"""No honest relative error comes near; a peer's configuration may still allow more than ours."""

_MAX_SAMPLES = 2**53
"""Ages of the universe, and still exact as a float."""

_MAX_S = 1e12
"""No clock has run for thirty thousand years."""


class VivaldiCoordinate(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True
):
    """Where a node lies, and how well it knows.

    Attributes:
        position: Milliseconds in each dimension.
        height: Milliseconds from the node to the core of the network and back; added to every
            distance. It stands for the access link.
        error: Relative error of the node's own predictions; lower is better.
        sample_count: How many measurements the coordinate has learned from.
        updated_at: When it was last true, on the monotonic clock of whoever holds it; seconds.
            It never travels: the wire carries the age.
        residual_ms: How far the node's predictions are off on the average; milliseconds.
        adjustment_ms: Added to distances where `adjustment_window` is in use, else 0.
    """

    position: tuple[float, ...]
    height: float
    error: float
    sample_count: int = 0
    updated_at: float = 0.0
    residual_ms: float = 50.0
    adjustment_ms: float = 0.0


def initial_coordinate(config: VivaldiConfig = DEFAULTS) -> VivaldiCoordinate:
    """Return the coordinate of a node that has measured nothing: the origin."""
    return VivaldiCoordinate(
        position=(0.0,) * config.dimensions,
        height=config.height_min_ms,
        error=config.initial_error,
        residual_ms=config.sigma_default_ms,
    )


def vivaldi_distance(coord_a: VivaldiCoordinate, coord_b: VivaldiCoordinate) -> float:
    """Return the round trip between two nodes as their coordinates predict it; milliseconds.

    Euclidean distance plus both heights, plus both adjustments unless that were not positive.

    Raises:
        InvalidInput: The coordinates have different dimensions.
    """
    try:
        found = dist(coord_a.position, coord_b.position) + coord_a.height + coord_b.height
    except ValueError:
        raise InvalidInput(
            "coord_b",
            expected=f"{len(coord_a.position)} dimensions",
            found=len(coord_b.position),
        ) from None
    adjustment = coord_a.adjustment_ms + coord_b.adjustment_ms
    return found + adjustment if adjustment and found + adjustment > 0 else found


def coordinate_quality(
    sample_count: int,
    error_ms: float,
    staleness_s: float,
    config: VivaldiConfig = DEFAULTS,
) -> float:
    """Say how much a coordinate is worth, from 0 to 1.

    The product of three parts: samples up to `min_samples_for_routing`, `error_good_ms` over
    the error, and `coord_ttl_s` over the age once it is older than that.

    Args:
        sample_count: What it was learned from.
        error_ms: Its absolute residual, not its relative error; milliseconds.
        staleness_s: Its age; seconds.
        config: Gives the three yardsticks.
    Returns:
        0 for whatever is not a number, or negative where it cannot be.
    Source: AD-35 §12.1.3.
    """
    try:
        # Written so that NaN fails.
        if not (sample_count >= 0 and error_ms >= 0 and staleness_s >= 0):
            return 0.0
        needed = config.min_samples_for_routing
        samples = min(sample_count, needed) / needed
        error = min(1.0, config.error_good_ms / max(error_ms, 1.0))
        fresh = 1.0 if staleness_s <= config.coord_ttl_s else config.coord_ttl_s / staleness_s
    except (TypeError, OverflowError):
        return 0.0
    return samples * error * fresh


def is_sound(coord: VivaldiCoordinate, config: VivaldiConfig = DEFAULTS) -> bool:
    """Say whether a coordinate may be believed at all: dimensions, numbers, bounds.

    Never raises, whatever its fields hold. Nothing may lie further away than `rtt_max_ms`.
    """
    most = config.rtt_max_ms
    try:
        position = coord.position
        # Of NaN and of infinity, `hypot` makes what fails the comparison.
        return (
            len(position) == config.dimensions
            and type(position) is tuple
            and hypot(*position) <= most
            and 0.0 <= coord.height <= most
            and 0.0 <= coord.error <= _MAX_ERROR
            and 0.0 <= coord.residual_ms <= most
            and -most <= coord.adjustment_ms <= most
            and 0 <= coord.sample_count <= _MAX_SAMPLES
            and -_MAX_S <= coord.updated_at <= _MAX_S
        )
    except (TypeError, AttributeError, OverflowError):
        return False
