"""What users of etcd, Kubernetes and ZooKeeper complained of: locks and elections of servers.

Each docstring names the issue, says what was seen there, and why it cannot happen here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from federlib import Federation
from federlib.errors import (
    FederlibError,
    LeaseLost,
    NotLeader,
    OutcomeUnknown,
    StaleToken,
    StoreFull,
    Unavailable,
)
from federlib.fencing import FenceGuard
from federlib.leadership import LeaderState
from federlib.lease import Busy, HeldLease, OnLoss
from federlib.skewclock import SystemClock
from federlib.storage import Conflicted, Mismatch, Put, Transaction
from federlib.testing import ManualClock, SkewedClock

from .world import LIMIT_S, World, in_world, touches, until

CLEAR_TTL_S = 2.0
"""Who lost a lease stops 0.1 ttl before another may begin: more than a busy machine is late."""

pytestmark = pytest.mark.anyio

LEASE = touches("lease/x/lease")


async def taken(fed: Federation, name: str, *, above: int = 0) -> int:
    """Wait until a lease is live under a higher token, and return that."""
    with anyio.fail_after(LIMIT_S):
        while not (state := await fed.inspect(name)).is_live or state.fencing_token <= above:
            await anyio.sleep(0.01)
    return state.fencing_token


async def waits(fed: Federation, name: str, count: int = 1) -> None:
    """Wait until so many stand in the queue of a lease."""
    with anyio.fail_after(LIMIT_S):
        while len((await fed.inspect(name)).waiters) < count:
            await anyio.sleep(0.01)


@in_world
async def test_etcd_11456_a_grant_that_is_heard_of_too_late_is_no_lease(world: World) -> None:
    """etcd-io/etcd#11456.

    A client waited for a lock; when it was told that it had it, its own lease had run out
    meanwhile, and two worked at once. Here the holder counts from before it asked: an answer
    that comes too late is no grant, and it asks again.
    """
    entered: list[tuple[str, int]] = []
    go, done = anyio.Event(), anyio.Event()
    door = await world.door()

    async def hold(fed: Federation, who: str) -> None:
        async with fed.hold("x") as lease:
            lease.check()
            entered.append((who, lease.token))
            if who == "quick":
                await done.wait()

    async def late(sent: Transaction) -> None:
        if LEASE(sent):
            with anyio.CancelScope(shield=True):
                await go.wait()

    async with (
        world.member(door, ttl_s=0.4) as slow,
        world.member(ttl_s=5) as quick,
        anyio.create_task_group() as group,
    ):
        async with quick.hold("x"):
            door.after = late
            group.start_soon(hold, slow, "slow")
            await waits(quick, "x")
        # Granted, and nobody has told it yet.
        assert await taken(quick, "x", above=1) == 2
        group.start_soon(hold, quick, "quick")
        await until(lambda: entered, "the next holder")
        go.set()
        await until(lambda: len(door.sent(touches("/wait/"))) > 1, "its second try")
        done.set()
    assert entered == [("quick", 3), ("slow", 4)]


@in_world
async def test_etcd_9921_who_waits_longer_than_its_ttl_gets_a_whole_lease(world: World) -> None:
    """etcd-io/etcd#9921.

    A client asked with a ttl of five seconds for a lock that was held for twenty; its lease
    ran out in the queue, and then it was given the lock. Here waiting and holding are two
    records: the lease begins with its grant.
    """
    async with world.member(ttl_s=10) as first, world.member(ttl_s=0.5) as second:
        found: list[HeldLease] = []

        async def wait() -> None:
            async with second.hold("x") as lease:
                lease.check()
                assert lease.remaining_s() > 0
                assert (await second.inspect("x")).is_live
                found.append(lease)

        async with anyio.create_task_group() as group, first.hold("x"):
            group.start_soon(wait)
            await waits(first, "x")
            await anyio.sleep(1.1)  # twice its ttl, which is the case
            released_ns = SystemClock().wall_ns()
    assert found[0].token == 2
    assert found[0].lease.acquired_at >= released_ns


@pytest.mark.parametrize("on_loss", ["cancel", "mark"])
@in_world
async def test_etcd_10811_after_a_partition_one_of_two_believers_is_obeyed(
    world: World, on_loss: OnLoss
) -> None:
    """etcd-io/etcd#10811.

    A holder was cut off from the lock service, not from the storage: its lock went to
    another, and both wrote. Here it stops by its own clock before another may begin; and
    where it does not, the storage refuses the lower token.
    """
    clock, door = SystemClock(), await world.door()
    wrote: list[tuple[int, int]] = []
    stopped_ns = refused = 0

    async def write(token: int) -> None:
        await FenceGuard(storage, "report").transaction(token, (Put("report", b"%d" % token),))
        wrote.append((token, clock.boot_ns()))

    async def work(fed: Federation) -> None:
        nonlocal stopped_ns, refused
        try:
            async with fed.hold("x", on_loss=on_loss) as lease:
                while True:
                    await write(lease.token)
                    await anyio.sleep(0.01)
        except (LeaseLost, StaleToken) as end:
            refused += isinstance(end, StaleToken)
        stopped_ns = clock.boot_ns()

    storage = await world.open()
    async with (
        world.member(door, ttl_s=CLEAR_TTL_S) as old,
        world.member(ttl_s=5) as new,
        anyio.create_task_group() as group,
    ):
        group.start_soon(work, old)
        await until(lambda: wrote)
        door.cut()
        async with new.hold("x") as lease:
            began_ns = clock.boot_ns()
            await write(lease.token)
            await until(lambda: stopped_ns)
            door.heal()
    tokens = [token for token, _ in wrote]
    assert tokens == sorted(tokens)
    assert (tokens[0], tokens[-1]) == (1, 2)
    if on_loss == "cancel":
        assert stopped_ns < began_ns
    assert refused == (on_loss == "mark")


def unavailable(sent: Transaction) -> Conflicted:
    raise Unavailable("store", "no route")


def over_quota(sent: Transaction) -> Conflicted:
    raise StoreFull("store", "over quota")


def no_answer(sent: Transaction) -> Conflicted:
    raise OutcomeUnknown("commit", transaction_id=sent.id, reason="no answer")


def modified(sent: Transaction) -> Conflicted:
    return Conflicted(tuple(Mismatch(check.key, None, 1) for check in sent.checks))


FAULTS = (unavailable, over_quota, no_answer, modified)


async def depose(
    world: World, fault: Callable[[Transaction], Conflicted], order: list[str]
) -> LeaderState:
    """Have a leader's renewals fail until another leads; return what it then is."""
    name, door = fault.__name__, await world.door()

    def lead(who: str) -> Callable[[int], Awaitable[None]]:
        async def work(_epoch: int) -> None:
            order.append(f"{who} begins")
            try:
                await anyio.sleep_forever()
            finally:
                order.append(f"{who} ends")

        return work

    async def refuse(sent: Transaction) -> Conflicted | None:
        return fault(sent) if touches(f"lease/{name}/")(sent) else None

    async with (
        world.member(door, ttl_s=CLEAR_TTL_S) as old,
        world.member(ttl_s=5) as new,
        old.elect(name) as seat,
        anyio.create_task_group() as group,
    ):
        group.start_soon(seat.lead, lead("old"))
        await until(lambda: order)
        door.before = refuse
        async with new.elect(name) as other:
            group.start_soon(other.lead, lead("new"))
            await until(lambda: "new begins" in order)
            with pytest.raises((NotLeader, LeaseLost)):
                seat.check()
            fallen = seat.state
        door.heal()
        group.cancel_scope.cancel()
    return fallen


