"""Leases on another engine than the store's: used, held, closed, and safe by their tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import attrs
import pytest

import federlib
import federlib.blocking
from federlib._parts import STORE_ENV
from federlib.dag import TaskRun
from federlib.errors import InvalidInput, LeaseBusy, LeaseLost, StaleToken, Unavailable
from federlib.identity import IdentityStore
from federlib.lease import (
    LEASE_BACKEND_ENV,
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    LeasePolicy,
    LeaseState,
    NotHeld,
    Released,
    from_url,
)
from federlib.storage import Capabilities
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock
from fleet import until

PREFIX = "ORXAQ_AUTONOMY_LEADER_LEASE_"


class Suspending(LeaseBackend):
    """A third party's backend, which needs an event loop for every verb.

    Attributes:
        asked: The verbs, in order.
        is_closed: Whether it was closed.
    """

    def __init__(self, *, multi_host: bool = True, floor: int = 0) -> None:
        self.asked: list[str] = []
        self.is_closed = False
        self.multi_host = multi_host
        self.token = floor
        self.held: Lease | None = None
        self.changed: anyio.Event | None = None

    @property
    def capabilities(self) -> LeaseCapabilities:
        return LeaseCapabilities(
            fair_queue=False, multi_host=self.multi_host, survives_restart=False
        )

    async def _ask(self, verb: str) -> None:
        self.asked.append(verb)
        await anyio.sleep(0.001)

    def _tell(self) -> None:
        if self.changed is not None:
            self.changed.set()
        self.changed = None

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        del queue
        await self._ask("acquire")
        if self.held is not None and self.held.session != holder.session:
            who = self.held.holder_id
            return Busy(name=name, holder=who, expires=None, ahead=0, retry_in_s=60)
        self.token += 1
        self.held = Lease(
            name=name,
            holder_id=holder.holder_id,
            session=holder.session,
            fencing_token=self.token,
            ttl_ms=round(ttl_s * 1_000),
            acquired_at=0,
            renewed_at=0,
            expires_at=0,
        )
        self._tell()
        return self.held

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        await self._ask("renew")
        return lease if lease == self.held else NotHeld(lease.name, lease.fencing_token, None)

    async def release(self, lease: Lease) -> Released | NotHeld:
        await self._ask("release")
        if lease != self.held:
            return NotHeld(lease.name, lease.fencing_token, None)
        self.held = None
        self._tell()
        return Released(lease.name, lease.fencing_token)

    async def inspect(self, name: str) -> LeaseState:
        await self._ask("inspect")
        return LeaseState(
            name=name, fencing_token=self.token, lease=self.held, is_live=self.held is not None
        )

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[AsyncIterator[LeaseState]]:
        await self._ask("watch")

        async def states() -> AsyncIterator[LeaseState]:
            while True:
                changed = self.changed = self.changed or anyio.Event()
                yield await self.inspect(name)
                await changed.wait()

        yield states()

    async def raise_floor(self, token: int) -> None:
        await self._ask("raise_floor")
        self.token = max(self.token, token)

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.fixture
def identities(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path / "identities")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleet.db"


@pytest.mark.anyio
async def test_leases_of_another_engine_are_closed_with_the_federation_and_hold(
    tmp_path: Path, url: str, identities: IdentityStore
) -> None:
    leases = f"file:///{tmp_path}/leases"
    async with federlib.connect(url, leases=leases, identity=identities) as fed:
        async with fed.hold("x") as lease:
            assert lease.token == 1
            assert (await fed.store.scan("lease/")).records == ()
            await fed.guard("x").admit(lease.token)
        backend = fed.leases
    with pytest.raises(Unavailable):
        await backend.inspect("x")
    other = await from_url(leases)
    assert (await other.inspect("x")).fencing_token == 1
    await other.aclose()


@pytest.mark.anyio
async def test_the_environment_names_the_leases_beside_the_store(
    tmp_path: Path, url: str, identities: IdentityStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_ENV, url)
    monkeypatch.setenv(LEASE_BACKEND_ENV, "sqlite")
    monkeypatch.setenv(f"{PREFIX}SQLITE_PATH", str(tmp_path / "leases.db"))
    async with federlib.connect(identity=identities) as fed, fed.hold("x"):
        assert (await fed.store.scan("lease/")).records == ()
        assert (tmp_path / "leases.db").exists()
    # The same store by argument: the URL wins, and the variable is not looked at.
    async with federlib.connect(url, identity=identities) as fed, fed.hold("x"):
        assert len((await fed.store.scan("lease/")).records) > 0


@pytest.mark.anyio
async def test_an_open_backend_is_used_and_not_closed(url: str, identities: IdentityStore) -> None:
    leases = Suspending()
    async with federlib.connect(url, leases=leases, identity=identities) as fed:
        async with fed.hold("x") as lease:
            assert lease.token == 1
        assert fed.leases is leases
    assert leases.asked == ["acquire", "release"]
    assert not leases.is_closed


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_threads_reach_a_backend_that_needs_an_event_loop(
    kind: str, url: str, identities: IdentityStore
) -> None:
    leases = Suspending()
    place = url if kind == "sqlite" else "memory://"
    with federlib.blocking.connect(place, leases=leases, identity=identities) as fed:
        with fed.hold("x", ttl_s=0.3) as lease:
            assert lease.token == 1
            with pytest.raises(LeaseBusy), fed.hold("x", wait_s=0.05):
                pytest.fail("entered")
            assert isinstance(fed.try_acquire("x"), Busy)
            assert fed.inspect("x").is_live
        with fed.leases.watch("x") as states:
            assert next(states).lease is None
        fed.leases.raise_floor(70)
        assert fed.leases.names() == ()
        with fed.elect("coordinator") as seat:
            # The loop's side asks the same backend.
            leads = next(state for state in seat.changes() if state.role == "leader")
            assert leads.epoch == 71
    assert {"acquire", "release", "inspect", "watch", "raise_floor"} <= set(leases.asked)
    assert not leases.is_closed


def test_threads_close_leases_that_they_opened_and_hold_them_meanwhile(
    tmp_path: Path, url: str, identities: IdentityStore
) -> None:
    leases = f"sqlite:///{tmp_path}/leases.db"
    with (
        federlib.blocking.connect(url, leases=leases, identity=identities) as fed,
        fed.hold("x", ttl_s=5) as lease,
    ):
        assert lease.token == 1
        assert fed.store.scan("lease/").records == ()
    with federlib.blocking.connect(leases, identity=identities) as fed:
        assert fed.inspect("x").fencing_token == 1


class Deaf(Suspending):
    """One whose answers to renewals never come.

    Attributes:
        ended_s: When each try ended, by the loop's clock.
    """

    began_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.ended_s: list[float] = []

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        self.began_s = anyio.current_time()
        return await super().acquire(name, holder, ttl_s=ttl_s, queue=queue)

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        try:
            await anyio.sleep_forever()
        finally:
            self.ended_s.append(anyio.current_time())
        return lease


def test_in_a_thread_too_the_last_try_to_renew_does_not_outlast_the_deadline(
    url: str, identities: IdentityStore
) -> None:
    leases = Deaf()
    with federlib.blocking.connect(url, leases=leases, identity=identities) as fed:
        with pytest.raises(LeaseLost, match="not renewed"), fed.hold("x", ttl_s=4) as lease:
            until(lambda: lease.lost, what="the loss of the lease")
        assert lease.remaining_s() == 0
    assert len(leases.ended_s) >= 2
    # Generous for a busy machine; two tries of ttl / 3 each would have ended at 4.1 s.
    assert leases.ended_s[-1] - leases.began_s < 0.9 * 4 + 0.3


def test_a_thread_that_waits_elsewhere_is_told_of_its_turn(
    url: str, identities: IdentityStore
) -> None:
    leases = Suspending()
    with federlib.blocking.connect(url, leases=leases, identity=identities) as fed:
        with fed.hold("x", ttl_s=60):
            held = leases.held
            assert held is not None
            fed.leases.release(held)
        with fed.hold("x", wait_s=30) as lease:
            assert lease.token == 2


@pytest.mark.anyio
async def test_leases_of_one_host_are_refused_for_a_store_of_several(
    identities: IdentityStore,
) -> None:
    class Shared(MemoryStore):
        @property
        def capabilities(self) -> Capabilities:
            return attrs.evolve(super().capabilities, multi_host=True)

    store = Shared(ManualClock())
    wrong = "expected leases that hold on several hosts"
    with pytest.raises(InvalidInput, match=f"leases: {wrong}"):
        async with federlib.connect(store, leases="memory://", identity=identities):
            pytest.fail("entered")
    with pytest.raises(InvalidInput, match=f"leases: {wrong}"):
        async with federlib.connect(
            store, leases=Suspending(multi_host=False), identity=identities
        ):
            pytest.fail("entered")
    async with federlib.connect(store, leases=Suspending(), identity=identities) as fed:
        assert isinstance(fed.leases, Suspending)


@pytest.mark.anyio
async def test_tokens_of_a_new_backend_are_refused_until_its_floor_is_raised(
    tmp_path: Path, url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities) as fed:
        await fed.leases.raise_floor(40)
        async with fed.hold("x") as lease:
            assert lease.token == 41
            await fed.guard("x").admit(lease.token)
    leases = f"sqlite:///{tmp_path}/leases.db"
    async with federlib.connect(url, leases=leases, identity=identities) as fed:
        async with fed.hold("x") as lease:
            assert lease.token == 1
            with pytest.raises(StaleToken) as caught:
                await fed.guard("x").admit(lease.token)
            assert (caught.value.token, caught.value.high_water) == (1, 41)
        await fed.leases.raise_floor(1_000_000)
        async with fed.hold("x") as lease:
            assert lease.token == 1_000_001
            await fed.guard("x").admit(lease.token)


@pytest.mark.anyio
async def test_a_leader_of_a_new_backend_leads_only_above_the_old_epoch(
    tmp_path: Path, url: str, identities: IdentityStore
) -> None:
    async with federlib.connect(url, identity=identities, ttl_s=2) as fed:
        await fed.leases.raise_floor(5)
        async with fed.elect("coordinator") as seat:
            async for state in seat.changes():
                if state.role == "leader":
                    old = state.epoch
                    break
    assert old == 6
    leases = f"sqlite:///{tmp_path}/leases.db"
    with anyio.fail_after(60):
        async with (
            federlib.connect(url, leases=leases, identity=identities, ttl_s=2) as fed,
            fed.elect("coordinator") as seat,
        ):
            async for state in seat.changes():
                if state.role == "leader":
                    new = state.epoch
                    break
    # Each grant is one higher. The same epoch twice is why old leaders must be gone by then.
    assert new == old


@pytest.mark.anyio
async def test_a_run_goes_on_under_a_new_backend_once_its_tokens_are_above_the_runs_epoch(
    tmp_path: Path, url: str, identities: IdentityStore
) -> None:
    async def work(task: TaskRun) -> str:
        return task.task_id

    async with federlib.connect(url, identity=identities, ttl_s=2) as fed:
        await fed.leases.raise_floor(50)
        run = await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r1")
        assert (await fed.dag.work(run, work)).state == "success"
        old = (await fed.dag.inspect(run)).epoch
        assert old == 51
        await fed.dag.resume(run, retry_failed=True)
    leases = f"sqlite:///{tmp_path}/leases.db"
    with anyio.fail_after(60):
        async with federlib.connect(url, leases=leases, identity=identities, ttl_s=2) as fed:
            await fed.leases.raise_floor(1_000)
            assert (await fed.dag.work("r1", work)).state == "success"
            assert (await fed.dag.inspect("r1")).epoch > 1_000


@pytest.mark.anyio
async def test_the_policy_of_connect_and_that_of_a_lease_reach_its_keeper(
    url: str, identities: IdentityStore
) -> None:
    eager, calm = LeasePolicy(renew_share=0.1), LeasePolicy(renew_share=0.35)
    leases = Suspending()
    async with federlib.connect(url, leases=leases, identity=identities, policy=eager) as fed:
        async with fed.hold("x", ttl_s=2):
            with anyio.fail_after(30):
                while "renew" not in leases.asked:
                    await anyio.sleep(0.02)
        got = await fed.try_acquire("x", policy=calm)
        assert not isinstance(got, Busy)
        assert got._policy is calm
    with federlib.blocking.connect(url, identity=identities, policy=eager) as threads:
        with threads.hold("y") as lease:
            assert lease._policy is eager
        with threads.hold("y", policy=calm) as lease:
            assert lease._policy is calm
