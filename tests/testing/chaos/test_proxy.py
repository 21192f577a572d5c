"""The proxy, before a server that says again what it hears."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.to_thread
import pytest
from anyio.abc import SocketAttribute, SocketStream

from federlib.errors import InvalidInput
from federlib.testing.chaos.endpoints import servers_of, through
from federlib.testing.chaos.hindrance import CLEAR, PPM, Hindrance
from federlib.testing.chaos.proxy import FaultProxy

pytestmark = pytest.mark.anyio

_LIMIT_S = 10
_QUIET_S = 0.1


class Wire:
    """The proxy, and what the server has heard."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.heard = b""
        self.answers_lost = 0

    def connect(self) -> AbstractAsyncContextManager[SocketStream]:
        return _connected(self.proxy.port)


@asynccontextmanager
async def _connected(port: int) -> AsyncGenerator[SocketStream, None]:
    with anyio.fail_after(_LIMIT_S):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            yield stream


@asynccontextmanager
async def wired(draw: Callable[[], float] = lambda: 0.0) -> AsyncGenerator[Wire, None]:
    async def echo(client: SocketStream) -> None:
        async with client:
            async for chunk in client:
                wire.heard += chunk
                await client.send(chunk)

    def lose() -> None:
        wire.answers_lost += 1

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, echo)
        port: int = listener.extra(SocketAttribute.local_port)
        proxy = FaultProxy("127.0.0.1", port, draw=draw, answer_lost=lose)
        wire = Wire(proxy)
        async with proxy:
            yield wire
        group.cancel_scope.cancel()


async def exactly(stream: SocketStream, size: int) -> bytes:
    came = b""
    while len(came) < size:
        came += await stream.receive()
    return came


async def is_silent(stream: SocketStream) -> bool:
    with anyio.move_on_after(_QUIET_S):
        await stream.receive()
        return False
    return True


async def test_what_is_not_hindered_comes_through_whole() -> None:
    async with wired() as wire, wire.connect() as stream:
        sent = bytes(range(256)) * 1_000
        async with anyio.create_task_group() as group:
            group.start_soon(stream.send, sent)
            assert await exactly(stream, len(sent)) == sent


async def test_a_mute_way_stalls_requests_and_goes_on_when_it_is_mended() -> None:
    async with wired() as wire, wire.connect() as stream:
        wire.proxy.hindrance = Hindrance(is_mute=True)
        await stream.send(b"ask")
        assert await is_silent(stream)
        assert wire.heard == b""
        wire.proxy.hindrance = CLEAR
        assert await exactly(stream, 3) == b"ask"


async def test_a_deaf_way_stalls_answers_alone() -> None:
    async with wired() as wire, wire.connect() as stream:
        wire.proxy.hindrance = Hindrance(is_deaf=True)
        await stream.send(b"ask")
        assert await is_silent(stream)
        assert wire.heard == b"ask"
        wire.proxy.hindrance = CLEAR
        assert await exactly(stream, 3) == b"ask"


async def test_a_server_that_is_down_drops_what_it_had_and_takes_nothing_new() -> None:
    async with wired() as wire, wire.connect() as stream:
        await stream.send(b"ask")
        assert await exactly(stream, 3) == b"ask"
        wire.proxy.hindrance = Hindrance(is_down=True)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        async with wire.connect() as late:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await late.receive()
        wire.proxy.hindrance = CLEAR
        async with wire.connect() as again:
            await again.send(b"on")
            assert await exactly(again, 2) == b"on"


async def test_refused_connections_end_before_they_begin() -> None:
    async with wired() as wire:
        wire.proxy.hindrance = Hindrance(refuse_ppm=PPM)
        async with wire.connect() as stream:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()


async def test_a_lost_answer_is_a_connection_that_ends_after_the_server_has_heard() -> None:
    async with wired() as wire, wire.connect() as stream:
        wire.proxy.hindrance = Hindrance(lost_answer_ppm=PPM)
        await stream.send(b"ask")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        assert wire.heard == b"ask"
        assert wire.answers_lost == 1


