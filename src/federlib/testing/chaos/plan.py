"""`Plan`: what is to be played, made of the options of the command line."""

from __future__ import annotations

import random  # noqa: TID251 (seeded: the faults follow from the seed)
import shlex
from pathlib import Path

import attrs
import msgspec

from federlib.errors import InvalidInput
from federlib.testing.chaos.targets import TargetName, why_not
from federlib.testing.sim import Fault, Schedule, Terms, draw_schedule, preset, read_schedule
from federlib.testing.sim.faults import KINDS

__all__ = ["Plan", "fitted", "kills", "people_of", "schedule_for", "seconds_for"]

_LONGEST_SHARE = 0.9
_SCALED = frozenset({"delay", "store_slow"})
"""Their amounts are times, and are to be as long beside a shorter time to live."""
_MAX_BYTES = 4 << 20
_KILL_EVERY_MS = 2_500
_DEAD_MS = 800
_SOMEBODY = ("leader", "follower", "any")


def people_of(number: int) -> tuple[str, ...]:
    """Name the processes of a run."""
    return tuple(f"n{one + 1}" for one in range(number))


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be played.

    Attributes:
        target: On what.
        url: The server's, for targets that have one; may hold a password.
        seed: What chance comes from.
        seeds: How many seeds from it on; 1 but in the simulator.
        seconds: How long there are faults; then all is healed.
        schedule: The faults, fitted into that; None in the simulator if each seed draws its own.
        processes: How many.
        ttl_s: Of the leader's lease; seconds.
        tolerance_s: How far clocks may differ; seconds.
        given: How the schedule was asked for, as arguments: `--preset gc_pause`.
    Raises:
        InvalidInput: A fault names a process that there is not.
    """

    target: TargetName
    url: str | None = attrs.field(default=None, repr=False)
    seed: int
    seeds: int = 1
    seconds: float
    schedule: Schedule | None
    processes: int = 5
    ttl_s: float = 2.0
    tolerance_s: float = 1.0
    given: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse faults that could strike nobody."""
        known = {"", *_SOMEBODY, *people_of(self.processes)}
        for fault in () if self.schedule is None else self.schedule.faults:
            if fault.who not in known:
                expected = f"n1 to n{self.processes}, {', '.join(_SOMEBODY)}"
                raise InvalidInput("who", expected=expected, found=fault.who)

    @property
    def terms(self) -> Terms:
        """What a fleet of the simulator is like that is the same."""
        return Terms(nodes=self.processes, ttl_s=self.ttl_s, tolerance_s=self.tolerance_s)

    def replay(self, seed: int) -> str:
        """Return the command that plays one seed of this again."""
        words = ["federlib", "chaos", "--target", self.target, *self.given]
        words += ["--seconds", f"{self.seconds:g}", "--seed", str(seed)]
        words += ["--processes", str(self.processes), "--ttl", f"{self.ttl_s:g}"]
        if self.url is not None:
            words += ["--url", "URL"]  # It may hold a password.
        return shlex.join(words)


def schedule_for(
    target: TargetName,
    *,
    seed: int,
    seconds: float,
    name: str | None,
    file: Path | None,
    number_of_kills: int | None,
) -> tuple[Schedule | None, tuple[str, ...]]:
    """Return the faults that were asked for, and how to ask for them again.

    Args:
        target: On what.
        seed: From which they are drawn where nothing is named.
        seconds: How long there are faults.
        name: Of a preset.
        file: Holds a schedule.
        number_of_kills: So many kills of the leader.
    Raises:
        InvalidInput: More than one was given, there is none of that name, or the file cannot
            be read as a schedule.
    """
    ways = {"--preset": name, "--schedule": file, "--kills": number_of_kills}
    given = [way for way, value in ways.items() if value is not None]
    if len(given) > 1:
        expected = "one of --preset, --schedule, --kills"
        raise InvalidInput("faults", expected=expected, found=" and ".join(given))
    if name is not None:
        return fitted(preset(name), seconds), ("--preset", name)
    if file is not None:
        return fitted(_read(file), seconds), ("--schedule", str(file))
    if number_of_kills is not None:
        return kills(number_of_kills, seconds), ("--kills", str(number_of_kills))
    if target == "sim":
        return None, ()
    chance = random.Random(f"schedule {seed}")  # noqa: S311 (chaos is no secret)
    possible = [kind for kind in KINDS if why_not(kind, target) is None]
    drawn = draw_schedule(chance, until_ms=round(seconds * 1e3), kinds=possible)
    # A run whose leader is never followed measures no failover, and has nothing to replay.
    first = Fault(at_ms=round(seconds * 50), kind="kill", who="leader", for_ms=_DEAD_MS)
    return msgspec.structs.replace(drawn, faults=(first, *drawn.faults)), ()


def fitted(schedule: Schedule, seconds: float) -> Schedule:
    """Return a schedule that ends in time: a longer one is played faster, with all it has."""
    end_ms = max((fault.at_ms + fault.for_ms for fault in schedule.faults), default=0)
    if end_ms <= seconds * 1e3:
        return schedule
    share = _LONGEST_SHARE * seconds * 1e3 / end_ms
    faults = [
        msgspec.structs.replace(
            fault,
            at_ms=int(fault.at_ms * share),
            for_ms=max(1, int(fault.for_ms * share)) if fault.for_ms else 0,
            amount=int(fault.amount * share) if fault.kind in _SCALED else fault.amount,
        )
        for fault in schedule.faults
    ]
    return msgspec.structs.replace(schedule, faults=tuple(faults))


def kills(number: int, seconds: float) -> Schedule:
    """Return a schedule that kills the leader so often."""
    every_ms = int(_LONGEST_SHARE * seconds * 1e3 / number)
    for_ms = min(_DEAD_MS, max(1, every_ms // 2))
    faults = tuple(
        Fault(at_ms=every_ms * turn, kind="kill", who="leader", for_ms=for_ms)
        for turn in range(number)
    )
    return Schedule(name=f"{number} kills", faults=faults)


def seconds_for(number_of_kills: int) -> float:
    """Return how long so many kills of a leader take, each followed by an election."""
    return number_of_kills * _KILL_EVERY_MS / _LONGEST_SHARE / 1e3


def _read(file: Path) -> Schedule:
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        expected = f"a file that can be read ({error.strerror})"
        raise InvalidInput("--schedule", expected=expected, found=str(file)) from error
    if len(text) > _MAX_BYTES:
        raise InvalidInput("--schedule", expected=f"at most {_MAX_BYTES} bytes", found=str(file))
    return read_schedule(text)
