"""How many crash points the tests of this process have looked at; the end of the run tells."""

from __future__ import annotations

from collections import Counter

__all__ = ["NAME", "looked_at_crashes", "taken"]

NAME = "crash points"
"""Of the property of a test that says how many it looked at."""

_looked: Counter[str] = Counter()


def looked_at_crashes(number: int, *, of: str) -> None:
    """Count crash points of one kind."""
    _looked[of] += number


def taken() -> dict[str, int]:
    """Return what was counted since the last call."""
    counted = dict(_looked)
    _looked.clear()
    return counted
