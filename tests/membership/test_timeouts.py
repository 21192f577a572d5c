"""Timeouts: what distance, load and doubt make of them, by either policy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.membership.roles import PeerRole, get_strategy_for_role
from federlib.membership.timeouts import (
    HARD_CEILING,
    AdaptiveTimeouts,
    AppliedTimeout,
    TimeoutPolicy,
    TimeoutSettings,
    Unmeasured,
)

QUICK = settings(max_examples=200, deadline=None, database=None)
POLICIES: tuple[TimeoutPolicy, ...] = ("additive", "multiplicative")
GATE, MANAGER, WORKER = PeerRole.GATE, PeerRole.MANAGER, PeerRole.WORKER


class Known:
    """Every peer is as far as is said."""

    def __init__(self, rtt_ms: float, ucb_ms: float | None = None, error: float = 0.0) -> None:
        self._rtt_ms = rtt_ms
        self._ucb_ms = rtt_ms if ucb_ms is None else ucb_ms
        self._error = error

    def estimate_rtt(self, peer: str) -> float:
        return self._rtt_ms

    def estimate_rtt_ucb_ms(self, peer: str) -> float:
        return self._ucb_ms

    def get_error(self) -> float:
        return self._error


def timeouts(
    rtt_ms: float = 0,
    ucb_ms: float | None = None,
    *,
    lhm: float = 0,
    error: float = 0.0,
    policy: TimeoutPolicy = "additive",
) -> AdaptiveTimeouts:
    return AdaptiveTimeouts(
        Known(rtt_ms, ucb_ms, error), lhm=lambda: lhm, settings=TimeoutSettings(policy=policy)
    )


def test_a_probe_waits_for_slack_and_round_trip() -> None:
    assert timeouts().probe_timeout_s("p", interval_s=1) == 0.5
    # The research note's example: 100 ms away, with 50 ms of doubt.
    assert timeouts(100, 150).probe_timeout_s("p", interval_s=1) == pytest.approx(0.65)


def test_a_probe_leaves_room_for_helpers_in_its_interval() -> None:
    assert timeouts(900, 2_000).probe_timeout_s("p", interval_s=1) == pytest.approx(0.8)
    assert timeouts().probe_timeout_s("p", interval_s=0.2) == pytest.approx(0.16)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_probe_waits_longer_as_we_are_worse_up_to_the_cap_of_the_role(
    policy: TimeoutPolicy,
) -> None:
    made = timeouts(lhm=8, policy=policy)
    waits = [made.probe_timeout_s("p", role, interval_s=1) for role in (GATE, MANAGER, WORKER)]
    assert waits == pytest.approx([0.5 * 3, 0.5 * 5, 0.5 * 9])


@pytest.mark.parametrize(
    ("members", "shortest_s", "longest_s"),
    [(10, 4, 24), (50, 6.8, 40.8), (100, 8, 48), (200, 9.2, 55.2), (1_000, 12, 72)],
)
def test_suspicions_next_door_are_those_of_the_note(
    members: int, shortest_s: float, longest_s: float
) -> None:
    bounds = timeouts().suspicion_bounds("p", members=members, interval_s=1)
    assert bounds.shortest_s == pytest.approx(shortest_s, abs=0.02)
    assert bounds.longest_s == pytest.approx(longest_s, abs=0.05)


def test_a_far_peer_is_suspected_for_two_round_trips_longer() -> None:
    near = timeouts(10, 20).suspicion_bounds("p", GATE, members=50, interval_s=1)
    far = timeouts(300, 360).suspicion_bounds("p", GATE, members=50, interval_s=1)
    assert far.shortest_s - near.shortest_s == pytest.approx(0.68)
    assert far.longest_s - near.longest_s == pytest.approx(0.68)


def test_by_the_seeds_form_ninety_milliseconds_cost_a_minute() -> None:
    near, far = (
        timeouts(rtt_ms, policy="multiplicative").suspicion_bounds(
            "p", GATE, members=50, interval_s=1
        )
        for rtt_ms in (10, 100)
    )
    assert far.shortest_s - near.shortest_s == pytest.approx(61.2, abs=0.1)
    assert far.longest_s == pytest.approx(10 * near.longest_s)


def test_load_stretches_a_suspicion_twice_at_most() -> None:
    well = timeouts(10).suspicion_bounds("p", GATE, members=50, interval_s=1)
    ill = timeouts(10, lhm=8).suspicion_bounds("p", GATE, members=50, interval_s=1)
    assert ill.shortest_s == pytest.approx(HARD_CEILING * well.shortest_s)
    assert ill.longest_s == pytest.approx(HARD_CEILING * well.longest_s)


def test_the_seeds_form_is_a_product() -> None:
    made = timeouts(50, lhm=1, error=0.5, policy="multiplicative")
    assert made.get_adaptive_timeout("p", 5.0, GATE) == pytest.approx(5 * 5 * 2 * 1.05)


@pytest.mark.parametrize(
    ("rtt_ms", "latency"), [(0, 1), (10, 1), (11, 1.1), (100, 10), (101, 10), (9_000, 10)]
)
def test_the_latency_multiplier_of_the_seed_has_both_bounds(rtt_ms: float, latency: float) -> None:
    made = timeouts(rtt_ms, policy="multiplicative")
    assert made.get_adaptive_timeout("p", 1.0, GATE) == pytest.approx(latency)


def test_the_seeds_form_at_its_worst() -> None:
    made = timeouts(9_000, lhm=8, error=1.5, policy="multiplicative")
    assert made.get_adaptive_timeout("p", 1.0, MANAGER) == pytest.approx(57.5)
    # What the note calculated for an unconfirmed gate; ours lives four minutes at most.
    assert made.get_adaptive_timeout("p", 120.0, GATE) == pytest.approx(4_140)
    assert made.passive_timeout_s(GATE) == 240


def test_a_base_gets_the_round_trip_added() -> None:
    made = timeouts(100, 150)
    assert made.get_adaptive_timeout("p", 5.0, GATE) == pytest.approx(5.15)
    assert timeouts(100, 150, lhm=2).get_adaptive_timeout("p", 5.0, GATE) == pytest.approx(15.45)


def test_a_ceiling_holds_and_never_cuts_below_the_base() -> None:
    ill = timeouts(lhm=8)
    assert ill.get_adaptive_timeout("p", 50.0, MANAGER) == 60
    assert ill.get_adaptive_timeout("p", 600.0, MANAGER) == 600


@pytest.mark.parametrize("policy", POLICIES)
def test_distance_is_nothing_for_a_worker(policy: TimeoutPolicy) -> None:
    made = timeouts(300, 900, error=1, policy=policy)
    assert made.get_adaptive_timeout("p", 5.0, WORKER) == 5


@pytest.mark.parametrize("role", PeerRole, ids=str)
@pytest.mark.parametrize(("lhm", "times"), [(0, 1), (1, 2), (8, 2)])
def test_the_passive_timeout_has_load_in_it_and_no_distance(
    role: PeerRole, lhm: int, times: float
) -> None:
    base_s = get_strategy_for_role(role).passive_timeout
    assert timeouts(300, 900, lhm=lhm).passive_timeout_s(role) == times * base_s


BROKEN = (math.nan, math.inf, -math.inf, -1.0, 1e300)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_broken_distances_and_scores_count_as_the_worst_and_stay_finite(
    policy: TimeoutPolicy, broken: float
) -> None:
    made = timeouts(broken, broken, lhm=broken, error=broken, policy=policy)
    worst = timeouts(10_000, 10_000, lhm=8, error=1.5, policy=policy)
    for role in PeerRole:
        assert made.get_adaptive_timeout("p", 1.0, role) == pytest.approx(
            worst.get_adaptive_timeout("p", 1.0, role)
        )
        assert made.passive_timeout_s(role) == worst.passive_timeout_s(role)


def test_nothing_measured_is_next_door() -> None:
    made = AdaptiveTimeouts(Unmeasured(), lhm=lambda: 0)
    assert made.get_adaptive_timeout("p", 5.0) == 5
    seeds = AdaptiveTimeouts(
        Unmeasured(), lhm=lambda: 0, settings=TimeoutSettings(policy="multiplicative")
    )
    assert seeds.get_adaptive_timeout("p", 5.0) == 5


@pytest.mark.parametrize("policy", POLICIES)
def test_each_timeout_is_told_with_what_it_was_made_of(policy: TimeoutPolicy) -> None:
    told: list[tuple[PeerRole, AppliedTimeout]] = []
    made = AdaptiveTimeouts(
        Known(30, 60, 0.5),
        lhm=lambda: 1,
        settings=TimeoutSettings(policy=policy),
        on_applied=lambda role, applied: told.append((role, applied)),
    )
    wait_s = made.get_adaptive_timeout("p", 2.0, GATE)
    bounds = made.suspicion_bounds("p", MANAGER, members=10, interval_s=1)
    probe_s = made.probe_timeout_s("p", interval_s=1)
    assert [role for role, _ in told] == [GATE, MANAGER, PeerRole.UNKNOWN]
    assert [a.seconds for _, a in told] == [wait_s, bounds.shortest_s, probe_s]
    for _, each in told[:2]:
        shares = each.latency_multiplier * each.load_multiplier * each.confidence_adjustment
        assert each.base_s * shares == pytest.approx(each.seconds)


@QUICK
@given(
    rtt_ms=st.floats(0, 10_000),
    more_ms=st.floats(0, 2_000),
    lhm=st.integers(0, 8),
    base_s=st.floats(0.001, 1_000),
    role=st.sampled_from(PeerRole),
    policy=st.sampled_from(POLICIES),
)
def test_no_timeout_is_shorter_than_its_base_or_for_a_nearer_or_healthier_one(
    rtt_ms: float,
    more_ms: float,
    lhm: int,
    base_s: float,
    role: PeerRole,
    policy: TimeoutPolicy,
) -> None:
    here = timeouts(rtt_ms, lhm=lhm, policy=policy).get_adaptive_timeout("p", base_s, role)
    assert here >= base_s * (1 - 1e-9)
    far = timeouts(rtt_ms + more_ms, lhm=lhm, policy=policy)
    assert far.get_adaptive_timeout("p", base_s, role) >= here * (1 - 1e-9)
    well = timeouts(rtt_ms, policy=policy)
    assert well.get_adaptive_timeout("p", base_s, role) <= here * (1 + 1e-9)


@QUICK
@given(
    ucb_ms=st.floats(0, 10_000),
    lhm=st.integers(0, 8),
    interval_s=st.floats(0.01, 60),
    members=st.integers(0, 10_000),
    role=st.sampled_from(PeerRole),
)
def test_probe_and_suspicion_stay_within_their_bounds(
    ucb_ms: float, lhm: int, interval_s: float, members: int, role: PeerRole
) -> None:
    made = timeouts(ucb_ms, lhm=lhm)
    load = made.load_multiplier(role)
    assert 0 < made.probe_timeout_s("p", role, interval_s=interval_s) <= 0.8 * interval_s * load
    bounds = made.suspicion_bounds("p", role, members=members, interval_s=interval_s)
    assert 0 < bounds.shortest_s <= bounds.longest_s


@pytest.mark.parametrize("base_s", [0, -1, math.nan, math.inf, True, 86_401])
def test_a_base_that_is_none_is_refused(base_s: float) -> None:
    made = timeouts()
    with pytest.raises(InvalidInput, match="base_timeout"):
        made.get_adaptive_timeout("p", base_s)
    with pytest.raises(InvalidInput, match="interval_s"):
        made.probe_timeout_s("p", interval_s=base_s)
    with pytest.raises(InvalidInput, match="interval_s"):
        made.suspicion_bounds("p", members=3, interval_s=base_s)


@pytest.mark.parametrize(
    "fields",
    [
        {"policy": "other"},
        {"slack_s": 0},
        {"probe_ceiling": 1.1},
        {"suspicion_mult": 0.5},
        {"suspicion_max_mult": math.nan},
        {"ceiling_s": -1},
        {"reference_rtt_ms": 0},
        {"max_latency_multiplier": 0.9},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        TimeoutSettings(**fields)  # type: ignore[arg-type]  # wrong on purpose
