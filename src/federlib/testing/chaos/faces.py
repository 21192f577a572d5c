"""`Face`: what the clocks of one machine show, as a value; and a clock that shows it.

All processes of a run share the clocks of one machine, which are taken for true. A process
whose clocks are to be wrong is given a face, and so is its next life: a machine's clocks go on
when a process dies.
"""

from __future__ import annotations

import msgspec

from federlib.skewclock import Clock

__all__ = ["Face", "FacedClock"]

_MILLION = 1_000_000
_SECOND_NS = 1_000_000_000


class Face(msgspec.Struct, frozen=True, kw_only=True):
    """What clocks show, as a function of the true boot clock.

    Attributes:
        machine: Names the machine.
        boots: Which boot of it this is, from 1.
        origin_ns: The true instant since which this holds; nanoseconds of the true boot clock.
        boot_ns: What the boot clock showed then.
        wall_ahead_ns: What is added to the boot clock for the wall clock.
        drift_ppm: How much too fast it runs; parts per million, -1,000,000 stands still.
    """

    machine: str
    boots: int
    origin_ns: int
    boot_ns: int
    wall_ahead_ns: int
    drift_ppm: int = 0

    @classmethod
    def true(cls, machine: str, clock: Clock) -> Face:
        """Return a face that shows the truth, under a name of its own."""
        now_ns = clock.boot_ns()
        return cls(
            machine=machine,
            boots=1,
            origin_ns=now_ns,
            boot_ns=now_ns,
            wall_ahead_ns=clock.wall_ns() - now_ns,
        )

    @property
    def clock_id(self) -> str:
        """The machine and its boot."""
        return f"{self.machine}/boot-{self.boots}/"

    def show_boot_ns(self, true_ns: int) -> int:
        """Return what the boot clock shows at a true instant."""
        passed_ns = true_ns - self.origin_ns
        return self.boot_ns + passed_ns * (_MILLION + self.drift_ppm) // _MILLION

    def drifting(self, ppm: int, true_ns: int) -> Face:
        """Return a face that shows the same now, and runs at another rate from now on."""
        return msgspec.structs.replace(
            self,
            origin_ns=true_ns,
            boot_ns=self.show_boot_ns(true_ns),
            drift_ppm=max(-_MILLION, ppm),
        )

    def stepped(self, by_ns: int) -> Face:
        """Return a face whose wall clock was set forward, or back."""
        return msgspec.structs.replace(self, wall_ahead_ns=self.wall_ahead_ns + by_ns)

    def rebooted(self, true_ns: int) -> Face:
        """Return the face after another boot: its boot clock begins anew, its wall goes on."""
        wall_ns = self.show_boot_ns(true_ns) + self.wall_ahead_ns
        return msgspec.structs.replace(
            self,
            boots=self.boots + 1,
            origin_ns=true_ns,
            boot_ns=_SECOND_NS,
            wall_ahead_ns=wall_ns - _SECOND_NS,
        )


class FacedClock:
    """A `Clock` that shows a face.

    Args:
        base: Tells the truth.
        face: What is shown; assign another at any time.
    """

    def __init__(self, base: Clock, face: Face) -> None:
        self.face: Face = face
        self._base = base
        self._last_ns = 0

    @property
    def clock_id(self) -> str:
        """The machine and its boot."""
        return self.face.clock_id

    def wall_ns(self) -> int:
        """Read the wall clock; Unix nanoseconds."""
        return self.boot_ns() + self.face.wall_ahead_ns

    def monotonic_ns(self) -> int:
        """Read the monotonic clock; here it is the boot clock."""
        return self.boot_ns()

    def boot_ns(self) -> int:
        """Read the boot clock."""
        # A new face was made a moment before it came here: time must not go back for that.
        self._last_ns = max(self._last_ns, self.face.show_boot_ns(self._base.boot_ns()))
        return self._last_ns
