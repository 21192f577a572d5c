"""Members on real event loops, over a network in memory and over UDP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import anyio
import attrs
import pytest

from federlib.errors import Conflict, OutcomeUnknown, Unavailable
from federlib.membership.config import SwimConfig
from federlib.membership.debug import debug_app
from federlib.membership.effects import (
    MemberDied,
    MemberJoined,
    MemberLeft,
    MemberRestarted,
    NameConflict,
)
from federlib.membership.feed import EventsMissed, ServerEvent
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import Alive, ConfirmationPing, encode_message, pack
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole
from federlib.membership.server import HealthAwareServer
from federlib.membership.timeouts import TimeoutSettings
from federlib.telemetry import RecordingSink, Telemetry
from federlib.transport import Key, Keyring, Limits, MemoryHub, UdpTransport, new_secret

pytestmark = pytest.mark.anyio
_E = TypeVar("_E")
_LIMIT_S = 30.0
QUICK = SwimConfig(
    interval_s=0.1,
    gossip_interval_s=0.02,
    push_pull_interval_s=0.5,
    reconnect_interval_s=0.5,
    timeouts=TimeoutSettings(slack_s=0.06, suspicion_mult=4.0, suspicion_max_mult=2.0),
)
ROLES = (PeerRole.GATE, PeerRole.MANAGER, PeerRole.MANAGER, PeerRole.WORKER)


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(_LIMIT_S):
        while not is_so():
            await anyio.sleep(0.01)


async def the_next(events: AsyncIterator[ServerEvent], kind: type[_E]) -> _E:
    with anyio.fail_after(_LIMIT_S):
        while True:
            event = await anext(events)
            if isinstance(event, kind):
                return event


def alive(server: HealthAwareServer) -> set[str]:
    return {m.node.name for m in server.members() if m.state is NodeLifecycleState.ALIVE}


@attrs.define
class Group:
    """Some members on one hub."""

    hub: MemoryHub
    stack: AsyncExitStack
    servers: list[HealthAwareServer] = attrs.field(factory=list)

    async def add(self, role: PeerRole, *, telemetry: Telemetry | None = None) -> HealthAwareServer:
        number = len(self.servers)
        transport = await self.stack.enter_async_context(
            self.hub.transport(f"10.0.0.{number + 1}:7946")
        )
        server = await self.stack.enter_async_context(
            HealthAwareServer(
                transport,
                f"n{number}",
                role,
                epoch=1,
                config=QUICK,
                telemetry=telemetry or Telemetry(),
                leave_timeout_s=0.5,
            )
        )
        server.join(["10.0.0.1:7946"])
        self.servers.append(server)
        return server


@asynccontextmanager
async def group_of(*roles: PeerRole) -> AsyncIterator[Group]:
    async with AsyncExitStack() as stack:
        group = Group(MemoryHub(draw=lambda: 0.5), stack)
        for role in roles:
            await group.add(role)
        yield group


async def test_members_find_each_other_by_their_roles_and_learn_how_far_they_are() -> None:
    sink = RecordingSink()
    async with group_of(*ROLES) as group:
        first, worker = group.servers[0], group.servers[3]
        last = await group.add(PeerRole.MANAGER, telemetry=Telemetry(metrics=sink))
        await until(lambda: alive(first) == {"n1", "n2", "n3", "n4"})
        await until(lambda: {"n0", "n1", "n2"} <= alive(last))
        await until(lambda: len(alive(worker)) >= 3)
        roles = {member.node.name: member.role for member in first.members()}
        assert roles == {
            "n1": PeerRole.MANAGER,
            "n2": PeerRole.MANAGER,
            "n3": PeerRole.WORKER,
            "n4": PeerRole.MANAGER,
        }
        await until(lambda: last.get_vivaldi_coordinate().sample_count >= 3)
        peer = last.vivaldi.peers()[0]
        assert last.get_peer_vivaldi_coordinate(peer) is not None
        assert 0 < last.estimate_peer_rtt(peer) < last.estimate_peer_rtt_ucb(peer)
        assert last.is_vivaldi_converged() == (last.vivaldi.get_error() < 0.15)
        assert sink.value("vivaldi_coordinate_updates") >= 3
        assert sink.value("peers_alive") >= 3
        assert last.refused == {}


async def test_who_falls_silent_dies_and_who_leaves_has_left() -> None:
    async with group_of(PeerRole.GATE, PeerRole.MANAGER, PeerRole.MANAGER) as group:
        first, second, third = group.servers
        await until(lambda: alive(first) == {"n1", "n2"} and alive(second) == {"n0", "n2"})
        async with first.events() as events:
            group.hub.cut(["10.0.0.3:7946"])
            died = await the_next(events, MemberDied)
            assert died.node.name == "n2"
            await second.leave()
            left = await the_next(events, MemberLeft)
            assert left.node.name == "n1"
        assert alive(first) == set()
        group.hub.heal()
        # Whoever was dead is asked again: it may have been a partition.
        await until(lambda: alive(first) == {"n2"} and "n0" in alive(third))


async def test_a_restarted_member_is_not_its_dead_predecessor() -> None:
    async with group_of(PeerRole.GATE, PeerRole.MANAGER) as group:
        first = group.servers[0]
        await until(lambda: alive(first) == {"n1"})
        async with first.events() as events:
            group.hub.cut(["10.0.0.2:7946"])
            async with (
                group.hub.transport("10.0.0.9:7946") as transport,
                HealthAwareServer(
                    transport, "n1", PeerRole.MANAGER, epoch=2, config=QUICK, leave_timeout_s=0.5
                ) as again,
            ):
                again.join(["10.0.0.1:7946"])
                new = await the_next(events, MemberRestarted)
                assert (new.before.epoch, new.node.epoch) == (1, 2)
                await until(lambda: alive(first) == {"n1"})
                member = first.member("n1")
                assert member is not None
                assert (member.node.epoch, member.address) == (2, "10.0.0.9:7946")


async def test_a_third_member_tells_of_two_with_one_name_and_epoch_and_goes_on_with_one() -> None:
    sink = RecordingSink()
    async with AsyncExitStack() as stack:
        group = Group(MemoryHub(draw=lambda: 0.5), stack)
        first = await group.add(PeerRole.GATE, telemetry=Telemetry(metrics=sink))
        await group.add(PeerRole.MANAGER)
        await until(lambda: alive(first) == {"n1"})
        async with first.events() as events:
            transport = await stack.enter_async_context(group.hub.transport("10.0.0.9:7946"))
            double = HealthAwareServer(
                transport, "n1", PeerRole.MANAGER, epoch=1, config=QUICK, leave_timeout_s=0
            )
            await stack.enter_async_context(double)
            double.join(["10.0.0.1:7946"])
            conflict = await the_next(events, NameConflict)
            assert conflict.node == double.node
            assert set(conflict.addresses) == {"10.0.0.2:7946", "10.0.0.9:7946"}
            assert sink.value("name_conflicts_total") == 1
            member = first.member("n1")
            assert member is not None
            await anyio.sleep(2.0)
            assert first.member("n1") == member
            assert first.health_score == 0


async def test_a_loop_that_was_blocked_accuses_nobody() -> None:
    async with group_of(*ROLES[:3]) as group:
        await until(lambda: all(len(alive(server)) == 2 for server in group.servers))
        async with group.servers[0].events() as events:
            time.sleep(3.0)
            await anyio.sleep(1.5)
            assert all(len(alive(server)) == 2 for server in group.servers)
            with anyio.move_on_after(0.05):
                while not isinstance(event := await anext(events), MemberDied):
                    pass
                pytest.fail(f"{event} is told")


async def test_a_slow_reader_is_told_how_much_it_missed() -> None:
    async with group_of(PeerRole.GATE) as group:
        server = group.servers[0]
        async with server.events() as slow:
            for _ in range(1_500):
                slow.put(MemberLeft(server.node))
            told = [await anext(slow) for _ in range(1_025)]
            assert told[-1] == EventsMissed(1_500 - 1_024)
        async with server.events() as events:
            await group.add(PeerRole.MANAGER)
            joined = await the_next(events, MemberJoined)
        assert joined.node.name == "n1"


async def test_a_lossy_and_jumbled_network_is_lived_with() -> None:
    async with AsyncExitStack() as stack:
        drawn = iter(range(10**9))
        hub = MemoryHub(
            draw=lambda: next(drawn) * 0.618_034 % 1.0,
            loss=0.1,
            duplicate=0.1,
            delay_s=(0.001, 0.02),
        )
        group = Group(hub, stack)
        for role in ROLES[:3]:
            await group.add(role)
        await until(lambda: all(len(alive(server)) == 2 for server in group.servers))
        await anyio.sleep(1.0)
        assert all(len(alive(server)) == 2 for server in group.servers)


async def test_it_serves_the_debug_endpoints() -> None:
    async with group_of(PeerRole.GATE, PeerRole.MANAGER) as group:
        server = group.servers[0]
        await until(lambda: bool(server.vivaldi.peers()))
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        for path in (
            "/debug/vivaldi/coordinate",
            "/debug/vivaldi/peers",
            "/debug/peers/unconfirmed",
        ):
            await debug_app(server)({"type": "http", "method": "GET", "path": path}, receive, send)
        assert [m["status"] for m in sent if m["type"] == "http.response.start"] == [200] * 3
        assert b'"peer":"n1"' in b"".join(m["body"] for m in sent if "body" in m)  # type: ignore[misc]


async def test_over_udp_with_keys_of_roles() -> None:
    secret = new_secret()
    async with AsyncExitStack() as stack:
        servers: list[HealthAwareServer] = []
        seeds: list[str] = []
        for number, role in enumerate(ROLES):
            keys = [Key(secret, role=each.value) for each in set(ROLES)]
            own = next(key for key in keys if key.role == role.value)
            keyring = Keyring(own, [key for key in keys if key is not own])
            transport = await stack.enter_async_context(
                UdpTransport("127.0.0.1", 0, cluster="test", keyring=keyring)
            )
            server = HealthAwareServer(
                transport, f"n{number}", role, config=QUICK, leave_timeout_s=0.5
            )
            await stack.enter_async_context(server)
            servers.append(server)
            seeds = seeds or [transport.address]
            server.join(seeds)
        await until(lambda: alive(servers[0]) == {"n1", "n2", "n3"})
        await until(lambda: all(len(alive(server)) >= 2 for server in servers))
        await until(lambda: servers[1].get_vivaldi_coordinate().sample_count >= 2)


async def test_an_answer_that_streams_do_not_carry_is_lost() -> None:
    hub = MemoryHub(draw=lambda: 0.5)
    me = Alive(NodeId("n1", 1), 0, "10.0.0.2:1", PeerRole.GATE)
    ask = pack(encode_message(ConfirmationPing(1, "n0", me)))
    async with (
        hub.transport("10.0.0.1:1") as transport,
        HealthAwareServer(
            transport, "n0", PeerRole.GATE, config=QUICK, leave_timeout_s=0
        ) as server,
        # As long as the question: the answer has a coordinate too.
        hub.transport("10.0.0.2:1", limits=Limits(max_stream=len(ask))) as other,
    ):
        with pytest.raises(OutcomeUnknown):
            await other.request(transport.address, ask, timeout_s=0.01)
        assert server.lost == 1
        assert server.refused == {}


async def test_what_is_not_open_or_was_used_says_so() -> None:
    hub = MemoryHub(draw=lambda: 0.5)
    async with hub.transport("10.0.0.1:1") as transport:
        server = HealthAwareServer(transport, "n0", PeerRole.GATE, config=QUICK)
        with pytest.raises(Unavailable):
            server.join(["10.0.0.2:1"])
        with pytest.raises(Unavailable):
            server.members()
        async with server:
            assert server.members() == ()
        with pytest.raises(Conflict):
            await server.__aenter__()
