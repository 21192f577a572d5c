"""OPAL A2.2, Identity and Clock Guard: one test a sentence, as far as federlib does it yet."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from federlib.errors import InvalidInput
from federlib.identity import IDENTITY_ROOT_ENV, IdentityStore, WorkerIdentity, identity_root
from federlib.lease.settings import LEASE_TTL_ENV, lease_ttl_s
from federlib.skewclock import (
    SKEW_TOLERANCE_ENV,
    HybridLogicalClock,
    SkewTolerance,
    SystemClock,
    read_clock,
    require_utc,
)
from federlib.testing import ManualClock, SkewedClock
from fleet import Fleet, until
from registry.worlds import World

NS = 1_000_000_000

# A worker as a pool would start it: it says who it is, then works until it is told to stop.
WORKER = """
import sys
from federlib.identity import IdentityStore
worker = IdentityStore().claim()
print(worker.worker_id, worker.incarnation, flush=True)
sys.stdin.read()
"""


def start_pool(size: int, root: Path) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={IDENTITY_ROOT_ENV: str(root)},
        )
        for _ in range(size)
    ]


def told_by(pool: list[subprocess.Popen[str]]) -> dict[str, int]:
    told = dict[str, int]()
    for process in pool:
        assert process.stdout is not None
        worker_id, incarnation = process.stdout.readline().split()
        told[worker_id] = int(incarnation)
    return told


def stop_pool(pool: list[subprocess.Popen[str]]) -> None:
    for process in pool:
        process.send_signal(signal.SIGTERM)
    for process in pool:
        process.communicate(timeout=20)


def test_2_1_format_is_host_uuid_colon_worker_seq(tmp_path: Path) -> None:
    """§2.1 Format: `host_uuid:worker_seq` (e.g., `550e8400-e29b...:1`)."""
    with IdentityStore(tmp_path).claim(1) as worker:
        host, _, seq = worker.worker_id.partition(":")
    assert str(uuid.UUID(host)) == host
    assert seq == "1"
    example = "550e8400-e29b-41d4-a716-446655440000:1"
    assert str(WorkerIdentity.parse(example)) == example


def test_2_1_identity_is_persisted_under_runtime_identities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§2.1 Persistence: workers persist their identity to `runtime/identities/`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(IDENTITY_ROOT_ENV, raising=False)
    IdentityStore().claim().release()
    assert list((tmp_path / "runtime" / "identities").glob("worker-0.json"))


def test_2_1_a_restart_on_the_same_host_resumes_the_identity(tmp_path: Path) -> None:
    """§2.1 Goal: a restarted worker resumes its identity instead of appearing as a new node."""
    with IdentityStore(tmp_path).claim() as before:
        pass
    with IdentityStore(tmp_path).claim() as after:
        assert after.worker_id == before.worker_id
        assert after.incarnation > before.incarnation


def test_2_2_timestamps_are_utc() -> None:
    """§2.2 UTC Enforcement: all timestamps are those of `datetime.now(timezone.utc)`."""
    before = require_utc(datetime.now(UTC))
    wall = SystemClock().wall_ns()
    after = require_utc(datetime.now(UTC) + timedelta(microseconds=1))
    assert before <= wall <= after
    assert read_clock(HybridLogicalClock(SystemClock())).iso8601.endswith("+00:00")


def test_2_2_a_naive_timestamp_is_refused() -> None:
    """§2.2 UTC Enforcement: a datetime without a zone is an error."""
    with pytest.raises(InvalidInput):
        require_utc(datetime(2024, 1, 1))


@pytest.mark.parametrize("behind_ns", [3 * NS - 1, 3 * NS, 3 * NS + 1])
def test_2_2_lease_validation(behind_ns: int) -> None:
    """§2.2 Lease Validation: `expires_at > now - SKEW_TOLERANCE`."""
    now, tolerance = 1_700_000_000 * NS, 3 * NS
    expires_at = now - behind_ns
    judged = SkewTolerance(3).lease_live(expires_at_ns=expires_at, now_ns=now)
    assert judged is (expires_at > now - tolerance)


@pytest.mark.parametrize("behind_ns", [18 * NS - 1, 18 * NS, 18 * NS + 1])
def test_2_2_registry_ttl(behind_ns: int) -> None:
    """§2.2 Registry TTL: `last_seen > now - (TTL + SKEW_TOLERANCE)`."""
    now, ttl, tolerance = 1_700_000_000 * NS, 15 * NS, 3 * NS
    last_seen = now - behind_ns
    judged = SkewTolerance(3).registry_live(last_seen_ns=last_seen, ttl_s=15, now_ns=now)
    assert judged is (last_seen > now - (ttl + tolerance))


def test_2_3_a_worker_id_is_mapped_to_its_host_id(tmp_path: Path) -> None:
    """§2.3 Primary Key: `worker_id` (process-level) is mapped to `host_id` (node-level)."""
    store = IdentityStore(tmp_path)
    with store.claim() as one, store.claim() as two:
        assert one.worker_id != two.worker_id
        assert WorkerIdentity.parse(one.worker_id).host_id == one.host_id == two.host_id


@pytest.mark.anyio
async def test_2_3_heartbeats_carry_the_host_id_and_are_summed_by_host(tmp_path: Path) -> None:
    """§2.3 Heartbeats: they include `host_id`, to allow per-host aggregation."""
    world = World(tmp_path, ManualClock())
    one, two, far = world.process(), world.process(), world.process(host="b")
    async with one.registry.join(slots=2), two.registry.join(slots=3), far.registry.join():
        members = await one.registry.members()
        assert {m.record.worker_id: m.record.host_id for m in members} == {
            process.identity.worker_id: process.identity.host_id for process in (one, two, far)
        }
        hosts = await one.registry.by_host()
    assert {host_id: (host.live, host.slots) for host_id, host in hosts.items()} == {
        one.identity.host_id: (2, 5),
        far.identity.host_id: (1, 1),
    }


def test_3_default_of_opal_identity_root() -> None:
    """§3: `OPAL_IDENTITY_ROOT`, default `runtime/identities`."""
    assert IDENTITY_ROOT_ENV == "OPAL_IDENTITY_ROOT"
    assert identity_root({}) == Path("runtime/identities")
    assert identity_root({"OPAL_IDENTITY_ROOT": "/srv/ids"}) == Path("/srv/ids")


def test_3_default_of_opal_clock_skew_tolerance_secs() -> None:
    """§3: `OPAL_CLOCK_SKEW_TOLERANCE_SECS`, default 3."""
    assert SKEW_TOLERANCE_ENV == "OPAL_CLOCK_SKEW_TOLERANCE_SECS"
    assert SkewTolerance().tolerance_s == SkewTolerance.from_env({}).tolerance_s == 3
    assert SkewTolerance.from_env({"OPAL_CLOCK_SKEW_TOLERANCE_SECS": "5"}).tolerance_s == 5


def test_3_default_of_opal_lease_ttl_secs() -> None:
    """§3: `OPAL_LEASE_TTL_SECS`, default 15."""
    assert LEASE_TTL_ENV == "OPAL_LEASE_TTL_SECS"
    assert lease_ttl_s({}) == lease_ttl_s({"OPAL_LEASE_TTL_SECS": " "}) == 15
    assert lease_ttl_s({"OPAL_LEASE_TTL_SECS": "2.5"}) == 2.5


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", "86401", "15s"])
def test_3_a_lease_ttl_that_cannot_be_is_refused_by_its_name(text: str) -> None:
    """§3: a setting that makes no sense stops the start, and says which one."""
    with pytest.raises(InvalidInput, match="OPAL_LEASE_TTL_SECS"):
        lease_ttl_s({"OPAL_LEASE_TTL_SECS": text})


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_4_1_worker_ids_stay_identical_when_a_pool_restarts(
    tmp_path: Path, how: signal.Signals
) -> None:
    """§4 Test #1: start pool, restart it (SIGTERM -> start); the worker ids are identical."""
    first = start_pool(3, tmp_path)
    try:
        before = told_by(first)
        for process in first:
            process.send_signal(how)
    finally:
        stop_pool(first)
    second = start_pool(3, tmp_path)
    try:
        after = told_by(second)
    finally:
        stop_pool(second)
    assert len(before) == 3
    assert after.keys() == before.keys()
    assert set(before.values()) == {1}
    assert set(after.values()) == {2}


