"""What leases in PostgreSQL withstand: its server, its network, and the clients' clocks."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import msgspec
import psycopg
import pytest

from federlib.errors import CorruptRecord, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease import Busy, Holder, Lease, NotHeld, Released, hold
from federlib.lease.backends.postgresql import PostgresLeaseBackend, open_backend
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.telemetry import SILENT
from federlib.testing import SkewedClock
from federlib.testing.chaos.hindrance import CLEAR, Hindrance
from federlib.testing.chaos.proxy import FaultProxy
from federlib.testing.history import Recorder, lease_safety
from federlib.testing.servers import PostgresServer

pytestmark = pytest.mark.anyio
_PATIENCE_S = 60.0
ADA, BEN = Holder("ada", "1"), Holder("ben", "1")


def new_url(server: PostgresServer) -> str:
    return f"{server.url}?schema=test_{secrets.token_hex(6)}"


def by(url: str, server: PostgresServer, port: int) -> str:
    return url.replace(f":{server.port}/", f":{port}/")


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None) -> AsyncIterator[PostgresLeaseBackend]:
    backend = await open_backend(url, clock or SystemClock(), SkewTolerance(), SILENT)
    try:
        yield backend
    finally:
        await backend.aclose()


def terminate_all(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'federlib'"
        )


async def take(backend: PostgresLeaseBackend, holder: Holder, *, ttl_s: float = 2.0) -> Lease:
    answer = await backend.acquire("job", holder, ttl_s=ttl_s)
    assert isinstance(answer, Lease), answer
    return answer


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clients_clock_off_by_an_hour_changes_nothing(
    postgres_server: PostgresServer, hours: int
) -> None:
    url = new_url(postgres_server)
    wrong = SkewedClock(SystemClock(), offset_s=hours * 3_600.0)
    async with opened(url, wrong) as one, opened(url) as other:
        async with hold(one, "job", holder_id="ada", clock=wrong, ttl_s=1.5) as held:
            for _ in range(5):
                await anyio.sleep(0.5)
                held.check()
                assert isinstance(await other.acquire("job", BEN, ttl_s=1.5), Busy)
        # And the other way round: who dies is followed after its ttl, not an hour later.
        await take(other, BEN, ttl_s=1.0)
        assert isinstance(await one.acquire("job", ADA, ttl_s=1.0), Busy)
        await anyio.sleep(1.3)
        assert (await take(one, ADA)).fencing_token > held.token


async def test_a_holder_that_slept_past_its_ttl_learns_that_it_lost(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    async with opened(url) as one, opened(url) as other:
        old = await take(one, ADA, ttl_s=0.5)
        await anyio.sleep(0.8)
        new = await take(other, BEN)
        assert await one.renew(old) == NotHeld("job", old.fencing_token, "ben")
        assert await one.release(old) == NotHeld("job", old.fencing_token, "ben")
        assert new.fencing_token > old.fencing_token


async def test_a_restart_shorter_than_the_ttl_is_survived(postgres_server: PostgresServer) -> None:
    async with (
        opened(new_url(postgres_server)) as backend,
        hold(backend, "job", holder_id="ada", clock=SystemClock(), ttl_s=6.0) as held,
    ):
        try:
            await anyio.to_thread.run_sync(postgres_server.kill)
            await anyio.sleep(0.5)
        finally:
            await anyio.to_thread.run_sync(postgres_server.start)
        await anyio.sleep(6.5)
        held.check()


async def test_an_outage_longer_than_the_ttl_ends_the_lease_in_time(
    postgres_server: PostgresServer,
) -> None:
    async with opened(new_url(postgres_server)) as backend:
        began = 0.0
        try:
            with anyio.fail_after(_PATIENCE_S), pytest.raises(LeaseLost):
                async with hold(backend, "job", holder_id="ada", clock=SystemClock(), ttl_s=1.5):
                    await anyio.to_thread.run_sync(postgres_server.kill)
                    began = anyio.current_time()
                    try:
                        await anyio.sleep_forever()
                    finally:
                        # The deadline lies at 0.9 ttl behind the last renewal.
                        assert anyio.current_time() - began < 1.5
        finally:
            await anyio.to_thread.run_sync(postgres_server.start)


async def test_terminated_connections_never_make_two_holders(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    recorder = Recorder(SystemClock().boot_ns)
    grants: list[int] = []
    async with opened(url) as one, opened(url) as other:

        async def work(backend: PostgresLeaseBackend, who: str) -> None:
            leases = recorder.leases(backend, who)
            for i in range(15):
                try:
                    async with hold(
                        leases, "job", holder_id=f"{who}.{i}", clock=SystemClock(), ttl_s=2.0
                    ) as held:
                        recorder.accepted("job", held.holder_id, held.token)
                        grants.append(held.token)
                        await anyio.sleep(0.01)
                except (Unavailable, OutcomeUnknown, LeaseLost):
                    pass

        with anyio.fail_after(_PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                for who, backend in (("a", one), ("b", one), ("c", other)):
                    tasks.start_soon(work, backend, who)
                for _ in range(10):
                    await anyio.sleep(0.1)
                    await anyio.to_thread.run_sync(terminate_all, postgres_server)
    assert len(grants) >= 30
    assert len(set(grants)) == len(grants)
    report = lease_safety.check(recorder.history())
    assert report.is_safe, report


async def test_an_answer_that_was_lost_is_asked_for_again(postgres_server: PostgresServer) -> None:
    async with FaultProxy("127.0.0.1", postgres_server.port, draw=lambda: 0.5) as proxy:
        url = new_url(postgres_server)
        async with opened(by(url, postgres_server, proxy.port)) as backend, opened(url) as other:
            await backend.release(await take(backend, ADA))

            async def lose_answers() -> None:
                proxy.hindrance = Hindrance(is_deaf=True)
                await anyio.sleep(0.3)
                proxy.hindrance = Hindrance(is_down=True)
                proxy.hindrance = CLEAR

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lose_answers)
                lease = await take(backend, ADA, ttl_s=6.0)
            assert (await other.inspect("job")).lease == lease
            assert lease.fencing_token == 2
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lose_answers)
                assert await backend.release(lease) == Released("job", 2)
            assert (await other.inspect("job")).lease is None


async def test_a_cut_network_is_told_in_time_and_heals(postgres_server: PostgresServer) -> None:
    async with FaultProxy("127.0.0.1", postgres_server.port, draw=lambda: 0.5) as proxy:
        url = by(new_url(postgres_server), postgres_server, proxy.port)
        async with opened(url) as backend:
            lease = await take(backend, ADA, ttl_s=3.0)
            proxy.hindrance = Hindrance(is_deaf=True, is_mute=True)
            with anyio.fail_after(_PATIENCE_S), pytest.raises((OutcomeUnknown, Unavailable)):
                await backend.renew(lease)
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


async def test_a_release_wakes_whoever_is_next_and_nobody_else(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    recorder = Recorder(SystemClock().boot_ns)
    order: list[str] = []

    def asked() -> list[str]:
        return [call.process for call in recorder.history().operations if call.verb == "acquire"]

    async def stand(backend: PostgresLeaseBackend, who: str) -> None:
        seen = recorder.leases(backend, who)
        async with hold(seen, "job", holder_id=who, clock=SystemClock(), ttl_s=30.0):
            order.append(who)
            await anyio.sleep_forever()

    async with AsyncExitStack() as stack, opened(url) as first:
        held = await take(first, ADA, ttl_s=30.0)
        async with anyio.create_task_group() as tasks:
            for index in range(6):
                backend = await stack.enter_async_context(opened(url))
                tasks.start_soon(stand, backend, f"w{index}")
                with anyio.fail_after(_PATIENCE_S):
                    while len((await first.inspect("job")).waiters) <= index:
                        await anyio.sleep(0.02)
            # Everybody has asked once more, when the server began to listen to its channel.
            await anyio.sleep(1.0)
            before = len(asked())
            await first.release(held)
            with anyio.fail_after(_PATIENCE_S):
                while not order:
                    await anyio.sleep(0.005)
            await anyio.sleep(0.3)
            assert order == ["w0"]
            assert asked()[before:] == ["w0"]
            tasks.cancel_scope.cancel()


async def test_a_head_that_does_not_come_is_skipped_after_its_grace(
    postgres_server: PostgresServer,
) -> None:
    async with opened(new_url(postgres_server)) as backend:
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


async def test_a_name_is_forgotten_only_together_with_a_higher_floor(
    postgres_server: PostgresServer,
) -> None:
    async with opened(new_url(postgres_server)) as backend:
        for _ in range(3):
            lease = await take(backend, ADA)
            await backend.release(lease)
        now_ns = SystemClock().wall_ns()
        assert await backend.collect(now_ns) == 0
        assert await backend.names() == ["job"]
        assert await backend.collect(now_ns + 90_000 * 10**9) == 1
        assert await backend.names() == []
        assert await backend.floor() == 3
        assert (await take(backend, BEN)).fencing_token == 4
        await backend.raise_floor(1_000)
        await backend.raise_floor(10)
        assert await backend.floor() == 1_000
        await backend.release((await backend.inspect("job")).lease or lease)
        assert (await take(backend, ADA)).fencing_token == 1_001


async def test_a_connection_to_another_store_grants_nothing(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    schema = url.partition("schema=")[2]
    async with opened(url) as backend:
        await backend.release(await take(backend, ADA))
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            connection.execute(f"UPDATE {schema}.store SET store_id = 'other'".encode())
        # As when the next of several hosts is asked, and belongs to another cluster.
        terminate_all(postgres_server)
        with pytest.raises(CorruptRecord, match="other"):
            await take(backend, BEN)


async def test_a_floor_that_was_deleted_is_told(postgres_server: PostgresServer) -> None:
    url = new_url(postgres_server)
    async with opened(url) as backend:
        await backend.release(await take(backend, ADA))
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            connection.execute(f"DELETE FROM {url.partition('schema=')[2]}.lease_floor".encode())
        with pytest.raises(CorruptRecord, match="lease_floor"):
            await backend.floor()
        with pytest.raises(CorruptRecord, match="lease_floor"):
            await backend.raise_floor(7)


async def test_a_token_beyond_64_bit_is_nobodys(postgres_server: PostgresServer) -> None:
    async with opened(new_url(postgres_server)) as backend:
        forged = msgspec.structs.replace(await take(backend, ADA), fencing_token=2**63)
        assert isinstance(await backend.renew(forged), NotHeld)
        assert isinstance(await backend.release(forged), NotHeld)
