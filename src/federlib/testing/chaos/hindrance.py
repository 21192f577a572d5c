"""`Hindrance`: what stands between a process and its store, as a value.

The same value is obeyed by a wrapper of the store inside a process (`HinderedStore`), for
stores without a network, and by a proxy in front of a server (`FaultProxy`).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = ["CLEAR", "PPM", "Hindrance", "combined"]

PPM = 1_000_000


class Hindrance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands in the way.

    Attributes:
        is_deaf: No answer comes through.
        is_mute: No request gets through.
        is_down: The store cannot be reached at all.
        is_full: Nothing more can be written where the store is.
        delay_ms: How long a request and its answer are under way; milliseconds.
        slow_ms: How much longer one request in two takes; milliseconds.
        bytes_per_s: How much gets through in a second; 0 is no bound.
        loss_ppm: How many requests are lost and come again later; parts per million.
        repeat_ppm: How many requests arrive twice.
        refuse_ppm: How many requests are refused.
        lost_answer_ppm: How many commits take effect without an answer.
    """

    is_deaf: bool = False
    is_mute: bool = False
    is_down: bool = False
    is_full: bool = False
    delay_ms: int = 0
    slow_ms: int = 0
    bytes_per_s: int = 0
    loss_ppm: int = 0
    repeat_ppm: int = 0
    refuse_ppm: int = 0
    lost_answer_ppm: int = 0


CLEAR = Hindrance()


def combined(parts: Iterable[Hindrance]) -> Hindrance:
    """Return what several together are: the worst of each."""
    found = CLEAR
    for part in parts:
        rates = [rate for rate in (found.bytes_per_s, part.bytes_per_s) if rate]
        found = Hindrance(
            is_deaf=found.is_deaf or part.is_deaf,
            is_mute=found.is_mute or part.is_mute,
            is_down=found.is_down or part.is_down,
            is_full=found.is_full or part.is_full,
            delay_ms=max(found.delay_ms, part.delay_ms),
            slow_ms=max(found.slow_ms, part.slow_ms),
            bytes_per_s=min(rates, default=0),
            loss_ppm=max(found.loss_ppm, part.loss_ppm),
            repeat_ppm=max(found.repeat_ppm, part.repeat_ppm),
            refuse_ppm=max(found.refuse_ppm, part.refuse_ppm),
            lost_answer_ppm=max(found.lost_answer_ppm, part.lost_answer_ppm),
        )
    return found
