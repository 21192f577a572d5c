"""What only shells do, on both event loops: renewing, giving up, retrying, campaigning, resigning.

Every instant here is the loop's; nothing waits for it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest

from federlib.errors import LeaseBusy, LeaseLost
from federlib.leadership import Elector
from federlib.testing import LoopClock, VirtualTime, stall
from federlib.testing.sim import SimulatedClock
from testing.shell_lab import Lab, Member, now_s, play

TTL_S = 15.0
DEADLINE_S = 0.9 * TTL_S


# hold


def test_it_renews_every_third_of_its_ttl_for_a_day(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        async with ada.hold() as lease:
            await anyio.sleep(3_000)
            lease.check()
        times = ada.log.times("lease_renewed")
        assert times == pytest.approx([5.0 * turn for turn in range(1, len(times) + 1)], abs=1e-3)
        assert len(times) == pytest.approx(600, abs=1)
        # One commit a renewal, and those of coming and going.
        assert ada.view.commits == pytest.approx(len(times) + 2, abs=1)

    play(virtual_time, scene)


@pytest.mark.parametrize(("drift_ppm", "every_s"), [(250_000, 4.0), (-500_000, 10.0), (100, 5.0)])
def test_it_renews_by_its_own_clock(
    virtual_time: VirtualTime, drift_ppm: int, every_s: float
) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada", clock=SimulatedClock(LoopClock(), "a", drift_ppm=drift_ppm))
        async with ada.hold():
            await anyio.sleep(100)
        gaps = [later - sooner for sooner, later in pairwise(ada.log.times("lease_renewed"))]
        # Loops sleep by true time, so a clock that is quick is looked at a little late.
        assert gaps == pytest.approx([every_s] * len(gaps), abs=0.3)
        assert len(gaps) >= 8

    play(virtual_time, scene)


def test_cut_off_it_gives_up_at_its_deadline_and_its_rival_follows_after_the_ttl(
    virtual_time: VirtualTime,
) -> None:
    lost_s: list[float] = []

    async def scene(lab: Lab) -> None:
        ada, ben = lab.member("ada"), lab.member("ben")

        async def follow() -> None:
            async with ben.hold() as lease:
                assert lease.token == 2
                # Five seconds is when ada's last renewal left.
                assert 5 + TTL_S <= now_s() <= 5 + TTL_S + 0.5

        async with anyio.create_task_group() as group:
            with pytest.raises(LeaseLost, match="not renewed"):
                async with ada.hold() as lease:
                    group.start_soon(follow)
                    await anyio.sleep(7)
                    ada.view.is_cut = True
                    try:
                        await anyio.sleep_forever()
                    finally:
                        lost_s.append(now_s())
                        assert lease.lost
        # Told when it happened, not at the next look.
        assert ada.log.times("lease_lost") == lost_s
        assert lost_s == [pytest.approx(5 + DEADLINE_S, abs=0.01)]

    play(virtual_time, scene)


def test_a_hanging_store_does_not_keep_it_from_seeing_its_deadline(
    virtual_time: VirtualTime,
) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        with pytest.raises(LeaseLost):
            async with ada.hold():
                ada.view.slow_s = 10_000
                await anyio.sleep_forever()
        assert now_s() == pytest.approx(DEADLINE_S, abs=0.01)

    play(virtual_time, scene)


@pytest.mark.parametrize("on_loss", ["cancel", "mark"])
def test_a_stalled_loop_that_wakes_past_the_deadline_has_lost(
    virtual_time: VirtualTime, on_loss: str
) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        went_on: list[float] = []

        async def body() -> None:
            async with ada.hold(on_loss=on_loss) as lease:  # type: ignore[arg-type]  # of two
                await anyio.sleep(1)
                stall(DEADLINE_S - 1.001)
                lease.check()
                stall(0.002)
                # Nobody has run since, and it is known.
                assert lease.lost
                with pytest.raises(LeaseLost, match="not renewed"):
                    lease.check()
                await anyio.sleep(5)
                went_on.append(now_s())

        if on_loss == "mark":
            await body()
        else:
            with pytest.raises(LeaseLost, match="not renewed"):
                await body()
        assert ada.sink.value("federlib_event_loop_blocked_total") == 1
        assert len(went_on) == (on_loss == "mark")
        assert len(ada.log.times("lease_lost")) == 1

    play(virtual_time, scene)


def test_a_loop_that_stalls_for_less_keeps_its_lease(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        async with ada.hold() as lease:
            for _ in range(50):
                await anyio.sleep(0.1)
                stall(0.8 * TTL_S)
                await anyio.sleep(0.001)
                lease.check()
        assert ada.log.times("lease_lost") == []

    play(virtual_time, scene)


def test_retries_come_with_pauses_that_grow_to_a_tenth_of_the_ttl(
    virtual_time: VirtualTime,
) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        async with ada.hold():
            await anyio.sleep(4.9)
            ada.view.refusals = 6
            await anyio.sleep(8)
        failed = ada.log.times("lease_renewal_failed")
        assert failed[0] == pytest.approx(5, abs=0.01)
        pauses = [later - sooner for sooner, later in pairwise(failed)]
        assert pauses == pytest.approx([0.3, 0.6, 1.2, 1.5, 1.5], abs=0.01)
        assert ada.log.times("lease_renewed")[0] == pytest.approx(failed[-1] + 1.5, abs=0.01)

    play(virtual_time, scene)


def test_a_waiter_asks_a_store_that_is_away_with_pauses_of_two_seconds_at_most(
    virtual_time: VirtualTime,
) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        ada.view.is_cut = True
        got_s: list[float] = []

        async def wait() -> None:
            async with ada.hold():
                got_s.append(now_s())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(600)
            # Two requests a turn: to ask, and for a watch.
            assert 250 <= ada.view.requests <= 700
            ada.view.is_cut = False
        assert got_s[0] - 600 <= 2.1

    play(virtual_time, scene)


def test_a_hanging_release_is_given_up(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        async with ada.hold():
            await anyio.sleep(1)
            ada.view.slow_s = 10_000
        assert now_s() == pytest.approx(1 + 5, abs=0.01)
        assert ada.log.times("lease_release_failed") == [now_s()]

    play(virtual_time, scene)


def test_cancelled_with_a_store_that_hangs_it_ends_in_seconds(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        ada, ben = lab.member("ada"), lab.member("ben")

        async def stay(member: Member) -> None:
            async with member.hold():
                await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(stay, ada)
            await anyio.sleep(1)
            group.start_soon(stay, ben)  # waits in line
            await anyio.sleep(1)
            ada.view.slow_s = ben.view.slow_s = 10_000
            group.cancel_scope.cancel()
        assert now_s() == pytest.approx(2 + 5, abs=0.01)

    play(virtual_time, scene)


def test_a_wait_that_is_over_leaves_nothing_behind(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        ada, ben, cyd = (lab.member(who) for who in ("ada", "ben", "cyd"))
        async with ada.hold():
            with pytest.raises(LeaseBusy):
                async with ben.hold(wait_s=40):
                    pass
            assert now_s() == pytest.approx(40, abs=0.01)
            assert (await cyd.leases.inspect("job")).waiters == ()

    play(virtual_time, scene)


# Elector


@asynccontextmanager
async def running(*seats: Elector) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        for seat in seats:
            group.start_soon(seat.run)
        yield
        group.cancel_scope.cancel()


async def record(seat: Elector, roles: list[tuple[float, str, int]]) -> None:
    """Write down each change of role: when, to what, under which epoch."""
    async for state in seat.changes():
        if not roles or roles[-1][1:] != (state.role, state.epoch):
            roles.append((now_s(), state.role, state.epoch))


def test_a_seat_comes_back_after_a_loss_and_after_an_outage(virtual_time: VirtualTime) -> None:
    roles: list[tuple[float, str, int]] = []

    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        seat = ada.seat()
        async with running(seat), anyio.create_task_group() as group:
            group.start_soon(record, seat, roles)
            await anyio.sleep(100)
            ada.view.is_cut = True
            await anyio.sleep(100)
            assert seat.state.role == "observer"
            ada.view.is_cut = False
            await anyio.sleep(100)
            group.cancel_scope.cancel()

    play(virtual_time, scene)
    led = [(at_s, epoch) for at_s, role, epoch in roles if role == "leader"]
    assert [epoch for _, epoch in led] == [1, 2]
    # Back within the longest pause, and not before the lease of its own last reign is over.
    assert led[1][0] == pytest.approx(200, abs=2.5)
    gave_up_s = next(at_s for at_s, role, _ in roles if role != "leader" and at_s > 1)
    assert gave_up_s == pytest.approx(95 + DEADLINE_S, abs=0.1)


def test_a_seat_without_a_store_asks_in_bounded_pauses_and_lets_time_pass(
    virtual_time: VirtualTime,
) -> None:
    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        ada.view.is_cut = True
        async with running(ada.seat()):
            await anyio.sleep(300)
        # The line asks about every two seconds, and whoever observes ten times a second.
        assert ada.view.requests <= 300 * 12

    play(virtual_time, scene)


def test_who_resigns_hands_over_at_once(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        seats = {who: lab.member(who).seat() for who in ("ada", "ben", "cyd")}
        epochs: list[int] = []
        async with running(*seats.values()):
            for _ in range(12):
                await anyio.sleep(7)
                leaders = [who for who, seat in seats.items() if seat.state.role == "leader"]
                assert len(leaders) == 1
                epochs.append(seats[leaders[0]].check())
                seats[leaders[0]].resign()
                await anyio.sleep(0.01)
                now = [who for who, seat in seats.items() if seat.state.role == "leader"]
                assert len(now) == 1
                assert now != leaders
        assert epochs == list(range(1, 13))

    play(virtual_time, scene)


def test_a_seat_that_is_left_hands_over_at_once(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        ada, ben = lab.member("ada").seat(), lab.member("ben").seat()
        async with running(ben):
            await anyio.sleep(1)
            async with running(ada):
                await anyio.sleep(1)
                ben.resign()
                await anyio.sleep(1)
                assert ada.check() == 2
            await anyio.sleep(0.01)
            assert ben.check() == 3

    play(virtual_time, scene)


def test_work_starts_and_ends_with_each_reign(virtual_time: VirtualTime) -> None:
    stretches: list[tuple[int, float, float]] = []

    async def scene(lab: Lab) -> None:
        ada = lab.member("ada")
        seat = ada.seat()

        async def work(epoch: int) -> None:
            began_s = now_s()
            try:
                await anyio.sleep_forever()
            finally:
                stretches.append((epoch, began_s, now_s()))

        async with running(seat), anyio.create_task_group() as group:
            group.start_soon(seat.lead, work)
            await anyio.sleep(20)
            ada.view.is_cut = True
            await anyio.sleep(60)
            ada.view.is_cut = False
            await anyio.sleep(20)
            group.cancel_scope.cancel()

    play(virtual_time, scene)
    assert [epoch for epoch, _, _ in stretches] == [1, 2]
    (_, first_s, lost_s), (_, again_s, end_s) = stretches
    assert first_s <= 0.1
    assert end_s == pytest.approx(100)
    assert lost_s <= 20 + DEADLINE_S + 0.1
    assert 80 <= again_s <= 82.5
    assert math.isfinite(again_s)
