"""Who is woken and who runs out, with leases in etcd: real servers, and shared leases of etcd."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

import federlib.blocking
from federlib.errors import Conflict, InvalidInput, LeaseBusy
from federlib.identity import IdentityStore
from federlib.lease import Busy, Holder, Lease, hold
from federlib.lease.backends.etcd import EtcdLeaseBackend
from federlib.lease.records import MAX_TOKEN
from federlib.skewclock import SystemClock
from federlib.testing.history import Recorder
from federlib.testing.servers import EtcdCluster
from federlib.testing.servers import etcd_server as run_etcd
from lease.test_etcd_faults import ADA, BEN, opened, take
from storage.etcd_lab import add_users, new_prefix, new_url

_PATIENCE_S = 60.0


@pytest.mark.anyio
async def test_a_release_wakes_whoever_is_next_and_nobody_else(etcd_server: EtcdCluster) -> None:
    url = new_url(etcd_server)
    recorder = Recorder(SystemClock().boot_ns)
    order: list[str] = []

    def asked() -> list[str]:
        return [call.process for call in recorder.history().operations if call.verb == "acquire"]

    async def stand(backend: EtcdLeaseBackend, who: str) -> None:
        seen = recorder.leases(backend, who)
        async with hold(seen, "job", holder_id=who, clock=SystemClock(), ttl_s=60.0):
            order.append(who)
            await anyio.sleep_forever()

    async with AsyncExitStack() as stack, opened(url) as first:
        held = await take(first, ADA, ttl_s=60.0)
        async with anyio.create_task_group() as tasks:
            for index in range(6):
                backend = await stack.enter_async_context(opened(url))
                tasks.start_soon(stand, backend, f"w{index}")
                with anyio.fail_after(_PATIENCE_S):
                    while len((await first.inspect("job")).waiters) <= index:
                        await anyio.sleep(0.02)
            # The last one's stream is open by now.
            await anyio.sleep(0.5)
            before = len(asked())
            began = anyio.current_time()
            await first.release(held)
            with anyio.fail_after(_PATIENCE_S):
                while not order:
                    await anyio.sleep(0.005)
            # Long before it would have asked by itself.
            assert anyio.current_time() - began < 3.0
            await anyio.sleep(0.3)
            assert order == ["w0"]
            assert asked()[before:] == ["w0"]
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_head_that_does_not_come_is_skipped_after_its_grace(
    etcd_server: EtcdCluster,
) -> None:
    async with opened(new_url(etcd_server)) as backend:
        lease = await take(backend, ADA, ttl_s=30.0)
        ghost, cy = Holder("ghost", "1"), Holder("cy", "1")
        assert isinstance(await backend.acquire("job", ghost, ttl_s=30.0, queue=True), Busy)
        assert isinstance(await backend.acquire("job", cy, ttl_s=30.0, queue=True), Busy)
        await backend.release(lease)
        refused = await backend.acquire("job", cy, ttl_s=30.0, queue=True)
        assert isinstance(refused, Busy)
        assert refused.retry_in_s <= 0.5
        await anyio.sleep(refused.retry_in_s + 0.02)
        got = await backend.acquire("job", cy, ttl_s=30.0, queue=True)
        assert isinstance(got, Lease)
        assert (await backend.inspect("job")).waiters == ()


@pytest.mark.anyio
async def test_one_that_waits_behind_a_ghost_gets_it_when_the_grace_is_over(
    etcd_server: EtcdCluster,
) -> None:
    async with opened(new_url(etcd_server)) as backend:
        lease = await take(backend, ADA, ttl_s=60.0)
        ghost = Holder("ghost", "1")
        assert isinstance(await backend.acquire("job", ghost, ttl_s=60.0, queue=True), Busy)
        async with anyio.create_task_group() as tasks:
            got = anyio.Event()

            async def wait() -> None:
                async with hold(backend, "job", holder_id="cy", clock=SystemClock(), ttl_s=60.0):
                    got.set()

            tasks.start_soon(wait)
            with anyio.fail_after(_PATIENCE_S):
                while len((await backend.inspect("job")).waiters) < 2:
                    await anyio.sleep(0.02)
            await anyio.sleep(0.3)
            await backend.release(lease)
            # Its place need not be refreshed for a third of 20 s.
            with anyio.fail_after(5.0):
                await got.wait()


@pytest.mark.anyio
async def test_a_silent_hold_runs_out_although_another_of_its_process_is_renewed(
    etcd_server: EtcdCluster,
) -> None:
    url = new_url(etcd_server)
    async with opened(url) as backend, opened(url) as other:
        silent = await backend.acquire("silent", ADA, ttl_s=2.0)
        kept = await take(backend, ADA)
        assert isinstance(silent, Lease)
        for _ in range(6):
            await anyio.sleep(0.5)
            renewed = await backend.renew(kept)
            assert isinstance(renewed, Lease)
        # Asked of another process: whoever shares with it has no part in that.
        assert not (await other.inspect("silent")).is_live
        assert (await other.inspect("job")).lease == renewed


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("ttl_s", "told"), [(2.5, "3 instead"), (1.0, "at least 2 s"), (0.5, "1 instead")]
)
async def test_a_ttl_that_etcd_would_change_is_refused(
    etcd_server: EtcdCluster, ttl_s: float, told: str
) -> None:
    async with opened(new_url(etcd_server)) as backend:
        with pytest.raises(InvalidInput, match=told):
            await backend.acquire("job", ADA, ttl_s=ttl_s)
        assert await backend.names() == []


@pytest.mark.anyio
async def test_names_long_free_are_forgotten_and_tokens_rise_all_the_same(
    etcd_server: EtcdCluster,
) -> None:
    async with opened(new_url(etcd_server)) as backend:
        last = 0
        for _ in range(3):
            lease = await take(backend, ADA)
            last = lease.fencing_token
            await backend.release(lease)
        now_ns = SystemClock().wall_ns()
        assert await backend.collect(now_ns) == 0
        assert await backend.names() == ["job"]
        assert await backend.collect(now_ns + 90_000 * 10**9) == 1
        assert await backend.names() == []
        lease = await take(backend, BEN)
        assert lease.fencing_token > last
        # Held, it is never forgotten; run out, first of all it becomes known as free.
        assert await backend.collect(now_ns + 90_000 * 10**9) == 0
        await anyio.sleep(3.0)
        assert await backend.collect(now_ns + 90_000 * 10**9) == 0
        assert (await backend.inspect("job")).fencing_token == lease.fencing_token
        assert await backend.collect(now_ns + 180_000 * 10**9) == 1


@pytest.mark.anyio
async def test_a_floor_lifts_every_later_token_and_never_falls(etcd_server: EtcdCluster) -> None:
    url = new_url(etcd_server)
    async with opened(url) as backend, opened(url) as other:
        before = await take(backend, ADA)
        await backend.release(before)
        await other.raise_floor(10**9)
        await other.raise_floor(10)
        assert await backend.floor() == 10**9
        # It had learnt another floor.
        lease = await take(backend, ADA)
        assert lease.fencing_token > 10**9
        await other.raise_floor(MAX_TOKEN)
        assert isinstance(await backend.renew(lease), Lease)
        assert (await other.inspect("job")).fencing_token == lease.fencing_token
        await backend.release(lease)
        with pytest.raises(Conflict):
            await take(other, BEN)


def test_threads_hold_renew_and_release(etcd_server: EtcdCluster, tmp_path: Path) -> None:
    url, identities = new_url(etcd_server), IdentityStore(tmp_path / "identities")
    with federlib.blocking.connect(url, identity=identities) as fed:
        with fed.hold("x", ttl_s=2) as lease:
            anyio.run(anyio.sleep, 3.0)
            lease.check()
            with pytest.raises(LeaseBusy), fed.hold("x", ttl_s=2, wait_s=0.2):
                pytest.fail("entered")
            assert fed.inspect("x").is_live
        assert not fed.inspect("x").is_live
        with fed.hold("x", ttl_s=2, wait_s=5) as again:
            assert again.token > lease.token


@pytest.mark.anyio
async def test_a_user_who_may_do_all_below_the_prefix_can_lease() -> None:
    prefix = new_prefix()
    with run_etcd() as cluster:
        add_users(cluster, ["ada"], prefix=prefix, password="pw")
        url = f"{cluster.url}?prefix={prefix}".replace("://", "://ada:pw@")
        async with opened(url) as backend:
            lease = await take(backend, ADA)
            assert isinstance(await backend.acquire("job", BEN, ttl_s=2.0, queue=True), Busy)
            assert isinstance(await backend.renew(lease), Lease)
            async with backend.watch("job") as states:
                assert (await anext(states)).waiters == ("ben",)
                await backend.release(lease)
                with anyio.fail_after(_PATIENCE_S):
                    assert (await anext(states)).lease is None
