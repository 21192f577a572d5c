"""Fault schedules, and what the simulated fleets are like that they are played on."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.testing.sim import KINDS, Fault, Kind, Schedule, Terms
from federlib.testing.sim.drawing import RANGES
from federlib.testing.sim.faults import MAX_MS
from federlib.testing.sim.schedule import SAFETY_S

__all__ = ["STRATEGIES", "faults", "schedules", "terms"]

_UNTIL_MS = SAFETY_S * 1_000


def faults(
    *, until_ms: int = _UNTIL_MS, kinds: Sequence[Kind] = KINDS, who: Sequence[str] = ()
) -> st.SearchStrategy[Fault]:
    """Generate faults such as a fleet must survive; they shrink to early, short and weak ones.

    Args:
        until_ms: By when each is over; milliseconds, 1 or more.
        kinds: Of which.
        who: Names of processes to strike too, besides `leader`, `follower` and `any`.
    Raises:
        InvalidInput: `until_ms` or a kind is none.
    """
    if type(until_ms) is not int or not 1 <= until_ms <= MAX_MS:
        raise InvalidInput("until_ms", expected=f"an integer, 1 to {MAX_MS}", found=until_ms)
    if not kinds or not set(kinds) <= set(KINDS):
        raise InvalidInput("kinds", expected=f"some of {', '.join(KINDS)}", found=kinds)
    return st.one_of([_of_kind(kind, until_ms, tuple(who)) for kind in kinds])


def _of_kind(kind: Kind, until_ms: int, who: tuple[str, ...]) -> st.SearchStrategy[Fault]:
    bounds = RANGES[kind]
    whom = dict.fromkeys((*bounds.who, *who)) if bounds.who != ("",) else ("",)
    shortest, longest = bounds.for_ms

    def build(at_ms: int, whom: str, for_ms: int, amount: int) -> Fault:
        left_ms = until_ms - at_ms
        return Fault(
            at_ms=at_ms, kind=kind, who=whom, for_ms=max(1, min(for_ms, left_ms)), amount=amount
        )

    return st.builds(
        build,
        at_ms=st.integers(0, until_ms - 1),
        whom=st.sampled_from(list(whom)),
        for_ms=st.integers(shortest, longest),
        amount=st.integers(*bounds.amount),
    )


def schedules(
    *,
    until_ms: int = _UNTIL_MS,
    most: int = 8,
    kinds: Sequence[Kind] = KINDS,
    who: Sequence[str] = (),
) -> st.SearchStrategy[Schedule]:
    """Generate schedules; they shrink to the few faults that matter, each as small as can be.

        @given(schedules())
        def test_my_fleet_survives(schedule):
            assert play(7, schedule).violations == ()

    Args:
        until_ms: By when every fault is over; milliseconds. `play` heals after forty seconds.
        most: How many faults at most; there may be none.
        kinds: Of which.
        who: Names of processes to strike too.
    Raises:
        InvalidInput: As in `faults`.
    """
    one = faults(until_ms=until_ms, kinds=kinds, who=who)
    return st.lists(one, max_size=most).map(
        lambda found: Schedule(faults=tuple(sorted(found, key=lambda fault: fault.at_ms)))
    )


def terms() -> st.SearchStrategy[Terms]:
    """Generate fleets of two to seven processes, whose clocks keep to what is promised of them.

    They shrink to a small one which issues commands, and whose clocks are right.
    """
    return st.integers(2, 7).flatmap(_terms_of)


def _terms_of(nodes: int) -> st.SearchStrategy[Terms]:
    return st.builds(
        Terms,
        nodes=st.just(nodes),
        ttl_s=st.sampled_from([2.0, 1.0, 3.0, 5.0]),
        tolerance_s=st.sampled_from([1.0, 0.5, 2.0]),
        command_every_s=st.sampled_from([0.5, 1.0, 0.25]),
        act_s=st.sampled_from([0.0, 0.1, 0.5]),
        resign_percent=st.integers(0, 10),
        consumers=st.integers(1, nodes),
        # Two of them are at most twice as far from one another: within the least tolerance.
        offset_ms=st.integers(0, 200),
        drift_ppm=st.integers(0, 200),
    )


STRATEGIES: dict[type, st.SearchStrategy[object]] = {
    Fault: faults(),
    Schedule: schedules(),
    Terms: terms(),
}
