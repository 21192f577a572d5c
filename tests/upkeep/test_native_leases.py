"""Copies and exports from and to engines that grant leases themselves: tokens go on rising."""

from __future__ import annotations

import io
import secrets
from pathlib import Path

import pytest

from federlib.errors import Conflict
from federlib.lease import Holder, Lease, LeaseBackend
from federlib.lease.moving import floor_above
from federlib.lease.urls import leases_on
from federlib.skewclock import SkewTolerance, SystemClock
from federlib.storage import Put, RecordStore, Transaction, open_store
from federlib.testing.servers import PostgresServer
from federlib.upkeep import copy_store, export_store, import_store

pytestmark = pytest.mark.anyio
ADA = Holder("ada", "1")


async def backend_of(store: RecordStore) -> LeaseBackend:
    return await leases_on(store, SystemClock(), SkewTolerance())


async def take(store: RecordStore, times: int, *, ttl_s: float = 60.0) -> Lease:
    backend = await backend_of(store)
    try:
        for _ in range(times - 1):
            lease = await backend.acquire("job", ADA, ttl_s=ttl_s)
            assert isinstance(lease, Lease)
            await backend.release(lease)
        lease = await backend.acquire("job", ADA, ttl_s=ttl_s)
        assert isinstance(lease, Lease)
        return lease
    finally:
        await backend.aclose()


async def release(store: RecordStore, lease: Lease) -> None:
    backend = await backend_of(store)
    await backend.release(lease)
    await backend.aclose()


def postgres(server: PostgresServer) -> str:
    return f"{server.url}?schema=test_{secrets.token_hex(6)}"


@pytest.mark.parametrize("way", ["there", "back", "between"])
async def test_tokens_of_a_copy_are_above_all_of_the_old_store(
    postgres_server: PostgresServer, tmp_path: Path, way: str
) -> None:
    files = [f"sqlite:///{tmp_path}/{name}.db" for name in ("a", "b")]
    servers = [postgres(postgres_server), postgres(postgres_server)]
    urls = {"there": (files[0], servers[0]), "back": (servers[0], files[0]), "between": servers}
    old, new = [await open_store(url) for url in urls[way]]
    try:
        await old.commit(Transaction((Put("a", b"1"),)))
        lease = await take(old, 5)
        with pytest.raises(Conflict, match="nobody at work"):
            await copy_store(old, new)
        await release(old, lease)
        copied = await copy_store(old, new)
        assert copied.floor == floor_above(5)
        assert (await take(new, 1)).fencing_token == copied.floor + 1
        record = await new.get("a")
        assert record is not None
        assert record.value == b"1"
    finally:
        await old.aclose()
        await new.aclose()


async def test_an_export_of_a_server_brings_its_floor(postgres_server: PostgresServer) -> None:
    old = await open_store(postgres(postgres_server))
    new = await open_store(postgres(postgres_server))
    try:
        await take(old, 7)
        file = io.BytesIO()
        await export_store(old, file)
        file.seek(0)
        copied = await import_store(file, new)
        assert copied.floor == floor_above(7)
        assert (await take(new, 1)).fencing_token == copied.floor + 1
    finally:
        await old.aclose()
        await new.aclose()
