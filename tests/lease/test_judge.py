"""Rules (a) to (c), on both sides of each boundary."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.lease import Lease
from federlib.lease.judge import (
    Claim,
    Moment,
    claim_of_lease,
    claim_of_waiter,
    is_live,
    remaining_ns,
)
from federlib.lease.records import WaiterRecord
from federlib.skewclock import SkewTolerance

S = 1_000_000_000
HERE = "m1/b1/"
TOLERANCE = SkewTolerance(3)

CLAIM = Claim(
    clock_id=HERE,
    renewed_boot_ns=100 * S,
    ttl_ns=15 * S,
    expires_at_ns=1_015 * S,
    seen_boot_ns=101 * S,
)


def _now(*, boot: int = 0, wall: int = 0, clock_id: str = HERE) -> Moment:
    return Moment(wall_ns=wall, boot_ns=boot, clock_id=clock_id)


@pytest.mark.parametrize(
    ("claim_clock", "now", "live"),
    [
        pytest.param(HERE, _now(boot=115 * S - 1, wall=10**20), True, id="a: before its ttl"),
        pytest.param(HERE, _now(boot=115 * S, wall=0), False, id="a: at its ttl, no tolerance"),
        pytest.param("m1/b2/", _now(boot=0, wall=0), False, id="b: other boot, same machine"),
        pytest.param("m2/b1/", _now(boot=100 * S, wall=1_018 * S - 1), True, id="c: tolerated"),
        pytest.param("m2/b1/", _now(boot=100 * S, wall=1_018 * S), False, id="c: beyond"),
        pytest.param("-/b9/", _now(boot=100 * S, wall=1_000 * S), True, id="c: unnamed machine"),
        pytest.param("m1/b1/5", _now(boot=500 * S, wall=0), False, id="c: seen for too long"),
        pytest.param("m1/b1/5", _now(boot=100 * S, wall=1_000 * S), True, id="c: time namespace"),
        pytest.param("", _now(boot=100 * S, wall=1_000 * S, clock_id=""), True, id="c: no name"),
        pytest.param("", _now(boot=100 * S, wall=1_018 * S, clock_id=""), False, id="c: no name'"),
    ],
)
def test_the_first_rule_that_applies_decides(claim_clock: str, now: Moment, live: bool) -> None:
    claim = msgspec.structs.replace(CLAIM, clock_id=claim_clock)
    assert is_live(claim, now, TOLERANCE) is live


@pytest.mark.parametrize("clock_id", [HERE, "m2/b1/"])
def test_a_renewal_from_the_future_lives_a_ttl_after_it_was_seen_and_no_longer(
    clock_id: str,
) -> None:
    claim = msgspec.structs.replace(
        CLAIM, clock_id=clock_id, renewed_boot_ns=10**18, expires_at_ns=10**19, seen_boot_ns=50 * S
    )
    end = 65 * S if clock_id == HERE else 68 * S
    assert is_live(claim, _now(boot=end - 1, wall=1_000 * S), TOLERANCE)
    assert not is_live(claim, _now(boot=end, wall=1_000 * S), TOLERANCE)


@given(
    expires=st.integers(0, 10**19),
    wall=st.integers(0, 10**19),
    tolerance=st.floats(0, 3600),
)
def test_rule_c_is_the_inequality_of_a22_for_a_lease_just_seen(
    expires: int, wall: int, tolerance: float
) -> None:
    skew = SkewTolerance(tolerance)
    claim = msgspec.structs.replace(CLAIM, clock_id="m2/b1/", expires_at_ns=expires, seen_boot_ns=0)
    judged = is_live(claim, _now(boot=0, wall=wall), skew)
    assert judged is skew.lease_live(expires_at_ns=expires, now_ns=wall)


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([HERE, "m1/b2/", "m2/b1/"]))
def test_what_has_expired_stays_expired_while_time_goes_on(
    first: int, later: int, clock_id: str
) -> None:
    claim = msgspec.structs.replace(CLAIM, clock_id=clock_id)
    now = _now(boot=first * S, wall=(900 + first) * S)
    then = _now(boot=(first + later) * S, wall=(900 + first + later) * S)
    left = remaining_ns(claim, now, TOLERANCE)
    if left <= 0:
        assert remaining_ns(claim, then, TOLERANCE) <= 0
    else:
        assert remaining_ns(claim, then, TOLERANCE) in {left - later * S, 0}


def test_leases_and_waiters_are_judged_alike() -> None:
    lease = Lease(
        name="n",
        holder_id="w",
        session="1",
        fencing_token=1,
        ttl_ms=15_000,
        acquired_at=0,
        renewed_at=1_000 * S,
        expires_at=1_015 * S,
        clock_id=HERE,
        renewed_boot_ns=100 * S,
    )
    waiter = WaiterRecord(
        name="n",
        holder_id="w",
        session="1",
        wait_ttl_ms=15_000,
        clock_id=HERE,
        renewed_boot_ns=100 * S,
        expires_at_ns=1_015 * S,
    )
    assert claim_of_lease(lease, seen_boot_ns=101 * S) == CLAIM
    assert claim_of_waiter(waiter, seen_boot_ns=101 * S) == CLAIM
