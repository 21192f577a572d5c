"""Judgement and aggregation: the boundaries of A2.2, and sums against a naive model."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.lease.judge import Moment
from federlib.registry import Member, MemberRecord, State
from federlib.registry.roster import Sighted, by_host, by_name, is_news, judge, refusal, select
from federlib.skewclock import SkewTolerance
from registry.worlds import HERE, HOST, OTHER_HOST, RECORD, S, record

TOLERANCE = SkewTolerance(3)
ELSEWHERE = "m2/b1/"


def now(*, boot: int = 100 * S, wall: int = 1_000 * S, clock_id: str = HERE) -> Moment:
    return Moment(wall_ns=wall, boot_ns=boot, clock_id=clock_id)


def seen(member: MemberRecord, *, boot: int = 10**18) -> Sighted:
    """By default first seen so late that this says nothing."""
    return Sighted(member, 1, boot)


def member(state: State = "live", age_s: float = 1, **fields: object) -> Member:
    return Member(record(**fields), state, age_s)  # type: ignore[arg-type]  # fields of any type


@pytest.mark.parametrize(
    ("at", "state"),
    [
        pytest.param(now(boot=115 * S - 1, wall=0), "live", id="same clock, before its ttl"),
        pytest.param(now(boot=115 * S, wall=0), "expired", id="same clock, no tolerance"),
        pytest.param(now(boot=0, clock_id="m1/b2/"), "expired", id="its machine booted again"),
        pytest.param(now(boot=0, wall=1_018 * S - 1, clock_id=ELSEWHERE), "live", id="tolerated"),
        pytest.param(now(boot=0, wall=1_018 * S, clock_id=ELSEWHERE), "expired", id="beyond"),
        pytest.param(now(boot=0, wall=0, clock_id=ELSEWHERE), "live", id="ahead of us"),
    ],
)
def test_a_member_is_live_by_the_first_rule_that_applies(at: Moment, state: State) -> None:
    assert judge(seen(RECORD), at, TOLERANCE).state == state


@given(
    last_seen=st.integers(0, 10**19 // 2),
    wall=st.integers(0, 10**19 // 2),
    ttl_ms=st.integers(1, 86_400_000),
    tolerance_s=st.floats(0, 3600),
)
def test_between_machines_the_inequality_of_a22_decides(
    last_seen: int, wall: int, ttl_ms: int, tolerance_s: float
) -> None:
    skew = SkewTolerance(tolerance_s)
    sighted = seen(record(last_seen=last_seen, ttl_ms=ttl_ms))
    judged = judge(sighted, now(boot=0, wall=wall, clock_id=ELSEWHERE), skew)
    live = skew.registry_live(last_seen_ns=last_seen, ttl_s=ttl_ms / 1_000, now_ns=wall)
    assert judged.state == ("live" if live else "expired")


@given(offset_ns=st.integers(-2, 2), ttl_ms=st.integers(1, 86_400_000))
def test_the_inequality_holds_to_the_nanosecond(offset_ns: int, ttl_ms: int) -> None:
    edge = 1_000 * S + ttl_ms * 1_000_000 + TOLERANCE.tolerance_ns
    sighted = seen(record(ttl_ms=ttl_ms))
    judged = judge(sighted, now(boot=0, wall=edge + offset_ns, clock_id=ELSEWHERE), TOLERANCE)
    assert judged.state == ("live" if offset_ns < 0 else "expired")


@pytest.mark.parametrize("clock_id", [HERE, ELSEWHERE])
def test_a_heartbeat_from_the_future_is_not_believed_for_ever(clock_id: str) -> None:
    sighted = seen(record(boot_ns=10**18, last_seen=4 * 10**18), boot=50 * S)
    end = (65 if clock_id == HERE else 68) * S
    assert judge(sighted, now(boot=end - 1, clock_id=clock_id), TOLERANCE).state == "live"
    judged = judge(sighted, now(boot=end, clock_id=clock_id), TOLERANCE)
    assert judged.state == "expired"
    assert judged.age_s == pytest.approx((end - 50 * S) / S)


def test_who_said_goodbye_has_left_however_fresh_the_word_is() -> None:
    goodbye = seen(record(left_at_ns=1_000 * S))
    assert judge(goodbye, now(), TOLERANCE).state == "left"
    later = judge(goodbye, now(boot=400 * S), TOLERANCE)
    assert (later.state, later.gone_s) == ("left", 300)


def test_the_age_is_exact_on_one_clock_and_by_wall_clocks_between_machines() -> None:
    sighted = seen(RECORD)
    assert judge(sighted, now(boot=103 * S, wall=0), TOLERANCE).age_s == 3
    assert judge(sighted, now(wall=1_004 * S, boot=0, clock_id=ELSEWHERE), TOLERANCE).age_s == 4
    assert judge(sighted, now(wall=0, boot=0, clock_id=ELSEWHERE), TOLERANCE).age_s == 0


def test_how_long_a_member_is_gone() -> None:
    sighted = seen(RECORD)
    assert judge(sighted, now(boot=110 * S), TOLERANCE).gone_s == 0
    assert judge(sighted, now(boot=120 * S), TOLERANCE).gone_s == 5
    # Its machine booted again a second later: it is gone, and was never silent beyond its ttl.
    rebooted = judge(sighted, now(wall=1_001 * S, boot=0, clock_id="m1/b2/"), TOLERANCE)
    assert (rebooted.state, rebooted.gone_s) == ("expired", 0)


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([HERE, "m1/b2/", ELSEWHERE]))
def test_who_has_expired_stays_so_while_time_goes_on(first: int, more: int, clock_id: str) -> None:
    sighted = seen(RECORD)

    def state(at: int) -> State:
        at_ns = now(boot=(100 + at) * S, wall=(1_000 + at) * S, clock_id=clock_id)
        return judge(sighted, at_ns, TOLERANCE).state

    assert (state(first), state(first + more)) != ("expired", "live")


# Who may write


@pytest.mark.parametrize(
    ("found", "has_joined", "why"),
    [
        pytest.param(None, False, None, id="nothing there"),
        pytest.param(member(), True, None, id="our own heartbeat"),
        pytest.param(member(incarnation=2, session="s2"), False, None, id="an earlier life"),
        pytest.param(member(incarnation=2, session="s2"), True, None, id="earlier, later"),
        pytest.param(member(incarnation=4, session="s2"), False, "newer", id="a later life"),
        pytest.param(member("expired", incarnation=4, session="s2"), True, "newer",
                     id="a later life, although it is gone"),
        pytest.param(member("left", incarnation=4, session="s2"), False, "newer",
                     id="a later life, although it left"),
        pytest.param(member(incarnation=3, session="s2"), False, "taken", id="a live twin"),
        pytest.param(member("expired", incarnation=3, session="s2"), False, None,
                     id="a twin that is gone"),
        pytest.param(member("expired", incarnation=3, session="s2"), True, "replaced",
                     id="a twin that took our place"),
    ],
)  # fmt: skip
def test_an_older_life_never_overwrites_a_newer_one(
    found: Member | None, has_joined: bool, why: str | None
) -> None:
    assert refusal(found, record(incarnation=3), has_joined=has_joined) == why


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["live", "expired", "left"])), max_size=9)
)
def test_whatever_the_order_the_incarnation_in_the_registry_never_falls(
    tries: list[tuple[int, State]],
) -> None:
    stored: Member | None = None
    for number, (incarnation, state) in enumerate(tries):
        mine = record(incarnation=incarnation, session=f"s{number}")
        if refusal(stored, mine, has_joined=False) is None:
            assert stored is None or stored.record.incarnation <= incarnation
            stored = Member(mine, state, 0)


# Taken together

SECONDS = st.floats(0, 1e6)
MEMBERS = st.lists(
    st.builds(
        lambda host, seq, state, age_s, slots, load: Member(
            record(seq, host, slots=slots, load=load, hostname=f"box-{seq}"), state, age_s
        ),
        st.sampled_from([HOST, OTHER_HOST]),
        st.integers(0, 30),
        st.sampled_from(["live", "expired", "left"]),
        SECONDS,
        st.integers(0, 100),
        st.integers(0, 100).map(float),
    ),
    unique_by=lambda found: found.worker_id,
    max_size=30,
)


@given(MEMBERS)
def test_a_host_is_the_sum_of_its_members(members: list[Member]) -> None:
    hosts = by_host(members)
    assert set(hosts) == {found.host_id for found in members}
    for host_id, summary in hosts.items():
        mine = [found for found in members if found.host_id == host_id]
        live = [found for found in mine if found.state == "live"]
        silent = [found.age_s for found in mine if found.state != "left"]
        assert summary.live == len(live)
        assert summary.live + summary.expired + summary.left == len(mine)
        assert summary.slots == sum(found.record.slots for found in live)
        assert summary.load == sum(found.record.load for found in live)
        assert summary.oldest_heartbeat_s == (max(silent) if silent else None)
        newest = min(found.age_s for found in mine)
        assert summary.hostname in {f.record.hostname for f in mine if f.age_s == newest}


def test_members_stand_by_host_and_number() -> None:
    members = [member(host_id=OTHER_HOST), member(seq=10), member(seq=2)]
    assert [found.worker_id for found in by_name(members)] == [
        f"{HOST}:2", f"{HOST}:10", f"{OTHER_HOST}:0"
    ]  # fmt: skip


def test_a_query_keeps_who_is_as_described() -> None:
    one = member(seq=1, labels={"zone": "a", "run": "r"})
    two = member("expired", seq=2, kind="gate", labels={"zone": "a"})
    three = member(seq=3)
    everybody = [one, two, three]
    assert select(everybody, state=None, kind=None, labels={}) == everybody
    assert select(everybody, state="live", kind=None, labels={}) == [one, three]
    assert select(everybody, state=None, kind="gate", labels={}) == [two]
    assert select(everybody, state=None, kind=None, labels={"zone": "a"}) == [one, two]
    assert select(everybody, state=None, kind=None, labels={"zone": "a", "run": "x"}) == []


def test_a_heartbeat_is_no_news_and_everything_else_is() -> None:
    before = member()
    beat = attrs.evolve(before, age_s=0, record=record(last_seen=2_000 * S, boot_ns=200 * S))
    assert not is_news(before, beat)
    assert not is_news(None, None)
    others = [
        None,
        member("expired"),
        member("left"),
        member(incarnation=2),
        member(session="s2"),
        member(load=2.0),
        member(slots=5),
        member(labels={"a": "b"}),
        member(kind="gate"),
    ]
    assert all(is_news(before, other) for other in others)
