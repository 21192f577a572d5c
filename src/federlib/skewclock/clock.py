"""Clocks: what the rest of federlib may know of time.

Source: design §3, ChronoWatch (ClockReading), A2.2 §2.2.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Protocol

from federlib import _host

__all__ = ["Clock", "ClockId", "SystemClock"]


class Clock(Protocol):
    """Three ways to tell time, and a name.

    Every number is an `int` of nanoseconds. Nothing outside this package reads time in
    another way, so a test or the simulator can put any clock in its place.
    """

    @property
    def clock_id(self) -> str:
        """Names the boot clock, as `ClockId` parses it.

        Two processes with equal ids may compare their `boot_ns` directly.
        """
        ...

    def wall_ns(self) -> int:
        """Read the wall clock; Unix nanoseconds, UTC. It may step either way."""
        ...

    def monotonic_ns(self) -> int:
        """Read a clock that never goes back; it may stop while the machine sleeps."""
        ...

    def boot_ns(self) -> int:
        """Read a clock that never goes back and counts suspend (Linux CLOCK_BOOTTIME)."""
        ...


class ClockId:
    """The parts of a `clock_id`: ``machine/boot/namespace``.

    Attributes:
        machine: Hash of the machine's id, or None where it cannot be trusted.
        boot: The id of the kernel's boot.
        namespace: Offset of a Linux time namespace; "" for none.
    """

    __slots__ = ("boot", "machine", "namespace")

    def __init__(self, text: str) -> None:
        machine, _, rest = text.partition("/")
        boot, _, namespace = rest.partition("/")
        self.machine: str | None = None if machine in ("", "-") else machine
        self.boot: str = boot
        self.namespace: str = namespace

    def is_other_boot_of(self, other: ClockId) -> bool:
        """Say whether both name one machine, in two different boots of it."""
        same_machine = self.machine is not None and self.machine == other.machine
        both_known = bool(self.boot and other.boot)
        return same_machine and both_known and self.boot != other.boot


class SystemClock:
    """The clocks of this machine."""

    __slots__ = ("_clock_id",)

    def __init__(self) -> None:
        machine, boot = _host.machine_id(), _host.boot_id()
        if boot is None:
            # Nothing may be compared across processes then: name the process. And not the
            # machine: two of its processes would look like two boots of it.
            machine, boot = None, f"process-{os.getpid()}-{time.time_ns():x}"
        self._clock_id = f"{machine or '-'}/{boot}/{_host.time_namespace()}"

    @property
    def clock_id(self) -> str:
        """Machine id, boot id and time namespace; the same for every process of a boot."""
        return self._clock_id

    def wall_ns(self) -> int:
        """Read CLOCK_REALTIME; Unix nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Read CLOCK_MONOTONIC; nanoseconds."""
        return time.monotonic_ns()

    if sys.platform == "linux":

        def boot_ns(self) -> int:
            """Read CLOCK_BOOTTIME; nanoseconds since boot, suspend included."""
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    else:  # pragma: no cover (other systems)

        def boot_ns(self) -> int:
            """Read the monotonic clock, the nearest thing this system has."""
            return time.monotonic_ns()
