"""Elections as processes live them: on both stores, on both event loops, by the real clock."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from federlib.errors import InvalidInput, LeaseLost, NotLeader, StaleToken, Unavailable
from federlib.fencing import FenceGuard
from federlib.leadership import Elector, LeaderGate, LeaderState
from federlib.leadership.elector import LEADER_CHANGES, LEADER_EPOCH, Admit
from federlib.lease import HeldLease, Holder, Lease, Sessions, StoreLeaseBackend, hold
from federlib.skewclock import SkewTolerance, SystemClock
from federlib.storage import RecordStore, open_store
from federlib.telemetry import RecordingSink, Telemetry
from federlib.testing.store_view import StoreView

pytestmark = pytest.mark.anyio

NAME = "coordinator"
TTL_S = 0.3
PATIENCE_S = 10.0


class Node:
    """One process: its way to the store, its clocks, its seat."""

    def __init__(self, who: str, store: RecordStore, *, ttl_s: float, admit: bool = False) -> None:
        self.who = who
        self.store = StoreView(store)
        self.clock = SystemClock()
        self.backend = StoreLeaseBackend(self.store, self.clock, SkewTolerance())
        self.sessions = Sessions(who)
        self.sink = RecordingSink()
        self.ttl_s = ttl_s
        self.held: list[HeldLease] = []
        self.guard = FenceGuard(self.store, NAME)
        raise_fence: Admit | None = self.guard.admit if admit else None
        self.seat = Elector(
            NAME,
            backend=self.backend,
            hold=self.hold,
            holder_id=who,
            clock=self.clock,
            admit=raise_fence,
            telemetry=Telemetry(metrics=self.sink),
        )

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[HeldLease]:
        async with hold(
            self.backend,
            name,
            holder_id=self.who,
            clock=self.clock,
            ttl_s=self.ttl_s,
            sessions=self.sessions,
        ) as lease:
            self.held.append(lease)
            yield lease

    async def until(self, fits: Callable[[LeaderState], bool]) -> LeaderState:
        """Wait for a state of ours."""
        with anyio.fail_after(PATIENCE_S):
            async for state in self.seat.changes():
                if fits(state):
                    return state
        raise AssertionError

    async def leads(self) -> LeaderState:
        return await self.until(lambda state: state.role == "leader")

    async def is_robbed(self) -> None:
        """Lose the lease to a rival who judged it expired."""
        held = (await self.backend.inspect(NAME)).lease
        assert held is not None
        await self.backend.release(held)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordStore]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/fleet.db"
    opened = await open_store(url)
    yield opened
    await opened.aclose()


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        for node in nodes:
            group.start_soon(node.seat.run)
        yield
        group.cancel_scope.cancel()


def is_after(epoch: int, state: LeaderState) -> bool:
    return state.epoch > epoch


async def first_leader(*nodes: Node) -> Node:
    found: list[Node] = []
    async with anyio.create_task_group() as group:

        async def look(node: Node) -> None:
            await node.leads()
            found.append(node)
            group.cancel_scope.cancel()

        for node in nodes:
            group.start_soon(look, node)
    return found[0]


# One leader


async def test_of_three_exactly_one_leads_and_the_others_know_who(store: RecordStore) -> None:
    nodes = [Node(who, store, ttl_s=5) for who in ("ada", "bob", "cyd")]
    async with running(*nodes):
        leader = await first_leader(*nodes)
        others = [node for node in nodes if node is not leader]
        for node in others:
            seen = await node.until(lambda state: state.leader is not None)
            assert (seen.role, seen.leader) == ("follower", leader.who)
            assert seen.epoch == leader.seat.check()
        for node in others:
            with pytest.raises(NotLeader) as caught:
                node.seat.check()
            assert (caught.value.role, caught.value.leader) == ("follower", leader.who)


async def test_the_epoch_is_the_token_of_the_lease(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    async with running(node):
        state = await node.leads()
        assert state.epoch == node.seat.check() == node.held[0].token
        assert (await node.backend.inspect(NAME)).fencing_token == state.epoch


async def test_a_leader_that_stops_hands_over_at_once_under_a_higher_epoch(
    store: RecordStore,
) -> None:
    ada, bob = Node("ada", store, ttl_s=60), Node("bob", store, ttl_s=60)
    async with anyio.create_task_group() as group:
        async with running(ada):
            before = (await ada.leads()).epoch
            group.start_soon(bob.seat.run)
            await bob.until(lambda state: state.leader == "ada")
        after = await bob.leads()
        group.cancel_scope.cancel()
    assert after.epoch > before
    assert after.leader == "bob"
    assert ada.seat.state.role == "follower"
    assert ada.seat.state.reason == "stopped"


async def test_an_abandoned_lease_is_followed_after_its_ttl(store: RecordStore) -> None:
    dead, heir = Node("dead", store, ttl_s=TTL_S), Node("heir", store, ttl_s=5)
    # Held by a process that says nothing any more: no renewal, no release.
    abandoned = await dead.backend.acquire(NAME, Holder("dead", "1"), ttl_s=TTL_S)
    assert isinstance(abandoned, Lease)
    began_ns = heir.clock.boot_ns()
    async with running(heir):
        state = await heir.leads()
        took_s = (heir.clock.boot_ns() - began_ns) / 1e9
    assert state.epoch > abandoned.fencing_token
    assert took_s <= TTL_S + 1.5


# `lead`


async def test_lead_runs_the_work_under_our_epoch_and_returns_when_it_returns(
    store: RecordStore,
) -> None:
    node = Node("ada", store, ttl_s=5)
    epochs: list[int] = []

    async def work(epoch: int) -> None:
        assert node.seat.check() == epoch
        epochs.append(epoch)

    async with running(node):
        with anyio.fail_after(PATIENCE_S):
            await node.seat.lead(work)
        assert epochs == [node.seat.state.epoch]


async def test_lead_cancels_the_work_on_loss_and_starts_it_again_with_the_new_epoch(
    store: RecordStore,
) -> None:
    node = Node("ada", store, ttl_s=TTL_S)
    told: list[tuple[str, int]] = []

    async def work(epoch: int) -> None:
        told.append(("began", epoch))
        if len(told) > 2:
            return
        await node.is_robbed()
        try:
            await anyio.sleep(math.inf)
        finally:
            told.append(("cancelled", epoch))

    async with running(node):
        with anyio.fail_after(PATIENCE_S):
            await node.seat.lead(work)
    (_, first), *_, (_, second) = told
    assert told == [("began", first), ("cancelled", first), ("began", second)]
    assert second > first


async def test_an_exception_of_the_work_comes_out_unchanged(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    own = ExceptionGroup("mine", [KeyError("k")])

    async def work(epoch: int) -> None:
        raise own

    async with running(node):
        with pytest.raises(ExceptionGroup) as caught, anyio.fail_after(PATIENCE_S):
            await node.seat.lead(work)
    assert caught.value is own


async def test_work_that_is_refused_by_the_fence_comes_out_as_that(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)

    async def work(epoch: int) -> None:
        await node.guard.admit(epoch + 1)
        await node.guard.transaction(epoch, ())

    async with running(node):
        with pytest.raises(StaleToken), anyio.fail_after(PATIENCE_S):
            await node.seat.lead(work)


async def test_lead_can_be_cancelled_and_the_work_with_it(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    began, ended = anyio.Event(), anyio.Event()

    async def work(epoch: int) -> None:
        began.set()
        try:
            await anyio.sleep(math.inf)
        finally:
            ended.set()

    async with running(node), anyio.create_task_group() as group:
        group.start_soon(node.seat.lead, work)
        with anyio.fail_after(PATIENCE_S):
            await began.wait()
        group.cancel_scope.cancel()
    assert ended.is_set()


# Resigning


async def test_whoever_resigns_stands_at_the_end_of_the_queue(store: RecordStore) -> None:
    ada, bob = Node("ada", store, ttl_s=60), Node("bob", store, ttl_s=60)
    async with running(ada, bob):
        first = await first_leader(ada, bob)
        second = bob if first is ada else ada
        while second.who not in (await first.backend.inspect(NAME)).waiters:
            await anyio.sleep(0.01)
        before = first.seat.check()
        first.seat.resign()
        stepped = await first.until(lambda state: state.role != "leader")
        assert (stepped.role, stepped.reason) == ("follower", "resigned")
        assert (await second.leads()).epoch > before
        seen = await first.until(lambda state: state.leader == second.who)
        assert seen.role == "follower"
        while first.who not in (await second.backend.inspect(NAME)).waiters:
            await anyio.sleep(0.01)
        second.seat.resign()
        assert (await first.leads()).epoch > before + 1


async def test_resigning_without_leading_changes_nothing(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    node.seat.resign()
    async with running(node):
        await node.leads()
        with anyio.move_on_after(0.05):
            await node.until(lambda state: state.role != "leader")
        assert node.seat.state.role == "leader"


# The store is away


async def test_a_follower_without_its_store_observes_and_comes_back_by_itself(
    store: RecordStore,
) -> None:
    ada, bob = Node("ada", store, ttl_s=60), Node("bob", store, ttl_s=60)
    async with running(ada):
        await ada.leads()
        async with running(bob):
            await bob.until(lambda state: state.leader == "ada")
            bob.store.is_cut = True
            gone = await bob.until(lambda state: state.role == "observer")
            assert gone.leader is None
            assert "unavailable" in gone.reason
            with pytest.raises(NotLeader, match="observer"):
                bob.seat.check()
            bob.store.is_cut = False
            back = await bob.until(lambda state: state.leader == "ada")
            assert back.role == "follower"
        assert ada.seat.state.role == "leader"


async def test_a_seat_that_never_reached_its_store_observes_until_it_does(
    store: RecordStore,
) -> None:
    node = Node("ada", store, ttl_s=5)
    node.store.is_cut = True
    async with running(node):
        with anyio.move_on_after(0.3):
            await node.until(lambda state: state.role != "observer")
        assert node.seat.state.role == "observer"
        node.store.is_cut = False
        await node.leads()


async def test_a_leader_cut_off_steps_down_before_its_rival_leads(store: RecordStore) -> None:
    ada, bob = Node("ada", store, ttl_s=TTL_S), Node("bob", store, ttl_s=60)
    stepped_ns: list[int] = []
    async with running(ada), anyio.create_task_group() as standing:
        before = (await ada.leads()).epoch
        standing.start_soon(bob.seat.run)
        await bob.until(lambda state: state.leader == "ada")
        ada.store.is_cut = True
        async with anyio.create_task_group() as group:

            async def watch_fall() -> None:
                await ada.until(lambda state: state.role != "leader")
                stepped_ns.append(ada.clock.boot_ns())
                with pytest.raises(NotLeader):
                    ada.seat.check()

            group.start_soon(watch_fall)
            after = await bob.leads()
            led_ns = bob.clock.boot_ns()
        assert after.epoch > before
        assert stepped_ns[0] <= led_ns
        await ada.until(lambda state: state.role == "observer")
        ada.store.is_cut = False
        back = await ada.until(lambda state: state.leader == "bob")
        assert back.role == "follower"
        standing.cancel_scope.cancel()


async def test_a_short_outage_does_not_depose_the_leader(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    async with running(node):
        before = await node.leads()
        node.store.is_cut = True
        with anyio.move_on_after(0.3):
            await node.until(lambda state: state.role != "leader")
        node.store.is_cut = False
        assert node.seat.check() == before.epoch
        assert node.seat.state == before


async def test_stepping_down_is_told_before_the_release_that_cannot_reach_the_store(
    store: RecordStore,
) -> None:
    node = Node("ada", store, ttl_s=3)
    async with running(node):
        await node.leads()
        node.store.is_cut = True
        node.seat.resign()
        with anyio.fail_after(1):
            stepped = await node.until(lambda state: state.role != "leader")
        assert stepped.reason == "resigned"
        with pytest.raises(NotLeader):
            node.seat.check()
        node.store.is_cut = False


# `check`


async def test_check_knows_of_a_passed_deadline_before_anybody_else(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=TTL_S)
    async with running(node):
        await node.leads()
        node.store.is_cut = True
        deadline_ns = node.clock.boot_ns() + round(2 * TTL_S * 1e9)
        while node.clock.boot_ns() < deadline_ns:
            pass  # The event loop is blocked: no task of ours can notice the loss.
        with pytest.raises(LeaseLost):
            node.seat.check()
        node.store.is_cut = False


async def test_nobody_leads_before_the_seat_is_taken(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    with pytest.raises(NotLeader, match="observer"):
        node.seat.check()
    assert node.seat.state.role == "observer"


# The fence of an election


async def test_the_fence_stands_before_anybody_hears_of_the_new_leader(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5, admit=True)
    async with running(node):
        state = await node.leads()
        assert await node.guard.high_water() == state.epoch
        node.seat.resign()
        after = await node.until(lambda s: s.role == "leader" and s.epoch > state.epoch)
        assert await node.guard.high_water() == after.epoch
        with pytest.raises(StaleToken):
            await node.guard.admit(state.epoch)


async def test_a_fence_ahead_of_the_lease_keeps_us_from_leading_until_we_pass_it(
    store: RecordStore,
) -> None:
    node = Node("ada", store, ttl_s=5, admit=True)
    await node.guard.admit(3)
    led: list[int] = []
    async with running(node):
        led.append((await node.leads()).epoch)
    assert led == [3]
    assert [lease.token for lease in node.held] == [1, 2, 3]
    assert node.sink.value(LEADER_CHANGES.name, name=NAME, role="leader") == 1


async def test_a_fence_that_cannot_be_raised_makes_an_observer(store: RecordStore) -> None:
    reachable = anyio.Event()
    node = Node("ada", store, ttl_s=5)
    tries: list[int] = []

    async def admit(epoch: int) -> None:
        tries.append(epoch)
        if not reachable.is_set():
            raise Unavailable("fence", "cut off")

    node.seat._admit = admit
    async with running(node):
        with anyio.fail_after(PATIENCE_S):
            while len(tries) < 2:
                await anyio.sleep(0.01)
        assert node.seat.state.role != "leader"
        reachable.set()
        assert (await node.leads()).epoch == tries[-1]


# What cannot be


async def test_a_wrong_ttl_comes_out_as_itself(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=-1)
    with pytest.raises(InvalidInput, match="ttl_s"), anyio.fail_after(PATIENCE_S):
        await node.seat.run()


# The stream of changes


async def test_every_listener_hears_the_present_state_first(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    async with running(node):
        await node.leads()
        states = node.seat.changes()
        assert (await anext(states)).role == "leader"
        del states
        gc.collect()
    assert not node.seat._listeners


async def test_a_slow_listener_misses_the_oldest_changes_never_the_newest(
    store: RecordStore,
) -> None:
    node = Node("ada", store, ttl_s=60)
    async with running(node):
        states = node.seat.changes()
        await anext(states)
        for _ in range(40):
            before = (await node.leads()).epoch
            node.seat.resign()
            await node.until(partial(is_after, before))
        newest = node.seat.state
        heard: list[LeaderState] = []
        with anyio.fail_after(PATIENCE_S):
            while not heard or heard[-1] != newest:
                heard.append(await anext(states))
        epochs = [state.epoch for state in heard]
        assert epochs == sorted(epochs)
        assert len(heard) <= 65


async def test_a_cancelled_wait_for_a_change_loses_none(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    states = node.seat.changes()
    await anext(states)
    with anyio.move_on_after(0.01):
        await anext(states)
    async with running(node):
        with anyio.fail_after(PATIENCE_S):
            heard = await anext(states)
            while heard.role != "leader":
                heard = await anext(states)
        assert heard == node.seat.state


async def test_changes_of_role_are_counted(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    async with running(node):
        epoch = (await node.leads()).epoch
    assert node.sink.value(LEADER_CHANGES.name, name=NAME, role="leader") == 1
    assert node.sink.value(LEADER_EPOCH.name, name=NAME) == epoch


# The gate


async def test_the_gate_lets_the_leader_through_with_its_epoch(store: RecordStore) -> None:
    node = Node("ada", store, ttl_s=5)
    refused: list[tuple[str, str]] = []

    async def record(action: str, refusal: Exception) -> None:
        refused.append((action, type(refusal).__name__))

    gate = LeaderGate(node.seat, record)

    async def effect(epoch: int) -> int:
        return epoch

    with pytest.raises(NotLeader):
        await gate.call("stop_lane", effect)
    assert refused == [("stop_lane", "NotLeader")]
    async with running(node):
        await node.leads()
        assert await gate.call("stop_lane", effect) == node.seat.check()
    assert len(refused) == 1


async def test_a_refusal_that_cannot_be_recorded_still_keeps_the_effect_away(
    store: RecordStore,
) -> None:
    done: list[int] = []

    async def record(action: str, refusal: Exception) -> None:
        raise Unavailable("log", "cut off")

    async def effect(epoch: int) -> None:
        done.append(epoch)

    with pytest.raises(Unavailable):
        await LeaderGate(Node("ada", store, ttl_s=5).seat, record).call("stop_lane", effect)
    assert done == []
