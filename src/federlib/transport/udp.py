"""`UdpTransport`: datagrams over UDP, requests over TCP on the same port.

Source: design §4; research/membership-routing §4 and §8.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import SocketListener
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from federlib._tasks import open_task_group
from federlib.errors import Conflict, Fenced, InvalidInput, Unavailable
from federlib.telemetry import SILENT, Telemetry
from federlib.transport._entropy import draw
from federlib.transport._sockets import bind_both, socket_address
from federlib.transport._streams import StreamServer, ask
from federlib.transport.addresses import (
    Networks,
    canonical,
    check_host,
    format_address,
    is_loopback,
    parse_address,
)
from federlib.transport.envelope import SESSION
from federlib.transport.frames import Streams
from federlib.transport.keyring import Keyring
from federlib.transport.packets import PlainPackets, SealedPackets
from federlib.transport.protocol import (
    MAX_PACKET,
    Asked,
    Limits,
    Received,
    check_stream,
    check_timeout,
    closed_while_asking,
)
from federlib.transport.refusals import Refusal, Tally

__all__ = ["UdpTransport", "resolve"]

_BATCH = 64
"""Datagrams that are read in one go before others have their turn."""

_NS = 1_000_000_000

_T = TypeVar("_T")


class UdpTransport:
    """A `Transport` over UDP and TCP, sealed unless it is told otherwise.

        keyring = Keyring(Key(secret))
        async with UdpTransport("10.0.0.7", 7000, cluster="prod", keyring=keyring) as transport:
            await transport.send("10.0.0.8:7000", b"hello")
            received = await transport.receive()

    What an attacker can do who recorded traffic and reads none of it: after a restart of this
    process he can make it send challenges, each at most three times as long as what he sent,
    to an address of his choice; nothing that he recorded is taken, neither of runs that have
    ended nor of runs that live. A datagram that has not arrived yet he can withhold, and send
    it to another process of the cluster: a message that must not be misdirected names whom it
    is for. Who sits on the path can have his own address taken for a peer's, and then drops and
    delays what passes through it, as he could before.

    Args:
        host: The IP address to listen on; ``::`` for all of both families.
        port: For UDP and TCP; 0 for one that is free for both.
        cluster: Messages of other clusters are refused, even under the same key.
        keyring: The keys; changes to it count at once.
        plaintext: Without keys, and then only on a loopback address.
        allow: Networks from which messages are taken, as ``10.0.0.0/8``; None for all.
        limits: What is held at most.
        telemetry: Where events and numbers go.

    Raises:
        InvalidInput: The host is no IP address, the port none or a network none, the cluster
            has no name, there is neither a keyring nor `plaintext`, there are both, or
            `plaintext` is to leave this machine.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        cluster: str,
        keyring: Keyring | None = None,
        plaintext: bool = False,
        allow: Iterable[str] | None = None,
        limits: Limits | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._host = check_host(host)
        self._port = port
        # `type`, because True is an int too, and variables of the environment are text.
        if type(port) is not int or not 0 <= port <= 65_535:
            raise InvalidInput("port", expected="an integer from 0 to 65535", found=port)
        _check_plaintext(keyring, self._host, plaintext=plaintext)
        self._networks = Networks(allow)
        self._limits = limits or Limits()
        self._keyring = keyring
        self._cluster = cluster
        self._streams = Streams(keyring, cluster=cluster, max_bytes=self._limits.max_stream)
        self._packets = self._new_packets()
        self._udp_tally = Tally(telemetry, "udp")
        self._tcp_tally = Tally(telemetry, "tcp")
        self._stack: AsyncExitStack | None = None
        self._socket: socket.socket | None = None
        self._pid = 0
        self._inbox: MemoryObjectReceiveStream[Received] | None = None
        self._asked: MemoryObjectReceiveStream[Asked] | None = None
        self._address = ""
        self._asking: set[anyio.CancelScope] = set()

    def __repr__(self) -> str:
        state = self._address if self._socket is not None else "closed"
        return f"UdpTransport({state!r}, cluster={self._cluster!r}, keyring={self._keyring!r})"

    async def __aenter__(self) -> Self:
        """Bind both sockets and begin to listen.

        Raises:
            Unavailable: The system does not give the port.
            Conflict: It is open already.
        """
        if self._socket is not None:
            raise Conflict("transport", expected="closed", actual="open")
        # Drawn for each opening: a number is never used twice under one derived key.
        self._packets = self._new_packets()
        async with AsyncExitStack() as stack:
            datagrams, streams = bind_both(self._host, self._port)
            stack.callback(datagrams.close)
            stack.callback(streams.close)
            listener = await SocketListener.from_socket(streams)
            stack.push_async_callback(listener.aclose)
            inbox, self._inbox = anyio.create_memory_object_stream[Received](self._limits.queue)
            asked, self._asked = anyio.create_memory_object_stream[Asked](self._limits.queue)
            for each in (inbox, self._inbox, asked, self._asked):
                stack.callback(each.close)
            server = StreamServer(
                self._streams, self._networks, self._limits, self._tcp_tally, asked
            )
            self._pid = os.getpid()
            self._address = socket_address(datagrams)
            group = await stack.enter_async_context(open_task_group())
            stack.callback(group.cancel_scope.cancel)
            group.start_soon(self._read, datagrams, inbox)
            group.start_soon(server.serve, listener)
            self._socket = datagrams
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close both sockets; whoever waits gets `Unavailable`. Again is no error."""
        stack, self._stack, self._socket = self._stack, None, None
        for scope in self._asking:
            scope.cancel()
        return None if stack is None else await stack.__aexit__(kind, error, traceback)

    @property
    def address(self) -> str:
        """Where it listens, ``host:port``.

        Raises:
            Unavailable: It has not been opened yet.
        """
        if not self._address:
            raise _closed()
        return self._address

    @property
    def max_payload(self) -> int:
        """Bytes that one datagram carries at most, under the key in use."""
        return self._packets.max_payload

    @property
    def role(self) -> str | None:
        """What its messages prove it to be, under the key in use."""
        return None if self._keyring is None else self._keyring.primary.role

    async def send(self, address: str, payload: bytes) -> None:
        """Send one datagram; what the system does not take at once is lost and counted.

        Raises:
            InvalidInput: The address is none, or of a family that is not listened on, or the
                payload is longer than `max_payload`.
            Unavailable: The transport is not open.
            Fenced: This process was forked from the one that opened it.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        sock = self._checked_socket()
        address = self._checked_target(address, sock)
        packet = self._packets.seal(payload, address, _now_ns())
        if self._put(sock, packet, address):
            self._udp_tally.moved("sent", len(packet))

    async def receive(self) -> Received:
        """Wait for the next datagram.

        Raises:
            Unavailable: The transport is not open.
        """
        return await _next(self._inbox)

    async def request(self, address: str, payload: bytes, *, timeout_s: float) -> Received:
        """Send what may be larger than a datagram, and wait for its answer.

        Raises:
            InvalidInput: The address is none, the payload is longer than `Limits.max_stream`,
                or `timeout_s` is no number or negative.
            Unavailable: Nobody was reached, or the transport is not open; nothing was sent.
            OutcomeUnknown: The request left, and no answer came that can be trusted, or the
                transport was closed.
            Fenced: This process was forked from the one that opened it.
        """
        address = self._checked_target(address, self._checked_socket())
        payload = check_stream(payload, max_bytes=self._limits.max_stream)
        check_timeout(timeout_s)
        host, port = parse_address(address)
        with anyio.CancelScope() as scope:
            self._asking.add(scope)
            try:
                return await ask(
                    self._streams, host, port, payload, timeout_s=timeout_s, tally=self._tcp_tally
                )
            finally:
                self._asking.discard(scope)
        # Only the close of this transport cancels that scope.
        raise closed_while_asking(address)

    async def receive_request(self) -> Asked:
        """Wait for the next request of another; its address is that of its stream.

        Raises:
            Unavailable: The transport is not open.
        """
        return await _next(self._asked)

    def _new_packets(self) -> SealedPackets | PlainPackets:
        if self._keyring is None:
            return PlainPackets(self._limits)
        return SealedPackets(
            self._keyring,
            cluster=self._cluster,
            session=draw(SESSION),
            cookie_secret=draw(32),
            limits=self._limits,
        )

    def _checked_socket(self) -> socket.socket:
        if self._socket is None:
            raise _closed()
        if os.getpid() != self._pid:
            # Two processes would count the same numbers under the same key.
            raise Fenced("transport", reason="it was opened before this process was forked")
        return self._socket

    def _checked_target(self, address: str, sock: socket.socket) -> str:
        host, _ = parse_address(address)
        if self._keyring is None and not is_loopback(host):
            raise InvalidInput(
                "address", expected="a loopback address; others need a keyring", found=address
            )
        is_six = ":" in host
        if is_six != (sock.family is socket.AF_INET6) and (is_six or self._host != "::"):
            raise InvalidInput(
                "address", expected=f"one of the family of {self._host}", found=address
            )
        return canonical(address)

    async def _read(self, sock: socket.socket, inbox: MemoryObjectSendStream[Received]) -> None:
        while True:
            await anyio.wait_readable(sock)
            for _ in range(_BATCH):
                try:
                    # One byte more than may be, so that what is too long shows.
                    packet, peer = sock.recvfrom(MAX_PACKET + 1)
                except BlockingIOError:
                    break
                except OSError:
                    # The system tells here of a datagram that we sent in vain.
                    self._refuse(Refusal.UNREACHABLE)
                    break
                if not self._networks.admit(peer[0]):
                    self._refuse(Refusal.FOREIGN)
                    continue
                self._take(sock, inbox, packet, format_address(peer[0], peer[1]))

    def _take(
        self,
        sock: socket.socket,
        inbox: MemoryObjectSendStream[Received],
        packet: bytes,
        address: str,
    ) -> None:
        try:
            taken = self._packets.take(packet, address, _now_ns())
        except Exception:
            # Whatever a stranger sends, the loop goes on; the fuzz tests look for this count.
            self._refuse(Refusal.BROKEN)
            return
        for reply in taken.replies:
            if self._put(sock, reply, address):
                self._udp_tally.moved("sent", len(reply))
        if taken.refused is not None:
            self._refuse(taken.refused)
        elif taken.delivered is not None:
            try:
                inbox.send_nowait(taken.delivered)
            except anyio.WouldBlock:
                self._refuse(Refusal.QUEUE_FULL)
                return
            self._udp_tally.moved("received", len(packet))

    def _put(self, sock: socket.socket, packet: bytes, address: str) -> bool:
        host, port = parse_address(address)
        if sock.family is socket.AF_INET6 and ":" not in host:
            host = f"::ffff:{host}"
        try:
            sock.sendto(packet, (host, port))
        except OSError:
            # Full, no route, or a path that would need fragments: as lost as on the way.
            self._refuse(Refusal.UNREACHABLE)
            return False
        return True

    def _refuse(self, reason: Refusal) -> None:
        self._udp_tally.refuse(reason, now_s=anyio.current_time())


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Look a name up, for `send` and `request`; all its addresses, the preferred first.

    Raises:
        Unavailable: The name is not known now.
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"host {host!r}", "its name cannot be looked up") from error
    return tuple(dict.fromkeys(format_address(each[4][0], each[4][1]) for each in found))


