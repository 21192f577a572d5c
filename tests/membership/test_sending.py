"""What waits to be sent is bounded, and what is lost is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from federlib.membership.effects import Send
from federlib.membership.sending import Sender
from federlib.testing import virtual_backend
from federlib.transport import MemoryHub, MemoryTransport, Received

pytestmark = pytest.mark.anyio
HERE, THERE = "10.0.0.1:7946", "10.0.0.2:7946"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run these in virtual time: streams that nobody answers are waited for."""
    return virtual_backend(request.param)


@asynccontextmanager
async def sending(answers: list[Received]) -> AsyncIterator[tuple[Sender, MemoryTransport]]:
    hub = MemoryHub(draw=lambda: 0.5)
    async with (
        hub.transport(HERE) as here,
        hub.transport(THERE) as there,
        anyio.create_task_group() as group,
    ):
        sender = Sender(here, answers.append)
        sender.begin(group)
        yield sender, there
        group.cancel_scope.cancel()


async def test_packets_go_in_their_order_and_what_comes_on_top_is_lost() -> None:
    async with sending([]) as (sender, there):
        for number in range(4_100):
            sender.post(Send(THERE, b"%d" % number))
        assert sender.is_waiting
        assert sender.lost == 4
        with anyio.fail_after(5):
            assert [(await there.receive()).payload for _ in range(3)] == [b"0", b"1", b"2"]
            while sender.is_waiting:
                await anyio.sleep(0.01)
        assert sender.lost == 4


async def test_an_address_that_is_none_is_lost_and_the_rest_goes_on() -> None:
    async with sending([]) as (sender, there):
        sender.post(Send("gate-1:7946", b"lost"))
        sender.post(Send(THERE, b"sent"))
        with anyio.fail_after(5):
            assert (await there.receive()).payload == b"sent"
        assert sender.lost == 1


async def test_streams_that_are_open_and_that_wait_are_bounded() -> None:
    answers: list[Received] = []
    async with sending(answers) as (sender, there):
        for number in range(40):
            sender.post(Send(THERE, b"%d" % number, reliable=True))
            await anyio.sleep(0.01)
        assert sender.lost == 40 - 32
        with anyio.fail_after(5):
            for number in range(32):
                (await there.receive_request()).answer(b"" if number else b"yes")
            await anyio.sleep(1)
        assert [each.payload for each in answers] == [b"yes"]
        assert sender.lost == 40 - 32


async def test_a_stream_that_nobody_answers_is_lost() -> None:
    answers: list[Received] = []
    async with sending(answers) as (sender, _):
        sender.post(Send("10.0.0.9:7946", b"nobody", reliable=True))
        sender.post(Send(THERE, b"silent", reliable=True))
        await anyio.sleep(6)
        assert (sender.lost, answers) == (2, [])


async def test_when_its_tasks_have_ended_a_stream_is_lost() -> None:
    hub = MemoryHub(draw=lambda: 0.5)
    async with hub.transport(HERE) as here, hub.transport(THERE):
        sender = Sender(here, list[Received]().append)
        async with anyio.create_task_group() as group:
            sender.begin(group)
            group.cancel_scope.cancel()
        sender.end()
        sender.post(Send(THERE, b"late", reliable=True))
        assert sender.lost == 1


async def test_any_number_of_tasks_wait_until_all_is_sent() -> None:
    async with sending([]) as (sender, there), anyio.create_task_group() as tasks:
        done: list[int] = []

        async def wait(number: int) -> None:
            await sender.wait_sent(sender.asking)
            done.append(number)

        sender.post(Send(THERE, b"stream", reliable=True))
        sender.post(Send(THERE, b"packet"))
        for number in range(2):
            tasks.start_soon(wait, number)
        await anyio.sleep(1)
        assert (sender.is_waiting, done) == (False, [])
        # Of later streams nobody waits.
        sender.post(Send(THERE, b"later", reliable=True))
        (await there.receive_request()).answer(b"")
        await anyio.sleep(1)
        assert sorted(done) == [0, 1]
        assert len(sender.asking) == 1
