"""`HybridLogicalClock`: time that respects causality and stays close to the wall clock.

Source: Kulkarni et al. 2014; design §3, skewclock.
"""

from __future__ import annotations

import math
import threading

from federlib.errors import ClockBehind, InvalidInput, TimestampTooFarAhead, Unavailable
from federlib.skewclock.bound import BoundStore
from federlib.skewclock.clock import Clock
from federlib.skewclock.hybrid import next_timestamp
from federlib.skewclock.incidents import HLC_INCIDENTS, HlcCounts, Incident
from federlib.skewclock.timestamp import (
    LOGICAL_BITS,
    MAX_LOGICAL,
    MAX_TIMESTAMP,
    NS_PER_MS,
    HlcTimestamp,
    check_hlc,
    hlc_text,
)
from federlib.skewclock.tolerance import SkewTolerance
from federlib.telemetry import SILENT, Telemetry

__all__ = ["HybridLogicalClock"]

_NO_WINDOW = 1 << 70
"""Later than every reading, so that no reading falls into it."""


class HybridLogicalClock:
    """A clock whose timestamps rise along every chain of cause and effect.

    If one event can have caused another, its timestamp is lower: for events of one clock
    always, for those of two clocks as far as the receiver of each message calls `observe`.
    A timestamp is never below the wall clock's millisecond at its event, and never ahead of
    it by more than `max_offset_s`: what cannot be had within that is refused, and a refusal
    changes nothing.

    Thread-safe, and never blocks on a disk. Not to be used from a signal handler, which may
    have interrupted a reading; after a fork the child makes a clock of its own. Timestamps of
    two clocks may be equal.

    Args:
        clock: Its wall clock is the physical one.
        max_offset_s: How far ahead of the wall clock a timestamp may be; 0 to 3600 seconds,
            to the millisecond. By default A2.2's tolerance of 3.
        bound: Keeps an upper bound of all timestamps over restarts, so that a clock that
            was set back while the process was away issues nothing twice. Read and written
            here at once, which may block; from then on `renew_bound` must be called in
            time, as `keep_bound` does. One store belongs to one clock.
        bound_ahead_s: How far ahead the bound is put; above 0, at most `max_offset_s`: a
            restart under a right clock then never has to wait. By default half of it.
        telemetry: Incidents are counted there.
    Raises:
        InvalidInput: An argument is out of range.
        CorruptRecord, Unavailable: The bound cannot be read or written.
    """

    __slots__ = (
        "_ahead_ms",
        "_base",
        "_bound",
        "_ceiling",
        "_counts",
        "_demanded_ms",
        "_from_ns",
        "_lock",
        "_logical",
        "_max_offset_ms",
        "_read_ms",
        "_renewing",
        "_telemetry",
        "_wall_ns",
        "clock",
    )

    def __init__(
        self,
        clock: Clock,
        *,
        max_offset_s: float = 3.0,
        bound: BoundStore | None = None,
        bound_ahead_s: float | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.clock: Clock = clock
        self._wall_ns = clock.wall_ns
        self._max_offset_ms = SkewTolerance(max_offset_s).tolerance_ns // NS_PER_MS
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        # The latest timestamp is `_base + _logical`; the lower 16 bits of `_base` are 0.
        # While the wall clock reads within a millisecond from `_from_ns`, it reads the same
        # as when they were last checked, so that nothing but `_logical` need be looked at.
        self._base = 0
        self._logical = 0
        self._from_ns = _NO_WINDOW
        self._read_ms = 0
        self._ceiling = MAX_TIMESTAMP + 1
        self._counts = HlcCounts()
        self._bound = bound
        self._ahead_ms = 0
        self._demanded_ms = 0
        if bound is not None:
            self._ahead_ms = _ahead_ms(bound_ahead_s, self._max_offset_ms)
            self._restore(bound)

    @property
    def max_offset_s(self) -> float:
        """How far ahead of the wall clock a timestamp may be; seconds."""
        return self._max_offset_ms / 1_000

    @property
    def bound_ahead_s(self) -> float | None:
        """How far ahead the stored bound is put; seconds, or None without one."""
        return None if self._bound is None else self._ahead_ms / 1_000

    @property
    def latest(self) -> HlcTimestamp:
        """The highest timestamp issued or taken in so far; 0 before any. Without effect."""
        with self._lock:
            return HlcTimestamp(self._base + self._logical)

    @property
    def counts(self) -> HlcCounts:
        """What has gone wrong so far."""
        with self._lock:
            return self._counts

    def now(self) -> HlcTimestamp:
        """Return the timestamp of an event here: above every one issued or observed before.

        Raises:
            ClockBehind: The wall clock was set back by more than `max_offset_s`; its
                `wait_s` says when it will have caught up.
            Unavailable: The stored bound was not renewed in time.
        """
        with self._lock:
            ns = self._wall_ns()
            if 0 <= ns - self._from_ns < NS_PER_MS:
                logical = self._logical + 1
                if logical <= MAX_LOGICAL:
                    self._logical = logical
                    return self._base + logical  # type: ignore[return-value]  # a call of the NewType costs a tenth
            else:
                ms = ns // NS_PER_MS
                base = ms << LOGICAL_BITS
                # The wall clock leads: it is its own proof that it was not set back.
                if self._base < base < self._ceiling:
                    self._from_ns = ms * NS_PER_MS
                    self._base = base
                    self._logical = 0
                    return base  # type: ignore[return-value]  # as above
        return self._advance(0)

    def observe(self, remote: HlcTimestamp) -> HlcTimestamp:
        """Take in a timestamp from afar; return that of the receipt, above both.

        Raises:
            TimestampTooFarAhead: It leads the wall clock by more than `max_offset_s`.
            InvalidInput: It cannot be a timestamp.
            ClockBehind, Unavailable: As for `now`.
        """
        if type(remote) is int and remote >= 0:
            with self._lock:
                base = self._base
                logical = self._logical + 1
                if remote >= base + logical:
                    logical = remote - base + 1
                # In the millisecond of the latest: bounded as that one was. Else, the long way.
                if logical <= MAX_LOGICAL and 0 <= self._wall_ns() - self._from_ns < NS_PER_MS:
                    self._logical = logical
                    return base + logical  # type: ignore[return-value]  # as in `now`
        return self._advance(check_hlc(remote, field="remote"))

    def _advance(self, remote: int) -> HlcTimestamp:
        """Take the next step with every check; tell of what was met once the lock is free."""
        met: list[Incident] = []
        refusal: TimestampTooFarAhead | Unavailable | None = None
        with self._lock:
            physical_ms = self._wall_ns() // NS_PER_MS
            before_ms = self._last_reading_ms()
            self._read_ms, self._from_ns = physical_ms, _NO_WINDOW
            if physical_ms < before_ms:
                met.append("set_back")
            latest = self._base + self._logical
            found = HlcTimestamp(latest)
            try:
                found = next_timestamp(
                    latest,
                    remote=remote,
                    physical_ms=physical_ms,
                    max_offset_ms=self._max_offset_ms,
                    ceiling=self._ceiling,
                )
            except TimestampTooFarAhead as error:
                refusal = error
                met.append("refused")
            except Unavailable as error:
                refusal = error
                met.append("behind")
                if not isinstance(error, ClockBehind):
                    self._demanded_ms = max(self._demanded_ms, remote >> LOGICAL_BITS)
            else:
                if found > physical_ms << LOGICAL_BITS and not found & MAX_LOGICAL:
                    met.append("overflow")
                self._base = found & ~MAX_LOGICAL
                self._logical = found & MAX_LOGICAL
                self._from_ns = physical_ms * NS_PER_MS
            self._counts = self._counts.plus(met)
        self._tell(met, back_ms=before_ms - physical_ms, latest=found)
        if refusal is not None:
            raise refusal
        return found

    def _last_reading_ms(self) -> int:
        return self._read_ms if self._from_ns == _NO_WINDOW else self._from_ns // NS_PER_MS

    def _tell(self, met: list[Incident], *, back_ms: int, latest: HlcTimestamp) -> None:
        for kind in met:
            self._telemetry.emit(HLC_INCIDENTS, kind=kind)
        if "set_back" in met:
            self._telemetry.log(
                "warning",
                "wall_clock_set_back",
                by_s=back_ms / 1_000,
                max_offset_s=self.max_offset_s,
                hlc=hlc_text(latest),
            )

    def renew_bound(self) -> None:
        """Put the stored bound ahead again, if half of that time has been used up.

        Blocks until it is durable, while `now` and `observe` go on under the old one. Does
        nothing without a bound, and nothing while the wall clock lies so far behind that
        nothing can be issued: the bound does not creep away from it.

        Raises:
            Unavailable: It cannot be written; the old bound holds.
        """
        if self._bound is None:
            return
        with self._renewing:
            with self._lock:
                physical_ms = self._wall_ns() // NS_PER_MS
                reached_ms = max(physical_ms, self._base >> LOGICAL_BITS, self._demanded_ms)
                left_ms = (self._ceiling >> LOGICAL_BITS) - reached_ms
            is_behind = reached_ms - physical_ms > self._max_offset_ms
            if is_behind or left_ms > self._ahead_ms // 2:
                return
            bound_ms = min(reached_ms + self._ahead_ms, MAX_TIMESTAMP >> LOGICAL_BITS)
            self._bound.save(bound_ms * NS_PER_MS)
            with self._lock:
                self._ceiling = bound_ms << LOGICAL_BITS
                self._demanded_ms = 0

    def _restore(self, bound: BoundStore) -> None:
        stored_ns = bound.load()
        # An earlier life issued nothing from the bound on, and perhaps everything below it.
        self._base = 0 if stored_ns is None else stored_ns // NS_PER_MS << LOGICAL_BITS
        self._ceiling = self._base
        self.renew_bound()


def _ahead_ms(bound_ahead_s: float | None, max_offset_ms: int) -> int:
    if bound_ahead_s is None:
        found = max_offset_ms // 2
    else:
        is_number = type(bound_ahead_s) in (int, float) and math.isfinite(bound_ahead_s)
        found = int(bound_ahead_s * 1_000) if is_number else 0
    if not 2 <= found <= max_offset_ms:
        raise InvalidInput(
            "bound_ahead_s",
            expected=f"0.002 to max_offset_s ({max_offset_ms / 1_000:g}) seconds",
            found=bound_ahead_s,
        )
    return found
