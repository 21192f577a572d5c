"""What the operating system may answer, and peers that break off: faults put in by hand."""

from __future__ import annotations

import socket
import sys

import anyio
import pytest
from anyio.abc import SocketListener, SocketStream
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import aead

from federlib.errors import MissingExtra, OutcomeUnknown, Unavailable
from federlib.transport import Key, Refusal, _sockets
from federlib.transport._streams import StreamServer
from federlib.transport.addresses import parse_address
from federlib.transport.frames import HELLO
from transport.keys import OTHER, SECRET
from transport.sockets import Counts, dialled, receive, sealed, stray

pytestmark = pytest.mark.anyio


async def test_a_port_that_tcp_does_not_have_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = _sockets._bind
    refused: list[int] = []

    def fails_twice(kind: socket.SocketKind, host: str, port: int) -> socket.socket:
        if kind is socket.SOCK_STREAM and len(refused) < 2:
            refused.append(port)
            raise Unavailable(f"tcp {host}:{port}", "taken")
        return bind(kind, host, port)

    monkeypatch.setattr(_sockets, "_bind", fails_twice)
    async with sealed() as one:
        assert parse_address(one.address)[1] > 0
    assert len(refused) == 2


async def test_what_else_goes_wrong_in_binding_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bind = _sockets._bind
    bound: list[socket.socket] = []

    def breaks(kind: socket.SocketKind, host: str, port: int) -> socket.socket:
        if kind is socket.SOCK_STREAM:
            raise KeyboardInterrupt
        bound.append(bind(kind, host, port))
        return bound[0]

    monkeypatch.setattr(_sockets, "_bind", breaks)
    with pytest.raises(KeyboardInterrupt):
        _sockets.bind_both("127.0.0.1", 0)
    assert bound[0].fileno() == -1


async def test_a_kernel_without_an_option_still_carries_packets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_sockets, "_IP_MTU_DISCOVER", 9_999)
    monkeypatch.setattr(sys, "platform", "other")
    async with sealed() as one:
        assert one.max_payload == 1_354
    monkeypatch.setattr(sys, "platform", "linux")
    async with sealed() as one, sealed() as other:
        await one.send(other.address, b"x")
        assert (await receive(other)).payload == b"x"


class Socket:
    """A socket whose system says no."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.errors: list[OSError] = [ConnectionRefusedError(), BlockingIOError()]

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        raise self.errors.pop(0)

    def sendto(self, packet: bytes, address: tuple[str, int]) -> int:
        raise OSError


async def test_an_error_of_the_socket_is_counted_and_read_on(
    counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealed(counts=counts) as one:
        sock = Socket()
        looked: list[int] = []

        async def wait_readable(_sock: object) -> None:
            looked.append(1)
            if len(looked) == 3:
                raise anyio.EndOfStream

        monkeypatch.setattr(anyio, "wait_readable", wait_readable)
        send, _receive = anyio.create_memory_object_stream[object](1)
        with send, _receive, pytest.raises(anyio.EndOfStream):
            await one._read(sock, send)  # type: ignore[arg-type]  # a double of a socket
        monkeypatch.undo()
        assert counts.refused(Refusal.UNREACHABLE) == 1
        # A challenge that the system does not take is counted too, and nothing else happens.
        async with sealed() as other:
            packet = other._packets.seal(b"x", one.address, 0)
        one._take(sock, None, packet, "127.0.0.1:9")  # type: ignore[arg-type]  # as above
        assert counts.refused(Refusal.UNREACHABLE) == 2
        assert counts.refused(Refusal.UNCONFIRMED) == 1


async def test_the_last_answer_of_a_handshake_is_silent(counts: Counts) -> None:
    async with sealed(counts=counts) as one, sealed() as other:
        await one.send(other.address, b"x")
        await receive(other)
        await other.send(one.address, b"y")
        assert (await receive(one)).payload == b"y"
        assert all(not counts.refused(reason) for reason in Refusal)


async def test_no_room_for_another_socket_is_waited_out(counts: Counts) -> None:
    async with sealed(counts=counts) as one:
        server = StreamServer(one._streams, one._networks, one._limits, one._tcp_tally, None)  # type: ignore[arg-type]

        class Listener:
            tries = 0

            async def accept(self) -> SocketStream:
                self.tries += 1
                if self.tries == 1:
                    raise OSError("too many open files")
                raise anyio.EndOfStream

        listener = Listener()
        with pytest.raises(anyio.EndOfStream):
            await server.serve(listener)  # type: ignore[arg-type]  # a double of a listener
        assert (listener.tries, counts.refused(Refusal.BUSY, "tcp")) == (2, 1)


async def test_a_mistake_of_ours_on_a_stream_does_not_stop_the_others(
    counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealed(counts=counts) as one:
        meet = one._streams.meet

        def breaks(*_arguments: object, **_more: object) -> None:
            raise KeyError

        monkeypatch.setattr(one._streams, "meet", breaks)
        async with dialled(one) as stream:
            await stream.send(bytes(HELLO))
            await counts.wait_for(Refusal.BROKEN, channel="tcp")
        monkeypatch.setattr(one._streams, "meet", meet)
        stray(one, b"")
        await counts.wait_for(Refusal.TRUNCATED)


async def answer_once(listener: SocketListener, words: bytes) -> None:
    async with await listener.accept() as stream:
        await stream.receive(HELLO)
        await stream.send(words)


async def test_an_answer_of_somebody_else_is_not_believed(counts: Counts) -> None:
    stranger = sealed(secret=OTHER)
    sock = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    hello = stranger._streams.hello(bytes(16)).sent
    async with (
        await SocketListener.from_socket(sock) as listener,
        sealed(counts=counts) as one,
        anyio.create_task_group() as group,
    ):
        group.start_soon(answer_once, listener, hello)
        with pytest.raises(Unavailable, match="the other side was not believed: unknown_key"):
            await one.request(address, b"x", timeout_s=5)
        assert counts.refused(Refusal.UNKNOWN_KEY, "tcp") == 1


async def test_a_forged_answer_is_not_believed(counts: Counts) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    async with (
        await SocketListener.from_socket(sock) as listener,
        sealed(counts=counts) as one,
        anyio.create_task_group() as group,
    ):
        forged = one._streams.hello(bytes(16)).sent + (17).to_bytes(4, "big") + bytes(17)
        group.start_soon(answer_once, listener, forged)
        with pytest.raises(OutcomeUnknown, match="the other side was not believed: unauthentic"):
            await one.request(address, b"x", timeout_s=5)


async def test_an_old_openssl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(_key: bytes) -> None:
        raise UnsupportedAlgorithm("no")

    monkeypatch.setattr(aead, "AESGCMSIV", unsupported)
    with pytest.raises(MissingExtra, match=r"OpenSSL 3\.2 or newer"):
        Key(SECRET)


async def test_a_peer_that_is_gone_again_was_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(_sock: object) -> None:
        raise ValueError("the socket must be connected")

    async with sealed() as one, sealed() as other:
        monkeypatch.setattr(SocketStream, "from_socket", gone)
        with pytest.raises(Unavailable, match="the stream broke: ConnectionResetError"):
            await one.request(other.address, b"x", timeout_s=5)
        monkeypatch.undo()


async def test_a_cancelled_body_gives_the_port_back() -> None:
    with anyio.CancelScope() as scope:
        async with sealed() as one:
            port = parse_address(one.address)[1]
            scope.cancel()
            await anyio.sleep_forever()
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.bind(("127.0.0.1", port))
