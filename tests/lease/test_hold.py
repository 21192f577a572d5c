"""`hold` and `try_acquire`, to the letter, on both event loops."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from federlib.errors import InvalidInput, LeaseBusy, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease import (
    Busy,
    HeldLease,
    Holder,
    Lease,
    OnLoss,
    Sessions,
    StoreLeaseBackend,
    hold,
    try_acquire,
)
from federlib.lease.records import waiter_key
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.backends.memory import MemoryStore
from federlib.storage.protocol import Committed, Conflicted, Page, Transaction
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing import LoopClock, ManualClock, virtual_backend

NAME = "n"
THIEF = Holder("thief", "1")


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append((event, fields))

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


class FlakyStore(MemoryStore):
    """A store that can be away, lose its answers, or never give any."""

    is_away = False
    lost_answers = 0
    hangs = 0
    scans = 0

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        self.scans += 1
        return await super().scan(prefix, after=after, limit=limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.is_away:
            raise Unavailable("store", "cut off")
        if self.hangs > 0:
            self.hangs -= 1
            await anyio.sleep_forever()
        done = await super().commit(transaction)
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise OutcomeUnknown("commit", transaction_id=transaction.id, reason="lost")
        return done


class World:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = FlakyStore(clock)
        self.backend = StoreLeaseBackend(self.store, clock, SkewTolerance())
        self.sink, self.log = RecordingSink(), Log()
        self.telemetry = Telemetry(metrics=self.sink, logger=self.log)
        self.sessions = Sessions("7")

    def hold(
        self,
        who: str = "ada",
        *,
        ttl_s: float = 0.6,
        wait_s: float | None = None,
        on_loss: OnLoss = "cancel",
    ) -> AbstractAsyncContextManager[HeldLease]:
        return hold(
            self.backend,
            NAME,
            holder_id=who,
            clock=self.clock,
            ttl_s=ttl_s,
            wait_s=wait_s,
            on_loss=on_loss,
            sessions=self.sessions,
            telemetry=self.telemetry,
        )

    async def steal(self) -> None:
        """Take the lease away as a rival would that judged it expired."""
        lease = (await self.backend.inspect(NAME)).lease
        assert lease is not None
        await self.backend.release(lease)
        assert isinstance(await self.backend.acquire(NAME, THIEF, ttl_s=60), Lease)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run these in virtual time: leases run out, and nobody waits for it."""
    return virtual_backend(request.param)


@pytest.fixture
def world() -> World:
    return World(LoopClock())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def still(clock: ManualClock) -> World:
    """Return a world whose clock stands still unless the test moves it."""
    return World(clock)


@pytest.mark.anyio
async def test_the_body_has_the_lease_and_afterwards_it_is_free(world: World) -> None:
    async with world.hold() as lease:
        assert (lease.name, lease.holder_id, lease.token, lease.ttl_s) == (NAME, "ada", 1, 0.6)
        assert not lease.lost
        assert 0 < lease.remaining_s() <= 0.54
        lease.check()
        assert (await world.backend.inspect(NAME)).lease == lease.lease
        assert world.sink.value("chronowatch_lease_held_gauge", name=NAME) == 1
    state = await world.backend.inspect(NAME)
    assert (state.lease, state.fencing_token) == (None, 1)
    assert world.sink.value("chronowatch_lease_held_gauge", name=NAME) == 0
    assert world.sink.value("chronowatch_lease_acquire_total", result="acquired") == 1
    events = [(name, fields) for name, fields in world.log.events if name != "lease_renewed"]
    same = {"lease_name": NAME, "holder_id": "ada", "token": 1}
    assert events == [("lease_acquired", same), ("lease_released", same)]
    with pytest.raises(LeaseLost, match="released"):
        lease.check()


@pytest.mark.anyio
async def test_it_is_renewed_for_as_long_as_the_body_runs(world: World) -> None:
    async with world.hold(ttl_s=0.3) as lease:
        await anyio.sleep(0.8)
        lease.check()
        assert isinstance(await world.backend.acquire(NAME, THIEF, ttl_s=1), Busy)
    assert world.log.names().count("lease_renewed") >= 4


@pytest.mark.anyio
async def test_left_when_its_renewal_is_due_it_is_only_released(
    still: World, clock: ManualClock
) -> None:
    async with still.hold(ttl_s=10):
        # Its keeper has not had a turn yet.
        clock.advance(5)
    assert still.log.names() == ["lease_acquired", "event_loop_blocked", "lease_released"]


