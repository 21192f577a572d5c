"""`LamportClock`: a counter that respects causality and knows nothing of time.

Source: Lamport 1978; ChronoWatch (logical clocks); design §3, skewclock.
"""

from __future__ import annotations

import threading

from federlib.errors import InvalidInput, Unavailable

__all__ = ["LamportClock"]

_MAX = 2**63 - 1


class LamportClock:
    """Numbers that rise along every chain of cause and effect.

    Thread-safe; not to be used from a signal handler.

    Args:
        start: The number before the first, for example what was stored; 0 to the largest
            int64.
        max_jump: How far ahead a remote number may be. One absorbed number near the end of
            int64 would use up the clock of every process that hears of it.
    Raises:
        InvalidInput: An argument is out of range.
    """

    __slots__ = ("_latest", "_lock", "_max_jump", "_refused")

    def __init__(self, start: int = 0, *, max_jump: int = 2**53) -> None:
        self._latest = _check("start", start, 0, _MAX)
        self._max_jump = _check("max_jump", max_jump, 1, _MAX)
        self._lock = threading.Lock()
        self._refused = 0

    @property
    def latest(self) -> int:
        """The highest number issued or taken in so far. Without effect."""
        return self._latest

    @property
    def refused(self) -> int:
        """How many remote numbers were too far ahead."""
        return self._refused

    def now(self) -> int:
        """Return the number of an event here: above every one issued or observed before.

        Raises:
            Unavailable: int64 is used up.
        """
        with self._lock:
            return self._step(self._latest)

    def observe(self, remote: int) -> int:
        """Take in a number from afar; return that of the receipt, above both.

        Raises:
            InvalidInput: Not an integer from 0 to `max_jump` above the latest; nothing was
                taken in.
            Unavailable: int64 is used up.
        """
        with self._lock:
            highest = min(self._latest + self._max_jump, _MAX)
            try:
                _check("remote", remote, 0, highest)
            except InvalidInput:
                self._refused += 1
                raise
            return self._step(max(self._latest, remote))

    def _step(self, highest: int) -> int:
        if highest >= _MAX:
            raise Unavailable(
                "Lamport clock", "int64 is used up", hint="start a new one, under a new name"
            )
        self._latest = highest + 1
        return self._latest


def _check(field: str, value: int, low: int, high: int) -> int:
    # `type`, because True is an int too.
    if type(value) is not int or not low <= value <= high:
        raise InvalidInput(field, expected=f"an integer from {low} to {high}", found=value)
    return value
