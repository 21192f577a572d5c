"""Servers that a run starts for itself, and what it does to them.

    federlib chaos --target etcd                 # three members; who leads is killed now and then

Without a URL a target that is a server gets a real one, on this machine, for this run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import anyio
import anyio.to_thread
import attrs

from federlib.errors import Unavailable
from federlib.testing.servers import (
    EtcdCluster,
    PostgresServer,
    ServerProcess,
    etcd_server,
    postgres_server,
)

__all__ = ["OwnServers", "own_servers"]

_DOWN_S = 1.0
_KILLS = 3

Tell = Callable[[str], object]


@attrs.frozen
class OwnServers:
    """Servers of a run.

    Attributes:
        url: How to reach them.
    """

    url: str
    _server: EtcdCluster | PostgresServer

    async def ail(self, seconds: float, tell: Tell) -> None:
        """Kill whoever leads with SIGKILL, and start it again a second later: three times.

        Args:
            seconds: In how much time.
            tell: Hears of each.
        """
        for _ in range(_KILLS):
            await anyio.sleep(seconds / (_KILLS + 1))
            victim = await anyio.to_thread.run_sync(self._leader)
            if victim is None:
                continue
            try:
                await anyio.to_thread.run_sync(victim.kill)
                tell(f"{victim.name} killed")
                await anyio.sleep(_DOWN_S)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._server.start)
            tell(f"{victim.name} started again")

    def _leader(self) -> ServerProcess | None:
        if not isinstance(self._server, EtcdCluster):
            return self._server
        try:
            return self._server.leader()
        except Unavailable:
            return None


@contextmanager
def own_servers(target: Literal["postgres", "etcd"]) -> Iterator[OwnServers]:
    """Run one PostgreSQL, or an etcd of three members; both wait for their disk.

    Raises:
        Unavailable: There is none to run, or it does not start.
    """
    if target == "postgres":
        with postgres_server(durable=True) as server:
            yield OwnServers(server.url, server)
    else:
        with etcd_server(members=3, durable=True) as cluster:
            yield OwnServers(cluster.url, cluster)
