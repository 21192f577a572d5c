"""The step of a hybrid logical clock, as a pure function.

Source: Kulkarni et al. 2014; design §3, skewclock.
"""

from __future__ import annotations

from federlib.errors import ClockBehind, TimestampTooFarAhead, Unavailable
from federlib.skewclock.timestamp import (
    LOGICAL_BITS,
    MAX_TIMESTAMP,
    HlcTimestamp,
    hlc_text,
)

__all__ = ["next_timestamp"]


def next_timestamp(
    latest: int, *, remote: int, physical_ms: int, max_offset_ms: int, ceiling: int
) -> HlcTimestamp:
    """Return the timestamp of the next event: above `latest`, `remote` and the wall clock's.

    With l and c packed into one integer, the paper's cases are two: the wall clock leads,
    and c starts at 0, or one is added. Where c is full, that borrows one millisecond.

    Args:
        latest: The highest timestamp issued or taken in so far.
        remote: The one received; 0 for an event of our own.
        physical_ms: The wall clock; Unix milliseconds.
        max_offset_ms: How far the result may lie ahead of the wall clock.
        ceiling: What the result must stay below: the persisted bound, packed.
    Raises:
        TimestampTooFarAhead: `remote` leads the wall clock by more than the offset.
        ClockBehind: `latest` does: the wall clock was set back, or a millisecond was used up.
        Unavailable: Only the ceiling is in the way, or the layout ends.
    """
    physical = physical_ms << LOGICAL_BITS
    highest = max(latest, remote)
    found = physical if physical > highest else highest + 1
    # Against the wall clock, never against `latest`: step by step, absorbed offsets would
    # carry a whole fleet into the future.
    ahead_ms = (found >> LOGICAL_BITS) - physical_ms
    if ahead_ms > max_offset_ms:
        if remote > latest:
            raise TimestampTooFarAhead(
                hlc_text(HlcTimestamp(remote)),
                ahead_s=ahead_ms / 1_000,
                max_offset_s=max_offset_ms / 1_000,
            )
        raise ClockBehind(
            behind_s=ahead_ms / 1_000,
            max_offset_s=max_offset_ms / 1_000,
            wait_s=(ahead_ms - max_offset_ms) / 1_000,
        )
    if found > MAX_TIMESTAMP:
        raise Unavailable("hybrid logical clock", "63 bits end with the year 6429")
    if found >= ceiling:
        raise Unavailable(
            "hybrid logical clock",
            "it has reached its stored bound",
            hint="renew the bound ahead of time, as `keep_bound` does",
        )
    return HlcTimestamp(found)
