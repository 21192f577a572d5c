"""`ReplayWindow`: which numbers of a sender have come already.

Source: RFC 4303 §3.4.3, with 1,024 numbers instead of 64.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["WINDOW", "Freshness", "ReplayWindow"]

WINDOW = 1_024
"""How far behind the highest number a late datagram may be."""

_ALL = (1 << WINDOW) - 1


class Freshness(Enum):
    """What a number is to a window."""

    NEW = "new"
    REPLAYED = "replayed"
    TOO_OLD = "too old"


class ReplayWindow:
    """The highest number that came, and which of the 1,023 below it did.

    Args:
        top: It and everything below it count as come.
    """

    __slots__ = ("_bits", "_top")

    def __init__(self, top: int) -> None:
        self._top = top
        self._bits = _ALL

    def judge(self, number: int) -> Freshness:
        """Say what the number is; changes nothing, so that it may be asked of a forgery."""
        behind = self._top - number
        if behind < 0:
            return Freshness.NEW
        if behind >= WINDOW:
            return Freshness.TOO_OLD
        return Freshness.REPLAYED if self._bits >> behind & 1 else Freshness.NEW

    def accept(self, number: int) -> Freshness:
        """Take a number in, once its sender is proved; say what it was."""
        found = self.judge(number)
        if found is Freshness.NEW:
            ahead = number - self._top
            if ahead > 0:
                # Shifting by a number from outside would make an integer of that many bits.
                self._bits = 1 if ahead >= WINDOW else (self._bits << ahead | 1) & _ALL
                self._top = number
            else:
                self._bits |= 1 << -ahead
        return found
