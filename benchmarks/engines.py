"""The servers that the benchmarks run, each durable, and what their own counters say.

PostgreSQL counts the syncs of its WAL (`pg_stat_io`, before 18 `pg_stat_wal`); what a client
caused is there once it has closed its connection. etcd counts those of its log in `/metrics`,
each member its own.
"""

from __future__ import annotations

import importlib
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from federlib.testing.servers import EtcdCluster, PostgresServer, etcd_server, postgres_server

__all__ = ["Engine", "etcd", "postgresql", "with_schema"]

_SYNCS = re.compile(r"^etcd_disk_wal_fsync_duration_seconds_count (\S+)$", re.MULTILINE)


@attrs.frozen
class Engine:
    """A server that runs.

    Attributes:
        kind: ``postgresql`` or ``etcd``.
        url: As federlib takes it.
        title: With version and members.
        fsync: What happens to each commit before it counts.
        syncs: Reads how many there were so far.
        source: Where that number comes from.
    """

    kind: str
    url: str
    title: str
    fsync: str
    syncs: Callable[[], int]
    source: str


@contextmanager
def postgresql() -> Iterator[Engine]:
    """Run one PostgreSQL that waits for its disk, with its defaults otherwise."""
    with postgres_server(durable=True) as server:
        number = _ask(server, "SHOW server_version_num")
        version = _ask(server, "SHOW server_version")
        yield Engine(
            "postgresql",
            server.url,
            f"PostgreSQL {version}",
            "WAL, fsync on, synchronous_commit on",
            lambda: int(_ask(server, _syncs_query(int(number)))),
            "the server's count of WAL syncs",
        )


@contextmanager
def etcd(members: int = 1) -> Iterator[Engine]:
    """Run one etcd that waits for its disk."""
    with etcd_server(members=members, durable=True) as cluster:
        leader = cluster.leader()
        version = str(leader.status().get("version", "?"))
        many = "one member" if members == 1 else f"{members} members"
        yield Engine(
            "etcd",
            cluster.url,
            f"etcd {version}, {many}",
            "raft log, fsync" if members == 1 else "raft log, fsync at a majority",
            lambda: _etcd_syncs(cluster),
            "the leader's count of log syncs" if members > 1 else "its count of log syncs",
        )


def with_schema(engine: Engine, schema: str) -> str:
    """Return the URL of a store of its own: a schema, or a prefix."""
    if engine.kind == "postgresql":
        return f"{engine.url}?schema={schema}"
    return f"{engine.url}/?prefix={schema}/"


def _ask(server: PostgresServer, query: str) -> str:
    psycopg = importlib.import_module("psycopg")
    with psycopg.connect(server.url, autocommit=True) as connection:
        return str(connection.execute(query).fetchone()[0])


def _syncs_query(version: int) -> str:
    if version >= 180_000:
        return "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'"
    return "SELECT wal_sync FROM pg_stat_wal"


def _etcd_syncs(cluster: EtcdCluster) -> int:
    url = f"http://{cluster.leader().endpoint}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        found = _SYNCS.search(answer.read().decode())
    if found is None:
        raise RuntimeError("etcd's metrics have no count of its log's syncs")
    return int(float(found[1]))
