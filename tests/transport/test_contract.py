"""One contract for every transport: memory, and UDP with keys, with signed keys and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from random import Random

import pytest

from federlib.testing.transport_contract import Pair, TransportContract
from federlib.transport import Key, Keyring, MemoryHub, Transport, UdpTransport
from transport.keys import SECRET, SIGN


class TestMemory(TransportContract):
    @pytest.fixture(autouse=True)
    def network(self) -> None:
        self.hub = MemoryHub(draw=Random(7).random)
        self.ports = count(7_000)

    def closed(self) -> Transport:
        return self.hub.transport(f"10.0.0.1:{next(self.ports)}")

    @asynccontextmanager
    async def transports(self) -> AsyncIterator[Pair]:
        async with self.closed() as one, self.closed() as other:
            yield one, other


class TestUdp(TransportContract):
    host = "127.0.0.1"

    def closed(self) -> Transport:
        return UdpTransport(self.host, cluster="test", keyring=Keyring(Key(SECRET)))

    @asynccontextmanager
    async def transports(self) -> AsyncIterator[Pair]:
        async with self.closed() as one, self.closed() as other:
            yield one, other


class TestUdpOnSix(TestUdp):
    host = "::1"


class TestSignedUdp(TestUdp):
    def closed(self) -> Transport:
        keyring = Keyring(Key(SECRET, role="gate", sign=SIGN))
        return UdpTransport(cluster="test", keyring=keyring)


class TestPlainUdp(TestUdp):
    def closed(self) -> Transport:
        return UdpTransport(cluster="test", plaintext=True)
