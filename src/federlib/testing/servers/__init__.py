"""Real servers for tests, on free loopback ports, without Docker and without root.

    with etcd_server() as etcd, postgres_server() as postgres:
        ...                                          # etcd.url, postgres.url

    with etcd_server(members=3) as cluster:
        cluster.leader().kill()

As pytest fixtures, one of each a session: `postgres_server`, `etcd_server`, `etcd_cluster`.

Each keeps its data in a temporary directory of its own and goes with the block; on Linux it
also dies with the process that started it. The programs come from the extra `servers`, or
from the system. As root PostgreSQL runs as another user, because it refuses root; no user is
made for it.

Does not promise: data that outlives the block, or speed. Unless it is asked to be durable, a
server does not wait for its disk: kill it, and nothing is lost; pull the plug, and it may be.
"""

from __future__ import annotations

from federlib.testing.servers._process import ServerProcess, free_ports
from federlib.testing.servers.etcd import EtcdCluster, EtcdMember, etcd_server
from federlib.testing.servers.postgres import PostgresServer, postgres_server

__all__ = [
    "EtcdCluster",
    "EtcdMember",
    "PostgresServer",
    "ServerProcess",
    "etcd_server",
    "free_ports",
    "postgres_server",
]
