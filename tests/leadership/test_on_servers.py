"""While the engine is away: the leader steps down in time, others observe, and roles come back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest

import federlib
from federlib.errors import LeaseLost, NotLeader
from federlib.identity import IdentityStore
from federlib.leadership import Elector
from federlib.telemetry import Metric, Telemetry
from federlib.testing.servers import EtcdCluster, PostgresServer

pytestmark = pytest.mark.anyio
_PATIENCE_S = 90.0
_TTL_S = 3.0


class Roles:
    """The roles of one process, as its metrics tell them."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def emit(self, metric: Metric, _value: float, labels: Mapping[str, str]) -> None:
        if metric.name == "federlib_leader_changes_total":
            self.told.append(labels["role"])


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(_PATIENCE_S):
        while not is_so():
            await anyio.sleep(0.02)


async def play(
    url: str, place: Path, stop: Callable[[], None], start: Callable[[], None]
) -> list[Roles]:
    """Take the engine away from a leader and a follower, and give it back."""
    roles = [Roles(), Roles()]
    seats: list[Elector] = []
    done = anyio.Event()

    async def take_part(number: int) -> None:
        async with (
            federlib.connect(
                url,
                identity=IdentityStore(place / f"identity-{number}"),
                telemetry=Telemetry(metrics=roles[number]),
                ttl_s=_TTL_S,
            ) as fed,
            fed.elect("chief") as seat,
        ):
            seats.append(seat)
            await done.wait()

    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(take_part, number)
            wanted = ["leader", "follower"][: number + 1]
            await until(lambda wanted=wanted: [one.state.role for one in seats] == wanted)  # type: ignore[misc]
        first = seats[0].check()
        began = anyio.current_time()
        try:
            await anyio.to_thread.run_sync(stop)
            await until(lambda: seats[0].state.role != "leader")
            # Its deadline lies at 0.9 ttl; killing the server takes a moment too.
            assert anyio.current_time() - began < _TTL_S + 1.5
            await until(lambda: all(seat.state.role == "observer" for seat in seats))
            for seat in seats:
                with pytest.raises((NotLeader, LeaseLost)):
                    seat.check()
        finally:
            await anyio.to_thread.run_sync(start)
        await until(lambda: {seat.state.role for seat in seats} == {"leader", "follower"})
        assert max(seat.state.epoch for seat in seats) > first
        done.set()
    return roles


async def test_roles_survive_an_outage_of_postgresql(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = f"{postgres_server.url}?schema=test_{secrets.token_hex(6)}"
    told = await play(url, tmp_path, postgres_server.kill, postgres_server.start)
    assert all("observer" in roles.told for roles in told)


async def test_roles_survive_a_cluster_without_a_quorum(
    etcd_cluster: EtcdCluster, tmp_path: Path
) -> None:
    url = f"{etcd_cluster.url}?prefix=test-{secrets.token_hex(6)}/"

    def stop_two() -> None:
        for member in etcd_cluster.members[:2]:
            member.kill()

    told = await play(url, tmp_path, stop_two, etcd_cluster.start)
    assert all("observer" in roles.told for roles in told)