def told_by_registry(fleet: Fleet) -> dict[str, int]:
    """Read worker ids and incarnations of the live workers off the registry's output."""
    done = fleet.call("workers", "--json")
    told = msgspec.json.decode(done.out or "{}", type=dict[str, Any])
    return {
        line["worker_id"]: line["incarnation"]
        for line in told.get("workers", [])
        if line["state"] == "live"
    }


def test_4_1_the_registry_shows_the_same_worker_ids_after_a_restart(tmp_path: Path) -> None:
    """§4 Test #1: start pool, read the registry, SIGTERM -> start; the ids are identical."""
    seen: list[dict[str, int]] = []
    with Fleet(tmp_path).closing() as fleet:
        nap = fleet.write("w.json", [{"id": "a", "run": "until test -e go; do sleep 0.05; done"}])
        for _ in range(2):
            pool = fleet.start("run", nap, "--run-id", "r", "--workers", "3", "--ttl", "5")
            before = {} if not seen else seen[0]

            def restarted(before: dict[str, int] = before) -> dict[str, int]:
                told = told_by_registry(fleet)
                # What a stopped pool left behind is no new start.
                return told if len(told) == 3 and told != before else {}

            seen.append(until(restarted, what="a pool of three"))
            pool.send_signal(signal.SIGTERM)
            assert pool.wait(30) == 130
    first, second = seen
    assert second.keys() == first.keys()
    assert {worker_id: n + 1 for worker_id, n in first.items()} == second


