"""`Hindrance`: what stands between a process and its store, as a value.

The same value is obeyed by a wrapper of the store inside a process (`HinderedStore`), for
stores without a network, and by a proxy in front of a server (`FaultProxy`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

__all__ = ["CLEAR", "PPM", "Hindrance", "combined", "is_drawn", "way_s"]

PPM = 1_000_000
_RESENT_S = (0.2, 1.0)
"""When TCP sends again what was lost: its first timeout, and after two more."""


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


def is_drawn(ppm: int, draw: Callable[[], float]) -> bool:
    """Say whether it happens this time; `draw` gives a number from 0 to below 1."""
    return bool(ppm) and draw() * PPM < ppm


def way_s(now: Hindrance, size: int, draw: Callable[[], float], *, is_request: bool) -> float:
    """Return how long so many bytes are under way, one way; seconds."""
    passed_s = now.delay_ms / 1e3
    if is_request and now.slow_ms and draw() < 0.5:
        passed_s += now.slow_ms / 1e3
    if now.bytes_per_s:
        passed_s += size / now.bytes_per_s
    if is_drawn(now.loss_ppm, draw):
        passed_s += _RESENT_S[draw() < 0.2]
    return passed_s


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