@pytest.mark.anyio
async def test_left_while_a_renewal_hangs_it_is_released_at_once(world: World) -> None:
    async with world.hold(ttl_s=9):
        world.store.hangs = 1
        await anyio.sleep(4)
        assert world.store.hangs == 0
        left_at = anyio.current_time()
    assert anyio.current_time() - left_at < 0.1
    assert (await world.backend.inspect(NAME)).lease is None


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, ExceptionGroup])
async def test_the_bodys_own_exception_leaves_as_the_same_object(
    world: World, kind: type[BaseException]
) -> None:
    error = ExceptionGroup("g", [OSError()]) if kind is ExceptionGroup else kind("mine")
    with pytest.raises(kind) as caught:
        async with world.hold():
            raise error
    assert caught.value is error
    assert (await world.backend.inspect(NAME)).lease is None


@pytest.mark.anyio
async def test_a_loss_cancels_the_body_and_says_who_has_it_now(world: World) -> None:
    reached = False
    with pytest.raises(LeaseLost, match="thief holds it") as caught, anyio.fail_after(5):
        async with world.hold(ttl_s=0.3):
            await world.steal()
            await anyio.sleep_forever()
            reached = True
    assert not reached
    assert (caught.value.name, caught.value.token) == (NAME, 1)
    state = await world.backend.inspect(NAME)
    assert state.lease is not None
    assert state.lease.holder_id == "thief"
    assert "lease_lost" in world.log.names()
    assert "lease_released" not in world.log.names()


@pytest.mark.anyio
async def test_an_exception_that_the_body_makes_of_the_loss_leaves_unchanged(world: World) -> None:
    with pytest.raises(KeyError), anyio.fail_after(5):
        async with world.hold(ttl_s=0.3):
            await world.steal()
            try:
                await anyio.sleep_forever()
            finally:
                raise KeyError("mine")


@pytest.mark.anyio
async def test_outer_cancellation_wins_over_the_loss(still: World, clock: ManualClock) -> None:
    after = False
    with anyio.CancelScope() as scope:
        async with still.hold():
            clock.advance(10)
            scope.cancel()
            await anyio.sleep_forever()
        after = True
    assert scope.cancelled_caught
    assert not after


@pytest.mark.anyio
async def test_outer_cancellation_after_the_loss_was_delivered_wins_too(
    still: World, clock: ManualClock
) -> None:
    with anyio.CancelScope() as scope:
        async with still.hold():
            clock.advance(10)
            try:
                await anyio.sleep_forever()
            finally:
                scope.cancel()
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_cancelled_from_outside_it_releases(world: World) -> None:
    with anyio.move_on_after(0.05):
        async with world.hold():
            await anyio.sleep_forever()
    assert (await world.backend.inspect(NAME)).lease is None


@pytest.mark.anyio
async def test_past_its_deadline_it_is_lost_at_once_without_any_await(
    still: World, clock: ManualClock
) -> None:
    held = await try_acquire(still.backend, NAME, holder_id="ada", clock=clock, ttl_s=10)
    assert isinstance(held, HeldLease)
    clock.advance(8.999)
    held.check()
    assert held.remaining_s() == pytest.approx(0.001)
    clock.advance(0.001)
    with pytest.raises(LeaseLost):
        held.check()
    assert held.lost
    assert held.remaining_s() == 0


@pytest.mark.anyio
async def test_a_suspended_machine_wakes_up_without_the_lease(
    still: World, clock: ManualClock
) -> None:
    with pytest.raises(LeaseLost), anyio.fail_after(5):
        async with still.hold() as lease:
            clock.suspend(60)
            assert lease.lost
            await anyio.sleep_forever()
    assert "event_loop_blocked" in still.log.names()
    assert still.sink.value("federlib_event_loop_blocked_total") == 1


@pytest.mark.anyio
async def test_a_body_that_never_looked_learns_of_the_loss_at_its_end(
    still: World, clock: ManualClock
) -> None:
    with pytest.raises(LeaseLost):
        async with still.hold():
            clock.advance(10)


@pytest.mark.anyio
async def test_marked_the_body_goes_on_and_nothing_is_raised(
    still: World, clock: ManualClock
) -> None:
    async with still.hold(on_loss="mark") as lease:
        clock.advance(10)
        await anyio.sleep(0.2)
        assert lease.lost
        with pytest.raises(LeaseLost):
            lease.check()


