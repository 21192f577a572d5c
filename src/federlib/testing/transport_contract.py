"""`TransportContract`: a test for every sentence of the `Transport` protocol.

    class TestMyTransport(TransportContract):
        @asynccontextmanager
        async def transports(self):
            async with MyTransport() as one, MyTransport() as other:
                yield one, other

Subclass it in a test module. Needs pytest and anyio's pytest plugin; runs on every event loop
that the fixture `anyio_backend` names.

Does not promise: faults. What a hostile packet does is for the transport's own tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

import anyio
import pytest

from federlib.errors import Conflict, InvalidInput, OutcomeUnknown, Unavailable
from federlib.transport import MAX_PACKET, Asked, Received, Transport

__all__ = ["TransportContract"]

Pair = tuple[Transport, Transport]
"""Two transports that can reach each other."""

NO_ADDRESSES = (
    "", ":", "localhost:7000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
    "127.0.0.1:-1", "127.0.0.1:7000 ", "::1:7000", "[127.0.0.1]:7000", "[::1]", "300.0.0.1:7000",
    "127.0.0.1:\u0667", "\0", "x" * 10_000, "[fe80::1%\0]:7000", None, 7000,
)  # fmt: skip
"""Texts that are no address of any transport."""


class TransportContract:
    """Subclass it, give two transports, run pytest.

    Attributes:
        patience_s: How long a message may take; seconds of the loop's time.
    """

    patience_s: float = 10.0

    def transports(self) -> AbstractAsyncContextManager[Pair]:
        """Open two transports of one cluster that reach each other."""
        raise NotImplementedError

    def closed(self) -> Transport:
        """Make a transport and do not open it."""
        raise NotImplementedError

    async def receive(self, transport: Transport) -> Received:
        """Wait for the next datagram, not for ever."""
        with anyio.fail_after(self.patience_s):
            return await transport.receive()

    @asynccontextmanager
    async def answering(
        self, transport: Transport, answer: Callable[[Received], bytes]
    ) -> AsyncIterator[list[Received]]:
        """Answer the requests of the other while the body runs."""
        asked: list[Received] = []

        async def serve() -> None:
            while True:
                request = await transport.receive_request()
                asked.append(request.received)
                request.answer(answer(request.received))

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            yield asked
            group.cancel_scope.cancel()

    @pytest.mark.anyio
    async def test_it_is_a_transport(self) -> None:
        """It has every method, an address of its own and room in a datagram."""
        async with self.transports() as (one, other):
            assert isinstance(one, Transport)
            assert one.address != other.address
            assert 0 < one.max_payload < MAX_PACKET

    @pytest.mark.anyio
    @pytest.mark.parametrize("size", [0, 1, 1_000])
    async def test_a_datagram_comes_as_it_was_sent(self, size: int) -> None:
        """`payload`: the bytes, as they were sent; `address`: where it came from."""
        async with self.transports() as (one, other):
            await one.send(other.address, b"\xff" * size)
            received = await self.receive(other)
            assert (received.payload, received.address) == (b"\xff" * size, one.address)

    @pytest.mark.anyio
    async def test_an_answer_sent_to_the_address_arrives(self) -> None:
        """`address`: an answer sent there arrives."""
        async with self.transports() as (one, other):
            await one.send(other.address, b"ping")
            await other.send((await self.receive(other)).address, b"ack")
            assert (await self.receive(one)).payload == b"ack"

    @pytest.mark.anyio
    async def test_only_the_first_of_a_run_is_first(self) -> None:
        """`is_first`: whether it is the first from this run; `session`: names the run."""
        async with self.transports() as (one, other):
            found = []
            for number in range(3):
                await one.send(other.address, b"%d" % number)
                found.append(await self.receive(other))
            assert [each.payload for each in found] == [b"0", b"1", b"2"]
            assert len({each.session for each in found}) == 1
            if found[0].session:
                assert [each.is_first for each in found] == [True, False, False]

    @pytest.mark.anyio
    async def test_the_largest_datagram_arrives_and_a_larger_one_is_refused(self) -> None:
        """InvalidInput: the payload is longer than `max_payload`; nothing is fragmented."""
        async with self.transports() as (one, other):
            largest = b"x" * one.max_payload
            await one.send(other.address, largest)
            assert (await self.receive(other)).payload == largest
            with pytest.raises(InvalidInput, match=f"at most {one.max_payload} bytes"):
                await one.send(other.address, largest + b"x")

    @pytest.mark.anyio
    async def test_what_is_under_way_is_a_copy(self) -> None:
        """`payload`: the bytes, as they were sent, whatever becomes of the sender's buffer."""
        async with self.transports() as (one, other):
            buffer = bytearray(b"before")
            await one.send(other.address, cast("bytes", buffer))
            buffer[:] = b"behind"
            received = await self.receive(other)
            assert (received.payload, type(received.payload)) == (b"before", bytes)

    @pytest.mark.anyio
    @pytest.mark.parametrize("payload", ["text", None, 7])
    async def test_what_is_no_bytes_is_refused(self, payload: object) -> None:
        """InvalidInput: it is no bytes; where it is an answer, another may still be given."""
        async with self.transports() as (one, other):
            with pytest.raises(InvalidInput, match="payload: expected bytes"):
                await one.send(other.address, cast("bytes", payload))
            with pytest.raises(InvalidInput, match="payload: expected bytes"):
                await one.request(other.address, cast("bytes", payload), timeout_s=1)

            async def serve() -> None:
                asked: Asked = await other.receive_request()
                with pytest.raises(InvalidInput, match="payload: expected bytes"):
                    asked.answer(cast("bytes", payload))
                asked.answer(b"yes")

            async with anyio.create_task_group() as group:
                group.start_soon(serve)
                answer = await one.request(other.address, b"x", timeout_s=self.patience_s)
            assert answer.payload == b"yes"

    @pytest.mark.anyio
    @pytest.mark.parametrize("timeout_s", [-1, float("nan"), None, "1", True])
    async def test_what_is_no_duration_is_refused(self, timeout_s: object) -> None:
        """InvalidInput: `timeout_s` is no number or negative."""
        async with self.transports() as (one, other):
            with pytest.raises(InvalidInput, match="timeout_s: expected seconds"):
                await one.request(other.address, b"x", timeout_s=cast("float", timeout_s))

    @pytest.mark.anyio
    @pytest.mark.parametrize("address", NO_ADDRESSES)
    async def test_what_is_no_address_is_refused(self, address: object) -> None:
        """InvalidInput: the address is none; a name would have to be looked up."""
        async with self.transports() as (one, _):
            with pytest.raises(InvalidInput, match="address"):
                await one.send(cast("str", address), b"x")
            with pytest.raises(InvalidInput, match="address"):
                await one.request(cast("str", address), b"x", timeout_s=1)

    @pytest.mark.anyio
    async def test_nobody_there_is_no_error_for_a_datagram(self) -> None:
        """Whether it arrives nobody says."""
        async with self.transports() as (one, other):
            gone = other.address
            async with self.transports() as (another, _):
                gone = another.address
            await one.send(gone, b"x")
            await one.send(other.address, b"y")
            assert (await self.receive(other)).payload == b"y"

    @pytest.mark.anyio
    async def test_a_cancelled_receive_loses_nothing(self) -> None:
        """A cancelled `receive` loses nothing."""
        async with self.transports() as (one, other):
            for number in range(10):
                with anyio.move_on_after(0.0005):
                    await other.receive()
                await one.send(other.address, b"%d" % number)
                assert (await self.receive(other)).payload == b"%d" % number

    @pytest.mark.anyio
    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
    async def test_a_request_of_any_size_is_answered(self, size: int) -> None:
        """Send what may be larger than a datagram, and wait for its answer."""
        async with (
            self.transports() as (one, other),
            self.answering(other, lambda asked: asked.payload[::-1]) as asked,
        ):
            payload = bytes(index % 251 for index in range(size))
            answer = await one.request(other.address, payload, timeout_s=self.patience_s)
            assert [each.payload for each in asked] == [payload]
            assert (answer.payload, answer.address) == (payload[::-1], other.address)

    @pytest.mark.anyio
    async def test_requests_go_side_by_side(self) -> None:
        """A request waits for no other."""
        async with (
            self.transports() as (one, other),
            self.answering(other, lambda asked: asked.payload * 2),
        ):
            answers: dict[int, bytes] = {}

            async def ask(number: int) -> None:
                answer = await one.request(other.address, b"%d" % number, timeout_s=self.patience_s)
                answers[number] = answer.payload

            async with anyio.create_task_group() as group:
                for number in range(8):
                    group.start_soon(ask, number)
            assert answers == {number: b"%d" % number * 2 for number in range(8)}

    @pytest.mark.anyio
    async def test_a_request_to_nobody_was_not_sent(self) -> None:
        """Unavailable: nobody was reached."""
        async with self.transports() as (one, _):
            async with self.transports() as (another, _):
                gone = another.address
            with pytest.raises(Unavailable, match="peer"):
                await one.request(gone, b"x", timeout_s=self.patience_s)

    @pytest.mark.anyio
    async def test_a_request_without_answer_may_have_happened(self) -> None:
        """OutcomeUnknown: the request left, and no answer came."""
        async with self.transports() as (one, other):
            with pytest.raises(OutcomeUnknown, match="request to"):
                await one.request(other.address, b"x", timeout_s=0.2)

    @pytest.mark.anyio
    async def test_a_request_is_answered_once(self) -> None:
        """Conflict: an answer was given already."""
        async with self.transports() as (one, other):
            refused: list[str] = []

            async def serve() -> None:
                asked: Asked = await other.receive_request()
                asked.answer(b"first")
                with pytest.raises(Conflict) as caught:
                    asked.answer(b"second")
                refused.append(caught.value.actual)

            async with anyio.create_task_group() as group:
                group.start_soon(serve)
                answer = await one.request(other.address, b"x", timeout_s=self.patience_s)
            assert (answer.payload, refused) == (b"first", ["answered"])

    @pytest.mark.anyio
    async def test_one_that_is_not_open_says_so(self) -> None:
        """Unavailable: the transport is not open."""
        transport = self.closed()
        for call in self._calls(transport):
            with pytest.raises(Unavailable, match="not open"):
                await call()

    @pytest.mark.anyio
    async def test_who_waits_at_the_close_is_told(self) -> None:
        """Close it; whoever waits is told."""
        told: list[str] = []

        async def wait(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(Unavailable) as caught:
                await call()
            told.append(caught.value.reason)

        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as group, self.transports() as (one, _):
                group.start_soon(wait, one.receive)
                group.start_soon(wait, one.receive_request)
                await anyio.wait_all_tasks_blocked()
        assert told == ["it is not open"] * 2

    @pytest.mark.anyio
    async def test_who_waits_for_an_answer_at_the_close_is_told(self) -> None:
        """OutcomeUnknown: the request left, and the transport was closed."""
        told: list[str] = []

        async def wait(one: Transport, address: str) -> None:
            with pytest.raises(OutcomeUnknown) as caught:
                await one.request(address, b"x", timeout_s=2 * self.patience_s)
            told.append(caught.value.reason)

        with anyio.fail_after(self.patience_s):
            async with anyio.create_task_group() as group, self.transports() as (one, other):
                group.start_soon(wait, one, other.address)
                await other.receive_request()
        assert len(told) == 1

    @pytest.mark.anyio
    async def test_it_opens_once(self) -> None:
        """Conflict: it is open already."""
        async with self.transports() as (one, _):
            with pytest.raises(Conflict, match="expected closed"):
                await one.__aenter__()

    @pytest.mark.anyio
    async def test_to_close_what_is_closed_is_no_error(self) -> None:
        """Close it: again, or before it was opened, nothing happens."""
        await self.closed().__aexit__(None, None, None)
        async with self.transports() as (one, _):
            pass
        await one.__aexit__(None, None, None)
        with pytest.raises(Unavailable, match="not open"):
            await one.send("127.0.0.1:7000", b"x")

    def _calls(self, transport: Transport) -> list[Callable[[], Awaitable[object]]]:
        return [
            lambda: transport.send("127.0.0.1:7000", b"x"),
            lambda: transport.request("127.0.0.1:7000", b"x", timeout_s=1),
            transport.receive,
            transport.receive_request,
        ]