def _check_plaintext(keyring: Keyring | None, host: str, *, plaintext: bool) -> None:
    if type(plaintext) is not bool:
        # "false" would count as true.
        raise InvalidInput("plaintext", expected="True or False", found=plaintext)
    if keyring is not None and not isinstance(keyring, Keyring):
        # What was given may be the secret itself: it is not shown.
        raise InvalidInput("keyring", expected="Keyring(Key(secret))", found=type(keyring).__name__)
    if keyring is None and not plaintext:
        raise InvalidInput(
            "keyring",
            expected="Keyring(Key(secret)) with a secret of new_secret(), "
            "or plaintext=True on a loopback address",
            found=None,
        )
    if keyring is not None and plaintext:
        raise InvalidInput("plaintext", expected="a keyring or plaintext, not both", found=True)
    if plaintext and not is_loopback(host):
        raise InvalidInput(
            "plaintext",
            expected="a loopback host such as 127.0.0.1; any other needs a keyring",
            found=host,
        )


async def _next(queue: MemoryObjectReceiveStream[_T] | None) -> _T:
    if queue is None:
        raise _closed()
    try:
        return await queue.receive()
    except (anyio.EndOfStream, anyio.ClosedResourceError) as error:
        raise _closed() from error


def _closed() -> Unavailable:
    return Unavailable("transport", "it is not open", hint="use it inside `async with`")


def _now_ns() -> int:
    return int(anyio.current_time() * _NS)
