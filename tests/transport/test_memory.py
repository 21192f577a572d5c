"""The network in memory: faults as drawn, cuts, bounds."""

from __future__ import annotations

from random import Random

import anyio
import pytest

from federlib.errors import InvalidInput, OutcomeUnknown, Unavailable
from federlib.telemetry import RecordingSink, Telemetry
from federlib.testing import run_virtually
from federlib.transport import Limits, MemoryHub, MemoryTransport

pytestmark = pytest.mark.anyio

ADA = "10.0.0.1:7000"
BEN = "10.0.0.2:7000"


async def everything(hub: MemoryHub, transport: MemoryTransport) -> list[bytes]:
    """Receive what is under way; the hub loses and doubles nothing from then on."""
    hub.loss = hub.duplicate = 0.0
    await transport.send(transport.address, b"the last")
    found: list[bytes] = []
    while (received := await transport.receive()).payload != b"the last":
        found.append(received.payload)
    return found


async def carried(hub: MemoryHub, number: int) -> list[int]:
    async with hub.transport(ADA) as ada, hub.transport(BEN) as ben:
        for each in range(number):
            await ada.send(BEN, b"%d" % each)
        return [int(payload) for payload in await everything(hub, ben)]


async def test_the_same_draw_loses_and_doubles_the_same() -> None:
    first, second = [
        await carried(MemoryHub(draw=Random(7).random, loss=0.3, duplicate=0.2), 200)
        for _ in range(2)
    ]
    assert first == second
    lost = 200 - len(set(first))
    assert 40 <= lost <= 80
    assert 15 <= len(first) - len(set(first)) <= 45


async def test_all_may_be_lost() -> None:
    assert await carried(MemoryHub(draw=Random(7).random, loss=1.0), 50) == []


def test_trips_that_differ_let_datagrams_overtake_and_take_their_time() -> None:
    async def play() -> tuple[list[int], float]:
        hub = MemoryHub(draw=Random(7).random, delay_s=(1.0, 2.0))
        async with hub.transport(ADA) as ada, hub.transport(BEN) as ben:
            start_s = anyio.current_time()
            for each in range(20):
                await ada.send(BEN, b"%d" % each)
            found = [int((await ben.receive()).payload) for _ in range(20)]
            return found, anyio.current_time() - start_s

    found, took_s = run_virtually(play)
    assert sorted(found) == list(range(20))
    assert found != sorted(found)
    assert 1.9 <= took_s <= 2.0


async def test_a_cut_parts_two_groups_until_it_is_healed() -> None:
    hub = MemoryHub(draw=Random(7).random)
    cy = "10.0.0.3:7000"
    async with hub.transport(ADA) as ada, hub.transport(BEN) as ben, hub.transport(cy) as third:
        hub.cut([ADA, BEN])
        await ada.send(BEN, b"within")
        await ada.send(cy, b"across")
        with pytest.raises(Unavailable):
            await third.request(ADA, b"x", timeout_s=1)
        hub.heal()
        await ada.send(cy, b"healed")
        assert await everything(hub, ben) == [b"within"]
        assert await everything(hub, third) == [b"healed"]


async def test_an_answer_does_not_cross_a_cut() -> None:
    hub = MemoryHub(draw=Random(7).random)
    async with hub.transport(ADA) as ada, hub.transport(BEN) as ben:

        async def serve() -> None:
            asked = await ben.receive_request()
            hub.cut([BEN])
            asked.answer(b"too late")

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            with pytest.raises(OutcomeUnknown):
                await ada.request(BEN, b"x", timeout_s=1)


async def test_queues_are_bounded_and_drops_are_counted() -> None:
    hub, sink = MemoryHub(draw=Random(7).random), RecordingSink()
    ben = hub.transport(BEN, limits=Limits(queue=10), telemetry=Telemetry(sink))
    async with hub.transport(ADA) as ada, ben:
        for each in range(25):
            await ada.send(BEN, b"%d" % each)
            with anyio.move_on_after(0):
                await ada.request(BEN, b"x", timeout_s=0)
        for _ in range(10):
            await ben.receive()
    full = sink.value("federlib_transport_refused_total", channel="memory", reason="queue_full")
    assert full >= 15
    received = sink.value(
        "federlib_transport_messages_total", channel="memory", direction="received"
    )
    assert received == 10


async def test_requests_that_nobody_takes_are_bounded() -> None:
    hub, sink = MemoryHub(draw=Random(7).random), RecordingSink()
    ben = hub.transport(BEN, limits=Limits(queue=2), telemetry=Telemetry(sink))
    async with hub.transport(ADA) as ada, ben:
        for _ in range(5):
            with pytest.raises(OutcomeUnknown):
                await ada.request(BEN, b"x", timeout_s=0)
    full = sink.value("federlib_transport_refused_total", channel="memory", reason="queue_full")
    assert full == 3


async def test_the_hub_says_who_has_which_role() -> None:
    hub = MemoryHub(draw=Random(7).random)
    async with hub.transport(ADA, role="gate") as ada, hub.transport(BEN) as ben:
        await ada.send(BEN, b"x")
        received = await ben.receive()
        assert (received.role, received.vouches_for("worker")) == ("gate", False)
        assert "gate" in repr(ada)


async def test_two_do_not_listen_at_one_address_and_one_may_come_again() -> None:
    hub = MemoryHub(draw=Random(7).random)
    async with hub.transport(BEN) as ben:
        async with hub.transport(ADA) as ada:
            with pytest.raises(Unavailable, match="another transport listens there"):
                await hub.transport("[::ffff:10.0.0.1]:7000").__aenter__()
            await ada.send(BEN, b"1")
            first = await ben.receive()
        async with ada:
            await ada.send(BEN, b"2")
            second = await ben.receive()
    assert (first.is_first, second.is_first) == (True, True)
    assert first.session != second.session


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="address"):
        MemoryHub(draw=Random(7).random).transport("somewhere:1")
