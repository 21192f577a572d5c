"""What each kind of fault does to a world; what overlaps ends without undoing one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from federlib.errors import InvalidInput
from federlib.testing.sim.faults import OF_CLOCKS, OF_ONE, Fault, Kind
from federlib.testing.sim.network import Spread
from federlib.testing.sim.troubles import Lift
from federlib.testing.sim.world import FaultyProcess, World

__all__ = ["begin"]

_MS = 1_000_000
_US = 1_000
_FROZEN_PPM = -1_000_000
_LEAST_DELAY_NS = 100_000


def begin(world: World, fault: Fault) -> None:
    """Have a fault begin now, and end in its time. In a world that was healed nothing does.

    Raises:
        InvalidInput: It is to strike a process that there is not.
    """
    if world.troubles.is_over:
        return
    world.sim.note("fault", fault.kind, fault.who, fault.amount)
    lifts = _strike(world, fault)
    if lifts is None:
        return
    world.troubles.begun[fault.kind] += 1
    world.has_odd_clocks = world.has_odd_clocks or fault.kind in OF_CLOCKS
    if fault.for_ms:
        world.sim.after(fault.for_ms * _MS, _end, lifts)


def _end(lifts: Iterable[Lift]) -> None:
    for lift in lifts:
        lift()


def _strike(world: World, fault: Fault) -> tuple[Lift, ...] | None:
    """Return what ends it; None where it struck nobody, or there was nothing to replay."""
    if fault.kind == "replay":
        return () if world.replay_stale() else None
    name = ""
    if fault.kind in OF_ONE:
        node = _choose(world, fault.who)
        # Whoever is down cannot be stopped; all else happens to its machine as well.
        if node is None or (fault.kind == "stop" and not node.is_up):
            return None
        name = node.name
        act = partial(_OF_ONE[fault.kind], world, node, fault)
    else:
        act = partial(_OF_ALL[fault.kind], world, fault)
    troubles = world.troubles
    note = troubles.lay(("ill", name), partial(world.strike, name), partial(world.mend, name))
    return (act(), note)


def _choose(world: World, who: str) -> FaultyProcess | None:
    """Find whom it strikes now; nobody where there is none such."""
    named = world.nodes.get(who)
    if named is not None:
        return named
    leader = world.leader
    if who == "leader":
        return leader
    up = [node for node in world.nodes.values() if node.is_up]
    if who == "follower":
        up = [node for node in up if node is not leader]
    elif who != "any":
        raise InvalidInput("who", expected="a process, leader, follower or any", found=who)
    return world.sim.rng("who").choice(up) if up else None


# Of one process.


def _kill(world: World, node: FaultyProcess, _fault: Fault) -> Lift:
    def start() -> None:
        if not node.is_up:
            node.start()

    return world.troubles.lay(("down", node.name), node.kill, start)


def _stop(world: World, node: FaultyProcess, _fault: Fault) -> Lift:
    life = node.life

    def go_on() -> None:
        # Another life was never stopped by this.
        if node.life == life:
            node.go_on()

    return world.troubles.lay(("stopped", node.name, life), node.stop, go_on)


def _slow(world: World, node: FaultyProcess, fault: Fault) -> Lift:
    slow = partial(node.slow, fault.amount * _US)
    return world.troubles.lay(("slow", node.name), slow, partial(node.slow, 0))


def _clock_step(world: World, node: FaultyProcess, fault: Fault) -> Lift:
    by_ns = fault.amount * _MS
    node.clock.step_wall(by_ns)

    def step_back() -> None:
        # Steps add up, so each takes back its own; in a healed world the hands stay where they are.
        if not world.troubles.is_over:
            node.clock.step_wall(-by_ns)

    return step_back


def _clock_drift(world: World, node: FaultyProcess, fault: Fault) -> Lift:
    clock = node.clock
    drift, before = partial(clock.drift, fault.amount), partial(clock.drift, clock.drift_ppm)
    return world.troubles.lay(("drift", node.name), drift, before)


def _clock_freeze(world: World, node: FaultyProcess, _fault: Fault) -> Lift:
    clock = node.clock
    freeze, before = partial(clock.drift, _FROZEN_PPM), partial(clock.drift, clock.drift_ppm)
    return world.troubles.lay(("drift", node.name), freeze, before)


def _reboot(world: World, node: FaultyProcess, fault: Fault) -> Lift:
    start = _kill(world, node, fault)
    node.clock.reboot()
    return start


def _cutting(*, hears: bool, is_heard: bool) -> Callable[[World, FaultyProcess, Fault], Lift]:
    def strike(world: World, node: FaultyProcess, _fault: Fault) -> Lift:
        others = [place for place in (world.store.name, *world.nodes) if place != node.name]
        links = [] if is_heard else [(node.name, other) for other in others]
        links += [] if hears else [(other, node.name) for other in others]
        return partial(_end, [_cut(world, *link) for link in links])

    return strike


def _cut(world: World, source: str, target: str) -> Lift:
    cut = partial(world.network.cut, [source], [target])
    return world.troubles.lay(
        ("link", source, target), partial(cut, is_cut=True), partial(cut, is_cut=False)
    )


_OF_ONE: dict[Kind, Callable[[World, FaultyProcess, Fault], Lift]] = {
    "kill": _kill,
    "stop": _stop,
    "slow": _slow,
    "clock_step": _clock_step,
    "clock_drift": _clock_drift,
    "clock_freeze": _clock_freeze,
    "reboot": _reboot,
    "isolate": _cutting(hears=False, is_heard=False),
    "deafen": _cutting(hears=False, is_heard=True),
    "mute": _cutting(hears=True, is_heard=False),
}


# Of all: fields of the network's links, and of the store.


def _setting(
    of: Callable[[World], object], values: Callable[[int], dict[str, object]]
) -> Callable[[World, Fault], Lift]:
    """Have fields set to what an amount makes of them, and as before when it is over."""

    def strike(world: World, fault: Fault) -> Lift:
        target, after = of(world), values(fault.amount)
        before = {field: getattr(target, field) for field in after}
        return world.troubles.lay(
            tuple(after), partial(_set, target, after), partial(_set, target, before)
        )

    return strike


def _set(target: object, values: dict[str, object]) -> None:
    for field, value in values.items():
        setattr(target, field, value)


def _links(world: World) -> object:
    return world.network.default


def _store(world: World) -> object:
    return world.store.faults


def _delay(amount: int) -> Spread:
    return Spread((_LEAST_DELAY_NS, max(1, amount) * _MS))


_OF_ALL: dict[Kind, Callable[[World, Fault], Lift]] = {
    "lose": _setting(_links, lambda amount: {"loss_ppm": amount}),
    "repeat": _setting(_links, lambda amount: {"repeat_ppm": amount}),
    "delay": _setting(_links, lambda amount: {"delay": _delay(amount)}),
    "narrow": _setting(_links, lambda amount: {"bytes_per_s": amount}),
    "store_down": _setting(_store, lambda _: {"is_down": True}),
    "store_full": _setting(_store, lambda _: {"is_full": True}),
    "store_slow": _setting(_store, lambda amount: {"slow_ppm": 500_000, "slow_ns": amount * _MS}),
    "store_refuses": _setting(_store, lambda amount: {"unavailable_ppm": amount}),
    "lost_answers": _setting(_store, lambda amount: {"lost_answer_ppm": amount}),
}
