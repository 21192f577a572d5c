"""Requests on real sockets: strangers, limits, breaks."""

from __future__ import annotations

import socket
import struct

import anyio
import pytest

from federlib.errors import InvalidInput, OutcomeUnknown
from federlib.transport import (
    Asked,
    Limits,
    Refusal,
    UdpTransport,
)
from federlib.transport.addresses import parse_address
from federlib.transport.frames import HELLO
from transport.sockets import PATIENCE_S, Counts, dialled, sealed

pytestmark = pytest.mark.anyio


async def test_streams_beyond_the_limit_are_refused(counts: Counts) -> None:
    limits = Limits(streams=2)
    async with (
        sealed(limits=limits, counts=counts) as one,
        sealed() as other,
        anyio.create_task_group() as group,
    ):
        for _ in range(2):
            group.start_soon(_ask_in_vain, other, one.address)
            await one.receive_request()
        async with dialled(one) as third:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await third.receive()
        assert counts.refused(Refusal.BUSY, "tcp") == 1
        group.cancel_scope.cancel()


async def _ask_in_vain(asker: UdpTransport, address: str) -> None:
    await asker.request(address, b"x", timeout_s=PATIENCE_S)


async def test_who_has_no_key_holds_no_place_that_another_needs(counts: Counts) -> None:
    limits = Limits(streams=2)
    async with (
        sealed(limits=limits, counts=counts) as one,
        sealed() as other,
        dialled(one) as first,
        dialled(one),
        anyio.create_task_group() as group,
    ):
        for number in range(3):

            async def answer() -> None:
                (await one.receive_request()).answer(b"yes")

            group.start_soon(answer)
            answered = await other.request(one.address, b"x", timeout_s=PATIENCE_S)
            assert answered.payload == b"yes"
            # The first of the two had to go, and then there is room.
            assert counts.refused(Refusal.BUSY, "tcp") == 1, number
        with anyio.fail_after(PATIENCE_S), pytest.raises((anyio.EndOfStream, OSError)):
            await first.receive()
        assert counts.refused(Refusal.TIMEOUT, "tcp") == 0


async def test_who_hangs_up_at_once_is_no_mistake_of_ours(counts: Counts) -> None:
    async with sealed(counts=counts) as one:
        host, port = parse_address(one.address)
        with socket.socket() as sock:
            # Closing sends a reset.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.connect((host, port))
        await counts.wait_for(Refusal.TRUNCATED, channel="tcp")
        assert counts.refused(Refusal.BROKEN, "tcp") == 0


async def test_a_stream_that_says_nothing_is_closed(counts: Counts) -> None:
    limits = Limits(hello_s=0.05)
    async with sealed(limits=limits, counts=counts) as one, dialled(one) as stream:
        with anyio.fail_after(PATIENCE_S), pytest.raises(anyio.EndOfStream):
            await stream.receive()
        assert counts.refused(Refusal.TIMEOUT, "tcp") == 1


async def test_a_stream_that_breaks_off_is_counted(counts: Counts) -> None:
    async with sealed(counts=counts) as one:
        async with dialled(one) as stream:
            await stream.send(b"\x01" * (HELLO - 1))
        await counts.wait_for(Refusal.TRUNCATED, channel="tcp")


async def test_a_request_that_is_never_answered_ends(counts: Counts) -> None:
    limits = Limits(stream_s=0.1)
    async with sealed(limits=limits, counts=counts) as one, sealed() as other:
        with pytest.raises(OutcomeUnknown):
            await other.request(one.address, b"x", timeout_s=PATIENCE_S)
        assert (await one.receive_request()).received.payload == b"x"
        assert counts.refused(Refusal.TIMEOUT, "tcp") == 1


async def test_requests_that_nobody_takes_are_refused(counts: Counts) -> None:
    async with sealed(limits=Limits(queue=1), counts=counts) as one, sealed() as other:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await other.request(one.address, b"x", timeout_s=0.2)
        assert counts.refused(Refusal.QUEUE_FULL, "tcp") == 1


async def test_a_claim_of_four_gigabytes_is_refused_before_it_is_held(counts: Counts) -> None:
    async with (
        UdpTransport(cluster="c", plaintext=True, telemetry=counts.telemetry) as one,
        dialled(one) as stream,
    ):
        await stream.send(bytes(HELLO - 1) + b"\x01" + struct.pack(">I", 2**32 - 1))
        await counts.wait_for(Refusal.OVERSIZE, channel="tcp")


async def test_an_answer_that_is_too_long_is_refused_and_another_may_follow() -> None:
    limits = Limits(max_stream=10)
    async with sealed(limits=limits) as one, sealed(limits=limits) as other:

        async def serve() -> None:
            asked: Asked = await one.receive_request()
            assert "bytes=1)" in repr(asked)
            with pytest.raises(InvalidInput, match="at most 10 bytes on a stream"):
                asked.answer(b"x" * 11)
            asked.answer(b"x" * 10)

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            answer = await other.request(one.address, b"x", timeout_s=PATIENCE_S)
        assert answer.payload == b"x" * 10
        with pytest.raises(InvalidInput, match="at most 10 bytes on a stream"):
            await other.request(one.address, b"x" * 11, timeout_s=1)