@in_world
async def test_kubernetes_23731_a_leader_that_cannot_renew_is_told_whatever_the_error(
    world: World,
) -> None:
    """kubernetes/kubernetes#23731.

    The renewals of a leader were refused, first for a quota and then as modified; another
    led, and the first was never told and went on. Here its own deadline ends its reign, by
    a clock of its own, whatever the answers were.
    """
    fallen: dict[str, LeaderState] = {}
    orders: dict[str, list[str]] = {fault.__name__: [] for fault in FAULTS}

    async def see(fault: Callable[[Transaction], Conflicted]) -> None:
        fallen[fault.__name__] = await depose(world, fault, orders[fault.__name__])

    async with anyio.create_task_group() as group:
        for fault in FAULTS:
            group.start_soon(see, fault)
    for name, order in orders.items():
        assert order[:3] == ["old begins", "old ends", "new begins"], name
        assert fallen[name].role != "leader"
        assert fallen[name].reason


@in_world
async def test_client_go_448_a_dead_holders_lease_is_taken_at_once_whatever_its_clock_said(
    world: World,
) -> None:
    """kubernetes/client-go#448.

    At its start a client always waited for a whole lease, however long the record had been
    expired; its maintainers feared clocks that differ. Here one machine's boot clock decides
    exactly; between machines a wrong clock costs time, and the token decides.
    """
    clock = ManualClock()

    def elsewhere(offset_s: float) -> SkewedClock:
        return SkewedClock(clock, offset_s, clock_id=f"other/{offset_s:g}/")

    async with (
        world.member(clock=clock, ttl_s=10) as dead,
        world.member(clock=clock, ttl_s=10) as here,
        world.member(clock=elsewhere(-3600), skew_tolerance_s=2, ttl_s=10) as behind,
        world.member(clock=elsewhere(3600), skew_tolerance_s=2, ttl_s=10) as ahead,
    ):

        async def take(fed: Federation) -> HeldLease:
            got = await fed.try_acquire("x")
            assert isinstance(got, HeldLease)
            return got

        first = await take(dead)
        clock.advance(9.999)
        assert isinstance(await here.try_acquire("x"), Busy)
        clock.advance(0.001)
        second = await take(here)
        # An hour behind: it waits for ttl and tolerance by what it sees, not for an hour.
        assert isinstance(await behind.try_acquire("x"), Busy)
        clock.advance(11.999)
        assert isinstance(await behind.try_acquire("x"), Busy)
        clock.advance(0.001)
        third = await take(behind)
        # An hour ahead: it takes what lives, and two believe. One is obeyed.
        fourth = await take(ahead)
        third.check()
        guard = here.guard("x")
        await guard.transaction(fourth.token, (Put("effect", b"4"),))
        with pytest.raises(StaleToken):
            await guard.transaction(third.token, (Put("effect", b"3"),))
        held = (first, second, third, fourth)
    assert [lease.token for lease in held] == [1, 2, 3, 4]


@in_world
async def test_kazoo_2_a_session_that_fails_while_holding_is_kept_or_lost_never_between(
    world: World,
) -> None:
    """python-zk/kazoo#2.

    Nobody could say what a holder has after its session failed; some held a lock and
    believed that they did not. Here a short failure keeps lease and token; a long one is a
    loss that says so, and what was lost is there for anybody, the loser too.
    """
    door = await world.door()
    tokens: list[int] = []
    async with world.member(door, ttl_s=0.6) as fed, world.member(ttl_s=5) as other:
        with pytest.raises(LeaseLost) as lost:
            async with fed.hold("x") as lease:
                door.cut()
                await until(lambda: door.refused)
                door.heal()
                renewals = len(door.sent(LEASE))
                await until(lambda: len(door.sent(LEASE)) > renewals, "a renewal")
                lease.check()
                tokens.append(lease.token)
                door.cut()
                await anyio.sleep_forever()
        assert isinstance(lost.value.__cause__, FederlibError)
        door.heal()
        for member in (fed, other, fed):
            async with member.hold("x", wait_s=LIMIT_S) as again:
                tokens.append(again.token)
        assert (await other.inspect("x")).lease is None
    assert tokens == [1, 2, 3, 4]
