"""`connect`: one store, one clock, one telemetry, and a clean way out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import federlib
from federlib.errors import (
    InvalidInput,
    LeaseBusy,
    NotLeader,
    PlanMismatch,
    StaleToken,
    StoreReplaced,
    Unavailable,
)
from federlib.fencing import ActuationStatus, Command, Outcome
from federlib.identity import IdentityStore
from federlib.lease import Busy, HeldLease, StoreLeaseBackend
from federlib.skewclock import FileBound, HybridLogicalClock, SystemClock
from federlib.storage import Put, open_store
from federlib.telemetry import RecordingSink, Telemetry
from federlib.testing import ManualClock, SkewedClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleet.db"


@pytest.fixture
def identities(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path / "identities")


async def test_a_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDERLIB_STORE", raising=False)
    with pytest.raises(InvalidInput, match="FEDERLIB_STORE"):
        federlib.connect()


async def test_the_environment_names_the_store(
    monkeypatch: pytest.MonkeyPatch, url: str, identities: IdentityStore
) -> None:
    monkeypatch.setenv("FEDERLIB_STORE", url)
    async with federlib.connect(identity=identities) as fed:
        assert fed.store.capabilities.durable


@pytest.mark.parametrize("skew", [-1.0, float("nan"), 1e9])
async def test_a_wrong_tolerance_is_refused_before_anything_is_opened(skew: float) -> None:
    with pytest.raises(InvalidInput, match="tolerance_s"):
        federlib.connect("memory://", skew_tolerance_s=skew)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), "5"])
async def test_a_wrong_ttl_or_close_timeout_is_refused_before_anything_is_opened(
    seconds: float,
) -> None:
    with pytest.raises(InvalidInput, match="ttl_s: expected"):
        federlib.connect("memory://", ttl_s=seconds)
    with pytest.raises(InvalidInput, match="close_timeout_s: expected"):
        federlib.connect("memory://", close_timeout_s=seconds)


async def test_a_path_in_the_place_of_a_url_is_refused(tmp_path: Path) -> None:
    path: str = tmp_path / "fleet.db"  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match="url: expected a store URL as text"):
        federlib.connect(path)


async def test_a_wrong_lease_ttl_in_the_environment_names_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPAL_LEASE_TTL_SECS", "soon")
    with pytest.raises(InvalidInput, match="OPAL_LEASE_TTL_SECS"):
        federlib.connect("memory://")


async def test_an_unknown_scheme_names_those_that_are_known() -> None:
    with pytest.raises(InvalidInput, match="sqlite://"):
        async with federlib.connect("redis://localhost"):
            pass


async def test_identity_is_claimed_on_first_use_and_freed_at_the_end(
    url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities) as fed:
        assert not identities.root.exists()
        first = await fed.identity()
        assert await fed.identity() is first
    async with federlib.connect(url, identity=identities) as fed:
        again = await fed.identity()
    assert again.worker_id == first.worker_id
    assert again.incarnation == first.incarnation + 1


async def test_two_federations_of_one_process_are_two_workers(
    url: str, identities: IdentityStore
) -> None:
    async with (
        federlib.connect(url, identity=identities) as one,
        federlib.connect(url, identity=identities) as two,
    ):
        assert (await one.identity()).worker_id != (await two.identity()).worker_id
        async with one.hold("x"):
            with pytest.raises(LeaseBusy):
                async with two.hold("x", wait_s=0):
                    pass


async def test_two_holds_of_one_federation_exclude_each_other(
    url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities) as fed, fed.hold("x"):
        assert isinstance(await fed.try_acquire("x"), Busy)


async def test_an_error_of_the_body_comes_out_unchanged(
    url: str, identities: IdentityStore
) -> None:
    error = RuntimeError("of the body")
    with pytest.raises(RuntimeError) as caught:
        async with federlib.connect(url, identity=identities) as fed, fed.hold("x"):
            raise error
    assert caught.value is error


async def test_a_lease_that_was_tried_and_never_entered_is_released_at_the_end(
    url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities) as fed:
        assert isinstance(await fed.try_acquire("x", ttl_s=60), HeldLease)
    async with federlib.connect(url, identity=identities) as fed:
        assert (await fed.inspect("x")).lease is None


async def test_an_emptied_store_is_refused_with_the_way_out(
    tmp_path: Path, url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities) as fed, fed.hold("x") as lease:
        assert lease.token == 1
    for path in tmp_path.glob("fleet.db*"):
        path.unlink()
    async with federlib.connect(url, identity=identities) as fed:
        with pytest.raises(StoreReplaced, match="raise-floor"):
            async with fed.hold("x"):
                pass
        # Refused once is refused again: nothing was remembered by the way.
        with pytest.raises(StoreReplaced):
            await fed.identity()
        assert isinstance(fed.leases, StoreLeaseBackend)
        await fed.leases.raise_floor(1)
        async with fed.hold("x") as lease:
            assert lease.token > 1


async def test_the_leader_commands_and_a_follower_is_refused_on_the_record(
    url: str, identities: IdentityStore
) -> None:
    async with (
        federlib.connect(url, identity=identities) as one,
        federlib.connect(url, identity=identities) as two,
        one.elect("boss") as seat,
    ):
        async for state in seat.changes():
            if state.role == "leader":
                break
        issued = await one.commands.issue("scale", {"n": 3}, gate=seat)
        assert isinstance(issued, Command)
        assert issued.leader_epoch == seat.check()
        async with two.elect("boss") as other:
            with pytest.raises(NotLeader):
                other.check()
            refused = await two.commands.issue("scale", {"n": 4}, gate=other)
        assert isinstance(refused, Outcome)
        assert refused.status == "rejected_not_leader"
        assert (await one.commands.counts())["rejected_not_leader"] == 1


async def test_leaving_an_election_hands_the_seat_on_at_once(
    url: str, identities: IdentityStore
) -> None:
    async with (
        federlib.connect(url, identity=identities, ttl_s=30) as one,
        federlib.connect(url, identity=identities, ttl_s=30) as two,
    ):
        epochs: list[int] = []

        async def once(epoch: int) -> None:
            epochs.append(epoch)

        for fed in (one, two):
            async with fed.elect("boss") as seat:
                with anyio.fail_after(10):
                    await seat.lead(once)
        assert epochs == [1, 2]


async def test_a_guarded_resource_refuses_the_older_token(
    url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities) as fed:
        guard = fed.guard("account")
        await guard.transaction(2, (Put("account/balance", b"20"),))
        with pytest.raises(StaleToken):
            await guard.transaction(1, (Put("account/balance", b"10"),))
        record = await fed.store.get("account/balance")
        assert record is not None
        assert record.value == b"20"


async def test_the_same_run_id_with_another_plan_is_refused_with_the_differences(
    url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities) as fed:
        assert (await fed.dag.submit({"a": []}, run_id="r")).created
        assert not (await fed.dag.submit({"a": []}, run_id="r")).created
        with pytest.raises(PlanMismatch) as caught:
            await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r")
        assert any("b" in line for line in caught.value.differences)


async def test_an_open_store_may_be_passed_and_is_not_closed(identities: IdentityStore) -> None:
    store = await open_store("memory://")
    for _ in range(2):
        async with federlib.connect(store, identity=identities) as fed, fed.hold("x"):
            assert fed.store is store
    assert (await store.get("lease/x/lease")) is not None
    await store.aclose()


async def test_metrics_and_events_carry_the_seeds_names(
    url: str, identities: IdentityStore
) -> None:
    sink = RecordingSink()
    telemetry = Telemetry(metrics=sink)
    async with (
        federlib.connect(url, identity=identities, telemetry=telemetry) as fed,
        fed.hold("x"),
    ):
        assert sink.value("chronowatch_lease_held_gauge", name="x") == 1
    assert sink.value("chronowatch_lease_acquire_total", result="acquired") == 1
    assert sink.value("chronowatch_lease_held_gauge", name="x") == 0


async def test_a_path_that_cannot_be_a_store_is_unavailable_or_invalid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises((Unavailable, InvalidInput)):
        async with federlib.connect(f"sqlite:///{tmp_path}/file/fleet.db"):
            pass


async def test_two_members_order_command_and_outcome_whatever_their_clocks_say(
    url: str, tmp_path: Path
) -> None:
    true = SystemClock()
    ahead, behind = SkewedClock(true, offset_s=1), SkewedClock(true, offset_s=-1)

    async def scale(command: Command) -> ActuationStatus:
        return "applied"

    async with (
        federlib.connect(url, identity=IdentityStore(tmp_path / "a"), clock=ahead) as leader,
        federlib.connect(url, identity=IdentityStore(tmp_path / "b"), clock=behind) as manager,
        leader.elect("boss") as seat,
        anyio.create_task_group() as group,
    ):
        async for state in seat.changes():
            if state.role == "leader":
                break
        group.start_soon(manager.commands.consume, "boss", scale)
        command = await leader.commands.issue("scale", gate=seat)
        assert isinstance(command, Command)
        with anyio.fail_after(20):
            outcome = await leader.commands.outcome(command, wait_s=20)
        assert outcome is not None
        assert (command.hlc or 0) < (outcome.hlc or 0) < leader.hlc.now()
        assert outcome.at_ns < command.issued_at_ns
        group.cancel_scope.cancel()


async def test_the_tolerance_is_also_how_far_a_remote_timestamp_is_trusted(
    identities: IdentityStore,
) -> None:
    clock = ManualClock()
    async with federlib.connect(
        "memory://", identity=identities, clock=clock, skew_tolerance_s=1.5
    ) as fed:
        assert fed.hlc.max_offset_s == 1.5
        assert fed.hlc.clock is clock


async def test_a_clock_with_a_bound_is_used_and_kept(
    url: str, identities: IdentityStore, tmp_path: Path
) -> None:
    bound = FileBound(tmp_path / "clock.json")
    hlc = HybridLogicalClock(SystemClock(), max_offset_s=1, bound=bound, bound_ahead_s=0.2)
    first = bound.load()
    async with federlib.connect(url, identity=identities, hlc=hlc) as fed:
        assert fed.hlc is hlc
        assert fed.clock is hlc.clock
        with anyio.fail_after(20):
            while bound.load() == first:
                await anyio.sleep(0.01)


async def test_two_federations_in_one_process_have_two_clocks(
    url: str, identities: IdentityStore
) -> None:
    async with (
        federlib.connect(url, identity=identities) as one,
        federlib.connect(url, identity=identities) as two,
    ):
        one.hlc.now()
        assert one.hlc is not two.hlc
        assert two.hlc.latest == 0


UNGATED = """
import sys
import anyio
import federlib

async def main() -> None:
    async with federlib.connect("memory://") as fed, fed.elect("boss") as seat:
        await anext(state async for state in seat.changes() if state.role == "leader")
        command = await fed.commands.issue("restart_many", gate=seat)
        assert command.leader_epoch == 1
        loaded("async")
        assert fed.causal.config.mode == "off"

def loaded(how: str) -> None:
    print(how, [name for name in sys.modules if name.startswith("federlib.causal")])

with federlib.blocking.connect("memory://") as fed:
    list(fed.commands.log.commands())
loaded("blocking")
anyio.run(main)
print("federlib.causal" in sys.modules)
"""


def test_the_causal_gate_is_loaded_only_where_it_is_asked_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNGATED], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["blocking []", "async []", "True"]
