"""Faults as data: what goes wrong, when, to whom, and for how long.

    schedule = Schedule(faults=(Fault(at_ms=10_000, kind="kill", who="leader", for_ms=3_000),))
    with Fleet(seed=7) as fleet:
        schedule.arm(fleet)
        fleet.run(seconds=60)

A schedule is a value: written down, drawn from a seed, or made smaller until only what breaks
something is left. `leader` and the like mean whoever it is when the fault begins.
"""

from __future__ import annotations

import random  # noqa: TID251 (the type of a stream of the simulation)
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, get_args

import attrs
import msgspec

from federlib.errors import InvalidInput
from federlib.testing.sim.fleet import Fleet
from federlib.testing.sim.network import Spread
from federlib.testing.sim.node import Node

__all__ = ["KINDS", "Fault", "Kind", "Schedule", "draw_schedule", "read_schedule", "shrink"]

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

_MS = 1_000_000
_OF_CLOCKS = {"clock_step", "clock_drift", "clock_freeze", "reboot"}
_OF_ALL = {
    "lose",
    "repeat",
    "delay",
    "narrow",
    "store_down",
    "store_full",
    "store_slow",
    "store_refuses",
    "lost_answers",
}
_MAX_MS = 10**9
_MOST_FAULTS = 10_000


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
        who: A process by name, `leader`, `follower` or `any`; not for network and store.
        for_ms: How long; a process that was killed starts again after it. 0 is for ever.
        amount: How much. Milliseconds for `slow` (of each thing it does, in microseconds),
            `clock_step` (negative is back), `delay`, `store_slow`; parts per million for
            `clock_drift`, `lose`, `repeat`, `store_refuses`, `lost_answers`; bytes per second
            for `narrow`.
    """

    at_ms: int
    kind: Kind
    who: str = ""
    for_ms: int = 0
    amount: int = 0

    def __post_init__(self) -> None:
        for field, value in (("at_ms", self.at_ms), ("for_ms", self.for_ms)):
            if type(value) is not int or not 0 <= value <= _MAX_MS:
                raise InvalidInput(field, expected=f"0 to {_MAX_MS}", found=value)
        if self.kind not in KINDS:
            raise InvalidInput("kind", expected=f"one of {', '.join(KINDS)}", found=self.kind)
        if type(self.amount) is not int or abs(self.amount) > _MAX_MS:
            raise InvalidInput("amount", expected=f"at most {_MAX_MS}", found=self.amount)


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults, each with its time.

    Attributes:
        v: Version of this format.
        name: For people.
        faults: In any order.
    """

    v: Literal[1] = 1
    name: str = ""
    faults: tuple[Fault, ...] = ()

    def arm(self, fleet: Fleet) -> None:
        """Have all of them happen in a fleet, from its present on."""
        now_ms = fleet.sim.now_ns // _MS
        for fault in self.faults:
            begin = partial(_begin, fleet)
            fleet.sim.after(max(0, fault.at_ms - now_ms) * _MS, begin, fault)

    def to_json(self) -> str:
        """Return it as JSON, as `read_schedule` takes it."""
        return msgspec.json.encode(self).decode()


def read_schedule(text: str | bytes) -> Schedule:
    """Read a schedule from JSON.

    Raises:
        InvalidInput: It is none; says where and why.
    """
    try:
        schedule = msgspec.json.decode(text, type=Schedule)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            "fault schedule", expected=f"a schedule ({error})", found=text
        ) from error
    if len(schedule.faults) > _MOST_FAULTS:
        raise InvalidInput("faults", expected=f"at most {_MOST_FAULTS}", found=len(schedule.faults))
    return schedule


# What each kind does. Each returns what undoes it.

_Undo = Callable[[object], object]


def _begin(fleet: Fleet, fault: Fault) -> None:
    fleet.sim.note("fault", fault.kind, fault.who, fault.amount)
    is_of_all = fault.kind in _OF_ALL
    if is_of_all:
        fleet.strike("")
    fleet.has_odd_clocks = fleet.has_odd_clocks or fault.kind in _OF_CLOCKS
    undo = _ACTS[fault.kind](fleet, fault)
    if undo is None or not fault.for_ms:
        return

    def mend(nothing: object) -> None:
        undo(nothing)
        if is_of_all:
            fleet.mend("")

    fleet.sim.after(fault.for_ms * _MS, mend, None)


def _choose(fleet: Fleet, fault: Fault) -> Node | None:
    """Find whom it strikes now; nobody where there is none such."""
    named = fleet.nodes.get(fault.who)
    if named is not None:
        return named
    leader = fleet.leader
    if fault.who == "leader":
        return leader
    up = [node for node in fleet.nodes.values() if node.is_up]
    if fault.who == "follower":
        up = [node for node in up if node is not leader]
    elif fault.who != "any":
        raise InvalidInput("who", expected="a process, leader, follower or any", found=fault.who)
    return fleet.sim.rng("who").choice(up) if up else None


