"""What leases in etcd withstand: members that die, networks, and the clients' clocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from federlib.errors import CorruptRecord, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease import Busy, Holder, Lease, NotHeld, Released, hold
from federlib.lease.backends.etcd import EtcdLeaseBackend, open_backend
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.telemetry import SILENT
from federlib.testing import SkewedClock
from federlib.testing.chaos.hindrance import CLEAR, Hindrance
from federlib.testing.chaos.proxy import FaultProxy
from federlib.testing.history import Recorder, lease_safety
from federlib.testing.servers import EtcdCluster
from storage.etcd_lab import new_url, put_op, write
from storage.etcd_lab import opened as open_etcd

pytestmark = pytest.mark.anyio
_PATIENCE_S = 180.0
ADA, BEN = Holder("ada", "1"), Holder("ben", "1")


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None) -> AsyncIterator[EtcdLeaseBackend]:
    backend = await open_backend(url, clock or SystemClock(), SkewTolerance(), SILENT)
    try:
        yield backend
    finally:
        await backend.aclose()


async def in_thread(work: Callable[[], object]) -> None:
    await anyio.to_thread.run_sync(work)


async def take(backend: EtcdLeaseBackend, holder: Holder, *, ttl_s: float = 2.0) -> Lease:
    answer = await backend.acquire("job", holder, ttl_s=ttl_s)
    assert isinstance(answer, Lease), answer
    return answer


def by(cluster: EtcdCluster, url: str, port: int) -> str:
    return url.replace(cluster.members[0].endpoint, f"127.0.0.1:{port}")


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clients_clock_off_by_an_hour_changes_nothing(
    etcd_server: EtcdCluster, hours: int
) -> None:
    url = new_url(etcd_server)
    wrong = SkewedClock(SystemClock(), offset_s=hours * 3_600.0)
    async with opened(url, wrong) as one, opened(url) as other:
        async with hold(one, "job", holder_id="ada", clock=wrong, ttl_s=2.0) as held:
            for _ in range(6):
                await anyio.sleep(0.5)
                held.check()
                assert isinstance(await other.acquire("job", BEN, ttl_s=2.0), Busy)
        # And the other way round: who dies is followed after its ttl, not an hour later.
        await take(other, BEN)
        assert isinstance(await one.acquire("job", ADA, ttl_s=2.0), Busy)
        await anyio.sleep(3.0)
        assert (await take(one, ADA)).fencing_token > held.token


async def test_a_holder_that_slept_past_its_ttl_learns_that_it_lost(
    etcd_server: EtcdCluster,
) -> None:
    url = new_url(etcd_server)
    async with opened(url) as one, opened(url) as other:
        old = await take(one, ADA)
        await anyio.sleep(3.0)
        new = await take(other, BEN)
        assert await one.renew(old) == NotHeld("job", old.fencing_token, "ben")
        assert await one.release(old) == NotHeld("job", old.fencing_token, "ben")
        assert new.fencing_token > old.fencing_token


async def test_what_was_given_back_is_not_renewed(etcd_server: EtcdCluster) -> None:
    url = new_url(etcd_server)
    async with opened(url) as one, opened(url) as other:
        lease = await take(one, ADA)
        assert await other.release(lease) == Released("job", lease.fencing_token)
        assert await one.renew(lease) == NotHeld("job", lease.fencing_token, None)
        assert (await one.inspect("job")).lease is None


async def test_a_restart_shorter_than_the_ttl_is_survived(etcd_server: EtcdCluster) -> None:
    async with (
        opened(new_url(etcd_server)) as backend,
        hold(backend, "job", holder_id="ada", clock=SystemClock(), ttl_s=6.0) as held,
    ):
        try:
            await in_thread(etcd_server.members[0].kill)
            await anyio.sleep(0.5)
        finally:
            await in_thread(etcd_server.start)
        await anyio.sleep(6.5)
        held.check()


async def test_a_leader_that_is_killed_costs_nobody_a_longer_lease(
    etcd_cluster: EtcdCluster,
) -> None:
    async with (
        opened(new_url(etcd_cluster)) as backend,
        hold(backend, "job", holder_id="ada", clock=SystemClock(), ttl_s=10.0) as held,
    ):
        try:
            await in_thread(lambda: etcd_cluster.leader().kill())
            await anyio.sleep(10.5)
            held.check()
            assert isinstance(await backend.acquire("job", BEN, ttl_s=10.0), Busy)
        finally:
            await in_thread(etcd_cluster.start)


async def test_without_a_quorum_the_holder_stops_in_time_and_the_lease_comes_back(
    etcd_cluster: EtcdCluster,
) -> None:
    async with opened(new_url(etcd_cluster)) as backend:
        began = 0.0
        try:
            with anyio.fail_after(_PATIENCE_S), pytest.raises(LeaseLost):
                async with hold(
                    backend, "job", holder_id="ada", clock=SystemClock(), ttl_s=3.0
                ) as held:
                    for member in etcd_cluster.members[:2]:
                        await in_thread(member.kill)
                    began = anyio.current_time()
                    try:
                        await anyio.sleep_forever()
                    finally:
                        # The deadline lies at 0.9 ttl behind the last renewal.
                        assert anyio.current_time() - began < 3.0
        finally:
            await in_thread(etcd_cluster.start)
        with anyio.fail_after(_PATIENCE_S):
            async with hold(
                backend, "job", holder_id="ben", clock=SystemClock(), ttl_s=3.0
            ) as again:
                assert again.token > held.token


async def test_killed_leaders_never_make_two_holders(etcd_cluster: EtcdCluster) -> None:
    url = new_url(etcd_cluster)
    recorder = Recorder(SystemClock().boot_ns)
    grants: list[int] = []
    is_over = anyio.Event()
    async with opened(url) as one, opened(url) as other:

        async def work(backend: EtcdLeaseBackend, who: str) -> None:
            leases, i = recorder.leases(backend, who), 0
            while not is_over.is_set():
                i += 1
                try:
                    async with hold(
                        leases, "job", holder_id=f"{who}.{i}", clock=SystemClock(), ttl_s=2.0
                    ) as held:
                        recorder.accepted("job", held.holder_id, held.token)
                        grants.append(held.token)
                        await anyio.sleep(0.01)
                except (Unavailable, OutcomeUnknown, LeaseLost):
                    await anyio.sleep(0.02)

        try:
            with anyio.fail_after(_PATIENCE_S):
                async with anyio.create_task_group() as tasks:
                    for who, backend in (("a", one), ("b", one), ("c", other)):
                        tasks.start_soon(work, backend, who)
                    for _ in range(2):
                        await anyio.sleep(0.5)
                        before = len(grants)
                        await in_thread(lambda: etcd_cluster.leader().kill())
                        while len(grants) < before + 10:
                            await anyio.sleep(0.05)
                        await in_thread(etcd_cluster.start)
                    is_over.set()
        finally:
            await in_thread(etcd_cluster.start)
    assert len(grants) >= 20
    assert len(set(grants)) == len(grants)
    report = lease_safety.check(recorder.history())
    assert report.is_safe, report


async def test_an_answer_that_was_lost_is_asked_for_again(etcd_server: EtcdCluster) -> None:
    async with FaultProxy("127.0.0.1", etcd_server.members[0].port, draw=lambda: 0.5) as proxy:
        url = new_url(etcd_server)
        async with opened(by(etcd_server, url, proxy.port)) as backend, opened(url) as other:
            await backend.release(await take(backend, ADA, ttl_s=30.0))

            async def lose_answers() -> None:
                proxy.hindrance = Hindrance(is_deaf=True)
                await anyio.sleep(0.3)
                proxy.hindrance = Hindrance(is_down=True)
                proxy.hindrance = CLEAR

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lose_answers)
                await anyio.sleep(0.05)
                lease = await take(backend, ADA, ttl_s=30.0)
            state = await other.inspect("job")
            assert (state.lease, state.waiters) == (lease, ())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lose_answers)
                await anyio.sleep(0.05)
                assert await backend.release(lease) == Released("job", lease.fencing_token)
            assert (await other.inspect("job")).lease is None


async def test_a_cut_network_is_told_in_time_and_heals(etcd_server: EtcdCluster) -> None:
    async with FaultProxy("127.0.0.1", etcd_server.members[0].port, draw=lambda: 0.5) as proxy:
        url = by(etcd_server, new_url(etcd_server), proxy.port)
        async with opened(url) as backend:
            lease = await take(backend, ADA, ttl_s=4.0)
            proxy.hindrance = Hindrance(is_deaf=True, is_mute=True)
            began = anyio.current_time()
            with anyio.fail_after(_PATIENCE_S), pytest.raises((OutcomeUnknown, Unavailable)):
                await backend.renew(lease)
            assert anyio.current_time() - began < 3.0
            proxy.hindrance = CLEAR
            with anyio.fail_after(_PATIENCE_S):
                while True:
                    try:
                        renewed = await backend.renew(lease)
                        break
                    except (OutcomeUnknown, Unavailable):
                        await anyio.sleep(0.05)
            assert isinstance(renewed, Lease)
            assert renewed.fencing_token == lease.fencing_token


async def test_one_whose_stream_has_gone_silent_gets_the_lease_all_the_same(
    etcd_cluster: EtcdCluster,
) -> None:
    url = new_url(etcd_cluster)
    async with opened(url) as backend, opened(url) as other:
        follower = next(member for member in etcd_cluster.members if not member.is_leader())
        silent = etcd_cluster.members.index(follower)
        for one, first in ((backend, silent), (other, (silent + 1) % 3)):
            one._verbs._engine.client._first = first
        lease = await take(other, ADA, ttl_s=60.0)
        async with anyio.create_task_group() as tasks:
            got = anyio.Event()

            async def wait() -> None:
                async with hold(backend, "job", holder_id="ben", clock=SystemClock(), ttl_s=6.0):
                    got.set()

            tasks.start_soon(wait)
            with anyio.fail_after(_PATIENCE_S):
                while backend._stream._open is None:
                    await anyio.sleep(0.02)
            assert backend._stream._open.endpoint == silent
            follower.pause()
            try:
                assert isinstance(await other.release(lease), Released)
                with anyio.fail_after(15.0):
                    await got.wait()
            finally:
                follower.resume()


async def test_a_store_that_is_closed_ends_the_watch_of_its_leases(
    etcd_server: EtcdCluster,
) -> None:
    async with open_etcd(new_url(etcd_server)) as store:
        backend = await open_backend(store, SystemClock(), SkewTolerance(), SILENT)
        async with backend.watch("job") as states:
            assert not (await anext(states)).is_live
            await store.aclose()
            with pytest.raises(Unavailable):
                await backend.inspect("job")
        with anyio.fail_after(_PATIENCE_S):
            while backend._stream._thread is not None:
                await anyio.sleep(0.02)
        await backend.aclose()


async def test_a_watch_goes_on_after_a_restart(etcd_server: EtcdCluster) -> None:
    async with opened(new_url(etcd_server)) as backend, backend.watch("job") as states:
        assert not (await anext(states)).is_live
        try:
            await in_thread(etcd_server.members[0].kill)
        finally:
            await in_thread(etcd_server.start)
        lease = await take(backend, ADA, ttl_s=30.0)
        with anyio.fail_after(_PATIENCE_S):
            assert (await anext(states)).lease == lease


async def test_another_store_under_the_same_prefix_grants_nothing(
    etcd_server: EtcdCluster,
) -> None:
    url = new_url(etcd_server)
    prefix = url.partition("prefix=")[2]
    async with opened(url) as backend:
        lease = await take(backend, ADA)
        await backend.release(lease)
        # What a member of another cluster says that answers at the same address.
        write(etcd_server, put_op(f"{prefix}k/meta/store", b'{"store_id":"other","format":1}'))
        for queue in (False, True):
            with pytest.raises(CorruptRecord, match="other"):
                await backend.acquire("job", BEN, ttl_s=2.0, queue=queue)


async def test_another_store_under_the_same_prefix_renews_and_frees_nothing(
    etcd_server: EtcdCluster,
) -> None:
    url = new_url(etcd_server)
    async with opened(url) as backend:
        lease = await take(backend, ADA)
        # Revisions of two clusters may well be the same.
        key = f"{url.partition('prefix=')[2]}k/meta/store"
        write(etcd_server, put_op(key, b'{"store_id":"other","format":1}'))
        assert isinstance(await backend.renew(lease), NotHeld)
        assert isinstance(await backend.release(lease), NotHeld)


async def test_a_token_rises_even_where_etcds_revisions_went_back(
    etcd_server: EtcdCluster,
) -> None:
    url = new_url(etcd_server)
    async with opened(url) as backend:
        lease = await take(backend, ADA)
        await backend.release(lease)
        # As a backup leaves it: the last token lies above what the cluster has counted to.
        key = f"{url.partition('prefix=')[2]}l/last/job"
        record = msgspec.json.encode({"v": 1, "token": lease.fencing_token + 10**6, "since_ns": 1})
        write(etcd_server, put_op(key, record))
        again = await take(backend, BEN)
        assert again.fencing_token > lease.fencing_token + 10**6
        assert await backend.floor() == lease.fencing_token + 10**6
        assert (await backend.inspect("job")).lease == again
