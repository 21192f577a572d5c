"""The clocks of a simulated machine: wrong in every way that real ones are."""

from __future__ import annotations

from typing import Protocol

from federlib.errors import InvalidInput
from federlib.testing.sim.kernel import SECOND_NS

__all__ = ["EPOCH_NS", "SimulatedClock", "Timeline"]

EPOCH_NS = 1_700_000_000 * 1_000_000_000
"""What a right wall clock shows at the beginning; Unix nanoseconds."""

_MILLION = 1_000_000
_NEVER_NS = 10**9 * SECOND_NS


class Timeline(Protocol):
    """Where true time comes from: a `Simulation`, or an event loop by its `LoopClock`."""

    @property
    def now_ns(self) -> int:
        """The present; nanoseconds from any beginning."""
        ...


class Follower(Protocol):
    """What counts on the rate of a clock."""

    def adjust(self) -> None:
        """Take in that it has changed."""
        ...


class SimulatedClock:
    """A `Clock` on virtual time: boot clock with a rate error, wall clock with an offset too.

    Args:
        sim: Whose time it follows.
        machine: Names the machine; clocks of one machine and boot may be compared.
        offset_ns: How far its wall clock is ahead; nanoseconds, negative for behind.
        drift_ppm: How much too fast it runs; parts per million, above -1,000,000.
    Attributes:
        clock_id: The machine and its boot.
    """

    def __init__(
        self, sim: Timeline, machine: str, *, offset_ns: int = 0, drift_ppm: int = 0
    ) -> None:
        self._sim = sim
        self._machine = machine
        self._boots = 0
        self._name_boot()
        self._origin_ns = sim.now_ns
        self._boot_ns = 1_000 * SECOND_NS
        self._wall_ahead_ns = EPOCH_NS - self._boot_ns + sim.now_ns + offset_ns
        self._asleep_ns = 0
        self._rate = _MILLION
        # In order: a set would be gone through in the order of addresses.
        self._followers: dict[Follower, None] = {}
        self.drift(drift_ppm)

    def wall_ns(self) -> int:
        """Read the wall clock."""
        passed_ns = (self._sim.now_ns - self._origin_ns) * self._rate // _MILLION
        return self._boot_ns + passed_ns + self._wall_ahead_ns

    def monotonic_ns(self) -> int:
        """Read the monotonic clock."""
        return self.boot_ns() - self._asleep_ns

    def boot_ns(self) -> int:
        """Read the boot clock."""
        return self._boot_ns + (self._sim.now_ns - self._origin_ns) * self._rate // _MILLION

    @property
    def drift_ppm(self) -> int:
        """How much too fast it runs at present; parts per million."""
        return self._rate - _MILLION

    def drift(self, ppm: int) -> None:
        """Change the rate from now on; -1,000,000 freezes the clock.

        Raises:
            InvalidInput: It would run backwards.
        """
        if type(ppm) is not int or ppm < -_MILLION:
            raise InvalidInput("ppm", expected=f"an integer, -{_MILLION} or more", found=ppm)
        self._boot_ns, self._origin_ns = self.boot_ns(), self._sim.now_ns
        self._rate = _MILLION + ppm
        for follower in tuple(self._followers):
            follower.adjust()

    def follow(self, follower: Follower) -> None:
        """Have somebody told when the rate changes."""
        self._followers[follower] = None

    def unfollow(self, follower: Follower) -> None:
        """Have it told no more; without effect if it was not."""
        self._followers.pop(follower, None)

    def step_wall(self, by_ns: int) -> None:
        """Set the wall clock forward or back."""
        self._wall_ahead_ns += by_ns

    def suspended(self, for_ns: int) -> None:
        """Note that the machine slept until now: the monotonic clock did not count it."""
        self._asleep_ns += for_ns

    def reboot(self) -> None:
        """Begin a new boot: another name, boot clock near zero, the wall clock goes on."""
        wall_ns = self.wall_ns()
        self._name_boot()
        self._boot_ns, self._origin_ns, self._asleep_ns = SECOND_NS, self._sim.now_ns, 0
        self._wall_ahead_ns = wall_ns - self._boot_ns

    def _name_boot(self) -> None:
        self._boots += 1
        self.clock_id: str = f"{self._machine}/boot-{self._boots}/"

    def until(self, boot_ns: int) -> int:
        """Return how much true time passes until this clock shows `boot_ns`; 0 if it does.

        A frozen clock gets there never: then it is a very long time.
        """
        missing_ns = boot_ns - self.boot_ns()
        return self.takes(missing_ns) if missing_ns > 0 else 0

    def takes(self, passing_ns: int) -> int:
        """Return how much true time passes while this clock counts `passing_ns`, 0 or more."""
        if not passing_ns:
            return 0
        return -(-passing_ns * _MILLION // self._rate) if self._rate else _NEVER_NS
