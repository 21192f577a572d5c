"""A server that is not open: what it still tells, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from federlib.errors import Conflict, Unavailable
from federlib.membership.effects import LeaveTold, PeerMeasured
from federlib.membership.feed import ServerEvent
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.roles import PeerRole
from federlib.membership.server import HealthAwareServer
from federlib.testing import LoopClock, virtual_backend
from federlib.transport import MemoryHub, Transport

pytestmark = pytest.mark.anyio
HERE, THERE = "10.0.0.1:7946", "10.0.0.2:7946"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run these in virtual time: a goodbye that nobody hears is waited for."""
    return virtual_backend(request.param)


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub(draw=lambda: 0.5)


def member(
    transport: Transport,
    name: str = "n0",
    *,
    role: PeerRole = PeerRole.GATE,
    leave_timeout_s: float = 2.0,
) -> HealthAwareServer:
    return HealthAwareServer(
        transport,
        name,
        role,
        epoch=1,
        clock=LoopClock(),
        leave_timeout_s=leave_timeout_s,
    )


@asynccontextmanager
async def pair_on(hub: MemoryHub) -> AsyncIterator[tuple[HealthAwareServer, HealthAwareServer]]:
    async with (
        hub.transport(HERE) as here,
        hub.transport(THERE) as there,
        member(there, "n1") as other,
        member(here, leave_timeout_s=0.01) as one,
    ):
        other.join([HERE])
        with anyio.fail_after(30):
            while not (one.vivaldi.peers() and other.vivaldi.peers()):
                await anyio.sleep(0.1)
        yield one, other


async def refuses_to_take_part(server: HealthAwareServer) -> None:
    with anyio.fail_after(1):
        with pytest.raises(Unavailable, match="it is not open"):
            server.join([HERE])
        with pytest.raises(Unavailable, match="it is not open"):
            await server.leave()
        with pytest.raises(Unavailable, match="it is not open"):
            async with server.events():
                pytest.fail("it feeds nobody")


async def test_before_it_is_entered_it_takes_no_part_and_ending_it_does_nothing(
    hub: MemoryHub,
) -> None:
    async with hub.transport(HERE) as transport:
        server = member(transport)
        await refuses_to_take_part(server)
        assert await server.__aexit__(None, None, None) is None
        async with server:
            assert server.members() == ()


async def test_after_its_end_it_takes_no_part_and_to_end_it_again_does_nothing(
    hub: MemoryHub,
) -> None:
    async with hub.transport(HERE) as transport:
        async with member(transport) as server:
            pass
        await refuses_to_take_part(server)
        assert await server.__aexit__(None, None, None) is None
        assert server.members() == ()
        with pytest.raises(Conflict, match="used before"):
            await server.__aenter__()


async def test_its_feeds_end_with_it(hub: MemoryHub) -> None:
    told: list[ServerEvent] = []
    async with hub.transport(HERE) as transport, anyio.create_task_group() as tasks:
        async with member(transport) as server:
            reading = anyio.Event()

            async def read() -> None:
                async with server.events() as events:
                    reading.set()
                    told.extend([event async for event in events])

            tasks.start_soon(read)
            await reading.wait()
        with anyio.fail_after(1):
            while not told:
                await anyio.sleep(0.01)
    assert told == [LeaveTold()]


async def test_whoever_waits_for_a_goodbye_that_is_cut_short_hears_of_it(hub: MemoryHub) -> None:
    outcomes: list[str] = []
    async with anyio.create_task_group() as tasks:
        async with pair_on(hub) as (one, _):
            hub.cut([HERE])

            async def leave() -> None:
                with pytest.raises(Unavailable, match="closed while it said goodbye"):
                    await one.leave()
                outcomes.append("told")

            tasks.start_soon(leave)
            await anyio.sleep(0.01)
        with anyio.fail_after(1):
            while not outcomes:
                await anyio.sleep(0.01)


@pytest.mark.parametrize(
    "how", ["before the end", "during the end", "before leave", "during leave"]
)
async def test_without_its_transport_nobody_waits_for_a_goodbye(hub: MemoryHub, how: str) -> None:
    transport = hub.transport(HERE)

    async def close() -> None:
        if how.startswith("during"):
            await anyio.sleep(0.1)
        await transport.__aexit__(None, None, None)

    async with (
        hub.transport(THERE) as there,
        member(there, "n1", leave_timeout_s=0.01) as other,
        anyio.create_task_group() as tasks,
    ):
        with pytest.raises(Unavailable):
            async with transport, member(transport, leave_timeout_s=60.0) as server:
                server.join([THERE])
                while not other.members():
                    await anyio.sleep(0.1)
                began = anyio.current_time()
                tasks.start_soon(close)
                if how.startswith("before"):
                    await anyio.sleep(0)
                if how.endswith("leave"):
                    await server.leave()
        assert anyio.current_time() - began < 0.2


@pytest.mark.parametrize("role", [PeerRole.GATE, PeerRole.WORKER])
async def test_a_goodbye_is_told_before_leave_returns(hub: MemoryHub, role: PeerRole) -> None:
    async with (
        hub.transport(HERE) as here,
        hub.transport(THERE) as there,
        member(there, "n1", leave_timeout_s=0.01) as other,
    ):
        async with member(here, role=role) as one:
            one.join([THERE])
            with anyio.fail_after(30):
                while other.member("n0") is None:
                    await anyio.sleep(0.1)
            await one.leave()
        await anyio.sleep(0.1)
        left = other.member("n0")
        assert left is not None
        assert left.state is NodeLifecycleState.LEFT


@pytest.mark.parametrize("role", [PeerRole.GATE, PeerRole.WORKER])
async def test_who_is_cancelled_says_goodbye_too(hub: MemoryHub, role: PeerRole) -> None:
    async with (
        hub.transport(HERE) as here,
        hub.transport(THERE) as there,
        member(there, "n1", leave_timeout_s=0.01) as other,
    ):
        with anyio.move_on_after(10.0) as scope:
            async with member(here, role=role) as one:
                one.join([THERE])
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        await anyio.sleep(0.5)
        left = other.member("n0")
        assert left is not None
        assert left.state is NodeLifecycleState.LEFT
        with pytest.raises(Unavailable):
            one.join([THERE])


@pytest.mark.parametrize("detailed", [False, True])
async def test_measurements_are_told_to_who_asks_for_them(
    hub: MemoryHub, *, detailed: bool
) -> None:
    async with pair_on(hub) as (one, _), one.events(detailed=detailed) as events:
        before = one.vivaldi.counts.updates
        with anyio.fail_after(60):
            while one.vivaldi.counts.updates < before + 3:
                await anyio.sleep(0.5)
        events.end()
        told = [event async for event in events]
        assert any(isinstance(event, PeerMeasured) for event in told) is detailed