async def test_what_is_late_narrow_or_sent_again_comes_whole() -> None:
    async with wired(draw=lambda: 0.3) as wire, wire.connect() as stream:
        wire.proxy.hindrance = Hindrance(
            delay_ms=2, slow_ms=2, bytes_per_s=100_000, loss_ppm=400_000
        )
        began = anyio.current_time()
        await stream.send(b"ask")
        assert await exactly(stream, 3) == b"ask"
        assert anyio.current_time() - began >= 2 * (0.002 + 0.2)


async def test_a_reset_is_one_and_not_an_end() -> None:
    async with wired() as wire:

        def ask(size: int) -> bytes:
            client.send(b"ask"[:size])
            return client.recv(size)

        with socket.create_connection(("127.0.0.1", wire.proxy.port), _LIMIT_S) as client:
            assert await anyio.to_thread.run_sync(ask, 3) == b"ask"
            wire.proxy.reset()
            await anyio.sleep(_QUIET_S)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        async with wire.connect() as again:
            await again.send(b"on")
            assert await exactly(again, 2) == b"on"


async def test_when_answers_are_half_closed_requests_still_arrive() -> None:
    async with wired() as wire, wire.connect() as stream:
        await stream.send(b"ask")
        assert await exactly(stream, 3) == b"ask"
        await wire.proxy.half_close("answers")
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.send(b"more")
        with anyio.fail_after(_LIMIT_S):
            while wire.heard != b"askmore":
                await anyio.sleep(0.005)


async def test_when_requests_are_half_closed_the_server_reads_an_end_and_answers_still_come() -> (
    None
):
    async with wired() as wire, wire.connect() as stream:
        wire.proxy.hindrance = Hindrance(is_deaf=True)
        await stream.send(b"ask")
        with anyio.fail_after(_LIMIT_S):
            while wire.heard != b"ask":
                await anyio.sleep(0.005)
        await wire.proxy.half_close("requests")
        await stream.send(b"more")
        wire.proxy.hindrance = CLEAR
        assert await exactly(stream, 3) == b"ask"
        # This server goes when nobody asks any more.
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        assert wire.heard == b"ask"


async def test_a_server_that_is_not_there_looks_like_a_dropped_connection() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port: int = listener.extra(SocketAttribute.local_port)
    async with (
        FaultProxy("127.0.0.1", port, draw=lambda: 0.0) as proxy,
        _connected(proxy.port) as stream,
    ):
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


@pytest.mark.parametrize(
    ("url", "servers", "by_proxy"),
    [
        ("postgresql://db/fleet", [("db", 5432)], "postgresql://127.0.0.1:9/fleet"),
        ("postgresql://u:p@db:1/f?x=1", [("db", 1)], "postgresql://u:p@127.0.0.1:9/f?x=1"),
        ("etcd://[::1]:2379", [("::1", 2379)], "etcd://127.0.0.1:9"),
        ("etcd://e", [("e", 2379)], "etcd://127.0.0.1:9"),
        ("etcd://u:p@a:1,b", [("a", 1), ("b", 2379)], "etcd://u:p@127.0.0.1:9,127.0.0.1:10"),
    ],
)
def test_a_url_by_way_of_proxies_differs_in_the_places_alone(
    url: str, servers: list[tuple[str, int]], by_proxy: str
) -> None:
    assert list(servers_of(url)) == servers
    assert through(url, list(range(9, 9 + len(servers)))) == by_proxy


@pytest.mark.parametrize(
    "url", ["etcd://a:1,", "postgresql:///fleet", "etcd://e:99999", "other://u:geheim@h"]
)
def test_a_url_that_names_no_server_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput, match="host:port") as refused:
        servers_of(url)
    assert "geheim" not in str(refused.value)
