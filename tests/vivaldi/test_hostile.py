"""Whatever peers send: nothing raises, all is counted, and the node keeps its senses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.testing import strategies as fed
from federlib.vivaldi import (
    DEFAULTS,
    VivaldiConfig,
    VivaldiCoordinate,
    VivaldiCoordinateSystem,
    is_sound,
)
from vivaldi.worlds import Fleet, Now, globe, system

junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
numbers = junk | st.sampled_from([0, -0.0, 1e-320, 1e308, math.nan, math.inf, -math.inf, 10**400])
names = st.text(max_size=5) | st.sampled_from(["x" * 128, "x" * 129]) | junk
wild = st.builds(
    VivaldiCoordinate,
    position=cast("Any", st.lists(numbers, max_size=6).map(tuple) | st.lists(numbers) | junk),
    height=cast("Any", numbers),
    error=cast("Any", numbers),
    sample_count=cast("Any", numbers),
    updated_at=cast("Any", numbers),
    residual_ms=cast("Any", numbers),
    adjustment_ms=cast("Any", numbers),
)
coordinates = fed.of(VivaldiCoordinate) | wild | cast("Any", junk)
calls = st.tuples(
    st.sampled_from(["update_coordinate", "observe", "remember"]), names, coordinates, numbers
)


@settings(max_examples=300)
@given(fed.of(VivaldiConfig), st.lists(calls, max_size=20))
def test_no_call_raises_and_each_is_learned_or_counted(
    config: VivaldiConfig, heard: list[tuple[str, Any, Any, Any]]
) -> None:
    now = Now()
    node = system(now, config)
    learned = 0
    for what, peer, coord, rtt_ms in heard:
        now.s += 1
        arguments = (peer, coord) if what == "remember" else (peer, coord, rtt_ms)
        kept = getattr(node, what)(*arguments)
        learned += kept and what != "remember"
    counts = node.counts
    refused = counts.refused_peers + counts.refused_coordinates + counts.refused_rtts
    asked = sum(what != "remember" for what, *_ in heard)
    assert counts.updates == learned
    assert asked <= learned + refused <= len(heard) + 1
    here = node.get_local_coordinate()
    assert all(map(math.isfinite, [*here.position, here.height, here.error]))
    for name in node.peers():
        found = node.estimate(name)
        assert math.isfinite(found.rtt_ms)
        assert config.rtt_min_ms <= found.ucb_ms <= config.rtt_max_ms
        assert 0 <= found.quality <= 1


@settings(max_examples=300)
@given(fed.of(VivaldiCoordinate), st.lists(st.floats(0, 10_000), min_size=1, max_size=30))
def test_sound_lies_cannot_make_a_coordinate_that_peers_would_refuse_for_long(
    coord: VivaldiCoordinate, rtts: list[float]
) -> None:
    node = system()
    for rtt_ms in rtts:
        node.update_coordinate("liar", coord, rtt_ms)
    # The residual of two nodes at opposite ends may exceed what is sound; then it is reset.
    assert is_sound(node.get_local_coordinate())


def liars(fleet: Fleet, share: float, lie: Callable[[int], VivaldiCoordinate]) -> set[int]:
    """Let a share of the nodes lie about where they are, and never be unsure."""
    chosen = set(range(int(len(fleet.rows) * share)))
    honest = fleet.coordinate

    def told(i: int) -> VivaldiCoordinate:
        return lie(i) if i in chosen else honest(i)

    fleet.coordinate = told  # type: ignore[method-assign]  # as a liar would
    return chosen


def far(_i: int, fleet: Fleet) -> VivaldiCoordinate:
    """Say another far place each time."""
    return VivaldiCoordinate(
        position=tuple(fleet.rng.gauss(0, 500) for _ in range(4)), height=5.0, error=0.01
    )


def same(i: int, _fleet: Fleet) -> VivaldiCoordinate:
    """Stay with one false place."""
    return VivaldiCoordinate(
        position=(300.0 * (-1) ** i, 40.0 * i, 0.0, 0.0), height=5.0, error=0.01
    )


def next_door(_i: int, _fleet: Fleet) -> VivaldiCoordinate:
    """Look near to everybody."""
    return VivaldiCoordinate(position=(0.0,) * 4, height=0.01, error=0.01)


@pytest.mark.parametrize("lie", [far, same, next_door])
def test_a_tenth_of_liars_costs_the_honest_less_than_five_points(
    lie: Callable[[int, Fleet], VivaldiCoordinate],
) -> None:
    rows = globe(50).truth
    alone, among = Fleet(rows), Fleet(rows)
    chosen = liars(among, 0.1, lambda i: lie(i, among))

    def honest(i: int, j: int) -> bool:
        return i not in chosen and j not in chosen

    for fleet in (alone, among):
        fleet.seconds(200)
    assert among.error(honest) - alone.error(honest) < 0.05


def test_the_plain_form_is_lost_among_the_same_liars() -> None:
    fleet = Fleet(globe(50).truth, VivaldiConfig.plain())
    chosen = liars(fleet, 0.1, lambda i: far(i, fleet))
    fleet.seconds(100)
    assert fleet.error(lambda i, j: i not in chosen and j not in chosen) > 0.3


def test_a_name_that_is_told_often_takes_no_room() -> None:
    node: VivaldiCoordinateSystem = system(config=attrs.evolve(DEFAULTS, replay_memory=8))
    for _ in range(100):
        node.update_coordinate("b", node.get_local_coordinate(), 5.0)
    assert len(node._peers._recent) == 8
