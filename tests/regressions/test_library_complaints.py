"""What users of python-redis-lock and portalocker complained of: who renews, and who is told.

Each docstring names the issue, says what was seen there, and why it cannot happen here.
"""

from __future__ import annotations

import signal
import time

import anyio
import pytest

from federlib.errors import LeaseLost, OutcomeUnknown, StaleToken, Unavailable
from federlib.lease import HeldLease
from federlib.storage import Conflicted, Put, Transaction
from federlib.telemetry import RecordingSink, Telemetry

from .world import LIMIT_S, World, in_world, touches, until

pytestmark = pytest.mark.anyio

LEASE = touches("lease/x/lease")


@in_world
async def test_redis_lock_85_a_long_job_on_a_slow_store_keeps_its_short_lease(
    world: World,
) -> None:
    """ionelmc/python-redis-lock#85.

    Jobs of hours held a lock of a minute with renewal; when the server stalled, the release
    at the end raised that nothing was held. Here a renewal is tried until the deadline, an
    answer that is lost is asked for again, and leaving what is lost raises `LeaseLost` only.
    """
    door, calls = await world.door(), 0

    # One renewal fails, the answer of the next is lost, the third takes its time.
    async def slow(sent: Transaction) -> Conflicted | None:
        nonlocal calls
        calls += LEASE(sent)
        await anyio.sleep(0.05)
        if calls % 3 == 1:
            raise Unavailable("store", "a stall")
        return None

    async def forgetful(sent: Transaction) -> None:
        if calls % 3 == 2:
            raise OutcomeUnknown("commit", transaction_id=sent.id, reason="a stall")

    async with world.member(door, ttl_s=0.75) as fed, world.member() as other:
        async with fed.hold("x") as lease:
            door.before, door.after = slow, forgetful
            began = lease.lease.renewed_at
            await until(lambda: lease.lease.renewed_at - began > 1.5 * lease.ttl_s * 1e9)
            lease.check()
            assert (lease.token, calls > 6) == (1, True)
        door.heal()
        state = await other.inspect("x")
    assert (state.lease, state.fencing_token) == (None, 1)


@in_world
async def test_redis_lock_91_a_blocked_loop_loses_its_lease_and_says_so(world: World) -> None:
    """ionelmc/python-redis-lock#91.

    Under gevent a task kept its worker busy, the renewal did not get its turn, the lock ran
    out, and the task went on without it. Here the deadline is a clock and needs no turn:
    the next `check` raises, and the blocked loop is reported.
    """
    sink = RecordingSink()
    member = world.member(ttl_s=0.6, telemetry=Telemetry(metrics=sink))
    async with member as fed, world.member() as rival:
        async with fed.hold("x") as lease:
            time.sleep(0.12)  # a fifth of its ttl costs nothing
            lease.check()
            await until(lambda: lease.remaining_s() > 0.48)
        with pytest.raises(LeaseLost):
            async with fed.hold("x") as lease:
                time.sleep(0.6)
                with pytest.raises(LeaseLost, match="not renewed"):
                    lease.check()
                async with rival.hold("x", wait_s=LIMIT_S) as its:
                    guard = rival.guard("effect")
                    await guard.transaction(its.token, (Put("effect", b"its"),))
                    with pytest.raises(StaleToken):
                        await guard.transaction(lease.token, (Put("effect", b"mine"),))
    assert sink.value("federlib_event_loop_blocked_total") >= 1


@in_world
async def test_portalocker_137_a_holder_that_was_passed_over_never_comes_back_into_it(
    world: World,
) -> None:
    """wolph/portalocker#137.

    A holder that stalled for a second was reaped by killing its connection; its client
    connected again by itself, answered as holder again, and two held the lock. Here what a
    holder has is a token in a record: its late renewal is refused, and it hears so.
    """
    door, ends = await world.door(), list[str]()

    async with world.member(door, ttl_s=0.4) as stalled, world.member(ttl_s=5) as writer:

        async def hold() -> None:
            try:
                async with stalled.hold("x"):
                    await anyio.sleep_forever()
            except LeaseLost as lost:
                ends.append(lost.reason)

        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await until(lambda: door.sent(LEASE))
            # Stopped in the middle of a renewal, and sent again by a patient connection.
            door.freeze_at(LEASE)
            await door.frozen.wait()
            async with writer.hold("x") as lease:
                before = await writer.inspect("x")
                door.thaw()
                await until(lambda: door.conflicts(LEASE) and ends, "the refusal")
                lease.check()
                after = await writer.inspect("x")
            async with stalled.hold("x", wait_s=LIMIT_S) as again:
                assert again.token == 3
    assert (before.fencing_token, after.fencing_token) == (2, 2)
    assert before.lease is not None
    assert after.lease is not None
    assert after.lease.holder_id == before.lease.holder_id == lease.holder_id


@in_world
async def test_portalocker_141_a_failing_keeper_ends_its_own_holder_and_nobody_else(
    world: World,
) -> None:
    """wolph/portalocker#141.

    When the thread behind a lock fell, the whole process was interrupted, waiters too; and
    where SIGINT was ignored not even the holder was told. Here a keeper that falls is the
    loss of its one lease, in the task that holds it; no signal is involved.
    """
    sick, healthy = await world.door(), await world.door()
    beats = 0
    got: list[HeldLease] = []

    async def fall(sent: Transaction) -> Conflicted | None:
        if LEASE(sent):
            raise RuntimeError("a bug of the driver")
        if touches("lease/y/")(sent):
            raise Unavailable("store", "a hiccup")
        return None

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await anyio.sleep(0.01)

    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        async with (
            world.member(sick, ttl_s=0.6) as fed,
            world.member(healthy) as other,
            anyio.create_task_group() as group,
        ):

            async def wait() -> None:
                async with fed.hold("y") as lease:
                    got.append(lease)

            group.start_soon(beat)
            async with other.hold("y"):
                with pytest.raises(LeaseLost, match="keeper failed") as lost:
                    async with fed.hold("x"):
                        group.start_soon(wait)
                        sick.before = fall
                        await anyio.sleep_forever()
                seen = beats
                sick.heal()
            await until(lambda: got and beats > seen, "the waiter")
            group.cancel_scope.cancel()
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert isinstance(lost.value.__cause__, RuntimeError)
    assert got[0].name == "y"