def test_4_2_a_worker_five_seconds_behind_keeps_its_lease_by_renewing() -> None:
    """§4 Test #2: `now` returns real time - 5 s; lease renewal still succeeds in the buffer."""
    base = ManualClock()
    holder = SkewedClock(base, offset_s=-5)
    tolerance, ttl_s = SkewTolerance.from_env({}), lease_ttl_s({})
    # A minute of renewals every ttl/3, judged each second by a rival with the right time.
    for second in range(60):
        if second % 5 == 0:
            expires_at = holder.wall_ns() + round(ttl_s * NS)
        assert tolerance.lease_live(expires_at_ns=expires_at, now_ns=base.wall_ns())
        base.advance(1)


def test_4_2_a_rival_five_seconds_behind_waits_longer_and_never_takes_early() -> None:
    """§4 Test #2: `now` returns real time - 5 s; the judge's error is on the safe side."""
    base = ManualClock()
    rival = SkewedClock(base, offset_s=-5)
    tolerance = SkewTolerance()
    expires_at = base.wall_ns() + 15 * NS
    base.advance(15 + 3 + 5 - 0.001)
    assert tolerance.lease_live(expires_at_ns=expires_at, now_ns=rival.wall_ns())
    base.advance(0.001)
    assert not tolerance.lease_live(expires_at_ns=expires_at, now_ns=rival.wall_ns())


def test_4_2_five_seconds_are_beyond_the_tolerance_and_cost_an_unrenewed_lease_two() -> None:
    """§4 Test #2: beyond the tolerance a lease ends early, by the excess and no more."""
    base = ManualClock()
    holder = SkewedClock(base, offset_s=-5)
    tolerance = SkewTolerance()
    expires_at = holder.wall_ns() + 15 * NS
    base.advance(13 - 0.001)
    assert tolerance.lease_live(expires_at_ns=expires_at, now_ns=base.wall_ns())
    base.advance(0.001)
    assert not tolerance.lease_live(expires_at_ns=expires_at, now_ns=base.wall_ns())


@pytest.mark.anyio
async def test_4_2_a_worker_five_seconds_behind_stays_live_by_its_heartbeats(
    tmp_path: Path,
) -> None:
    """§4 Test #2: `now` returns real time - 5 s; heartbeats every ttl/3 keep it in the registry."""
    base = ManualClock()
    world = World(tmp_path, base)
    behind = world.process(clock=SkewedClock(base, offset_s=-5), ttl_s=15)
    judge = world.process(host="b")
    for _ in range(12):
        async with behind.registry.join():
            await anyio.wait_all_tasks_blocked()  # the heart rests, by real time
            base.advance(5)  # the longest time between two heartbeats
            (found,) = await judge.registry.members()
            assert found.age_s == 10


@pytest.mark.anyio
async def test_4_2_a_silent_worker_five_seconds_behind_expires_five_seconds_early(
    tmp_path: Path,
) -> None:
    """§4 Test #2: `now` returns real time - 5 s; the registry errs by that and no more."""
    base = ManualClock()
    world = World(tmp_path, base)
    behind = world.process(clock=SkewedClock(base, offset_s=-5), ttl_s=15)
    judge = world.process(host="b")
    async with behind.registry.join():
        await anyio.wait_all_tasks_blocked()  # the heart rests, by real time
        base.advance(15 + 3 - 5 - 0.001)
        assert len(await judge.registry.members()) == 1
        base.advance(0.001)
        assert await judge.registry.members() == []
        assert len(await judge.registry.members(state="expired")) == 1
        # By its own clock it is exactly as old as it is.
        assert len(await behind.registry.members()) == 1