@pytest.mark.anyio
async def test_a_store_that_is_away_costs_the_lease_before_the_ttl(world: World) -> None:
    began = world.clock.boot_ns()
    with pytest.raises(LeaseLost, match="not renewed") as caught, anyio.fail_after(5):
        async with world.hold(ttl_s=0.6):
            world.store.is_away = True
            await anyio.sleep_forever()
    assert isinstance(caught.value.__cause__, Unavailable)
    assert world.clock.boot_ns() - began < 600_000_000


@pytest.mark.anyio
async def test_a_short_outage_and_lost_answers_are_survived(world: World) -> None:
    async with world.hold(ttl_s=0.9) as lease:
        world.store.is_away = True
        await anyio.sleep(0.45)
        world.store.is_away = False
        world.store.lost_answers = 2
        await anyio.sleep(0.8)
        lease.check()
        world.store.lost_answers = 4
    assert (await world.backend.inspect(NAME)).lease is None


@pytest.mark.anyio
async def test_two_holds_of_one_process_exclude_each_other_and_take_turns(world: World) -> None:
    inside, tokens = 0, []

    async def work() -> None:
        nonlocal inside
        async with world.hold(ttl_s=5) as lease:
            inside += 1
            assert inside == 1
            tokens.append(lease.token)
            await anyio.sleep(0.01)
            inside -= 1

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(work)
    assert tokens == list(range(1, 9))


@pytest.mark.anyio
async def test_a_release_is_heard_at_once_by_the_head_alone(world: World) -> None:
    order: list[str] = []

    async def wait(who: str) -> None:
        async with world.hold(who, ttl_s=30):
            order.append(who)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group, world.hold("zoe", ttl_s=30):
            for who in ("ada", "ben", "cy"):
                group.start_soon(wait, who)
                while who not in (await world.backend.inspect(NAME)).waiters:
                    await anyio.sleep(0.01)
            released = world.clock.boot_ns()
    assert order == ["ada", "ben", "cy"]
    assert world.clock.boot_ns() - released < 500_000_000


@pytest.mark.anyio
async def test_a_handover_costs_at_most_one_scan_however_long_the_queue_is(world: World) -> None:
    crowd = [f"w{number}" for number in range(12)]

    async def wait(who: str) -> None:
        async with world.hold(who, ttl_s=30):
            pass

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group, world.hold("zoe", ttl_s=30):
            for who in crowd:
                group.start_soon(wait, who)
            while len((await world.backend.inspect(NAME)).waiters) < len(crowd):
                await anyio.sleep(0.01)
            # The last to come may still be reading who else is there.
            before = -1
            while before != world.store.scans:
                before = world.store.scans
                await anyio.sleep(0.1)
    assert world.store.scans - before <= len(crowd) + 1


@pytest.mark.anyio
async def test_what_a_group_in_the_body_raises_beside_the_loss_is_not_lost(world: World) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("mine")

    with pytest.raises(ExceptionGroup) as caught, anyio.fail_after(5):
        async with world.hold(ttl_s=0.3):
            await world.steal()
            async with anyio.create_task_group() as group:
                group.start_soon(fail_when_cancelled)
                await anyio.sleep_forever()
    assert caught.group_contains(KeyError)


@pytest.mark.anyio
@pytest.mark.parametrize("wait_s", [0, 0.1])
async def test_not_acquired_in_time_raises_and_leaves_no_trace(world: World, wait_s: float) -> None:
    async with world.hold("zoe", ttl_s=30):
        with pytest.raises(LeaseBusy) as caught:
            async with world.hold(wait_s=wait_s):
                pytest.fail("entered")
        assert (caught.value.name, caught.value.holder) == (NAME, "zoe")
        assert caught.value.wait_s == wait_s
        assert (await world.backend.inspect(NAME)).waiters == ()
    assert world.sink.value("chronowatch_lease_acquire_total", result="busy") == 1


@pytest.mark.anyio
async def test_cancelled_while_waiting_it_leaves_the_queue(world: World) -> None:
    async with world.hold("zoe", ttl_s=30):
        with anyio.move_on_after(0.1) as scope:
            async with world.hold():
                pytest.fail("entered")
        assert scope.cancelled_caught
        key = waiter_key(NAME, Holder("ada", "7.2"))
        assert await world.store.get(key) is None
    assert world.sink.value("chronowatch_lease_acquire_total", result="cancelled") == 1


