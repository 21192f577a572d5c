"""Clocks for tests: one that moves by hand, one that is wrong on purpose."""

from __future__ import annotations

import math

import attrs

from federlib.errors import InvalidInput
from federlib.skewclock import Clock

__all__ = ["ManualClock", "SkewedClock"]

_NS = 1_000_000_000


def _finite(field: str, value: float) -> float:
    if not math.isfinite(value):
        raise InvalidInput(field, expected="a finite number", found=value)
    return value


def _forward(seconds: float) -> int:
    if _finite("seconds", seconds) < 0:
        raise InvalidInput("seconds", expected="0 or more", found=seconds)
    return round(seconds * _NS)


def _check_finite(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    _finite(attribute.name, value)


def _check_drift(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if _finite(attribute.name, value) <= -1_000_000:
        raise InvalidInput(attribute.name, expected="above -1,000,000", found=value)


@attrs.define
class ManualClock:
    """A clock that moves only when told to.

    Attributes:
        wall: Unix nanoseconds.
        mono: Monotonic nanoseconds.
        boot: Boot-clock nanoseconds.
        clock_id: As `Clock.clock_id`.
    """

    wall: int = 1_700_000_000 * _NS
    mono: int = 1_000 * _NS
    boot: int = 1_000 * _NS
    clock_id: str = "manual/boot-1/"

    def advance(self, seconds: float) -> None:
        """Let time pass on all three clocks; seconds, not negative."""
        step = _forward(seconds)
        self.wall += step
        self.mono += step
        self.boot += step

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: wall and boot go on, monotonic stands still."""
        step = _forward(seconds)
        self.wall += step
        self.boot += step

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does."""
        self.wall += round(_finite("seconds", seconds) * _NS)

    def wall_ns(self) -> int:
        """Read the wall clock."""
        return self.wall

    def monotonic_ns(self) -> int:
        """Read the monotonic clock."""
        return self.mono

    def boot_ns(self) -> int:
        """Read the boot clock."""
        return self.boot


@attrs.frozen
class SkewedClock:
    """Another clock, seen through an offset and a rate error.

    Attributes:
        base: The true clock.
        offset_s: Added to the wall clock; seconds.
        drift_ppm: Rate error of all three clocks; parts per million, above -1,000,000: no
            clock runs backwards.
        clock_id: Its own name: a skewed clock must not pass for its base.
    """

    base: Clock
    offset_s: float = attrs.field(default=0.0, validator=_check_finite)
    drift_ppm: float = attrs.field(default=0.0, validator=_check_drift)
    clock_id: str = "skewed/boot-1/"
    _origin: tuple[int, int, int] = attrs.field(init=False)

    @_origin.default
    def _read_origin(self) -> tuple[int, int, int]:
        return (self.base.wall_ns(), self.base.monotonic_ns(), self.base.boot_ns())

    def _drifted(self, now: int, origin: int) -> int:
        return now + round((now - origin) * self.drift_ppm / 1_000_000)

    def wall_ns(self) -> int:
        """Read the wall clock, offset and drifted."""
        return self._drifted(self.base.wall_ns(), self._origin[0]) + round(self.offset_s * _NS)

    def monotonic_ns(self) -> int:
        """Read the monotonic clock, drifted."""
        return self._drifted(self.base.monotonic_ns(), self._origin[1])

    def boot_ns(self) -> int:
        """Read the boot clock, drifted."""
        return self._drifted(self.base.boot_ns(), self._origin[2])
