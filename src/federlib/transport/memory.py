"""`MemoryHub`: a network inside one process, which loses, delays and doubles as it is told.

    hub = MemoryHub(draw=Random(7).random, loss=0.05, delay_s=(0.002, 0.010))
    async with hub.transport("10.0.0.1:7000") as ada, hub.transport("10.0.0.2:7000") as ben:
        await ada.send(ben.address, b"hello")
        received = await ben.receive()

Nothing is sealed here: who is who is what the hub was told.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from federlib.errors import Conflict, OutcomeUnknown, Unavailable
from federlib.telemetry import SILENT, Telemetry
from federlib.transport.addresses import canonical
from federlib.transport.envelope import ROOM
from federlib.transport.protocol import (
    Asked,
    Limits,
    Received,
    check_datagram,
    check_stream,
    check_timeout,
    closed_while_asking,
)
from federlib.transport.refusals import Refusal, Tally

__all__ = ["MemoryHub", "MemoryTransport"]


class MemoryHub:
    """The network. Its attributes may be changed at any time, and count from then on.

    Args:
        draw: Draws a number from 0 up to 1, for example `random.Random(7).random`.
        loss: The share of datagrams that are lost; 0 to 1.
        duplicate: The share that come twice.
        delay_s: The shortest and the longest trip of a datagram; seconds. Trips that differ
            let datagrams overtake one another.
    """

    def __init__(
        self,
        *,
        draw: Callable[[], float],
        loss: float = 0.0,
        duplicate: float = 0.0,
        delay_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.draw: Callable[[], float] = draw
        self.loss: float = loss
        self.duplicate: float = duplicate
        self.delay_s: tuple[float, float] = delay_s
        self._there: dict[str, MemoryTransport] = {}
        self._cuts: list[frozenset[str]] = []

    def transport(
        self,
        address: str,
        *,
        role: str | None = None,
        limits: Limits | None = None,
        telemetry: Telemetry = SILENT,
    ) -> MemoryTransport:
        """Make a transport on this network; it listens once it is opened.

        Args:
            address: Where it is.
            role: What its messages prove it to be.
            limits: What it holds at most.
            telemetry: Where numbers go.

        Raises:
            InvalidInput: The address is none.
        """
        return MemoryTransport(self, canonical(address), role, limits or Limits(), telemetry)

    def cut(self, addresses: Collection[str]) -> None:
        """Part these from all others, both ways; within the group all goes on."""
        self._cuts.append(frozenset(map(canonical, addresses)))

    def heal(self) -> None:
        """Undo every cut."""
        self._cuts.clear()

    def carries(self, sender: str, to: str) -> bool:
        """Say whether no cut lies between two addresses."""
        return all((sender in group) == (to in group) for group in self._cuts)

    def find(self, sender: str, to: str) -> MemoryTransport | None:
        """Find who listens at an address and can be reached from another."""
        return self._there.get(to) if self.carries(sender, to) else None

    def trips(self) -> tuple[float, ...]:
        """Draw how long each copy of a datagram is under way; none if it is lost; seconds."""
        if self.draw() < self.loss:
            return ()
        copies = 2 if self.draw() < self.duplicate else 1
        least, most = self.delay_s
        return tuple(least + (most - least) * self.draw() for _ in range(copies))

    def enter(self, transport: MemoryTransport) -> None:
        """Let a transport listen.

        Raises:
            Unavailable: Another one listens there.
        """
        if transport.address in self._there:
            raise Unavailable(f"memory {transport.address}", "another transport listens there")
        self._there[transport.address] = transport

    def leave(self, transport: MemoryTransport) -> None:
        """Let a transport listen no more."""
        del self._there[transport.address]


class MemoryTransport:
    """A `Transport` on a `MemoryHub`, which makes it."""

    def __init__(
        self,
        hub: MemoryHub,
        address: str,
        role: str | None,
        limits: Limits,
        telemetry: Telemetry,
    ) -> None:
        self._hub = hub
        self._address = address
        self._role = role
        self._limits = limits
        self._tally = Tally(telemetry, "memory")
        self._is_open = False
        self._openings = 0
        self._coming: list[tuple[float, int, Received]] = []
        self._asked: deque[Asked] = deque()
        self._count = 0
        self._heard: set[str] = set()
        self._news = anyio.Event()
        self._asking: set[anyio.CancelScope] = set()

    def __repr__(self) -> str:
        return f"MemoryTransport({self._address!r}, role={self._role!r})"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            Unavailable: Another one listens there.
        """
        if self._is_open:
            raise Conflict("transport", expected="closed", actual="open")
        self._hub.enter(self)
        self._is_open = True
        self._openings += 1
        self._coming.clear()
        self._asked.clear()
        self._heard.clear()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Listen no more; whoever waits gets `Unavailable`. Again is no error."""
        if self._is_open:
            self._is_open = False
            self._hub.leave(self)
            self._ring()
            for scope in self._asking:
                scope.cancel()
        return None

    @property
    def address(self) -> str:
        """Where it is."""
        return self._address

    @property
    def max_payload(self) -> int:
        """Bytes that one datagram carries; as under a key without a signature."""
        return self._limits.max_packet - ROOM

    async def send(self, address: str, payload: bytes) -> None:
        """Send one datagram.

        Raises:
            InvalidInput: The address is none, or the payload is longer than `max_payload`.
            Unavailable: The transport is not open.
        """
        await anyio.lowlevel.checkpoint()
        self._check_open()
        address = canonical(address)
        payload = check_datagram(payload, max_payload=self.max_payload)
        self._tally.moved("sent", len(payload))
        to = self._hub.find(self._address, address)
        trips = self._hub.trips()
        if to is None or not trips:
            self._refuse(Refusal.LOST)
            return
        session = f"{self._address}#{self._openings}"
        for trip_s in trips:
            to.deliver(payload, self._address, self._role, session, trip_s)

    def deliver(
        self, payload: bytes, sender: str, role: str | None, session: str, trip_s: float
    ) -> None:
        """Take a datagram that arrives after a while; the hub's side of it."""
        if len(self._coming) >= self._limits.queue:
            self._refuse(Refusal.QUEUE_FULL)
            return
        self._count += 1
        is_first = session not in self._heard
        self._heard.add(session)
        received = Received(
            payload=payload,
            address=sender,
            role=role,
            session=session,
            is_proven=True,
            is_first=is_first,
        )
        heapq.heappush(self._coming, (anyio.current_time() + trip_s, self._count, received))
        self._ring()

    async def receive(self) -> Received:
        """Wait for the next datagram.

        Raises:
            Unavailable: The transport is not open.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            self._check_open()
            wait_s = None
            if self._coming:
                wait_s = self._coming[0][0] - anyio.current_time()
                if wait_s <= 0:
                    received = heapq.heappop(self._coming)[2]
                    self._tally.moved("received", len(received.payload))
                    return received
            with anyio.move_on_after(wait_s):
                await self._news.wait()

    async def request(self, address: str, payload: bytes, *, timeout_s: float) -> Received:
        """Send a request and wait for its answer.

        Raises:
            InvalidInput: The address is none, the payload is longer than `Limits.max_stream`,
                or `timeout_s` is no number or negative.
            Unavailable: Nobody was reached, or the transport is not open; nothing was sent.
            OutcomeUnknown: The request left, and no answer came, or the transport was closed.
        """
        await anyio.lowlevel.checkpoint()
        self._check_open()
        address = canonical(address)
        payload = check_stream(payload, max_bytes=self._limits.max_stream)
        check_timeout(timeout_s)
        to = self._hub.find(self._address, address)
        if to is None:
            raise Unavailable(f"peer {address}", "nobody listens there")
        answered = anyio.Event()
        answers: list[bytes] = []

        def answer(given: bytes) -> None:
            answers.append(given)
            answered.set()

        received = Received(payload=payload, address=self._address, role=self._role, is_proven=True)
        to.ask(Asked(received, answer, max_bytes=self._limits.max_stream))
        with anyio.move_on_after(timeout_s) as scope:
            self._asking.add(scope)
            try:
                await answered.wait()
            finally:
                self._asking.discard(scope)
        if not (answers or self._is_open):
            raise closed_while_asking(address)
        if not answers or not self._hub.carries(address, self._address):
            raise OutcomeUnknown(
                f"request to {address}",
                transaction_id=None,
                reason=f"no answer within {timeout_s:g} s",
            )
        return Received(payload=answers[0], address=address, role=to.role, is_proven=True)

    @property
    def role(self) -> str | None:
        """What its messages prove it to be."""
        return self._role

    def ask(self, asked: Asked) -> None:
        """Take a request; the hub's side of it."""
        if len(self._asked) >= self._limits.queue:
            self._refuse(Refusal.QUEUE_FULL)
            return
        self._asked.append(asked)
        self._ring()

    async def receive_request(self) -> Asked:
        """Wait for the next request of another.

        Raises:
            Unavailable: The transport is not open.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if self._asked:
                return self._asked.popleft()
            await self._news.wait()

    def _check_open(self) -> None:
        if not self._is_open:
            raise Unavailable("transport", "it is not open", hint="use it inside `async with`")

    def _ring(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    def _refuse(self, reason: Refusal) -> None:
        self._tally.refuse(reason, now_s=anyio.current_time())
