"""Fault schedules with names: the cases that a coordinator must survive, forty seconds each.

Source: HA plan §7 (the first four); `Schedule`.
"""

from __future__ import annotations

from collections.abc import Mapping

from federlib.errors import InvalidInput
from federlib.testing.sim.faults import Fault, Kind
from federlib.testing.sim.schedule import Schedule

__all__ = ["PRESETS", "preset"]


def _times(kind: Kind, at_s: tuple[int, ...], **fields: int | str) -> tuple[Fault, ...]:
    return tuple(
        Fault(at_ms=second * 1_000, kind=kind, **fields)  # type: ignore[arg-type]  # as in Fault
        for second in at_s
    )


_FAULTS: dict[str, tuple[Fault, ...]] = {
    "leader_kill": _times("kill", (8, 18, 28), who="leader", for_ms=5_000),
    "lease_expiry_takeover": _times("isolate", (6, 18, 30), who="leader", for_ms=8_000),
    "stale_epoch_replay": (
        *_times("kill", (5, 15), who="leader", for_ms=3_000),
        *_times("replay", tuple(range(10, 38, 2))),
    ),
    "delayed_commands": (
        *_times("delay", (4, 22), for_ms=14_000, amount=700),
        *_times("lost_answers", (8, 26), for_ms=6_000, amount=200_000),
        *_times("kill", (6, 24), who="leader", for_ms=2_000),
        *_times("replay", (*range(5, 18), *range(23, 36))),
    ),
    "partition_minority": (
        *_times("isolate", (6, 24), who="leader", for_ms=12_000),
        *_times("isolate", (6, 24), who="follower", for_ms=12_000),
    ),
    "partition_asymmetric": (
        *_times("mute", (5, 23), who="leader", for_ms=8_000),
        *_times("deafen", (14, 32), who="leader", for_ms=7_000),
    ),
    "clock_skew_10x": (
        *_times("clock_step", (3, 17), who="leader", for_ms=14_000, amount=-30_000),
        *_times("clock_step", (6, 20), who="follower", for_ms=15_000, amount=30_000),
        *_times("clock_drift", (10,), who="any", for_ms=20_000, amount=100_000),
    ),
    "gc_pause": _times("stop", (6, 18, 30), who="leader", for_ms=8_000),
    "disk_full": _times("store_full", (6, 20), for_ms=8_000),
    "flapping": tuple(
        Fault(at_ms=4_000 + number * 1_500, kind="isolate", who="leader", for_ms=800)
        for number in range(22)
    ),
}

PRESETS: Mapping[str, Schedule] = {
    name: Schedule(name=name, faults=faults) for name, faults in _FAULTS.items()
}
"""By name; each is healed before its fortieth second."""


def preset(name: str) -> Schedule:
    """Return a preset.

    Raises:
        InvalidInput: There is none of that name; lists those that there are.
    """
    try:
        return PRESETS[name]
    except (KeyError, TypeError):
        known = ", ".join(PRESETS)
        raise InvalidInput("preset", expected=f"one of {known}", found=name) from None