def _of_node(act: Callable[[Node, Fault], _Undo]) -> Callable[[Fleet, Fault], _Undo | None]:
    def strike(fleet: Fleet, fault: Fault) -> _Undo | None:
        node = _choose(fleet, fault)
        if node is None or not node.is_up:
            return None
        fleet.strike(node.name)
        undo = act(node, fault)

        def mend(nothing: object) -> None:
            undo(nothing)
            fleet.mend(node.name)

        return mend

    return strike


def _kill(node: Node, _fault: Fault) -> _Undo:
    node.kill()
    return lambda _: None if node.is_up else node.start()


def _stop(node: Node, _fault: Fault) -> _Undo:
    node.stop()
    return lambda _: node.go_on()


def _slow(node: Node, fault: Fault) -> _Undo:
    node.slow(fault.amount * 1_000)
    return lambda _: node.slow(0)


def _clock_step(node: Node, fault: Fault) -> _Undo:
    node.clock.step_wall(fault.amount * _MS)
    return lambda _: node.clock.step_wall(-fault.amount * _MS)


def _clock_drift(node: Node, fault: Fault) -> _Undo:
    node.clock.drift(max(-1_000_000, fault.amount))
    return lambda _: node.clock.drift(0)


def _clock_freeze(node: Node, _fault: Fault) -> _Undo:
    node.clock.drift(-1_000_000)
    return lambda _: node.clock.drift(0)


def _reboot(node: Node, fault: Fault) -> _Undo:
    start = _kill(node, fault)
    node.clock.reboot()
    return start


def _cutting(*, hears: bool, is_heard: bool) -> Callable[[Fleet, Fault], _Undo | None]:
    def strike(fleet: Fleet, fault: Fault) -> _Undo | None:
        node = _choose(fleet, fault)
        if node is None:
            return None
        others = [fleet.store.name, *fleet.nodes]

        def cut(*, is_cut: bool) -> None:
            if not is_heard:
                fleet.network.cut([node.name], others, is_cut=is_cut)
            if not hears:
                fleet.network.cut(others, [node.name], is_cut=is_cut)

        def mend(_nothing: object) -> None:
            cut(is_cut=False)
            fleet.mend(node.name)

        fleet.strike(node.name)
        cut(is_cut=True)
        return mend

    return strike


def _setting(
    of: Callable[[Fleet], object], field: str, value: Callable[[int], object]
) -> Callable[[Fleet, Fault], _Undo]:
    """Have a field set to what an amount makes of it, and as it was before when it is undone."""

    def strike(fleet: Fleet, fault: Fault) -> _Undo:
        target = of(fleet)
        before = getattr(target, field)
        setattr(target, field, value(fault.amount))
        return lambda _: setattr(target, field, before)

    return strike


def _links(fleet: Fleet) -> object:
    return fleet.network.default


def _store(fleet: Fleet) -> object:
    return fleet.store.faults


def _always(_amount: int) -> bool:
    return True


def _as_given(amount: int) -> int:
    return amount


def _delay(amount: int) -> Spread:
    return Spread((100_000, max(1, amount) * _MS))


def _at_least_one(amount: int) -> int:
    return max(1, amount)


def _store_slow(fleet: Fleet, fault: Fault) -> _Undo:
    faults = fleet.store.faults
    faults.slow_ppm, faults.slow_ns = 500_000, fault.amount * _MS

    def undo(_nothing: object) -> None:
        faults.slow_ppm = 0

    return undo


def _replay(fleet: Fleet, _fault: Fault) -> None:
    fleet.replay_stale()


_ACTS: dict[Kind, Callable[[Fleet, Fault], _Undo | None]] = {
    "kill": _of_node(_kill),
    "stop": _of_node(_stop),
    "slow": _of_node(_slow),
    "clock_step": _of_node(_clock_step),
    "clock_drift": _of_node(_clock_drift),
    "clock_freeze": _of_node(_clock_freeze),
    "reboot": _of_node(_reboot),
    "isolate": _cutting(hears=False, is_heard=False),
    "deafen": _cutting(hears=False, is_heard=True),
    "mute": _cutting(hears=True, is_heard=False),
    "lose": _setting(_links, "loss_ppm", _as_given),
    "repeat": _setting(_links, "repeat_ppm", _as_given),
    "delay": _setting(_links, "delay", _delay),
    "narrow": _setting(_links, "bytes_per_s", _at_least_one),
    "store_down": _setting(_store, "is_down", _always),
    "store_full": _setting(_store, "is_full", _always),
    "store_slow": _store_slow,
    "store_refuses": _setting(_store, "unavailable_ppm", _as_given),
    "lost_answers": _setting(_store, "lost_answer_ppm", _as_given),
    "replay": _replay,
}


