"""Faults as data: what goes wrong, when, to whom, and for how long."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from federlib.errors import InvalidInput

__all__ = ["KINDS", "MAX_MS", "OF_CLOCKS", "OF_ONE", "Fault", "Kind"]

Kind = Literal[
    "kill",
    "stop",
    "slow",
    "clock_step",
    "clock_drift",
    "clock_freeze",
    "reboot",
    "isolate",
    "deafen",
    "mute",
    "lose",
    "repeat",
    "delay",
    "narrow",
    "store_down",
    "store_full",
    "store_slow",
    "store_refuses",
    "lost_answers",
    "replay",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds of faults."""

OF_ONE = frozenset[Kind](
    {
        *("kill", "stop", "slow", "clock_step", "clock_drift", "clock_freeze", "reboot"),
        *("isolate", "deafen", "mute"),
    }
)
"""What strikes one process; the rest strikes the network or the store."""

OF_CLOCKS = frozenset[Kind]({"clock_step", "clock_drift", "clock_freeze", "reboot"})

MAX_MS = 10**9
"""Of every number of a fault."""

_MILLION = 1_000_000
_LONGEST_NAME = 100
_AMOUNTS: dict[Kind, tuple[int, int]] = {
    "slow": (0, MAX_MS),
    "clock_step": (-MAX_MS, MAX_MS),
    "clock_drift": (-_MILLION, MAX_MS),
    "lose": (0, _MILLION),
    "repeat": (0, _MILLION),
    "delay": (0, MAX_MS),
    "narrow": (1, MAX_MS),
    "store_slow": (0, MAX_MS),
    "store_refuses": (0, _MILLION),
    "lost_answers": (0, _MILLION),
}


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One thing that goes wrong.

    Attributes:
        at_ms: When it begins; milliseconds from the start.
        kind: What: a process is killed, stopped (as by SIGSTOP) or slow; its clock steps,
            drifts or freezes, its machine boots anew; it is isolated, hears nothing (`deafen`)
            or is not heard (`mute`); messages are lost, repeated, delayed, or wait for a narrow
            link; the store is down, full, slow, refuses, or loses answers of commits; an old
            leader's command is issued again (`replay`).
        who: A process by name, `leader`, `follower` or `any`; "" for network, store, replay.
        for_ms: How long; a process that was killed starts again after it. 0 is for ever.
        amount: How much; 0 where there is no more or less. Microseconds for `slow` (of each
            thing that it does); milliseconds for `clock_step` (negative is back), `delay`,
            `store_slow`; parts per million for `clock_drift` (negative is too slow), `lose`,
            `repeat`, `store_refuses`, `lost_answers`; bytes per second for `narrow`.
    Raises:
        InvalidInput: A field is not as its kind needs it.
    """

    at_ms: int
    kind: Kind
    who: str = ""
    for_ms: int = 0
    amount: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput("kind", expected=f"one of {', '.join(KINDS)}", found=self.kind)
        _check_number("at_ms", self.at_ms, (0, MAX_MS))
        _check_number("for_ms", self.for_ms, (0, MAX_MS))
        _check_number("amount", self.amount, _AMOUNTS.get(self.kind, (0, 0)))
        _check_who(self.kind, self.who)


def _check_number(field: str, value: object, bounds: tuple[int, int]) -> None:
    low, high = bounds
    if type(value) is not int or not low <= value <= high:
        raise InvalidInput(field, expected=f"an integer, {low} to {high}", found=value)


def _check_who(kind: Kind, who: object) -> None:
    if kind not in OF_ONE:
        if who != "":
            raise InvalidInput("who", expected=f"nothing for {kind}", found=who)
        return
    # Names go into the trace, which is the same for every version of Unicode.
    is_plain = isinstance(who, str) and who.isascii() and who.isprintable()
    if not is_plain or not 0 < len(str(who)) <= _LONGEST_NAME:
        raise InvalidInput("who", expected="a process, leader, follower or any", found=who)
