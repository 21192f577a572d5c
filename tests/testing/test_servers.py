"""Servers for tests: a member that comes back knows what the others know."""

from __future__ import annotations

import threading

from federlib.testing.servers import EtcdCluster, EtcdMember, etcd_server
from federlib.testing.servers.etcd import _post


def put(member: EtcdMember, value: str) -> int:
    """Write one key; return etcd's revision of it, as this member counts."""
    answer = _post(member.port, "/v3/kv/put", {"key": "a2V5", "value": value}, None)
    header = answer["header"]
    assert isinstance(header, dict)
    return int(header["revision"])


def revision_of_key(member: EtcdMember) -> int:
    """As this member has it, once it has all that was written before."""
    kvs = _post(member.port, "/v3/kv/range", {"key": "a2V5"}, None)["kvs"]
    assert isinstance(kvs, list)
    return int(kvs[0]["mod_revision"])


def member_id(member: EtcdMember) -> object:
    header = member.status()["header"]
    assert isinstance(header, dict)
    return header["member_id"]


def kill_under_load(cluster: EtcdCluster, victim: EtcdMember) -> None:
    is_over = threading.Event()

    def write(member: EtcdMember) -> None:
        while not is_over.is_set():
            try:
                put(member, "eA==")
            except OSError:
                is_over.wait(0.01)

    writers = [threading.Thread(target=write, args=(member,)) for member in cluster.members]
    for writer in writers:
        writer.start()
    try:
        is_over.wait(0.3)
        victim.kill()
        cluster.start()
    finally:
        is_over.set()
        for writer in writers:
            writer.join()


def test_a_member_that_was_killed_under_load_counts_as_the_others_do() -> None:
    with etcd_server(members=3) as cluster:
        for victim in (cluster.leader(), cluster.members[0]):
            before = member_id(victim)
            kill_under_load(cluster, victim)
            revision = put(cluster.members[1], "eQ==")
            assert [revision_of_key(member) for member in cluster.members] == [revision] * 3
            # etcd 3.5.0 to 3.5.2 forget, so it has joined anew, as another.
            forgets = victim.status()["version"] in {"3.5.0", "3.5.1", "3.5.2"}
            assert (member_id(victim) != before) == forgets


def test_members_that_were_stopped_or_killed_without_a_quorum_keep_their_data() -> None:
    with etcd_server(members=3) as cluster:
        put(cluster.members[0], "eA==")
        before = [member_id(member) for member in cluster.members]
        cluster.members[0].stop()
        cluster.start()
        for member in cluster.members[:2]:
            member.kill()
        cluster.start()
        assert [member_id(member) for member in cluster.members] == before
        assert len({revision_of_key(member) for member in cluster.members}) == 1