# Drawing and shrinking.


@attrs.frozen
class _Range:
    who: tuple[str, ...]
    for_ms: tuple[int, int]
    amount: tuple[int, int] = (0, 0)


_ANYBODY = ("leader", "leader", "follower", "any")
_RANGES: dict[Kind, _Range] = {
    "kill": _Range(_ANYBODY, (100, 8_000)),
    "stop": _Range(_ANYBODY, (100, 10_000)),
    "slow": _Range(_ANYBODY, (500, 5_000), (100, 20_000)),
    "clock_step": _Range(_ANYBODY, (0, 10_000), (-30_000, 30_000)),
    "clock_drift": _Range(_ANYBODY, (1_000, 10_000), (-500_000, 1_000_000)),
    "clock_freeze": _Range(_ANYBODY, (500, 5_000)),
    "reboot": _Range(_ANYBODY, (500, 5_000)),
    "isolate": _Range(_ANYBODY, (500, 10_000)),
    "deafen": _Range(_ANYBODY, (500, 10_000)),
    "mute": _Range(_ANYBODY, (500, 10_000)),
    "lose": _Range(("",), (1_000, 10_000), (10_000, 300_000)),
    "repeat": _Range(("",), (1_000, 10_000), (10_000, 300_000)),
    "delay": _Range(("",), (1_000, 10_000), (5, 1_500)),
    "narrow": _Range(("",), (500, 5_000), (5_000, 100_000)),
    "store_down": _Range(("",), (500, 6_000)),
    "store_full": _Range(("",), (500, 6_000)),
    "store_slow": _Range(("",), (500, 10_000), (50, 9_000)),
    "store_refuses": _Range(("",), (500, 10_000), (50_000, 900_000)),
    "lost_answers": _Range(("",), (500, 10_000), (50_000, 600_000)),
    "replay": _Range(("",), (0, 0)),
}


def draw_schedule(
    rng: random.Random, *, until_ms: int, most: int = 8, kinds: Sequence[Kind] = KINDS
) -> Schedule:
    """Draw some faults; which kinds there are at all is drawn first.

    So a seed has many of few kinds rather than few of all, which finds more.

    Args:
        rng: Where chance comes from.
        until_ms: No fault lasts longer than this; milliseconds.
        most: How many at most.
        kinds: Of which.
    Source: Groce et al. 2012, Swarm testing.
    """
    some = rng.sample(kinds, 1 + rng.randrange(len(kinds)))
    faults: list[Fault] = []
    for _ in range(1 + rng.randrange(most)):
        kind = rng.choice(some)
        bounds = _RANGES[kind]
        at_ms = rng.randrange(until_ms)
        low, high = bounds.for_ms
        for_ms = min(low + rng.randrange(high - low + 1), until_ms - at_ms)
        least, largest = bounds.amount
        faults.append(
            Fault(
                at_ms=at_ms,
                kind=kind,
                who=rng.choice(bounds.who),
                for_ms=max(1, for_ms),
                amount=least + rng.randrange(largest - least + 1),
            )
        )
    return Schedule(name="drawn", faults=tuple(sorted(faults, key=lambda fault: fault.at_ms)))


def shrink(schedule: Schedule, is_broken: Callable[[Schedule], bool]) -> Schedule:
    """Make a schedule smaller as long as it still breaks what it broke.

    First faults go, the most at a time that can; then what is left gets shorter. The result
    is minimal in that no single fault of it can be left out.

    Args:
        schedule: Breaks something.
        is_broken: Plays a schedule, under the same seed, and says whether it does.
    Source: Zeller and Hildebrandt 2002, Simplifying and isolating failure-inducing input.
    """
    faults = list(schedule.faults)
    size = len(faults)
    while size:
        start = 0
        while start < len(faults):
            fewer = faults[:start] + faults[start + size :]
            if is_broken(_with(schedule, fewer)):
                faults = fewer
            else:
                start += size
        size //= 2
    for place, fault in enumerate(faults):
        for smaller in _smaller(fault):
            trial = [*faults[:place], smaller, *faults[place + 1 :]]
            if is_broken(_with(schedule, trial)):
                faults = trial
    return _with(schedule, faults)


def _with(schedule: Schedule, faults: Iterable[Fault]) -> Schedule:
    return msgspec.structs.replace(schedule, faults=tuple(faults))


def _smaller(fault: Fault) -> list[Fault]:
    """List shorter and weaker ones, from much to little."""
    return [
        msgspec.structs.replace(fault, for_ms=max(1, fault.for_ms * share // 8))
        for share in (1, 2, 4)
        if fault.for_ms > 1
    ]
