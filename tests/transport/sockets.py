"""Transports on real sockets, and strangers who send to them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc

from federlib.telemetry import RecordingSink, Telemetry
from federlib.transport import Key, Keyring, Limits, Received, Refusal, Transport, UdpTransport
from federlib.transport.addresses import parse_address
from transport.keys import SECRET

PATIENCE_S = 10.0


class Counts:
    """What one transport has counted."""

    def __init__(self) -> None:
        self.sink = RecordingSink()
        self.telemetry = Telemetry(self.sink)

    def refused(self, reason: Refusal, channel: str = "udp") -> int:
        name = "federlib_transport_refused_total"
        return int(self.sink.value(name, channel=channel, reason=reason.value))

    async def wait_for(self, reason: Refusal, number: int = 1, channel: str = "udp") -> None:
        with anyio.fail_after(PATIENCE_S):
            while self.refused(reason, channel) < number:
                await anyio.sleep(0.001)


def sealed(
    host: str = "127.0.0.1",
    *,
    cluster: str = "test",
    secret: bytes = SECRET,
    limits: Limits | None = None,
    counts: Counts | None = None,
) -> UdpTransport:
    telemetry = Counts().telemetry if counts is None else counts.telemetry
    keyring = Keyring(Key(secret))
    return UdpTransport(host, cluster=cluster, keyring=keyring, limits=limits, telemetry=telemetry)


async def receive(transport: Transport) -> Received:
    with anyio.fail_after(PATIENCE_S):
        return await transport.receive()


def stray(to: Transport, *packets: bytes) -> None:
    """Send datagrams from nobody."""
    host, port = parse_address(to.address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for packet in packets:
            sock.sendto(packet, (host, port))


@asynccontextmanager
async def dialled(to: Transport) -> AsyncIterator[anyio.abc.SocketStream]:
    """Open a bare TCP connection."""
    host, port = parse_address(to.address)
    async with await anyio.connect_tcp(host, port) as stream:
        yield stream
