"""Suspicion of those that push heartbeats and are never probed: phi accrual.

Source: Hayashibara et al. 2004, "The phi accrual failure detector"; threshold 8 as usual
elsewhere, with a floor under the deviation so that a steady beat is not held to microseconds.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["PhiAccrual"]

_SAMPLES = 100
_PHI_MOST = 1_000.0


class PhiAccrual:
    """How unlikely it is that a sender lives that has been silent for so long.

    Args:
        first_s: How long the first interval is guessed to be; seconds.
        now_s: When it was first heard.
    """

    __slots__ = ("_heard_s", "_intervals", "_least_deviation_s", "_sum", "_sum_squares")

    def __init__(self, first_s: float, now_s: float) -> None:
        self._intervals: deque[float] = deque()
        self._sum = self._sum_squares = 0.0
        self._least_deviation_s = first_s / 4
        self._heard_s = now_s
        # Two guesses with a wide spread, so that the second beat may come late.
        self._add(first_s * 0.75)
        self._add(first_s * 1.25)

    def beat(self, now_s: float) -> None:
        """Take in a heartbeat."""
        self._add(max(0.0, now_s - self._heard_s))
        self._heard_s = now_s

    def forgive(self, away_s: float) -> None:
        """Leave out a time in which we could not hear anybody; seconds."""
        self._heard_s += away_s

    def phi(self, now_s: float) -> float:
        """Return the suspicion: 1 is one wrong in ten, 8 one in a hundred million."""
        mean_s, deviation_s = self._spread()
        y = (now_s - self._heard_s - mean_s) / deviation_s
        tail = 0.5 * math.erfc(y / math.sqrt(2))
        return -math.log10(tail) if tail > 10**-300 else _PHI_MOST

    def due_s(self, threshold: float) -> float:
        """Return when phi will reach the threshold if nothing is heard until then."""
        mean_s, deviation_s = self._spread()
        low, high = -10.0, 40.0
        for _ in range(50):
            middle = (low + high) / 2
            tail = 0.5 * math.erfc(middle / math.sqrt(2))
            if tail > 10**-threshold:
                low = middle
            else:
                high = middle
        return self._heard_s + mean_s + high * deviation_s

    def _spread(self) -> tuple[float, float]:
        many = len(self._intervals)
        mean_s = self._sum / many
        variance = max(0.0, self._sum_squares / many - mean_s * mean_s)
        return mean_s, max(math.sqrt(variance), self._least_deviation_s)

    def _add(self, interval_s: float) -> None:
        if len(self._intervals) == _SAMPLES:
            oldest = self._intervals.popleft()
            self._sum -= oldest
            self._sum_squares -= oldest * oldest
        self._intervals.append(interval_s)
        self._sum += interval_s
        self._sum_squares += interval_s * interval_s
