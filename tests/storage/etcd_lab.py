"""Real etcd for the tests of its driver: one server a worker, a prefix of its own a store."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import msgspec

from federlib.skewclock import Clock, SystemClock
from federlib.storage import open_store
from federlib.storage.backends.etcd import EtcdStore
from federlib.testing.servers import EtcdCluster


def new_prefix() -> str:
    return f"test/{secrets.token_hex(6)}/"


def new_url(cluster: EtcdCluster) -> str:
    return f"{cluster.url}?prefix={new_prefix()}"


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None) -> AsyncIterator[EtcdStore]:
    store = await open_store(url, clock=clock or SystemClock())
    assert isinstance(store, EtcdStore)
    try:
        yield store
    finally:
        await store.aclose()


def ask(cluster: EtcdCluster, path: str, body: object, *, token: str = "") -> dict[str, object]:
    """Ask the first member that runs, past the driver."""
    member = next(member for member in cluster.members if member.is_running)
    answer = httpx.post(
        f"http://{member.endpoint}{path}",
        content=msgspec.json.encode(body),
        headers={"Authorization": token} if token else {},
        trust_env=False,
        timeout=10,
    )
    answer.raise_for_status()
    return msgspec.json.decode(answer.content, type=dict[str, object])


def compact(cluster: EtcdCluster) -> int:
    """Forget all history but the newest; return etcd's revision."""
    header = ask(cluster, "/v3/kv/range", {"key": b"\0"})["header"]
    assert isinstance(header, dict)
    revision = int(header["revision"])
    ask(cluster, "/v3/kv/compaction", {"revision": revision})
    return revision


def write(cluster: EtcdCluster, *ops: dict[str, object]) -> None:
    """Write past the driver."""
    ask(cluster, "/v3/kv/txn", {"compare": [], "success": ops})


def put_op(key: str, value: bytes) -> dict[str, object]:
    return {"request_put": {"key": key.encode(), "value": value}}


def delete_op(key: str) -> dict[str, object]:
    return {"request_delete_range": {"key": key.encode()}}


def add_users(cluster: EtcdCluster, names: Sequence[str], *, prefix: str, password: str) -> None:
    """Turn authentication on, with users who may do all under the prefix."""
    for name in ("root", *names):
        ask(cluster, "/v3/auth/user/add", {"name": name, "password": password})
    ask(cluster, "/v3/auth/role/add", {"name": "root"})
    ask(cluster, "/v3/auth/user/grant", {"user": "root", "role": "root"})
    ask(cluster, "/v3/auth/role/add", {"name": "store"})
    key, end = prefix.encode(), prefix.encode()[:-1] + b"0"
    perm = {"permType": "READWRITE", "key": key, "range_end": end}
    ask(cluster, "/v3/auth/role/grant", {"name": "store", "perm": perm})
    for name in names:
        ask(cluster, "/v3/auth/user/grant", {"user": name, "role": "store"})
    ask(cluster, "/v3/auth/enable", {})
