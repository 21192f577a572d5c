"""The fair queue: decisions as a table, and the whole as a machine against a model."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import Conflict
from federlib.lease import Holder, Lease
from federlib.lease.judge import Horizon, Moment
from federlib.lease.queue import (
    MAX_REMOVED,
    MAX_WAITERS,
    Enqueue,
    Full,
    Grant,
    Refresh,
    Terms,
    View,
    Wait,
    Waiter,
    decide,
    lease_horizon,
    next_token,
    wait_ttl_ms,
)
from federlib.lease.records import MAX_TOKEN, LeaseRecord, WaiterRecord, waiter_key
from federlib.skewclock import SkewTolerance

MS = 1_000_000
S = 1_000 * MS
TERMS = Terms(SkewTolerance())
ME = Holder("me", "1")
OTHER = Holder("other", "1")
T0 = 1_000 * S


def now(after_s: float = 0.0) -> Moment:
    step = round(after_s * S)
    return Moment(wall_ns=10**18 + step, boot_ns=T0 + step, clock_id="m/b/")


def waiter(place: int, *, who: Holder | None = None, renewed_s: float = 0.0) -> Waiter:
    who = who or Holder(f"w{place}", "1")
    at = now(renewed_s)
    record = WaiterRecord(
        name="n",
        holder_id=who.holder_id,
        session=who.session,
        wait_ttl_ms=2_000,
        clock_id=at.clock_id,
        renewed_boot_ns=at.boot_ns,
        expires_at_ns=at.wall_ns + 2 * S,
    )
    return Waiter(
        key=waiter_key("n", who),
        revision=place,
        created=place,
        record=record,
        horizon=Horizon(at.boot_ns + 2 * S),
    )


def held(who: Holder = OTHER, *, token: int = 4) -> LeaseRecord:
    at = now()
    lease = Lease(
        name="n",
        holder_id=who.holder_id,
        session=who.session,
        fencing_token=token,
        ttl_ms=6_000,
        acquired_at=at.wall_ns,
        renewed_at=at.wall_ns,
        expires_at=at.wall_ns + 6 * S,
        clock_id=at.clock_id,
        renewed_boot_ns=at.boot_ns,
    )
    return LeaseRecord(name="n", fencing_token=token, lease=lease, freed_at_ns=None)


def free(*waiters: Waiter, token: int = 4) -> View:
    record = LeaseRecord(name="n", fencing_token=token, lease=None, freed_at_ns=1)
    return View(lease=record, waiters=waiters, free_since_boot_ns=T0)


def seen(record: LeaseRecord, waiters: tuple[Waiter, ...]) -> View:
    until = lease_horizon(record, T0, now().clock_id, TERMS)
    return View(lease=record, horizon=until, seen_boot_ns=T0, waiters=waiters)


def ask(view: View, at: Moment, *, queue: bool = True) -> object:
    return decide(view, ME, at, TERMS, ttl_ms=6_000, queue=queue)


def test_an_unknown_name_is_granted_above_the_floor() -> None:
    assert ask(View(lease=None, floor=7), now()) == Grant(token=8)


def test_a_free_name_is_granted_above_record_and_floor() -> None:
    assert ask(free(), now()) == Grant(token=5)
    assert ask(msgspec.structs.replace(free(), floor=9), now()) == Grant(token=10)


def test_what_is_mine_is_renewed_with_its_token() -> None:
    mine = seen(held(ME), (waiter(1),))
    assert ask(mine, now(100), queue=False) == Grant(token=4, renews=True)


def test_a_held_lease_is_waited_for_in_line_or_not() -> None:
    view = seen(held(), (waiter(1),))
    assert ask(view, now(), queue=False) == Wait(ahead=1, until_boot_ns=T0 + 2 * S)
    assert ask(view, now()) == Enqueue(ahead=1, until_boot_ns=T0 + 2 * S // 3)


def test_the_head_looks_again_at_the_lease_s_expiry_and_the_second_at_the_head_s() -> None:
    mine = waiter(2, who=ME, renewed_s=4.2)
    head = seen(held(), (mine,))
    assert ask(head, now(4.5)) == Wait(
        ahead=0, until_boot_ns=mine.record.renewed_boot_ns + 2 * S // 3
    )
    assert ask(head, now(4.2 + 2 / 3)) == Refresh(
        ahead=0, until_boot_ns=now(4.2 + 2 / 3).boot_ns + 2 * S // 3, own=mine
    )
    second = msgspec.structs.replace(head, waiters=(waiter(1, renewed_s=2.6), mine))
    assert ask(second, now(4.5)) == Wait(ahead=1, until_boot_ns=now(4.6).boot_ns)


def test_a_place_of_another_clock_or_from_the_future_is_refreshed_at_once() -> None:
    future = waiter(1, who=ME, renewed_s=3)
    moved = msgspec.structs.replace(
        waiter(1, who=ME), record=msgspec.structs.replace(future.record, clock_id="x")
    )
    for mine in (future, moved):
        view = seen(held(), (mine,))
        assert isinstance(ask(view, now(1)), Refresh)


def test_only_the_head_takes_and_an_expired_head_is_removed_if_still_so() -> None:
    head, mine = waiter(1), waiter(2, who=ME, renewed_s=1.9)
    view = msgspec.structs.replace(free(head, mine), free_since_boot_ns=now(1.95).boot_ns)
    assert isinstance(ask(view, now(1.999)), Wait)
    assert ask(view, now(2)) == Grant(token=5, expired=(head,), skipped=(mine,))


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_a_place_may_act_after_a_grace_for_each_living_waiter_ahead(ahead: int) -> None:
    others = tuple(waiter(place) for place in range(1, ahead + 1))
    mine = waiter(9, who=ME)
    view = free(*others, mine)
    early, due = now(ahead * 0.5 - 1e-9), now(ahead * 0.5)
    decision = ask(view, early)
    assert isinstance(decision, Wait | Refresh)
    assert decision.ahead == ahead
    assert ask(view, due) == Grant(token=5, skipped=(*others, mine))


@pytest.mark.parametrize(("clock_id", "graced_s"), [("m/b/", 6.5), ("elsewhere/b/", 9.5)])
def test_who_is_ahead_on_another_machine_has_its_grace_from_when_it_sees_the_lease_expired(
    clock_id: str, graced_s: float
) -> None:
    # The holder was on this machine: here it has expired at once, there a tolerance later.
    head = waiter(1, renewed_s=graced_s - 1)
    mine = waiter(2, who=ME, renewed_s=graced_s - 1)
    head = msgspec.structs.replace(
        head, record=msgspec.structs.replace(head.record, clock_id=clock_id)
    )
    view = View(
        lease=held(), waiters=(head, mine), seen_boot_ns=T0, free_since_boot_ns=now(6).boot_ns
    )
    waiting = ask(view, now(graced_s - 0.4))
    assert isinstance(waiting, Wait)
    assert waiting.until_boot_ns <= now(graced_s).boot_ns
    assert not isinstance(ask(view, now(graced_s - 1e-6)), Grant)
    assert isinstance(ask(view, now(graced_s)), Grant)


def test_a_newcomer_never_passes_a_living_waiter_however_long_it_is_free() -> None:
    view = msgspec.structs.replace(free(waiter(1)), free_since_boot_ns=0)
    assert isinstance(ask(view, now(1), queue=False), Wait)
    assert isinstance(ask(view, now(1)), Enqueue)
    assert isinstance(ask(view, now(2), queue=False), Grant)


def test_a_full_queue_has_no_place_unless_somebody_in_it_has_expired() -> None:
    living = tuple(waiter(place) for place in range(MAX_WAITERS))
    view = seen(held(), living)
    assert isinstance(ask(view, now(1)), Full)
    replaced = ask(view, now(3))
    assert isinstance(replaced, Enqueue)
    assert replaced.expired == living[:MAX_REMOVED]


def test_a_grant_removes_no_more_than_a_transaction_holds() -> None:
    dead = tuple(waiter(place) for place in range(200))
    decision = ask(free(*dead, waiter(300, who=ME, renewed_s=5)), now(5))
    assert isinstance(decision, Grant)
    assert len(decision.expired) == MAX_REMOVED


def test_there_is_no_token_after_the_last() -> None:
    assert next_token(free(token=MAX_TOKEN - 1)) == MAX_TOKEN
    with pytest.raises(Conflict):
        next_token(free(token=MAX_TOKEN))
    with pytest.raises(Conflict):
        next_token(msgspec.structs.replace(free(), floor=MAX_TOKEN))


@pytest.mark.parametrize(("ttl_ms", "expected"), [(15_000, 5_000), (6_001, 2_000), (10, 2_000)])
def test_a_place_lives_for_a_third_of_the_ttl_and_at_least_two_seconds(
    ttl_ms: int, expected: int
) -> None:
    assert wait_ttl_ms(ttl_ms) == expected


@settings(max_examples=200)
@given(
    ages=st.lists(st.floats(0, 4), max_size=6),
    mine=st.integers(0, 6),
    is_held=st.booleans(),
    after_s=st.floats(0, 8),
    free_for_s=st.floats(0, 4),
    queue=st.booleans(),
)
def test_a_grant_never_passes_the_living_without_their_grace(
    ages: list[float],
    mine: int,
    is_held: bool,
    after_s: float,
    free_for_s: float,
    queue: bool,
) -> None:
    at = now(after_s)
    line = [waiter(place, renewed_s=after_s - age) for place, age in enumerate(ages)]
    in_line = mine < len(line)
    if in_line:
        line[mine] = waiter(mine, who=ME, renewed_s=after_s - ages[mine])
    since = at.boot_ns - round(free_for_s * S)
    view = msgspec.structs.replace(free(*line), free_since_boot_ns=since)
    if is_held:
        view = seen(held(), tuple(line))
        if after_s >= 6:
            view = msgspec.structs.replace(view, free_since_boot_ns=since)
    decision = ask(view, at, queue=queue)
    before = line[:mine] if in_line else line
    living = [w for w in before if at.boot_ns < w.record.renewed_boot_ns + 2 * S]
    may_take = not is_held or after_s * S >= 6 * S
    graced = in_line and at.boot_ns >= since + len(living) * TERMS.grace_ns
    assert isinstance(decision, Grant) is (may_take and (not living or graced))
    if not isinstance(decision, Grant):
        assert decision.ahead == len(living)  # type: ignore[attr-defined]  # a Line
