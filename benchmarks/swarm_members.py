"""One member of a group: `python -m benchmarks.swarm_members CLIENT NAME KEY [SEED]`.

It says ``ready ADDRESS``; ``dead NAME INSTANT`` of every member that it holds to be dead;
and, told ``who``, ``who N``: how many others it holds to be alive. Instants are of the
monotonic clock, which is one for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.talks import tell

_Count = Callable[[], int]


async def _answer(count: _Count) -> None:
    while (await asyncio.to_thread(sys.stdin.readline)).strip() == "who":
        tell(f"who {count()}")


async def _ours(name: str, key: str, seeds: list[str]) -> None:
    from federlib.membership import (
        HealthAwareServer,
        MemberDied,
        NodeLifecycleState,
        PeerRole,
    )
    from federlib.transport import Key, Keyring, UdpTransport

    keyring = Keyring(Key(key))
    async with (
        UdpTransport("127.0.0.1", 0, cluster="bench", keyring=keyring) as transport,
        HealthAwareServer(transport, name, PeerRole.MANAGER) as server,
        server.events() as events,
    ):
        server.join(seeds)
        tell(f"ready {transport.address}")

        async def watch() -> None:
            async for event in events:
                if isinstance(event, MemberDied):
                    tell(f"dead {event.node.name} {time.monotonic()}")

        def count() -> int:
            return sum(one.state is NodeLifecycleState.ALIVE for one in server.members())

        watching = asyncio.create_task(watch())
        await _answer(count)
        watching.cancel()


async def _kinship(name: str, key: str, seeds: list[str]) -> None:
    import kinship

    config = kinship.Config.lan(name=name, bind="127.0.0.1:0", keys=[key], seeds=seeds)
    async with kinship.Cluster(config) as cluster:
        tell(f"ready {cluster.local.addr}")

        async def watch() -> None:
            async for event in cluster.events():
                if isinstance(event, kinship.MemberDead):
                    tell(f"dead {event.member.name} {time.monotonic()}")

        watching = asyncio.create_task(watch())
        await _answer(
            lambda: sum(one.state is kinship.State.ALIVE for one in cluster.members()) - 1
        )
        watching.cancel()


CLIENTS: dict[str, Callable[[str, str, list[str]], Awaitable[None]]] = {
    "federlib": _ours,
    "kinship": _kinship,
}


if __name__ == "__main__":
    _, _client, _name, _key, *_seeds = sys.argv
    asyncio.run(CLIENTS[_client](_name, _key, _seeds))  # type: ignore[arg-type]