@pytest.mark.anyio
async def test_granted_unheard_it_is_given_back(world: World) -> None:
    world.store.lost_answers = 3
    answer = None
    with pytest.raises(OutcomeUnknown):
        answer = await try_acquire(world.backend, NAME, holder_id="ada", clock=world.clock)
    assert answer is None
    state = await world.backend.inspect(NAME)
    assert (state.lease, state.fencing_token) == (None, 1)


@pytest.mark.anyio
async def test_waiting_outlives_an_outage(world: World) -> None:
    world.store.is_away = True

    async def come_back() -> None:
        await anyio.sleep(0.15)
        world.store.is_away = False

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(come_back)
            async with world.hold() as lease:
                assert lease.token == 1
    assert "lease_backend_unavailable" in world.log.names()


@pytest.mark.anyio
async def test_a_backend_that_never_answered_is_not_called_busy(world: World) -> None:
    world.store.is_away = True
    with pytest.raises(Unavailable):
        async with world.hold(wait_s=0.1):
            pytest.fail("entered")


@pytest.mark.anyio
async def test_a_dead_holder_is_followed_within_half_a_second_of_its_ttl(world: World) -> None:
    dead = await world.backend.acquire(NAME, THIEF, ttl_s=0.5)
    assert isinstance(dead, Lease)
    with anyio.fail_after(5):
        async with world.hold() as lease:
            followed = world.clock.boot_ns()
            assert lease.token == 2
    assert 0 <= followed - dead.renewed_boot_ns - 500_000_000 < 500_000_000


@pytest.mark.anyio
async def test_a_dead_head_of_the_queue_is_passed_after_its_grace(world: World) -> None:
    lease = await world.backend.acquire(NAME, THIEF, ttl_s=30)
    assert isinstance(lease, Lease)
    await world.backend.acquire(NAME, Holder("dead", "1"), ttl_s=30, queue=True)

    async def release_later() -> None:
        while "ada" not in (await world.backend.inspect(NAME)).waiters:
            await anyio.sleep(0.01)
        await world.backend.release(lease)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(release_later)
            began = world.clock.boot_ns()
            async with world.hold(ttl_s=30):
                took_s = (world.clock.boot_ns() - began) / 1e9
    assert 0.5 <= took_s < 1.0


@pytest.mark.anyio
async def test_try_acquire_gives_a_kept_lease_or_says_who_has_it(world: World) -> None:
    held = await try_acquire(world.backend, NAME, holder_id="ada", clock=world.clock, ttl_s=0.3)
    assert isinstance(held, HeldLease)
    async with held as lease:
        assert lease is held
        busy = await try_acquire(world.backend, NAME, holder_id="ben", clock=world.clock)
        assert isinstance(busy, Busy)
        assert busy.holder == "ada"
        await anyio.sleep(0.5)
        lease.check()
    assert (await world.backend.inspect(NAME)).lease is None
    with pytest.raises(InvalidInput):
        await held.__aenter__()


@pytest.mark.anyio
async def test_entered_too_late_it_is_lost(still: World, clock: ManualClock) -> None:
    held = await try_acquire(still.backend, NAME, holder_id="ada", clock=clock)
    assert isinstance(held, HeldLease)
    clock.advance(15)
    with pytest.raises(LeaseLost):
        await held.__aenter__()


@pytest.mark.anyio
async def test_a_forked_child_has_no_lease_and_never_releases(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()
    with pytest.raises(LeaseLost, match="fork"):
        async with world.hold(ttl_s=30) as lease:
            monkeypatch.setattr(os, "getpid", lambda: parent + 1)
            assert lease.lost
            assert lease.remaining_s() == 0
    monkeypatch.undo()
    state = await world.backend.inspect(NAME)
    assert state.lease is not None
    assert state.is_live


@pytest.mark.anyio
@pytest.mark.parametrize("wait_s", [-1, float("nan"), float("inf")])
async def test_a_wait_that_cannot_be_is_refused(world: World, wait_s: float) -> None:
    with pytest.raises(InvalidInput, match="wait_s"):
        world.hold(wait_s=wait_s)


def test_sessions_differ_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(3)
    assert [sessions.draw(), sessions.draw()] == ["3.1", "3.2"]
    monkeypatch.setattr(os, "getpid", lambda: 42)
    assert sessions.draw() == "3.fork-42.3"
