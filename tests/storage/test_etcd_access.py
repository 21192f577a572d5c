"""Who may use a store in etcd: users and tokens, certificates."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import trustme

from federlib.errors import StoreDenied, Unavailable
from federlib.storage import Committed, Put, Transaction
from federlib.testing._store_hooks import catch_up, put
from federlib.testing.servers import EtcdCluster, etcd_server
from federlib.testing.servers.etcd import EtcdTls
from storage.etcd_lab import add_users, opened

pytestmark = pytest.mark.anyio

PREFIX = "mine/"
PASSWORD = "p@s:/%?#s"
QUOTED = "p%40s%3A%2F%25%3F%23s"


@pytest.fixture(scope="module")
def guarded() -> Iterator[EtcdCluster]:
    """With users, whose tokens live for a second."""
    with etcd_server(options=["--auth-token-ttl=1"]) as cluster:
        add_users(cluster, ["worker"], prefix=PREFIX, password=PASSWORD)
        yield cluster


def user_url(cluster: EtcdCluster, user: str, *, prefix: str = PREFIX) -> str:
    return f"etcd://{user}:{QUOTED}@{cluster.endpoints[0]}?prefix={prefix}"


async def test_an_expired_token_is_renewed_and_nothing_is_lost(guarded: EtcdCluster) -> None:
    async with opened(user_url(guarded, "worker")) as store:
        start = await put(store, "a")
        token = store._engine.client._token
        async with store.watch("", after=start) as changes:
            await catch_up(changes, start)
            for i in range(2):
                await anyio.sleep(2.5)
                # Many at once ask for one token.
                async with anyio.create_task_group() as tasks:
                    for lane in range(6):
                        tasks.start_soon(put, store, f"b/{i}/{lane}")
                last = await put(store, "c")
            keys = [e.key for b in await catch_up(changes, last) for e in b.events]
        assert set(keys) == {"c", *(f"b/{i}/{lane}" for i in (0, 1) for lane in range(6))}
        assert len(keys) == 14
        assert store._engine.client._token != token


async def test_a_commit_without_an_id_survives_an_expired_token(guarded: EtcdCluster) -> None:
    async with opened(user_url(guarded, "worker")) as store:
        await put(store, "a")
        store._engine.client._token = "forged.1"
        done = await store.commit(Transaction((Put("a", b"2"),)))
        assert isinstance(done, Committed)


@pytest.mark.parametrize(
    "url",
    [
        "etcd://worker:wrong@{0}?prefix=mine/",
        "etcd://nobody:wrong@{0}?prefix=mine/",
        "etcd://{0}?prefix=mine/",
        "etcd://worker:" + QUOTED + "@{0}?prefix=theirs/",
    ],
    ids=["wrong password", "no such user", "no user", "another prefix"],
)
async def test_who_may_not_is_denied_and_no_password_is_shown(
    guarded: EtcdCluster, url: str
) -> None:
    with pytest.raises(StoreDenied) as caught:
        async with opened(url.format(guarded.endpoints[0])):
            pass
    assert "wrong" not in str(caught.value)
    assert "p@s" not in str(caught.value)


async def test_a_user_where_there_are_none_is_denied(etcd_server: EtcdCluster) -> None:
    with pytest.raises(StoreDenied, match="not enabled"):
        async with opened(user_url(etcd_server, "worker")):
            pass


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    authority, place = trustme.CA(), tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(place / "other.pem"))
    for name, who in (("server", "127.0.0.1"), ("client", "worker@example.org")):
        issued = authority.issue_cert(who)
        issued.private_key_pem.write_to_path(str(place / f"{name}.key"))
        (place / f"{name}.pem").write_bytes(b"".join(c.bytes() for c in issued.cert_chain_pems))
    foreign = trustme.CA().issue_cert("worker@example.org")
    foreign.private_key_pem.write_to_path(str(place / "foreign.key"))
    (place / "foreign.pem").write_bytes(b"".join(c.bytes() for c in foreign.cert_chain_pems))
    return authority, place


@pytest.fixture(scope="module")
def secured(authority: tuple[trustme.CA, Path]) -> Iterator[EtcdCluster]:
    """Serves by TLS, and asks clients for their certificates."""
    _, place = authority
    tls = EtcdTls(
        place / "ca.pem",
        place / "server.pem",
        place / "server.key",
        place / "client.pem",
        place / "client.key",
    )
    with etcd_server(tls=tls) as cluster:
        yield cluster


@pytest.fixture
def place(authority: tuple[trustme.CA, Path]) -> Path:
    return authority[1]


async def test_by_tls_with_certificates_of_both_it_is_a_store_like_any(
    secured: EtcdCluster, place: Path
) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    url = f"{secured.url}?ca={place}/ca.pem&cert={place}/client.pem&key={place}/client.key"
    async with opened(url) as store:
        start = await put(store, "a", b"1")
        async with store.watch("", after=start) as changes:
            last = await put(store, "a", b"2")
            assert [b.revision for b in await catch_up(changes, last)] == [last]
            began = time.monotonic()
            await store.aclose()
            assert time.monotonic() - began < 3
    left = [t.name for t in threading.enumerate() if t.ident not in before]
    assert [name for name in left if name.startswith("federlib-etcd")] == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("ca={0}/other.pem&cert={0}/client.pem&key={0}/client.key", "certificate"),
        ("cert={0}/client.pem&key={0}/client.key", "certificate"),
        ("ca={0}/ca.pem", "certificate"),
        ("ca={0}/ca.pem&cert={0}/foreign.pem&key={0}/foreign.key", "certificate"),
    ],
    ids=["a wrong authority", "the system's authorities", "no certificate", "a foreign one"],
)
async def test_who_cannot_be_verified_is_refused(
    secured: EtcdCluster, place: Path, options: str, match: str
) -> None:
    with pytest.raises(StoreDenied, match=match):
        async with opened(f"{secured.url}?{options.format(place)}"):
            pass


async def test_a_server_of_another_name_is_refused(secured: EtcdCluster, place: Path) -> None:
    url = f"etcds://localhost:{secured.members[0].port}?ca={place}/ca.pem"
    with pytest.raises(StoreDenied, match="certificate"):
        async with opened(url):
            pass


async def test_without_tls_a_server_of_tls_is_unavailable(secured: EtcdCluster) -> None:
    with pytest.raises(Unavailable):
        async with opened(f"etcd://{secured.endpoints[0]}"):
            pass


async def test_by_tls_a_server_without_is_unavailable(etcd_server: EtcdCluster) -> None:
    with pytest.raises(Unavailable):
        async with opened(f"etcds://{etcd_server.endpoints[0]}"):
            pass
