"""Coordinates as bytes: 58 for four dimensions.

Layout, all in network order: version (1 byte), dimensions (1), then as doubles the position,
as floats height, error, residual, adjustment and age in seconds, and the number of samples
(4 bytes). The age is a duration: clocks of two hosts have nothing in common. Floats are
rounded towards zero, so what lies within the reader's bounds stays there.
"""

from __future__ import annotations

import math
import struct

from federlib.errors import InvalidInput
from federlib.vivaldi.config import DEFAULTS, MAX_DIMENSIONS, VivaldiConfig
from federlib.vivaldi.coordinate import VivaldiCoordinate, is_sound

__all__ = ["MAX_COORDINATE_BYTES", "decode_coordinate", "encode_coordinate"]

_VERSION = 1
_LAYOUTS = [struct.Struct(f"!BB{n}dfffffI") for n in range(MAX_DIMENSIONS + 1)]
_MOST = 2**32 - 1
_FLOATS = struct.Struct("!4f")
_WORDS = struct.Struct("!4I")

MAX_COORDINATE_BYTES = _LAYOUTS[MAX_DIMENSIONS].size
"""Of the most dimensions; read no more than that."""


def encode_coordinate(coord: VivaldiCoordinate, *, now_s: float) -> bytes:
    """Write a coordinate; 50 to 74 bytes for three to six dimensions.

    Args:
        coord: A sound one, with `updated_at` on the clock of `now_s`.
        now_s: The present, on this node's monotonic clock.
    Raises:
        InvalidInput: It has no dimensions, or more than `MAX_DIMENSIONS`, or a field that is
            no finite number.
    """
    try:
        size = len(coord.position)
        if not 1 <= size <= MAX_DIMENSIONS:
            raise InvalidInput("position", expected=f"1 to {MAX_DIMENSIONS} dimensions", found=size)
        age_s = now_s - coord.updated_at
        floats = (coord.height, coord.error, coord.residual_ms, coord.adjustment_ms)
        # One that is not finite, or no number, shows in the sum.
        if not math.isfinite(sum((*coord.position, *floats, age_s))):
            raise InvalidInput("coord", expected="finite numbers", found=coord)
        return _LAYOUTS[size].pack(
            _VERSION, size, *coord.position, *_towards_zero(*floats),
            max(0.0, age_s), min(coord.sample_count, _MOST),
        )  # fmt: skip
    except (struct.error, OverflowError, TypeError) as error:
        raise InvalidInput("coord", expected=f"numbers ({error})", found=coord) from error


def _towards_zero(*numbers: float) -> tuple[float, ...]:
    """Round four numbers to what a float of four bytes holds, never away from zero."""
    data = _FLOATS.pack(*numbers)
    rounded: tuple[float, ...] = _FLOATS.unpack(data)
    grown = [abs(found) > abs(given) for given, found in zip(numbers, rounded, strict=True)]
    if not any(grown):
        return rounded
    # The bits of a float without its sign are in the order of its values.
    words: tuple[int, ...] = _WORDS.unpack(data)
    lower: tuple[float, ...] = _FLOATS.unpack(_WORDS.pack(*map(int.__sub__, words, grown)))
    return lower


def decode_coordinate(
    data: bytes, *, now_s: float, transit_s: float = 0.0, config: VivaldiConfig = DEFAULTS
) -> VivaldiCoordinate | None:
    """Read what `encode_coordinate` wrote, or None: it is whole and sound, or it is nothing.

    Args:
        data: From the network; anything.
        now_s: The present, on this node's monotonic clock.
        transit_s: How long it was under way, as far as known: half a round trip.
        config: What a coordinate must fit.
    """
    if len(data) < 2 or data[0] != _VERSION or not 1 <= data[1] <= MAX_DIMENSIONS:
        return None
    layout = _LAYOUTS[data[1]]
    if len(data) != layout.size:
        return None
    _, _, *position, height, error, residual, adjustment, age_s, samples = layout.unpack(data)
    if not 0 <= age_s < math.inf:
        return None
    found = VivaldiCoordinate(
        position=tuple(position),
        height=height,
        error=error,
        sample_count=samples,
        updated_at=now_s - age_s - transit_s,
        residual_ms=residual,
        adjustment_ms=adjustment,
    )
    return found if is_sound(found, config) else None
