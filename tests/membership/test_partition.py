"""Members over real UDP and real time: two sides part, each finds the other dead, and both heal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import attrs
import pytest

from federlib.errors import Unavailable
from federlib.membership.config import SwimConfig
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.roles import PeerRole
from federlib.membership.server import HealthAwareServer
from federlib.membership.timeouts import TimeoutSettings
from federlib.transport import Key, Keyring, UdpTransport, new_secret

pytestmark = pytest.mark.anyio
ALIVE, DEAD = NodeLifecycleState.ALIVE, NodeLifecycleState.DEAD
SIZE = 5
QUICK = SwimConfig(
    interval_s=0.1,
    gossip_interval_s=0.02,
    push_pull_interval_s=0.5,
    reconnect_interval_s=0.5,
    timeouts=TimeoutSettings(slack_s=0.06, suspicion_mult=4.0, suspicion_max_mult=2.0),
)
_STREAMS_COME_FROM = "127.0.0.1"


@attrs.define
class Wall:
    """Stands where a transport asks whether an address may reach it; datagrams and streams."""

    hidden: frozenset[str] = frozenset()

    def admit(self, host: str) -> bool:
        return host not in self.hidden


@attrs.define
class Net:
    """Members on loopback addresses of their own."""

    servers: list[HealthAwareServer] = attrs.field(factory=list)
    walls: list[Wall] = attrs.field(factory=list)

    def part(self, many: int) -> None:
        """Part the first so many from the rest; of a stream nobody can tell whence it comes."""
        for number, wall in enumerate(self.walls):
            others = range(many, SIZE) if number < many else range(many)
            wall.hidden = frozenset({_STREAMS_COME_FROM, *map(host, others)})

    def heal(self) -> None:
        for wall in self.walls:
            wall.hidden = frozenset()

    def holds(self, number: int, state: NodeLifecycleState) -> set[int]:
        members = self.servers[number].members()
        return {int(each.node.name[1:]) for each in members if each.state is state}

    def is_parted(self, many: int) -> bool:
        sides = set(range(many)), set(range(many, SIZE))
        return all(
            self.holds(number, ALIVE) == here - {number} and self.holds(number, DEAD) == there
            for here, there in (sides, sides[::-1])
            for number in here
        )

    def is_whole(self) -> bool:
        everybody = set(range(SIZE))
        return all(self.holds(each, ALIVE) == everybody - {each} for each in everybody)


def host(number: int) -> str:
    return f"127.0.0.{2 + number}"


@asynccontextmanager
async def net(patch: pytest.MonkeyPatch) -> AsyncIterator[Net]:
    found, secret, seeds = Net(), new_secret(), list[str]()
    async with AsyncExitStack() as stack:
        for number in range(SIZE):
            transport = UdpTransport(host(number), 0, cluster="t", keyring=Keyring(Key(secret)))
            found.walls.append(Wall())
            patch.setattr(transport, "_networks", found.walls[-1])
            try:
                await stack.enter_async_context(transport)
            except Unavailable:
                pytest.skip("this system has no loopback address but one")
            server = HealthAwareServer(
                transport, f"n{number}", PeerRole.MANAGER, config=QUICK, leave_timeout_s=0.5
            )
            found.servers.append(await stack.enter_async_context(server))
            seeds.append(transport.address)
            server.join(seeds[:1])
        yield found


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not is_so():
            await anyio.sleep(0.02)


@pytest.mark.parametrize("many", [2, 1])
async def test_two_sides_find_each_other_dead_and_are_one_again(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with net(monkeypatch) as group:
        await until(group.is_whole)
        before = [server.node for server in group.servers]
        group.part(many)
        await until(lambda: group.is_parted(many))
        group.heal()
        await until(group.is_whole)
        # The same runs: each has refuted its death.
        for number, server in enumerate(group.servers):
            assert server.node == before[number]
            other = 0 if number >= many else SIZE - 1
            known = group.servers[other].member(f"n{number}")
            assert known is not None
            assert known.node == server.node
            assert known.incarnation > 0
