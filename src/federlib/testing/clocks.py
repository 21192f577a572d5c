"""Clocks for tests: one that moves by hand, one that is wrong on purpose."""

from __future__ import annotations

import attrs

from federlib.skewclock import Clock

__all__ = ["ManualClock", "SkewedClock"]

_NS = 1_000_000_000


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
        assert seconds >= 0
        step = round(seconds * _NS)
        self.wall += step
        self.mono += step
        self.boot += step

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: wall and boot go on, monotonic stands still."""
        step = round(seconds * _NS)
        self.wall += step
        self.boot += step

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does."""
        self.wall += round(seconds * _NS)

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
        drift_ppm: Rate error of all three clocks; parts per million.
        clock_id: Its own name: a skewed clock must not pass for its base.
    """

    base: Clock
    offset_s: float = 0.0
    drift_ppm: float = 0.0
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
