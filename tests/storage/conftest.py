"""Real servers for the tests of stores: one of each for each worker of pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from federlib.testing.servers import EtcdCluster
from federlib.testing.servers import etcd_server as run


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[EtcdCluster]:
    """One member of etcd, which its tests share: each store has a prefix of its own."""
    with run() as cluster:
        yield cluster
