"""The two inequalities of A2.2, at their boundaries."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.skewclock import SKEW_TOLERANCE_ENV, SkewTolerance

NS = 1_000_000_000
NOW = 1_700_000_000 * NS
INSTANTS = st.integers(0, 2**63 - 1)
SECONDS = st.floats(0, 3600)
ABSURD = [math.nan, math.inf, -math.inf, -1, -1e-9, True, "3", None, 1 + 0j]
NOT_INSTANTS = [-1, True, 1.0, math.nan, math.inf, "1", None]


@pytest.mark.parametrize(
    ("ago_ns", "live"),
    [
        pytest.param(-60 * NS, True, id="a minute to go"),
        pytest.param(0, True, id="expired this instant"),
        pytest.param(3 * NS - 1, True, id="one ns inside the tolerance"),
        pytest.param(3 * NS, False, id="a full tolerance ago"),
        pytest.param(3 * NS + 1, False, id="one ns beyond"),
    ],
)
def test_a_lease_is_respected_until_a_full_tolerance_after_its_expiry(
    ago_ns: int, *, live: bool
) -> None:
    assert SkewTolerance().lease_live(expires_at_ns=NOW - ago_ns, now_ns=NOW) is live


@pytest.mark.parametrize(
    ("ago_ns", "live"),
    [
        pytest.param(-60 * NS, True, id="a heartbeat from the future"),
        pytest.param(0, True, id="this instant"),
        pytest.param(18 * NS - 1, True, id="one ns inside ttl and tolerance"),
        pytest.param(18 * NS, False, id="exactly ttl and tolerance ago"),
        pytest.param(18 * NS + 1, False, id="one ns beyond"),
    ],
)
def test_a_worker_is_alive_until_its_ttl_and_the_tolerance_have_passed(
    ago_ns: int, *, live: bool
) -> None:
    tolerance = SkewTolerance(3)
    assert tolerance.registry_live(last_seen_ns=NOW - ago_ns, ttl_s=15, now_ns=NOW) is live


def test_without_tolerance_the_instant_of_expiry_is_already_too_late() -> None:
    exact = SkewTolerance(0)
    assert not exact.lease_live(expires_at_ns=NOW, now_ns=NOW)
    assert exact.lease_live(expires_at_ns=NOW + 1, now_ns=NOW)
    assert not exact.registry_live(last_seen_ns=NOW, ttl_s=0, now_ns=NOW)


@given(INSTANTS, INSTANTS, SECONDS)
def test_lease_live_is_the_seeds_inequality(expires: int, now: int, tolerance_s: float) -> None:
    exact = Fraction(tolerance_s) * NS
    judged = SkewTolerance(tolerance_s).lease_live(expires_at_ns=expires, now_ns=now)
    # The tolerance is rounded to a whole nanosecond, so only that one may differ.
    if abs(expires - (now - exact)) >= 1:
        assert judged is (expires > now - exact)


@given(INSTANTS, INSTANTS, SECONDS, SECONDS)
def test_registry_live_is_the_seeds_inequality(
    seen: int, now: int, ttl_s: float, tolerance_s: float
) -> None:
    exact = (Fraction(ttl_s) + Fraction(tolerance_s)) * NS
    judged = SkewTolerance(tolerance_s).registry_live(last_seen_ns=seen, ttl_s=ttl_s, now_ns=now)
    if abs(seen - (now - exact)) >= 1:
        assert judged is (seen > now - exact)


@given(INSTANTS, st.integers(0, 3600), st.integers(0, 3600 * NS))
def test_a_clock_off_by_at_most_the_tolerance_never_takes_a_running_lease(
    now: int, tolerance_s: int, ahead_ns: int
) -> None:
    tolerance = SkewTolerance(tolerance_s)
    seen_by_rival = now + min(ahead_ns, tolerance.tolerance_ns)
    assert tolerance.lease_live(expires_at_ns=now + 1, now_ns=seen_by_rival)


@pytest.mark.parametrize("value", NOT_INSTANTS)
@pytest.mark.parametrize("field", ["expires_at_ns", "now_ns"])
def test_a_lease_is_not_judged_by_an_impossible_instant(field: str, value: object) -> None:
    instants = {"expires_at_ns": NOW, "now_ns": NOW, field: value}
    with pytest.raises(InvalidInput) as caught:
        SkewTolerance().lease_live(**instants)  # type: ignore[arg-type]  # hostile on purpose
    assert caught.value.field == field


@pytest.mark.parametrize("value", NOT_INSTANTS)
@pytest.mark.parametrize("field", ["last_seen_ns", "now_ns"])
def test_a_worker_is_not_judged_by_an_impossible_instant(field: str, value: object) -> None:
    arguments = {"last_seen_ns": NOW, "ttl_s": 1, "now_ns": NOW, field: value}
    with pytest.raises(InvalidInput) as caught:
        SkewTolerance().registry_live(**arguments)  # type: ignore[arg-type]  # hostile on purpose
    assert caught.value.field == field


@pytest.mark.parametrize("ttl_s", ABSURD)
def test_a_worker_is_not_judged_by_an_impossible_ttl(ttl_s: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        SkewTolerance().registry_live(
            last_seen_ns=NOW,
            ttl_s=ttl_s,  # type: ignore[arg-type]  # hostile on purpose
            now_ns=NOW,
        )
    assert caught.value.field == "ttl_s"


@pytest.mark.parametrize("tolerance_s", [*ABSURD, 3600.001, 10**400])
def test_a_tolerance_that_cannot_be_is_refused(tolerance_s: object) -> None:
    with pytest.raises(InvalidInput, match="0 to 3600 seconds"):
        SkewTolerance(tolerance_s)  # type: ignore[arg-type]  # hostile on purpose


@pytest.mark.parametrize("tolerance_s", [0, 0.5, 3, 3600])
def test_both_ends_of_the_range_of_tolerances_are_taken(tolerance_s: float) -> None:
    assert SkewTolerance(tolerance_s).tolerance_ns == tolerance_s * NS


@pytest.mark.parametrize(
    ("environ", "tolerance_s"),
    [
        ({}, 3),
        ({SKEW_TOLERANCE_ENV: ""}, 3),
        ({SKEW_TOLERANCE_ENV: "  "}, 3),
        ({SKEW_TOLERANCE_ENV: "0"}, 0),
        ({SKEW_TOLERANCE_ENV: " 7.5 "}, 7.5),
        ({"OTHER": "9"}, 3),
    ],
)
def test_the_environment_sets_the_tolerance(environ: dict[str, str], tolerance_s: float) -> None:
    assert SkewTolerance.from_env(environ).tolerance_s == tolerance_s


def test_the_process_environment_is_read_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SKEW_TOLERANCE_ENV, "11")
    assert SkewTolerance.from_env().tolerance_s == 11


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "3601", "three", "3s", "1,5", "1e9"])
def test_a_variable_that_is_no_tolerance_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SkewTolerance.from_env({SKEW_TOLERANCE_ENV: text})
    assert caught.value.field == SKEW_TOLERANCE_ENV
    assert text in str(caught.value)
